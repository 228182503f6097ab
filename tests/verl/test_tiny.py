"""Tiny policies are whole models, the same each time."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image

from llmi_env.errors import ConfigError
from llmi_env.tokenizers import HFTokenizer
from trainers.verl.tiny import CONTEXT, PICTURE, make_tiny


@pytest.fixture(scope="module", params=["llama", "qwen2_5_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny"), request.param)


def test_a_tiny_model_loads_by_the_usual_names(folder: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(folder)
    seeing = hasattr(config, "vision_config")
    maker = transformers.AutoModelForImageTextToText if seeing else transformers.AutoModelForCausalLM
    model, tokenizer = maker.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert sum(weight.numel() for weight in model.parameters()) < 1_000_000
    assert len(tokenizer) == config.get_text_config().vocab_size
    assert config.get_text_config().max_position_embeddings == CONTEXT
    assert tokenizer.eos_token == "<|im_end|>"
    assert set(model.generation_config.eos_token_id) == set(
        tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    )


def test_its_tokenizer_writes_any_text_and_a_chat(folder: Path) -> None:
    hf = transformers.AutoTokenizer.from_pretrained(folder)
    text = 'Ein Bär 🐻: <imgen>{"source": "search"}</imgen>\n'
    assert hf.decode(hf.encode(text)) == text
    messages = [{"role": "system", "content": "Write."}, {"role": "user", "content": "A bear"}]
    chat = "<|im_start|>system\nWrite.<|im_end|>\n<|im_start|>user\nA bear<|im_end|>\n<|im_start|>assistant\n"
    assert hf.decode(HFTokenizer(hf).chat(messages)) == chat


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    weights = [
        (make_tiny(tmp_path / str(i), seed=seed) / "model.safetensors").read_bytes() for i, seed in enumerate((0, 0, 1))
    ]
    assert weights[0] == weights[1] != weights[2]


def test_making_one_leaves_the_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    make_tiny(tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown kind of tiny model 'lama', did you mean 'llama'"):
        make_tiny(tmp_path, "lama")  # type: ignore[arg-type]


def test_the_seeing_kind_has_a_processor_without_torchvision(tmp_path: Path) -> None:
    if find_spec("torchvision") is None:
        import trainers.verl.cpu.vision  # noqa: F401
    processor = transformers.AutoProcessor.from_pretrained(make_tiny(tmp_path, "qwen2_5_vl"))
    part = [{"type": "image"}, {"type": "text", "text": "what?"}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": part}], tokenize=False, add_generation_prompt=True
    )
    inputs = processor(text=[text], images=[Image.new("RGB", (500, 300), "teal")], return_tensors="pt")
    shown = int((inputs["input_ids"] == processor.image_token_id).sum())
    assert shown == int(inputs["image_grid_thw"].prod()) // 4
    assert 0 < shown <= PICTURE

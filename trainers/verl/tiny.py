"""Tiny random policies, made on the spot and without a hub: the recipe value `model: tiny`, and what tests train.

They are whole models as far as any loader can tell: configuration, generation configuration, weights, a byte-level BPE tokenizer trained on
this package's own prompts, a chat template, and for the vision-language kind an image processor. They know nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from llmi_env import prompting
from llmi_env.calls import BUILTIN
from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.task_sets import load_tasks

Kind = Literal["llama", "qwen2_5_vl"]

VOCABULARY = 1024
"""Tokens of a tiny model at most, special ones among them."""

CONTEXT = 4096
"""Positions that the models know."""

PICTURE = 16
"""Tokens of a picture at most."""

_END, _TURN, _PAD = "<|im_end|>", "<|im_start|>", "<|endoftext|>"
_VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")

_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{{- part['text'] if part['type'] == 'text' else '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def make_tiny(
    folder: Path, kind: Kind = "llama", seed: int = 0, vocabulary: int = VOCABULARY, pieces: Sequence[str] = ()
) -> Path:
    """Write a random model to `folder`; the same seed gives the same files.

    Args:
        folder: made if need be; files of the same names are overwritten.
        kind: `llama`, or `qwen2_5_vl`, which reads pictures.
        seed: of the weights.
        vocabulary: tokens at most, besides the pieces; never below the bytes and the special tokens.
        pieces: texts that are one token each, a whole call for instance: what a random policy can find by chance, it can learn.

    Returns:
        The folder.

    Raises:
        ConfigError: an unknown kind.
    """
    import torch

    makers = {"llama": _llama, "qwen2_5_vl": _qwen}
    if kind not in makers:
        raise ConfigError(f"unknown kind of tiny model {kind!r}{did_you_mean(kind, makers)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(_VISION if kind == "qwen2_5_vl" else (), vocabulary)
    tokenizer.add_tokens(list(pieces))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = makers[kind](tokenizer)
    ends = {
        "bos_token_id": None,
        "eos_token_id": [tokenizer.eos_token_id, tokenizer.pad_token_id],
        "pad_token_id": tokenizer.pad_token_id,
    }
    for name, value in ends.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if kind == "qwen2_5_vl":
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        # A token of a picture stands for 28 x 28 pixels.
        Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * PICTURE}).save_pretrained(
            folder
        )
    return folder


def _tokenizer(further: tuple[str, ...], vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    specials = [_PAD, _TURN, _END, *further]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=_END,
        pad_token=_PAD,
        extra_special_tokens=[_TURN, *further],
        chat_template=_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _texts() -> Iterator[str]:
    for task in load_tasks("train"):
        for message in prompting.messages(task, BUILTIN, "full"):
            yield str(message["content"])


def _body(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _llama(tokenizer: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**_body(tokenizer)))


def _qwen(tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    body = _body(tokenizer)
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(_VISION))
    # Sixteen numbers turn with position in a head of 16: eight frequencies, shared out among time, height and width.
    body["rope_parameters"] = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
    config = Qwen2_5_VLConfig(
        text_config=body,
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": body["hidden_size"],
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration(config)

"""The CPU's inference server, asked directly: what it samples, with which logprobs, and where it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

pytest.importorskip("verl", reason="verl is not installed: pip install 'llmi-env[verl]'")

from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from llmi_env.errors import ConfigError, WorldError
from trainers.verl.cpu.generation import Decoder, Params
from trainers.verl.cpu.rollout import HFServer
from trainers.verl.tiny import make_tiny

PROMPTS = [[5, 9, 300, 41], [7] * 23, [900, 12], [5, 9, 300, 41]]
"""Of different lengths; the first comes twice."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny"), seed=1)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """The trainer's weights: five times as large as at the start, or every distribution would be flat."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5)
    return model


def _server(folder: Path, model: Any = None, **options: Any) -> HFServer:
    server = HFServer(str(folder), prompt_length=32, response_length=48, **options)
    if model is not None:
        asyncio.run(server.load_weights(dict(model.state_dict()), 3))
    return server


def _generate(server: HFServer, prompts: Sequence[Sequence[int]], **params: Any) -> list[Any]:
    async def all_at_once() -> list[Any]:
        asked = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True, **params}
        return await asyncio.gather(*(server.generate("any", prompt, dict(asked)) for prompt in prompts))

    return asyncio.run(all_at_once())


def _trainer_logprobs(model: Any, prompt: Sequence[int], tokens: Sequence[int], temperature: float) -> torch.Tensor:
    """As verl's engine computes them: one sequence without padding."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *tokens]]), use_cache=False).logits[0]
    logprobs = (logits / temperature).log_softmax(-1)[len(prompt) - 1 : -1]
    return logprobs.gather(-1, torch.tensor(tokens)[:, None])[:, 0]


@pytest.mark.parametrize(
    ("params", "trainer_temperature"),
    [
        ({}, 1.0),
        ({"temperature": 0.6}, 0.6),
        ({"temperature": 1.3, "top_p": 0.8}, 1.3),
        ({"top_k": 20}, 1.0),
        ({"top_k": 50, "top_p": 0.5}, 1.0),
        ({"temperature": 0.0}, 1.0),
    ],
)
def test_logprobs_are_the_trainers(
    folder: Path, model: Any, params: dict[str, Any], trainer_temperature: float
) -> None:
    outputs = _generate(_server(folder, model), PROMPTS, **params)
    for prompt, output in zip(PROMPTS, outputs, strict=True):
        expected = _trainer_logprobs(model, prompt, output.token_ids, trainer_temperature)
        assert torch.allclose(torch.tensor(output.log_probs), expected, atol=1e-4)
        assert output.extra_fields == {"global_steps": 3}


def test_greedy_takes_the_likeliest_token_each_time(folder: Path, model: Any) -> None:
    (output,) = _generate(_server(folder, model), PROMPTS[:1], temperature=0.0)
    ids = [*PROMPTS[0], *output.token_ids]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    assert output.token_ids == logits.argmax(-1)[len(PROMPTS[0]) - 1 : -1].tolist()


@pytest.mark.parametrize(
    ("params", "kept"), [({"top_k": 3}, 3), ({"top_p": 0.3}, None), ({"top_k": 40, "top_p": 0.3}, None)]
)
def test_only_the_likeliest_tokens_are_drawn(
    folder: Path, model: Any, params: dict[str, Any], kept: int | None
) -> None:
    outputs = _generate(_server(folder, model), PROMPTS[:1] * 40, max_tokens=1, **params)
    with torch.no_grad():
        probs, order = model(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1].softmax(-1).sort(descending=True)
    if "top_k" in params:
        probs = probs[: params["top_k"]] / probs[: params["top_k"]].sum()
    if kept is None:
        kept = int((probs.cumsum(0) < params["top_p"]).sum()) + 1
    assert {output.token_ids[0] for output in outputs} <= set(order[:kept].tolist())


def test_tokens_are_drawn_as_often_as_the_model_says(folder: Path, model: Any) -> None:
    outputs = _generate(_server(folder, model, max_rows=500), PROMPTS[:1] * 2000, max_tokens=1)
    with torch.no_grad():
        probs = model(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1].softmax(-1)
    counts = torch.bincount(torch.tensor([output.token_ids[0] for output in outputs]), minlength=len(probs))
    likeliest = probs.topk(5).indices
    assert torch.allclose(counts[likeliest] / 2000, probs[likeliest], atol=0.05)


def test_a_request_gets_the_same_alone_and_in_company(folder: Path, model: Any) -> None:
    together = _generate(_server(folder, model), PROMPTS, seed=11)
    alone = [_generate(_server(folder, model), [prompt], seed=11)[0] for prompt in PROMPTS]
    assert [output.token_ids for output in together] == [output.token_ids for output in alone]


def test_seeds_follow_from_server_weights_and_prompt(folder: Path, model: Any) -> None:
    first, again = (_generate(_server(folder, model), PROMPTS) for _ in range(2))
    assert [output.token_ids for output in first] == [output.token_ids for output in again]
    assert first[0].token_ids != first[3].token_ids  # the same prompt, asked twice
    other = _generate(_server(folder, model, seed=1), PROMPTS)
    assert [output.token_ids for output in other] != [output.token_ids for output in first]


def test_reasons_for_the_end(folder: Path, model: Any) -> None:
    server = _server(folder, model)
    (cut,) = _generate(server, PROMPTS[:1], max_tokens=3, ignore_eos=True)
    assert (len(cut.token_ids), cut.stop_reason) == (3, "length")
    second = cut.token_ids[1]
    (stopped,) = _generate(_server(folder, model), PROMPTS[:1], max_tokens=3, stop_token_ids=[second])
    end = cut.token_ids.index(second) + 1
    assert (stopped.token_ids, stopped.stop_reason) == (cut.token_ids[:end], "completed")


@pytest.mark.parametrize("end", ["<|im_end|>", "<|endoftext|>"])
def test_every_end_token_of_the_model_ends_a_request(folder: Path, model: Any, end: str) -> None:
    server = _server(folder, model)
    params = Params.read({}, max_tokens=9, seed=0, end_ids=server._end_ids)
    assert server.tokenizer.convert_tokens_to_ids(end) in params.stop_ids


def test_a_stop_text_ends_a_request_where_it_is_complete(folder: Path, model: Any) -> None:
    (free,) = _generate(_server(folder, model), PROMPTS[:1], ignore_eos=True)
    text = _server(folder).tokenizer.decode(free.token_ids)
    stop = text[len(text) // 2 : len(text) // 2 + 4]
    (output,) = _generate(_server(folder, model), PROMPTS[:1], ignore_eos=True, stop=[stop])
    written = _server(folder).tokenizer.decode(output.token_ids)
    assert output.stop_reason == "completed"
    assert free.token_ids[: len(output.token_ids)] == output.token_ids
    assert stop in written
    assert stop not in _server(folder).tokenizer.decode(output.token_ids[:-1])


def test_requests_that_come_while_a_batch_runs_are_served(folder: Path, model: Any) -> None:
    server = _server(folder, model, max_rows=2)

    async def one_after_another() -> list[Any]:
        tasks = []
        for prompt in PROMPTS * 3:
            tasks.append(asyncio.create_task(server.generate("any", prompt, {"logprobs": True, "seed": 5})))
            await asyncio.sleep(0.01)
        return await asyncio.gather(*tasks)

    outputs = asyncio.run(one_after_another())
    alone = [_generate(_server(folder, model), [prompt], seed=5)[0].token_ids for prompt in PROMPTS]
    assert [output.token_ids for output in outputs] == alone * 3


def test_new_weights_change_what_is_sampled(folder: Path, model: Any) -> None:
    server = _server(folder, model)
    (before,) = _generate(server, PROMPTS[:1], temperature=0.0)
    weights = {name: tensor * -1 for name, tensor in model.state_dict().items()}
    asyncio.run(server.load_weights(weights, 4))
    (after,) = _generate(server, PROMPTS[:1], temperature=0.0)
    assert after.token_ids != before.token_ids
    assert after.extra_fields == {"global_steps": 4}


def test_broken_off_requests_keep_what_they_have(folder: Path, model: Any) -> None:
    server = _server(folder, model)

    async def break_off() -> tuple[Any, Any]:
        running = asyncio.create_task(server.generate("any", PROMPTS[0], {"logprobs": True, "ignore_eos": True}))
        await asyncio.sleep(0.05)
        await server.abort_all_requests()
        held = asyncio.create_task(server.generate("any", PROMPTS[0], {"max_tokens": 2}))
        output = await running
        assert not held.done()
        await server.resume_generation()
        return output, await held

    broken, held = asyncio.run(break_off())
    assert broken.stop_reason == "aborted"
    assert len(broken.token_ids) == len(broken.log_probs) < 48
    assert len(held.token_ids) == 2


def test_what_cannot_be_served_is_refused(folder: Path, model: Any) -> None:
    server = _server(folder, model)
    with pytest.raises(ConfigError, match=r"repetition_penalty=1\.2"):
        _generate(server, PROMPTS[:1], repetition_penalty=1.2)
    with pytest.raises(ConfigError, match="did you mean 'temperature'"):
        _generate(server, PROMPTS[:1], temprature=1.0)
    with pytest.raises(ConfigError, match="leaves no room"):
        _generate(server, [[1] * 80])
    with pytest.raises(ConfigError, match="reads no pictures"):
        asyncio.run(server.generate("any", [1], {}, image_data=[object()]))


def test_a_server_without_weights_serves_nobody(folder: Path) -> None:
    with pytest.raises(WorldError, match="no weights yet"):
        _generate(_server(folder), PROMPTS[:1])


def test_weights_of_another_model_are_refused(folder: Path, model: Any) -> None:
    weights = {f"base.{name}": tensor for name, tensor in model.state_dict().items()}
    with pytest.raises(ConfigError, match="do not fit"):
        asyncio.run(_server(folder).load_weights(weights, 1))


def test_hidden_tokens_are_never_drawn_and_logprobs_stay_the_trainers(folder: Path, model: Any) -> None:
    async def generate(hidden: Sequence[int]) -> Any:
        decoder = Decoder(model, None, vocab=1000, hidden=hidden)  # of 1024 that the model knows
        return await decoder.generate(PROMPTS[0], Params(max_tokens=40, seed=1))

    first = asyncio.run(generate(())).tokens[0]
    output = asyncio.run(generate((first,)))
    assert first not in output.tokens
    assert max(output.tokens) < 1000
    expected = _trainer_logprobs(model, PROMPTS[0], output.tokens, 1.0)
    assert torch.allclose(torch.tensor(output.logprobs), expected, atol=1e-4)


# ------------------------------------------------------------------------------------------------------- vision and language


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A tiny Qwen2.5-VL, and the trainer's weights of it."""
    if find_spec("torchvision") is None:
        import trainers.verl.cpu.vision  # noqa: F401

    folder = make_tiny(tmp_path_factory.mktemp("seeing"), "qwen2_5_vl", seed=2)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return folder, model


def test_logprobs_of_prompts_with_pictures_are_the_trainers(seeing: tuple[Path, Any]) -> None:
    folder, model = seeing
    server = _server(folder, model)
    processor = AutoProcessor.from_pretrained(folder)
    pictures = [Image.new("RGB", (56, 84), "navy"), Image.new("RGB", (80, 60), "gold")]
    part = {"type": "image"}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Compare"}, part, part]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[text], images=pictures, return_tensors="pt")
    prompt = inputs["input_ids"][0].tolist()
    server._max_len = 200
    params = {"logprobs": True, "max_tokens": 12, "ignore_eos": True}
    output = asyncio.run(server.generate("any", prompt, params, image_data=pictures))
    ids = torch.tensor([[*prompt, *output.token_ids]])
    with torch.no_grad():
        logits = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == model.config.image_token_id).int(),
            pixel_values=inputs["pixel_values"],
            image_grid_thw=inputs["image_grid_thw"],
        ).logits[0]
    expected = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(-1, torch.tensor(output.token_ids)[:, None])[:, 0]
    assert len(output.token_ids) == 12
    assert torch.allclose(torch.tensor(output.log_probs), expected, atol=1e-4)
    assert not {model.config.image_token_id, model.config.video_token_id} & set(output.token_ids)


def test_a_seeing_model_serves_prompts_without_pictures_together(seeing: tuple[Path, Any]) -> None:
    folder, model = seeing
    outputs = _generate(_server(folder, model), PROMPTS, max_tokens=8)
    for prompt, output in zip(PROMPTS, outputs, strict=True):
        expected = _trainer_logprobs(model, prompt, output.token_ids, 1.0)
        assert torch.allclose(torch.tensor(output.log_probs), expected, atol=1e-4)

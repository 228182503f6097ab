"""Scoring with shared prefixes must equal scoring each sequence whole, gradients included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.policies.test_engines import VOCAB, tiny_llama  # noqa: E402
from trainers.forward import score_responses  # noqa: E402

PROMPTS = [[7, 8, 9, 10], [7, 8, 9, 10], [7, 8, 30, 31, 32, 33], [7, 8, 9, 10]]
RESPONSES = [[50, 51, 52], [60], [70, 71], [80, 81, 82, 83]]


def whole(model: Any, prompt: list[int], response: list[int]) -> Any:
    logits = model(input_ids=torch.tensor([prompt + response])).logits[0].log_softmax(-1)
    return torch.stack([logits[len(prompt) - 1 + t, token] for t, token in enumerate(response)])


def gradient(model: Any) -> Any:
    grads = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return grads


def tiny_qwen() -> Any:
    """A model that the fast way does not fit, all of it trained."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return Qwen2ForCausalLM(config).eval()


@pytest.mark.parametrize(
    "make", [lambda: tiny_llama(lora=True), tiny_llama, tiny_qwen], ids=["adapter", "all", "other"]
)
def test_equals_the_plain_computation(make: Callable[[], Any]) -> None:
    model = make()
    scored = score_responses(model, PROMPTS, RESPONSES, VOCAB)
    plain = [whole(model, p, r) for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    for row, expected in enumerate(plain):
        torch.testing.assert_close(scored.logprobs_BT[row, : len(expected)], expected, atol=1e-5, rtol=1e-5)
        assert (scored.logprobs_BT[row, len(expected) :] == 0).all()
    assert scored.padding_mask_BT.sum(-1).tolist() == [3, 1, 2, 4]
    scored.logprobs_BT.sum().backward()
    shared = gradient(model)
    torch.stack([p.sum() for p in plain]).sum().backward()
    torch.testing.assert_close(shared, gradient(model), atol=1e-4, rtol=1e-4)


def test_ids_beyond_the_tokenizer_have_no_probability() -> None:
    model = tiny_llama()
    few = score_responses(model, [[1, 2]], [[3]], 10).logprobs_BT.exp()
    total = sum(score_responses(model, [[1, 2]], [[token]], 10).logprobs_BT.exp().item() for token in range(10))
    assert 0 < few < 1
    assert total == pytest.approx(1, abs=1e-5)

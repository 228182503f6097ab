"""The fast way through a Llama must give the plain modules' hidden states and gradients, and stand aside where it would not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from llmi_env.policies.engines import model_parts  # noqa: E402
from llmi_env.policies.packed import round_products  # noqa: E402
from tests.policies.test_engines import VOCAB, tiny_llama  # noqa: E402
from trainers.forward import score_responses  # noqa: E402
from trainers.packed_llama import fits, packed_llama  # noqa: E402

PROMPTS = [[7, 8, 9, 10], [7, 8, 9, 10], [7, 8, 30, 31, 32, 33], [7, 8, 9, 10]]
RESPONSES = [[50, 51, 52], [60], [70, 71], [80, 81, 82, 83]]
WEIGHTS_BT = torch.linspace(-1, 2, 16).view(4, 4)


def adapted(**options: Any) -> Any:
    torch.manual_seed(1)
    config = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False}
    model = peft.get_peft_model(tiny_llama(), peft.LoraConfig(**(config | options)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 2)
    return model.eval()


def results(model: Any, prompts: Any = PROMPTS, responses: Any = RESPONSES) -> tuple[Any, Any, dict[str, Any]]:
    """Logprobs, hidden states and gradients of a loss that weighs both."""
    scored = score_responses(model, prompts, responses, VOCAB)
    rows, columns = scored.logprobs_BT.shape
    loss = (scored.logprobs_BT * WEIGHTS_BT[:rows, :columns]).sum() + scored.hidden_BTH[
        scored.padding_mask_BT
    ].sin().sum()
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return scored.logprobs_BT.detach(), scored.hidden_BTH.detach()[scored.padding_mask_BT], gradients


def check(model: Any, monkeypatch: pytest.MonkeyPatch, prompts: Any = PROMPTS, responses: Any = RESPONSES) -> None:
    assert packed_llama(model) is not None
    fast = results(model, prompts, responses)
    with monkeypatch.context() as patch:
        patch.setattr("trainers.packed_llama.fits", lambda model: False)
        patch.setattr("trainers.head.fits", lambda head: False)
        assert packed_llama(model) is None
        plain = results(model, prompts, responses)
    torch.testing.assert_close(fast[:2], plain[:2], atol=1e-5, rtol=1e-5)
    assert fast[2].keys() == plain[2].keys() != set()
    for name, expected in plain[2].items():
        assert (fast[2][name] - expected).norm() <= 1e-5 * expected.norm() + 1e-6, name


@pytest.mark.parametrize(
    "options",
    [{}, {"target_modules": ["q_proj", "up_proj"]}, {"target_modules": ["v_proj", "down_proj"], "use_rslora": True}],
    ids=["all", "some", "others"],
)
def test_equals_the_plain_modules(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    check(adapted(**options), monkeypatch)


@pytest.mark.parametrize(
    ("prompts", "responses"),
    [
        ([[5]], [[6]]),
        ([[5, 6, 7]] * 3, [[1], [2], [3]]),
        ([[5], [6], [7, 8]], [[1, 2], [2], [3, 4, 5, 6]]),
        ([[5, 6, 7, 8], [5, 6]], [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_prompts_and_responses_of_all_shapes(prompts: Any, responses: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check(adapted(), monkeypatch, prompts, responses)


def test_rounded_products_are_near() -> None:
    exact, model = results(adapted()), adapted()
    round_products(*model_parts(model))
    found = results(model)
    assert 0 < (found[0] - exact[0]).abs().max() < 0.1
    ours, theirs = (torch.cat([g.flatten() for g in side[2].values()]) for side in (found, exact))
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.99
    assert all(gradient.dtype is torch.float32 for gradient in found[2].values())


def test_the_adapters_weights_are_those_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted()
    check(model, monkeypatch)
    first = packed_llama(model)
    for name, parameter in model.named_parameters():
        if "lora" in name:
            parameter.data = 0.2 * torch.randn_like(parameter)  # exchanged whole, as the reference does
    assert packed_llama(model) is first
    check(model, monkeypatch)


def test_other_frozen_weights_are_packed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted()
    first = packed_llama(model)
    with torch.no_grad():
        model.get_base_model().model.layers[0].mlp.down_proj.base_layer.weight.mul_(2)
    assert packed_llama(model) is not first
    check(model, monkeypatch)


def test_a_switched_off_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted()
    with model.disable_adapter(), torch.no_grad():
        found = score_responses(model, PROMPTS, RESPONSES, VOCAB).logprobs_BT
    with torch.no_grad():
        assert not torch.allclose(found, score_responses(model, PROMPTS, RESPONSES, VOCAB).logprobs_BT)
        plain = model.unload().eval()
        torch.testing.assert_close(found, score_responses(plain, PROMPTS, RESPONSES, VOCAB).logprobs_BT)


def dora() -> Any:
    return adapted(use_dora=True)


def dropout() -> Any:
    return adapted(lora_dropout=0.5).train()


def all_weights() -> Any:
    return tiny_llama().requires_grad_(True)


def trained_embedding() -> Any:
    return adapted(modules_to_save=["embed_tokens"])


def biased() -> Any:
    return adapted(lora_bias=True)


def two_adapters() -> Any:
    model = adapted()
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules="all-linear"))
    model.base_model.set_adapter(["default", "second"])
    return model.eval()


def half() -> Any:
    return adapted().to(torch.bfloat16)


@pytest.mark.parametrize("make", [dora, dropout, all_weights, trained_embedding, biased, two_adapters, half])
def test_what_does_not_fit_takes_the_plain_way(make: Callable[[], Any]) -> None:
    model = make()
    assert not fits(model)
    logprobs_BT = score_responses(model, PROMPTS, RESPONSES, VOCAB).logprobs_BT
    assert torch.isfinite(logprobs_BT).all()
    assert logprobs_BT.requires_grad

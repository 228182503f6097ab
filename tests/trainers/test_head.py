"""Logprobs without kept logits, and their gradient, are those of the plain computation."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from trainers.head import Anchor, chosen_logprobs, fits, told_by_logits  # noqa: E402


def plain(hidden: torch.Tensor, head: torch.nn.Linear, chosen: torch.Tensor, vocab: int) -> torch.Tensor:
    return head(hidden)[:, :vocab].log_softmax(-1).gather(1, chosen[:, None])[:, 0]


@pytest.mark.parametrize(("rows", "vocab"), [(1, 50), (300, 50), (300, 37)])
def test_equals_the_plain_computation(rows: int, vocab: int) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(16, 50, bias=False).requires_grad_(False)
    chosen, weights = torch.randint(0, vocab, (rows,)), torch.randn(rows)
    gradients = []
    for way in (lambda *given: chosen_logprobs(*given)[0], plain):
        hidden = (3 * torch.randn(rows, 16, generator=torch.Generator().manual_seed(1))).requires_grad_()
        logprobs = way(hidden, head, chosen, vocab)
        (logprobs * weights).sum().backward()
        gradients.append((logprobs.detach(), hidden.grad))
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 300])
def test_entropies(rows: int) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(16, 50, bias=False).requires_grad_(False)
    chosen, weights_N, weights_of_entropies_N = torch.randint(0, 37, (rows,)), torch.randn(rows), torch.randn(rows)
    found = []
    for way in (
        lambda hidden: chosen_logprobs(hidden, head, chosen, 37, entropies=True),
        lambda hidden: told_by_logits(head(hidden)[:, :37], chosen, entropies=True),
    ):
        hidden = (3 * torch.randn(rows, 16, generator=torch.Generator().manual_seed(1))).requires_grad_()
        logprobs, entropies, _ = way(hidden)
        (logprobs * weights_N + entropies * weights_of_entropies_N).sum().backward()
        found.append((logprobs.detach(), entropies.detach(), hidden.grad))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
    by_torch = torch.distributions.Categorical(logits=head(hidden)[:, :37]).entropy()
    torch.testing.assert_close(found[0][1], by_torch.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.4])
@pytest.mark.parametrize("rows", [1, 300])
def test_divergences(rows: int, temperature: float) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(16, 50, bias=False).requires_grad_(False)
    chosen, (weights_N, weights_of_divergences_N, weights_of_entropies_N) = (
        torch.randint(0, 37, (rows,)),
        torch.randn(3, rows),
    )
    anchor_NH = 3 * torch.randn(rows, 16)
    found = []
    for way in (
        lambda hidden: chosen_logprobs(hidden, head, chosen, 37, True, Anchor(anchor_NH, temperature)),
        lambda hidden: told_by_logits(head(hidden)[:, :37], chosen, True, head(anchor_NH)[:, :37], temperature),
    ):
        hidden = (3 * torch.randn(rows, 16, generator=torch.Generator().manual_seed(1))).requires_grad_()
        logprobs, entropies, divergences = way(hidden)
        total = logprobs * weights_N + divergences * weights_of_divergences_N + entropies * weights_of_entropies_N
        total.sum().backward()
        found.append((logprobs.detach(), entropies.detach(), divergences.detach(), hidden.grad))
    torch.testing.assert_close(*found, atol=2e-5, rtol=2e-5)
    ours, theirs = (
        torch.distributions.Categorical(logits=logits)
        for logits in (head(hidden)[:, :37], head(anchor_NH)[:, :37] / temperature)
    )
    by_torch = torch.distributions.kl_divergence(ours, theirs)
    torch.testing.assert_close(found[0][2], by_torch.detach(), atol=2e-5, rtol=2e-5)


def test_the_entropy_where_something_cannot_be_drawn() -> None:
    logits = torch.tensor([[0.0, 0.0, float("-inf")]], requires_grad=True)
    anchor = torch.tensor([[1.0, 1.0, float("-inf")]])
    logprobs, entropies, divergences = told_by_logits(logits, torch.tensor([1]), True, anchor)
    (logprobs + entropies + divergences).sum().backward()
    assert entropies.item() == pytest.approx(math.log(2))
    assert divergences.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad.isfinite().all()


def test_a_token_that_cannot_be_expected() -> None:
    head = torch.nn.Linear(2, 3, bias=False).requires_grad_(False)
    head.weight.copy_(torch.tensor([[200.0, 0.0], [0.0, 1.0], [-200.0, 0.0]]))
    (logprob,) = chosen_logprobs(torch.tensor([[1.0, 0.0]]), head, torch.tensor([2]), 3)[0]
    assert logprob == pytest.approx(-400)


def test_a_changed_weight_is_seen() -> None:
    head = torch.nn.Linear(4, 6, bias=False).requires_grad_(False)
    hidden, chosen = torch.randn(3, 4), torch.tensor([0, 1, 2])
    chosen_logprobs(hidden, head, chosen, 6)
    head.weight.mul_(2)
    torch.testing.assert_close(chosen_logprobs(hidden, head, chosen, 6)[0], plain(hidden, head, chosen, 6))


def test_where_it_fits() -> None:
    frozen = torch.nn.Linear(4, 6, bias=False).requires_grad_(False)
    assert fits(frozen)
    assert not fits(torch.nn.Linear(4, 6, bias=False))
    assert not fits(torch.nn.Linear(4, 6).requires_grad_(False))
    assert not fits(frozen.to(torch.bfloat16))

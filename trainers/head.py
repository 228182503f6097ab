"""Logprobs of chosen tokens, entropies and divergences, straight from hidden states, without keeping a number for each token of the vocabulary.

The logits of a step are larger than the model (16 documents of 112 tokens over 49,152: 350 MB, three times over with softmax and gradient). The
gradient of a token's logprob with respect to the hidden state h is W[token] - E[W[v]] over v drawn from the model: a vector of h's size; that
of the entropy H is -E[(log p[v] + H) W[v]], and that of the divergence D from q is E[(log p[v] - log q[v] - D) W[v]]. So they are computed at
once, a few rows at a time, and the logits are forgotten.

Axes: N tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch.autograd.function import once_differentiable

from llmi_env.policies.packed import Product, in_bfloat16, packed, packed_head

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = 128  # at a time: their logits fit into the processor's cache

_known: WeakKeyDictionary[Any, tuple[tuple[int, ...], Product]] = WeakKeyDictionary()


def fits(head: Any) -> bool:
    """Whether it is a frozen linear layer in float32 on the CPU."""
    return (
        type(head) is torch.nn.Linear
        and head.bias is None
        and not head.weight.requires_grad
        and head.weight.dtype == torch.float32
        and head.weight.device.type == "cpu"
    )


@dataclass(frozen=True)
class Anchor:
    """What the model is to stay near, token by token.

    Attributes:
        hidden_NH: states from which the anchor predicts the same tokens, by the same head.
        temperature: of the anchor; below 1 it is sharper than the policy that the states come from.
    """

    hidden_NH: Tensor
    temperature: float = 1.0


class Told(NamedTuple):
    """What the model says about N tokens; `None` for what was not wanted.

    Attributes:
        logprobs_N: of the tokens.
        entropies_N: of what they were drawn from, in nats.
        divergences_N: of what they were drawn from, from the anchor: KL(model, anchor) over the whole vocabulary.
    """

    logprobs_N: Tensor
    entropies_N: Tensor | None = None
    divergences_N: Tensor | None = None


def chosen_logprobs(
    hidden_NH: Tensor,
    head: Any,
    chosen_N: Tensor,
    vocab_size: int,
    entropies: bool = False,
    anchor: Anchor | None = None,
) -> Told:
    """What the model says about tokens, with gradient for the hidden states.

    Args:
        hidden_NH: from which the tokens are predicted.
        head: the output layer; see `fits`.
        chosen_N: the tokens.
        vocab_size: ids from here on cannot be drawn.
        entropies: whether they are wanted; with a gradient that takes a third product with the vocabulary.
        anchor: what divergences are wanted from; with a gradient that takes two more.
    """
    weight_VH = head.weight.detach()[:vocab_size]
    stamp = (weight_VH.data_ptr(), head.weight._version, vocab_size, in_bfloat16(head))
    found = _known.get(head)
    if found is None or found[0] != stamp:
        found = _known[head] = (stamp, packed(weight_VH.T, _ROWS, in_bfloat16(head)))
    product = packed_head(head, vocab_size)
    logprobs_N, entropies_N, divergences_N = _Chosen.apply(
        hidden_NH, weight_VH, product, found[1], chosen_N, entropies, anchor
    )
    return Told(logprobs_N, entropies_N if entropies else None, divergences_N if anchor is not None else None)


def told_by_logits(
    logits_NV: Tensor,
    chosen_N: Tensor,
    entropies: bool = False,
    anchor_logits_NV: Tensor | None = None,
    temperature: float = 1.0,
) -> Told:
    """The same from logits, for heads that do not fit."""
    if not entropies and anchor_logits_NV is None:
        return Told(-torch.nn.functional.cross_entropy(logits_NV, chosen_N, reduction="none"))
    logprobs_NV = logits_NV.log_softmax(-1)
    # What cannot be drawn has a logprob of -inf, which times its probability of 0 would be NaN.
    finite_NV = logprobs_NV.masked_fill(logprobs_NV.isneginf(), 0.0)
    divergences_N = None
    if anchor_logits_NV is not None:
        anchor_NV = (anchor_logits_NV.detach() / temperature).log_softmax(-1)
        anchor_NV = anchor_NV.masked_fill(logprobs_NV.isneginf(), 0.0)
        divergences_N = (logprobs_NV.exp() * (finite_NV - anchor_NV)).sum(-1)
    return Told(
        logprobs_NV.gather(1, chosen_N[:, None])[:, 0],
        -(logprobs_NV.exp() * finite_NV).sum(-1) if entropies else None,
        divergences_N,
    )


def tell(
    hidden_NH: Tensor,
    head: Any,
    chosen_N: Tensor,
    vocab_size: int,
    entropies: bool = False,
    anchor: Anchor | None = None,
    barred: Tensor | None = None,
) -> Told:
    """`chosen_logprobs` where the head fits, else `told_by_logits`.

    Args:
        barred: ids that cannot be drawn besides those from `vocab_size` on; their logprob is -inf.
    """
    if barred is None and fits(head):
        return chosen_logprobs(hidden_NH, head, chosen_N, vocab_size, entropies, anchor)

    def logits_of(states_NH: Tensor) -> Tensor:
        logits_NV: Tensor = head(states_NH)[:, :vocab_size].float()
        return logits_NV if barred is None else logits_NV.index_fill(1, barred[barred < vocab_size], float("-inf"))

    if anchor is None:
        return told_by_logits(logits_of(hidden_NH), chosen_N, entropies)
    return told_by_logits(logits_of(hidden_NH), chosen_N, entropies, logits_of(anchor.hidden_NH), anchor.temperature)


class _Chosen(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        logits: Product,
        mean_weight: Product,
        chosen_N: Tensor,
        entropies: bool,
        anchor: Anchor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        logprobs_N = hidden_NH.new_empty(len(hidden_NH))
        entropies_N, divergences_N = hidden_NH.new_zeros(len(hidden_NH)), hidden_NH.new_zeros(len(hidden_NH))
        wanted = ctx.needs_input_grad[0]
        direction_NH = torch.empty_like(hidden_NH) if wanted else None
        flatter_NH = torch.empty_like(hidden_NH) if wanted and entropies else None
        away_NH = torch.empty_like(hidden_NH) if wanted and anchor is not None else None
        for begin in range(0, len(hidden_NH), _ROWS):
            part = slice(begin, begin + _ROWS)
            logprobs_nV = logits(hidden_NH[part]).log_softmax(-1)
            logprobs_N[part] = logprobs_nV.gather(1, chosen_N[part, None])[:, 0]
            if entropies:
                probs_nV = logprobs_nV.exp()
                torch.neg(torch.linalg.vecdot(probs_nV, logprobs_nV), out=entropies_N[part])
                if flatter_NH is not None:
                    surprise_nV = probs_nV.mul_(logprobs_nV + entropies_N[part, None])
                    torch.neg(mean_weight(surprise_nV), out=flatter_NH[part])
            if anchor is not None:
                # In place: these are the largest tensors there are.
                excess_nV = logits(anchor.hidden_NH[part]).div_(anchor.temperature).log_softmax(-1)
                torch.sub(logprobs_nV, excess_nV, out=excess_nV)
                probs_nV = logprobs_nV.exp()
                torch.linalg.vecdot(probs_nV, excess_nV, out=divergences_N[part])
                if away_NH is not None:
                    away_NH[part] = mean_weight(probs_nV.mul_(excess_nV.sub_(divergences_N[part, None])))
            if direction_NH is not None:
                torch.sub(weight_VH[chosen_N[part]], mean_weight(logprobs_nV.exp_()), out=direction_NH[part])
        if direction_NH is not None:
            ctx.save_for_backward(direction_NH, flatter_NH, away_NH)
        ctx.mark_non_differentiable(
            *(() if entropies else (entropies_N,)), *(() if anchor is not None else (divergences_N,))
        )
        return logprobs_N, entropies_N, divergences_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dlogprobs_N: Tensor, dentropies_N: Tensor, ddivergences_N: Tensor) -> Any:
        direction_NH, flatter_NH, away_NH = ctx.saved_tensors
        dhidden_NH = direction_NH * dlogprobs_N[:, None]
        if flatter_NH is not None:
            dhidden_NH.addcmul_(flatter_NH, dentropies_N[:, None])
        if away_NH is not None:
            dhidden_NH.addcmul_(away_NH, ddivergences_N[:, None])
        return dhidden_NH, None, None, None, None, None, None

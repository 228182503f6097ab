"""Logprobs of chosen tokens straight from hidden states, without keeping a number for each token of the vocabulary.

The logits of a step are larger than the model (16 documents of 112 tokens over 49,152: 350 MB, three times over with softmax and gradient). The
gradient of a token's logprob with respect to the hidden state h is W[token] - E[W[v]] over v drawn from the model: a vector of h's size.
So it is computed at once, a few rows at a time, and the logits are forgotten.

Axes: N tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
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


def chosen_logprobs(hidden_NH: Tensor, head: Any, chosen_N: Tensor, vocab_size: int) -> Tensor:
    """(N,) logprobs of tokens, with gradient for the hidden states.

    Args:
        hidden_NH: from which the tokens are predicted.
        head: the output layer; see `fits`.
        chosen_N: the tokens.
        vocab_size: ids from here on cannot be drawn.
    """
    weight_VH = head.weight.detach()[:vocab_size]
    stamp = (weight_VH.data_ptr(), head.weight._version, vocab_size, in_bfloat16(head))
    found = _known.get(head)
    if found is None or found[0] != stamp:
        found = _known[head] = (stamp, packed(weight_VH.T, _ROWS, in_bfloat16(head)))
    logprobs_N: Tensor = _Chosen.apply(hidden_NH, weight_VH, packed_head(head, vocab_size), found[1], chosen_N)
    return logprobs_N


class _Chosen(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, logits: Product, mean_weight: Product, chosen_N: Tensor
    ) -> Tensor:
        logprobs_N = hidden_NH.new_empty(len(hidden_NH))
        direction_NH = torch.empty_like(hidden_NH) if ctx.needs_input_grad[0] else None
        for begin in range(0, len(hidden_NH), _ROWS):
            part = slice(begin, begin + _ROWS)
            logprobs_nV = logits(hidden_NH[part]).log_softmax(-1)
            logprobs_N[part] = logprobs_nV.gather(1, chosen_N[part, None])[:, 0]
            if direction_NH is not None:
                torch.sub(weight_VH[chosen_N[part]], mean_weight(logprobs_nV.exp_()), out=direction_NH[part])
        if direction_NH is not None:
            ctx.save_for_backward(direction_NH)
        return logprobs_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dlogprobs_N: Tensor) -> Any:
        (direction_NH,) = ctx.saved_tensors
        return direction_NH * dlogprobs_N[:, None], None, None, None, None

"""Weights laid out for the processor, once, for products that are computed with them very often.

torch multiplies float32 matrices with MKL, which takes each weight as it lies in memory. oneDNN, which torch brings along, reads weights
that were put into its own order beforehand: two to four times faster where few rows come at a time, as in sampling, and a tenth faster with
many. Where the processor multiplies bfloat16, products of weights and inputs rounded to it are faster again (`round_products`); what goes in
and what comes out is float32 all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    import torch

Product = Callable[["torch.Tensor"], "torch.Tensor"]
"""`x (..., K) -> x @ weight.T (..., N)`, without gradient."""


_rounded: WeakSet[Any] = WeakSet()


def round_products(*parts: Any) -> None:
    """From now on, compute products with these parts of a model, body or head, in bfloat16."""
    _rounded.update(parts)


def in_bfloat16(part: Any) -> bool:
    """Whether products with this part of a model are computed in bfloat16."""
    return part in _rounded


def packed(weight_NK: torch.Tensor, rows: int = 16, bfloat16: bool = False) -> Product:
    """The product with a weight that does not change.

    Args:
        weight_NK: float32 on the CPU is copied into oneDNN's order; any other, and any where torch has no oneDNN, is used as it is.
        rows: how many rows of x to expect; any number is right, and other orders may be quicker for it.
        bfloat16: round weight and input to it; sums are float32.
    """
    import torch

    weight_NK = weight_NK.detach()
    if bfloat16 and not (weight_NK.device.type == "cpu" and multiplies_bfloat16()):
        small_NK = weight_NK.bfloat16()
        return lambda x: torch.nn.functional.linear(x.bfloat16(), small_NK).float()
    if weight_NK.device.type != "cpu" or weight_NK.dtype != torch.float32 or not _has_onednn():
        return lambda x: torch.nn.functional.linear(x, weight_NK)
    ops = torch.ops.mkldnn
    if bfloat16:
        rounded = ops._reorder_linear_weight(weight_NK.bfloat16().contiguous(), rows)
        return lambda x: ops._linear_pointwise(x.bfloat16(), rounded, None, "none", [], "").float()  # type: ignore[no-any-return]
    laid_out = ops._reorder_linear_weight(weight_NK.contiguous(), rows)
    return lambda x: ops._linear_pointwise(x, laid_out, None, "none", [], "")  # type: ignore[no-any-return]


_heads: WeakKeyDictionary[Any, tuple[tuple[int, ...], Product]] = WeakKeyDictionary()


def packed_head(head: Any, vocab_size: int) -> Product:
    """The logits (..., `vocab_size`) of an output layer. Sampler and trainer share one copy, made again when the weight has changed."""
    stamp = (head.weight.data_ptr(), head.weight._version, vocab_size, in_bfloat16(head))
    found = _heads.get(head)
    if found is None or found[0] != stamp:
        found = _heads[head] = (stamp, packed(head.weight[:vocab_size], bfloat16=in_bfloat16(head)))
    return found[1]


@cache
def multiplies_bfloat16() -> bool:
    """Whether processor and torch multiply bfloat16 faster than float32."""
    import torch

    return _has_onednn() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def _has_onednn() -> bool:
    """Whether torch can lay out weights. These are the operators of its own compiler, not promised to users: so tried, not trusted."""
    import torch

    if not torch.backends.mkldnn.is_available():
        return False
    try:
        weight, x = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, 4)
        found = torch.ops.mkldnn._linear_pointwise(x, laid_out, None, "none", [], "")
        return bool(torch.equal(found, x @ weight.T))
    except (AttributeError, RuntimeError, TypeError):
        return False

"""The Llama family with a LoRA adapter on frozen weights, on a CPU: hidden states with gradient, in about half the time of the plain modules.

Where the time goes, and what is done about it: frozen weights are packed once for both directions (`llmi_env.policies.packed`); what reads the
same input is one product; norms are part of the weights behind them; no gradient is computed for what is frozen; activations that cost
little are computed again rather than kept; and tokens of all sequences stand in one list without padding, each prefix once.

Axes: N tokens of all sequences, each prefix once (see `trainers.prefixes`), H hidden, F feed-forward, Q query heads, K key-value heads,
D head size, R rank of the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention, silu

from llmi_env.policies.engines import LlamaEngine, model_parts
from llmi_env.policies.packed import in_bfloat16, packed
from trainers.prefixes import Tokens

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = 1024  # tokens at a time, about

_known: WeakKeyDictionary[Any, PackedLlama] = WeakKeyDictionary()


def packed_llama(model: Any) -> PackedLlama | None:
    """The fast way through a model, made when it is first asked for; `None` where the model needs the plain one."""
    if not fits(model):
        return None
    body, _ = model_parts(model)
    found = _known.get(body)
    if found is None or found.stamp != _stamp(body):
        found = _known[body] = PackedLlama(body)
    return found


def fits(model: Any) -> bool:
    """Whether the model is a Llama in float32 on the CPU whose own weights are frozen, with at most one plain adapter on each linear layer."""
    if not LlamaEngine.fits(model):
        return False
    body, _ = model_parts(model)
    if body.embed_tokens.weight.device.type != "cpu":  # made for processors; never measured on a GPU
        return False
    adapters = {
        id(parameter)
        for layer in body.layers
        for linear in _linears(layer)
        for parameter in (_adapter(linear) or _Adapter()).weights
    }
    return all(
        parameter.dtype == torch.float32 and (not parameter.requires_grad or id(parameter) in adapters)
        for parameter in body.parameters()
    ) and all(_is_plain(linear) for layer in body.layers for linear in _linears(layer))


class PackedLlama:
    """Packed copies of a model's frozen weights; those of the adapter are read where they are, each time."""

    def __init__(self, body: Any) -> None:
        config = body.config
        self.stamp = _stamp(body)
        self._eps = float(config.rms_norm_eps)
        self._theta = float(config.rope_parameters["rope_theta"])
        self._kv_heads = int(config.num_key_value_heads)
        self._heads = int(config.num_attention_heads)
        self._size = int(getattr(config, "head_dim", None) or config.hidden_size // self._heads)
        self._embedding = body.embed_tokens.weight.detach()
        self._norm = body.norm.weight.detach()
        rounded = in_bfloat16(body)
        self._layers = [
            (
                _Linear([attention.q_proj, attention.k_proj, attention.v_proj], layer.input_layernorm, rounded),
                _Linear([attention.o_proj], None, rounded),
                _Linear([mlp.gate_proj, mlp.up_proj], layer.post_attention_layernorm, rounded),
                _Linear([mlp.down_proj], None, rounded),
            )
            for layer in body.layers
            for attention, mlp in [(layer.self_attn, layer.mlp)]
        ]

    def hidden(self, tokens: Tokens) -> Tensor:
        """(N, H) last hidden states, as the model itself gives them, with gradient for the adapter."""
        cos_ND, sin_ND = self._rotary(tokens.positions_N)
        x_NH = self._embedding[tokens.ids_N]
        for qkv, o, gate_up, down in self._layers:
            q_NQD, kv_N = _Attention.apply(x_NH, qkv, self, cos_ND, sin_ND, *qkv.weights)
            x_NH = _Output.apply(self._attend(q_NQD, kv_N, tokens), x_NH, o, *o.weights)
            x_NH = _FeedForward.apply(x_NH, gate_up, down, self._eps, *gate_up.weights, *down.weights)
        return torch.nn.functional.rms_norm(x_NH, (x_NH.shape[-1],), self._norm, self._eps)

    def _attend(self, q_NQD: Tensor, kv_N: Tensor, tokens: Tokens) -> Tensor:
        """(N, Q D) what each token takes from those before it."""
        heads, groups, size = self._kv_heads, self._heads // self._kv_heads, self._size
        outs = []
        for level in tokens.levels:
            rows, width, reach = level.seen_RWL.shape
            q = level.pad(q_NQD).view(rows, width, heads, groups, size).permute(0, 2, 1, 3, 4)
            k, v = (
                kv_N.index_select(0, level.keys_RL.flatten()).view(rows, reach, 2, heads, size).permute(2, 0, 3, 1, 4)
            )
            # Query heads that share a key-value head stand beside the positions, so keys are never repeated.
            out = scaled_dot_product_attention(
                q.reshape(rows, heads, width * groups, size), k, v, attn_mask=level.bias(groups)
            )
            out = out.view(rows, heads, width, groups, size).permute(0, 2, 1, 3, 4)
            outs.append(level.unpad(out.reshape(rows * width, -1)))
        return torch.cat(outs)

    def _rotary(self, positions_N: Tensor) -> tuple[Tensor, Tensor]:
        frequencies = self._theta ** -(torch.arange(0, self._size, 2, dtype=torch.float32) / self._size)
        angles = positions_N[:, None] * frequencies
        # The sign of "rotate half" is folded into the table: x cos + swap(x) sin.
        return torch.cat([angles.cos()] * 2, dim=-1)[:, None], torch.cat([-angles.sin(), angles.sin()], dim=-1)[:, None]

    def split(self, qkv_N: Tensor) -> tuple[Tensor, Tensor]:
        """(N, Q + K, D) queries and keys, and (N, K D) values."""
        turned = (self._heads + self._kv_heads) * self._size
        return qkv_N[:, :turned].unflatten(1, (-1, self._size)), qkv_N[:, turned:]

    @property
    def heads(self) -> int:
        """Query heads."""
        return self._heads

    @property
    def eps(self) -> float:
        """What is added to the mean square under a norm's root."""
        return self._eps


# -------------------------------------------------------------------------------------------------------------- linear layers


class _Adapter(NamedTuple):
    """Weights (R, K) and (N, R) of an adapter on a linear layer, none where there is none, and what their product is multiplied with."""

    weights: tuple[Any, ...] = ()
    scale: float = 0.0


class _Linear:
    """Linear layers that read the same input, behind a norm or not, as one frozen product, rounded or not, with the adapters beside it."""

    def __init__(self, linears: Sequence[Any], norm: Any, rounded: bool) -> None:
        weight = torch.cat([_base(linear).weight.detach() for linear in linears])
        self._norm = None if norm is None else norm.weight.detach()
        if self._norm is not None:
            weight = weight * self._norm
        self._product, self._product_back = packed(weight, _ROWS, rounded), packed(weight.T, _ROWS, rounded)
        ends = [0, *accumulate(_base(linear).weight.shape[0] for linear in linears)]
        self._adapted = [
            (slice(begin, end), adapter)
            for begin, end, linear in zip(ends, ends[1:], linears, strict=False)
            if (adapter := _adapter(linear)) is not None
        ]

    @property
    def weights(self) -> list[Any]:
        """Parameters of the adapters, as `backward` gives gradients."""
        return [weight for _, adapter in self._adapted for weight in adapter.weights]

    def forward(self, x_N: Tensor) -> tuple[Tensor, Tensor | None]:
        """The product, and what the adapters made of x, to be kept for `backward`."""
        y_N = self._product(x_N)
        if not self._adapted:
            return y_N, None
        low_N = x_N @ self._first().T
        for (part, adapter), low_NR in zip(self._adapted, low_N.split(self._ranks, 1), strict=True):
            y_N[:, part].addmm_(low_NR, adapter.weights[1].T, alpha=adapter.scale)
        return y_N, low_N

    def backward(self, dy_N: Tensor, x_N: Tensor, low_N: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Gradients of x and of the adapters' weights."""
        dx_N = self._product_back(dy_N)
        if low_N is None:
            return dx_N, []
        dlow_N, gradients = torch.empty_like(low_N), []
        pairs = zip(self._adapted, low_N.split(self._ranks, 1), dlow_N.split(self._ranks, 1), strict=True)
        for (part, adapter), low_NR, dlow_NR in pairs:
            torch.mm(dy_N[:, part], adapter.weights[1] * adapter.scale, out=dlow_NR)
            gradients.append((dy_N[:, part].T @ low_NR).mul_(adapter.scale))
        first = dlow_N.T @ x_N
        if self._norm is not None:
            first *= self._norm
        dx_N.addmm_(dlow_N, self._first())
        return dx_N, [g for pair in zip(first.split(self._ranks), gradients, strict=True) for g in pair]

    @property
    def _ranks(self) -> list[int]:
        return [adapter.weights[0].shape[0] for _, adapter in self._adapted]

    def _first(self) -> Tensor:
        """The first weights of all adapters, with the norm in them."""
        first = torch.cat([adapter.weights[0].detach() for _, adapter in self._adapted])
        return first if self._norm is None else first * self._norm


def _linears(layer: Any) -> list[Any]:
    return [getattr(layer.self_attn, f"{name}_proj") for name in "qkvo"] + [
        getattr(layer.mlp, f"{name}_proj") for name in ("gate", "up", "down")
    ]


def _base(linear: Any) -> Any:
    return linear.get_base_layer() if hasattr(linear, "get_base_layer") else linear


def _adapter(linear: Any) -> _Adapter | None:
    if not hasattr(linear, "get_base_layer") or linear.disable_adapters:
        return None
    names = [name for name in linear.active_adapters if name in linear.lora_A]
    if not names:
        return None
    return _Adapter((linear.lora_A[names[0]].weight, linear.lora_B[names[0]].weight), float(linear.scaling[names[0]]))


def _is_plain(linear: Any) -> bool:
    """Whether the layer adds at most one product of two matrices to that of its weight."""
    if type(linear) is torch.nn.Linear:
        return True
    names = [name for name in linear.active_adapters if name in linear.lora_A]
    return (
        len(names) <= 1
        and not linear.merged
        and not getattr(linear, "fan_in_fan_out", False)
        and not any(getattr(linear, "use_dora", {}).get(name) for name in names)
        and not any(name in getattr(linear, "lora_variant", {}) for name in names)
        and not any(getattr(linear, "lora_bias", {}).get(name) for name in names)
        and not any(getattr(linear.lora_dropout[name], "p", 0.0) and linear.training for name in names)
    )


def _stamp(body: Any) -> tuple[Any, ...]:
    """Changes when frozen weights, their rounding or the set of adapters do."""
    linears = [linear for layer in body.layers for linear in _linears(layer)]
    adapters = [(_adapter(linear) or _Adapter()) for linear in linears]
    return (
        in_bfloat16(body),
        [(weight.data_ptr(), weight._version) for weight in (_base(linear).weight for linear in linears)],
        [(tuple(map(id, adapter.weights)), adapter.scale) for adapter in adapters],
    )


# ------------------------------------------------------------------------------------------------------------ parts of a layer


def _normed(x_NH: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Scaled to a mean square of one, and by what."""
    scale_N1 = x_NH.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
    return x_NH * scale_N1, scale_N1


def _norm_backward(dn_NH: Tensor, n_NH: Tensor, scale_N1: Tensor) -> Tensor:
    """Gradient of what was scaled; overwrites that of the result."""
    return dn_NH.sub_(n_NH * (dn_NH * n_NH).mean(-1, keepdim=True)).mul_(scale_N1)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return (x * cos).addcmul_(x.roll(x.shape[-1] // 2, -1), sin)


class _Attention(torch.autograd.Function):
    """Norm, queries, keys and values, rotated by their positions."""

    @staticmethod
    def forward(
        ctx: Any, x_NH: Tensor, qkv: _Linear, llama: PackedLlama, cos: Tensor, sin: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        n_NH, scale_N1 = _normed(x_NH, llama.eps)
        y_N, low_N = qkv.forward(n_NH)
        qk, _ = llama.split(y_N)
        turned = _turn(qk, cos, sin)
        qk.copy_(turned)
        ctx.save_for_backward(x_NH, scale_N1, low_N, cos, sin)
        ctx.qkv, ctx.llama = qkv, llama
        return turned[:, : llama.heads], y_N[:, llama.heads * turned.shape[-1] :]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dq_NQD: Tensor, dkv_N: Tensor) -> Any:
        x_NH, scale_N1, low_N, cos, sin = ctx.saved_tensors
        dy_N = torch.cat([dq_NQD.flatten(1), dkv_N], dim=1)
        dqk, _ = ctx.llama.split(dy_N)
        turned_back = (dqk * cos).add_((dqk * sin).roll(dqk.shape[-1] // 2, -1))
        dqk.copy_(turned_back)
        n_NH = x_NH * scale_N1
        dn_NH, gradients = ctx.qkv.backward(dy_N, n_NH, low_N)
        return _norm_backward(dn_NH, n_NH, scale_N1), None, None, None, None, *gradients


class _Output(torch.autograd.Function):
    """What attention found, added to the stream."""

    @staticmethod
    def forward(ctx: Any, found_N: Tensor, x_NH: Tensor, o: _Linear, *weights: Tensor) -> Tensor:
        y_NH, low_N = o.forward(found_N)
        ctx.save_for_backward(found_N, low_N)
        ctx.o = o
        return y_NH.add_(x_NH)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_NH: Tensor) -> Any:
        found_N, low_N = ctx.saved_tensors
        dfound_N, gradients = ctx.o.backward(dy_NH, found_N, low_N)
        return dfound_N, dy_NH, None, *gradients


class _FeedForward(torch.autograd.Function):
    """Norm and gated feed-forward, added to the stream."""

    @staticmethod
    def forward(ctx: Any, x_NH: Tensor, gate_up: _Linear, down: _Linear, eps: float, *weights: Tensor) -> Tensor:
        n_NH, scale_N1 = _normed(x_NH, eps)
        both_N, low_N = gate_up.forward(n_NH)
        gate_NF, up_NF = both_N.chunk(2, dim=1)
        y_NH, low_down_N = down.forward(silu(gate_NF).mul_(up_NF))
        ctx.save_for_backward(x_NH, scale_N1, both_N, low_N, low_down_N)
        ctx.gate_up, ctx.down = gate_up, down
        return y_NH.add_(x_NH)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_NH: Tensor) -> Any:
        x_NH, scale_N1, both_N, low_N, low_down_N = ctx.saved_tensors
        gate_NF, up_NF = both_N.chunk(2, dim=1)
        lit_NF = silu(gate_NF)
        dact_NF, down_gradients = ctx.down.backward(dy_NH, lit_NF * up_NF, low_down_N)
        dboth_N = torch.empty_like(both_N)
        dgate_NF, dup_NF = dboth_N.chunk(2, dim=1)
        torch.mul(dact_NF, lit_NF, out=dup_NF)
        torch.ops.aten.silu_backward.grad_input(dact_NF.mul_(up_NF), gate_NF, grad_input=dgate_NF)
        n_NH = x_NH * scale_N1
        dn_NH, gradients = ctx.gate_up.backward(dboth_N, n_NH, low_N)
        return _norm_backward(dn_NH, n_NH, scale_N1).add_(dy_NH), None, None, None, *gradients, *down_gradients

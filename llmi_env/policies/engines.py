"""Decoding with a key-value cache, as a policy needs it: prompts in, logits out, one token a row and step.

Two engines with one face. `ModelEngine` drives any causal language model of `transformers`. `LlamaEngine` is for the Llama family, to which
SmolLM2 belongs: it holds fused copies of the weights (adapter and norms merged in, laid out for the processor), a preallocated cache, and does
nothing else, which for small models on a CPU is many times faster. Both give the same logits up to rounding; the tests compare them.

The cache of a row is filled from the left without holes, so key index equals position and one rule masks everything: a query at
position p sees the keys 0..p. A prefix that all prompts share (the system prompt) is computed once, and so is a prompt that several rows share.

Axes: B rows, S new tokens, T cache length, H hidden, K key-value heads, Q query heads of one key-value head, D head size, C what the cache
holds of a token in one layer (its keys, then its values), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from llmi_env.policies.packed import in_bfloat16, packed, packed_head

if TYPE_CHECKING:
    import torch


class Engine(Protocol):
    """Decodes a batch of rows step by step."""

    prompt_tokens: int
    """Prompt tokens computed by the last `start`."""

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> torch.Tensor:
        """Read the prompts, forgetting everything before; `room` is the number of steps to expect. Returns logits (B, V)."""
        ...

    def step(self, tokens_B: Sequence[int], moves_B: Sequence[bool]) -> torch.Tensor:
        """Read one more token of each row; a row that does not move is left as it was and its logits mean nothing. Returns (B, V)."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        ...


def make_engine(model: Any, vocab_size: int) -> Engine:
    """The fastest engine that fits the model; its weights, adapter merged, are those of this moment."""
    return LlamaEngine(model, vocab_size) if LlamaEngine.fits(model) else ModelEngine(model, vocab_size)


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts share at their start, short of the last one of the shortest: its logits are needed row by row."""
    shortest, longest = min(map(tuple, prompts)), max(map(tuple, prompts))
    limit = min(len(prompt) for prompt in prompts) - 1
    return next((i for i in range(limit) if shortest[i] != longest[i]), limit)


class ModelEngine:
    """Any causal language model of `transformers`, by its own forward pass."""

    def __init__(self, model: Any, vocab_size: int) -> None:
        self._model = model
        self._vocab = vocab_size
        self.prompt_tokens = 0

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> torch.Tensor:
        """See `Engine.start`."""
        import torch
        from transformers import DynamicCache

        del room  # this cache grows
        unique = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
        self.prompt_tokens = sum(map(len, unique))
        device = next(self._model.parameters()).device
        lengths = [len(prompt) for prompt in unique]
        ids = torch.tensor([[*prompt, *[0] * (max(lengths) - len(prompt))] for prompt in unique], device=device)
        lengths_B = torch.tensor(lengths, device=device)
        self._mask_BT = (torch.arange(ids.shape[1], device=device) < lengths_B[:, None]).long()
        with torch.inference_mode():
            self._cache: Any = DynamicCache()
            positions = torch.arange(ids.shape[1], device=device).expand_as(ids)
            output = self._model(
                input_ids=ids,
                attention_mask=self._mask_BT,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
            )
            last_BV = output.logits[torch.arange(len(unique), device=device), lengths_B - 1]
            order = [unique.index(tuple(prompt)) for prompt in prompts]
            rows = torch.tensor(order, device=device)
            self._cache.batch_select_indices(rows)
            self._mask_BT, self._lengths_B = self._mask_BT[rows], lengths_B[rows]
            return last_BV[rows, : self._vocab].float()

    def step(self, tokens_B: Sequence[int], moves_B: Sequence[bool]) -> torch.Tensor:
        """See `Engine.step`."""
        import torch

        device = self._mask_BT.device
        moves = torch.tensor(moves_B, device=device).long()
        with torch.inference_mode():
            # What a row that stands still reads is masked at once and for ever.
            mask_BT = torch.cat([self._mask_BT, torch.ones_like(moves)[:, None]], dim=1)
            output = self._model(
                input_ids=torch.tensor(tokens_B, device=device)[:, None],
                attention_mask=mask_BT,
                position_ids=self._lengths_B[:, None],
                past_key_values=self._cache,
                use_cache=True,
            )
            self._mask_BT = torch.cat([self._mask_BT, moves[:, None]], dim=1)
            self._lengths_B = self._lengths_B + moves
            logits: torch.Tensor = output.logits[:, -1, : self._vocab].float()
            return logits

    def keep(self, rows: Sequence[int]) -> None:
        """See `Engine.keep`."""
        import torch

        with torch.inference_mode():
            index = torch.tensor(list(rows), device=self._mask_BT.device)
            self._cache.batch_select_indices(index)
            self._mask_BT, self._lengths_B = self._mask_BT[index], self._lengths_B[index]


class LlamaEngine:
    """The Llama family on fused, packed weights and a preallocated cache."""

    def __init__(self, model: Any, vocab_size: int) -> None:
        import torch

        body, head = model_parts(model)
        config = body.config
        self._kv_heads = int(config.num_key_value_heads)
        self._groups = int(config.num_attention_heads) // self._kv_heads
        self._size = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        self._eps = float(config.rms_norm_eps)
        self._theta = float(config.rope_parameters["rope_theta"])
        self.prompt_tokens = 0
        self._cache: torch.Tensor  # (layers, B, T, C)
        self._lengths_B: torch.Tensor
        with torch.inference_mode():
            self._embedding = body.embed_tokens.weight.detach()
            self._device = self._embedding.device
            # The weight of a layer's norm goes into what follows it: one product less in every layer and step.
            self._norm = body.norm.weight.detach()
            self._head = packed_head(head, vocab_size)
            self._layers = []
            rounded = in_bfloat16(body)
            for layer in body.layers:
                attention, mlp = layer.self_attn, layer.mlp
                w_qkv = torch.cat([_weight(getattr(attention, f"{name}_proj")) for name in "qkv"])
                w_gate_up = torch.cat([_weight(mlp.gate_proj), _weight(mlp.up_proj)])
                self._layers.append(
                    (
                        packed(w_qkv * layer.input_layernorm.weight, bfloat16=rounded),
                        packed(_weight(attention.o_proj), bfloat16=rounded),
                        packed(w_gate_up * layer.post_attention_layernorm.weight, bfloat16=rounded),
                        packed(_weight(mlp.down_proj), bfloat16=rounded),
                    )
                )

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether the model is of the family: no biases, plain rotary positions, SiLU, every linear layer plain or with LoRA."""
        config: Any = getattr(model, "config", None)
        if getattr(config, "model_type", None) != "llama" or config.hidden_act != "silu":
            return False
        rope = getattr(config, "rope_parameters", None) or {}
        if (
            config.attention_bias
            or config.mlp_bias
            or rope.get("rope_type", "default") != "default"
            or "rope_theta" not in rope
        ):
            return False
        if next(model.parameters()).device.type not in ("cpu", "cuda"):
            return False
        import torch

        body, head = model_parts(model)
        linears = [
            linear
            for layer in body.layers
            for linear in (*(getattr(layer.self_attn, f"{n}_proj") for n in "qkvo"), *layer.mlp.children())
            if hasattr(linear, "weight")
        ]
        return type(head) is torch.nn.Linear and all(
            type(linear) is torch.nn.Linear or hasattr(linear, "get_delta_weight") for linear in linears
        )

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> torch.Tensor:
        """See `Engine.start`."""
        import torch

        unique = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
        lengths = [len(prompt) for prompt in unique]
        shared = common_prefix(unique) if len(unique) > 1 else 0
        self._rotary(max(lengths) + room + 1)
        with torch.inference_mode():
            self._allocate(len(unique), max(lengths) + room)
            if shared:
                whole = self._cache
                self._allocate(1, shared)
                self._forward(self._put([unique[0][:shared]]), self._put(range(shared))[None])
                whole[:, :, :shared] = self._cache
                self._cache = whole
            width = max(lengths) - shared
            self.prompt_tokens = shared + sum(length - shared for length in lengths)
            # Padding stands after the last real token: nobody sees it, and the row's own tokens overwrite it in the cache.
            ids_BS = self._put([[*prompt[shared:], *[0] * (max(lengths) - len(prompt))] for prompt in unique])
            positions_BS = self._put(range(shared, shared + width)).expand_as(ids_BS)
            hidden_BSH = self._forward(ids_BS, positions_BS)
            last = self._put([length - shared - 1 for length in lengths])
            logits_BV = self._logits(hidden_BSH[self._put(range(len(unique))), last])
            rows = self._put([unique.index(tuple(prompt)) for prompt in prompts])
            self._lengths_B = self._put(lengths)[rows]
            self._cache = self._cache[:, rows]
            return logits_BV[rows]

    def step(self, tokens_B: Sequence[int], moves_B: Sequence[bool]) -> torch.Tensor:
        """See `Engine.step`."""
        import torch

        with torch.inference_mode():
            if int(self._lengths_B.max()) >= self._cache.shape[2]:
                self._grow()
            hidden_BSH = self._forward(self._put(tokens_B)[:, None], self._lengths_B[:, None])
            # A row that stands still keeps its length: its next token overwrites what it has just written.
            self._lengths_B = self._lengths_B + self._put(moves_B)
            return self._logits(hidden_BSH[:, 0])

    def keep(self, rows: Sequence[int]) -> None:
        """See `Engine.keep`."""
        import torch

        with torch.inference_mode():
            index = self._put(rows)
            self._cache = self._cache[:, index]
            self._lengths_B = self._lengths_B[index]

    # ------------------------------------------------------------------------------------------------------------ inside

    def _put(self, numbers: Sequence[Any]) -> torch.Tensor:
        """Whole numbers, nested or not, where the model computes."""
        import torch

        if isinstance(numbers, range):
            return torch.arange(numbers.start, numbers.stop, device=self._device)
        return torch.tensor(numbers, dtype=torch.long, device=self._device)

    def _allocate(self, rows: int, length: int) -> None:
        import torch

        shape = (len(self._layers), rows, length, 2 * self._kv_heads * self._size)
        self._cache = torch.zeros(shape, dtype=self._embedding.dtype, device=self._device)

    def _grow(self) -> None:
        """Make room where `start` was told too little (results that the policy is shown may be long)."""
        import torch

        layers, rows, _, size = self._cache.shape
        self._cache = torch.cat([self._cache, self._cache.new_zeros(layers, rows, 64, size)], dim=2)
        self._rotary(self._cache.shape[2] + 1)

    def _rotary(self, length: int) -> None:
        import torch

        where = {"dtype": torch.float32, "device": self._device}
        frequencies = self._theta ** -(torch.arange(0, self._size, 2, **where) / self._size)
        angles = torch.arange(length, **where)[:, None] * frequencies
        self._cos = torch.cat([angles.cos(), angles.cos()], dim=-1)
        # The sign of "rotate half" is folded into the table: x cos + swap(x) sin.
        self._sin = torch.cat([-angles.sin(), angles.sin()], dim=-1)

    def _forward(self, ids_BS: torch.Tensor, positions_BS: torch.Tensor) -> torch.Tensor:
        """Hidden states (B, S, H) of new tokens; writes their keys and values into the cache."""
        import torch
        from torch.nn.functional import scaled_dot_product_attention, silu

        rows, width = ids_BS.shape
        heads, groups, size = self._kv_heads, self._groups, self._size
        n_query = heads * groups
        reach = int(positions_BS.max()) + 1
        cos, sin = self._cos[positions_BS][:, :, None], self._sin[positions_BS][:, :, None]  # (B, S, 1, D)
        # Query heads that share a key-value head stand beside the positions, so keys are never repeated.
        seen = self._put(range(reach)) <= positions_BS[:, :, None]  # (B, S, T)
        mask = torch.zeros(seen.shape, dtype=self._embedding.dtype, device=self._device).masked_fill_(
            ~seen, float("-inf")
        )
        mask = mask.repeat_interleave(groups, dim=1)[:, None]  # (B, 1, S Q, T)
        places = (
            self._put(range(rows))[:, None] * self._cache.shape[2] + positions_BS
        ).flatten()  # in the cache of a layer
        x = self._embedding[ids_BS]
        for cache, (w_qkv, w_o, w_gate_up, w_down) in zip(self._cache, self._layers, strict=True):
            qkv = w_qkv(self._normed(x)).view(rows, width, -1, size)
            qk = qkv[:, :, : n_query + heads]
            qkv[:, :, : n_query + heads] = qk * cos + qk.roll(size // 2, -1) * sin
            cache.view(-1, cache.shape[-1]).index_copy_(0, places, qkv[:, :, n_query:].reshape(rows * width, -1))
            keys, values = cache[:, :reach].view(rows, reach, 2, heads, size).permute(2, 0, 3, 1, 4)  # (B, K, T, D)
            query = qkv[:, :, :n_query].reshape(rows, width, heads, groups, size).permute(0, 2, 1, 3, 4)
            out = scaled_dot_product_attention(
                query.reshape(rows, heads, width * groups, size), keys, values, attn_mask=mask
            )
            out = out.view(rows, heads, width, groups, size).permute(0, 2, 1, 3, 4).reshape(rows, width, -1)
            x += w_o(out)
            gate, up = w_gate_up(self._normed(x)).chunk(2, dim=-1)
            x += w_down(silu(gate) * up)
        return self._normed(x) * self._norm

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        """Scaled to a mean square of one; the norm's weight is in what reads it."""
        wide = x.float()
        return (wide * wide.square().mean(-1, keepdim=True).add_(self._eps).rsqrt_()).to(x.dtype)

    def _logits(self, hidden_BH: torch.Tensor) -> torch.Tensor:
        return self._head(hidden_BH).float()


def model_parts(model: Any) -> tuple[Any, Any]:
    """Body and head of a causal model, with or without a PEFT wrapper."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.model, base.lm_head


def _weight(linear: Any) -> torch.Tensor:
    """Weight of a linear layer with its active LoRA adapters added; a copy where there is one."""
    if not hasattr(linear, "get_delta_weight"):
        weight: torch.Tensor = linear.weight.detach()
        return weight
    merged: torch.Tensor = linear.get_base_layer().weight.detach()
    if not linear.disable_adapters:
        for name in linear.active_adapters:
            if name in linear.lora_A:
                merged = merged + linear.get_delta_weight(name).detach()
    return merged

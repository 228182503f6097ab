"""Decoding of one prompt with pictures: a vision-language model of `transformers` with its key-value cache.

Positions have three axes there; those of the prompt come from the model's own code, which leaves behind how far the text's are shifted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class PictureEngine:
    """An `llmi_env.policies.engines.Engine` of one row.

    Args:
        model: it.
        inputs: what its picture processor made of the prompt's pictures: `pixel_values`, `image_grid_thw`.
    """

    def __init__(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> None:
        self._model, self._inputs = model, dict(inputs)
        self.prompt_tokens = 0

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> torch.Tensor:
        """See `Engine.start`; of one prompt."""
        import torch
        from transformers import DynamicCache

        del room  # this cache grows
        (prompt,) = prompts
        ids = torch.tensor([list(prompt)])
        self.prompt_tokens = self._length = len(prompt)
        self._cache: Any = DynamicCache()
        with torch.inference_mode():
            output = self._model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == self._model.config.image_token_id).int(),
                past_key_values=self._cache,
                use_cache=True,
                **self._inputs,
            )
            self._shift = int(self._model.model.rope_deltas.flatten()[0])
            logits: torch.Tensor = output.logits[:, -1].float()
            return logits

    def step(self, tokens_B: Sequence[int], moves_B: Sequence[bool]) -> torch.Tensor:
        """See `Engine.step`."""
        import torch

        with torch.inference_mode():
            self._length += 1
            output = self._model(
                input_ids=torch.tensor([list(tokens_B)]),
                attention_mask=torch.ones(1, self._length, dtype=torch.long),
                position_ids=torch.full((3, 1, 1), self._length - 1 + self._shift),
                past_key_values=self._cache,
                use_cache=True,
            )
            logits: torch.Tensor = output.logits[:, -1].float()
            return logits

    def keep(self, rows: Sequence[int]) -> None:
        """See `Engine.keep`; one row stays."""

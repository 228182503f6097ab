"""A vision-language policy in this process: it reads the pictures of its task, and with the feedback `image` those that its calls bring.

A picture stands in the context as a run of placeholders. The model's vision tower makes as many features of it; each takes the place of one
placeholder's embedding, at a position of three axes: time, height, width. Everything else is as for text, so the sampling loop is that of
`TransformersPolicy` and only the engine differs. Families: `llmi_env.policies.vision.FAMILIES`.

Axes: B rows, U distinct prompts, S tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmi_env.document import Picture
from llmi_env.policies.base import Row, Sampling, SeenPrompt, WriteStats
from llmi_env.policies.engines import model_parts
from llmi_env.policies.transformers_policy import TransformersPolicy
from llmi_env.policies.vision import Eyes
from llmi_env.tokenizers import HFTokenizer

if TYPE_CHECKING:
    import torch


class SeeingTransformersPolicy(TransformersPolicy):
    """Samples documents from a vision-language model.

    Args:
        model: of a family that `Eyes.load` takes, with or without a LoRA adapter.
        tokenizer: its tokenizer.
        eyes: its processor.
        max_rows: rows that are sampled together.
    """

    def __init__(self, model: Any, tokenizer: HFTokenizer, eyes: Eyes, max_rows: int = 64) -> None:
        super().__init__(model, tokenizer, max_rows)
        self._eyes = eyes

    def see_prompt(self, messages: Sequence[Mapping[str, Any]], pictures: Sequence[Picture]) -> SeenPrompt:
        """Ids of a conversation whose user shows these pictures."""
        return self._eyes.see_prompt(messages, pictures)

    def picture_ids(self, picture: Picture) -> Sequence[int]:
        """What stands for a picture in the middle of the context."""
        return self._eyes.picture_ids(picture)

    async def _write(self, rows: Sequence[Row], sampling: Sampling, stats: WriteStats) -> None:
        # An engine for these rows alone: it asks each of them for the pictures that stand in its context.
        self._engine = SeeingEngine(self.model, self._tokenizer.vocab_size, self._eyes, rows)
        try:
            await super()._write(rows, sampling, stats)
        finally:
            self._engine = None


class SeeingEngine:
    """An `llmi_env.policies.engines.Engine` whose rows have pictures in their context.

    Args:
        model: the model.
        vocab_size: ids from here on cannot be drawn; placeholders cannot either.
        eyes: its processor.
        rows: those that `start` gets the prompts of, in that order.
    """

    def __init__(self, model: Any, vocab_size: int, eyes: Eyes, rows: Sequence[Row]) -> None:
        self._body, self._head = model_parts(model)
        self._vocab, self._hidden = vocab_size, [token for token in eyes.hidden_ids if token < vocab_size]
        self._looks = _Looks(self._body, eyes)
        self._rows = list(rows)
        self.prompt_tokens = 0

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> torch.Tensor:
        """See `Engine.start`."""
        import torch
        from transformers import DynamicCache

        del room  # this cache grows
        with torch.inference_mode():
            names = [
                (tuple(prompt), tuple(picture.digest for picture in row.pictures))
                for prompt, row in zip(prompts, self._rows, strict=True)
            ]
            unique = list(dict.fromkeys(names))
            order = [unique.index(name) for name in names]
            readers = [_Reader(self._looks, self._rows[order.index(u)]) for u in range(len(unique))]
            read = [reader.read(ids) for reader, (ids, _) in zip(readers, unique, strict=True)]
            lengths = [len(ids) for ids, _ in unique]
            self.prompt_tokens = sum(lengths)
            embeds_USH = torch.nn.utils.rnn.pad_sequence([embeds for embeds, _ in read], batch_first=True)
            positions_3US = torch.zeros(3, *embeds_USH.shape[:2], dtype=torch.long, device=embeds_USH.device)
            for u, (_, positions) in enumerate(read):
                positions_3US[:, u, : lengths[u]] = positions
            lengths_U = torch.tensor(lengths, device=embeds_USH.device)
            mask_US = (torch.arange(max(lengths), device=embeds_USH.device) < lengths_U[:, None]).long()
            self._cache: Any = DynamicCache()
            hidden_USH = self._forward(embeds_USH, positions_3US, mask_US)
            logits_UV = self._logits(hidden_USH[torch.arange(len(unique)), lengths_U - 1])
            rows_B = torch.tensor(order, device=embeds_USH.device)
            self._cache.batch_select_indices(rows_B)
            self._mask_BS = mask_US[rows_B]
            self._readers = [readers[u].of(row) for u, row in zip(order, self._rows, strict=True)]
            return logits_UV[rows_B]

    def step(self, tokens_B: Sequence[int], moves_B: Sequence[bool]) -> torch.Tensor:
        """See `Engine.step`."""
        import torch

        with torch.inference_mode():
            read = [
                reader.read([token]) if moves else self._looks.nothing()
                for reader, token, moves in zip(self._readers, tokens_B, moves_B, strict=True)
            ]
            embeds_BH = torch.cat([embeds for embeds, _ in read])
            positions_3B = torch.cat([positions for _, positions in read], dim=1)
            moved_B = torch.tensor(moves_B, device=embeds_BH.device).long()
            # What a row that stands still reads is masked at once and for ever.
            mask_BS = torch.cat([self._mask_BS, torch.ones_like(moved_B)[:, None]], dim=1)
            hidden_BSH = self._forward(embeds_BH[:, None], positions_3B[:, :, None], mask_BS)
            self._mask_BS = torch.cat([self._mask_BS, moved_B[:, None]], dim=1)
            return self._logits(hidden_BSH[:, 0])

    def keep(self, rows: Sequence[int]) -> None:
        """See `Engine.keep`."""
        import torch

        with torch.inference_mode():
            index = torch.tensor(list(rows), device=self._mask_BS.device)
            self._cache.batch_select_indices(index)
            self._mask_BS = self._mask_BS[index]
            self._readers = [self._readers[row] for row in rows]

    def _forward(self, embeds_BSH: torch.Tensor, positions_3BS: torch.Tensor, mask_BS: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self._body(
            inputs_embeds=embeds_BSH,
            position_ids=positions_3BS,
            attention_mask=mask_BS,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        return hidden

    def _logits(self, hidden_BH: torch.Tensor) -> torch.Tensor:
        logits_BV: torch.Tensor = self._head(hidden_BH)[:, : self._vocab].float()
        logits_BV[:, self._hidden] = float("-inf")
        return logits_BV


class _Looks:
    """Embeddings of tokens, and features of pictures with their grids; each picture is looked at once."""

    def __init__(self, body: Any, eyes: Eyes) -> None:
        self.body, self.eyes = body, eyes
        self.merge = int(body.config.vision_config.spatial_merge_size)
        self._seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    @property
    def device(self) -> Any:
        return self.body.get_input_embeddings().weight.device

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        import torch

        embeds: torch.Tensor = self.body.get_input_embeddings()(torch.tensor(list(ids), device=self.device))
        return embeds

    def at(self, picture: Picture) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (N, H) of a picture, and its grid (3,)."""
        if picture.digest not in self._seen:
            made = {name: tensor.to(self.device) for name, tensor in self.eyes.inputs([picture]).items()}
            grid = made["image_grid_thw"]
            (features,) = self.body.get_image_features(made["pixel_values"], grid).pooler_output
            self._seen[picture.digest] = features, grid[0]
        return self._seen[picture.digest]

    def nothing(self) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        return self.embed([0]), torch.zeros(3, 1, dtype=torch.long, device=self.device)


class _Reader:
    """What one row has read so far: where its next token stands, and which of its pictures comes next."""

    def __init__(self, looks: _Looks, row: Row) -> None:
        self._looks, self._row = looks, row
        self._position = self._pictures = self._feature = 0

    def of(self, row: Row) -> _Reader:
        """The same for another row that has read the same."""
        made = copy.copy(self)
        made._row = row
        return made

    def read(self, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings (S, H) and positions (3, S) of the next tokens; a run of placeholders may be cut anywhere."""
        import torch

        embeds_SH = self._looks.embed(ids).clone()
        positions_3S = torch.zeros(3, len(ids), dtype=torch.long, device=embeds_SH.device)
        at = 0
        while at < len(ids):
            if ids[at] != self._looks.eyes.placeholder:
                positions_3S[:, at] = self._position
                self._position += 1
                at += 1
                continue
            features, grid = self._looks.at(self._row.pictures[self._pictures])
            begin = self._feature
            taken = min(len(features) - begin, len(ids) - at)
            # Positions of the whole picture begin where it begins, also when it is read in pieces.
            whole_3N = self._looks.body.get_vision_position_ids(
                self._position, grid, 1, self._looks.merge, 1, device=embeds_SH.device
            )
            embeds_SH[at : at + taken] = features[begin : begin + taken].to(embeds_SH.dtype)
            positions_3S[:, at : at + taken] = whole_3N[:, begin : begin + taken]
            at, self._feature = at + taken, begin + taken
            if self._feature == len(features):
                self._position += int(max(grid[1], grid[2])) // self._looks.merge
                self._pictures, self._feature = self._pictures + 1, 0
        return embeds_SH, positions_3S

"""Sequences with common beginnings as one list of tokens, each beginning once and without padding.

Three levels: the prefix that all prompts share, the rest of each distinct prompt, and the responses. A token sees the tokens before it on its
own way through the levels, so hidden states and gradients are those of whole sequences; a group of sixteen documents costs a third less.

Axes: N tokens in the list, B sequences, U distinct prompts, T response tokens (padded on the right); of a level: R rows, W new tokens of the
longest row, L tokens that the longest row sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from llmi_env.policies.engines import common_prefix

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Level:
    """Rows whose new tokens are computed together; they are neighbours in the list.

    Attributes:
        begin: where the new tokens of the level begin in the list.
        end: where they end.
        places: those of the new tokens among R W places; `None` where all rows are equally long.
        keys_RL: what each row sees, as places in the list: what came before it, then its new tokens; 0 in the padding.
        seen_RWL: which of them each new token sees; never nothing, also in the padding.
    """

    begin: int
    end: int
    places: Tensor | None
    keys_RL: Tensor
    seen_RWL: Tensor

    def pad(self, values_N: Tensor) -> Tensor:
        """(R W, ...) of the new tokens, padded with zeros."""
        mine = values_N[self.begin : self.end]
        if self.places is None:
            return mine
        rows, width, _ = self.seen_RWL.shape
        return mine.new_zeros(rows * width, *mine.shape[1:]).index_copy(0, self.places, mine)

    def unpad(self, values_RW: Tensor) -> Tensor:
        """Of the new tokens without padding, from (R W, ...)."""
        return values_RW if self.places is None else values_RW.index_select(0, self.places)

    def bias(self, groups: int) -> Tensor:
        """(R, 1, W groups, L) what is added to attention's scores, where each token asks `groups` times."""
        if groups not in self._biases:
            bias = torch.zeros(self.seen_RWL.shape).masked_fill_(~self.seen_RWL, float("-inf"))
            self._biases[groups] = bias.repeat_interleave(groups, dim=1)[:, None]
        return self._biases[groups]

    @cached_property
    def _biases(self) -> dict[int, Tensor]:
        return {}


@dataclass(frozen=True, eq=False)
class Tokens:
    """Sequences as one list of tokens.

    Attributes:
        ids_N: the tokens, level by level and row by row. The last token of each response predicts nothing and is not among them.
        positions_N: place of each in its sequence.
        levels: those that have tokens.
        before_BT: for each response token the place in the list of the token before it; 0 in the padding.
    """

    ids_N: Tensor
    positions_N: Tensor
    levels: Sequence[Level]
    before_BT: Tensor


def lay_out(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Tokens:
    """The list of `prompts[b] + responses[b]`; prompts and responses have at least one id each."""
    unique = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
    shared = common_prefix(unique) if len(unique) > 1 else 0
    ids: list[int] = []
    positions: list[int] = []
    levels: list[Level] = []

    def add(rows: Sequence[Sequence[int]], before: Sequence[Sequence[int]]) -> list[list[int]]:
        """Add a level of rows after what each has seen before; returns what each has seen then, as places in the list."""
        begin, ways = len(ids), []
        for row, way in zip(rows, before, strict=True):
            ways.append([*way, *range(len(ids), len(ids) + len(row))])
            ids.extend(row)
            positions.extend(range(len(way), len(way) + len(row)))
        if len(ids) > begin:
            levels.append(_level(begin, [len(row) for row in rows], ways))
        return ways

    (common,) = add([unique[0][:shared]], [[]])
    ways_U = add([prompt[shared:] for prompt in unique], [common] * len(unique))
    ways_B = [ways_U[unique.index(tuple(prompt))] for prompt in prompts]
    ends_B = add([response[:-1] for response in responses], ways_B)
    before = [way[len(way) - len(response) :] for way, response in zip(ends_B, responses, strict=True)]
    return Tokens(torch.tensor(ids), torch.tensor(positions), levels, _padded(before))


def _level(begin: int, new: Sequence[int], ways: Sequence[Sequence[int]]) -> Level:
    new_R1, length_R1 = torch.tensor(new)[:, None], torch.tensor([len(way) for way in ways])[:, None]
    columns_W = torch.arange(max(new))
    real_RW = columns_W < new_R1
    keys_RL = _padded(ways)
    places_L = torch.arange(keys_RL.shape[1])
    last_RW = torch.where(real_RW, length_R1 - new_R1 + columns_W, length_R1 - 1)  # padding sees all that its row sees
    places = None if min(new) == max(new) else real_RW.flatten().nonzero()[:, 0]
    return Level(begin, begin + sum(new), places, keys_RL, places_L <= last_RW[..., None])


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])

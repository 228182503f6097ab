"""A policy that samples from a causal language model of `transformers`, many documents at once.

The sampling loop is our own, for three reasons: ids and logprobs must be exactly those that were drawn, each token must reach its document as
soon as it is drawn, so that calls start while the policy writes on, and a finished document must leave the batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmi_env.policies.base import Row, Sampling, WriteStats
from llmi_env.policies.compute import compute
from llmi_env.policies.engines import Engine, make_engine
from llmi_env.policies.logit_scale import scale_now
from llmi_env.tokenizers import HFTokenizer

if TYPE_CHECKING:
    import torch

_KEEP_SHARE = (
    0.75  # the batch is made smaller once fewer than this share of its rows still write: moving the cache costs a step
)


class TransformersPolicy:
    """Samples documents from a model.

    Args:
        model: a causal language model, with or without a LoRA adapter.
        tokenizer: its tokenizer.
        max_rows: rows that are sampled together; more are taken in turns.

    The engine holds its own, merged weights: call `refresh` after the model's were changed.
    """

    def __init__(self, model: Any, tokenizer: HFTokenizer, max_rows: int = 64) -> None:
        self.model = model
        self.max_rows = max_rows
        self._tokenizer = tokenizer
        self._engine: Engine | None = None

    @classmethod
    def load(cls, name: str | Path = "warm-start", max_rows: int = 64) -> TransformersPolicy:
        """Load by name; see `llmi_env.models.resolve_policy`. A vision-language model comes with its eyes, as `SeeingTransformersPolicy`."""
        from llmi_env.models import load_model, resolve_policy, sees_pictures
        from llmi_env.policies.seeing_policy import SeeingTransformersPolicy
        from llmi_env.policies.vision import Eyes

        model, tokenizer = load_model(name)
        if sees_pictures(name):
            return SeeingTransformersPolicy(model, tokenizer, Eyes.load(resolve_policy(name).base), max_rows)
        return cls(model, tokenizer, max_rows)

    @property
    def tokenizer(self) -> HFTokenizer:
        """The model's tokenizer."""
        return self._tokenizer

    def refresh(self) -> None:
        """Take the model's present weights from the next `write` on."""
        self._engine = None

    async def write(self, rows: Sequence[Row], sampling: Sampling) -> WriteStats:
        """Sample until every row is done; the model computes in a thread, so that tools and judges go on meanwhile."""
        stats = WriteStats()
        for start in range(0, len(rows), self.max_rows):
            await self._write(rows[start : start + self.max_rows], sampling, stats)
        return stats

    async def _write(self, rows: Sequence[Row], sampling: Sampling, stats: WriteStats) -> None:
        scale = scale_now(self.model)
        clock = time.perf_counter()
        if self._engine is None:
            self._engine = await compute(make_engine, self.model, self._tokenizer.vocab_size)
        engine = self._engine
        held = [_Line(row, np.random.default_rng(row.seed)) for row in rows]  # in the order of the engine's rows
        ready = held
        prompts, room = [row.prompt_ids for row in rows], max(row.max_tokens for row in rows)
        drawn = await compute(_begin, engine, prompts, room, [line.draw() for line in ready], sampling, scale)
        stats.prompt_tokens += engine.prompt_tokens
        while True:
            for line, (token, logprob) in zip(ready, drawn, strict=True):
                line.row.take(token, logprob)
                line.unread.append(token)
            stats.tokens += len(ready)
            alive = [line for line in held if not line.row.done]
            stats.seconds += time.perf_counter() - clock
            if not alive:
                return
            clock = time.perf_counter()
            await _until_one_goes_on(alive)
            stats.waited += time.perf_counter() - clock
            clock = time.perf_counter()
            if len(alive) < _KEEP_SHARE * len(held):
                await compute(engine.keep, [i for i, line in enumerate(held) if not line.row.done])
                held = alive
            moving = []
            for line in alive:
                if not line.row.waiting:
                    line.unread.extend(line.row.shown())
                    moving.append(line)
            # Who has just one token left to read writes the next one; a row that waits stands still with its last token unread.
            ready = [line for line in moving if len(line.unread) == 1]
            moves = [not line.row.done and not line.row.waiting for line in held]
            tokens = [line.unread.pop(0) if goes else 0 for line, goes in zip(held, moves, strict=True)]
            chosen = [i for i, line in enumerate(held) if line in ready]
            drawn = await compute(
                _advance, engine, tokens, moves, chosen, [line.draw() for line in ready], sampling, scale
            )


@dataclass(eq=False)
class _Line:
    """A row with the policy's own notes on it."""

    row: Row
    dice: np.random.Generator
    unread: list[int] = field(default_factory=list)
    """Tokens of the row that the model has not read yet: the last one written, and what the row is shown."""

    def draw(self) -> float:
        """The next uniform number of this row: what it writes does not depend on who else is in the batch."""
        return float(self.dice.random())


async def _until_one_goes_on(lines: Sequence[_Line]) -> None:
    while all(line.row.waiting for line in lines):
        news = [asyncio.ensure_future(line.row.changed()) for line in lines]
        try:
            await asyncio.wait(news, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in news:
                task.cancel()


Drawn = list[tuple[int, float]]


def _begin(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    room: int,
    draws_B: Sequence[float],
    sampling: Sampling,
    scale: float,
) -> Drawn:
    return draw(engine.start(prompts, room), draws_B, sampling, scale)


def _advance(
    engine: Engine,
    tokens_B: Sequence[int],
    moves_B: Sequence[bool],
    chosen: Sequence[int],
    draws: Sequence[float],
    sampling: Sampling,
    scale: float,
) -> Drawn:
    logits_BV = engine.step(tokens_B, moves_B)
    return draw(logits_BV if len(chosen) == len(tokens_B) else logits_BV[list(chosen)], draws, sampling, scale)


def draw(logits_BV: torch.Tensor, draws_B: Sequence[float], sampling: Sampling, scale: float = 1.0) -> Drawn:
    """One token a row with its logprob under the distribution that it was drawn from (at temperature 0: under the model's own).

    Args:
        logits_BV: float32 logits.
        draws_B: a uniform number in [0, 1) for each row: the row's token is where the cumulated probability passes it.
        sampling: temperature and top-p.
        scale: what the logits are multiplied by, the model's own (`logit_scale`).
    """
    import torch

    if not draws_B:
        return []
    with torch.inference_mode():
        logits_BV = logits_BV if scale == 1 else logits_BV * scale
        if sampling.temperature == 0:
            tokens_B = logits_BV.argmax(-1)
            probs_BV = logits_BV.softmax(-1)
        else:
            probs_BV = (logits_BV if sampling.temperature == 1 else logits_BV / sampling.temperature).softmax(-1)
            if sampling.top_p < 1:
                probs_BV = _nucleus(probs_BV, sampling.top_p)
            tokens_B = _where_passed(probs_BV, torch.tensor(draws_B, dtype=torch.float64, device=logits_BV.device))
        chosen_B = probs_BV.gather(-1, tokens_B[:, None])[:, 0].double().log()
        return list(zip(tokens_B.tolist(), chosen_B.tolist(), strict=True))


_BLOCK = 128


def _where_passed(probs_BV: torch.Tensor, draws_B: torch.Tensor) -> torch.Tensor:
    """The token of each row where the cumulated probability passes its draw: first the block of tokens, then the token in it."""
    import torch

    blocks_BNC = torch.nn.functional.pad(probs_BV, (0, -probs_BV.shape[-1] % _BLOCK)).unflatten(-1, (-1, _BLOCK))
    # float64, or the tail of a large vocabulary drowns in rounding
    cumulated_BN = blocks_BNC.sum(-1, dtype=torch.float64).cumsum(-1)
    marks_B1 = draws_B[:, None] * cumulated_BN[:, -1:]
    block_B1 = _first_beyond(cumulated_BN, marks_B1)
    before_B1 = torch.nn.functional.pad(cumulated_BN, (1, 0)).gather(-1, block_B1)
    inside_BC = blocks_BNC.gather(1, block_B1[..., None].expand(-1, -1, _BLOCK))[:, 0].double().cumsum(-1)
    return (block_B1 * _BLOCK + _first_beyond(inside_BC, marks_B1 - before_B1))[:, 0]


def _first_beyond(cumulated_BN: torch.Tensor, marks_B1: torch.Tensor) -> torch.Tensor:
    """(B, 1) index of the first number greater than the mark; by rounding a mark may reach the last one, and what follows has probability 0."""
    import torch

    return torch.searchsorted(cumulated_BN, torch.minimum(marks_B1, cumulated_BN[:, -1:] * (1 - 1e-12)), right=True)


def _nucleus(probs_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    ordered_BV, order_BV = probs_BV.sort(-1, descending=True)
    before_BV = ordered_BV.cumsum(-1) - ordered_BV
    dropped_BV = (before_BV >= top_p).gather(-1, order_BV.argsort(-1))
    kept_BV = probs_BV.masked_fill(dropped_BV, 0.0)
    return kept_BV / kept_BV.sum(-1, keepdim=True)

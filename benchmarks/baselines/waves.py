"""Tools after writing, in waves: how LLM-I's released code comes to its pictures, rebuilt from reading it (ByteDance-BandAI/LLM-I at a20e409).

1. The policy writes every document of the batch; no call begins before the last one is written.
2. Six documents at a time are illustrated. Of one document, all calls that change no figure are carried out by eight threads; when the last of
   them has ended, all edits whose figure is there now; and so on, until none is left.

Documents and pictures are those of `llmi_env.rollout.run_rollouts`; only when things happen differs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.baselines.after_batch import WrittenRow
from llmi_env.document import Document
from llmi_env.episode import CallRequest, Episode
from llmi_env.policies.base import Policy, Sampling
from llmi_env.rollout import rollout_seed
from llmi_env.task import Task
from llmi_env.world.protocol import World
from llmi_env.world.runtime import CallScheduler

DOCUMENTS = 6
"""Documents that are illustrated at the same time."""
CALLS = 8
"""Calls of one document that run at the same time."""


@dataclass(frozen=True)
class Illustrated:
    """A document with its pictures.

    Attributes:
        document: with the outcome of every call.
        written: seconds from the first token of the batch to the last one of this document.
        landed: the same to its last picture.
    """

    document: Document
    written: float
    landed: float


class _TimedRow(WrittenRow):
    """Notes when its last token came."""

    written = 0.0

    def take(self, token: int, logprob: float) -> None:
        super().take(token, logprob)
        self.written = time.perf_counter()


async def write_then_illustrate(
    policy: Policy,
    world: World,
    tasks: Sequence[Task],
    *,
    seed: int = 0,
    max_tokens: int = 112,
    documents: int | None = DOCUMENTS,
    calls: int | None = CALLS,
) -> list[Illustrated]:
    """Write one document for each task, then illustrate all of them.

    Args:
        policy: writes.
        world: carries out calls.
        tasks: one document each.
        seed: as of `run_rollouts`.
        max_tokens: as of `run_rollouts`.
        documents: how many are illustrated at the same time; all, where nothing is given.
        calls: how many calls of one document run at the same time; all, where nothing is given.
    """
    start = time.perf_counter()
    keys = [task.key for task in tasks]
    rows = [
        _TimedRow(task, number, rollout_seed(seed, task, 0, keys[:number].count(task.key)), policy, max_tokens)
        for number, task in enumerate(tasks)
    ]
    await policy.write(rows, Sampling())
    turn = asyncio.Semaphore(documents or max(1, len(rows)))

    async def illustrated(row: _TimedRow) -> Illustrated:
        async with turn:
            await in_waves(world, row.episode, calls)
        return Illustrated(row.episode.document, row.written - start, time.perf_counter() - start)

    return await asyncio.gather(*map(illustrated, rows))


async def in_waves(world: World, episode: Episode, at_once: int | None = CALLS) -> None:
    """Carry out what a finished document asks for, wave by wave."""
    places = asyncio.Semaphore(at_once or max(1, episode.n_figures))
    async with CallScheduler(world) as own:
        for index in range(episode.n_figures):
            if (outcome := episode.figure(index).outcome) is not None:
                own.settle(index, outcome)

        async def carry_out(request: CallRequest) -> None:
            async with places:
                own.start(request)
                await own.wait_for(request.index)

        while wave := [one for one in episode.pending.values() if one.depends_on not in episode.pending]:
            await asyncio.gather(*map(carry_out, wave))
            for request in wave:
                episode.deliver(request.index, own.outcomes[request.index])

"""Tools and judges after the batch is written: the way of LLM-I's released code, rebuilt from its description.

Three stages, each of which begins when the last document is through the one before:

1. the policy writes every document;
2. the calls are carried out in waves: the first call of every document, then the second ones, and so on, with a barrier in between;
3. a pool of threads judges the documents, one each at a time.

Documents, pictures and rewards are those of `llmi_env.rollout.run_rollouts`; only when things happen differs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from llmi_env import prompting
from llmi_env.calls import BUILTIN
from llmi_env.document import Picture
from llmi_env.episode import Episode, StopReason
from llmi_env.policies.base import Policy, Sampling
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout, RolloutTimes, rollout_seed
from llmi_env.task import Task
from llmi_env.transcript import Transcript
from llmi_env.world.protocol import World
from llmi_env.world.runtime import CallScheduler

THREADS = 8


class WrittenRow:
    """A document that is only written; its calls wait in the episode."""

    pictures: Sequence[Picture] = ()
    waiting = False

    def __init__(self, task: Task, group: int, seed: int, policy: Policy, max_tokens: int) -> None:
        self.task, self.group, self.seed, self.max_tokens = task, group, seed, max_tokens
        self.prompt_ids: Sequence[int] = policy.tokenizer.chat(prompting.messages(task, BUILTIN, "compact"))
        self.episode = Episode(task, None, BUILTIN, seed)
        self.transcript = Transcript(self.episode, policy.tokenizer, self.prompt_ids, max_tokens)

    @property
    def done(self) -> bool:
        return self.episode.stop is not None

    def take(self, token: int, logprob: float) -> None:
        self.transcript.append((token,), (logprob,))

    def shown(self) -> Sequence[int]:
        return ()

    async def changed(self) -> None:
        return

    def end(self) -> None:
        self.transcript.end(StopReason.LENGTH)


async def score_after_batch(
    policy: Policy,
    world: World,
    reward: HybridReward,
    tasks: Sequence[Task],
    *,
    samples: int = 1,
    seed: int = 0,
    max_tokens: int = 112,
    threads: int = THREADS,
) -> tuple[Rollout, ...]:
    """Write, then illustrate, then judge `samples` documents for each task; arguments as of `run_rollouts`."""
    start = time.perf_counter()
    keys = [task.key for task in tasks]
    rows = [
        WrittenRow(task, group, rollout_seed(seed, task, sample, keys[:group].count(task.key)), policy, max_tokens)
        for group, task in enumerate(tasks)
        for sample in range(samples)
    ]
    await policy.write(rows, Sampling())
    written = time.perf_counter() - start
    await _illustrate(world, [row.episode for row in rows])
    landed = time.perf_counter() - start
    loop = asyncio.get_running_loop()

    def judged(row: WrittenRow) -> Rollout:
        # A thread waits for its document, as one that sends a request does.
        answer = asyncio.run_coroutine_threadsafe(world.judge(row.episode.document, row.task), loop).result()
        times = RolloutTimes(written, landed, time.perf_counter() - start)
        document, stop = row.episode.document, row.episode.stop or StopReason.LENGTH
        report = reward.score(document, row.task, answer)
        return Rollout(row.task, row.seed, row.group, row.transcript.ledger, document, stop, report, times)

    with ThreadPoolExecutor(threads) as pool:
        return tuple(await asyncio.gather(*(loop.run_in_executor(pool, judged, row) for row in rows)))


async def _illustrate(world: World, episodes: Sequence[Episode]) -> None:
    """Carry out the calls in waves: each document's next call, all of them awaited before the wave after."""
    calls = [CallScheduler(world) for _ in episodes]
    for episode, own in zip(episodes, calls, strict=True):
        for index in range(episode.n_figures):
            if (outcome := episode.figure(index).outcome) is not None:
                own.settle(index, outcome)
    while wave := [pair for pair in zip(episodes, calls, strict=True) if pair[0].pending]:
        started = [(episode, own, min(episode.pending)) for episode, own in wave]
        for episode, own, index in started:
            own.start(episode.pending[index])
        outcomes = await asyncio.gather(*(own.wait_for(index) for _, own, index in started))
        for (episode, _, index), outcome in zip(started, outcomes, strict=True):
            episode.deliver(index, outcome)

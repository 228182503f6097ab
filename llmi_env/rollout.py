"""Rollouts: a policy writes documents for tasks while the World carries out their calls and judges what is finished.

Nothing waits for the slowest: a call starts when its closing tag is written, a document is judged when its last picture has landed, and both go
on while other documents are still being written. What could not be scored is a value, `report.total is None`, and travels to the trainer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmi_env import prompting
from llmi_env.calls import BUILTIN, ToolSpec
from llmi_env.document import Outcome, Picture
from llmi_env.episode import CallRequest, Limits, StopReason
from llmi_env.errors import ConfigError
from llmi_env.ledger import Ledger
from llmi_env.making import NOT_SCORED, Making, Rollout, RolloutTimes, together
from llmi_env.policies.base import Policy, Sampling, SeeingPolicy, SeenPrompt, WriteStats
from llmi_env.prompting import PromptStyle
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.seeds import derived_seed
from llmi_env.task import Task
from llmi_env.transcript import Transcript
from llmi_env.world.protocol import World

__all__ = [
    "NOT_SCORED",
    "Awaited",
    "Feedback",
    "Meanwhile",
    "Rollout",
    "RolloutBatch",
    "RolloutTimes",
    "rollout_seed",
    "run_rollouts",
]

Feedback = Literal["none", "text", "image"]


@dataclass(frozen=True)
class RolloutBatch:
    """The rollouts of one batch, in the order asked for, with what making them took.

    Attributes:
        rollouts: group by group.
        stats: what the policy did.
        seconds: from the first prompt to the last judgment.
        after: the part of it in which nothing was left to write or to do meanwhile: waiting for tools and judges.
        meanwhile: seconds in which the caller did something else while it waited.
    """

    rollouts: tuple[Rollout, ...]
    stats: WriteStats
    seconds: float
    after: float
    meanwhile: float = 0.0


class Awaited:
    """Rollouts that are written to the end, while tools and judges are still at work on some of them.

    Attributes:
        ledgers: of all rollouts, in their order.
        rollouts: those that are judged, `None` in the place of the others.
        idle: seconds spent in `more`.
    """

    def __init__(self, ledgers: Sequence[Ledger], rollouts: Sequence[Rollout | None], news: asyncio.Event) -> None:
        self.ledgers, self.rollouts, self._news = ledgers, rollouts, news
        self.idle = 0.0

    @property
    def pending(self) -> bool:
        """Whether any is still awaited."""
        return any(rollout is None for rollout in self.rollouts)

    async def more(self) -> None:
        """Wait until one more is judged than when this was last called, or all are."""
        start = time.perf_counter()
        if self.pending:
            await self._news.wait()
        self._news.clear()
        self.idle += time.perf_counter() - start


Meanwhile = Callable[[Awaited], Awaitable[None]]
"""What may be done while tools and judges finish."""


def rollout_seed(seed: int, task: Task, sample: int, repeat: int = 0) -> int:
    """Seed of one rollout: fixed by the batch's seed, the task, the number of the sample, and how often the batch had that task before."""
    return derived_seed(seed, task.key, sample, *([repeat] if repeat else []))


async def run_rollouts(
    policy: Policy,
    world: World,
    reward: HybridReward | None,
    tasks: Sequence[Task],
    *,
    samples: int = 1,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    max_tokens: int = 112,
    sampling: Sampling | None = None,
    limits: Limits | None = None,
    tools: Mapping[str, ToolSpec] = BUILTIN,
    prompt: PromptStyle = "compact",
    feedback: Feedback = "none",
    versions: Mapping[str, str] | None = None,
    on_done: Callable[[Rollout], None] | None = None,
    meanwhile: Meanwhile | None = None,
) -> RolloutBatch:
    """Write, illustrate, judge and score `samples` documents for each task.

    Args:
        policy: writes.
        world: carries out calls and judges.
        reward: scores; without one nothing is judged, and each report is `NOT_SCORED`.
        tasks: one group each.
        samples: documents of each task: the group size.
        seed: same seed, same weights, same rollouts.
        seeds: of each rollout, in place of those that `seed` gives it by `rollout_seed`.
        max_tokens: tokens that the policy may write for a document.
        sampling: temperature and top-p.
        limits: bounds of a document.
        tools: specs of the tools at hand.
        prompt: how the system prompt explains them.
        feedback: what the policy is shown of its pictures: nothing, a line of text, or the picture besides (for a `SeeingPolicy`).
        versions: of judges and prompts, for the report.
        on_done: called with each finished rollout as it is scored.
        meanwhile: called when the last token is written, and waited for. It must leave the event loop free while it computes.

    Raises:
        WorldError: the World cannot be reached.
    """
    if samples < 1 or max_tokens < 1:
        raise ConfigError(f"samples and max_tokens must be 1 or more, not {samples} and {max_tokens}")
    if feedback == "image" and not isinstance(policy, SeeingPolicy):
        raise ConfigError(f"feedback 'image' needs a policy that sees pictures; {type(policy).__name__} takes 'text'")
    start = time.perf_counter()
    keys = [task.key for task in tasks]
    wanted = [(task, group, sample) for group, task in enumerate(tasks) for sample in range(samples)]
    if seeds is None:
        seeds = [rollout_seed(seed, task, sample, keys[:group].count(task.key)) for task, group, sample in wanted]
    elif len(seeds) != len(wanted):
        raise ConfigError(f"{len(wanted)} rollouts need as many seeds, not {len(seeds)}")
    rows = [
        _Writing(
            Making(task, world, seed=own, group=group, limits=limits, tools=tools, start=start),
            policy,
            prompting.messages(task, tools, prompt),
            max_tokens,
            feedback,
        )
        for (task, group, _), own in zip(wanted, seeds, strict=True)
    ]

    judged: list[Rollout | None] = [None] * len(rows)
    news = asyncio.Event()

    async def finish(place: int, row: _Writing) -> Rollout:
        rollout = judged[place] = await row.finish(reward, versions)
        news.set()
        if on_done is not None:
            on_done(rollout)
        return rollout

    async def write() -> tuple[WriteStats, float]:
        stats = await policy.write(rows, sampling or Sampling())
        if meanwhile is None:
            return stats, 0.0
        begun, awaited = time.perf_counter(), Awaited([row.ledger for row in rows], judged, news)
        await meanwhile(awaited)
        return stats, time.perf_counter() - begun - awaited.idle

    works: list[Coroutine[Any, Any, Any]] = [write(), *(finish(place, row) for place, row in enumerate(rows))]
    try:
        # A World that is gone ends everything at once; so does an error of the policy.
        (stats, busy), *rollouts = await together(works)
    finally:
        await asyncio.gather(*(row.aclose() for row in rows))
    end = time.perf_counter()
    written = max((row.written for row in rows), default=start)
    return RolloutBatch(tuple(rollouts), stats, end - start, max(0.0, end - written - busy), busy)


class _Writing:
    """A document in the making as the policy's `Row`: tokens go in, and what the policy is shown comes out."""

    def __init__(
        self,
        making: Making,
        policy: Policy,
        messages: Sequence[dict[str, Any]],
        max_tokens: int,
        feedback: Feedback,
    ) -> None:
        self._making, self._episode, self._shows = making, making.episode, feedback != "none"
        self._eyes = policy if feedback == "image" and isinstance(policy, SeeingPolicy) else None
        images = self._episode.task.images
        if isinstance(policy, SeeingPolicy):
            seen = policy.see_prompt(messages, images)
        else:
            seen = SeenPrompt(policy.tokenizer.chat(messages))
        prompt_ids = seen.ids
        shown = (
            [(begin, length, image) for (begin, length), image in zip(seen.runs, images, strict=True)]
            if seen.runs
            else []
        )
        self._transcript = Transcript(self._episode, policy.tokenizer, prompt_ids, max_tokens, shown)
        self._finished = asyncio.Event()
        self._news = asyncio.Event()
        self._unshown: list[int] = []
        self._shower: asyncio.Task[None] | None = None
        self.prompt_ids: Sequence[int] = prompt_ids
        self.max_tokens = max_tokens

    # ------------------------------------------------------------------------------------------------- the policy's side

    @property
    def seed(self) -> int:
        return self._episode.seed

    @property
    def ledger(self) -> Ledger:
        return self._transcript.ledger

    @property
    def done(self) -> bool:
        return self._making.done

    @property
    def written(self) -> float:
        assert self._making.written is not None, "the document has ended"
        return self._making.written

    @property
    def pictures(self) -> Sequence[Picture]:
        return [picture for _, _, picture in self._transcript.ledger.pictures]

    @property
    def waiting(self) -> bool:
        return self._shows and not self.done and bool(self._episode.pending) and not self._unshown

    def take(self, token: int, logprob: float) -> None:
        self._begin(self._transcript.append((token,), (logprob,)))

    def shown(self) -> Sequence[int]:
        ids, self._unshown = self._unshown, []
        return ids

    async def changed(self) -> None:
        self._news.clear()
        if self.waiting:
            await self._news.wait()

    def end(self) -> None:
        self._begin(self._transcript.end(StopReason.LENGTH))

    # -------------------------------------------------------------------------------------------------- the World's side

    def _begin(self, requests: Sequence[CallRequest]) -> None:
        failed = self._making.begin(requests)
        if self.done:
            self._finished.set()
        elif self._shows:
            for index, outcome in failed:
                self._inject(index, outcome)
            if requests:
                self._shower = asyncio.create_task(self._show())

    def _inject(self, index: int, outcome: Outcome) -> None:
        seen = self._eyes.picture_ids(outcome) if self._eyes is not None and isinstance(outcome, Picture) else ()
        self._unshown.extend(self._transcript.inject(index, outcome, seen))

    async def _show(self) -> None:
        try:
            async for index, outcome in self._making.landing():
                if not self.done:  # nobody reads it any more
                    self._inject(index, outcome)
                self._news.set()
        except BaseException:
            self._finished.set()  # nobody would wake the row any more: `finish` passes the error on
            raise

    async def finish(self, reward: HybridReward | None, versions: Mapping[str, str] | None) -> Rollout:
        await self._finished.wait()
        if self._shower is not None:
            await self._shower
        return await self._making.finish(reward, versions, self.ledger)

    async def aclose(self) -> None:
        if self._shower is not None:
            self._shower.cancel()
        await self._making.aclose()

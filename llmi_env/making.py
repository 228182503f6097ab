"""One document in the making: what its writer and the World do to it, whoever the writer is.

Text goes into the episode; the calls that it completes start at once, and their pictures come into their places while it is written on. A
policy in this process writes token by token (`llmi_env.rollout`), an endpoint elsewhere in pieces of text::

    async with Making(task, world, seed=7) as making:
        async for text in stream:
            making.write(text)
        making.end()
        rollout = await making.finish(reward)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from llmi_env.calls import BUILTIN, ToolSpec
from llmi_env.document import Document, Outcome
from llmi_env.episode import CallRequest, Episode, Limits, StopReason
from llmi_env.ledger import Ledger
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.report import RewardReport
from llmi_env.task import Task
from llmi_env.world.protocol import World
from llmi_env.world.runtime import CallScheduler

T = TypeVar("T")


@dataclass(frozen=True)
class RolloutTimes:
    """Clock times of one rollout, in seconds since the batch began; they never influence anything.

    Attributes:
        written: when the last token was there.
        landed: when the last picture had landed.
        judged: when the judges had answered.
    """

    written: float = 0.0
    landed: float = 0.0
    judged: float = 0.0


@dataclass(frozen=True)
class Rollout:
    """One document of one policy: what was written, what came of it and what it was worth.

    Attributes:
        task: what was asked for.
        seed: of the draws and of the calls.
        group: rollouts of the same number share a baseline.
        ledger: every token with owner and logprob; empty where the document came as text.
        document: the document with its outcomes.
        stop: why it ended.
        report: the reward with its terms; `report.total` is `None` where there is no score.
        times: when things happened.
    """

    task: Task
    seed: int
    group: int
    ledger: Ledger
    document: Document
    stop: StopReason
    report: RewardReport
    times: RolloutTimes = field(default_factory=RolloutTimes, compare=False)

    @property
    def reward(self) -> float | None:
        """The reward in [0, 1], or `None` where there is no score."""
        return self.report.total


NOT_SCORED = RewardReport(None, {}, ("no reward was asked for",))
"""The report of a document that was written without being scored."""


class Making:
    """One document being written and illustrated.

    Args:
        task: what is to be written.
        world: carries out calls and judges.
        seed: moves the seeds of all calls.
        group: of the rollout.
        limits: bounds of the document.
        tools: specs of the tools at hand.
        start: moment of `time.perf_counter` since which times are counted; now, where none is given.
    """

    def __init__(
        self,
        task: Task,
        world: World,
        *,
        seed: int = 0,
        group: int = 0,
        limits: Limits | None = None,
        tools: Mapping[str, ToolSpec] = BUILTIN,
        start: float | None = None,
    ) -> None:
        self.episode = Episode(task, limits, tools, seed)
        self.written: float | None = None
        """When the last of it was written, on the same clock."""
        self._group, self._world = group, world
        self._start = time.perf_counter() if start is None else start
        self._calls = CallScheduler(world)
        self._known = 0

    @property
    def done(self) -> bool:
        """Whether the document has ended, so that nothing more can be written."""
        return self.episode.stop is not None

    def write(self, text: str) -> None:
        """Append text and start the calls that it completes.

        Raises:
            EpisodeOver: the document has ended.
        """
        self.begin(self.episode.write(text))

    def end(self, reason: StopReason = StopReason.END) -> None:
        """End the document, where it has not ended by itself."""
        self.begin(self.episode.end(reason))

    def begin(self, requests: Sequence[CallRequest]) -> list[tuple[int, Outcome]]:
        """Start calls that the episode asks for.

        Returns:
            Figures that came about since the last time and have their outcome already: those whose call cannot be carried out.
        """
        for request in requests:
            self._calls.start(request)
        failed: list[tuple[int, Outcome]] = []
        for index in range(self._known, self.episode.n_figures):
            if (outcome := self.episode.figure(index).outcome) is not None:
                self._calls.settle(index, outcome)  # later edits must find it
                failed.append((index, outcome))
        self._known = self.episode.n_figures
        if self.done and self.written is None:
            self.written = time.perf_counter()
        return failed

    async def landing(self) -> AsyncIterator[tuple[int, Outcome]]:
        """Outcomes as they land, each put into its place; ends when none is pending, and may be called again after more were started.

        Raises:
            WorldError: the World cannot be reached at all.
        """
        async for index, outcome in self._calls.completed():
            self.episode.deliver(index, outcome)
            yield index, outcome

    async def finish(
        self,
        reward: HybridReward | None = None,
        versions: Mapping[str, str] | None = None,
        ledger: Ledger | None = None,
    ) -> Rollout:
        """Wait for the last picture and for the judges of a document that has ended.

        Args:
            reward: scores it; without one no judge is asked.
            versions: of judges and prompts, for the report.
            ledger: its tokens; none where it came as text.

        Raises:
            WorldError: the World cannot be reached at all.
        """
        stop, written = self.episode.stop, self.written
        assert stop is not None, "it has ended"
        assert written is not None
        async for _ in self.landing():
            pass
        landed = time.perf_counter()
        document, task = self.episode.document, self.episode.task
        report = NOT_SCORED
        if reward is not None:
            judgments = await self._world.judge(document, task) if reward.judged_terms else {}
            report = reward.score(document, task, judgments, versions)
        times = RolloutTimes(written - self._start, landed - self._start, time.perf_counter() - self._start)
        return Rollout(task, self.episode.seed, self._group, ledger or Ledger(), document, stop, report, times)

    async def aclose(self) -> None:
        """Drop every call that is still running."""
        await self._calls.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        """Use it for the length of a block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what is left."""
        await self.aclose()


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it side by side: the results in order. The first error ends the rest, which is gone when it is raised here."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""Rollouts: a policy writes documents for tasks while the World carries out their calls and judges what is finished.

Nothing waits for the slowest: a call starts when its closing tag is written, a document is judged when its last picture has landed, and both go
on while other documents are still being written. What could not be scored is a value, `report.total is None`, and travels to the trainer.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmi_env import prompting
from llmi_env.calls import BUILTIN, ToolSpec
from llmi_env.document import Document, Outcome, Picture
from llmi_env.episode import CallRequest, Episode, Limits, StopReason
from llmi_env.errors import ConfigError
from llmi_env.ledger import Ledger
from llmi_env.policies.base import Policy, Sampling, SeeingPolicy, SeenPrompt, WriteStats
from llmi_env.prompting import PromptStyle
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.report import RewardReport
from llmi_env.task import Task
from llmi_env.transcript import Transcript
from llmi_env.world.protocol import World
from llmi_env.world.runtime import CallScheduler

Feedback = Literal["none", "text", "image"]


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
        ledger: every token with owner and logprob.
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


@dataclass(frozen=True)
class RolloutBatch:
    """The rollouts of one batch, in the order asked for, with what making them took.

    Attributes:
        rollouts: group by group.
        stats: what the policy did.
        seconds: from the first prompt to the last judgment.
        after: the part of it in which nothing was left to write or to do meanwhile: waiting for tools and judges.
        meanwhile: what the caller did while it waited.
    """

    rollouts: tuple[Rollout, ...]
    stats: WriteStats
    seconds: float
    after: float
    meanwhile: float = 0.0


Meanwhile = Callable[[Sequence[Ledger], Callable[[], bool]], Awaitable[None]]
"""What may be done while tools and judges finish: takes the ledgers of all rollouts in their order, and whether all are judged."""


def rollout_seed(seed: int, task: Task, sample: int, repeat: int = 0) -> int:
    """Seed of one rollout: fixed by the batch's seed, the task, the number of the sample, and how often the batch had that task before."""
    name = f"{seed}:{task.key}:{sample}" + (f":{repeat}" if repeat else "")
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


async def run_rollouts(
    policy: Policy,
    world: World,
    reward: HybridReward,
    tasks: Sequence[Task],
    *,
    samples: int = 1,
    seed: int = 0,
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
        reward: scores.
        tasks: one group each.
        samples: documents of each task: the group size.
        seed: same seed, same weights, same rollouts.
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
    makings = [
        _Making(
            task,
            group,
            rollout_seed(seed, task, sample, keys[:group].count(task.key)),
            policy,
            world,
            limits,
            tools,
            prompt,
            max_tokens,
            feedback,
            start,
        )
        for group, task in enumerate(tasks)
        for sample in range(samples)
    ]

    async def finish(making: _Making) -> Rollout:
        rollout = await making.finish(reward, versions)
        if on_done is not None:
            on_done(rollout)
        return rollout

    finishing = [asyncio.create_task(finish(making)) for making in makings]
    writing = asyncio.create_task(policy.write(makings, sampling or Sampling()))

    async def wait() -> float:
        await writing
        begun = time.perf_counter()
        if meanwhile is not None:
            await meanwhile([making.ledger for making in makings], lambda: all(task.done() for task in finishing))
        return time.perf_counter() - begun

    waiting = asyncio.create_task(wait())
    written = start
    try:
        # A World that is gone ends everything at once; so does an error of the policy.
        await _first_error([writing, waiting, *finishing])
        written = max(making.written for making in makings) if makings else start
        stats = writing.result()
    finally:
        for task_ in (waiting, writing, *finishing):
            task_.cancel()
        await asyncio.gather(waiting, writing, *finishing, return_exceptions=True)
        await asyncio.gather(*(making.aclose() for making in makings))
    end, busy = time.perf_counter(), waiting.result()
    rollouts = tuple(task_.result() for task_ in finishing)
    return RolloutBatch(rollouts, stats, end - start, max(0.0, end - written - busy), busy)


async def _first_error(tasks: Iterable[Awaitable[object]]) -> None:
    await asyncio.gather(*tasks)


class _Making:
    """One rollout in the making: the policy's `Row` on one side, the World on the other."""

    def __init__(
        self,
        task: Task,
        group: int,
        seed: int,
        policy: Policy,
        world: World,
        limits: Limits | None,
        tools: Mapping[str, ToolSpec],
        prompt: PromptStyle,
        max_tokens: int,
        feedback: Feedback,
        start: float,
    ) -> None:
        self._task, self._group, self._seed, self._start = task, group, seed, start
        self._world, self._shows = world, feedback != "none"
        self._eyes = policy if feedback == "image" and isinstance(policy, SeeingPolicy) else None
        messages = prompting.messages(task, tools, prompt)
        if isinstance(policy, SeeingPolicy):
            seen = policy.see_prompt(messages, task.images)
        else:
            seen = SeenPrompt(policy.tokenizer.chat(messages))
        prompt_ids = seen.ids
        shown = (
            [(begin, length, image) for (begin, length), image in zip(seen.runs, task.images, strict=True)]
            if seen.runs
            else []
        )
        self._episode = Episode(task, limits, tools, seed)
        self._transcript = Transcript(self._episode, policy.tokenizer, prompt_ids, max_tokens, shown)
        self._calls = CallScheduler(world)
        self._finished = asyncio.Event()
        self._news = asyncio.Event()
        self._unshown: list[int] = []
        self._shower: asyncio.Task[None] | None = None
        self.written = start
        self.prompt_ids: Sequence[int] = prompt_ids
        self.max_tokens = max_tokens

    # ------------------------------------------------------------------------------------------------- the policy's side

    @property
    def seed(self) -> int:
        return self._seed

    @property
    def ledger(self) -> Ledger:
        return self._transcript.ledger

    @property
    def done(self) -> bool:
        return self._episode.stop is not None

    @property
    def pictures(self) -> Sequence[Picture]:
        return [picture for _, _, picture in self._transcript.ledger.pictures]

    @property
    def waiting(self) -> bool:
        return self._shows and not self.done and bool(self._episode.pending) and not self._unshown

    def take(self, token: int, logprob: float) -> None:
        figures = self._episode.n_figures
        requests = self._transcript.append((token,), (logprob,))
        self._start_calls(figures, requests)
        if self.done:
            self.written = time.perf_counter()
            self._finished.set()

    def shown(self) -> Sequence[int]:
        ids, self._unshown = self._unshown, []
        return ids

    async def changed(self) -> None:
        self._news.clear()
        if self.waiting:
            await self._news.wait()

    def end(self) -> None:
        figures = self._episode.n_figures
        self._start_calls(figures, self._transcript.end(StopReason.LENGTH))
        self.written = time.perf_counter()
        self._finished.set()

    # -------------------------------------------------------------------------------------------------- the World's side

    def _start_calls(self, figures: int, requests: Sequence[CallRequest]) -> None:
        for request in requests:
            self._calls.start(request)
        for index in range(figures, self._episode.n_figures):
            # A call that could not be read or carried out has its outcome already; later edits must find it.
            if (outcome := self._episode.figure(index).outcome) is not None:
                self._calls.settle(index, outcome)
                if self._shows and not self.done:
                    self._unshown.extend(self._inject(index, outcome))
        if requests and self._shows and not self.done:
            self._shower = asyncio.create_task(self._show())

    def _inject(self, index: int, outcome: Outcome) -> list[int]:
        seen = self._eyes.picture_ids(outcome) if self._eyes is not None and isinstance(outcome, Picture) else ()
        return self._transcript.inject(index, outcome, seen)

    async def _show(self) -> None:
        try:
            async for index, outcome in self._calls.completed():
                self._episode.deliver(index, outcome)
                if not self.done:  # nobody reads it any more
                    self._unshown.extend(self._inject(index, outcome))
                self._news.set()
        except BaseException:
            self._finished.set()  # nobody would wake the row any more: `finish` passes the error on
            raise

    async def finish(self, reward: HybridReward, versions: Mapping[str, str] | None) -> Rollout:
        await self._finished.wait()
        if self._shower is not None:
            await self._shower
        async for index, outcome in self._calls.completed():
            self._episode.deliver(index, outcome)
        landed = time.perf_counter()
        document = self._episode.document
        judgments = await self._world.judge(document, self._task) if reward.judged_terms else {}
        report = reward.score(document, self._task, judgments, versions)
        stop = self._episode.stop
        assert stop is not None
        times = RolloutTimes(self.written - self._start, landed - self._start, time.perf_counter() - self._start)
        return Rollout(self._task, self._seed, self._group, self._transcript.ledger, document, stop, report, times)

    async def aclose(self) -> None:
        if self._shower is not None:
            self._shower.cancel()
        await self._calls.__aexit__(None, None, None)

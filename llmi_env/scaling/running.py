"""Scaling one task: the five stages, one after the other, on one budget.

    sample -> validate -> select -> enhance -> polish

Every stage begins with the best document of the one before and ends with the best that it found. What it tried is kept, whatever became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from llmi_env.calls import BUILTIN, ToolSpec
from llmi_env.episode import Limits
from llmi_env.errors import ConfigError, LLMIError
from llmi_env.policies.base import Policy, Sampling
from llmi_env.prompting import PromptStyle
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import NOT_SCORED, Rollout, rollout_seed
from llmi_env.scaling.budget import Budget, Meter, Spent, goes_into
from llmi_env.scaling.checking import faults_of
from llmi_env.scaling.enhancing import Enhancing, Picker
from llmi_env.scaling.judging import Judging
from llmi_env.scaling.pairs import PairJudge
from llmi_env.scaling.plan import STAGES, Plan, StageName
from llmi_env.scaling.polishing import Polishing
from llmi_env.scaling.result import Scaled, StageReport, Tried
from llmi_env.scaling.writing import PolicyWriter, Room, Writer
from llmi_env.task import Task
from llmi_env.world.protocol import World

_FREE_CALLS = 2  # what a document is given room for where the task leaves the number of pictures open


class NothingWritten(LLMIError, RuntimeError):
    """Raised when not one document could be had; the message says why.

    Attributes:
        spent: what was spent all the same.
    """

    def __init__(self, reason: str, spent: Spent) -> None:
        super().__init__(reason, spent)
        self.reason, self.spent = reason, spent

    def __str__(self) -> str:
        return self.reason


async def scale(
    task: Task,
    *,
    policy: Policy | Writer,
    world: World,
    reward: HybridReward | str = "llmi",
    budget: Budget | None = None,
    stages: Plan | str | Sequence[StageName] = STAGES,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    max_tokens: int = 224,
    sampling: Sampling | None = None,
    limits: Limits | None = None,
    tools: Mapping[str, ToolSpec] = BUILTIN,
    prompt: PromptStyle = "compact",
    pairs: PairJudge | None = None,
    picker: Picker | None = None,
    polisher: Writer | None = None,
    on_stage: Callable[[StageReport], None] | None = None,
) -> Scaled:
    """Write the best document for a task that the budget allows.

    Args:
        task: what is to be written. Judges and rules see it without the tools that it needs, unless the plan says so.
        policy: writes: a policy in this process, or any `Writer`.
        world: carries out calls and judges.
        reward: what documents are worth; a preset by name, or the reward itself.
        budget: bounds; without it the plan alone says how much is done.
        stages: the plan, or what `Plan.parse` reads, or the stages of the default plan.
        seed: same seed, same weights, same World: the same result, unless seconds are bounded.
        seeds: of the documents written, in place of those that `seed` gives them by `rollout_seed`; as many as the plan has samples.
        max_tokens: tokens of a document; for a policy in this process, as are the next four.
        sampling: temperature and top-p; 0.7 and 0.95 by default.
        limits: bounds of a document.
        tools: specs of the tools at hand.
        prompt: how the system prompt explains them.
        pairs: compares two documents, where the plan selects by tournament; the reward's terms by default.
        picker: chooses pictures in the judges' place.
        polisher: writes the text anew in the policy's place.
        on_stage: is told how things stand at the end of each stage.

    Raises:
        ConfigError: a plan, budget or reward that cannot be.
        NothingWritten: not one document could be had.
        WorldError: the World cannot be reached while documents are written. Later than that what there is is given back.
    """
    plan = (
        stages
        if isinstance(stages, Plan)
        else Plan.parse(stages)
        if isinstance(stages, str)
        else Plan(stages=tuple(stages))
    )
    if isinstance(policy, Policy):
        writer: Writer = PolicyWriter(
            policy, world, max_tokens=max_tokens, sampling=sampling, limits=limits, tools=tools, prompt=prompt
        )
    else:
        writer = policy
    if seeds is None:
        seeds = [rollout_seed(seed, task, sample) for sample in range(plan.samples)]
    if len(set(seeds)) != plan.samples:
        raise ConfigError(f"scaling: {plan.samples} documents need as many seeds that differ, not {list(seeds)[:8]}")
    work = _Scaling(
        task,
        writer,
        world,
        HybridReward.load(reward) if isinstance(reward, str) else reward,
        plan,
        budget or Budget(),
        seed,
        tools,
        pairs,
        picker,
        polisher or writer,
        on_stage,
    )
    return await work.run(seeds)


class _Scaling:
    """One task being scaled."""

    def __init__(
        self,
        task: Task,
        writer: Writer,
        world: World,
        reward: HybridReward,
        plan: Plan,
        budget: Budget,
        seed: int,
        tools: Mapping[str, ToolSpec],
        pairs: PairJudge | None,
        picker: Picker | None,
        polisher: Writer,
        on_stage: Callable[[StageReport], None] | None,
    ) -> None:
        self._task, self._writer, self._plan, self._budget, self._seed = task, writer, plan, budget, seed
        self._seen = task if plan.tools_told else replace(task, tools=())
        self._meter, self._tried = Meter(budget), Tried()
        self._judging = Judging(world, reward, plan, self._seen, self._meter, self._tried, pairs)
        self._enhancing = Enhancing(
            self._seen, world, writer, plan, tools, self._meter, self._tried, self._judging, picker, seed
        )
        self._polishing = Polishing(self._seen, polisher, plan, self._meter, self._tried, self._judging, seed)
        self._on_stage = on_stage
        self._reports: list[StageReport] = []
        self._reasons: list[str] = []

    async def run(self, seeds: Sequence[int]) -> Scaled:
        self._stage("sample", 0, await self._sample(seeds))
        chosen = 0
        if "validate" in self._plan.stages:
            chosen = self._first_valid()
            self._stage("validate", chosen)
        if "select" in self._plan.stages:
            chosen, stopped, reasons = await self._judging.best(self._contenders())
            self._reasons += reasons
            self._tell_chosen(chosen)
            self._stage("select", chosen, stopped)
        if "enhance" in self._plan.stages:
            chosen, stopped = await self._enhancing.enhance(chosen)
            self._stage("enhance", chosen, stopped)
        if "polish" in self._plan.stages:
            chosen, stopped = await self._polishing.polish(chosen)
            self._stage("polish", chosen, stopped)
        if self._tried.now(chosen).rollout.report == NOT_SCORED:
            await self._judging.judge([chosen])
        return Scaled(
            self._task,
            self._seed,
            self._plan,
            self._budget,
            tuple(self._tried.candidates),
            tuple(sorted(self._tried.lost, key=lambda lost: (STAGES.index(lost.stage), lost.note))),
            tuple(self._reports),
            chosen,
            self._meter.spent,
            tuple(self._reasons),
        )

    # -------------------------------------------------------------------------------------------------------------- sample

    async def _sample(self, seeds: Sequence[int]) -> str:
        """Write documents, in waves; says why there are fewer than planned."""
        left, best, stopped = list(enumerate(seeds)), None, ""
        while left and not stopped:
            count, room = self._room(min(self._plan.wave or len(left), len(left)))
            if not count:
                stopped = self._meter.exhausted(documents=1, tokens=room.tokens, tool_calls=room.calls)
                break
            wave, left = left[:count], left[count:]
            await self._write(wave, room)
            stopped = self._meter.exhausted()
            if left and self._plan.wave and self._tried.candidates and "select" in self._plan.stages and not stopped:
                number, stopped, _ = await self._judging.best(self._contenders())
                value = self._tried.now(number).value
                if self._judging.enough(number):
                    stopped = "it is enough"
                elif best is not None and value is not None and value <= best + self._plan.gain:
                    stopped = "another wave brought no gain"
                best = value
        if not self._tried.candidates:
            whys = dict.fromkeys(lost.why for lost in self._tried.lost)
            why = "; ".join(list(whys)[:3]) or stopped
            raise NothingWritten(f"no document could be had: {why}", self._meter.spent)
        return stopped

    def _room(self, wanted: int) -> tuple[int, Room]:
        """How many documents can be written side by side, and what each may take."""
        most, count = self._writer.most, self._seen.image_count
        calls = min(most.calls, max(count, 1) if isinstance(count, int) else _FREE_CALLS)
        number = self._meter.affordable(wanted, documents=1, tokens=most.tokens, tool_calls=calls)
        if not number:
            if self._tried.candidates or self._tried.lost:
                return 0, Room(most.tokens, calls)
            number = 1  # a document there must be, however short
        tokens = goes_into(self._meter.left("tokens"), number, most.tokens)
        return number, Room(tokens, goes_into(self._meter.left("tool_calls"), number, most.calls))

    async def _write(self, wave: Sequence[tuple[int, int]], room: Room) -> None:
        """Write one wave. What is unfinished when the time is over is given up, once there is a document at all."""
        found: dict[int, tuple[Rollout | str, Spent]] = {}
        one = asyncio.Event()
        if self._tried.candidates:
            one.set()

        def done(place: int, rollout: Rollout | str, spent: Spent) -> None:
            found[place] = rollout, spent
            if isinstance(rollout, Rollout):
                one.set()

        seeds = [seed for _, seed in wave]
        writing = self._writer.write(self._seen, seeds, room, done)
        work, waiting = map(asyncio.ensure_future, (writing, one.wait()))
        try:
            left = self._meter.left("seconds")
            await asyncio.wait([work], timeout=None if left == float("inf") else left)
            await asyncio.wait([work, waiting], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, waiting):
                task.cancel()
            await asyncio.gather(work, waiting, return_exceptions=True)
        for place, (sample, _) in enumerate(wave):
            rollout, spent = found.get(place, ("the time was over", Spent()))
            self._meter.add(spent)
            note = f"sample {sample}"
            if isinstance(rollout, str):
                self._tried.lose("sample", note, rollout, spent)
                continue
            made = self._tried.add("sample", rollout, spent, note=note)
            if "validate" in self._plan.stages:
                self._tried.update(made.number, faults=faults_of(rollout.document, self._seen, rollout.stop))

    # --------------------------------------------------------------------------------------------------- validate and select

    def _contenders(self) -> list[int]:
        """The documents to choose from: the valid ones, or all where there is none."""
        written = [candidate for candidate in self._tried.candidates if candidate.stage == "sample"]
        return [candidate.number for candidate in written if candidate.valid] or [
            candidate.number for candidate in written
        ]

    def _first_valid(self) -> int:
        candidates = self._tried.candidates
        for candidate in candidates:
            self._tried.update(candidate.number, verdict="valid" if candidate.valid else "not valid")
        if not any(candidate.valid for candidate in candidates):
            self._reasons.append(f"none of {len(candidates)} documents is valid: the best of what there is was taken")
        return min(candidates, key=lambda candidate: len(candidate.faults or ())).number

    def _tell_chosen(self, chosen: int) -> None:
        for number in self._contenders():
            value = self._tried.now(number).value
            worth = "" if value is None else f": {value:.3f}"
            self._tried.update(number, verdict=f"{'chosen' if number == chosen else 'not chosen'}{worth}")

    def _stage(self, stage: StageName, chosen: int, stopped: str = "") -> None:
        report = StageReport(stage, chosen, self._meter.spent, stopped)
        self._reports.append(report)
        if self._on_stage is not None:
            self._on_stage(report)

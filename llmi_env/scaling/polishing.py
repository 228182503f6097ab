"""The stage `polish`: the text written anew around the pictures, taken only where judges prefer it."""

from __future__ import annotations

from dataclasses import replace

from llmi_env.scaling.budget import Meter
from llmi_env.scaling.checking import faults_of
from llmi_env.scaling.enhancing import changed_rollout
from llmi_env.scaling.judging import Judging
from llmi_env.scaling.plan import Plan
from llmi_env.scaling.result import Tried
from llmi_env.scaling.writing import Room, Writer
from llmi_env.seeds import derived_seed
from llmi_env.task import Task


class Polishing:
    """Polishes documents of one task.

    Args:
        task: as judges and rules see it.
        writer: writes the text anew; it may be another one than wrote the document, one that sees its pictures.
        plan: how much is tried.
        meter: pays.
        tried: keeps every document.
        judging: says what is better.
        seed: of what is tried.
    """

    def __init__(
        self, task: Task, writer: Writer, plan: Plan, meter: Meter, tried: Tried, judging: Judging, seed: int
    ) -> None:
        self._task, self._writer, self._plan, self._seed = task, writer, plan, seed
        self._meter, self._tried, self._judging = meter, tried, judging

    async def polish(self, number: int) -> tuple[int, str]:
        """Try other texts, several times where the plan says so and it helps.

        Returns:
            The best candidate by then, and why less was done than planned.
        """
        most = self._writer.most.tokens
        for round_ in range(self._plan.rounds):
            if self._judging.enough(number):
                return number, "it is enough"
            each = {"documents": 1, "tokens": most}
            paid = self._meter.affordable(self._plan.rewrites, **each)
            chosen = await self._round(number, round_, paid) if paid else number
            stopped = self._meter.exhausted(**(each if paid < self._plan.rewrites else {}))
            if chosen == number or stopped:
                return chosen, stopped
            number = chosen
        return number, ""

    async def _round(self, number: int, round_: int, count: int) -> int:
        candidate = self._tried.now(number)
        seeds = [derived_seed(self._seed, "polish", number, round_, at) for at in range(count)]
        room = Room(self._writer.most.tokens, 0)
        (texts,) = await self._meter.gather([self._writer.rewrite(self._task, candidate.document, seeds, room)])
        made: list[int] = []
        for seed, found in zip(seeds, texts or [], strict=bool(texts)):
            self._meter.add(found.spent)
            note = f"text written anew from seed {seed}"
            if found.document is None:
                self._tried.lose("polish", note, found.why, found.spent)
                continue
            rollout = replace(changed_rollout(candidate.rollout, found.document), stop=found.stop)
            kept = self._tried.add("polish", rollout, found.spent, number, note)
            if candidate.faults is not None:
                faults = faults_of(found.document, self._task, found.stop)
                self._tried.update(kept.number, faults=faults)
            made.append(kept.number)
        return await self._judging.best_change(number, made) if made else number

"""What scaling brings: the document, everything that was tried on the way, what it took, and why it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from llmi_env.document import Document
from llmi_env.rollout import Rollout
from llmi_env.scaling.budget import Budget, Spent
from llmi_env.scaling.plan import Plan, StageName
from llmi_env.task import Task


@dataclass(frozen=True)
class Candidate:
    """A document that was tried.

    Attributes:
        number: its place among everything tried.
        stage: which stage made it.
        rollout: the document with its report. The ledger is that of its writing, and empty where a later stage changed the document.
        spent: what making it took, its judging left out.
        parent: the candidate that it was made of; `None` for one that was written as a whole.
        faults: what is wrong with it; `None` where nobody looked.
        value: what it is worth, in [0, 1], by what the plan selects by; `None` where there is no score, which is not a low one.
        note: what was tried.
        verdict: what came of it.
    """

    number: int
    stage: StageName
    rollout: Rollout
    spent: Spent
    parent: int | None = None
    faults: tuple[str, ...] | None = None
    value: float | None = None
    note: str = ""
    verdict: str = ""

    @property
    def document(self) -> Document:
        """The document."""
        return self.rollout.document

    @property
    def valid(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return not self.faults


@dataclass(frozen=True)
class Lost:
    """Something that was tried and brought no document.

    Attributes:
        stage: in which stage.
        note: what was tried.
        why: why nothing came of it.
        spent: what it took all the same.
    """

    stage: StageName
    note: str
    why: str
    spent: Spent


@dataclass(frozen=True)
class StageReport:
    """How things stood at the end of a stage.

    Attributes:
        stage: which.
        chosen: number of the candidate that was the best by then.
        spent: everything from the start.
        stopped: why it did less than the plan says; empty where it did all of it.
    """

    stage: StageName
    chosen: int
    spent: Spent
    stopped: str = ""


@dataclass(frozen=True)
class Scaled:
    """The outcome of scaling one task.

    Attributes:
        task: what was asked for.
        seed: of everything.
        plan: what was to be done.
        budget: what might be spent.
        tried: all candidates, by number.
        lost: what was tried and brought no document.
        stages: how things stood at the end of each stage.
        number: of the candidate chosen.
        spent: everything.
        reasons: what the user ought to know of the choice, one sentence each: that no document is valid, that judges failed.
    """

    task: Task
    seed: int
    plan: Plan
    budget: Budget
    tried: tuple[Candidate, ...]
    lost: tuple[Lost, ...]
    stages: tuple[StageReport, ...]
    number: int
    spent: Spent
    reasons: tuple[str, ...] = ()

    @property
    def chosen(self) -> Candidate:
        """The candidate chosen."""
        return self.tried[self.number]

    @property
    def rollout(self) -> Rollout:
        """Document and report of the candidate chosen, for the task as it was given."""
        return replace(self.chosen.rollout, task=self.task)

    @property
    def document(self) -> Document:
        """The document."""
        return self.chosen.document

    @property
    def valid(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return self.chosen.valid

    @property
    def value(self) -> float | None:
        """What it is worth by what the plan selects by; `None` where there is no score."""
        return self.chosen.value

    @property
    def stopped(self) -> str:
        """Why less was done than planned, first reason first; empty where all was done."""
        return "; ".join(f"{report.stage}: {report.stopped}" for report in self.stages if report.stopped)

    def at(self, stage: StageName) -> Candidate:
        """The candidate that was the best at the end of a stage.

        Raises:
            KeyError: the plan has no such stage.
        """
        return self.tried[{report.stage: report.chosen for report in self.stages}[stage]]


@dataclass
class Tried:
    """Everything tried so far; candidates are added and never taken out."""

    candidates: list[Candidate] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)

    def add(
        self, stage: StageName, rollout: Rollout, spent: Spent, parent: int | None = None, note: str = ""
    ) -> Candidate:
        """Keep a document; it gets the next number."""
        made = Candidate(len(self.candidates), stage, rollout, spent, parent, note=note)
        self.candidates.append(made)
        return made

    def lose(self, stage: StageName, note: str, why: str, spent: Spent) -> None:
        """Keep what brought none."""
        self.lost.append(Lost(stage, note, why, spent))

    def now(self, number: int) -> Candidate:
        """A candidate with what is known of it by now."""
        return self.candidates[number]

    def update(self, number: int, **changes: object) -> Candidate:
        """Note what became known of a candidate."""
        self.candidates[number] = replace(self.candidates[number], **changes)  # type: ignore[arg-type]
        return self.candidates[number]

    def all_of(self, numbers: Sequence[int]) -> list[Candidate]:
        """Several at once."""
        return [self.candidates[number] for number in numbers]

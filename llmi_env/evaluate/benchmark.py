"""What a benchmark is: items, questions for judges, and measures that are computed from the answers.

Three steps are kept apart, so that any of them can be repeated alone: documents are written for items, questions about each document are
answered by judges, and measures are computed from the answers. An answer that never came is no low score: a measure that needs it has
bounds instead of a value (see `results`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from llmi_env.document import Document, Picture
from llmi_env.errors import LLMIError
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.task import Task

GIVEN = "given"
"""Tool that figures name whose pictures were there already: those of published answers and of finished documents."""


class BenchmarkError(LLMIError, ValueError):
    """Raised when a benchmark's files are not what its format says; the message names file, item and field."""


@dataclass(frozen=True)
class Item:
    """One item of a benchmark.

    Attributes:
        task: what is to be written; its `id` is unique in the benchmark.
        kind: the part of the benchmark that it belongs to, by which results are broken down; "" where there are no parts.
        reference: the published answer, where there is one.
        facts: what else the benchmark's protocol needs, as the loader read it: criteria, structures, questions.
    """

    task: Task
    kind: str = ""
    reference: Document | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The task's id."""
        assert self.task.id is not None, "loaders give every item an id"
        return self.task.id


@dataclass(frozen=True)
class Question:
    """One request to a judge about one document.

    Attributes:
        name: unique among the questions about a document.
        criteria: what to score, by short names; the answer has a number for each.
        low: lowest score of each criterion.
        high: highest score.
        show: `pictures` lays the document out as a reader sees it, for a vision-language model; `source` shows calls as text.
        part: what is shown of the document; the whole where `None`. A document of its own, made of the document's blocks.
        prompt: name of the prompt among `llmi_env/judges/prompts`.
        given: pictures and words that the judge sees besides the task's, e.g. a reference answer, under a heading each.
    """

    name: str
    criteria: Mapping[str, str]
    low: int
    high: int
    show: Literal["pictures", "source"] = "pictures"
    part: Document | None = None
    prompt: str = "rubric"
    given: Mapping[str, Sequence[str | Picture]] = field(default_factory=dict)


Scores = Mapping[str, float]
"""Answers about one document by `QUESTION/CRITERION`, within each question's scale."""


@dataclass(frozen=True)
class Measure:
    """One figure of a benchmark.

    Attributes:
        name: of the figure.
        low: its least possible value.
        high: its greatest possible value.
        what: what it says, in one line, with the published definition where it is one.
    """

    name: str
    low: float
    high: float
    what: str


@runtime_checkable
class Benchmark(Protocol):
    """The protocol of one benchmark.

    `measure` must be monotone in every score: results take its bounds by putting the lowest and the highest score for answers that are missing.
    """

    name: str
    """As the command line knows it."""

    version: str
    """Raised with every change that moves a measure."""

    paper: str
    """Where the protocol is published."""

    headline: str
    """The measure that is reported first."""

    needs_data: bool
    """Whether `load` needs the benchmark's files; ours ship."""

    measures: Sequence[Measure]
    """Every figure that `measure` may give, in the order of tables."""

    terms: HybridReward | None
    """Where the benchmark scores documents by a reward: that reward. Its terms are asked of the World's judges and not as questions."""

    def load(self, data: str | Path | None) -> Sequence[Item]:
        """Read the items from a path, or from a data set on the hub by name.

        Raises:
            BenchmarkError: files that are missing, broken, or of another schema.
        """
        ...

    def questions(self, item: Item, document: Document) -> Sequence[Question]:
        """What judges are asked about a document."""
        ...

    def measure(self, item: Item, document: Document, scores: Scores) -> Mapping[str, float]:
        """The figures of one document, given an answer to every criterion of every question; computed rules are among them."""
        ...


def taken_evenly(items: Sequence[Item], count: int) -> Sequence[Item]:
    """So many of the items, from all parts of the benchmark: files hold one kind after the other.

    Items that are put together when they are taken choose by themselves (`at`), and nothing is decoded.
    """
    if count >= len(items):
        return items
    places = [number * len(items) // count for number in range(count)]
    choose: Callable[[Iterable[int]], Sequence[Item]] | None = getattr(items, "at", None)
    return [items[place] for place in places] if choose is None else choose(places)

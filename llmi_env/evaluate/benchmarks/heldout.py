"""Our own held-out tasks as a benchmark: scored by a reward, whose judged terms are asked of a World's judges.

The same protocol scores any set of tasks: a file of the user's, or a data set on the hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import overload

from llmi_env.calls import BUILTIN
from llmi_env.document import Document
from llmi_env.errors import TaskError
from llmi_env.evaluate.benchmark import BenchmarkError, Item, Measure, Question
from llmi_env.evaluate.grading import REWARD
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.preset import RULE_TERMS
from llmi_env.task_sets import TaskSet, load_tasks
from llmi_env.world.protocol import Scored


class TaskItems(Sequence[Item]):
    """Tasks as items. Taking one decodes its pictures."""

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks

    def __len__(self) -> int:
        return len(self._tasks)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> TaskItems: ...

    def __getitem__(self, index: int | slice) -> Item | TaskItems:
        if isinstance(index, slice):
            return TaskItems(self._tasks[index])
        try:
            task = self._tasks[index]
        except TaskError as error:
            raise BenchmarkError(str(error)) from error
        kind = " + ".join(sorted(set(task.tools))) or "no tool"
        return Item(task, kind, facts=self._tasks.extras(self.ids[index]))

    def at(self, places: Iterable[int]) -> TaskItems:
        """Those at the places, in that order; nothing is decoded for it."""
        return TaskItems(TaskSet(self._tasks.name, tuple(self._tasks.rows[place] for place in places)))

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the tasks, in order; nothing is decoded for them."""
        return self._tasks.ids

    @property
    def digest(self) -> str:
        """SHA-256 of what the tasks ask."""
        return self._tasks.digest


class TaskBenchmark:
    """Tasks, scored by a reward.

    Args:
        split: the bundled split that is taken where no data is given.
        reward: scores.
        tools: those at hand; bundled tasks that need another are left out.
    """

    paper = "none: tasks and reward are ours"
    headline = "reward"
    needs_data = False

    def __init__(self, split: str, reward: HybridReward, tools: Iterable[str] = BUILTIN) -> None:
        self.name = split
        self.terms: HybridReward | None = reward
        self.version = f"1, {reward.version}"
        self._reward, self._tools = reward, tuple(tools)
        self.measures: Sequence[Measure] = (
            Measure("reward", 0.0, 1.0, f"the reward {reward.version}"),
            *(Measure(term, *_scale(reward, term), _what(reward, term)) for term in reward.terms),
        )

    def load(self, data: str | Path | None) -> TaskItems:
        """The tasks of a split, a file or a data set, those without the tools at hand left out.

        Raises:
            BenchmarkError: there are none, or a row is no task; names file, row and field.
        """
        try:
            return TaskItems(load_tasks(self.name if data is None else data).for_tools(self._tools))
        except TaskError as error:
            raise BenchmarkError(f"{self.name}: {error}") from error

    def questions(self, item: Item, document: Document) -> Sequence[Question]:
        """None: the terms of the reward are all that is judged."""
        del item, document
        return ()

    def measure(self, item: Item, document: Document, scores: Mapping[str, float]) -> Mapping[str, float]:
        """The reward and each of its terms: a judge's from 1 to 5, a rule's from 0 to 1.

        A document has no reward where the reward itself gives none, e.g. since the world failed all its calls.
        """
        prefix = f"{REWARD}/"
        judgments = {
            name.removeprefix(prefix): Scored(score) for name, score in scores.items() if name.startswith(prefix)
        }
        report = self._reward.score(document, item.task, judgments)
        figures = {name: term.raw for name, term in report.terms.items()}
        return {name: value for name, value in {"reward": report.total, **figures}.items() if value is not None}


def _scale(reward: HybridReward, term: str) -> tuple[float, float]:
    return (0.0, 1.0) if term in (*RULE_TERMS, *reward.own_terms) else (1.0, 5.0)


def _what(reward: HybridReward, term: str) -> str:
    return " ".join((reward.spec.terms[term].why or "a term of the reward").split())

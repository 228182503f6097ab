"""How well a policy uses its tools.

The primary figure asks of each tool: of the documents that needed it, how many hold a valid call to it that brought a picture? Missing calls
count against it, the world's faults are left out, and the tools are averaged with equal weight. Beside it stand the two figures of the LLM-I
paper, which count calls rather than needs: succeeded over well-formed, and succeeded over all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmi_env.document import Document
from llmi_env.errors import ConfigError
from llmi_env.rewards.facts import is_valid, state_of
from llmi_env.rewards.statistics import Difference, bootstrap_interval
from llmi_env.task import Task


@dataclass(frozen=True)
class ToolCounts:
    """One tool over a set of documents.

    Attributes:
        required: documents whose task needs the tool.
        met: those with a valid call to it that brought a picture.
        missing: those without any valid call to it.
        failed: those whose valid calls to it failed, at least one through the policy's fault and none through the world's.
        left_out: those where only the world stood between a valid call and its picture.
        calls: calls to the tool in all documents, needed or not.
        succeeded: those of them that brought a picture.
    """

    required: int = 0
    met: int = 0
    missing: int = 0
    failed: int = 0
    left_out: int = 0
    calls: int = 0
    succeeded: int = 0

    @property
    def accuracy(self) -> float | None:
        """Met over required, those left out not counted; `None` where nothing is left."""
        counted = self.required - self.left_out
        return self.met / counted if counted else None


@dataclass(frozen=True)
class ToolAccuracy:
    """Tool accuracy of a set of documents.

    Attributes:
        accuracy: mean over tools of met / required; `None` when no task needs a tool.
        succeeded_of_well_formed: the paper's figure: calls that brought a picture over those that could be carried out as written.
        succeeded_of_all: the same over all calls, unreadable ones included.
        tools: counts of each tool that a task needs or a call names.
        documents: documents looked at.
        calls: all calls.
        well_formed: those that could be carried out as written.
        succeeded: those that brought a picture.
    """

    accuracy: float | None
    succeeded_of_well_formed: float | None
    succeeded_of_all: float | None
    tools: Mapping[str, ToolCounts]
    documents: int
    calls: int
    well_formed: int
    succeeded: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON, each tool's accuracy included."""
        tools = {name: {**asdict(counts), "accuracy": counts.accuracy} for name, counts in self.tools.items()}
        return {**asdict(self), "tools": tools}


def tool_accuracy(pairs: Iterable[tuple[Task, Document]]) -> ToolAccuracy:
    """Tool accuracy of documents, each with its task."""
    seen = list(pairs)
    tally: dict[str, dict[str, int]] = {}

    def add(tool: str, *names: str) -> None:
        counts = tally.setdefault(tool, {})
        for name in names:
            counts[name] = counts.get(name, 0) + 1

    calls = well_formed = succeeded = 0
    for task, document in seen:
        for tool in sorted(set(task.tools)):
            add(tool, "required", _outcome(tool, document))
        for figure in document.figures:
            calls += 1
            well_formed += is_valid(figure)
            succeeded += figure.picture is not None
            if figure.call is not None and is_valid(figure):
                add(figure.call.tool, "calls", *(["succeeded"] if figure.picture is not None else []))
    tools = {tool: ToolCounts(**tally[tool]) for tool in sorted(tally)}
    shares = [counts.accuracy for counts in tools.values() if counts.accuracy is not None]
    return ToolAccuracy(
        accuracy=sum(shares) / len(shares) if shares else None,
        succeeded_of_well_formed=succeeded / well_formed if well_formed else None,
        succeeded_of_all=succeeded / calls if calls else None,
        tools=tools,
        documents=len(seen),
        calls=calls,
        well_formed=well_formed,
        succeeded=succeeded,
    )


def tool_accuracy_difference(
    before: Sequence[tuple[Task, Document]],
    after: Sequence[tuple[Task, Document]],
    seed: int = 0,
    *,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Difference:
    """Tool accuracy after minus before with a paired bootstrap interval: tasks are drawn again, the macro average taken anew.

    Several documents of one task are drawn together: they are no independent evidence.

    Raises:
        ConfigError: when the two sides are not about the same tasks in the same order, or no task needs a tool.
    """
    if [task.key for task, _ in before] != [task.key for task, _ in after]:
        raise ConfigError("tool accuracy is compared on the same tasks in the same order; these differ")
    tools = sorted({tool for task, _ in before for tool in task.tools})
    first, second = tool_accuracy(before).accuracy, tool_accuracy(after).accuracy
    if first is None or second is None:
        raise ConfigError("none of the tasks needs a tool, so there is no tool accuracy to compare")
    tables = [_table(side, tools) for side in (before, after)]

    def statistic(weights_RT: NDArray[np.float64]) -> NDArray[np.float64]:
        sides = [mean_share(weights_RT @ met, weights_RT @ counted) for met, counted in tables]
        return np.asarray(sides[1] - sides[0])

    n_tasks = len(tables[0][0])
    low, high = bootstrap_interval(statistic, n_tasks, seed, resamples=resamples, level=level)
    return Difference(round(second - first, 12), low, high, n_tasks, level)


def _outcome(tool: str, document: Document) -> str:
    states = [state_of(f) for f in document.figures if f.call is not None and f.call.tool == tool and is_valid(f)]
    if "succeeded" in states:
        return "met"
    if not states:
        return "missing"
    return "left_out" if "world" in states else "failed"


def _table(
    pairs: Sequence[tuple[Task, Document]], tools: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each task and tool, shape (T, tools): documents that met the need, and documents that count."""
    rows = {key: row for row, key in enumerate(dict.fromkeys(task.key for task, _ in pairs))}
    met, counted = np.zeros((len(rows), len(tools))), np.zeros((len(rows), len(tools)))
    for task, document in pairs:
        for column, tool in enumerate(tools):
            if tool in task.tools:
                outcome = _outcome(tool, document)
                met[rows[task.key], column] += outcome == "met"
                counted[rows[task.key], column] += outcome != "left_out"
    return met, counted


def mean_share(met_RK: NDArray[np.float64], counted_RK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the tools that count at all, the last axis; NaN for a draw without any."""
    present = counted_RK > 0
    shares = np.divide(met_RK, counted_RK, out=np.zeros_like(met_RK), where=present)
    tools = present.sum(axis=-1)
    return np.asarray(np.where(tools > 0, shares.sum(axis=-1) / np.maximum(tools, 1), np.nan))

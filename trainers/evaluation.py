"""Evaluation of a policy on tasks that it was not trained on, and the comparison of two evaluations.

Both sides of a comparison see the same tasks with the same seeds. What differs is shown with a paired bootstrap interval over tasks: all
documents of a task are drawn together, since they are no independent evidence.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmi_env.rewards.statistics import Difference, bootstrap_interval, paired_bootstrap
from llmi_env.rewards.tool_accuracy import ToolAccuracy, tool_accuracy
from llmi_env.rollout import Rollout
from llmi_env.task import Task


@dataclass(frozen=True)
class Evaluation:
    """Documents of one policy, task by task.

    Attributes:
        rollouts: all samples of a task stand together.
    """

    rollouts: tuple[Rollout, ...]

    @property
    def by_task(self) -> list[list[Rollout]]:
        """The rollouts of each task."""
        groups: dict[int, list[Rollout]] = {}
        for rollout in self.rollouts:
            groups.setdefault(rollout.group, []).append(rollout)
        return [groups[group] for group in sorted(groups)]

    @property
    def rewards(self) -> list[float | None]:
        """Mean reward of each task; `None` where no document of it has a score."""
        return [_mean(rollout.reward for rollout in group) for group in self.by_task]

    @property
    def reward(self) -> float | None:
        """Mean over tasks."""
        return _mean(self.rewards)

    @property
    def tools(self) -> ToolAccuracy:
        """Tool accuracy."""
        return tool_accuracy((rollout.task, rollout.document) for rollout in self.rollouts)


@dataclass(frozen=True)
class Comparison:
    """One evaluation against an earlier one of the same tasks.

    Attributes:
        reward: after minus before, `None` where nothing could be scored.
        tool_accuracy: after minus before, `None` where no task needs a tool.
        rewards: mean reward before and after over the tasks that are scored on both sides.
    """

    reward: Difference | None
    tool_accuracy: Difference | None
    rewards: tuple[float | None, float | None] = (None, None)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the metrics."""
        sides = {"reward_difference": self.reward, "tool_accuracy_difference": self.tool_accuracy}
        return {
            name: None if side is None else {**asdict(side), "distinguishable": side.distinguishable}
            for name, side in sides.items()
        }


def compare(before: Evaluation, after: Evaluation, seed: int = 0) -> Comparison:
    """Differences with 95 % intervals."""
    pairs = [(a, b) for a, b in zip(before.rewards, after.rewards, strict=True) if a is not None and b is not None]
    reward = paired_bootstrap([a for a, _ in pairs], [b for _, b in pairs], seed) if pairs else None
    rewards = (_mean(a for a, _ in pairs), _mean(b for _, b in pairs))
    first, second = before.tools.accuracy, after.tools.accuracy
    if first is None or second is None:
        return Comparison(reward, None, rewards)
    names = sorted({tool for rollout in before.rollouts for tool in rollout.task.tools})
    tables = [_met_and_counted(side, names) for side in (before, after)]

    def statistic(weights_RT: NDArray[np.float64]) -> NDArray[np.float64]:
        sides = []
        for met_TK, counted_TK in tables:
            met_RK, counted_RK = weights_RT @ met_TK, weights_RT @ counted_TK
            share_RK = np.divide(met_RK, counted_RK, out=np.zeros_like(met_RK), where=counted_RK > 0)
            tools_R = (counted_RK > 0).sum(axis=1)
            sides.append(np.where(tools_R > 0, share_RK.sum(axis=1) / np.maximum(tools_R, 1), np.nan))
        return np.asarray(sides[1] - sides[0])

    low, high = bootstrap_interval(statistic, len(before.by_task), seed)
    return Comparison(reward, Difference(round(second - first, 12), low, high, len(before.by_task)), rewards)


def _met_and_counted(side: Evaluation, names: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each task T and tool K: documents that met the need, and documents that count."""
    groups = side.by_task
    met, counted = np.zeros((len(groups), len(names))), np.zeros((len(groups), len(names)))
    for row, group in enumerate(groups):
        tools = tool_accuracy((rollout.task, rollout.document) for rollout in group).tools
        for column, name in enumerate(names):
            if name in tools:
                met[row, column] = tools[name].met
                counted[row, column] = tools[name].required - tools[name].left_out
    return met, counted


def interleaved(tasks: Iterable[Task], seed: int) -> list[Task]:
    """All tasks in an order that spreads every kind of need evenly: any stretch of it has about the same mixture.

    Tasks are shuffled within their kind (the tools that they need); a kind's tasks then stand at equal distances.
    """
    dice = random.Random(seed)
    kinds: dict[tuple[str, ...], list[Task]] = {}
    for task in tasks:
        kinds.setdefault(tuple(sorted(task.tools)), []).append(task)
    placed: list[tuple[float, float, Task]] = []
    for kind in sorted(kinds):
        members = kinds[kind]
        dice.shuffle(members)
        offset = dice.random()
        placed += [((index + offset) / len(members), dice.random(), task) for index, task in enumerate(members)]
    return [task for _, _, task in sorted(placed, key=lambda entry: entry[:2])]


def pick(tasks: Iterable[Task], size: int, seed: int) -> list[Task]:
    """`size` tasks, each tool needed about equally often where there are enough of them; in a fixed order."""
    pool = interleaved(tasks, seed)
    needs: dict[str, int] = {}
    chosen: list[Task] = []
    while pool and len(chosen) < size:
        # The task whose rarest need is rarest among those chosen; tasks that need nothing count as one more kind.
        best = min(pool, key=lambda task: min(needs.get(tool, 0) for tool in (task.tools or ("",))))
        pool.remove(best)
        chosen.append(best)
        for tool in best.tools or ("",):
            needs[tool] = needs.get(tool, 0) + 1
    return chosen


def summary(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """Figures of a set of rollouts for the metrics: rewards, terms, tools, lengths, faults."""
    tools = tool_accuracy((rollout.task, rollout.document) for rollout in rollouts)
    figures = [figure for rollout in rollouts for figure in rollout.document.figures]
    values: dict[str, list[float]] = {}
    for rollout in rollouts:
        for name, value in rollout.report.values.items():
            values.setdefault(name, []).append(value)
    return {
        "reward": _mean(rollout.reward for rollout in rollouts),
        "reward_std": _std([rollout.reward for rollout in rollouts if rollout.reward is not None]),
        "scored": sum(rollout.reward is not None for rollout in rollouts),
        "rollouts": len(rollouts),
        "tool_accuracy": tools.accuracy,
        "tool_accuracy_by_tool": {name: counts.accuracy for name, counts in tools.tools.items() if counts.required},
        "succeeded_of_well_formed": tools.succeeded_of_well_formed,
        "succeeded_of_all": tools.succeeded_of_all,
        "calls": len(figures) / max(1, len(rollouts)),
        "parsed": _mean(float(figure.call is not None) for figure in figures),
        "length": _mean(float(rollout.ledger.n_policy) for rollout in rollouts),
        "ended": _mean(float(rollout.stop.value == "end") for rollout in rollouts),
        "world_faults": sum(figure.failure is not None and figure.failure.fault == "world" for figure in figures),
        "terms": {name: _mean(numbers) for name, numbers in sorted(values.items())},
    }


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _std(numbers: Sequence[float]) -> float | None:
    return float(np.std(numbers)) if numbers else None

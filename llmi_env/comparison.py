"""Evaluation of a policy, and the comparison of two on the same tasks.

Both sides of a comparison see the same tasks with the same seeds. What differs is shown with a paired bootstrap interval over tasks: all
documents of a task are drawn together, since they are no independent evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from llmi_env.document import Document
from llmi_env.rewards.statistics import Difference, paired_bootstrap
from llmi_env.rewards.tool_accuracy import ToolAccuracy, tool_accuracy, tool_accuracy_difference
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
        return [mean_of_known(rollout.reward for rollout in group) for group in self.by_task]

    @property
    def reward(self) -> float | None:
        """Mean over tasks."""
        return mean_of_known(self.rewards)

    @property
    def tools(self) -> ToolAccuracy:
        """Tool accuracy."""
        return tool_accuracy(self.pairs)

    @property
    def pairs(self) -> list[tuple[Task, Document]]:
        """Task and document of each rollout."""
        return [(rollout.task, rollout.document) for rollout in self.rollouts]


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
    rewards = (mean_of_known(a for a, _ in pairs), mean_of_known(b for _, b in pairs))
    if before.tools.accuracy is None or after.tools.accuracy is None:
        return Comparison(reward, None, rewards)
    return Comparison(reward, tool_accuracy_difference(before.pairs, after.pairs, seed), rewards)


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there; `None` where there is none."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None

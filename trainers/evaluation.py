"""Which tasks a run takes, and the figures of a set of rollouts for its metrics."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from llmi_env.comparison import mean_of_known
from llmi_env.rewards.tool_accuracy import tool_accuracy
from llmi_env.rollout import Rollout
from llmi_env.task import Task
from llmi_env.world.statistics import tool_metrics


def interleaved(tasks: Iterable[Task], seed: int) -> list[Task]:
    """All tasks in an order that spreads every kind of need evenly: any stretch of it has about the same mixture.

    Tasks are shuffled within their kind (the tools that they need); a kind's tasks then stand at equal distances.
    """
    dice = random.Random(seed)
    kinds = _by_kind(tasks)
    placed: list[tuple[float, float, Task]] = []
    for kind in sorted(kinds):
        members = kinds[kind]
        dice.shuffle(members)
        offset = dice.random()
        placed += [((index + offset) / len(members), dice.random(), task) for index, task in enumerate(members)]
    return [task for _, _, task in sorted(placed, key=lambda entry: entry[:2])]


def by_turns(tasks: Iterable[Task], seed: int, places: Iterable[int]) -> list[Task]:
    """Tasks at places of an endless line in which all kinds of need come equally often, however many tasks each has.

    The kinds take turns in rounds, in each round in another order. Tasks of a kind come again, in another order, when all of them were there.
    """
    kinds = _by_kind(tasks)
    found: list[Task] = []
    for place in places:
        turn, at = divmod(place, len(kinds))
        kind = random.Random(f"{seed} turn {turn}").sample(sorted(kinds), len(kinds))[at]
        again, index = divmod(turn, len(kinds[kind]))
        found.append(random.Random(f"{seed} {kind} {again}").sample(kinds[kind], len(kinds[kind]))[index])
    return found


def _by_kind(tasks: Iterable[Task]) -> dict[tuple[str, ...], list[Task]]:
    kinds: dict[tuple[str, ...], list[Task]] = {}
    for task in tasks:
        kinds.setdefault(tuple(sorted(task.tools)), []).append(task)
    return kinds


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


def summary(rollouts: Sequence[Rollout], tool_times: bool = False) -> dict[str, Any]:
    """Figures of a set of rollouts for the metrics: rewards, terms, tools, lengths, faults.

    Args:
        rollouts: the rollouts.
        tool_times: also what each tool took and how it failed (`tool_metrics`): clock times, which no two runs have alike.
    """
    tools = tool_accuracy((rollout.task, rollout.document) for rollout in rollouts)
    figures = [figure for rollout in rollouts for figure in rollout.document.figures]
    values: dict[str, list[float]] = {}
    for rollout in rollouts:
        for name, value in rollout.report.values.items():
            values.setdefault(name, []).append(value)
    return {
        "reward": mean_of_known(rollout.reward for rollout in rollouts),
        "reward_std": _std([rollout.reward for rollout in rollouts if rollout.reward is not None]),
        "scored": sum(rollout.reward is not None for rollout in rollouts),
        "rollouts": len(rollouts),
        "unscored": sum(rollout.reward is None for rollout in rollouts),
        "tool_accuracy": tools.accuracy,
        "tool_accuracy_by_tool": {name: counts.accuracy for name, counts in tools.tools.items() if counts.required},
        "succeeded_of_well_formed": tools.succeeded_of_well_formed,
        "succeeded_of_all": tools.succeeded_of_all,
        "calls": len(figures) / max(1, len(rollouts)),
        "parsed": mean_of_known(float(figure.call is not None) for figure in figures),
        "length": mean_of_known(float(rollout.ledger.n_policy) for rollout in rollouts),
        "ended": mean_of_known(float(rollout.stop.value == "end") for rollout in rollouts),
        "world_faults": sum(figure.failure is not None and figure.failure.fault == "world" for figure in figures),
        "terms": {name: mean_of_known(numbers) for name, numbers in sorted(values.items())},
        **(tool_metrics(rollout.document for rollout in rollouts) if tool_times else {}),
    }


def _std(numbers: Sequence[float]) -> float | None:
    return float(np.std(numbers)) if numbers else None

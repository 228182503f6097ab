"""Which task comes next: at random, or in epochs that several environments share out among them.

`random` draws with replacement from the environment's own generator. `shuffled` and `sequential` go through the set in epochs: the tasks of an
epoch form one line, fixed by the order's seed, and shard `i` of `n` takes every n-th of it. Shards need not talk to each other, meet every
task once an epoch, and go on where the epoch before ended. Environments with the same shard get the same tasks: a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from llmi_env.config import Order
from llmi_env.errors import ConfigError
from llmi_env.task import Task
from llmi_env.task_sets import TaskSet


@dataclass(frozen=True)
class Drawn:
    """A task with its place.

    Attributes:
        task: the task.
        epoch: how often the whole set was gone through before; always 0 for `random`.
    """

    task: Task
    epoch: int = 0


class Stream(Protocol):
    """Gives an environment its tasks."""

    position: int
    """How many tasks were taken since the beginning."""

    def next(self, rng: np.random.Generator) -> Drawn:
        """The next task; draws one number from `rng`, whether it is needed or not."""
        ...

    def skip(self, rng: np.random.Generator) -> None:
        """Draw the number that `next` would draw and take no task: the caller has named one."""
        ...

    def seek(self, position: int) -> None:
        """Go back or forth to a position; 0 begins anew."""
        ...


class TaskOrder:
    """The tasks of one environment, one after the other.

    Args:
        tasks: the set.
        order: how they follow each other.
        seed: of the shuffling; environments that share out a set need the same.
        shard: `(i, n)`: this environment is number `i` of `n`.

    Raises:
        ConfigError: a shard that does not exist, or, at random, more shards than tasks.
    """

    def __init__(self, tasks: TaskSet, order: Order = "random", seed: int = 0, shard: tuple[int, int] = (0, 1)) -> None:
        index, count = shard
        if not 0 <= index < count:
            raise ConfigError(f"shard {index} of {count} does not exist: the first number runs from 0 to {count - 1}")
        if order == "random" and count > len(tasks):
            raise ConfigError(f"{count} shards of {len(tasks)} tasks: with order 'random' each needs a task of its own")
        self.order: Order = order
        self.shard = shard
        self._seed = seed
        self._tasks = tasks[index::count] if order == "random" else tasks
        self.position = 0
        """How many tasks were taken since the beginning."""

    def next(self, rng: np.random.Generator) -> Drawn:
        """The next task; draws one number from `rng`, whether it is needed or not."""
        drawn = int(rng.integers(len(self._tasks)))
        if self.order == "random":
            self.position += 1
            return Drawn(self._tasks[drawn])
        index, count = self.shard
        epoch, place = divmod(self.position * count + index, len(self._tasks))
        if self.order == "shuffled":
            place = _permutation(self._seed, epoch, len(self._tasks))[place]
        self.position += 1
        return Drawn(self._tasks[place], epoch)

    def skip(self, rng: np.random.Generator) -> None:
        """Draw the number that `next` would draw and take no task; an epoch misses none."""
        rng.integers(len(self._tasks))

    def seek(self, position: int) -> None:
        """Go back or forth to a position; 0 begins the first epoch again."""
        self.position = position


class GroupOrder:
    """The tasks of a group: what the first member to need a task draws, the others get too.

    Args:
        order: gives the group its tasks.
    """

    def __init__(self, order: TaskOrder) -> None:
        self._order = order
        self._rng = np.random.default_rng()
        self._drawn: list[Drawn] = []
        self._first = 0
        self._members: list[GroupMember] = []

    def member(self) -> GroupMember:
        """The stream of one more member."""
        made = GroupMember(self)
        self._members.append(made)
        return made

    def at(self, position: int) -> Drawn:
        """The group's task number `position`."""
        while len(self._drawn) + self._first <= position:
            self._drawn.append(self._order.next(self._rng))
        found = self._drawn[position - self._first]
        # Forget what every member has had.
        slowest = min(member.position for member in self._members)
        if slowest > self._first:
            del self._drawn[: slowest - self._first]
            self._first = slowest
        return found

    def align(self) -> None:
        """Bring all members to where the furthest is: a group that is reset as a whole has one task again."""
        furthest = max(member.position for member in self._members)
        for member in self._members:
            member.position = furthest

    def restart(self, seed: int) -> None:
        """Begin anew for all members."""
        self._rng = np.random.default_rng([seed, 1])
        self._order.seek(0)
        self._drawn, self._first = [], 0
        for member in self._members:
            member.position = 0


class GroupMember:
    """The stream of one member of a group."""

    def __init__(self, group: GroupOrder) -> None:
        self._group = group
        self.position = 0

    def next(self, rng: np.random.Generator) -> Drawn:
        """The group's next task for this member; draws one number from `rng` as other streams do."""
        rng.integers(2)
        drawn = self._group.at(self.position)
        self.position += 1
        return drawn

    def skip(self, rng: np.random.Generator) -> None:
        """Draw the number that `next` would draw and take no task."""
        rng.integers(2)

    def seek(self, position: int) -> None:
        """Stay: the place belongs to the group, and other members may be past it."""


@lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, n: int) -> Sequence[int]:
    return tuple(np.random.default_rng([seed, epoch]).permutation(n).tolist())

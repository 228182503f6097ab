"""What is to be built, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmi_env.task_data.asking import ModelOptions
from llmi_env.task_data.held_out import HeldOut
from llmi_env.task_data.kept import Total
from llmi_env.task_data.plan import Wishes
from llmi_env.task_data.replies import prompt_digest

__all__ = ["Built", "Order", "Spent"]


@dataclass(frozen=True)
class Order:
    """What is to be built, and how.

    Attributes:
        count: how many tasks.
        wishes: what they are drawn from.
        writer: the model that writes.
        validator: the model that reads what was written; `None` leaves that out.
        attempts: versions of a task before its order is given up for another.
        language: of the tasks.
        embed: whether meanings are compared, too.
        most_cost: what may be spent in all, in the currency of the prices; `None` for no bound.
    """

    count: int
    wishes: Wishes
    writer: ModelOptions
    validator: ModelOptions | None
    attempts: int = 4
    language: str = "English"
    embed: bool = True
    most_cost: float | None = None

    def identity(self, held_out: HeldOut) -> dict[str, Any]:
        """Everything that decides which tasks come out, but for their number, as plain data."""
        return {
            "wishes": self.wishes.told(),
            "writer": self.writer.identity(),
            "validator": None if self.validator is None else self.validator.identity(),
            "attempts": self.attempts,
            "language": self.language,
            "prompts": prompt_digest(),
            "embed": self.embed,
            "held_out": held_out.digest,
        }


@dataclass(frozen=True)
class Spent:
    """What one of the models has taken, in all runs of the build.

    Attributes:
        role: `writer` or `validator`.
        model: its name.
        total: replies, tokens and seconds.
        now: replies that came in this run.
        retries: requests of this run that were tried again because the server failed.
        cost: `None` where the prices are not given.
    """

    role: str
    model: str
    total: Total
    now: int
    retries: int
    cost: float | None


@dataclass(frozen=True)
class Built:
    """What came of a build.

    Attributes:
        path: the task file.
        wanted: how many tasks were ordered.
        made: how many there are.
        versions: how many were decided upon.
        rejected: reasons for which versions were sent back, by rule; a version may have several.
        given_up: orders that were replaced, for none of their versions was taken.
        spent: by model.
        seconds: of this run.
        finished: whether all are made.
        why: why they are not.
    """

    path: Path
    wanted: int
    made: int
    versions: int
    rejected: Counter[str]
    given_up: int
    spent: tuple[Spent, ...]
    seconds: float
    finished: bool
    why: str = ""

    @property
    def cost(self) -> float | None:
        """Of all models together; `None` where a price is not given."""
        costs = [each.cost for each in self.spent]
        return None if any(cost is None for cost in costs) else sum(cost or 0 for cost in costs)

"""What scaling may spend, and what it has spent: one object for documents, calls of tools and judges, tokens and seconds.

Whatever is counted is decided before it is begun, in the order of the documents and never in the order in which things finish. So a bound holds
exactly, and the same seed spends the same. Seconds are the exception: they depend on the machine, and so does what a bound on them leaves out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from llmi_env.errors import ConfigError, did_you_mean

Kind = Literal["documents", "tool_calls", "judge_calls", "tokens", "seconds"]

T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """Bounds of scaling one task; `None` is no bound.

    Attributes:
        documents: documents written, those of which only the text was written anew included.
        tool_calls: calls that the World was asked for.
        judge_calls: documents, or pairs of them, that judges were asked about.
        tokens: tokens that the policy wrote.
        seconds: from the start. What is under way then is given up, but for the first document.
    """

    documents: int | None = None
    tool_calls: int | None = None
    judge_calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is None:
                continue
            whole = isinstance(value, int) or name == "seconds"
            if isinstance(value, bool) or not isinstance(value, int | float) or not whole or not value >= 0:
                raise ConfigError(f"budget: {name} is {_kind(name)} of at least 0, not {value!r}")
        for name in ("documents", "tokens", "seconds"):
            if getattr(self, name) == 0:
                raise ConfigError(f"budget: {name}=0 leaves no document to be written")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `documents=8,tool_calls=40`, as the command line has it.

        Raises:
            ConfigError: an unknown name, one given twice, or something that is no number.

        >>> Budget.parse("documents=8, seconds=90").seconds
        90.0
        """
        found: dict[str, Any] = {}
        known = [field.name for field in fields(cls)]
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if name not in known:
                raise ConfigError(f"budget: {part!r} is not NAME=NUMBER{did_you_mean(name, known)}")
            if not equals:
                raise ConfigError(f"budget: {part!r} is not NAME=NUMBER: how many? As in {part}=8")
            if name in found:
                raise ConfigError(f"budget: {name} is given twice")
            try:
                found[name] = float(value) if name == "seconds" else int(value)
            except ValueError:
                raise ConfigError(f"budget: {name} is {_kind(name)}, not {value!r}") from None
        if not found:  # an empty variable of a shell is no leave to spend without bounds
            raise ConfigError(f"budget: nothing is bounded; NAME=NUMBER is expected. Known: {', '.join(known)}")
        return cls(**found)

    def to_json(self) -> dict[str, float | None]:
        """Plain data for JSON."""
        return asdict(self)


def _kind(name: str) -> str:
    return "a number" if name == "seconds" else "a whole number"


@dataclass(frozen=True)
class Spent:
    """What was spent, in the terms of `Budget`, with what providers asked for it.

    Attributes:
        documents: documents written.
        tool_calls: calls that the World was asked for.
        judge_calls: documents, or pairs of them, that judges were asked about.
        tokens: tokens that the policy wrote.
        prompt_tokens: tokens that it read, where that is known.
        cost: in the currency of the prices, for writing; `None` where no price is known.
        seconds: clock time; not compared.
        counted: whether all tokens were counted where they were made; if not, `tokens` is in part a guess and `cost` less than it came to.
    """

    documents: int = 0
    tool_calls: int = 0
    judge_calls: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    cost: float | None = None
    seconds: float = field(default=0.0, compare=False)
    counted: bool = True

    def __add__(self, other: Spent) -> Spent:
        """Both together."""
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Spent(
            self.documents + other.documents,
            self.tool_calls + other.tool_calls,
            self.judge_calls + other.judge_calls,
            self.tokens + other.tokens,
            self.prompt_tokens + other.prompt_tokens,
            sum(costs) if costs else None,
            self.seconds + other.seconds,
            self.counted and other.counted,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spent:
        """Read what `to_json` gave."""
        return cls(**data)


def goes_into(left: float, each: float, most: int) -> int:
    """How often `each` can be taken from `left`, at most `most` times; what is left may be infinite.

    >>> goes_into(10, 4, 8), goes_into(float("inf"), 4, 8)
    (2, 8)
    """
    return most if left >= each * most else int(left // each)


class Meter:
    """Counts what is spent against a budget.

    Args:
        budget: the bounds.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._start = time.monotonic()
        self._spent = Spent()

    @property
    def spent(self) -> Spent:
        """Everything so far."""
        return self._spent + Spent(seconds=time.monotonic() - self._start)

    def add(self, spent: Spent) -> None:
        """Count something; its seconds are not, since the meter has a clock of its own."""
        self._spent += replace(spent, seconds=0.0)

    def left(self, kind: Kind) -> float:
        """How much may still be spent; infinite where there is no bound."""
        bound = getattr(self.budget, kind)
        return float("inf") if bound is None else max(0.0, bound - getattr(self.spent, kind))

    def affordable(self, wanted: int, **each: int) -> int:
        """How many of `wanted` pieces of work can be paid for, given what each takes of every kind; none once the time is over."""
        if self.left("seconds") <= 0:
            return 0
        for kind, amount in each.items():
            if amount:
                wanted = goes_into(self.left(kind), amount, wanted)  # type: ignore[arg-type]
        return wanted

    def exhausted(self, **each: int) -> str:
        """Why one more piece of work cannot be paid for: names the bound; empty where it can."""
        if self.left("seconds") <= 0:
            return f"the {self.budget.seconds:g} seconds are over"
        for kind, amount in each.items():
            if amount and self.left(kind) < amount:  # type: ignore[arg-type]
                return f"the {kind.replace('_', ' ')} are spent ({getattr(self.spent, kind)} of {getattr(self.budget, kind)})"
        return ""

    async def gather(self, work: Sequence[Coroutine[Any, Any, T]]) -> list[T | None]:
        """Carry out all of it side by side; `None` where the time ran out. The first error ends the rest and is passed on."""
        if not work:
            return []
        tasks = [asyncio.ensure_future(piece) for piece in work]
        left = self.left("seconds")
        try:
            await asyncio.wait(
                tasks, timeout=None if left == float("inf") else left, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in tasks:
                if task.done():
                    task.result()
            return [task.result() if task.done() else None for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

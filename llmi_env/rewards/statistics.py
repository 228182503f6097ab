"""Differences with intervals: the paired bootstrap over tasks.

Two policies are compared on the same tasks. Tasks are drawn again with replacement, both policies' results of a task together, and
the 95 % interval is read off the differences of the draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmi_env.errors import ConfigError

_CHUNK = 1000


@dataclass(frozen=True)
class Difference:
    """After minus before, over paired tasks.

    Attributes:
        mean: the difference.
        low: lower end of the interval.
        high: upper end of the interval.
        pairs: tasks that both sides have a result for.
        level: coverage of the interval.
    """

    mean: float
    low: float
    high: float
    pairs: int
    level: float = 0.95

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.pairs > 1 and (self.low > 0 or self.high < 0)

    def __str__(self) -> str:
        verdict = "" if self.distinguishable else ", not yet distinguishable"
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}] over {self.pairs} tasks{verdict}"


def paired_bootstrap(
    before: Sequence[float | None],
    after: Sequence[float | None],
    seed: int = 0,
    *,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Difference:
    """Mean difference and interval of one number for each task; pairs in which either is `None` (unscored) are left out.

    Raises:
        ConfigError: when the two differ in length, or no pair is left.

    >>> paired_bootstrap([0.1, 0.2, 0.3], [0.2, 0.3, 0.4]).distinguishable
    True
    """
    if len(before) != len(after):
        raise ConfigError(f"paired results are needed for the same tasks: {len(before)} before, {len(after)} after")
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    if not pairs or not all(math.isfinite(value) for pair in pairs for value in pair):
        raise ConfigError("no task has a finite result both before and after")
    differences = np.array([b - a for a, b in pairs], dtype=np.float64)

    def statistic(weights_RT: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((weights_RT @ differences) / len(differences))

    low, high = bootstrap_interval(statistic, len(differences), seed, resamples=resamples, level=level)
    return Difference(round(float(differences.mean()), 12), low, high, len(differences), level)


def bootstrap_interval(
    statistic: Callable[[NDArray[np.float64]], NDArray[Any]],
    items: int,
    seed: int,
    *,
    resamples: int = 10_000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a statistic over resampled items.

    Args:
        statistic: takes how often each item was drawn, shape (R, items), and gives R numbers; NaN where a draw has none.
        items: number of items.
        seed: of the draws.
        resamples: number of draws.
        level: coverage.
    """
    if items < 1 or resamples < 1 or not 0 < level < 1:
        raise ConfigError("a bootstrap needs at least one item and one draw, and a level between 0 and 1")
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, _CHUNK):
        draws = min(_CHUNK, resamples - start)
        parts.append(statistic(generator.multinomial(items, np.full(items, 1 / items), size=draws).astype(np.float64)))
    values = np.concatenate(parts)
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return round(float(low), 12), round(float(high), 12)

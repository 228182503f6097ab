"""Intervals of means and shares over the items of a benchmark.

Items are what a benchmark drew from all that could be asked, so they are what is drawn again: all documents of an item together, which are no
independent evidence. A mean is a sum over items divided by a count of items, a share one count divided by another; both are ratios of sums, and
one set of draws gives the intervals of all of them.

Two things are set right that a plain percentile bootstrap gets wrong with few items. It is too narrow by the factor between a sample's spread
and the population's, and by that between Student's and Gauss's quantiles: the level is raised to make up for both (Hesterberg 2015, "What
Teachers Should Know About the Bootstrap", section 3.3). And where all items have the same value it sees no spread at all, though 30 alike come
in a fifth of all cases where one item in 20 is otherwise. There the interval is the exact one: the share of items that are otherwise is at most
`1 - (1 - level) ** (1 / items)`, and each of them may lie anywhere on the scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmi_env.errors import ConfigError, require
from llmi_env.rewards.statistics import bootstrap_interval

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Coverage of every interval."""

NO_SCALE = (-math.inf, math.inf)
"""Of differences: where all of them are the same, their interval is that one value, and a test must tell whether they are chance."""

RESAMPLES = 4000
_CHUNK = 500
_DIGITS = 10
_LEAST_TAIL = 1e-12  # of two items it would be 0, which is no level


def ratio_intervals(
    above_IK: Floats,
    below_IK: Floats,
    scale: tuple[float, float] | Sequence[tuple[float, float]],
    seed: int = 0,
    *,
    resamples: int = RESAMPLES,
) -> list[tuple[float, float] | None]:
    """Intervals of `sum(above) / sum(below)` over items, one for each column, all by the same draws.

    Args:
        above_IK: (I, K) what is summed for each item and figure.
        below_IK: (I, K) what it is divided by; an item that a figure does not concern has 0 in both.
        scale: least and greatest possible value, of all figures or of each.
        seed: of the draws.
        resamples: number of draws.

    Returns:
        (low, high) of each figure; `None` where fewer than two items concern it, which tell nothing of how items differ.

    >>> ratio_intervals(np.array([[1.0], [1.0], [0.0], [1.0]]), np.ones((4, 1)), (0, 1))
    [(0.0, 1.0)]
    """
    above_IK, below_IK = np.asarray(above_IK, np.float64), np.asarray(below_IK, np.float64)
    if above_IK.shape != below_IK.shape or above_IK.ndim != 2 or not np.isfinite(above_IK).all():
        raise ConfigError(f"two finite tables of one shape are needed, not {above_IK.shape} and {below_IK.shape}")
    items, columns = above_IK.shape
    if not columns:
        return []
    scales_K2 = np.broadcast_to(np.asarray(scale, np.float64), (columns, 2))
    concerned_K = (below_IK > 0).sum(axis=0)
    ratios_RK = np.concatenate(list(_draws(above_IK, below_IK, seed, resamples))) if items else np.empty((0, columns))
    found: list[tuple[float, float] | None] = []
    for column in range(columns):
        count = int(concerned_K[column])
        if count < 2:
            found.append(None)
            continue
        with_some = below_IK[:, column] > 0
        values = above_IK[with_some, column] / below_IK[with_some, column]
        lowest, highest = (float(end) for end in scales_K2[column])
        if np.ptp(values) < 10.0**-_DIGITS:
            found.append(_all_equal(float(values[0]), count, lowest, highest))
            continue
        drawn = ratios_RK[:, column]
        found.append(_between(drawn[~np.isnan(drawn)], count, lowest, highest))
    return found


def statistic_interval(
    statistic: Callable[[Floats], NDArray[Any]],
    items: int,
    concerned: int,
    scale: tuple[float, float],
    seed: int = 0,
    *,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """Interval of any statistic over items, by the same rules.

    Args:
        statistic: takes how often each item was drawn, shape (R, I), and gives R numbers; NaN where a draw has none.
        items: number of items, I.
        concerned: how many of them it is about.
        scale: its least and greatest possible value.
        seed: of the draws.
        resamples: number of draws.
    """
    if concerned < 2:
        return None
    low, high = bootstrap_interval(statistic, items, seed, resamples=resamples, level=raised_level(concerned))
    if math.isnan(low):
        return None
    if high - low < 10.0**-_DIGITS:
        return _all_equal(low, concerned, *scale)
    return _clipped(low, high, *scale)


@lru_cache(maxsize=4096)
def raised_level(items: int) -> float:
    """The level at which percentiles of a bootstrap over so many items cover a mean at `LEVEL`.

    >>> round(raised_level(10), 3), round(raised_level(1000), 3)
    (0.983, 0.95)
    """
    if items < 2:
        raise ConfigError(f"an interval over items needs two of them, not {items}")
    special = require("scipy.special", "intervals of an evaluation", "train")
    quantile = special.stdtrit(items - 1, (1 + LEVEL) / 2)
    tail = float(special.ndtr(-math.sqrt(items / (items - 1)) * quantile))
    return 1 - 2 * max(tail, _LEAST_TAIL)


def _draws(above_IK: Floats, below_IK: Floats, seed: int, resamples: int) -> Any:
    generator = np.random.default_rng(seed)
    items = len(above_IK)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        weights_RI = generator.multinomial(items, np.full(items, 1 / items), size=size).astype(np.float64)
        below_RK = weights_RI @ below_IK
        yield np.divide(weights_RI @ above_IK, below_RK, out=np.full_like(below_RK, np.nan), where=below_RK > 0)


def _between(drawn_R: Floats, items: int, lowest: float, highest: float) -> tuple[float, float]:
    tail = (1 - raised_level(items)) / 2
    low, high = np.quantile(drawn_R, [tail, 1 - tail])
    return _clipped(float(low), float(high), lowest, highest)


def _all_equal(value: float, items: int, lowest: float, highest: float) -> tuple[float, float]:
    if math.isinf(highest - lowest):
        return round(value, _DIGITS), round(value, _DIGITS)
    otherwise = 1 - (1 - LEVEL) ** (1 / items)
    return _clipped(value - otherwise * (value - lowest), value + otherwise * (highest - value), lowest, highest)


def _clipped(low: float, high: float, lowest: float, highest: float) -> tuple[float, float]:
    return round(max(low, lowest), _DIGITS), round(min(high, highest), _DIGITS)

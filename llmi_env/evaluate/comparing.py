"""Two evaluations of one benchmark: what differs, and whether it may be chance.

Both sides are compared on the items that they share, item by item. The interval is that of the mean difference, had other items been drawn.
The p value is of a permutation test: how often would a difference as large come about if it did not matter which side an item's results
stand on? Where many figures are looked at, some differ by chance; the adjusted value bounds the share of false discoveries among them
(Benjamini and Hochberg 1995). The benchmark's headline, named before anybody looked, needs no such adjustment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

import numpy as np

from llmi_env.errors import ConfigError, require
from llmi_env.evaluate.figures import Range
from llmi_env.evaluate.intervals import LEVEL, NO_SCALE, Floats, ratio_intervals, statistic_interval
from llmi_env.evaluate.results import ItemFigures, Results
from llmi_env.evaluate.tool_use import PARTS, ToolTally
from llmi_env.rewards.tool_accuracy import mean_share

PERMUTATIONS = 9999
_NUMBERS = 2_000_000  # held at a time

Verdict = Literal["better", "worse", "not distinguishable", "open"]
"""What a difference says: `open` where missing answers could turn it round."""


@dataclass(frozen=True)
class Change:
    """A figure of two evaluations, after minus before, over items that both have a value of.

    Attributes:
        before: the figure on one side, over these items.
        after: on the other.
        difference: after minus before.
        low: lower end of the 95 % interval; `None` where fewer than two items tell.
        high: upper end.
        items: how many items.
        p: of the permutation test; `None` where fewer than two items tell.
        p_adjusted: for all figures that are looked at together.
        bounds: the difference over all common items, with whatever missing answers would have been; `None` where nothing is missing.
    """

    before: float
    after: float
    difference: float
    low: float | None
    high: float | None
    items: int
    p: float | None
    p_adjusted: float | None = None
    bounds: Range | None = None

    @property
    def verdict(self) -> Verdict:
        """What it says: interval and test must both speak against chance."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high or self.p is None or self.p > 1 - LEVEL:
            return "not distinguishable"
        if self.bounds is not None and self.bounds.low <= 0 <= self.bounds.high:
            return "open"
        return "better" if self.difference > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """Two evaluations side by side.

    Attributes:
        items: ids of the items that both have, in the order of the first.
        only: how many items only the first and only the second has.
        measures: change of each measure that both have.
        tools: change of each of the four parts, by `PARTS`, of `accuracy` (DESIGN 4.9) and of `succeeded_of_well_formed` (the paper's).
        warnings: what a reader must know before believing the figures.
    """

    items: tuple[str, ...]
    only: tuple[int, int]
    measures: Mapping[str, Change]
    tools: Mapping[str, Change]
    warnings: tuple[str, ...]


def compare_results(before: Results, after: Results, seed: int = 0) -> Comparison:
    """The change from one evaluation to another.

    Raises:
        ConfigError: of two benchmarks, or of two versions of one, or no item in common.
    """
    for what in ("benchmark", "version"):
        first, second = getattr(before, what), getattr(after, what)
        if first != second:
            raise ConfigError(f"only evaluations of one {what} can be compared, not of {first!r} and {second!r}")
    ids = [item for item in before.items if item in after.items]
    if not ids:
        raise ConfigError("these evaluations have no item in common")
    if before.items.keys() == after.items.keys() and before.data != after.data:
        raise ConfigError(f"the items of {before.benchmark} are not the same on both sides, though their ids are")
    pairs = [(before.items[id], after.items[id]) for id in ids]
    found = {name: change for name in before.measures if (change := _measure(name, pairs, seed)) is not None}
    return Comparison(
        tuple(ids),
        (len(before.items) - len(ids), len(after.items) - len(ids)),
        _adjusted(found),
        _adjusted(_tools(pairs, seed)),
        tuple(_warnings(before, after)),
    )


def _warnings(before: Results, after: Results) -> list[str]:
    said = list(dict.fromkeys([*before.warnings, *after.warnings]))
    first, second = (list(map(repr, side.judges.values())) for side in (before, after))
    if sorted(first) != sorted(second):
        told = " and ".join(", ".join(side.judges) or "nobody" for side in (before, after))
        said.append(
            f"The two were not judged alike ({told}): what differs may be the judges. Judge both with the same ones to tell"
        )
    return said


# ------------------------------------------------------------------------------------------------------------------ measures


def _measure(name: str, pairs: Sequence[tuple[ItemFigures, ItemFigures]], seed: int) -> Change | None:
    values = [
        (a, b)
        for first, second in pairs
        if (a := first.value(name)) is not None and (b := second.value(name)) is not None
    ]
    if not values:
        return None
    ranges = [
        (one, other)
        for first, second in pairs
        if (one := first.bounds(name)) is not None and (other := second.bounds(name)) is not None
    ]
    bounds = Range(fmean(b.low - a.high for a, b in ranges), fmean(b.high - a.low for a, b in ranges))
    differences_I1 = np.array([[after - before] for before, after in values], np.float64)
    (interval,) = ratio_intervals(differences_I1, np.ones_like(differences_I1), NO_SCALE, seed)
    low, high = interval or (None, None)
    return Change(
        fmean(before for before, _ in values),
        fmean(after for _, after in values),
        float(differences_I1.mean()),
        low,
        high,
        len(values),
        _p_value(differences_I1[:, 0], seed),
        bounds=None if bounds.known else bounds,
    )


# --------------------------------------------------------------------------------------------------------------------- tools


def _tools(pairs: Sequence[tuple[ItemFigures, ItemFigures]], seed: int) -> dict[str, Change]:
    sides = [[pair[side].tools for pair in pairs] for side in (0, 1)]
    wholes = [[sum(item.values(), ToolTally()) for item in side] for side in sides]
    tables: dict[str, list[Floats]] = {}
    for part in PARTS:
        tables[part] = [_table([[whole.part(part)] for whole in side]) for side in wholes]
    names = sorted({name for side in sides for item in side for name in item})
    needs = [_table([[item.get(name, ToolTally()).required for name in names] for item in side]) for side in sides]
    both = [at for at in range(len(names)) if all(side[:, at, 1].sum() for side in needs)]
    tables["accuracy"] = [side[:, both] for side in needs]
    tables["succeeded_of_well_formed"] = [_table([[(one.succeeded, one.valid)] for one in side]) for side in wholes]
    found = {name: _change(first, second, seed) for name, (first, second) in tables.items()}
    return {name: change for name, change in found.items() if change is not None}


def _table(counts: Sequence[Sequence[tuple[int, int]]]) -> Floats:
    """Met and counted of each item and tool, shape (I, T, 2)."""
    return np.array(counts, np.float64).reshape(len(counts), -1, 2)


def _change(first_IT2: Floats, second_IT2: Floats, seed: int) -> Change | None:
    """The change of a share, averaged over tools; `None` where a side has none."""
    totals = [side.sum(axis=0) for side in (first_IT2, second_IT2)]
    if not all(len(total_T2) and total_T2[:, 1].all() for total_T2 in totals):
        return None
    before, after = (float((total_T2[:, 0] / total_T2[:, 1]).mean()) for total_T2 in totals)
    concerned = int(((first_IT2 + second_IT2)[..., 1].sum(axis=1) > 0).sum())
    interval = statistic_interval(
        lambda weights_RI: _share(weights_RI, second_IT2) - _share(weights_RI, first_IT2),
        len(first_IT2),
        concerned,
        NO_SCALE,
        seed,
    )
    low, high = interval or (None, None)
    # What each item adds to the difference: these sum up to it, so that it can be tested as a mean is.
    common_T = (totals[0] + totals[1])[:, 0] / (totals[0] + totals[1])[:, 1]
    added_I = np.zeros(len(first_IT2))
    for sign, side, total_T2 in ((-1, first_IT2, totals[0]), (1, second_IT2, totals[1])):
        added_I += sign * ((side[..., 0] - common_T * side[..., 1]) / total_T2[:, 1]).mean(axis=1)
    return Change(before, after, after - before, low, high, concerned, _p_value(added_I, seed))


def _share(weights_RI: Floats, side_IT2: Floats) -> Floats:
    met_RT, counted_RT = weights_RI @ side_IT2[..., 0], weights_RI @ side_IT2[..., 1]
    return mean_share(met_RT, counted_RT)


# ---------------------------------------------------------------------------------------------------------------------- tests


def _p_value(differences_I: Floats, seed: int) -> float | None:
    """Two-sided, of the mean: each item's results may as well stand on the other side. All ways are tried where they are few."""
    if len(differences_I) < 2:
        return None
    stats = require("scipy.stats", "comparing evaluations", "train")
    tried = stats.permutation_test(
        (differences_I,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=max(1, _NUMBERS // len(differences_I)),
        rng=np.random.default_rng(seed),
    )
    return float(tried.pvalue)


def _adjusted(changes: Mapping[str, Change]) -> dict[str, Change]:
    tested = [name for name, change in changes.items() if change.p is not None]
    if not tested:
        return dict(changes)
    stats = require("scipy.stats", "comparing evaluations", "train")
    adjusted = stats.false_discovery_control([changes[name].p for name in tested])
    return {
        **changes,
        **{name: replace(changes[name], p_adjusted=float(p)) for name, p in zip(tested, adjusted, strict=True)},
    }

"""Means over items, with intervals, and with bounds where something is missing.

An item counts once, however many documents it has. The mean is over the items with a value; its interval tells how it would move with other
items of the kind. The bounds tell how it could move with the answers that are missing: they are of all items that the figure concerns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from llmi_env.evaluate.intervals import ratio_intervals

PANEL = ""
"""Stands for all judges together: the mean of what each of them comes to."""

SAME = 1e-9
"""Values no further apart are one."""


class Range(NamedTuple):
    """Least and greatest value that a figure can have, whatever the missing answers would have been."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether it is one value."""
        return self.high - self.low < SAME


def mean_range(ranges: Sequence[Range]) -> Range:
    """The range of the mean."""
    return Range(fmean(one.low for one in ranges), fmean(one.high for one in ranges))


class Estimate(BaseModel):
    """A mean over items, each the mean over its documents.

    Attributes:
        mean: over the items with a value; `None` where there is none.
        low: lower end of the 95 % interval of the mean over items; `None` where fewer than two items have a value.
        high: upper end.
        items: items with a value.
        of: items that the figure concerns.
        documents: documents that it concerns.
        missing: those of them that have no value since an answer or the document itself is missing.
        bounds: the mean over all items that it concerns with the least and with the greatest possible value in each open place.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float | None
    low: float | None
    high: float | None
    items: int
    of: int
    documents: int
    missing: int
    bounds: tuple[float, float] | None


class Figure(BaseModel):
    """A measure of the benchmark, or the scores for one criterion.

    Attributes:
        what: what it says.
        low: least value of its scale.
        high: greatest value.
        overall: over all items; with several judges the mean of theirs.
        kinds: over the items of each kind, where there are several.
        judges: by judge, where there are several.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str
    low: float
    high: float
    overall: Estimate
    kinds: dict[str, Estimate]
    judges: dict[str, Estimate]


@dataclass(frozen=True)
class _Column:
    """One figure over the items that it concerns."""

    values: Mapping[int, float]
    bounds: Mapping[int, Range]
    documents: int
    missing: int
    scale: Range


class Sheet:
    """Ranges of figures, document by document."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[str, str], list[tuple[int, Range]]] = {}

    def add(self, figure: str, judge: str, item: int, found: Range) -> None:
        """Note a figure of one document of an item."""
        self._ranges.setdefault((figure, judge), []).append((item, found))

    def figures(
        self,
        about: Mapping[str, tuple[str, Range]],
        kinds: Sequence[str],
        judges: Collection[str],
        seed: int,
    ) -> dict[str, Figure]:
        """Everything noted, summed up.

        Args:
            about: what each figure says and its scale, in the order of tables; those that were never noted are left out.
            kinds: the kind of each item.
            judges: their names.
            seed: of the intervals.
        """
        several = list(dict.fromkeys(kinds)) if len(set(kinds)) > 1 else []
        columns: dict[tuple[str, str, str], _Column] = {}
        for name, (_, scale) in about.items():
            if (name, PANEL) in self._ranges:
                columns[name, "overall", ""] = self._column(name, PANEL, scale)
                for kind in several:
                    chosen = {at for at, one in enumerate(kinds) if one == kind}
                    columns[name, "kinds", kind] = self._column(name, PANEL, scale, chosen)
                for judge in judges if len(judges) > 1 else ():
                    columns[name, "judges", judge] = self._column(name, judge, scale)
        found = dict(zip(columns, _estimates(list(columns.values()), len(kinds), seed), strict=True))
        return {
            name: Figure(
                what=what,
                low=scale.low,
                high=scale.high,
                overall=found[name, "overall", ""],
                kinds={kind: found[name, "kinds", kind] for kind in several if found[name, "kinds", kind].of},
                judges={judge: found[name, "judges", judge] for judge in judges if (name, "judges", judge) in found},
            )
            for name, (what, scale) in about.items()
            if (name, "overall", "") in found
        }

    def _column(self, figure: str, judge: str, scale: Range, chosen: Collection[int] | None = None) -> _Column:
        ranges: dict[int, list[Range]] = {}
        for item, one in self._ranges.get((figure, judge), ()):
            if chosen is None or item in chosen:
                ranges.setdefault(item, []).append(one)
        known = {item: [one.low for one in of if one.known] for item, of in ranges.items()}
        documents = sum(map(len, ranges.values()))
        return _Column(
            {item: fmean(values) for item, values in known.items() if values},
            {item: mean_range(of) for item, of in ranges.items()},
            documents,
            documents - sum(map(len, known.values())),
            scale,
        )


def _estimates(columns: Sequence[_Column], items: int, seed: int) -> list[Estimate]:
    values_IK, counted_IK = np.zeros((items, len(columns))), np.zeros((items, len(columns)))
    for at, column in enumerate(columns):
        for item, value in column.values.items():
            values_IK[item, at], counted_IK[item, at] = value, 1.0
    intervals = ratio_intervals(values_IK, counted_IK, [column.scale for column in columns], seed)
    found = []
    for column, interval in zip(columns, intervals, strict=True):
        low, high = interval or (None, None)
        found.append(
            Estimate(
                mean=fmean(column.values.values()) if column.values else None,
                low=low,
                high=high,
                items=len(column.values),
                of=len(column.bounds),
                documents=column.documents,
                missing=column.missing,
                bounds=mean_range(list(column.bounds.values())) if column.bounds else None,
            )
        )
    return found

"""What a chart shows, read off the finished figure rather than off the program that drew it.

The code tool takes the reading in the same process that ran the policy's code, so it is a claim, not a proof: code may lie to it as it may
draw what it likes. It is checked for its form here, and it travels with the picture (`Provenance.chart`) as one line of JSON.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

MAX_MARKS = 60
MAX_NAME = 60
MAX_JSON = 16_000


@dataclass(frozen=True)
class Mark:
    """One value that is drawn.

    Attributes:
        kind: `bar`, `wedge`, `point` (of a line), `dot` (of a scatter) or `cell` (of an image).
        name: what stands at its place on the axis, or a wedge's label; "" where nothing does.
        value: in the units of the data; of a wedge its share in [0, 1].
        level: where it is shown (a bar's end, a wedge's middle), as a share of the axes' height (width for lying bars), in [0, 1]; -1 where it
            lies outside. A bar that is cut by the axes' edge ends there: its level is 0 or 1.
        place: of bars, points and dots where they stand along the other axis, in its units.
        seen: of the series that it belongs to, the share that is seen.
        series: number of that series.
    """

    kind: str
    name: str
    value: float
    level: float
    place: float | None = None
    seen: float = 1.0
    series: int = 0


@dataclass(frozen=True)
class ChartReading:
    """What a figure shows.

    Attributes:
        marks: values drawn, in drawing order, at most `MAX_MARKS`.
        seen: share of what is drawn of them that is seen: 1 where nothing lies over it, 0 where it has the ground's colour or is covered.
        ink: share of the page that they cover.
        room: share of the page that the axes with most marks take.
        renamed: whether numbers on a value axis stand at other places than they say; an axis in hundredths (percent without
            its sign) or in thousands, millions or billions of the data's unit, or in parts of these, does not count.
        keyed: whether a colour bar or numbers on the axes say what shades stand for, where there are any.
    """

    marks: tuple[Mark, ...] = ()
    seen: float = 0.0
    ink: float = 0.0
    room: float = 0.0
    renamed: bool = False
    keyed: bool = True

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ChartReading | None:
        """Read what `to_json` wrote; `None` for anything else, since the code that was run may have written it."""
        if not text or len(text) > MAX_JSON:
            return None
        try:
            data = json.loads(text)
            marks = tuple(_mark(item) for item in data["marks"][:MAX_MARKS])
            seen, ink, room = (_share(data[name]) for name in ("seen", "ink", "room"))
            return cls(marks, seen, ink, room, bool(data["renamed"]), bool(data.get("keyed", True)))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None


def _mark(item: Any) -> Mark:
    value, level, place = float(item["value"]), float(item["level"]), item.get("place")
    place = None if place is None else float(place)
    if not math.isfinite(value) or not -1 <= level <= 1 or not math.isfinite(place or 0.0):
        raise ValueError("no value that can be drawn")
    seen, series = _share(item.get("seen", 1.0)), int(item.get("series", 0))
    return Mark(_words(item["kind"]), _words(item["name"]), value, level, place, seen, series)


def _words(text: Any) -> str:
    """Characters that can be stored and shown: no controls, no half of a pair."""
    return "".join(char if char.isprintable() else " " for char in str(text)[:MAX_NAME])


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError("no share")
    return share

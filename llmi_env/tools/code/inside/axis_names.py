"""What stands at a place on an axis, and whether the numbers there are where they say.

Part of the reading of a figure (`reading.py`); it runs in the child. An axis is read by its formatter, which is what writes the
labels at each drawing, so that no tick has to be made for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

_TICKS = 200
_NEAR = 0.1
_BESIDE = 0.5
_WRONG_SHARE = 0.02
_SCALES = (0.01, 1e-3, 1e-6, 1e-9, 1e3, 1e6, 1e9)
"""A label may be its place times one of these, the same for the whole axis: percent, thousands, millions, thousandths ..."""
_NUMBER = re.compile(r"[-+]?(\d[\d., \u00a0\u202f_']*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_FORMULA = re.compile(r"\$(?:\\mathdefault\{(.*)\}|(.*))\$")
_GAP = re.compile(r"[ \u00a0\u202f_']")


def plain(value: float) -> str:
    """A number as one would write it."""
    return f"{float(value):.10g}"


def namer(axis: Any) -> Callable[..., str]:
    """Tells what stands at a place of `axis`: `name(place, wide)`, "" where nothing does.

    The label of a tick there, where labels are text; else the date or the number itself. `wide` things, as bars, are named by a
    tick beside them too.
    """
    from matplotlib import dates, ticker

    places = _places(axis)
    if not len(places) or not _shown(axis):
        return lambda place, wide=False: ""
    formatter = axis.get_major_formatter()
    if isinstance(formatter, ticker.ScalarFormatter | ticker.LogFormatter):
        return lambda place, wide=False: plain(place)
    period = getattr(axis, "freq", None)
    if period is not None and type(formatter).__name__ == "TimeSeries_DateFormatter":
        return lambda place, wide=False: _period(place, period)
    if isinstance(formatter, dates.DateFormatter | dates.AutoDateFormatter | dates.ConciseDateFormatter):
        return lambda place, wide=False: _date(place)
    labels = [str(label) for label in formatter.format_ticks(places)]
    ordered = sorted(float(place) for place in places)
    step = min((b - a for a, b in pairwise(ordered) if b > a), default=1.0)

    def name(place: float, wide: bool = False) -> str:
        distance, label = min((abs(float(at) - place), index) for index, at in enumerate(places))
        return labels[label] if distance <= (_BESIDE if wide else _NEAR) * step else plain(place)

    return name


def _places(axis: Any) -> Any:
    return axis.get_majorticklocs()[:_TICKS]


def _shown(axis: Any) -> bool:
    """Whether the axis shows labels, or another that shares it does (as the lowest of a column of charts)."""
    axes = axis.axes
    shared = {"x": "get_shared_x_axes", "y": "get_shared_y_axes"}.get(axis.axis_name)
    family = getattr(axes, shared)().get_siblings(axes) if shared else [axes]
    return any(_labelled(axis if other is axes else getattr(other, f"{axis.axis_name}axis")) for other in family)


def _labelled(axis: Any) -> bool:
    axes = axis.axes
    if not (axes.get_visible() and axes.axison and axis.get_visible()):
        return False
    return any(tick.label1.get_visible() or tick.label2.get_visible() for tick in axis.majorTicks[:1])


def _date(place: float) -> str:
    from matplotlib import dates

    moment = dates.num2date(place)
    return str(moment.strftime("%Y-%m-%d" if moment.hour == moment.minute == 0 else "%Y-%m-%d %H:%M"))


def _period(place: float, freq: Any) -> str:
    import pandas as pd

    return str(pd.Period(ordinal=round(place), freq=freq))


def is_renamed(axis: Any) -> bool:
    """Whether numbers written at an axis' ticks differ from where these stand, by more than 2 % of what the axis spans.

    Text and percentages are not numbers here, and labels that are their places times a thousand, a million or a hundred, all of
    them alike, are an ordinary choice of unit.
    """
    from matplotlib import ticker

    formatter = axis.get_major_formatter()
    places = _places(axis)
    if type(formatter) is ticker.ScalarFormatter or not len(places) or not _labelled(axis):
        return False
    low, high = sorted(axis.get_view_interval())
    span = high - low
    labels = formatter.format_ticks(places)
    if str(formatter.get_offset()).strip() or not span > 0:
        return False
    read = []
    for place, label in zip(places, labels, strict=False):
        numbers = _numbers(str(label))
        if numbers and low - 1e-9 * span <= place <= high + 1e-9 * span:
            read.append((float(place), numbers))
    if not read:
        return False

    def fits(scale: float) -> bool:
        return all(min(abs(n * scale - place) for n in numbers) <= _WRONG_SHARE * span for place, numbers in read)

    return not fits(1.0) and not (len(read) > 1 and any(fits(scale) for scale in _SCALES))


def _numbers(label: str) -> list[float]:
    """What a label may say as a number; a point and a comma may each part thousands or decimals. Empty for other text."""
    text = label.strip().replace("\N{MINUS SIGN}", "-")
    formula = _FORMULA.fullmatch(text)
    if formula:
        text = (formula[1] or formula[2] or "").strip()
    if len(text) > 40 or not _NUMBER.fullmatch(text):
        return []
    text = _GAP.sub("", text)
    found = []
    for written in (text.replace(",", ""), text.replace(".", "").replace(",", ".")):
        try:
            found.append(float(written))
        except ValueError:
            continue
    return found

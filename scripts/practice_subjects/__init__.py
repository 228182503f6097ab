"""Subjects of the task set `practice` (`build_practice.py`): what is drawn, changed and counted. None stands in what is evaluated."""

from __future__ import annotations

from practice_subjects.changed import CAPTIONS, CHANGES, LETTERED, LETTERING, NEEDS, ORDERS
from practice_subjects.counted import CURVES, DATA, PARTS, SERIES, SPANS, SPREADS
from practice_subjects.imagined import DOING, LOOKS, SOMEBODY, SOMEWHERE, TRADES
from practice_subjects.things import COLOURS, THINGS
from practice_subjects.told import ADVICE, PEOPLE, PLACES

__all__ = [
    "ADVICE",
    "CAPTIONS",
    "CHANGES",
    "COLOURS",
    "CURVES",
    "DATA",
    "DOING",
    "LETTERED",
    "LETTERING",
    "LOOKS",
    "NEEDS",
    "ORDERS",
    "PARTS",
    "PEOPLE",
    "PLACES",
    "SERIES",
    "SOMEBODY",
    "SOMEWHERE",
    "SPANS",
    "SPREADS",
    "THINGS",
    "TRADES",
]

"""Wordings of the task set `practice` (`build_practice.py`). None of them stands in `validation` or `heldout`.

`{place}` is "our school paper", `{people}` "my pupils"; a placeholder in capitals begins a sentence.
"""

from __future__ import annotations

from practice_words.chart import CHART_WORDINGS, SHARE_WORDINGS
from practice_words.clauses import (
    CHANGED,
    CHART_IT,
    CHARTED,
    DRAWN,
    ENDS,
    FOUND,
    REQUESTS,
    THEN,
    THEN_DO,
    TOPICS,
    UNILLUSTRATED,
)
from practice_words.draw import DRAW_WORDINGS, TRADE_WORDINGS
from practice_words.edit import ATTACHED, EDIT_WORDINGS, ORDER_WORDINGS
from practice_words.find import FIND_WORDINGS
from practice_words.graph import CURVE_WORDINGS, SERIES_WORDINGS, SPREAD_WORDINGS
from practice_words.several import (
    CHART_CHANGE_WORDINGS,
    DRAW_CHART_WORDINGS,
    DRAW_EDIT_WORDINGS,
    FIND_CHART_WORDINGS,
    FIND_DRAW_WORDINGS,
    FIND_EDIT_WORDINGS,
    SEVERAL_WORDINGS,
)
from practice_words.words_only import WORDS_ONLY

__all__ = [
    "ATTACHED",
    "CHANGED",
    "CHARTED",
    "CHART_CHANGE_WORDINGS",
    "CHART_IT",
    "CHART_WORDINGS",
    "CURVE_WORDINGS",
    "DRAWN",
    "DRAW_CHART_WORDINGS",
    "DRAW_EDIT_WORDINGS",
    "DRAW_WORDINGS",
    "EDIT_WORDINGS",
    "ENDS",
    "FIND_CHART_WORDINGS",
    "FIND_DRAW_WORDINGS",
    "FIND_EDIT_WORDINGS",
    "FIND_WORDINGS",
    "FOUND",
    "ORDER_WORDINGS",
    "REQUESTS",
    "SERIES_WORDINGS",
    "SEVERAL_WORDINGS",
    "SHARE_WORDINGS",
    "SPREAD_WORDINGS",
    "THEN",
    "THEN_DO",
    "TOPICS",
    "TRADE_WORDINGS",
    "UNILLUSTRATED",
    "WORDS_ONLY",
]

"""Whether a chart shows the numbers that were given: each of them, no others, under their names, in their order, where they can be seen.

What is shown is read off the finished figure where the code tool has left a reading (`llmi_env.chart_reading`), else off the program
(`chart_proxy`). A program can say anything; a figure that is drawn from other numbers than it names has other numbers in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, combinations, pairwise

from llmi_env.calls import Call
from llmi_env.chart_reading import ChartReading, Mark
from llmi_env.document import Picture
from llmi_env.judges.chart_proxy import FRAME, SHAPES, Drawn, drawn
from llmi_env.judges.given import Given, interval, is_formula, is_no_whole, is_number
from llmi_env.judges.relevance import plain_number, ramp

_ALIKE = 0.2
_RENAMED = 0.15
_NO_WHOLE = _SUMMED_UP = 0.4
_MANY = 8  # values that a box may stand for
_MOSTLY, _SOME = 0.6, 3
_COUNTS = tuple(str(number) for number in range(13))
_MARKED_WRONGLY = 0.3
_NOTE = re.compile(
    r"\W*(?:\d[\d.,]*\W*)?(?:the |new |all[- ]time |our )?"
    r"(?:(?P<most>highest|peak|record(?: high)?|maximum|max|most|largest|biggest|best|top|tallest|busiest)"
    r"|(?P<least>lowest|record low|minimum|min|least|fewest|smallest|worst))"
    r"(?: (?:value|point|month|year|day|week|of all|ever|one))?\W*(?:\d[\d.,]*\W*)?",
    re.IGNORECASE,
)
"""A note that calls something the highest or the lowest, and says nothing else that could qualify it."""
_COVERED = 0.5  # of a series, the share that is seen
_CURVE = 12  # points of a series that is computed rather than given
_EDGE = 1e-4  # of a bin's width
_LOOSELY = 0.05  # of an interval
_SAME_PLACE = 0.4  # of the step from one place to the next


@dataclass(frozen=True)
class Chart:
    """A chart as a judge sees it.

    Attributes:
        drawn: what the program draws.
        marks: values that the figure shows, where it was read.
        visible: how far they can be seen, in [0, 1].
        renamed: whether an axis tells other numbers than it shows.
        keyed: whether shades can be read as numbers.
        why: what is wrong with it, in words.
    """

    drawn: Drawn
    marks: tuple[Mark, ...] = ()
    visible: float = 1.0
    renamed: bool = False
    keyed: bool = True
    why: str = ""

    @property
    def value(self) -> float:
        """How much there is to see, in [0, 1]."""
        return self.drawn.value * (0.1 + 0.9 * self.visible)

    def fit(self, question: str, text: str = "") -> float:
        """How well it shows the numbers of the question, or else of the text, in [0, 1]; 1 where too few are given to tell."""
        marks = self._legible
        if _draws_function(marks, question):  # whose numbers are the interval's and the formula's, none of the data
            return 1.0
        for source in (question, text):
            given = Given.of(source)
            if len(given.numbers) >= 2:
                told = 1.0 if _counts(marks, given) else self._tells(given)
                pie = any(mark.kind == "wedge" for mark in marks) and is_no_whole(source, [mark.name for mark in marks])
                if self.drawn.summary and given.counted:  # a box is made of the program's numbers and shows few of them
                    told = max(told, self.drawn.share_of(given.numbers))
                elif self.drawn.summary and len(given.numbers) < _MANY:
                    told *= _SUMMED_UP
                return told * (_NO_WHOLE if pie else 1.0) * (_RENAMED if self.renamed else 1.0)
        return 1.0

    def _tells(self, given: Given) -> float:
        """How many of the numbers are there, how many others, and whether each stands where it belongs."""
        marks = self._legible
        if given.derived and _computes(marks, given):
            return _noted(marks, self.drawn)
        covered = 0.15 + 0.85 * ramp(self._coverage(given), 0.2, 0.95)
        return (
            covered
            * self._precision(given)
            * _pairing(marks, given)
            * _crossing(marks, given)
            * _noted(marks, self.drawn)
        )

    @cached_property
    def _legible(self) -> list[Mark]:
        """Marks that a reader can take a number from: none outside of the axes, behind higher bars, or as a shade without a key."""
        hidden = _hidden(self.marks)
        within = [mark for mark in self.marks if mark.level >= 0 and mark not in hidden]
        return [mark for mark in within if self.keyed or mark.kind != "cell"]

    def _coverage(self, given: Given) -> float:
        if not self.marks:
            return self.drawn.share_of(given.numbers)
        marks = self._legible
        plotted = {number for number in given.numbers if any(given.is_shown(number, mark) for mark in marks)}
        names = {plain_number(_place(mark)) for mark in marks if is_number(mark.name) or mark.place is not None}
        named = (given.numbers & (names | self.drawn.named)) - plotted
        shown = sum(_is_given(mark, given) for mark in marks)
        return (len(plotted) + min(len(named), shown)) / len(given.numbers)

    def _precision(self, given: Given) -> float:
        """Lower where most of what is drawn was not given, or much of a series of which some was."""
        if not (marks := self._legible):
            return 1.0
        overall = ramp(_share_given(marks, given), 0.2, 0.6)
        drawn_series = [series for series in _series(marks) if not _runs_on(series, marks)]
        shares = [share for series in drawn_series if (share := _share_given(series, given)) > 0]
        return 0.15 + 0.85 * min([overall, *(ramp(share, 0.45, 0.9) for share in shares)])


def chart_of(call: Call, picture: Picture | None) -> Chart:
    """The chart of a code call, as far as it is known."""
    plan = drawn(str(call.params.get("code", "")))
    reading = ChartReading.from_json(picture.provenance.chart) if picture is not None else None
    if reading is None or not reading.marks or plan.value < SHAPES:
        return Chart(plan, why=plan.why)
    within = [mark for mark in reading.marks if mark.level >= 0]
    traits = {
        "covered, or of the ground's colour": ramp(reading.seen, 0.3, 0.8),
        "hardly a stroke": ramp(reading.ink, 0.0003, 0.002),
        "in a corner": ramp(reading.room, 0.05, 0.2),
        "outside of the axes": ramp(len(within) / len(reading.marks), 0.3, 0.9),
        "flat": ramp(_span(within), 0.02, 0.12) * ramp(_contrast(within), 0.1, 0.5),
    }
    worst = min(traits, key=lambda name: traits[name])
    visible = math.prod(traits.values())
    why = plan.why if visible > FRAME else worst
    return Chart(plan, reading.marks, visible, reading.renamed, reading.keyed, why)


def _span(marks: Sequence[Mark]) -> float:
    """How far what is drawn reaches up the axes; values that are all the same have no less to show for it."""
    levels = [mark.level for mark in marks]
    if not levels or any(mark.kind in ("wedge", "cell") for mark in marks):
        return float(bool(levels))
    if len({mark.value for mark in marks}) == 1:
        return 1.0
    return max(levels) - (0.0 if marks[0].kind == "bar" else min(levels))


def _contrast(marks: Sequence[Mark]) -> float:
    """How far bars differ on the page beside how far their values do: a scale can make all alike."""
    bars = [mark for mark in marks if mark.kind == "bar" and mark.value > 0]
    if len(bars) < 2:
        return 1.0
    values, levels = [mark.value for mark in bars], [mark.level for mark in bars]
    differ = 1 - min(values) / max(values)
    return 1.0 if differ < _ALIKE or not max(levels) else (1 - min(levels) / max(levels)) / differ


def _noted(marks: Sequence[Mark], drawn: Drawn) -> float:
    """Lower where a note calls a mark the highest of its series that is not, or the lowest."""
    notes = [(found, place, height) for text, place, height in drawn.notes if (found := _NOTE.fullmatch(text))]
    for found, place, height in notes:
        right = wrong = False
        for series in _series(marks):
            values = [mark.value for mark in series]
            end = max(values) if found["most"] else min(values)
            at = [mark.value for mark in series if _near(mark.place, place) and _near(mark.value, height, values)]
            right, wrong = right or end in at, wrong or bool(at)
        if wrong and not right:
            return _MARKED_WRONGLY
    return 1.0


def _near(one: float | None, other: float, among: Sequence[float] = ()) -> bool:
    """Whether a note stands at a mark: half a step beside it, a tenth of the largest value above or below."""
    slack = 0.5 if not among else 0.1 * max(map(abs, among))
    return one is not None and abs(one - other) <= slack


def _computes(marks: Sequence[Mark], given: Given) -> bool:
    """Whether most marks are what can be computed from the given numbers, or these themselves beside it."""
    derived = sum(given.is_derived(mark) and not _is_given(mark, given) for mark in marks)
    return derived > 0 and derived + sum(_is_given(mark, given) for mark in marks) >= _MOSTLY * len(marks)


def _runs_on(series: Sequence[Mark], marks: Sequence[Mark]) -> bool:
    """Whether a series is the running sum of another one, as the line of a Pareto chart is."""
    values = [mark.value for mark in sorted(series, key=_place)]
    others = (
        [mark.value for mark in sorted(other, key=_place)]
        for other in _series(marks)
        if other[0].series != series[0].series
    )
    return len(values) >= _SOME and any(list(accumulate(other)) == values for other in others)


def _is_given(mark: Mark, given: Given) -> bool:
    return any(given.is_shown(number, mark) for number in given.numbers)


def _share_given(marks: Sequence[Mark], given: Given) -> float:
    return sum(_is_given(mark, given) for mark in marks) / len(marks)


def _pairing(marks: Sequence[Mark], given: Given) -> float:
    """Lower where numbers stand under other names than in the source or, of unnamed values, in another order."""
    named = [mark for mark in marks if mark.name and not is_number(mark.name)]
    if named:
        shares = [share for after in (True, False) if (share := _agreement(named, given, after)) is not None]
        return 0.1 + 0.9 * max(shares, default=1.0) ** 2
    return min((_in_order(series, given) for series in _series(marks)), default=1.0)


def _in_order(series: Sequence[Mark], given: Given) -> float:
    """Lower where values without names stand in another order than they were given in.

    Bars may be sorted, and read from either end, as those that lie do.
    """
    order = [number for number in given.tokens if number in given.numbers]
    shown = [text for mark in sorted(series, key=_place) if (text := plain_number(mark.value)) in given.numbers]
    if len(set(order)) < len(order) or len(shown) < 3 or len(set(shown)) < len(shown):
        return 1.0
    if series[0].kind == "dot" or {plain_number(_place(mark)) for mark in series} & (given.numbers - set(_COUNTS)):
        return 1.0  # pairs of given numbers, or places that were given
    bars = series[0].kind == "bar"
    if bars and sorted(shown, key=float) in (shown, shown[::-1]):
        return 1.0
    pairs = list(combinations(map(order.index, shown), 2))
    kept = sum(one < other for one, other in pairs) / len(pairs)
    return 0.1 + 0.9 * max(0.0, 2 * (max(kept, 1 - kept) if bars else kept) - 1)


def _series(marks: Sequence[Mark]) -> list[list[Mark]]:
    """Marks that stand at a place, series by series."""
    found: dict[int, list[Mark]] = {}
    for mark in marks:
        if mark.place is not None:
            found.setdefault(mark.series, []).append(mark)
    return list(found.values())


def _place(mark: Mark) -> float:
    """Where a mark stands: the number written there, or else its place on the axis."""
    return float(mark.name) if is_number(mark.name) or mark.place is None else mark.place


def _crossing(marks: Sequence[Mark], given: Given) -> float:
    """Lower where a series is drawn against itself in another order: its places are its values, and each has another one's."""
    worst = 0.0
    for series in _series(marks):
        placed = {_place(mark): mark.value for mark in series}
        counted = all(place.is_integer() for place in placed) and min(placed) <= 1 and max(placed) <= 2 * len(placed)
        numbers = {plain_number(place) for place in placed}
        if len(placed) < 3 or counted or not numbers <= given.numbers or set(placed) != set(placed.values()):
            continue
        worst = max(worst, sum(place != value for place, value in placed.items()) / len(placed))
    return 1.0 - 0.85 * ramp(worst, 0.2, 0.6)


def _draws_function(marks: Sequence[Mark], question: str) -> bool:
    """Whether a function is asked for, by its interval or formula, and a curve is drawn, over all of that interval."""
    ends = interval(question)
    if ends is None and not is_formula(question):
        return False
    for series in _series(marks):
        places = {mark.place for mark in series if mark.kind == "point" and mark.place is not None}
        if len(places) < _CURVE:
            continue
        if ends is None:
            return True
        slack = _LOOSELY * (ends[1] - ends[0])
        if abs(min(places) - ends[0]) <= slack and abs(max(places) - ends[1]) <= slack:
            return True
    return False


def _counts(marks: Sequence[Mark], given: Given) -> bool:
    """Whether bars or points tell how often each of the given numbers occurs: a histogram of them, or one mark for each.

    Only for observations: a list of numbers without names, some of which come again, unless it is asked how often they occur.
    """
    told = [float(token) for token in given.observations]
    if not told or (len(set(told)) == len(told) and not given.counted):
        return False
    for series in _series(marks):
        bars = sorted((_place(mark), mark.value) for mark in series)
        heights = [height for _, height in bars]
        if sum(heights) == len(told) and all(told.count(place) == height for place, height in bars):
            return True
        if sum(heights) >= 3 and _binned(told, [place for place, _ in bars]) == heights:
            return True
    return False


def _binned(numbers: Sequence[float], middles: Sequence[float]) -> list[int]:
    """How many of the numbers lie in each bin, the last with its upper end; none at all where bins are not of one width."""
    step = (middles[-1] - middles[0]) / max(1, len(middles) - 1)
    if not 0 < step < math.inf or any(abs(b - a - step) > _EDGE * step for a, b in pairwise(middles)):
        return []
    low, high, slack = middles[0] - step / 2, middles[-1] + step / 2, _EDGE * step
    within = [number for number in numbers if low - slack <= number <= high + slack]
    places = [min(int((number - low) / step + _EDGE), len(middles) - 1) for number in within]
    return [places.count(at) for at in range(len(middles))]


def _hidden(marks: Sequence[Mark]) -> set[Mark]:
    """Bars of series of which little is seen that stand behind others no lower."""
    bars = [series for series in _series(marks) if series[0].kind == "bar"]
    found: set[Mark] = set()
    for series in bars:
        if series[0].seen >= _COVERED:
            continue
        others = [mark for other in bars if other is not series for mark in other]
        places = sorted({mark.place for mark in series if mark.place is not None})
        near = _SAME_PLACE * min((b - a for a, b in pairwise(places)), default=1.0)
        for mark in series:
            found.update(mark for other in others if other.level >= mark.level and _apart(mark, other) < near)
    return found


def _apart(one: Mark, other: Mark) -> float:
    return math.inf if one.place is None or other.place is None else abs(one.place - other.place)


def _agreement(marks: Sequence[Mark], given: Given, after: bool) -> float | None:
    """Share of the names whose number stands beside them in the source, before or after; `None` where fewer than two can be told.

    A name with several marks, as where a line of something else runs over the bars, needs but one of them.
    """
    found: dict[str, bool] = {}
    for mark in marks:
        beside = [
            number for place in given.places_of(mark.name, after) if (number := given.beside(place, after)) is not None
        ]
        if beside:
            found[mark.name] = found.get(mark.name, False) or any(given.is_shown(number, mark) for number in beside)
    return sum(found.values()) / len(found) if len(found) >= 2 else None

"""Numbers that were given, and whether a text tells them truly: under their own names, and from the right end.

A question gives a series, "10, 25 and 45 rentals in May, June and July"; a chart of it (`chart_fit`) and a text about it are held to that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from llmi_env.chart_reading import Mark
from llmi_env.judges.relevance import joined_thousands, plain_number, prose_numbers, sentences, stems, word_set

_SAME = 0.006  # of the whole circle
_OBSERVATIONS = 5
_BESIDE = 4  # words between a name and its number
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*|[,;]")
_PARTS = frozenset({",", ";", "and"})

_AMOUNT = r"[^.!?\n\d]{0,30}?(?<![-−\w.])(\d+(?:\.\d+)?)"
_FROM_TO = re.compile(
    rf"\b[a-z]+(?: [a-z]+)?,? (?:from|at|with)\b{_AMOUNT}\b(?!\.\d)[^.!?\n\d]{{0,40}}?"
    rf"\b(?:to|until|ends? (?:at|with)|ended (?:at|with)|reach(?:es|ed|ing)|finally|now)\b{_AMOUNT}\b",
    re.IGNORECASE,
)
_RISES = word_set(
    "rise rises risen rising rose grow grows grew grown climb climbs climbed climbing increase increases increased soared"
)
_FALLS = word_set(
    """fall falls fell fallen falling drop drops dropped dropping decline declines declined decrease decreases decreased shrink shrinks
    shrank shrunk sink sinks sank sunk plunge plunges plunged"""
)
_MOVES = word_set(
    "go goes went gone move moves moved develop develops developed start starts started begin begins began change changes changed"
)
_MINUS = re.compile(r"[-−]\d|\bminus\b", re.IGNORECASE)
_ENDS = re.compile(
    r"\bat (?:the )?(?:start|beginning|end|first|last)\b|\bin the (?:beginning|end)\b|\bfinally\b", re.IGNORECASE
)
_IN_TIME = re.compile(
    r"\b(?:over|by|each|every|in (?:two|three|four|five|six|seven|eight|ten|twelve|\d+)) (?:year|month|week|day|quarter|hour|season)s?\b"
    r"|\b(?:heading|trend|over time)\b",
    re.IGNORECASE,
)
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DATES = re.compile(
    rf"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|{_MONTHS}"
    r"|spring|summer|autumn|winter)\b|\b(?:19|20)\d\d\b",
    re.IGNORECASE,
)
_FROM_TODAY = re.compile(r"\b(?:today|now|currently|ago|from|since|until)\b", re.IGNORECASE)
_MEASURED = re.compile(
    r"\b(?:m|km|cm|mm|metres?|meters?|kilometres?|miles|degrees|km/h|mph|decibels|hz|tall|tallest|highest|heights?|lengths?|longest|towers?"
    r"|temperatures?|speeds?|fastest|deep(?:est)?|how (?:high|long|fast) (?:is|are|was|were|can|do|does))\b|°",
    re.IGNORECASE,
)
_OVER_TIME = re.compile(
    r"\bover the (?:last|past)\b|\b(?:heading|trend|over time|by (?:year|month|week|quarter|day))\b", re.IGNORECASE
)
_OF_PARTS = re.compile(
    r"\b(?:pie|shares?|splits?|divides?|divided|parts?|percent(?:ages?)?|proportions?|budget|votes?|voters|altogether|total|whole|mix"
    r"|used for|spends?|spent|get to)\b|%",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"\b(?:distribut\w+|spread|histogram|groups?|grouped|bins?|box(?: ?plots?)?|quartiles?|median|how often|frequen\w+|range)\b",
    re.IGNORECASE,
)
_IN_ALL = re.compile(r"\b(?:altogether|total|in all|together|sum|of (?:the|our|their|these) \d+)\b", re.IGNORECASE)
_DERIVED = re.compile(
    r"\b(?:totals?|sums?|cumulative|running|differences?|changes?|as percentages|average|mean|per head|per person|doubles?|doubling|grows by"
    r"|interest|pareto|ratio|(?:each|every) month)\b",
    re.IGNORECASE,
)
_END = r"((?:[-−]|minus )?\d+(?:\.\d+)?)"
_INTERVAL = re.compile(
    rf"\b(?:between|from)\s+(?:x\s*=\s*)?{_END}\s+(?:and|to)\s+{_END}(?![\w.]\d|\s*%)", re.IGNORECASE
)
_FORMULA = re.compile(r"\b(?:y|[fg]\(x\))\s*=[^,;:?]*x", re.IGNORECASE)
_LABELS = re.compile(
    r"\b(?:picture|photo|image|figure|fig|slide|step|point|exercise|task|question|page|chapter|part|section|annex|ward|room|number|no"
    r"|grade|class|year|group|aged)\.? \d+\b(?![.,]?\d| ?%)"
    r"|\b(?:in|of|about) \d+ (?:words|sentences|slides|lines|paragraphs)\b|\b\d+(?: to | ?[-–] ?)\d+ years\b|\b\d{1,2}:\d\d\b"
    rf"|\b\d{{1,2}} (?:{_MONTHS}) (?:19|20)\d\d\b",
    re.IGNORECASE,
)
"""Numbers that name something of the document, a place, a date or readers, and are no data."""
_YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True)
class Given:
    """A source of numbers.

    Attributes:
        tokens: its words, numbers (plainly written) and commas.
        numbers: the numbers, each once.
        whole: their sum.
        derived: whether what is computed from them is asked for.
        counted: whether how often they occur is asked for.
    """

    tokens: tuple[str, ...]
    numbers: set[str]
    whole: float
    derived: bool = False
    counted: bool = False

    @classmethod
    def of(cls, text: str) -> Given:
        """Read a text."""
        derived = _DERIVED.search(text) is not None
        text = _LABELS.sub(" ", text)
        numbers = prose_numbers(text)
        tokens = [_plainly(token) for token in _TOKEN.findall(joined_thousands(text))]
        values = [float(token) for token in tokens if token in numbers]
        total = next((value for value in values if len(values) > 2 and 2 * value == sum(values)), None)
        if total is not None and _IN_ALL.search(text):  # of the others, and no part
            numbers = numbers - {plain_number(total)}
            values.remove(total)
        return cls(tuple(tokens), numbers, sum(values), derived, _COUNTED.search(text) is not None)

    @property
    def observations(self) -> list[str]:
        """The longest run of numbers with nothing but commas and "and" between, five at least; else none."""
        best: list[str] = []
        run: list[str] = []
        for token in self.tokens:
            if token in self.numbers:
                run.append(token)
            elif token not in _PARTS:
                run = []
            if len(run) > len(best):
                best = list(run)
        return best if len(best) >= _OBSERVATIONS else []

    def beside(self, place: int, after: bool) -> str | None:
        """The number next to a word, before or after it, with no comma or "and" between."""
        step = 1 if after else -1
        for at in range(place + step, place + (_BESIDE + 1) * step, step):
            if not 0 <= at < len(self.tokens) or self.tokens[at] in _PARTS:
                return None
            if self.tokens[at] in self.numbers:
                return self.tokens[at]
        return None

    def places_of(self, name: str, last: bool) -> list[int]:
        """Where a name stands, its last word or its first; of a name with a number in it, as "week 2", all of it must stand there."""
        parts = [_plainly(token) for token in _TOKEN.findall(name)]
        if not any(is_number(part) for part in parts):
            known = stems(name)
            return [at for at, token in enumerate(self.tokens) if known & stems(token)]
        starts = range(len(self.tokens) - len(parts) + 1)
        whole = [at for at in starts if all(_alike(a, b) for a, b in zip(parts, self.tokens[at:], strict=False))]
        return [at + len(parts) - 1 if last else at for at in whole]

    def names_at(self, place: int) -> set[str]:
        """Words around a number, in whatever form, up to the next comma or "and" on either side."""
        found: set[str] = set()
        for step in (1, -1):
            for at in range(place + step, place + (_BESIDE + 1) * step, step):
                if not 0 <= at < len(self.tokens) or self.tokens[at] in _PARTS or self.tokens[at] in self.numbers:
                    break
                found |= stems(self.tokens[at])
        return found

    def is_derived(self, mark: Mark) -> bool:
        """Whether a mark is a sum, a running sum, a difference, a share in percent or the mean of the numbers, in their order."""
        values = [float(token) for token in self.tokens if token in self.numbers]
        if not values or not self.whole:
            return False
        computed = {
            *accumulate(values),
            *(after - before for before, after in pairwise(values)),
            self.whole / len(values),
        }
        computed |= {100 * value / self.whole for value in values} | {
            100 * value / self.whole for value in accumulate(values)
        }
        return any(abs(mark.value - value) <= 0.005 * max(1.0, abs(value)) for value in computed)

    def is_shown(self, number: str, mark: Mark) -> bool:
        """Whether a mark is of this number's size; a wedge, whether it is that share of a hundred or of all that is given."""
        if mark.kind != "wedge":
            return plain_number(abs(mark.value)) == number  # prose says "minus 4", or "4 below"
        amount = float(number)
        return abs(mark.value - amount / 100) < _SAME or (
            self.whole > 0 and abs(mark.value - amount / self.whole) < _SAME
        )


def _alike(one: str, other: str) -> bool:
    return one.lower() == other.lower() or bool(stems(one) & stems(other))


def _plainly(token: str) -> str:
    return plain_number(float(token)) if is_number(token) else token


def misnamed(text: str, question: str) -> float:
    """Share of the question's numbers in a text that stand there beside the name of another one."""
    asked, told = Given.of(question), Given.of(text)
    owners: dict[str, set[str]] = {}
    for at, token in enumerate(asked.tokens):
        if token in asked.numbers:
            owners.setdefault(token, set()).update(asked.names_at(at))
    known = set().union(*owners.values())
    wrong = right = 0
    for at, token in enumerate(told.tokens):
        if token in owners and (names := told.names_at(at) & known):
            right += bool(names & owners[token])
            wrong += not names & owners[token]
    return wrong / (wrong + right) if wrong + right >= 2 else 0.0


def told_backwards(text: str, question: str) -> bool:
    """Whether a text tells a series of the question from the wrong end, or says that it rose where its own two numbers fall.

    Read are sentences of the form "fell from A to B" with two of the question's numbers. The order of the question counts where it
    gives a series in time, or where the sentence itself speaks of a start or an end: "it goes from 3 dogs to 10 cats" goes either way.
    """
    asked = Given.of(question)
    series = [token for token in asked.tokens if token in asked.numbers and not _YEAR.fullmatch(token)]
    if len(series) < 2 or _MINUS.search(question):
        return False
    in_time = not _FROM_TODAY.search(question) and bool(_IN_TIME.search(question) or len(_DATES.findall(question)) >= 2)
    for sentence in sentences(joined_thousands(text)):
        for found in _FROM_TO.finditer(sentence):
            verb = {word.lower() for word in re.split(r",? ", found.group(0))[:2]}
            first, last = (plain_number(float(number)) for number in found.groups())
            if (
                not verb & (_RISES | _FALLS | _MOVES)
                or series.count(first) != 1
                or series.count(last) != 1
                or first == last
            ):
                continue
            up, down = bool(verb & _RISES), bool(verb & _FALLS)
            if (up and float(last) < float(first)) or (down and float(last) > float(first)):
                return True
            if (in_time or _ENDS.search(sentence)) and (first, last) == (series[-1], series[0]):
                return True
    return False


def interval(question: str) -> tuple[float, float] | None:
    """The two ends between which something is to be drawn, the lower first; `None` where none are named."""
    found = _INTERVAL.search(question)
    if found is None:
        return None
    low, high = sorted(float(number.replace("−", "-").replace("minus ", "-")) for number in found.groups())
    return (low, high) if low < high else None


def is_no_whole(text: str, names: Sequence[str]) -> bool:
    """Whether numbers are no parts of anything, so that shares mean nothing: heights, temperatures, what came at different times."""
    if _OF_PARTS.search(text):
        return False
    return (
        bool(_MEASURED.search(text) or _OVER_TIME.search(text))
        or sum(_DATES.search(name) is not None for name in names) >= 2
    )


def is_formula(question: str) -> bool:
    """Whether a function is named by its formula, as "y = 2x + 1": its numbers are no data."""
    return _FORMULA.search(question) is not None


def is_number(text: str) -> bool:
    """Whether a text is a number and nothing else."""
    return re.fullmatch(r"\d+(?:\.\d+)?", text.strip()) is not None

"""Whether what is said of a picture fits it: what kind of picture it is called, a chart's title, and the numbers told of a chart."""

from __future__ import annotations

import re

from llmi_env.calls import Call
from llmi_env.judges.chart_proxy import drawn
from llmi_env.judges.given import misnamed
from llmi_env.judges.relevance import (
    Meanings,
    content_words,
    kinship,
    plain_number,
    prose_numbers,
    ramp,
    stems,
    word_set,
)

_SOME = 2  # numbers
_A_MATTER = 2  # words of a title that names one
_HEAD = r"^\W*(?:(?!(?:as|like|in|on|with|of|for|to|from|nautical|sea|star|eye|birth|seating|flow)\b)[\w-]+\s+){0,3}?"
_OF = r"(?=\s+(?:of|show\w*|with)\b|\s*[,.:;(]|\s*$)"
_OF_ANY_CHART = word_set(
    "results result values weekly monthly daily yearly growth trend trends winner total measured comparison overview summary time"
)
_KINDS = {
    kind: re.compile(rf"{_HEAD}(?:{words})s?\b{_OF}", re.IGNORECASE)
    for kind, words in {
        "photo": "photo(?:graph)?|snapshot",
        "drawing": "drawing|illustration|painting|sketch|watercolou?r",
        "chart": r"(?:bar|line|pie|column|area) ?(?:graph|plot|diagram)|histogram|scatter ?plot|chart|graph",
    }.items()
}
"""What a picture is called: the noun at the head of its description."""
_COUNTED = re.compile(r"\d|%|\b(?:per|by|bars?|lines?|over|each|data|numbers?)\b", re.IGNORECASE)
_THE_NUMBERS = re.compile(r"^\W*the numbers\b", re.IGNORECASE)
_CANNOT_BE = {
    "code": frozenset({"photo", "drawing"}),
    "search": frozenset({"chart"}),
    "diffusion": frozenset({"photo", "chart"}),
}
_OTHER_KIND = 0.35


def titled(call: Call, question: str, text: str, meanings: Meanings) -> float:
    """1 for a chart without a title, or with one that has to do with the question or the text; down to half for another matter's."""
    if call.tool != "code" or len(stems(question)) < _A_MATTER:
        return 1.0
    titles = [
        title
        for title in drawn(str(call.params.get("code", ""))).titles
        if len(set(content_words(title)) - _OF_ANY_CHART) >= _A_MATTER
    ]
    beside = (question, f"{question} {call.description} {text}", call.description)
    near = [max(kinship(meanings, title, other) for other in beside) for title in titles]
    return 0.5 + 0.5 * ramp(min(near, default=1.0), 0.03, 0.2)


def described_truly(call: Call, question: str) -> float:
    """Lower where a description calls a chart a photo, or a drawing a chart; for a chart, where it tells other numbers than were given.

    One number more may be a year, a count, a sum or a rounded one.
    """
    kind = _OTHER_KIND if is_of_other_kind(call.tool, call.description) else 1.0
    given, told = prose_numbers(question), prose_numbers(call.description)
    if call.tool != "code" or len(given) < 2 or not told:
        return kind
    foreign = sum(number not in given and plain_number(1000 * float(number)) not in given for number in told)
    invented = foreign / len(told) if foreign >= _SOME else 0.0
    return kind * (1.0 - 0.6 * invented) * (1.0 - 0.8 * misnamed(call.description, question))


def is_of_other_kind(tool: str, told: str) -> bool:
    """Whether words call the picture of a tool what it cannot be. What is found may be of any kind but a chart; an edit may be of any."""
    kinds = {kind for kind, pattern in _KINDS.items() if pattern.search(told)}
    if tool == "code" and _COUNTED.search(told):
        return False  # "Illustration of the rain per season"
    return bool(kinds) and kinds <= _CANNOT_BE.get(tool, frozenset())


def announces_another(tool: str, line: str) -> bool:
    """Whether a line before a picture announces one of another kind."""
    return is_of_other_kind(tool, line) or (tool in ("search", "diffusion") and _THE_NUMBERS.search(line) is not None)

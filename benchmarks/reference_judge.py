"""A judge that knows the answer: documents beside the reference calls of the bundled tasks, by words and numbers.

Made for measuring what was selected by another judge. It shares nothing with the embedded one: no embeddings, no models, but what the task
set keeps for evaluation (`reference`, `subject`), which neither policies nor other judges see. It is coarse. It knows one way of illustrating
a task, and of a text only whether it names its subject, repeats itself and has a length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmi_env.chart_reading import ChartReading
from llmi_env.document import Document, Figure, Text
from llmi_env.judges.relevance import word_set
from llmi_env.rewards.facts import is_valid
from llmi_env.rewards.likeness import shows_something
from llmi_env.task import Task
from llmi_env.world.protocol import Judgments, Scored, Unscored

VERSION = "reference/1"
TERMS = ("text_quality", "call_quality", "image_quality", "task_relevance", "text_image_relevance")

_WORD = re.compile(r"[^\W\d_]{3,}|\d+(?:\.\d+)?")
_PLAIN = word_set(
    "the and for with that this from into onto are was were has have had its his her their your our photo picture image drawing painting chart "
    "graph plot bar line figure label title plt show make draw turn"
)
_SIDE = 256
_LENGTH, _MOST = 25, 200


class ReferenceJudge:
    """Scores documents of tasks whose reference is known.

    Args:
        references: `TaskSet.extras` of each task, by `Task.key`.
    """

    terms = TERMS
    concurrency = 1

    def __init__(self, references: Mapping[str, Mapping[str, Any]]) -> None:
        self._references = references

    async def __call__(self, document: Document, task: Task) -> Judgments:
        """Judge one document."""
        known = self._references.get(task.key)
        if known is None:
            return dict.fromkeys(TERMS, Unscored("the task's reference is not known"))
        reference = known.get("reference") or ()
        wanted = [(call["tool"], words_of(_said(call))) for call in reference]
        values = {
            "text_quality": text_value(document.text, str(known.get("subject", ""))),
            "call_quality": _calls(document, wanted),
            "image_quality": _pixels(document, bool(wanted)),
            "task_relevance": _shown(document, wanted),
            "text_image_relevance": _told(document, bool(wanted)),
        }
        return {term: Scored(1 + 4 * value, "by the reference", VERSION) for term, value in values.items()}

    async def aclose(self) -> None:
        """Nothing to release."""


def words_of(text: str) -> frozenset[str]:
    """Words and numbers that carry meaning, plurals cut.

    >>> sorted(words_of("Photos of 2 barn owls, 3.5"))
    ['2', '3.5', 'barn', 'owl', 'photo']
    """
    found = (word.rstrip("s") if len(word) > 3 else word for word in _WORD.findall(text.casefold()))
    return frozenset(word for word in found if word not in _PLAIN)


def text_value(text: str, subject: str) -> float:
    """In [0, 1]: names its subject, does not repeat itself, has a length."""
    said = _WORD.findall(text.casefold())
    if not said:
        return 0.0
    about = words_of(subject.replace("-", " "))
    named = len(about & words_of(text)) / len(about) if about else 1.0
    threes = list(zip(said, said[1:], said[2:], strict=False))
    fresh = len(set(threes)) / len(threes) if threes else 1.0
    length = min(1.0, len(said) / _LENGTH) * min(1.0, _MOST / len(said))
    return (0.4 + 0.6 * named) * fresh * length


def _said(call: Mapping[str, Any]) -> str:
    return " ".join([str(call.get("description", "")), *(str(value) for value in call["params"].values())])


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """F1 of two sets of words."""
    shared = len(one & other)
    return 2 * shared / (len(one) + len(other)) if shared else 0.0


def _calls(document: Document, wanted: Sequence[tuple[str, frozenset[str]]]) -> float:
    """Each reference call by the call of its tool that is most like it; calls beyond their number cost."""
    figures = document.figures
    if not wanted:
        return float(not figures)
    made = [
        (f.call.tool, words_of(_said({"description": f.call.description, "params": f.call.params})))
        for f in figures
        if f.call and is_valid(f)
    ]
    best = [
        max((0.4 + 0.6 * _likeness(words, said) for tool, said in made if tool == needed), default=0.0)
        for needed, words in wanted
    ]
    return sum(best) / len(best) * min(1.0, len(wanted) / max(1, len(figures)))


def _shown(document: Document, wanted: Sequence[tuple[str, frozenset[str]]]) -> float:
    """How much of each reference call is in what the World says of a picture that its tool brought."""
    if not wanted:
        return float(not document.pictures)
    shown = [(f.call.tool, _about(f)) for f in document.figures if f.call and f.picture]
    best = [
        max((len(words & about) / max(1, len(words)) for tool, about in shown if tool == needed), default=0.0)
        for needed, words in wanted
    ]
    return sum(best) / len(best)


def _told(document: Document, wanted: bool) -> float:
    """How much of what the World says of each picture is said in the text beside it, up to three words."""
    blocks = document.blocks
    found = []
    for at, block in enumerate(blocks):
        if isinstance(block, Figure) and block.picture is not None:
            beside = " ".join(near.text for near in blocks[max(0, at - 1) : at + 2] if isinstance(near, Text))
            about = _about(block)
            found.append(min(1.0, len(about & words_of(beside)) / max(1, min(3, len(about)))))
    return sum(found) / len(found) if found else float(not wanted)


def _pixels(document: Document, wanted: bool) -> float:
    pictures = document.pictures
    if not pictures:
        return float(not wanted)
    return sum(min(1.0, min(p.image.size) / _SIDE) * shows_something(p) for p in pictures) / len(pictures)


def _about(figure: Figure) -> frozenset[str]:
    """What the World says of a picture: title and caption, or what was read off a chart."""
    assert figure.picture is not None
    origin = figure.picture.provenance
    reading = ChartReading.from_json(origin.chart)
    marks = [f"{mark.name} {mark.value:g}" for mark in reading.marks] if reading is not None else []
    return words_of(" ".join([origin.title, origin.caption, *marks]))

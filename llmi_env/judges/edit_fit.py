"""Whether an edit is another one than the question wants: darker for brighter, blue for orange, a blur for a mirror image."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from llmi_env.errors import Refused
from llmi_env.judges.relevance import word_set, words
from llmi_env.tools.edit.language import edits_named, parse_instruction
from llmi_env.tools.edit.operation import Operation

_OPPOSITES = tuple(
    (re.compile(one, re.IGNORECASE), re.compile(other, re.IGNORECASE))
    for one, other in (
        (r"bright(?:er|en)|lighter|more light|too dark|gloomy|too dim", r"dark(?:er|en)|\bdusk|night|too bright"),
        (
            r"(?<!too )warm|golden (?:light|hour|glow)|sunset|too co(?:ld|ol)",
            r"(?<!too )(?:cool|cold)|icy|wintry|too warm",
        ),
        (
            r"left and right|horizontal|mirror|wrong way(?! up)",
            r"upside down|vertical|on (?:its|his|her) head|top to bottom",
        ),
        (
            r"gr[ae]y|black[- ](?:and[- ]white|ink)|without colou?r|desaturat",
            r"vivid|more colou?r|colou?rful|(?<!de)saturat",
        ),
    )
)
_COLOURS = word_set("red orange yellow green blue purple violet pink brown gold turquoise")
_LAMENT = re.compile(
    r"\b(?:too|so|such an?|not|never|already|less|of the|in the|from the) \w+|\ban? upside[- ]down(?= \w)|left into right",
    re.IGNORECASE,
)
"""What is wrong with a picture, or part of what it shows: "too sharp" asks for no sharpening, "an upside-down raven" for no turning."""
_QUOTE = r"[\"“'‘](?P<said>[^\"“”‘’']{1,80})[\"”'’](?!\w)"
_SIDES = {"upper": "top", "lower": "bottom"}
_MEANT: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Operation]], ...] = (
    (
        re.compile(r"left (?:and|into) right|wrong way(?! up)|looks? to the (?:left|right)", re.IGNORECASE),
        lambda _: Operation("flip", text="horizontal"),
    ),
    (re.compile(r"black ink", re.IGNORECASE), lambda _: Operation("grayscale")),
    (
        re.compile(r"\bonly (?:its|the) (?P<side>top|bottom|left|right|upper|lower) half", re.IGNORECASE),
        lambda found: Operation("crop", 0.5, _SIDES.get(side := found["side"].lower(), side)),
    ),
    (
        re.compile(
            rf"\b(?:stamp|writ|letter|print|say|read|word|motto|entitle|inscri)\w*\W+(?:\w+ ){{0,3}}{_QUOTE}",
            re.IGNORECASE,
        ),
        lambda found: Operation("caption", text=found["said"]),
    ),
)
"""What means an edit without naming it."""
_LOOKS = {
    "warm": word_set("warm orange yellow red gold golden amber sepia brown"),
    "sepia": word_set("sepia brown"),
    "cool": word_set("cool blue cyan turquoise"),
}


def is_other(question: str, asked: str) -> bool:
    """Whether an edit's instruction names the other side of what the question names, another colour, or none of the edits that it names.

    False where the question names none that is known, or where the instruction cannot be read.
    """
    return _is_opposite(question, asked) or _serves_nothing(question, asked)


@lru_cache(1024)
def _serves_nothing(question: str, asked: str) -> bool:
    wanted = edits_named(_LAMENT.sub(" ", question))
    wanted += [meant(found) for pattern, meant in _MEANT if (found := pattern.search(question))]
    if not wanted:
        return False
    try:
        done = parse_instruction(asked)
    except Refused:
        return False
    said = question.casefold()
    written = any(other.kind == "caption" and other.text.casefold() in said for other in done)
    return not written and not any(_serves(one, other) for one in wanted for other in done)


def _serves(wanted: Operation, done: Operation) -> bool:
    kinds = {wanted.kind, done.kind}
    if kinds == {"rotate", "flip"}:  # upside down either way
        turned, mirrored = (wanted, done) if wanted.kind == "rotate" else (done, wanted)
        return turned.amount == 180 and mirrored.text == "vertical"
    if kinds == {"grayscale", "saturation"}:
        return (wanted if wanted.kind == "saturation" else done).amount < 0.5
    if wanted.kind != done.kind:
        return False
    match wanted.kind:
        case "brightness" | "contrast" | "saturation":
            return (wanted.amount > 1) == (done.amount > 1)
        case "tint":
            return _same_look(wanted.text, done.text)
        case "rotate":
            return wanted.amount != 180 or done.amount == 180
        case "crop":
            return wanted.text == done.text or "aspect" in (wanted.text, done.text)
        case "caption":
            return bool(set(words(wanted.text)) & set(words(done.text))) or not words(wanted.text)
        case _:
            return True


def _same_look(one: str, other: str) -> bool:
    return one == other or other in _LOOKS.get(one, ()) or one in _LOOKS.get(other, ())


def _is_opposite(question: str, asked: str) -> bool:
    for one, other in _OPPOSITES:
        wanted = bool(one.search(question)), bool(other.search(question))
        done = bool(one.search(asked)), bool(other.search(asked))
        if wanted != done and sorted(wanted) == sorted(done) == [False, True]:
            return True
    colours = _COLOURS & set(words(question)), _COLOURS & set(words(asked))
    return all(colours) and not colours[0] & colours[1]

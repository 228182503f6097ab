"""Whether an edit is another one than the question wants: darker for brighter, blue for orange, a blur for a mirror image.

Questions speak of much besides edits: of dark forests, warm bread, mirrors and crops. So only what changes something is taken for a wish
("darker", "mirrored", "blur it"), a state or a subject is not ("a sharp knife", "my photo is too dark", which wishes for the contrary). Where
no wish is understood, and for edits that questions are not read for, nothing is held against a call.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from PIL import ImageColor

from llmi_env.errors import Refused
from llmi_env.tools.edit.language import MAX_INSTRUCTION, edits_named, parse_instruction
from llmi_env.tools.edit.operation import Operation

_LOOKED_AT = 1000  # characters of a question

# ------------------------------------------------------------------------------------------------ what is no wish

_THING = (
    r" (?:it|this|that|the|them|my|our|your|its|everything|to|by|left|right|upside|around|away|off|out|in|down|slightly|strongly|heavily"
    r"|horizontally|vertically)\b"
)
_NO_WISH = re.compile(
    "|".join(
        (
            r"\b(?:too|never|already|not|n't) (?:be )?\w+",
            # states, and what a subject is like
            r"\b(?:dark|bright|light|dim|sharp|crisp|warm|warmth|cool|cold|smooth|blurry|out of focus|soft focus|vintage)\b"
            r"(?! (?:look|feel|style|filter|effect|tone|tint|hue|wash|cast|shade)\b)",
            r"\ban? (?:upside[- ]down|mirrored|tilted|blurred|cropped|monochrome|colou?rless|black and white|black-and-white)"
            r"(?= (?!look|style|effect|version|copy|picture|photo|image)\w)",
            r"\b(?:the|this|my|our) \w+ looks?(?= \w)",  # "the peach looks" names no colour
            # faults that are to be undone
            r"\b(?:remove|reduce|fix|undo|correct|neutrali[sz]e|without|less|get rid of|take (?:out|away|off)|no more)"
            r"(?: (?:the|this|that|any|its|my|all))?"
            r"(?: \w+)?(?: blur\w*| tint| cast| wash| tone| hue)\b",
            r"\b(?:has|have|having|with) (?:a|an|some|the)?(?: \w+)?(?: \w+)? (?:cast|warmth|blur)\b",
            # nouns that are written like verbs
            rf"\b(?:crop|mirror|reflect|roll|spin|tilt|trim|blur|sharpen|darken|brighten|lighten|rotate|flip|turn)\b(?!{_THING})",
            r"\ban? (?:crop|mirror|reflection|roll|spin|tilt|trim)\b",
        )
    ),
    re.IGNORECASE,
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ what is one without naming it

_QUOTE = r"[\"“'‘](?P<said>[^\"“”‘’']{1,80})[\"”'’](?!\w)"
_SIDES = {"upper": "top", "lower": "bottom"}
_HAIR = 1e-6

_MEANT: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Operation]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), means)
    for pattern, means in (
        (r"\bleft (?:and|into) right\b|\bwrong way\b(?! up)", lambda _: Operation("flip", text="horizontal")),
        (r"\btop (?:to|into|and) bottom\b", lambda _: Operation("flip", text="vertical")),
        (r"\bwrong way up\b|\bon its head\b", lambda _: Operation("rotate", 180.0)),
        (r"\b(?:too|less) (?:dark|dim)\b|\b(?:is|looks?) (?:dark|gloomy|dim)\b", lambda _: Operation("brightness", 1.35)),
        (r"\b(?:too|less) (?:bright|light)\b|\b(?:to|into|as if at) (?:dusk|night)\b", lambda _: Operation("brightness", 0.65)),
        (r"\btoo (?:cold|cool)\b", lambda _: Operation("tint", 0.4, "warm")),
        (r"\btoo warm\b|\byellowish warmth\b", lambda _: Operation("tint", 0.4, "cool")),
        (r"\btoo (?:sharp|crisp)\b", lambda _: Operation("blur", 0.02)),
        (r"\btoo blurred to\b", lambda _: Operation("blur", 0.02)),
        (r"\b(?:too|is|looks?) (?:blurred|blurry)\b(?! to\b)", lambda _: Operation("sharpen", 1.2)),
        (r"\bblack ink\b", lambda _: Operation("grayscale")),
        (
            r"\bonly (?:its|the) (?P<side>top|bottom|left|right|upper|lower) half\b",
            lambda found: Operation("crop", 0.5, _SIDES.get(found["side"].lower(), found["side"].lower())),
        ),
        (
            r"\b(?:stamp(?:ed)?|write|written|print(?:ed)?|letter(?:ed|ing)|entitled|words?|motto|label(?:led)?|inscribed?|caption(?:ed)?)"
            rf"\W+(?:\w+ ){{0,3}}{_QUOTE}",
            lambda found: Operation("caption", text=found["said"]),
        ),
    )
)  # fmt: skip
_READ_FOR = frozenset({"grayscale", "brightness", "tint", "blur", "sharpen", "crop", "rotate", "flip", "caption"})
"""Edits that a question is read for; of others it is not known whether it wants them."""


def is_other(question: str, asked: str) -> bool:
    """Whether an edit's instruction does none of what the question wishes for, or little of it among much else.

    False where the question wishes for nothing that is understood, where the instruction cannot be read, or asks for an edit that
    questions are not read for.
    """
    return len(asked) <= MAX_INSTRUCTION and _is_other(question[:_LOOKED_AT], asked)


@lru_cache(1024)
def _is_other(question: str, asked: str) -> bool:
    wanted = _wanted(question)
    if not wanted:
        return False
    try:
        done = parse_instruction(asked)
    except Refused:
        return False
    # A caption besides is no fault: many questions want a title.
    counted = [one for one in done if one.kind != "caption"] or done
    if any(one.kind not in _READ_FOR for one in counted):
        return False
    if len({one.amount > 1 for one in counted if one.kind == "brightness"}) > 1:
        return True  # both sides of it
    return 2 * sum(any(_serves(wish, one) for wish in wanted) for one in done) < len(counted)


@lru_cache(256)
def _wanted(question: str) -> tuple[Operation, ...]:
    named = [
        # "Mirror it" says no direction, and the tool's own choice, left and right, is none of the question's.
        replace(wish, text="") if wish.kind == "flip" and wish.text == "horizontal" else wish
        for wish in edits_named(_NO_WISH.sub(" ", question))
    ]
    meant = [means(found) for pattern, means in _MEANT if (found := pattern.search(question))]
    if any(wish.kind == "flip" for wish in meant):
        named = [wish for wish in named if wish.kind != "flip"]
    return (*named, *meant)


def _serves(wanted: Operation, done: Operation) -> bool:
    match wanted.kind, done.kind:
        case "grayscale" | "tint", "grayscale" | "tint":
            return _same_look(wanted.text or "gray", done.text or "gray")
        case "brightness", "brightness":
            return (wanted.amount > 1) == (done.amount > 1)
        case "flip", "flip":
            return wanted.text in ("", done.text)
        case "rotate", "rotate":
            turned = min(done.amount % 360, -done.amount % 360)
            return turned == 180 if wanted.amount == 180 else turned >= 3
        case ("rotate", "flip") | ("flip", "rotate"):  # upside down either way
            turn, mirror = (wanted, done) if wanted.kind == "rotate" else (done, wanted)
            return turn.amount == 180 and mirror.text == "vertical"
        case "crop", "crop":
            sides = {wanted.text, done.text}
            return len(sides) == 1 or bool(sides & {"centre", "aspect"})
        case "caption", "caption":
            return wanted.text.casefold().strip() == done.text.casefold().strip()
        case one, other:
            return one == other


def _same_look(one: str, other: str) -> bool:
    """Whether two tints are near each other; black and white is like itself and like an old photograph."""
    looks = {one, other}
    if looks & {"gray", "grey"}:
        return len(looks - {"gray", "grey", "sepia"}) == 0
    first, second = _hue(one), _hue(other)
    if first is None or second is None:
        return True
    apart = abs(first - second) % 360
    return min(apart, 360 - apart) <= 50


def _hue(look: str) -> float | None:
    """Degrees on the colour wheel; `None` for what has no hue, or is no colour that is known."""
    try:
        rgb = ImageColor.getrgb({"sepia": "#a5794b", "warm": "#ffb060", "cool": "#60a8ff"}.get(look, look))
    except ValueError:
        return None
    hue, _, saturation = colorsys.rgb_to_hls(*(level / 255 for level in rgb[:3]))
    return hue * 360 if saturation > _HAIR else None

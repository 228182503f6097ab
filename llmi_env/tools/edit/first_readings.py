"""The nine edits of the first release: grayscale, brightness, tint, blur, sharpen, rotate, flip, crop (and captions, in `captions`).

What these readings make of an instruction by themselves is fixed: the same words must give the same picture in a run that is repeated.
"""

from __future__ import annotations

import re

from llmi_env.tools.edit import first_words as words
from llmi_env.tools.edit.clause import Clause, Make
from llmi_env.tools.edit.colour_names import colour_name
from llmi_env.tools.edit.operation import Operation


def _grayscale(_: re.Match[str], clause: Clause) -> Operation:
    clause.degree(0, 0, 0)
    return Operation("grayscale")


def _tint(match: re.Match[str], clause: Clause) -> Operation | None:
    colour = colour_name(match.group("colour"))
    if colour is None:
        return None
    if colour in ("gray", "grey"):
        return Operation("grayscale")
    share = clause.percent()
    strength = clause.degree(0.22, 0.42, 0.7) if share is None else min(share, 1.0)
    return Operation("tint", strength, colour)


def _toned(colour: str) -> Make:
    return lambda _, clause: Operation("tint", clause.degree(0.22, 0.42, 0.7), colour)


def _brighter(sign: int) -> Make:
    def make(_: re.Match[str], clause: Clause) -> Operation:
        clause.find(r"\b(?:exposure|brightness)\b")
        share = clause.percent()
        if share is None:
            share = clause.degree(0.15, 0.35, 0.6)
        factor = 1 + sign * share
        return Operation("brightness", round(min(max(factor, 0.05), 4.0), 4))

    return make


def _brightness_to(match: re.Match[str], _: Clause) -> Operation:
    return Operation("brightness", round(min(max(float(match.group(1)) / 100, 0.05), 4.0), 4))


def _times_as_bright(match: re.Match[str], _: Clause) -> Operation:
    return Operation("brightness", {"half": 0.5, "three times": 3.0}.get(match.group(1), 2.0))


def _blur(_: re.Match[str], clause: Clause) -> Operation:
    pixels = clause.find(words.PIXELS)
    if pixels:
        return Operation("blur", float(pixels.group(1)), "px")
    share = clause.percent()
    return Operation("blur", clause.degree(0.008, 0.02, 0.045) if share is None else round(0.06 * min(share, 1.0), 4))


def _sharpen(_: re.Match[str], clause: Clause) -> Operation:
    return Operation("sharpen", clause.degree(0.6, 1.2, 2.2))


def _rotate(match: re.Match[str], clause: Clause) -> Operation | None:
    verb = match.group("verb")
    left, right = clause.has(words.LEFT), clause.has(words.RIGHT)
    number = clause.find(words.DEGREES)
    spelled = None if number else clause.find(words.SPELLED_ANGLE)
    aside = not number and not spelled and clause.has(words.ASIDE)
    if verb.startswith("turn") and not (left or right or number or spelled or aside):
        return None
    if number:
        degrees = float(number.group(1))
    elif spelled:
        degrees = float(words.ANGLES[spelled.group(1)])
    else:
        degrees = clause.degree(7.0, 15.0, 30.0) if verb.startswith("tilt") else 90.0
    return Operation("rotate", round((-degrees if left else degrees) % 360, 3))


def _upside_down(_: re.Match[str], clause: Clause) -> Operation:
    # To flip something upside down mirrors it; to turn it upside down does not.
    if clause.has(r"\b(?:flip|mirror|reflect)(?:ped|ed|s)?\b"):
        return Operation("flip", text="vertical")
    clause.find(r"\b(?:rotat|turn|spin|put|stand)(?:e|ed|ing)?\b")
    clause.find(r"(?:\bby )?\b180 ?(?:°|deg(?:rees?)?\b)?")
    return Operation("rotate", 180.0)


def _flip(_: re.Match[str], clause: Clause) -> Operation:
    if axis := clause.find(words.AXIS):
        return Operation("flip", text="horizontal" if axis.group(1) in ("vertical", "y") else "vertical")
    if clause.has(words.VERTICALLY):
        return Operation("flip", text="vertical")
    clause.has(words.HORIZONTALLY)
    return Operation("flip", text="horizontal")


_SIDES = {"left": "left", "right": "right", "top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom"}
_OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_PARTS = {"third": 1 / 3, "quarter": 0.25, "two thirds": 2 / 3}


def _crop(match: re.Match[str], clause: Clause) -> Operation:
    away = bool(re.search(r"off|out|away|remove|delete", match.group())) or clause.has(words.AWAY)
    if ratio := clause.find(words.ASPECT):
        wide, high = int(ratio.group(1)), int(ratio.group(2))
        if wide and high and 0.1 <= wide / high <= 10:
            return Operation("crop", round(wide / high, 4), "aspect")
    share = clause.percent()
    if clause.has(words.SQUARE):
        clause.has(words.CENTRE)
        return Operation("crop", 1.0, "aspect")
    if corner := clause.find(words.CORNER):
        return Operation("crop", 0.5, f"{_SIDES[corner.group(1)]}-{corner.group(2)}")
    if side := clause.find(words.SIDE):
        name = _SIDES[side.group(1)]
        part = _PARTS.get(side.group("part") or "", 0.5) if share is None else min(max(share, 0.02), 1.0)
        return Operation("crop", round(min(1 - part, 0.98) if away else part, 4), _OPPOSITE[name] if away else name)
    clause.has(words.CENTRE)
    clause.has(words.EDGES)
    kept = clause.degree(0.8, 0.6, 0.4)
    if share is not None:
        kept = 1 - 2 * min(share, 0.45) if away or "trim" in match.group() else min(max(share, 0.05), 1.0)
    return Operation("crop", round(kept, 4), "centre")


READINGS: tuple[tuple[str, Make], ...] = (
    (words.GRAYSCALE, _grayscale),
    *((pattern, _tint) for pattern in words.TINTS),
    (words.SEPIA, _toned("sepia")),
    (words.WARM, _toned("warm")),
    (words.COOL, _toned("cool")),
    (words.BRIGHTNESS_TO, _brightness_to),
    (words.TIMES_AS_BRIGHT, _times_as_bright),
    (r"\bless dark\b", _brighter(1)),
    (words.LESS_LIGHT, _brighter(-1)),
    (words.MORE_LIGHT, _brighter(1)),
    (words.SHARPEN, _sharpen),
    (words.BLUR, _blur),
    (words.UPSIDE_DOWN, _upside_down),
    (words.FLIP, _flip),
    (words.ROTATE, _rotate),
    (words.CROP, _crop),
)
"""In this order: a pattern may rely on what those before it have taken out ("light blue tint" before "light")."""

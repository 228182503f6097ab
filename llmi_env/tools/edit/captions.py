"""Captions are read before anything else: their words may look like any edit.

The first wordings know a band at the bottom or top; the full ones also corners, the centre, colours and sizes of letters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmi_env.tools.edit import caption_words as words
from llmi_env.tools.edit.colour_names import plain_colour
from llmi_env.tools.edit.first_words import BOUNDARY
from llmi_env.tools.edit.operation import Operation, refusal

MAX_CAPTION = 200

Found = tuple[list[tuple[int, Operation]], str]
"""Captions with their places, and the text without them."""


@dataclass(frozen=True)
class Details:
    """What is said of a caption beside its words."""

    top: bool = False
    place: str = ""
    colour: str = ""
    size: float = 0.0


def take_captions(text: str, full: bool) -> Found:
    """Take the captions out of `text`.

    Args:
        text: the instruction as written, with single spaces.
        full: whether places other than top and bottom, and colours and sizes of letters, are heeded.

    Raises:
        Refused: a caption is empty or too long.
    """
    found: list[tuple[int, Operation]] = []
    pattern = words.CAPTION_NAMED if full else words.CAPTION_QUOTED
    while match := pattern.search(text):
        start, end = match.span()
        boundary = BOUNDARY.search(text, end)
        stop = boundary.start() if boundary else len(text)
        quoted = next(number for number, group in enumerate(match.groups(), 1) if group is not None)
        opening = max((before.end() for before in BOUNDARY.finditer(text, 0, start)), default=0)
        before, after = text[opening : match.start(quoted)], text[end:stop]
        details = (
            _details(before, after)
            if full
            else Details(bool(words.AT_TOP.search(before) or words.AT_TOP.search(after)))
        )
        found.append((start, _captioned(match.group(quoted), details)))
        details_said = words.DETAILS if full else ()
        lead, rest = before if full else text[opening:start], after
        for said in (*details_said, words.CAPTION_PLACE):
            lead, rest = said.sub(_blanks, lead), said.sub(_blanks, rest)
        lead = words.CAPTION_OPENING.sub(_blanks, lead[: start - opening])
        text = text[:opening] + lead + " " * (end - start) + rest + text[stop:]
    match = words.CAPTION_PLAIN.search(text) or words.CAPTION_WRITTEN.search(text)
    if full and not match:
        match = words.CAPTION_PLACED.search(text)
    if not found and match:
        place = match.group("place") or match.groupdict().get("place2") or "bottom"
        details = _details("", f"in the {place}") if full else Details(place.lower() == "top")
        found.append((match.start(), _captioned(match.group("text").strip(" \"'“”‘’"), details)))
        text = text[: match.start()] + " " * (match.end() - match.start()) + text[match.end() :]
    return found, text


def quoted_words(text: str) -> str:
    """A quotation of several words, or nothing: where it is no caption, it is no instruction either."""
    return next((match.group() for match in words.QUOTATION.finditer(text) if len(match.group().split()) > 1), "")


def _blanks(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _details(before: str, after: str) -> Details:
    said = f"{before} {after}".lower()
    top = bool(words.AT_TOP.search(before) or words.AT_TOP.search(after))
    place = ""
    if corner := words.AT_CORNER.search(said):
        down, across = corner.group("down") or corner.group("down2"), corner.group("across") or corner.group("across2")
        place = f"{'top' if down in ('top', 'upper') else 'bottom'}-{across or 'right'}"
    elif words.AT_CENTRE.search(said):
        place = "centre"
    said_colour = words.LETTER_COLOUR.search(said)
    colour = plain_colour(said_colour.group("colour") or said_colour.group("adjective"), "") if said_colour else ""
    size = 1.6 if words.LARGE.search(said) else 0.6 if words.SMALL.search(said) else 0.0
    return Details(top and not place, place, "" if colour == "white" else colour, size)


def _captioned(said: str, details: Details) -> Operation:
    said = said.strip()
    if not said:
        raise refusal("the caption is empty")
    if len(said) > MAX_CAPTION:
        raise refusal(f"the caption has more than {MAX_CAPTION} characters")
    return Operation("caption", details.size, text=said, top=details.top, place=details.place, colour=details.colour)

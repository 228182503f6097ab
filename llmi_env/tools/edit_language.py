"""Plain English to edit operations: what the `edit` tool understands.

No model: a small vocabulary, read in one pass. Every wording of an operation that is found is taken out of the text together with its
amounts ("a little", "by 30%"); references to the picture, polite words and stated purposes ("for a vintage feel") are taken out next.
If any word is left, the instruction asks for something that is not understood, and is refused as a whole rather than half
carried out: "rotate it and add a dog" must not succeed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PIL import ImageColor

from llmi_env.errors import Refused
from llmi_env.tools import edit_words as words

MAX_INSTRUCTION = 1000
MAX_CAPTION = 200

Kind = Literal["grayscale", "brightness", "tint", "blur", "sharpen", "rotate", "flip", "crop", "caption"]

EXAMPLES: dict[str, str] = {
    "grayscale": "make it black and white",
    "brightness": "make it a little darker",
    "tint": "give it a warm orange tint",
    "blur": "blur it slightly",
    "rotate": "rotate it 90 degrees clockwise",
    "flip": "mirror it horizontally",
    "crop": "crop to the left half",
    "caption": "add the caption 'Sunrise' at the bottom",
}
"""What the tool can do, an example each; shown with every refusal."""


@dataclass(frozen=True)
class Operation:
    """One edit.

    Attributes:
        kind: what is done.
        amount: brightness factor; share of tint; blur radius as a share of the shorter side; degrees clockwise; aspect of a crop.
        text: colour, axis of a flip, region of a crop, or caption.
        top: whether a caption stands at the top.
    """

    kind: Kind
    amount: float = 0.0
    text: str = ""
    top: bool = False


class _Reader:
    """One instruction while it is read: what is understood is blanked, and remembered with its place."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[tuple[int, Operation]] = []

    def blank(self, start: int, end: int) -> None:
        self.text = self.text[:start] + " " * (end - start) + self.text[end:]

    def take(self, pattern: str, make: Callable[[re.Match[str], _Clause], Operation | None]) -> None:
        """Every match of `pattern` that `make` turns into an operation; `None` leaves the words for another reading."""
        position = 0
        compiled = re.compile(pattern)
        while match := compiled.search(self.text, position):
            position = match.end() if match.end() > match.start() else match.end() + 1
            clause = _Clause(self, match)
            operation = make(match, clause)
            if operation is not None:
                clause.commit()
                self.found.append((match.start(), operation))


class _Clause:
    """The words around a match up to the next comma or "and": where its amounts and directions stand."""

    def __init__(self, reader: _Reader, match: re.Match[str]) -> None:
        self.reader, self.match = reader, match
        before = [boundary.end() for boundary in words.BOUNDARY.finditer(reader.text, 0, match.start())]
        after = words.BOUNDARY.search(reader.text, match.end())
        self.start = before[-1] if before else 0
        self.end = after.start() if after else len(reader.text)
        self.spans = [match.span()]

    def find(self, pattern: str) -> re.Match[str] | None:
        match = re.compile(pattern).search(self.reader.text, self.start, self.end)
        if match:
            self.spans.append(match.span())
        return match

    def has(self, pattern: str) -> bool:
        return self.find(pattern) is not None

    def percent(self) -> float | None:
        match = self.find(words.PERCENT)
        return float(match.group(1)) / 100 if match else None

    def degree(self, weak: float, normal: float, strong: float) -> float:
        """How strong, by the adverbs in the clause."""
        if self.has(rf"\b{words.WEAK}\b"):
            return weak
        return strong if self.has(rf"\b{words.STRONG}\b") else normal

    def commit(self) -> None:
        for start, end in self.spans:
            self.reader.blank(start, end)


# ------------------------------------------------------------------------------------------------ one reading for each edit


def _grayscale(_: re.Match[str], clause: _Clause) -> Operation:
    clause.degree(0, 0, 0)
    return Operation("grayscale")


def _colour(phrase: str) -> str | None:
    """The longest known name at the end of a phrase: "warm light blue" is `lightblue`."""
    parts = phrase.split()
    for start in range(len(parts)):
        name = "".join(parts[start:])
        name = words.EXTRA_COLOURS.get(name, name)
        if name in ("sepia", "warm", "cool") or name.startswith("#") or name in ImageColor.colormap:
            return name
    return None


def _tint(match: re.Match[str], clause: _Clause) -> Operation | None:
    colour = _colour(match.group("colour"))
    if colour is None:
        return None
    if colour in ("gray", "grey"):
        return Operation("grayscale")
    share = clause.percent()
    strength = clause.degree(0.22, 0.42, 0.7) if share is None else min(share, 1.0)
    return Operation("tint", strength, colour)


def _toned(colour: str) -> Callable[[re.Match[str], _Clause], Operation]:
    return lambda _, clause: Operation("tint", clause.degree(0.22, 0.42, 0.7), colour)


def _brighter(sign: int) -> Callable[[re.Match[str], _Clause], Operation]:
    def make(_: re.Match[str], clause: _Clause) -> Operation:
        clause.find(r"\b(?:exposure|brightness)\b")
        share = clause.percent()
        if share is None:
            share = clause.degree(0.15, 0.35, 0.6)
        factor = 1 + sign * share
        return Operation("brightness", round(min(max(factor, 0.05), 4.0), 4))

    return make


def _brightness_to(match: re.Match[str], _: _Clause) -> Operation:
    return Operation("brightness", round(min(max(float(match.group(1)) / 100, 0.05), 4.0), 4))


def _times_as_bright(match: re.Match[str], _: _Clause) -> Operation:
    return Operation("brightness", {"half": 0.5, "three times": 3.0}.get(match.group(1), 2.0))


def _blur(_: re.Match[str], clause: _Clause) -> Operation:
    pixels = clause.find(words.PIXELS)
    if pixels:
        return Operation("blur", float(pixels.group(1)), "px")
    share = clause.percent()
    return Operation("blur", clause.degree(0.008, 0.02, 0.045) if share is None else round(0.06 * min(share, 1.0), 4))


def _sharpen(_: re.Match[str], clause: _Clause) -> Operation:
    return Operation("sharpen", clause.degree(0.6, 1.2, 2.2))


def _rotate(match: re.Match[str], clause: _Clause) -> Operation | None:
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


def _upside_down(_: re.Match[str], clause: _Clause) -> Operation:
    # To flip something upside down mirrors it; to turn it upside down does not.
    if clause.has(r"\b(?:flip|mirror|reflect)(?:ped|ed|s)?\b"):
        return Operation("flip", text="vertical")
    clause.find(r"\b(?:rotat|turn|spin|put|stand)(?:e|ed|ing)?\b")
    clause.find(r"(?:\bby )?\b180 ?(?:°|deg(?:rees?)?\b)?")
    return Operation("rotate", 180.0)


def _flip(_: re.Match[str], clause: _Clause) -> Operation:
    if axis := clause.find(words.AXIS):
        return Operation("flip", text="horizontal" if axis.group(1) in ("vertical", "y") else "vertical")
    if clause.has(words.VERTICALLY):
        return Operation("flip", text="vertical")
    clause.has(words.HORIZONTALLY)
    return Operation("flip", text="horizontal")


_SIDES = {"left": "left", "right": "right", "top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom"}
_OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_PARTS = {"third": 1 / 3, "quarter": 0.25, "two thirds": 2 / 3}


def _crop(match: re.Match[str], clause: _Clause) -> Operation:
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


_READINGS: tuple[tuple[str, Callable[[re.Match[str], _Clause], Operation | None]], ...] = (
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


def parse_instruction(text: str) -> list[Operation]:
    """The operations that an instruction asks for, in its order; at least one.

    Raises:
        Refused: it asks for something else, or for nothing; the message says what is understood, with an example each.

    >>> parse_instruction("Make it grayscale and rotate it to the left")
    [Operation(kind='grayscale', amount=0.0, text='', top=False), Operation(kind='rotate', amount=270.0, text='', top=False)]
    """
    if not isinstance(text, str) or not text.strip():
        raise refusal("the instruction is empty")
    if len(text) > MAX_INSTRUCTION:
        raise refusal(f"the instruction has more than {MAX_INSTRUCTION} characters")
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    captions, plain = _take_captions(plain)
    reader = _Reader(plain.lower() if len(plain.lower()) == len(plain) else plain)
    reader.found.extend(captions)
    for pattern, make in _READINGS:
        reader.take(pattern, make)
    left = _unread(reader.text)
    if left:
        raise refusal(f"not understood: {left[:120]!r}")
    if not reader.found:
        raise refusal(f"no edit was asked for in {text.strip()[:120]!r}")
    return [operation for _, operation in sorted(reader.found, key=lambda item: item[0])]


def refusal(reason: str) -> Refused:
    """A refusal that teaches: the reason, and everything the tool can do."""
    known = "; ".join(f"{name} ({example!r})" for name, example in EXAMPLES.items())
    return Refused(f"{reason}. This tool edits the whole picture; it can do, also several joined by 'and': {known}")


def _take_captions(text: str) -> tuple[list[tuple[int, Operation]], str]:
    """Captions first: their words may look like anything. Returns them with their places, and the text without them."""
    found: list[tuple[int, Operation]] = []
    while match := words.CAPTION_QUOTED.search(text):
        start, end = match.span()
        boundary = words.BOUNDARY.search(text, end)
        stop = boundary.start() if boundary else len(text)
        quoted = next(number for number, group in enumerate(match.groups(), 1) if group is not None)
        opening = max((before.end() for before in words.BOUNDARY.finditer(text, 0, start)), default=0)
        top = bool(words.AT_TOP.search(text[opening : match.start(quoted)]) or words.AT_TOP.search(text[end:stop]))
        found.append((start, _captioned(match.group(quoted), top)))
        lead = text[opening:start]
        for pattern in (words.CAPTION_PLACE, words.CAPTION_OPENING):
            lead = pattern.sub(lambda word: " " * len(word.group()), lead)
        rest = words.CAPTION_PLACE.sub(lambda place: " " * len(place.group()), text[end:stop])
        text = text[:opening] + lead + " " * (end - start) + rest + text[stop:]
    match = words.CAPTION_PLAIN.search(text) or words.CAPTION_WRITTEN.search(text)
    if not found and match:
        place = match.group("place") or match.groupdict().get("place2") or "bottom"
        found.append((match.start(), _captioned(match.group("text").strip(" \"'“”‘’"), place.lower() == "top")))
        text = text[: match.start()] + " " * (match.end() - match.start()) + text[match.end() :]
    return found, text


def _captioned(said: str, top: bool) -> Operation:
    said = said.strip()
    if not said:
        raise refusal("the caption is empty")
    if len(said) > MAX_CAPTION:
        raise refusal(f"the caption has more than {MAX_CAPTION} characters")
    return Operation("caption", text=said, top=top)


def _unread(text: str) -> str:
    """What is left of an instruction once everything known is taken out; only words count."""
    for pattern in (words.PURPOSE, words.REFERENCE, words.FILLER):
        text = pattern.sub(lambda match: " " * len(match.group()), text)
    return " ".join(re.findall(r"[\w%°][\w%°'-]*", text))

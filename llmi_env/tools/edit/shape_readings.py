"""Readings of edits that change a picture's size or outline: resizing, borders, corners, shadows, tiles; as `look_readings`."""

from __future__ import annotations

import re

from llmi_env.tools.edit import first_words
from llmi_env.tools.edit import shape_words as words
from llmi_env.tools.edit.clause import Clause, Make
from llmi_env.tools.edit.colour_names import plain_colour
from llmi_env.tools.edit.context_words import count
from llmi_env.tools.edit.operation import Operation, refusal

LEAST_SCALE, MOST_SCALE = 0.05, 4.0
MOST_PIXELS = 4000
MOST_TILES = 6

# ------------------------------------------------------------------------------------------------ borders


def _material(said: str, otherwise: str) -> str:
    if re.search(r"\bwood(?:en)?\b", said):
        return "#8b5a2b"
    if re.search(r"\bmetal", said):
        return "#a9acb0"
    return otherwise


def _width(said: str, clause: Clause, thin: float, normal: float, thick: float) -> tuple[float, str]:
    """Amount and unit of a border: a number, or what "thin" and "very thick" mean as shares of the shorter side."""
    if found := clause.find(words.WIDTH) or clause.after(words.WIDTH):
        number = float(found.group("width"))
        if found.group("unit").startswith("p") and found.group("unit") != "percent":
            return min(max(number, 1.0), 500.0), "px"
        return round(min(max(number, 0.5), 50.0) / 100, 4), ""
    very = clause.has(rf"\b(?:{first_words.STRONG})\b")
    if re.search(rf"\b{words.THIN}\b", said) or clause.has(rf"\b(?:{first_words.WEAK})\b"):
        return (thin / 2 if very else thin), ""
    if re.search(rf"\b{words.THICK}\b", said):
        return (1.75 * thick if very else thick), ""
    return normal, ""


def _border(match: re.Match[str], clause: Clause) -> Operation | None:
    if (
        re.search(words.BORDER, clause.rest) or not clause.opens()
    ):  # "frame it with a black border": the noun tells more
        return None
    coloured = clause.find(words.IN_COLOUR) if match.group("colour") is None else None
    said = f"{match.group()} {coloured.group() if coloured else ''}"
    colour = _material(said, plain_colour(match.group("colour") or (coloured and coloured.group("colour")), "black"))
    clause.find(words.AROUND)
    amount, unit = _width(said, clause, 0.015, 0.035, 0.08)
    return Operation("border", amount, unit, colour=colour)


def _polaroid(_: re.Match[str], clause: Clause) -> Operation | None:
    return Operation("border", 0.06, "polaroid", colour="#f7f5ef") if clause.opens() else None


def _padding(match: re.Match[str], clause: Clause) -> Operation | None:
    if not clause.opens():
        return None
    coloured = clause.find(words.IN_COLOUR) if match.group("colour") is None else None
    colour = plain_colour(match.group("colour") or (coloured and coloured.group("colour")), "white")
    clause.find(words.AROUND)
    amount, unit = _width(match.group(), clause, 0.03, 0.08, 0.15)
    return Operation("border", amount, unit, colour=colour)


def _canvas(_: re.Match[str], clause: Clause) -> Operation:
    amount, unit = _width("", clause, 0.03, 0.08, 0.15)
    return Operation("border", amount, unit, colour="white")


# ------------------------------------------------------------------------------------------------ pad to a shape


def _aspect(shape: str) -> float:
    if shape == "square":
        return 1.0
    wide, high = (int(side) for side in re.findall(r"\d+", shape))
    if not (wide and high and 0.1 <= wide / high <= 10):
        raise refusal(f"a shape goes from 1:10 to 10:1, not {shape}")
    return round(wide / high, 4)


def _pad(match: re.Match[str], clause: Clause) -> Operation | None:
    boxed = re.match(r"letter|pillar", match.group())
    clause.find(words.WITHOUT_CROPPING)
    shape = clause.find(words.SHAPE)
    bars = clause.find(words.BARS)
    coloured = None if bars and bars.group("colour") else clause.find(words.IN_COLOUR)
    colour = plain_colour(
        (bars and bars.group("colour")) or (coloured and coloured.group("colour")), "black" if boxed else "white"
    )
    if shape:
        return Operation("pad", _aspect(shape.group("shape")), "aspect", colour=colour)
    if boxed:
        return Operation("pad", 1.7778 if match.group().startswith("letter") else 1.0, "aspect", colour=colour)
    clause.find(words.AROUND)
    amount, unit = _width("", clause, 0.03, 0.08, 0.15)
    return Operation("border", amount, unit, colour=colour)


def _on_square(match: re.Match[str], clause: Clause) -> Operation | None:
    """Only with bars, on a canvas or without cropping: "make it square" by itself crops."""
    uncropped = clause.find(words.WITHOUT_CROPPING)
    bars = clause.find(words.BARS)
    if not (uncropped or bars or match.group("canvas") or re.match(r"fit|extend|expand", match.group())):
        return None
    said = match.group("colour") or (bars and bars.group("colour"))
    coloured = None if said else clause.find(words.IN_COLOUR)
    colour = plain_colour(said or (coloured and coloured.group("colour")), "white")
    return Operation("pad", _aspect(match.group("shape")), "aspect", colour=colour)


# ------------------------------------------------------------------------------------------------ rounded, cut out, with a shadow


def _corners(match: re.Match[str], clause: Clause) -> Operation | None:
    if match.group().startswith(("make", "soft")) and not (match.group("round") or "corner" in match.group()):
        return None
    if match.group().startswith("make") and not match.group("round"):
        return None
    coloured = clause.find(words.IN_COLOUR)
    colour = plain_colour(coloured and coloured.group("colour"), "white")
    if radius := clause.find(words.RADIUS):
        return Operation("corners", float(radius.group("radius") or radius.group("px")), "px", colour=colour)
    share = clause.percent()
    amount = clause.degree(0.05, 0.1, 0.2) if share is None else min(max(share, 0.01), 0.5)
    return Operation("corners", amount, colour=colour)


def _circle(match: re.Match[str], clause: Clause) -> Operation:
    coloured = clause.find(words.IN_COLOUR)
    oval = re.search(r"oval|ellip", match.group())
    return Operation(
        "corners",
        0.5,
        "oval" if oval else "circle",
        colour=plain_colour(coloured and coloured.group("colour"), "white"),
    )


def _shadow(match: re.Match[str], clause: Clause) -> Operation | None:
    if not clause.opens():
        return None
    amount = clause.degree(0.3, 0.55, 0.85)
    if re.search(r"\bdark\b", match.group()):
        amount = 0.85
    return Operation("shadow", amount, colour="white")


# ------------------------------------------------------------------------------------------------ size

_TIMES = {
    "half": 0.5, "twice": 2.0, "double": 2.0, "two times": 2.0, "triple": 3.0, "three times": 3.0, "four times": 4.0, "a third": 0.3333,
    "one third": 0.3333, "third": 0.3333, "a quarter": 0.25, "one quarter": 0.25, "quarter": 0.25, "two": 2.0, "three": 3.0, "four": 4.0,
    "a half": 0.5, "one half": 0.5,
}  # fmt: skip


def _by(scale: float) -> Operation:
    if not LEAST_SCALE <= scale <= MOST_SCALE:
        raise refusal(f"resizing goes from {LEAST_SCALE:.0%} to {MOST_SCALE:.0%}, not {scale:.0%}")
    return Operation("resize", round(scale, 4), "scale")


def _pixels(said: str) -> float:
    if not 8 <= int(said) <= MOST_PIXELS:
        raise refusal(f"resizing goes from 8 to {MOST_PIXELS} pixels, not {said}")
    return float(said)


def _times_size(match: re.Match[str], clause: Clause) -> Operation | None:
    if "crop" in clause.lead:
        return None
    times = _TIMES[match.group("times")]
    return _by(1 / times if match.group("small") and times > 1 else times)


def _times_verb(match: re.Match[str], _: Clause) -> Operation:
    factors = {"dou": 2.0, "hal": 0.5, "tri": 3.0, "qua": 4.0}
    return _by(factors[match.group("verb")[:3]])


def _resize(match: re.Match[str], clause: Clause) -> Operation | None:
    if clause.find(words.THUMBNAIL):
        return Operation("resize", 128.0, "longest")
    up = match.group("up") or match.group().endswith(" up")
    down = match.group("down") or match.group().endswith(" down")
    if box := clause.find(words.BOX):
        wide, high = _pixels(box.group("wide")), _pixels(box.group("high"))
        return Operation("resize", text=f"{wide:.0f}x{high:.0f}")
    if said := clause.find(words.SCALE_PERCENT):
        share = float(said.group("percent")) / 100
        if said.group("way") in ("to", "at") or not (up or down):
            return _by(share)
        return _by(1 + share if up else 1 - share)
    if said := clause.find(words.FACTOR):
        return _by(_factor(said, bool(up), bool(down)))
    if side := clause.find(words.SIDE_LENGTH):
        length = side.group("length") or side.group("long") or side.group("plain")
        way = side.group("side") or side.group("way")
        named = re.search(r"\b(width|height)$", match.group().strip())
        if way is None and named:
            way = named.group(1)
        name = {None: "longest", "width": "width", "wide": "width", "across": "width"}.get(way, "height")
        return Operation("resize", _pixels(length), name)
    if match.group("unsaid") or not (up or down):
        return None
    return _by(clause.degree(1.25, 1.6, 2.5) if up else clause.degree(0.8, 0.6, 0.35))


def _factor(said: re.Match[str], up: bool, down: bool) -> float:
    if part := said.group("part"):
        share = _TIMES[part]
        return share if said.group("way") == "to" or not (up or down) else 1 + share if up else 1 - share
    number = said.group("factor") or said.group("times") or said.group("x") or said.group("bare")
    factor = _TIMES[number] if number in _TIMES else float(number)
    return 1 / factor if down and factor > 1 else factor


def _thumbnail(_: re.Match[str], clause: Clause) -> Operation | None:
    return Operation("resize", 128.0, "longest") if clause.opens() else None


# ------------------------------------------------------------------------------------------------ repeated, mirrored in itself


def _tile(match: re.Match[str], clause: Clause) -> Operation | None:
    if not clause.opens():
        return None
    grid, rows, columns = clause.find(words.GRID), clause.find(words.ROWS), clause.find(words.COLUMNS)
    times = clause.find(words.TIMES)
    across, down = clause.has(words.ACROSS), clause.has(words.DOWN)
    pattern = clause.has(words.PATTERN)
    if grid:
        return _tiles(int(grid.group("columns")), int(grid.group("rows")))
    if rows or columns:
        high = count(rows.group("count")) if rows else 1 if not times else 0
        wide = count(columns.group("count")) if columns else 1 if not times else 0
        copies = _copies(times) if times else 0
        return _tiles(wide or max(1, copies // high), high or max(1, copies // wide))
    if across or down:
        copies = _copies(times) if times else 2
        return _tiles(1, copies) if down else _tiles(copies, 1)
    if times:
        copies = _copies(times)
        side = {4: 2, 9: 3, 16: 4, 25: 5, 36: 6}.get(copies)
        return _tiles(side, side) if side else _tiles(copies, 1)
    verb = match.group("verb") or ""
    return _tiles(2, 2) if pattern or match.group("grid") or verb.startswith("til") else None


def _copies(times: re.Match[str]) -> int:
    return 2 if times.group("twice") else count(times.group("count"))


def _tiles(columns: int, rows: int) -> Operation:
    if not (1 <= columns <= MOST_TILES and 1 <= rows <= MOST_TILES):
        raise refusal(f"a picture can be repeated in 1 to {MOST_TILES} columns and rows, not {columns} x {rows}")
    if columns * rows == 1:
        raise refusal("a picture repeated once is the same picture")
    return Operation("tile", text=f"{columns}x{rows}")


_SIDES = {"upper": "top", "lower": "bottom"}
_OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


def _halves(match: re.Match[str], _: Clause) -> Operation | None:
    side = _SIDES.get(match.group("from"), match.group("from"))
    onto = match.group("onto")
    if onto is None and match.group("verb") not in ("mirror", "reflect"):
        return None
    if onto and not re.search(rf"\b(?:{_OPPOSITE[side]}|other|{'upper' if side == 'bottom' else 'lower'})\b", onto):
        return None
    return Operation("symmetry", text=side)


def _symmetric(_: re.Match[str], clause: Clause) -> Operation:
    if clause.has(first_words.VERTICALLY):
        return Operation("symmetry", text="top")
    clause.has(first_words.HORIZONTALLY)
    return Operation("symmetry", text="left")


def _kaleidoscope(_: re.Match[str], clause: Clause) -> Operation | None:
    return Operation("symmetry", text="kaleidoscope") if clause.opens() else None


READINGS: tuple[tuple[str, Make], ...] = (
    (words.HALVES, _halves),
    (words.SYMMETRIC, _symmetric),
    (words.KALEIDOSCOPE, _kaleidoscope),
    (words.TILE, _tile),
    (words.PAD, _pad),
    (words.ON_SQUARE, _on_square),
    (words.CORNERS, _corners),
    (words.CIRCLE, _circle),
    (words.POLAROID, _polaroid),
    (words.BORDER, _border),
    (words.PADDING, _padding),
    (words.CANVAS, _canvas),
    (words.SHADOW, _shadow),
    (words.TIMES_SIZE, _times_size),
    (words.TIMES_VERB, _times_verb),
    (words.RESIZE, _resize),
    (words.THUMBNAIL, _thumbnail),
)
"""In this order, before those of `look_readings`."""

"""Readings of edits that change how a picture looks: contrast, colours, grain, outlines. Each turns a match into operations, or leaves it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmi_env.tools.edit import first_words
from llmi_env.tools.edit import look_words as words
from llmi_env.tools.edit.clause import Clause, Make
from llmi_env.tools.edit.colour_names import plain_colour
from llmi_env.tools.edit.context_words import count
from llmi_env.tools.edit.operation import Kind, Operation, refusal

# ------------------------------------------------------------------------------------------------ measures, up and down

_STEPS: dict[Kind, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "contrast": ((0.2, 0.4, 0.8), (0.15, 0.3, 0.6)),
    "saturation": ((0.25, 0.6, 1.2), (0.25, 0.45, 0.75)),
    "brightness": ((0.15, 0.35, 0.6), (0.15, 0.35, 0.6)),
    "gamma": ((0.2, 0.5, 1.0), (0.15, 0.3, 0.5)),
}
"""How far a measure goes up and down without a number: weak, normal, strong; as a change of its factor."""


def _measure(name: str) -> Kind | None:
    """The kind of a measure; `None` for sharpness, which two kinds share."""
    if "sharp" in name or "clarity" in name:
        return None
    if "contrast" in name:
        return "contrast"
    if "bright" in name or "exposure" in name:
        return "brightness"
    return "gamma" if "gamma" in name else "saturation"


def _measured(said: str, factor: float | None, up: bool, strength: int) -> list[Operation]:
    """Operations for a list of measures, by a common factor or by steps of `strength` (0 weak, 1, 2 strong)."""
    operations = []
    for name in re.split(r",? and |,? & |, ", said):
        kind = _measure(name)
        if kind is None:
            if factor is not None:
                up, change = factor >= 1, abs(factor - 1)
                amount = 3 * min(change, 1.0) if up else round(0.06 * min(change, 1.0), 4)
            else:
                amount = (0.6, 1.2, 2.2)[strength] if up else (0.008, 0.02, 0.045)[strength]
            operations.append(Operation("sharpen" if up else "blur", amount))
            continue
        step = _STEPS[kind][0 if up else 1][strength]
        least = 0.2 if kind == "gamma" else 0.05 if kind == "brightness" else 0.0
        by = factor if factor is not None else 1 + step if up else 1 - step
        operations.append(Operation(kind, round(min(max(by, least), 4.0), 4)))
    return operations


def _strength(clause: Clause) -> int:
    return int(clause.degree(0, 1, 2))


def _adjust(match: re.Match[str], clause: Clause) -> list[Operation]:
    verb = match.group("verb")
    said = clause.find(first_words.PERCENT)
    times = {"doubl": 2.0, "twice": 2.0, "tripl": 3.0, "halv": 0.5, "half": 0.5}
    factor = next((value for word, value in times.items() if verb.startswith(word)), None)
    up = not re.fullmatch(rf"{words.DOWN}|down|reduced|lowered", verb)
    if said:
        share = float(said.group(1)) / 100
        factor = share if re.match(r"to\b", said.group()) else 1 + share if up else 1 - share
    elif part := clause.find(r"\bby (?:a |one )?(half|third|quarter)\b"):
        share = {"half": 0.5, "third": 0.33, "quarter": 0.25}[part.group(1)]
        factor = 1 + share if up else 1 - share
    return _measured(match.group("measures"), factor, up, _strength(clause))


def _continued(match: re.Match[str], clause: Clause) -> list[Operation] | None:
    """A measure without a verb, as after "increase the contrast by 20%": it goes the same way."""
    said = re.findall(rf"\b(?:({words.UP})|({words.DOWN}))\b", clause.reader.said[: match.start()])
    share = clause.percent()
    if not said or share is None or not clause.opens():
        return None
    return _measured(match.group("measures"), 1 + share if said[-1][0] else 1 - share, True, 1)


def _set(match: re.Match[str], clause: Clause) -> list[Operation]:
    share, sign = float(match.group("percent")) / 100, match.group("sign")
    factor = 1 + share if sign == "+" else 1 - share if sign else share
    return _measured(match.group("measures"), factor, factor >= 1, 1)


def _gamma(match: re.Match[str], _: Clause) -> Operation:
    value = float(match.group("value"))
    if not 0.1 <= value <= 10:
        raise refusal(f"gamma goes from 0.1 to 10, not {match.group('value')}")
    return Operation("gamma", value)


def _parts(sign: int) -> Make:
    def make(match: re.Match[str], clause: Clause) -> Operation:
        share = clause.percent()
        amount = clause.degree(0.3, 0.6, 1.0) if share is None else min(share, 1.0)
        part = match.groupdict()
        if part.get("middle"):
            return Operation("gamma", round(1 + amount / 2 if sign > 0 else 1 / (1 + amount / 2), 4))
        return Operation("gamma", sign * amount, "shadows" if part.get("dark") else "highlights")

    return make


def _contrasty(match: re.Match[str], clause: Clause) -> Operation:
    return _measured("contrast", None, not match.group("less"), _strength(clause))[0]


def _plain(*operations: Operation) -> Make:
    """An edit without degrees; how strongly it is asked for changes nothing."""

    def make(_: re.Match[str], clause: Clause) -> list[Operation]:
        clause.degree(0, 0, 0)
        return list(operations)

    return make


def _asked(make: Make) -> Make:
    """The reading of a noun, which counts where it is what is asked for: not in what the picture shows, and not after "without"."""

    def checked(match: re.Match[str], clause: Clause) -> Operation | Sequence[Operation] | None:
        return make(match, clause) if clause.opens() else None

    return checked


# ------------------------------------------------------------------------------------------------ colours


def _saturation(up: bool) -> Make:
    def make(_: re.Match[str], clause: Clause) -> list[Operation]:
        share = clause.percent()
        factor = None if share is None else 1 + share if up else 1 - share
        return _measured("saturation", factor, up, int(clause.degree(0, 1, 2, beside=True)))

    return make


def _partly_gray(_: re.Match[str], clause: Clause) -> Operation:
    said = clause.find(first_words.PERCENT)
    share = float(said.group(1)) / 100 if said else 0.5
    return Operation("saturation", round(share if said and said.group().startswith("to") else max(1 - share, 0.0), 4))


def _invert(_: re.Match[str], clause: Clause) -> Operation:
    # "Invert it vertically" turns it over; the negative has no direction.
    if clause.has(first_words.VERTICALLY) or clause.has(first_words.UPSIDE_DOWN):
        return Operation("flip", text="vertical")
    if clause.has(first_words.HORIZONTALLY):
        return Operation("flip", text="horizontal")
    clause.degree(0, 0, 0)
    return Operation("invert")


def _negative(match: re.Match[str], clause: Clause) -> Operation | None:
    return Operation("invert") if clause.opens() and clause.closes() else None


_SYNONYMS = {"turquoise": "cyan", "violet": "purple", "magenta": "pink"}


def _source(match: re.Match[str]) -> str:
    name = match.group("source").removesuffix("s")
    return _SYNONYMS.get(name, name)


def _recolour(match: re.Match[str], _: Clause) -> Operation | None:
    colour = plain_colour(match.group("colour"), "")
    return Operation("hue", text=_source(match), colour=colour) if colour else None


def _swap(match: re.Match[str], _: Clause) -> Operation | None:
    one, other = match.group("one"), match.group("other")
    return None if one == other else Operation("hue", text="swap", colour=f"{one}-{other}")


def _hue(match: re.Match[str], clause: Clause) -> Operation | None:
    if said := clause.find(words.HUE_DEGREES):
        return Operation("hue", round(float(said.group("degrees") or said.group("bare")) % 360, 3))
    if re.match(r"change|turn|move|adjust|spin", match.group()):
        return None
    return Operation("hue", clause.degree(30.0, 90.0, 180.0))


def _splash(match: re.Match[str], clause: Clause) -> Operation:
    # Where "keep only the red" and "the rest black and white" are both said, it is one edit.
    clause.degree(0, 0, 0)
    return Operation("grayscale", text=_source(match))


# ------------------------------------------------------------------------------------------------ few tones


def _few(said: str) -> Operation:
    colours = count(said)
    if not 2 <= colours <= 256:
        raise refusal(f"a picture can be reduced to 2 to 256 colours, not {said}")
    return Operation("posterize", float(colours), "palette")


def _posterize(match: re.Match[str], clause: Clause) -> list[Operation]:
    pop_art = [Operation("saturation", 1.8)] if match.group().startswith("pop") else []
    if said := clause.find(words.LEVELS):
        if said.group("what").startswith("col"):
            return [*pop_art, _few(said.group("levels"))]
        levels = count(said.group("levels"))
        if not 2 <= levels <= 64:
            raise refusal(f"posterizing goes from 2 to 64 levels, not {said.group('levels')}")
        return [*pop_art, Operation("posterize", float(levels))]
    return [*pop_art, Operation("posterize", clause.degree(6.0, 4.0, 2.0))]


def _few_colours(match: re.Match[str], _: Clause) -> Operation:
    return _few(match.group("levels") or match.group("only"))


def _solarize(_: re.Match[str], clause: Clause) -> Operation:
    return Operation("solarize", clause.degree(176.0, 128.0, 64.0))


# ------------------------------------------------------------------------------------------------ texture


def _noise(_: re.Match[str], clause: Clause) -> Operation | None:
    if not clause.opens():
        return None
    clause.find(words.HINT)
    coloured = clause.has(words.COLOUR_NOISE)
    share = clause.percent()
    amount = clause.degree(0.15, 0.3, 0.65) if share is None else min(share, 1.0)
    return Operation("noise", amount, "colour" if coloured else "")


def _grainy(_: re.Match[str], clause: Clause) -> Operation:
    return Operation("noise", clause.degree(0.15, 0.3, 0.65))


def _denoise(_: re.Match[str], clause: Clause) -> Operation:
    return Operation("denoise", clause.degree(3.0, 3.0, 5.0))


def _pixelate(_: re.Match[str], clause: Clause) -> Operation:
    if said := clause.find(words.BLOCKS):
        return Operation("pixelate", float(min(max(int(said.group("size") or said.group("block")), 2), 500)), "px")
    if size := clause.find(words.BLOCK_SIZE):
        return Operation("pixelate", 0.09 if size.group("large") else 0.022)
    return Operation("pixelate", clause.degree(0.022, 0.045, 0.09))


def _emboss(_: re.Match[str], clause: Clause) -> Operation:
    return Operation("emboss", clause.degree(0.7, 1.2, 2.0))


def _sketch(match: re.Match[str], clause: Clause) -> Operation | None:
    if not clause.opens():
        return None
    strong = 2.2 if re.search(words.CHARCOAL, match.group()) else 1.4
    return Operation("sketch", clause.degree(0.8, strong, 2.2))


def _edges(_: re.Match[str], clause: Clause) -> Operation:
    return Operation("sketch", clause.degree(0.7, 1.2, 2.0), "edges")


def _vignette(match: re.Match[str], clause: Clause) -> Operation | None:
    if not clause.opens():
        return None
    colour = plain_colour(match.group("colour") or match.group("ink"), "black")
    clause.find(r"\b(?:around|at|on|to|toward?s|in) (?:it|the (?:edges|corners|borders|sides))\b")
    share = clause.percent()
    weak = 0.5 if re.search(r"\blight\b", match.group()) else 0.8
    return Operation("vignette", clause.degree(0.5, weak, 1.0) if share is None else min(share, 1.0), colour=colour)


def _dark_edges(match: re.Match[str], clause: Clause) -> Operation | None:
    if not clause.opens():
        return None
    return Operation("vignette", clause.degree(0.5, 0.8, 1.0), colour="white" if match.group("light") else "black")


def _faded_edges(match: re.Match[str], clause: Clause) -> Operation | None:
    if not re.search(r"edges|corners|borders", match.group()) or not clause.opens():
        return None
    colour = plain_colour(match.group("colour"), "black")
    return Operation("vignette", clause.degree(0.7, 1.0, 1.0), colour=colour)


READINGS: tuple[tuple[str, Make], ...] = (
    *((pattern, _splash) for pattern in words.SPLASH),
    (words.SWAP, _swap),
    (words.RECOLOUR, _recolour),
    (words.HUE, _hue),
    (words.FADED_EDGES, _faded_edges),
    (words.VIGNETTE, _vignette),
    (words.DARK_EDGES, _dark_edges),
    (words.PARTS_RECOVERED, _parts(1)),
    (words.PARTS_UP, _parts(1)),
    (words.PARTS_DOWN, _parts(-1)),
    (words.AUTO_CONTRAST, _plain(Operation("contrast", text="auto"))),
    (words.EQUALIZE, _plain(Operation("contrast", text="equalize"))),
    (words.SET, _set),
    (words.ADJUST, _adjust),
    (words.ADJUST_AFTER, _adjust),
    (words.CONTINUED, _continued),
    (words.GAMMA, _gamma),
    (words.GAMMA_CORRECTION, _plain(Operation("gamma", 1.3))),
    (words.FEW_COLOURS, _few_colours),
    (words.POSTERIZE, _posterize),
    (words.SOLARIZE, _solarize),
    (words.THRESHOLD, _plain(Operation("posterize", 2.0, "threshold"))),
    (words.DITHER, _plain(Operation("posterize", 2.0, "dither"))),
    (words.SKETCH, _sketch),
    (words.EDGES, _edges),
    (words.PARTLY_GRAY, _partly_gray),
    (words.MUTED, _saturation(False)),
    (words.VIVID, _saturation(True)),
    (words.WASHED_OUT, _plain(Operation("contrast", 0.7), Operation("saturation", 0.65))),
    (words.CONTRASTY, _contrasty),
    (words.POP, _plain(Operation("contrast", 1.2), Operation("saturation", 1.4))),
    (words.XRAY, _asked(_plain(Operation("grayscale"), Operation("invert")))),
    (words.INVERT, _invert),
    (words.NEGATIVE, _negative),
    (words.DENOISE, _denoise),
    (words.NOISE, _noise),
    (words.GRAINY, _grainy),
    (words.PIXELATE, _pixelate),
    (words.MOSAIC, _asked(_pixelate)),
    (words.EMBOSS, _emboss),
    (words.OLD_SEPIA, lambda _, clause: Operation("tint", clause.degree(0.22, 0.42, 0.7), "sepia")),
    (words.BLUR_RADIUS, lambda match, _: Operation("blur", float(match.group("radius")), "px")),
    (r"\bless sharp\b", lambda _, clause: Operation("blur", clause.degree(0.008, 0.02, 0.045))),
)
"""In this order, before the first nine: a pattern may rely on what those before it have taken out."""

"""Numbers in words, as people tell them, and the calls that chart them: for `build_practice.py`."""

from __future__ import annotations

import random
from typing import Any

from practice_subjects import CURVES, DATA, PARTS, SERIES, SPANS, SPREADS

COUNTS_IN_WORDS = {3: "three", 4: "four", 5: "five", 6: "six"}

Row = dict[str, Any]


def listed(values: list[Any]) -> str:
    """As code."""
    return "[" + ",".join(f"'{value}'" if isinstance(value, str) else str(value) for value in values) + "]"


def joined(parts: list[str]) -> str:
    """As a sentence has it: `3, 4 and 5`."""
    return ", ".join(parts[:-1]) + f" and {parts[-1]}"


def chart(kind: str, labels: list[Any], values: list[Any], unit: str, description: str) -> Row:
    """The call that draws a chart."""
    code = {
        "bar": f"plt.bar({listed(labels)},{listed(values)})",
        "line": f"plt.plot({listed(labels)},{listed(values)},marker='o')",
        "pie": f"plt.pie({listed(values)},labels={listed(labels)})",
        "hist": f"plt.hist({listed(values)})",
    }[kind]
    if unit and kind in ("bar", "line"):
        code += f"; plt.ylabel('{unit}')"
    title = {"bar": "Bar chart", "line": "Line chart", "pie": "Pie chart", "hist": "Histogram"}[kind]
    return {"tool": "code", "description": f"{title} of {description}", "params": {"code": code}}


def numbers(draw: random.Random) -> tuple[str, Row]:
    """Values in words, and the call that charts them."""
    topic, unit, names, low, high, kind = draw.choice(DATA)
    size = min(len(names), draw.choice((2, 3, 3, 4, 4, 5)))
    first = draw.randrange(len(names) - size + 1)
    some = list(names[first : first + size])
    values = [draw.randrange(low, high + 1, 5 if high > 60 else 1) for _ in some]
    pairs = list(zip(some, values, strict=True))
    tail = f" {unit}" if unit else ""
    said = draw.choice(
        (
            ", ".join(f"{name} {value}" for name, value in pairs) + tail,
            joined([f"{name} {value}" for name, value in pairs]) + tail,
            joined([f"{value} for {name}" for name, value in pairs]) + (f" ({unit})" if unit else ""),
            ", ".join(f"{name}: {value}" for name, value in pairs) + tail,
            ", ".join(f"{name} ({value})" for name, value in pairs) + (f", in {unit}" if unit else ""),
            ", ".join(f"{name} = {value}" for name, value in pairs) + tail,
        )
    )
    together = draw.choice(("{topic}: {said}", "{topic}: {said}", "{topic}, that is {said}", "{said} ({topic})"))
    return together.format(topic=topic, said=said), chart(kind, some, values, unit, topic)


def shares(draw: random.Random) -> tuple[str, str, Row]:
    """A whole, its parts in percent in words, and the call that charts them."""
    whole, names = draw.choice(PARTS)
    size = min(len(names), draw.choice((2, 3, 3, 4)))
    some = draw.sample(names, size)
    cuts = sorted(draw.sample(range(1, 20), size - 1))
    values = [5 * (b - a) for a, b in zip([0, *cuts], [*cuts, 20], strict=True)]
    pairs = list(zip(some, values, strict=True))
    said = draw.choice(
        (
            ", ".join(f"{name} {value} %" for name, value in pairs),
            joined([f"{value} percent {name}" for name, value in pairs]),
            ", ".join(f"{name} {value}" for name, value in pairs) + " percent",
            joined([f"{value} % {name}" for name, value in pairs]),
        )
    )
    return whole, said, chart("pie", list(some), values, "", whole.removeprefix("the "))


def series(draw: random.Random) -> tuple[dict[str, str], Row]:
    """What was measured one time after another, and the call that charts it."""
    said, unit = draw.choice(SERIES)
    size, span = draw.choice((3, 4, 4, 5)), draw.choice(SPANS)
    start, step = draw.randrange(2, 90), draw.choice((-1, 1, 1))
    values = [max(1, start + step * number * draw.randrange(1, 12) + draw.randrange(4)) for number in range(size)]
    call = chart(
        draw.choice(("line", "bar")),
        list(range(1, size + 1)),
        values,
        unit,
        f"{unit} in {COUNTS_IN_WORDS[size]} {span}",
    )
    data = joined([str(value) for value in values]) + f" {unit}"
    return {"said": said, "data": data, "count": COUNTS_IN_WORDS[size], "span": span}, call


def spread(draw: random.Random) -> tuple[dict[str, str], Row]:
    """Values whose distribution is asked for, and the call that charts it."""
    said, low = draw.choice(SPREADS), draw.randrange(1, 40)
    values = sorted(low + draw.randrange(6) for _ in range(draw.choice((6, 7, 8))))
    data = joined([str(value) for value in values])
    return {"said": said, "data": data}, chart("hist", [], values, "", "the values")


def curve(draw: random.Random) -> tuple[dict[str, str], Row]:
    """A function in words, and the call that draws it."""
    style = draw.random()
    low, high = -draw.randrange(1, 6), draw.randrange(3, 7)
    a, b, sign = draw.randrange(2, 9), draw.randrange(2, 10), draw.choice("+-")
    if style < 0.35:
        name, code = f"y = {a}x {sign} {b}", f"{a}*x{sign}{b}"
    elif style < 0.6:
        name, code = draw.choice((f"y = x² {sign} {b}", f"the parabola x^2 {sign} {b}")), f"x**2{sign}{b}"
    else:
        name, code, low, high = draw.choice(CURVES)
    prefix = draw.choice(("", "", "the function ", "the curve ")) if name.startswith("y ") else ""
    asked = draw.choice(
        (
            f"from {low} to {high}",
            f"between {low} and {high}",
            f"for x between {low} and {high}",
            f"from x = {low} to {high}",
        )
    )
    call = {
        "tool": "code",
        "description": f"Graph of {name}",
        "params": {"code": f"x=np.linspace({low},{high},50)\nplt.plot(x,{code})"},
    }
    return {"curve": prefix + name, "span": asked}, call

"""What a finished figure shows, read off its artists: the values drawn, and how much of them is seen.

It runs in the child, after the picture was encoded, so that it may change the figure. The code that was run shares the process and may
lie to it, as it may draw what it likes; the host checks the form (`llmi_env.chart_reading`) and believes nothing. The same code
gives the same reading, so that no clock is read here: work is bounded by counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .axis_names import is_renamed
from .pixels import Page, all_axes, visibility
from .sources import Source, draws, evenly, is_colour_bar, sources_of

MAX_MARKS = 60
MAX_NAME = 60


@contextmanager
def noted_page(figure: Any) -> Iterator[list[Any]]:
    """While a figure is saved with a tight box: fills the list with that box (a `Bbox`, in inches, without its margin)."""
    boxes: list[Any] = []
    measure = figure.get_tightbbox

    def noting(*args: Any, **kwargs: Any) -> Any:
        boxes[:] = [measure(*args, **kwargs)]
        return boxes[0]

    figure.get_tightbbox = noting
    try:
        yield boxes
    finally:
        del figure.get_tightbbox


def read_figure(figure: Any, box: Any, inches: tuple[float, float]) -> dict[str, Any] | None:
    """The reading of a figure that has just been saved, in the form of `ChartReading.to_json`; `None` where it cannot be read.

    Args:
        figure: the figure; it is changed.
        box: what of it the picture shows, in inches, without its margin (a `Bbox`).
        inches: width and height of the picture, its margin with it.
    """
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(figure, box.padded((inches[0] - box.width) / 2, (inches[1] - box.height) / 2))
    except BaseException:  # whatever the code left behind: a figure that cannot be read has no reading
        return None


def _read(figure: Any, box: Any) -> dict[str, Any]:
    import numpy as np

    with np.errstate(all="ignore"):
        sources = [source for axes in all_axes(figure) for source in sources_of(axes)]
        marks = _marks(sources)
        renamed = any(is_renamed(axis) for axis in _value_axes(sources))
        keyed = all(source.kind != "cell" for source in sources) or _has_key(figure)
    page = Page(figure, box)  # from here on axes are bare
    measured = [number for number, source in enumerate(sources) if np.any(source.values)]
    visible = visibility(page, [sources[number].artists for number in measured])
    shares = dict(zip(measured, visible.shares, strict=True))
    return {
        "marks": [{**mark, "seen": round(shares.get(mark["series"], 1.0), 2)} for mark in marks],
        "seen": round(visible.seen, 4),
        "ink": round(visible.ink, 4),
        "room": round(_room(page, sources), 4),
        "renamed": renamed,
        "keyed": keyed,
    }


def _marks(sources: list[Source]) -> list[dict[str, Any]]:
    """At most `MAX_MARKS`, shared out evenly: a series of a thousand points leaves room for its neighbour."""
    series = [number for number, source in enumerate(sources) if len(source.values)]
    series = [series[index] for index in evenly(len(series), MAX_MARKS)]
    counts: dict[int, int] = {}
    left = MAX_MARKS
    # The shortest first, so that what they leave goes to the longer ones.
    for number in sorted(series, key=lambda one: len(sources[one].values)):
        counts[number] = min(len(sources[number].values), left // (len(series) - len(counts)))
        left -= counts[number]
    return [
        {
            "kind": source.kind,
            "name": _words(source.name(index)),
            "value": _short(source.values[index]),
            "level": round(float(source.levels[index]), 4),
            "place": None if source.places is None else _short(source.places[index]),
            "series": number,
        }
        for number in series
        for source in [sources[number]]
        for index in evenly(len(source.values), counts[number])
    ]


def _short(value: Any) -> float:
    return float(f"{float(value):.8g}")


def _has_key(figure: Any) -> bool:
    """Whether something says what a shade stands for: a colour bar, or numbers on the page that are no axis' own."""
    written = list(figure.texts)
    for axes in all_axes(figure):
        if is_colour_bar(axes):
            return True
        written += axes.texts
        for table in axes.tables:
            written += [cell.get_text() for cell in table.get_celld().values()]
        if (legend := axes.get_legend()) is not None:
            written += legend.get_texts()
    return any(char.isdigit() for text in written if draws(text) for char in text.get_text())


def _words(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:MAX_NAME]


def _value_axes(sources: list[Source]) -> Iterator[Any]:
    known: set[int] = set()
    for source in sources:
        if source.kind not in ("bar", "point") or not len(source.values) or source.axes.name != "rectilinear":
            continue
        axis = source.axes.xaxis if source.lying else source.axes.yaxis
        if id(axis) not in known:
            known.add(id(axis))
            yield axis


def _room(page: Page, sources: list[Source]) -> float:
    counts: dict[int, int] = {}
    for source in sources:
        counts[id(source.axes)] = counts.get(id(source.axes), 0) + len(source.values)
    if not any(counts.values()):
        return 0.0
    best = max(counts, key=lambda one: counts[one])
    axes = next(source.axes for source in sources if id(source.axes) == best)
    dpi = page.figure.dpi
    area = (axes.bbox.width / dpi) * (axes.bbox.height / dpi)
    return float(min(1.0, max(0.0, area / (page.inches[0] * page.inches[1]))))

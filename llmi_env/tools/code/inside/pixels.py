"""How much of what a figure draws is seen: groups of artists compared by their pixels.

Part of the reading of a figure (`reading.py`); it runs in the child, after the picture was encoded, and changes the figure. The page is
drawn small, without axis decorations and ordinary words, but with all that can cover something.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DPI = 40.0
_MAX_PIXELS = 200_000
_MAX_GROUPS = 8
_MANY_ARTISTS = 400
"""Beyond these a page is slow to draw, and all groups are compared as one."""
_STEP = 20.0
"""Levels of 255 by which a colour must differ from what is beneath to be told from it."""
_FAINT = 26
"""Opacity of 255 below which nothing is taken as drawn."""
_PLAIN_SIZE, _PLAIN_STROKE, _PLAIN_TICK, _PLAIN_SCALE = 30.0, 6.0, 20.0, 3.0
"""Letters, spines and ticks up to these, in points, decorate; larger ones can cover. So do samples in a legend up to that scale."""


class Page:
    """The part of a figure that its picture shows, drawn small and again and again.

    Args:
        figure: after its picture was made.
        box: what the picture shows, in inches of the figure (a `Bbox`).
    """

    def __init__(self, figure: Any, box: Any) -> None:
        from matplotlib.transforms import Bbox

        self.figure = figure
        self.inches = (float(box.width), float(box.height))
        dpi = min(DPI, math.sqrt(_MAX_PIXELS / (box.width * box.height)))
        self.width, self.height = (max(1, math.ceil(length * dpi)) for length in self.inches)
        self._dpi = dpi
        # A little over whole pixels, so that the canvas is as large as said here, whichever way it rounds.
        self._box = Bbox.from_bounds(box.x0, box.y0, (self.width + 0.1) / dpi, (self.height + 0.1) / dpi)
        self.axes = list(all_axes(figure))
        for part in _parts(figure, self.axes):
            if _decorates(part):
                part.set_visible(False)
        for axes in self.axes:
            _plain(axes)
        self.parts = [part for part in _parts(figure, self.axes) if part.get_visible()]

    def draw(self) -> Any:
        """RGBA levels, `height` x `width` x 4; opacity 0 where nothing is drawn."""
        import numpy as np

        buffer = io.BytesIO()
        self.figure.canvas.print_figure(buffer, format="rgba", dpi=self._dpi, bbox_inches=self._box)
        return np.frombuffer(buffer.getvalue(), np.uint8).reshape(self.height, self.width, 4)

    def on_white(self) -> Any:
        """RGB levels as signed integers, on white paper."""
        import numpy as np

        drawn = self.draw()
        colours = drawn[..., :3].astype(np.int16)
        if drawn[..., 3].min() == 255:
            return colours
        cover = drawn[..., 3:].astype(np.float32) / 255
        return (colours * cover + 255 * (1 - cover)).astype(np.int16)

    def alone(self, group: list[Any]) -> Any:
        """Opacity (`height` x `width`) of these artists by themselves, and nothing beneath."""
        ours = {id(artist) for artist in group}
        theirs = {id(artist.axes) for artist in group}
        # Axes without any of them are left out whole, if no inset hangs on them.
        others = [axes for axes in self.axes if id(axes) not in theirs and not axes.child_axes]
        left_out = {id(axes) for axes in others}
        others += [part for part in self.parts if id(part) not in ours and id(part.axes) not in left_out]
        ground = self.figure.patch.get_visible()
        try:
            _show(others, False)
            self.figure.patch.set_visible(False)
            return self.draw()[..., 3]
        finally:
            _show(others, True)
            self.figure.patch.set_visible(ground)


def all_axes(figure: Any) -> Iterator[Any]:
    """The visible axes of a figure, insets too, in drawing order as it is found."""
    waiting = list(figure.axes)
    seen: set[int] = set()
    while waiting:
        axes = waiting.pop(0)
        if id(axes) in seen or not axes.get_visible():
            continue
        seen.add(id(axes))
        yield axes
        waiting[:0] = axes.child_axes


def _parts(figure: Any, axes: list[Any]) -> Iterator[Any]:
    """All that is drawn, but for axes (which hold some of it) and axis objects."""
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    for whole in _figures(figure):
        for part in (*whole.patches, *whole.lines, *whole.images, *whole.texts, *whole.legends, *whole.artists):
            yield part
        if whole is not figure:
            yield whole.patch
    for one in axes:
        for part in one.get_children():
            if not isinstance(part, Axes | Axis):
                yield part


def _figures(figure: Any) -> Iterator[Any]:
    yield figure
    for part in figure.subfigs:
        yield from _figures(part)


def _decorates(part: Any) -> bool:
    from matplotlib.spines import Spine
    from matplotlib.text import Text

    if isinstance(part, Spine):
        return bool(part.get_linewidth() <= _PLAIN_STROKE)
    if isinstance(part, Text):
        if part.get_bbox_patch() is not None or getattr(part, "arrow_patch", None) is not None:
            return False
        return float(part.get_fontsize()) <= _PLAIN_SIZE and not any(
            "\u2500" <= char <= "\u2bff" for char in part.get_text()
        )
    return False


def _plain(axes: Any) -> None:
    """Take the axis objects away, and the words of the legend, which stays where it is."""
    for axis in (axes.xaxis, axes.yaxis):
        ticks = (*axis.majorTicks[:50], *axis.minorTicks[:50])
        if all(
            tick.gridline.get_linewidth() <= _PLAIN_STROKE
            and tick.tick1line.get_markeredgewidth() <= _PLAIN_STROKE
            and tick.tick1line.get_markersize() <= _PLAIN_TICK
            for tick in ticks
        ):
            axis.set_visible(False)
    if axes.name == "3d":
        axes.set_axis_off()
    legend = axes.get_legend()
    if legend is not None and legend.get_visible() and float(legend.markerscale) <= _PLAIN_SCALE:
        _frame_alone(axes, legend)


def _frame_alone(axes: Any, legend: Any) -> None:
    """Put a plain box in a legend's place: to lay it out takes longer than all the rest, and it might move to a better place."""
    from matplotlib.patches import Rectangle

    box = legend.get_window_extent().transformed(axes.transAxes.inverted())
    frame = legend.get_frame()
    legend.set_visible(False)
    if legend.get_frame_on():
        axes.add_artist(
            Rectangle(
                box.p0,
                box.width,
                box.height,
                transform=axes.transAxes,
                clip_on=False,
                facecolor=frame.get_facecolor(),
                edgecolor=frame.get_edgecolor(),
                zorder=legend.get_zorder(),
            )
        )


def _show(parts: list[Any], visible: bool) -> None:
    for part in parts:
        part.set_visible(visible)


@dataclass(frozen=True)
class Visibility:
    """What is seen of groups of artists.

    Attributes:
        seen: of all of them, in [0, 1].
        ink: share of the page that they cover.
        shares: of each group what is seen; many groups are measured in bunches.
    """

    seen: float
    ink: float
    shares: list[float]


def visibility(page: Page, groups: list[list[Any]]) -> Visibility:
    """How much of the groups is seen, and what share of the page they cover.

    Seen is, of the pixels that a group draws by itself, the share that changes when it is taken from the page: 0 where it is covered
    or has the colour of its ground. The mean over groups is weighted by their pixels; a group that draws none at all (it lies
    beyond the axes' limits, say) counts as one of mean size that is not seen.
    """
    import numpy as np

    if not groups:
        return Visibility(0.0, 0.0, [])
    count = len(groups)
    groups = _merged(groups, 1 if len(page.parts) > _MANY_ARTISTS else _MAX_GROUPS)
    full = page.on_white()
    union = np.zeros(full.shape[:2], bool)
    drawn, seen = [], []
    for group in groups:
        opacity = page.alone(group)
        mask = opacity >= _FAINT
        drawn.append(int(mask.sum()))
        seen.append(0.0)
        if not drawn[-1]:
            continue
        union |= mask
        shown = [artist for artist in group if artist.get_visible()]
        _show(shown, False)
        change = np.abs(full - page.on_white()).max(axis=2)
        _show(shown, True)
        # Edges are drawn thinner than the rest, so that less of a change is to be expected there.
        needed = _STEP * opacity / float(opacity.max())
        seen[-1] = float((change[mask] >= needed[mask]).mean())
    shares = [seen[index * len(groups) // count] for index in range(count)]
    some = [pixels for pixels in drawn if pixels]
    if not some:
        return Visibility(0.0, 0.0, shares)
    weights = [pixels or sum(some) / len(some) for pixels in drawn]
    mean = sum(weight * share for weight, share in zip(weights, seen, strict=True)) / sum(weights)
    return Visibility(mean, float(union.mean()), shares)


def _merged(groups: list[list[Any]], most: int) -> list[list[Any]]:
    count = min(most, len(groups))
    merged: list[list[Any]] = [[] for _ in range(count)]
    for index, group in enumerate(groups):
        merged[index * count // len(groups)].extend(group)
    return merged

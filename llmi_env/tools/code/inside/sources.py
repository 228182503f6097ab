"""Artists of a figure that draw values: bars, wedges, lines, dots, cells and areas, each with its values, names and places.

Part of the reading of a figure (`reading.py`); it runs in the child.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .axis_names import namer

_MANY = 200
"""Artists of one kind that are read on one axes; of more, so many, evenly chosen."""
_MAX_CELLS = 1000
"""Values of an image that is taken as a table of values; larger ones are pictures."""
_LEAST_OPACITY = 0.1
_ON_EDGE = 1e-6


@dataclass
class Source:
    """Artists that draw values, as one series does.

    Attributes:
        kind: of its marks.
        axes: where they are drawn.
        artists: that draw them.
        values: N, in units of the data.
        levels: N, share of the axes' height (or width), -1 outside.
        name: of the n-th mark.
        lying: whether values run along x.
        places: N, along the other axis in its units; none for wedges and cells.
    """

    kind: str
    axes: Any
    artists: list[Any]
    values: Any
    levels: Any
    name: Callable[[int], str]
    lying: bool = False
    places: Any = None


def sources_of(axes: Any) -> Iterator[Source]:
    """All that draws values on these axes; none of a colour bar."""
    if is_colour_bar(axes):
        return
    held = {id(child) for child in axes.get_children() if draws(child)}
    yield from _bars(axes, held)
    yield from _wedges(axes, held)
    yield from _lines(axes, held)
    yield from _dots(axes, held)
    yield from _cells(axes, held)
    yield from _areas(axes, held)


def draws(artist: Any) -> bool:
    """Whether an artist can leave any trace; what colours it has is told by its pixels."""
    alpha = artist.get_alpha()
    return bool(artist.get_visible()) and not (isinstance(alpha, int | float) and alpha < _LEAST_OPACITY)


def _bars(axes: Any, held: set[int]) -> Iterator[Source]:
    import numpy as np
    from matplotlib.container import BarContainer

    within = axes.bbox
    slack = _ON_EDGE * max(within.width, within.height)
    for container in axes.containers:
        if not isinstance(container, BarContainer):
            continue
        drawn = [bar for bar in container if id(bar) in held]
        read = [drawn[index] for index in evenly(len(drawn), _MANY)]
        if not read:
            continue
        lying = container.orientation == "horizontal"
        values, levels, places = [], [], []
        for bar in read:
            value = bar.get_width() if lying else bar.get_height()
            box = bar.get_path().get_extents(bar.get_transform())
            up = (value >= 0) != (axes.xaxis_inverted() if lying else axes.yaxis_inverted())
            ends = (box.x0, box.x1) if lying else (box.y0, box.y1)
            origin, length = (within.x0, within.width) if lying else (within.y0, within.height)
            out = (
                box.x1 < within.x0 - slack
                or box.x0 > within.x1 + slack
                or box.y1 < within.y0 - slack
                or box.y0 > within.y1 + slack
            )
            level = -1.0 if out else min(1.0, max(0.0, ((max if up else min)(ends) - origin) / length))
            values.append(float(value))
            levels.append(level)
            places.append(bar.get_y() + bar.get_height() / 2 if lying else bar.get_x() + bar.get_width() / 2)
        name = namer(axes.yaxis if lying else axes.xaxis)
        yield _finite(
            Source(
                "bar",
                axes,
                drawn,
                np.array(values),
                np.array(levels),
                _naming(name, places, True),
                lying,
                np.array(places),
            )
        )


def _naming(name: Callable[..., str], places: Any, wide: bool) -> Callable[[int], str]:
    return lambda index: name(float(places[index]), wide)


def _finite(source: Source) -> Source:
    """Without values that cannot be drawn."""
    import numpy as np

    finite = np.isfinite(source.values) & np.isfinite(source.levels)
    if source.places is not None:
        finite &= np.isfinite(source.places)
    good = np.flatnonzero(finite)
    if len(good) == len(source.values):
        return source
    whole = source.name
    return Source(
        source.kind,
        source.axes,
        source.artists,
        source.values[good],
        source.levels[good],
        lambda index: whole(int(good[index])),
        source.lying,
        None if source.places is None else source.places[good],
    )


def _wedges(axes: Any, held: set[int]) -> Iterator[Source]:
    import numpy as np
    from matplotlib.patches import Wedge

    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge) and id(patch) in held and patch.r > 0]
    read = [wedges[index] for index in evenly(len(wedges), _MANY)]
    if not read:
        return
    values = np.array([min(1.0, abs(wedge.theta2 - wedge.theta1) / 360) for wedge in read])
    middles = []
    for wedge in read:
        angle = math.radians((wedge.theta1 + wedge.theta2) / 2)
        radius = wedge.r - (wedge.width or wedge.r) / 2
        middles.append((wedge.center[0] + radius * math.cos(angle), wedge.center[1] + radius * math.sin(angle)))
    labels = [str(wedge.get_label() or "") for wedge in read]
    labels = ["" if label.startswith("_") else label for label in labels]
    legend = axes.get_legend()
    if not any(labels) and legend is not None and len(legend.get_texts()) == len(labels):
        labels = [text.get_text() for text in legend.get_texts()]
    yield _finite(Source("wedge", axes, wedges, values, _levels(axes, middles), lambda index: labels[index]))


def _levels(axes: Any, places: Any, transform: Any = None) -> Any:
    """Share of the axes' height of each place (N x 2, in data units or those of `transform`), -1 outside."""
    import numpy as np

    shown = np.asarray((transform or axes.transData).transform(np.asarray(places, float).reshape(-1, 2)), float)
    shares = (shown - (axes.bbox.x0, axes.bbox.y0)) / (axes.bbox.width, axes.bbox.height)
    inside = np.all((shares >= -_ON_EDGE) & (shares <= 1 + _ON_EDGE), axis=1)
    return np.where(inside, np.clip(shares[:, 1], 0, 1), -1.0)


def _bunches(artists: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Artists to read with those that go with them: all of them but for crowds."""
    count = min(len(artists), _MANY)
    for index in range(count):
        bunch = artists[index * len(artists) // count : (index + 1) * len(artists) // count]
        yield bunch[0], bunch


def _lines(axes: Any, held: set[int]) -> Iterator[Source]:
    from matplotlib.container import ErrorbarContainer, StemContainer

    aside: set[int] = set()  # caps of error bars, ground lines of stems
    with_them: dict[int, list[Any]] = {}
    for container in axes.containers:
        if isinstance(container, ErrorbarContainer) and len(container) == 3:
            aside.update(id(cap) for cap in container[1])
        elif isinstance(container, StemContainer):
            aside.add(id(container.baseline))
            stems = container.stemlines
            with_them[id(container.markerline)] = [stems] if id(stems) in held else []
    boxes = _has_boxes(axes)
    lines = [line for line in axes.lines if id(line) in held and id(line) not in aside and _leaves_trace(line)]
    name = namer(axes.xaxis)
    for line, bunch in _bunches(lines):
        source = _line(axes, line, name, boxes)
        if source is not None:
            source.artists = [*bunch, *with_them.get(id(line), [])]
            yield source


def _line(axes: Any, line: Any, name: Callable[..., str], boxes: bool) -> Source | None:
    import numpy as np

    if not all(line.get_transform().contains_branch_seperately(axes.transData)):
        return None  # across the whole axes, as axhline
    places = np.asarray(line.get_xydata(), float)
    values = places[:, 1]
    if hasattr(line, "get_data_3d"):
        values = np.asarray(line.get_data_3d()[2], float)
    elif len(places) > 1 and np.ptp(places[:, 0]) == 0:
        return None  # upright: a whisker, an error bar
    elif boxes:
        if len(places) == 5 and (places[0] == places[4]).all():
            return None
        if len(places) == 2 and values[0] == values[1]:  # a median or a cap, of some width
            places, values = places.mean(axis=0, keepdims=True), values[:1]
    levels = _levels(axes, places, line.get_transform())
    return _finite(
        Source("point", axes, [line], values, levels, _naming(name, places[:, 0], boxes), places=places[:, 0])
    )


def _has_boxes(axes: Any) -> bool:
    """Whether it is a box plot, whose lines are not series."""
    import numpy as np
    from matplotlib.patches import PathPatch

    if any(
        isinstance(patch, PathPatch) and 5 <= np.shape(patch.get_path().vertices)[0] <= 12 for patch in axes.patches
    ):
        return True
    for line in axes.lines[:_MANY]:
        x, y = np.array(line.get_xydata(), float).T
        if len(x) == 5 and x[0] == x[4] and y[0] == y[4] and len(set(x)) == len(set(y)) == 2:
            return True
    return False


def _leaves_trace(line: Any) -> bool:
    from matplotlib.colors import to_rgba

    stroke = line.get_linestyle() not in ("None", "none", "", " ") and line.get_linewidth() > 0
    marker = line.get_marker() not in ("None", "none", "", " ", None) and line.get_markersize() > 0
    if stroke and to_rgba(line.get_color(), line.get_alpha())[3] >= _LEAST_OPACITY:
        return True
    return bool(marker)


def _dots(axes: Any, held: set[int]) -> Iterator[Source]:
    import numpy as np
    from matplotlib.collections import PathCollection

    clouds = [one for one in axes.collections if isinstance(one, PathCollection) and id(one) in held]
    name = namer(axes.xaxis) if clouds else None
    for cloud, bunch in _bunches(clouds):
        places: Any = np.ma.filled(np.ma.asarray(cloud.get_offsets(), float), np.nan).reshape(-1, 2)
        if not len(places) or not np.any(np.asarray(cloud.get_sizes()) > 0) or name is None:
            continue
        depth = getattr(cloud, "_offsets3d", None)
        values = places[:, 1] if depth is None else np.ma.filled(np.ma.asarray(depth[2], float), np.nan)
        levels = _levels(axes, places, cloud.get_offset_transform())
        yield _finite(
            Source("dot", axes, bunch, values, levels, _naming(name, places[:, 0], True), places=places[:, 0])
        )


def _cells(axes: Any, held: set[int]) -> Iterator[Source]:
    import numpy as np
    from matplotlib.collections import QuadMesh
    from matplotlib.image import AxesImage

    tables = [one for one in (*axes.images, *axes.collections) if isinstance(one, AxesImage | QuadMesh)]
    for table in tables[:_MANY]:
        values: Any = table.get_array()
        if id(table) not in held or values is None or not 0 < np.size(values) <= _MAX_CELLS:
            continue
        values = np.ma.filled(np.ma.asarray(values, float), np.nan)
        if isinstance(table, QuadMesh):
            corners = np.asarray(table.get_coordinates(), float)
            if values.size != (corners.shape[0] - 1) * (corners.shape[1] - 1):
                continue
            centres = (corners[1:, 1:] + corners[1:, :-1] + corners[:-1, 1:] + corners[:-1, :-1]) / 4
        elif values.ndim == 2:
            rows, columns = values.shape
            left, right, bottom, top = table.get_extent()
            first, last = (top, bottom) if table.origin == "upper" else (bottom, top)
            x = left + (np.arange(columns) + 0.5) * (right - left) / columns
            y = first + (np.arange(rows) + 0.5) * (last - first) / rows
            centres = np.stack(np.meshgrid(x, y), axis=-1)
        else:
            continue
        centres = centres.reshape(-1, 2)
        levels = _levels(axes, centres, table.get_transform())
        yield _finite(Source("cell", axes, [table], values.ravel(), levels, _cell_naming(axes, centres)))


def _cell_naming(axes: Any, centres: Any) -> Callable[[int], str]:
    across, along = namer(axes.xaxis), namer(axes.yaxis)

    def name(index: int) -> str:
        x, y = (float(place) for place in centres[index])
        return ", ".join(word for word in (along(y, True), across(x, True)) if word)

    return name


def _areas(axes: Any, held: set[int]) -> Iterator[Source]:
    """Filled areas, where nothing else on the axes has values: beside a line they are its band."""
    import numpy as np
    from matplotlib.collections import PolyCollection

    if axes.lines or axes.containers:
        return
    areas = [one for one in axes.collections if isinstance(one, PolyCollection) and id(one) in held]
    name = namer(axes.xaxis) if areas else None
    for area, bunch in _bunches(areas):
        for path in area.get_paths()[:1]:
            # There along one edge and back along the other, each begun and ended where they meet.
            count = (len(path.vertices) - 3) // 2
            there, back = path.vertices[1 : count + 1], path.vertices[count + 2 : -1][::-1]
            if count < 2 or there.shape != back.shape or not np.array_equal(there[:, 0], back[:, 0]) or name is None:
                continue
            outer = np.where((np.abs(there[:, 1]) >= np.abs(back[:, 1]))[:, None], there, back)
            levels = _levels(axes, outer, area.get_transform())
            thick = np.abs(there[:, 1] - back[:, 1])
            yield _finite(
                Source("point", axes, bunch, thick, levels, _naming(name, outer[:, 0], False), places=outer[:, 0])
            )


def is_colour_bar(axes: Any) -> bool:
    """Whether axes hold a colour bar, in a place of its own or given to it."""
    return getattr(axes, "_colorbar", None) is not None


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers from 0 to `count` - 1, the first and the last with them."""
    if count <= most:
        return list(range(count))
    return [round(index * (count - 1) / max(1, most - 1)) for index in range(most)]

"""The tool: names of places in, a map out. All that a tool needs is here: a spec, a coroutine that draws or raises, and `aclose`."""

from __future__ import annotations

import asyncio
import io
import re
import time
import unicodedata
from collections.abc import Mapping
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from llmi_env.document import Picture, Provenance
from llmi_env.errors import BadParams, ConfigError, NothingFound, did_you_mean
from llmi_env.tools import ParamSpec, ToolContext, ToolSpec
from llmi_map.places import LAND, PLACES

MOST = 12
"""Places on one map."""
_COORDINATES = re.compile(
    r"(?P<name>[^:]+):\s*(?P<latitude>[-+]?\d{1,2}(\.\d+)?)\s+(?P<longitude>[-+]?\d{1,3}(\.\d+)?)"
)


class MapTool:
    """Draws a map of the world, or of the part of it where the places are; the same places give the same map.

    Args:
        width: of the picture in pixels.

    Raises:
        ConfigError: a width that cannot be.
    """

    # On the class: a configuration is checked, and the policy told of the tool, before any tool is made.
    spec = ToolSpec(
        "map",
        "draws a map with named places",
        (ParamSpec("places", str, "cities separated by commas, or 'name: latitude longitude' for any other place"),),
        {"places": "Oslo, Vienna, Camp: 47.1 11.3"},
    )

    def __init__(self, width: int = 800) -> None:
        if not 200 <= width <= 2000:
            raise ConfigError(f"map: width lies in 200..2000, not {width!r}")
        self.width = width

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Draw the places.

        Raises:
            BadParams: no place, too many, or coordinates off the globe.
            NothingFound: a name that is not known.
        """
        started = time.monotonic()
        places = read_places(params["places"])
        # Drawing takes 50 ms: off the event loop, on which other calls wait.
        image = await asyncio.to_thread(draw, places, self.width)
        names = ", ".join(places)
        provenance = Provenance(
            "llmi-map", title=f"Map: {names}"[:200], caption=f"a map that shows {names}", licence="CC0-1.0"
        )
        return Picture(image, provenance, time.monotonic() - started)

    async def aclose(self) -> None:
        """Nothing is held."""


def read_places(text: str) -> dict[str, tuple[float, float]]:
    """Latitude and longitude of each place; raises what a policy can do better next time."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not 0 < len(parts) <= MOST:
        raise BadParams(f"name 1 to {MOST} places, not {len(parts)}")
    known = {_plain(name): name for name in PLACES}
    places: dict[str, tuple[float, float]] = {}
    for part in parts:
        if found := _COORDINATES.fullmatch(part):
            latitude, longitude = float(found["latitude"]), float(found["longitude"])
            if abs(latitude) > 90 or abs(longitude) > 180:
                raise BadParams(f"{found['name'][:40]!r}: latitude lies in -90..90, longitude in -180..180")
            places[" ".join(found["name"].split())[:40]] = (latitude, longitude)
        elif name := known.get(_plain(part)):
            places[name] = PLACES[name]
        else:
            raise NothingFound(
                f"no place {part[:40]!r} is known{did_you_mean(part[:40], PLACES)[:400]}; write 'name: latitude longitude'"
            )
    return places


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold())
    return " ".join("".join(letter for letter in letters if not unicodedata.combining(letter)).split())


def draw(places: Mapping[str, tuple[float, float]], width: int) -> Image.Image:
    """The part of the world that holds the places, with some room around them."""
    latitudes, longitudes = zip(*places.values(), strict=True)
    west, east, south, north = _window(min(longitudes), max(longitudes), min(latitudes), max(latitudes))
    dpi = 100
    figure = Figure(figsize=(width / dpi, width / 2 / dpi), dpi=dpi)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), facecolor="#d6e6f2")
    for outline in LAND:
        axes.fill(*zip(*outline, strict=True), facecolor="#f3efe2", edgecolor="#a9a48f", linewidth=0.8)
    axes.grid(color="#9fb4c4", linewidth=0.4, alpha=0.6)
    middle = (west + east) / 2
    for name, (latitude, longitude) in places.items():
        axes.plot(longitude, latitude, "o", color="#b3392b", markersize=6, markeredgecolor="white")
        left = longitude > middle
        axes.annotate(
            name, (longitude, latitude), (-7 if left else 7, 4), textcoords="offset points", ha="right" if left else "left", fontsize=11,
            parse_math=False, bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
        )  # fmt: skip
    axes.set(xlim=(west, east), ylim=(south, north))
    axes.spines[:].set_visible(False)
    page = io.BytesIO()
    figure.savefig(page, format="png")
    with Image.open(page) as image:
        return image.convert("RGB")


def _window(west: float, east: float, south: float, north: float) -> tuple[float, float, float, float]:
    """Twice as wide as high, at least 30 degrees wide, and within the world."""
    wide = min(360.0, max(30.0, 1.5 * (east - west), 3.0 * (north - south)))
    high = wide / 2
    west = min(max(-180.0, (west + east - wide) / 2), 180.0 - wide)
    south = min(max(-90.0, (south + north - high) / 2), 90.0 - high)
    return west, west + wide, south, south + high

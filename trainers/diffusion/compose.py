"""New pictures from icons: another colour, a place behind, two side by side.

These teach the model to combine: a caption may name an object, a colour and a place that never stood together in
training. All functions take and give 128 x 128 pictures; :func:`finish` brings them to the trained size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from trainers.diffusion.icons import MASTER_SIZE
from trainers.diffusion.scenes import COLOURS, Colour, Scene

PICTURE_SIZE = 64
_S = MASTER_SIZE


def finish(picture: Image.Image) -> NDArray[np.uint8]:
    """``(64, 64, 3)``."""
    return np.asarray(picture.convert("RGB").resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.LANCZOS))


def on_background(
    icon: Image.Image, background: Image.Image, size: float, x: float, foot: float, shadow: bool
) -> Image.Image:
    """Pastes an RGBA icon, ``size`` of the width, centred at ``x``, its lowest drawn pixel at ``foot`` (shares of the
    picture).
    """
    side = round(size * _S)
    small = icon.resize((side, side), Image.Resampling.LANCZOS)
    box = small.getchannel("A").getbbox() or (0, 0, side, side)
    left, top = round(x * _S - side / 2), round(foot * _S) - box[3]
    result = background.copy()
    if shadow:
        dark = Image.new("L", (_S, _S))
        half, y = (box[2] - box[0]) * 0.45, foot * _S
        ImageDraw.Draw(dark).ellipse((x * _S - half, y - 5, x * _S + half, y + 4), fill=90)
        result.paste((0, 0, 0), (0, 0), dark.filter(ImageFilter.GaussianBlur(3)))
    result.paste(small.convert("RGB"), (left, top), small.getchannel("A"))
    return result


def on_white(icon: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The plain icon, filling the picture but for a little play in size and place."""
    size = rng.uniform(0.86, 1.0)
    play = (1 - size) * _S
    side = round(size * _S)
    small = icon.resize((side, side), Image.Resampling.LANCZOS)
    result = Image.new("RGB", (_S, _S), (255, 255, 255))
    result.paste(
        small.convert("RGB"), (round(rng.uniform(0, play)), round(rng.uniform(0, play))), small.getchannel("A")
    )
    return result


def in_scene(icon: Image.Image, scene: Scene, rng: np.random.Generator) -> Image.Image:
    """The icon standing (or floating, in the sky, space and sea) in a place."""
    floats = scene.name in ("sky", "space", "sea")
    size = rng.uniform(0.6, 0.74)
    foot = 0.5 + size / 2 + rng.uniform(-0.06, 0.06) if floats else scene.ground + rng.uniform(-0.02, 0.04)
    return on_background(icon, scene.draw(rng), size, 0.5 + rng.uniform(-0.08, 0.08), foot, shadow=not floats)


def side_by_side(first: Image.Image, second: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Two icons on white, the first on the left."""
    result = Image.new("RGB", (_S, _S), (255, 255, 255))
    for icon, x in ((first, 0.26), (second, 0.74)):
        size = rng.uniform(0.46, 0.52)
        result = on_background(icon, result, size, x, 0.5 + size / 2, shadow=False)
    return result


def several(icon: Image.Image, count: int) -> Image.Image:
    """The same icon two to four times on white."""
    places = {
        2: [(0.26, 0.75), (0.74, 0.75)],
        3: [(0.5, 0.5), (0.26, 0.98), (0.74, 0.98)],
        4: [(0.27, 0.5), (0.73, 0.5), (0.27, 0.98), (0.73, 0.98)],
    }
    result = Image.new("RGB", (_S, _S), (255, 255, 255))
    for x, foot in places[count]:
        result = on_background(icon, result, 0.47, x, foot, shadow=False)
    return result


def recolour(icon: Image.Image, colour: str) -> Image.Image:
    """The icon with its main colour changed; other parts (leaves, eyes, white, dark lines) keep theirs.

    The main colour is the most frequent hue among clearly coloured pixels. An icon that has hardly any colour is tinted
    as a whole.
    """
    rgba = np.asarray(icon.convert("RGBA")).astype(np.float32) / 255
    rgb, alpha = rgba[..., :3], rgba[..., 3]
    value, low = rgb.max(-1), rgb.min(-1)
    chroma = value - low
    coloured = (chroma > 0.18) & (alpha > 0.5)
    if coloured.sum() > 0.3 * (alpha > 0.5).sum():
        hue = _hue(rgb, value, chroma)
        histogram, _ = np.histogram(hue[coloured], bins=36, range=(0, 1), weights=chroma[coloured])
        smooth = histogram + np.roll(histogram, 1) + np.roll(histogram, -1)
        main = (int(smooth.argmax()) + 0.5) / 36
        distance = np.abs((hue - main + 0.5) % 1 - 0.5)
        weight = np.clip((0.15 - distance) / 0.05, 0, 1) * np.clip((chroma - 0.08) / 0.15, 0, 1)
    else:
        weight = np.clip((value - 0.3) / 0.2, 0, 1)
    shade = 0.3 * rgb[..., 0] + 0.59 * rgb[..., 1] + 0.11 * rgb[..., 2]
    inside = (weight > 0.5) & (alpha > 0.5)
    middle = float(np.median(shade[inside])) if inside.any() else 0.5
    ramp = _shaded(COLOURS[colour], shade / max(middle, 0.05))
    mixed = rgb * (1 - weight[..., None]) + ramp * weight[..., None]
    return Image.fromarray((np.concatenate([mixed, alpha[..., None]], -1) * 255).round().astype(np.uint8), "RGBA")


def _shaded(colour: Colour, relative: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The colour darkened where ``relative`` < 1 and lightened towards white where it is > 1."""
    base = np.asarray(colour, np.float32) / 255
    dark = base * np.clip(relative, 0, 1)[..., None] ** 0.9
    light = np.clip((relative - 1) * 0.9, 0, 0.85)[..., None]
    result: NDArray[np.floating[Any]] = dark * (1 - light) + light
    return result


def _hue(
    rgb: NDArray[np.floating[Any]], value: NDArray[np.floating[Any]], chroma: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    safe = np.maximum(chroma, 1e-6)
    hue = np.where(
        value == red, (green - blue) / safe, np.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    result: NDArray[np.floating[Any]] = (hue / 6) % 1
    return result

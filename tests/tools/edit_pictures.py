"""Small pictures made by whole numbers alone, the same on every machine, for the tests of the edit tool."""

from __future__ import annotations

import numpy as np
from PIL import Image


def scene() -> Image.Image:
    """A sky, a green hill, a red disc and fine stripes; RGB, 96 x 72."""
    y, x = np.mgrid[0:72, 0:96]
    pixels = np.stack([90 + y, 140 + y, 255 - y], axis=-1)
    pixels[y > 45 + (x - 48) ** 2 // 120] = (60, 130, 50)
    pixels[(x - 68) ** 2 + (y - 20) ** 2 < 150] = (215, 60, 40)
    pixels[(y > 52) & (y < 66) & (x > 8) & (x < 40) & ((x + y) % 4 < 2)] = (20, 20, 25)
    return Image.fromarray(pixels.astype(np.uint8))


def badge() -> Image.Image:
    """An orange square that fades out to the right; RGBA, 61 x 83."""
    y, x = np.mgrid[0:83, 0:61]
    inside = (x > 6) & (x < 52) & (y > 10) & (y < 70)
    pixels = np.stack([np.full_like(x, 240), 120 + y, 3 * x, np.where(inside, 255 - 4 * x, 0)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8), "RGBA")


def strip() -> Image.Image:
    """A gray ramp with a light and a dark bar; L, 120 x 40."""
    y, x = np.mgrid[0:40, 0:120]
    pixels = 2 * x + y // 8
    pixels[(y > 8) & (y < 14)] = 250
    pixels[(y > 24) & (y < 30)] = 5
    return Image.fromarray(pixels.astype(np.uint8))


def pictures() -> dict[str, Image.Image]:
    """All three, by name."""
    return {"scene": scene(), "badge": badge(), "strip": strip()}

"""Pictures as files, for whoever decodes them."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

PILLOW = {"PNG": "PNG", "JPEG": "JPEG", "WebP": "WEBP", "GIF": "GIF", "BMP": "BMP"}


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, PILLOW.get(name, name), **options)
    return buffer.getvalue()


def quarters(size: int = 32) -> Image.Image:
    """Red, green, blue and black quarters, in reading order."""
    image = Image.new("RGB", (size, size * 3 // 4))
    for colour, place in (("red", (0, 0)), ("lime", (size // 2, 0)), ("blue", (0, size * 3 // 8))):
        image.paste(colour, (*place, place[0] + size // 2, place[1] + size * 3 // 8))
    return image


def near(image: Image.Image, place: tuple[int, int], colour: tuple[int, int, int], tolerance: int = 4) -> bool:
    found = image.getpixel(place)
    assert isinstance(found, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(found, colour, strict=True))

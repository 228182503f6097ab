"""Words on a picture: on a dark band, or on the picture itself."""

from __future__ import annotations

import importlib.util
import math
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont

from llmi_env.tools.edit.operation import Operation, refusal

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=32)
def _font(size: int) -> Font:
    """DejaVu Sans as matplotlib ships it (Latin, Greek, Cyrillic and more), laid out by Pillow alone: the same on every machine."""
    found = importlib.util.find_spec("matplotlib")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)


def _wrapped(text: str, font: Font, width: float) -> str:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for char in word:
            if lines[-1] and font.getlength(lines[-1] + char) > width:
                lines.append("")
            lines[-1] += char
    return "\n".join(lines)


def caption(image: Image.Image, operation: Operation) -> Image.Image:
    """Words on a dark band at the bottom or top, or with an outline in a corner or the centre: readable on any picture.

    Raises:
        Refused: not even small letters leave room for the words.
    """
    return _placed(image, operation) if operation.place else _band(image, operation)


def _band(image: Image.Image, operation: Operation) -> Image.Image:
    """The size of the letters shrinks until the band fits into half of the picture."""
    size = _first_size(image, operation)
    while True:
        margin = max(2, size // 2)
        words, box = _laid_out(image, operation.text, size, image.width - 2 * margin, "center")
        left, top, right, bottom = box
        band = math.ceil(bottom - top) + 2 * margin
        if band <= image.height / 2 and right - left <= image.width:
            break
        size = _smaller(image, size)
    y = 0 if operation.top else image.height - band
    ink = operation.colour or "white"
    paper = "white" if _is_dark(ink) else "black"
    result = image.copy()
    plain = Image.blend(image.crop((0, y, image.width, y + band)), Image.new("RGB", (image.width, band), paper), 0.72)
    result.paste(plain, (0, y))
    place = ((image.width - (right - left)) / 2 - left, y + margin - top)
    ImageDraw.Draw(result).multiline_text(place, words, ink, font=_font(size), align="center", spacing=size // 4)
    return result


def _placed(image: Image.Image, operation: Operation) -> Image.Image:
    """The size of the letters shrinks until they take half of the picture's width or height at most in a corner, most of it in the centre."""
    share = 0.85 if operation.place == "centre" else 0.5
    across = "left" if "left" in operation.place else "right" if "right" in operation.place else "center"
    size = _first_size(image, operation)
    while True:
        margin, stroke = max(2, size // 2), max(1, size // 12)
        room = (image.width - 2 * margin) * (share if share > 0.5 else 0.6)
        words, box = _laid_out(image, operation.text, size, room, across)
        left, top, right, bottom = box
        if right - left <= max(room, 1) and bottom - top <= image.height * share - margin:
            break
        size = _smaller(image, size)
    x = {"left": margin, "center": (image.width - (right - left)) / 2, "right": image.width - margin - (right - left)}[
        across
    ]
    y: float = (image.height - (bottom - top)) / 2
    if operation.place.startswith("top"):
        y = margin
    elif operation.place.startswith("bottom"):
        y = image.height - margin - (bottom - top)
    ink = operation.colour or "white"
    result = image.copy()
    ImageDraw.Draw(result).multiline_text(
        (round(x - left), round(y - top)), words, ink, font=_font(size), align=across, spacing=size // 4,
        stroke_width=stroke, stroke_fill="white" if _is_dark(ink) else "black",
    )  # fmt: skip
    return result


def _first_size(image: Image.Image, operation: Operation) -> int:
    return max(10, round(min(image.width / 16, image.height / 9) * (operation.amount or 1)))


def _smaller(image: Image.Image, size: int) -> int:
    if size <= 8:
        raise refusal(f"the caption does not fit on a picture of {image.width} x {image.height} pixels")
    return max(8, int(size * 0.85))


def _laid_out(
    image: Image.Image, text: str, size: int, width: float, align: str
) -> tuple[str, tuple[float, float, float, float]]:
    """The text broken into lines of at most `width` pixels, and the box that it fills: left, top, right, bottom."""
    font = _font(size)
    words = _wrapped(text, font, width)
    draw = ImageDraw.Draw(image)
    return words, draw.multiline_textbbox((0, 0), words, font=font, align=align, spacing=size // 4)


def _is_dark(colour: str) -> bool:
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return 299 * red + 587 * green + 114 * blue < 90_000

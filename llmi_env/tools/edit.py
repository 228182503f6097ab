"""The edit tool: eight instruction edits on the CPU, from plain English, without any model.

`parse_instruction` (see `edit_language`) turns the words into operations, `apply` carries them out with Pillow. Same picture and
instruction give the same bytes. An instruction that is not understood is refused with a list of what is.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from llmi_env.document import Picture
from llmi_env.errors import BadParams, ConfigError
from llmi_env.tools.base import EDIT, ToolContext, ToolSpec
from llmi_env.tools.edit_language import EXAMPLES, Kind, Operation, parse_instruction, refusal

__all__ = ["EXAMPLES", "EditTool", "Operation", "apply", "parse_instruction"]

MAX_PIXELS = 4_000_000

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class EditTool:
    """Edits one picture as an instruction says.

    Args:
        max_pixels: size of the result at most; a larger one is scaled down.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        if not isinstance(max_pixels, int) or max_pixels < 1:
            raise ConfigError(f"edit tool: max_pixels must be a positive whole number, got {max_pixels!r}")
        self.max_pixels = max_pixels

    @property
    def spec(self) -> ToolSpec:
        """What the policy is told."""
        return EDIT

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Edit the picture that the call points at.

        Raises:
            BadParams: no picture, or an instruction that is no string.
            Refused: the instruction is not understood; the message lists what is.
        """
        started = time.monotonic()
        prompt = params.get("prompt")
        if not isinstance(prompt, str):
            raise BadParams("prompt must say in words what to change")
        if not context.pictures:
            raise BadParams("an edit needs a picture: img_index must point at an input or an earlier figure")
        source = context.pictures[0]
        operations = parse_instruction(prompt)
        image = await asyncio.to_thread(apply, source.image, operations, self.max_pixels)
        return Picture(image, replace(source.provenance, backend="pillow", seed=None), time.monotonic() - started)

    async def aclose(self) -> None:
        """Nothing is held."""


def apply(image: Image.Image, operations: Sequence[Operation], max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Carry out `operations` in order; returns a new RGB picture of at most `max_pixels`. Transparent parts become white."""
    result = _within(_opaque(image), max_pixels)
    for operation in operations:
        result = _within(_EDITS[operation.kind](result, operation), max_pixels)
    return result


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image.copy()
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(layer, mask=layer.getchannel("A"))
        return flat
    return image.convert("RGB")


def _within(image: Image.Image, max_pixels: int) -> Image.Image:
    if image.width * image.height <= max_pixels:
        return image
    scale = math.sqrt(max_pixels / (image.width * image.height))
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _grayscale(image: Image.Image, _: Operation) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def _brightness(image: Image.Image, operation: Operation) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(operation.amount)


def _tint(image: Image.Image, operation: Operation) -> Image.Image:
    gray = ImageOps.grayscale(image)
    if operation.text == "sepia":
        toned = ImageOps.colorize(gray, black="#1c1008", mid="#9a7850", white="#fff2d8")
        return Image.blend(image, toned, min(1.0, operation.amount + 0.5))
    if operation.text in ("warm", "cool"):
        sign = 1 if operation.text == "warm" else -1
        return _scaled(image, (1 + 0.4 * sign * operation.amount, 1.0, 1 - 0.6 * sign * operation.amount))
    red, green, blue = ImageColor.getrgb(operation.text)[:3]
    return Image.blend(
        image, ImageOps.colorize(gray, black="black", mid=(red, green, blue), white="white"), operation.amount
    )


def _scaled(image: Image.Image, factors: tuple[float, float, float]) -> Image.Image:
    table = [min(255, round(value * factor)) for factor in factors for value in range(256)]
    return image.point(table)


def _blur(image: Image.Image, operation: Operation) -> Image.Image:
    shorter = min(image.size)
    radius = operation.amount if operation.text == "px" else operation.amount * shorter
    return image.filter(ImageFilter.GaussianBlur(min(max(radius, 1.0), max(1.0, shorter / 4))))


def _sharpen(image: Image.Image, operation: Operation) -> Image.Image:
    return image.filter(ImageFilter.UnsharpMask(radius=2, percent=round(100 * operation.amount), threshold=2))


def _rotate(image: Image.Image, operation: Operation) -> Image.Image:
    degrees = operation.amount % 360
    quarters = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
    if degrees in quarters:
        return image.transpose(quarters[int(degrees)])
    return image.rotate(-degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white") if degrees else image


def _flip(image: Image.Image, operation: Operation) -> Image.Image:
    return ImageOps.mirror(image) if operation.text == "horizontal" else ImageOps.flip(image)


def _crop(image: Image.Image, operation: Operation) -> Image.Image:
    width, height, share = image.width, image.height, operation.amount
    if operation.text == "aspect":
        wide, high = min(float(width), height * share), min(float(height), width / share)
        return _cut(image, (width - wide) / 2, (height - high) / 2, wide, high)
    if operation.text == "centre":
        return _cut(image, width * (1 - share) / 2, height * (1 - share) / 2, width * share, height * share)
    sides = operation.text.split("-")
    wide = width * share if "left" in sides or "right" in sides else width
    high = height * share if "top" in sides or "bottom" in sides else height
    return _cut(image, width - wide if "right" in sides else 0, height - high if "bottom" in sides else 0, wide, high)


def _cut(image: Image.Image, left: float, top: float, width: float, height: float) -> Image.Image:
    x, y = min(round(left), image.width - 1), min(round(top), image.height - 1)
    return image.crop((x, y, min(image.width, x + max(1, round(width))), min(image.height, y + max(1, round(height)))))


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


def _caption(image: Image.Image, operation: Operation) -> Image.Image:
    """White words on a dark band: readable on any picture. The size shrinks until the band fits into half of it."""
    size = max(10, round(min(image.width / 16, image.height / 9)))
    while True:
        font = _font(size)
        margin = max(2, size // 2)
        words = _wrapped(operation.text, font, image.width - 2 * margin)
        draw = ImageDraw.Draw(image)
        left, top, right, bottom = draw.multiline_textbbox((0, 0), words, font=font, align="center", spacing=size // 4)
        band = math.ceil(bottom - top) + 2 * margin
        if band <= image.height / 2 and right - left <= image.width:
            break
        if size <= 8:
            raise refusal(f"the caption does not fit on a picture of {image.width} x {image.height} pixels")
        size = max(8, int(size * 0.85))
    y = 0 if operation.top else image.height - band
    result = image.copy()
    dark = Image.blend(image.crop((0, y, image.width, y + band)), Image.new("RGB", (image.width, band), "black"), 0.72)
    result.paste(dark, (0, y))
    place = ((image.width - (right - left)) / 2 - left, y + margin - top)
    ImageDraw.Draw(result).multiline_text(place, words, "white", font=font, align="center", spacing=size // 4)
    return result


_EDITS: dict[Kind, Callable[[Image.Image, Operation], Image.Image]] = {
    "grayscale": _grayscale,
    "brightness": _brightness,
    "tint": _tint,
    "blur": _blur,
    "sharpen": _sharpen,
    "rotate": _rotate,
    "flip": _flip,
    "crop": _crop,
    "caption": _caption,
}

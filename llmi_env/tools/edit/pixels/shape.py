"""Edits of a picture's size and outline: turning, cropping, repeating, and what is laid around it.

A step may ask for a picture far larger than the result may be ("a border" around one that is a pixel high and millions wide): it is made
smaller first.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageColor, ImageFilter, ImageOps

from llmi_env.tools.edit.operation import Operation

CANVAS = 16_000_000
"""Pixels of a step's result, before it is brought to the size that the tool allows; a few times as many where a side is one pixel."""
TURNED = 64_000_000
"""The same for a rotation by an odd angle."""


def scaled(image: Image.Image, scale: float) -> Image.Image:
    """The picture made larger or smaller by a factor, a pixel wide and high at least."""
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _roomy(width: float, height: float, limit: int) -> float:
    """The factor at which `width` by `height` keeps to `limit` pixels."""
    return min(1.0, math.sqrt(limit / (width * height)))


def rotate(image: Image.Image, operation: Operation) -> Image.Image:
    """Clockwise by degrees; the corners that come free are white."""
    degrees = operation.amount % 360
    quarters = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
    if degrees in quarters:
        return image.transpose(quarters[int(degrees)])
    if not degrees:
        return image
    side = image.width + image.height  # the result is at most half its square
    room = _roomy(side, side / 2, TURNED)
    if room < 1:
        image = scaled(image, room)
    return image.rotate(-degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white")


def flip(image: Image.Image, operation: Operation) -> Image.Image:
    """Mirrored left to right, or top to bottom."""
    return ImageOps.mirror(image) if operation.text == "horizontal" else ImageOps.flip(image)


def crop(image: Image.Image, operation: Operation) -> Image.Image:
    """A side, a corner, the centre, or the largest part of an aspect."""
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


def resize(image: Image.Image, operation: Operation) -> Image.Image:
    """By a factor, to a width, height or longer side, or to `width x height` (cut at the sides rather than distorted)."""
    width, height = image.size
    if "x" in operation.text and operation.text[0].isdigit():
        wide, high = (int(side) for side in operation.text.split("x"))
        room = _roomy(wide, high, CANVAS)
        return ImageOps.fit(image, (max(1, int(wide * room)), max(1, int(high * room))), Image.Resampling.LANCZOS)
    sides = {"width": width, "height": height, "longest": max(width, height), "scale": 1}
    scale = operation.amount / sides[operation.text]
    scale *= _roomy(width * scale, height * scale, CANVAS)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def tile(image: Image.Image, operation: Operation) -> Image.Image:
    """The picture repeated in columns and rows."""
    columns, rows = (int(count) for count in operation.text.split("x"))
    room = _roomy(image.width * columns, image.height * rows, CANVAS)
    if room < 1:
        image = scaled(image, room)
    result = Image.new("RGB", (image.width * columns, image.height * rows))
    for number in range(columns * rows):
        result.paste(image, (number % columns * image.width, number // columns * image.height))
    return result


def symmetry(image: Image.Image, operation: Operation) -> Image.Image:
    """One half and its mirror image in place of the other; `kaleidoscope`: the top left quarter four times."""
    result = image.copy()
    for side in ("left", "top") if operation.text == "kaleidoscope" else (operation.text,):
        width, height = result.size
        if side in ("left", "right"):
            half = result.crop((0, 0, width // 2, height) if side == "left" else (width - width // 2, 0, width, height))
            result.paste(ImageOps.mirror(half), (width - width // 2 if side == "left" else 0, 0))
        else:
            half = result.crop(
                (0, 0, width, height // 2) if side == "top" else (0, height - height // 2, width, height)
            )
            result.paste(ImageOps.flip(half), (0, height - height // 2 if side == "top" else 0))
    return result


def border(image: Image.Image, operation: Operation) -> Image.Image:
    """A frame around the picture; `polaroid`: white, and wider below."""
    wide = operation.amount if operation.text == "px" else operation.amount * min(image.size)
    image, wide = _with_margin(image, wide, 4 if operation.text == "polaroid" else 2)
    below = 3 * wide if operation.text == "polaroid" else wide
    result = _sheet((image.width + 2 * wide, image.height + wide + below), operation.colour)
    result.paste(image, (wide, wide))
    return result


def _with_margin(image: Image.Image, margin: float, margins: int) -> tuple[Image.Image, int]:
    """The picture and a margin in pixels such that picture and so many margins keep to the canvas."""
    room = _roomy(image.width + margins * margin, image.height + margins * margin, CANVAS)
    return (scaled(image, room) if room < 1 else image), max(1, round(margin * room))


def _sheet(size: tuple[int, int], colour: str) -> Image.Image:
    return Image.new("RGB", size, ImageColor.getrgb(colour))


def pad(image: Image.Image, operation: Operation) -> Image.Image:
    """Bars at two sides up to an aspect."""
    width, height = (
        max(float(image.width), image.height * operation.amount),
        max(image.height, image.width / operation.amount),
    )
    room = _roomy(width, height, CANVAS)
    if room < 1:
        image = scaled(image, room)
    size = (max(image.width, round(width * room)), max(image.height, round(height * room)))
    result = _sheet(size, operation.colour)
    result.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return result


def corners(image: Image.Image, operation: Operation) -> Image.Image:
    """Rounded corners on `colour`; a `circle` is cut from the middle, an `oval` from the whole."""
    if operation.text == "circle":
        side = min(image.size)
        image = _cut(image, (image.width - side) / 2, (image.height - side) / 2, side, side)
    return Image.composite(image, _sheet(image.size, operation.colour), outline(image.size, operation))


def outline(size: tuple[int, int], operation: Operation) -> Image.Image:
    """What `corners` leaves of a picture of `size`, as a mask."""
    width, height = size
    if operation.text in ("circle", "oval"):
        return _disc(width, height)
    radius = operation.amount if operation.text == "px" else operation.amount * min(size)
    radius = max(1, min(round(radius), min(size) // 2))
    disc = _disc(2 * radius, 2 * radius)
    mask = Image.new("L", size, 255)
    for left in (True, False):
        for top in (True, False):
            x, y = 0 if left else radius, 0 if top else radius
            mask.paste(
                disc.crop((x, y, x + radius, y + radius)),
                (0 if left else width - radius, 0 if top else height - radius),
            )
    return mask


def _disc(width: int, height: int) -> Image.Image:
    """A mask of the ellipse that fills `width` by `height`; its rim is smoothed by four points a side in each pixel."""
    covered = np.zeros((height, width), np.int32)
    within = (4 * width) ** 2 * (4 * height) ** 2
    for x in range(4):
        across = (8 * np.arange(width, dtype=np.int64) + 2 * x + 1 - 4 * width) ** 2 * (4 * height) ** 2
        for y in range(4):
            down = (8 * np.arange(height, dtype=np.int64) + 2 * y + 1 - 4 * height) ** 2 * (4 * width) ** 2
            covered += across[None, :] + down[:, None] <= within
    return Image.fromarray((covered * 255 // 16).astype(np.uint8))


def shadow(image: Image.Image, operation: Operation, silhouette: Image.Image | None = None) -> Image.Image:
    """A soft shadow to the right below, on `colour`; `silhouette` is a mask of the picture's outline where it is no rectangle."""
    before = image.size
    image, margin = _with_margin(image, 0.08 * min(image.size), 2)
    if silhouette is None or image.size != before:
        silhouette = Image.new("L", image.size, 255)
    size, offset = (image.width + 2 * margin, image.height + 2 * margin), max(1, margin // 3)
    cast = Image.new("L", size)
    cast.paste(
        silhouette.point([value * round(100 * operation.amount) // 100 for value in range(256)]), (margin + offset,) * 2
    )
    cast = cast.filter(ImageFilter.GaussianBlur(max(1.0, margin / 3)))
    result = _sheet(size, operation.colour)
    result.paste((0, 0, 0), mask=cast)
    result.paste(image, (margin, margin), silhouette)
    return result

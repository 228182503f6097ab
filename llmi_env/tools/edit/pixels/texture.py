"""Edits of each pixel by its surroundings or its place: sharpness, grain, outlines, a vignette."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageColor, ImageFilter, ImageOps

from llmi_env.tools.edit.operation import Operation


def blur(image: Image.Image, operation: Operation) -> Image.Image:
    """A Gaussian blur, by a share of the shorter side or by pixels."""
    shorter = min(image.size)
    radius = operation.amount if operation.text == "px" else operation.amount * shorter
    return image.filter(ImageFilter.GaussianBlur(min(max(radius, 1.0), max(1.0, shorter / 4))))


def sharpen(image: Image.Image, operation: Operation) -> Image.Image:
    """An unsharp mask."""
    return image.filter(ImageFilter.UnsharpMask(radius=2, percent=round(100 * operation.amount), threshold=2))


def denoise(image: Image.Image, operation: Operation) -> Image.Image:
    """The median of the pixels around each, `amount` on a side."""
    return image.filter(ImageFilter.MedianFilter(round(operation.amount)))


def noise(image: Image.Image, operation: Operation) -> Image.Image:
    """Grain laid over the picture, fixed by its size; `colour` gives each channel a grain of its own."""
    width, height = image.size
    size = 1 + min(width, height) // 700  # a grain that does not vanish in a large picture
    rows, columns, channels = -(-height // size), -(-width // size), 3 if operation.text == "colour" else 1
    grain = _bell(rows * columns * channels).reshape(rows, columns, channels) * round(50 * operation.amount) // 148
    grain = grain.repeat(size, axis=0)[:height].repeat(size, axis=1)[:, :width]
    return Image.fromarray(np.clip(np.asarray(image, np.int32) + grain, 0, 255).astype(np.uint8))


def _bell(count: int) -> np.ndarray:
    """`count` numbers around 0 with a spread of 148: sums of the four bytes of a hash of their index, the same for ever."""
    mixed = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed ^= mixed >> np.uint32(shift)
        mixed *= np.uint32(factor)
    mixed ^= mixed >> np.uint32(16)
    total = np.full(count, -510, np.int32)
    for shift in (0, 8, 16, 24):
        total += (mixed >> np.uint32(shift) & np.uint32(255)).astype(np.int32)
    return total


def pixelate(image: Image.Image, operation: Operation) -> Image.Image:
    """Blocks of one colour, by a share of the shorter side or by pixels."""
    block = operation.amount if operation.text == "px" else operation.amount * min(image.size)
    block = max(round(block), 2)
    few = image.resize((max(1, image.width // block), max(1, image.height // block)), Image.Resampling.BOX)
    return few.resize(image.size, Image.Resampling.NEAREST)


def emboss(image: Image.Image, operation: Operation) -> Image.Image:
    """A gray relief, lit from the left above."""
    around = _surroundings(ImageOps.grayscale(image))
    slope = 2 * (around(1, 1) - around(-1, -1)) + around(0, 1) - around(0, -1) + around(1, 0) - around(-1, 0)
    return Image.fromarray(np.clip(128 + slope * round(50 * operation.amount) // 100, 0, 255).astype(np.uint8)).convert(
        "RGB"
    )


def _surroundings(gray: Image.Image) -> Callable[[int, int], np.ndarray]:
    """The picture's values moved by rows and columns (-1 to 1): each pixel's neighbours; the rim is its own neighbour."""
    padded = np.pad(np.asarray(gray, np.int32), 1, mode="edge")
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    return lambda row, column: padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]


def sketch(image: Image.Image, operation: Operation) -> Image.Image:
    """Dark strokes on white paper; `edges`: light lines on black."""
    gray = ImageOps.grayscale(image)
    if operation.text == "edges":
        return _edges(gray, operation.amount).convert("RGB")
    around = gray.filter(ImageFilter.GaussianBlur(max(2.0, min(image.size) / 50)))
    light, paper = np.asarray(gray, np.int32), np.maximum(np.asarray(around, np.int32), 1)
    # What is as light as its surroundings becomes paper; what is darker, a stroke.
    drawn = 255 - (255 - np.minimum(light * 255 // paper, 255)) * round(100 * operation.amount) // 100
    return Image.fromarray(np.clip(drawn, 0, 255).astype(np.uint8)).convert("RGB")


def _edges(gray: Image.Image, strength: float) -> Image.Image:
    around = _surroundings(gray.filter(ImageFilter.GaussianBlur(1)))
    across = sum((2 - abs(row)) * (around(row, 1) - around(row, -1)) for row in (-1, 0, 1))
    down = sum((2 - abs(column)) * (around(1, column) - around(-1, column)) for column in (-1, 0, 1))
    slope = np.abs(across) + np.abs(down)
    return Image.fromarray(np.clip(slope * round(100 * strength) // 200, 0, 255).astype(np.uint8))


def vignette(image: Image.Image, operation: Operation) -> Image.Image:
    """Towards `colour` at the corners, by `amount` there."""
    width, height = image.size
    across = np.abs(2 * np.arange(width, dtype=np.int64) + 1 - width) * 1024 // width
    down = np.abs(2 * np.arange(height, dtype=np.int64) + 1 - height) * 1024 // height
    away = (
        across[None, :] ** 2 + down[:, None] ** 2
    ) >> 11  # 0 in the middle, 512 at the middle of a side, 1024 at a corner
    ramp = np.clip(away - 250, 0, 640) * 256 // 640
    share = ramp * (512 - ramp) // 256 * round(255 * operation.amount) // 256
    mask = Image.fromarray(np.clip(share, 0, 255).astype(np.uint8))
    return Image.composite(Image.new("RGB", image.size, ImageColor.getrgb(operation.colour)), image, mask)

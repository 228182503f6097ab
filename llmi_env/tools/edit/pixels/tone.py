"""Edits of each pixel by its own colour: light, contrast, tints, hues."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import numpy as np
from PIL import Image, ImageColor, ImageEnhance, ImageOps

from llmi_env.tools.edit.operation import Operation, refusal

_TURN = 1536  # steps of a full turn of the hue: 256 between a primary and the next secondary

HUES: dict[str, tuple[int, int]] = {
    "red": (-4, 18), "orange": (28, 12), "yellow": (54, 14), "green": (115, 48), "cyan": (180, 18), "blue": (222, 30),
    "purple": (280, 24), "pink": (325, 24),
}  # fmt: skip
"""Colours that can be picked out of a picture: hue in degrees, and how far it reaches to each side."""

_FADE = 14  # degrees beyond that reach over which a change of one hue fades out


def grayscale(image: Image.Image, operation: Operation) -> Image.Image:
    """Without colour; all but one colour where `text` names it."""
    gray = ImageOps.grayscale(image).convert("RGB")
    return Image.composite(image, gray, _of_hue(image, operation.text)) if operation.text else gray


def brightness(image: Image.Image, operation: Operation) -> Image.Image:
    """Darker or lighter by a factor."""
    return ImageEnhance.Brightness(image).enhance(operation.amount)


def contrast(image: Image.Image, operation: Operation) -> Image.Image:
    """Away from the mean brightness by a factor; `auto` uses the full range, `equalize` all of it alike."""
    if operation.text == "auto":
        return ImageOps.autocontrast(image, cutoff=1, preserve_tone=True)
    if operation.text == "equalize":
        light, *colour = image.convert("YCbCr").split()
        return Image.merge("YCbCr", (ImageOps.equalize(light), *colour)).convert("RGB")
    counts = ImageOps.grayscale(image).histogram()
    mean = sum(value * count for value, count in enumerate(counts)) // sum(counts)
    percent = round(100 * operation.amount)
    return _by_table(image, [mean + _part((value - mean) * percent, 100) for value in range(256)])


def saturation(image: Image.Image, operation: Operation) -> Image.Image:
    """Away from gray by a factor."""
    pixels = np.asarray(image, np.int32)
    gray = (pixels @ np.array([299, 587, 114], np.int32) // 1000)[..., None]
    return _picture(gray + ((pixels - gray) * round(100 * operation.amount) + 50) // 100)


def tint(image: Image.Image, operation: Operation) -> Image.Image:
    """Towards one colour; `sepia`, `warm` and `cool` are looks of their own."""
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


def invert(image: Image.Image, _: Operation) -> Image.Image:
    """The negative."""
    return ImageOps.invert(image)


def solarize(image: Image.Image, operation: Operation) -> Image.Image:
    """The negative of all that is lighter than `amount`."""
    return ImageOps.solarize(image, round(operation.amount))


def posterize(image: Image.Image, operation: Operation) -> Image.Image:
    """Few levels of each channel; `palette`: few colours; `dither` and `threshold`: black and white alone."""
    if operation.text == "palette":
        few = image.quantize(round(operation.amount), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        return few.convert("RGB")
    if operation.text == "dither":
        return image.convert("1").convert("RGB")
    if operation.text == "threshold":
        gray = ImageOps.autocontrast(ImageOps.grayscale(image), cutoff=1)
        return gray.point([0] * 128 + [255] * 128).convert("RGB")
    levels = round(operation.amount)
    return _by_table(image, [value * levels // 256 * 255 // (levels - 1) for value in range(256)])


def gamma(image: Image.Image, operation: Operation) -> Image.Image:
    """The middle tones by an exponent; with `shadows` or `highlights` those alone, up (above 0) or down."""
    if operation.text == "shadows":
        return _by_table(image, [_lifted(value, operation.amount) for value in range(256)])
    if operation.text == "highlights":
        return _by_table(image, [255 - _lifted(255 - value, -operation.amount) for value in range(256)])
    return _by_table(image, list(_gamma_table(operation.amount)))


@lru_cache(maxsize=64)
def _gamma_table(exponent: float) -> tuple[int, ...]:
    inverse = 1 / Decimal(repr(exponent))
    return tuple(round(255 * (Decimal(value) / 255) ** inverse) if value else 0 for value in range(256))


def _lifted(value: int, share: float) -> int:
    """A dark value moved up (share above 0) or down, most at a quarter of the range, without a step or a turn in the curve."""
    steps = round(100 * share) * (3 if share > 0 else 1)
    return value + _part(steps * value * (255 - value) ** 3, 100 * 255**3)


def hue(image: Image.Image, operation: Operation) -> Image.Image:
    """Turned by degrees; `swap` exchanges two channels; a colour's name in `text` becomes `colour`."""
    if operation.text == "swap":
        one, other = operation.colour.split("-")
        bands = dict(zip(("red", "green", "blue"), image.split(), strict=True))
        bands[one], bands[other] = bands[other], bands[one]
        return Image.merge("RGB", tuple(bands.values()))
    angle, chroma, value = _hsv(np.asarray(image, np.int32))
    if not operation.text:
        return _picture(_rgb((angle + _steps(operation.amount)) % _TURN, chroma, value))
    target = np.array(ImageColor.getrgb(operation.colour)[:3], np.int32)
    (new_angle, new_chroma, new_value) = (int(part) for part in _hsv(target))
    if new_chroma < 16:  # black, gray or white: the colour goes, the light comes half way
        chroma = chroma // 16
        value = value + (new_value - value) * 3 // 4
    else:
        chroma = chroma * new_chroma // max(new_value, 1) * new_value // 255
        value = value * (255 + new_value) // 510
    changed = _picture(_rgb(np.full_like(angle, new_angle), np.minimum(chroma, value), value))
    return Image.composite(changed, image, _of_hue(image, operation.text))


def _of_hue(image: Image.Image, name: str) -> Image.Image:
    """A mask of what has the colour called `name`, with soft limits: gray and nearly black parts have none.

    Raises:
        Refused: so to say nothing has it.
    """
    centre, reach = HUES[name]
    angle, chroma, value = _hsv(np.asarray(image, np.int32))
    off = np.abs((angle - _steps(centre) + _TURN // 2) % _TURN - _TURN // 2)
    near = (_steps(reach + _FADE) - off) * 255 // _steps(_FADE)
    vivid = (chroma * 255 // np.maximum(value, 1) - 50) * 255 // 50
    lit = (value - 30) * 255 // 30
    mask = np.clip(np.minimum(np.minimum(near, vivid), lit), 0, 255).astype(np.uint8)
    if int(np.count_nonzero(mask > 127)) * 2000 < mask.size:
        raise refusal(f"there is nothing {name} in the picture")
    return Image.fromarray(mask)


def _steps(degrees: float) -> int:
    return round(degrees * _TURN / 360)


def _hsv(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue (0 to 1535), chroma and value (0 to 255) of `(..., 3)` whole numbers."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    value = pixels.max(axis=-1)
    chroma = value - pixels.min(axis=-1)
    by = np.maximum(chroma, 1)
    angle = np.where(
        value == red,
        (green - blue) * 256 // by,
        np.where(value == green, 512 + (blue - red) * 256 // by, 1024 + (red - green) * 256 // by),
    )
    return angle % _TURN, chroma, value


def _rgb(angle: np.ndarray, chroma: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The way back from `_hsv`, as `(..., 3)`."""
    channels = []
    for offset in (0, 1024, 512):  # red is full around 0, green around 512, blue around 1024
        away = np.abs((angle + offset + _TURN // 2) % _TURN - _TURN // 2)
        channels.append(value - chroma * np.clip(away - 256, 0, 256) // 256)
    return np.stack(channels, axis=-1)


def _by_table(image: Image.Image, table: list[int]) -> Image.Image:
    return image.point([min(max(value, 0), 255) for value in table] * 3)


def _part(number: int, by: int) -> int:
    """`number / by` to the nearest whole number, halves up: whole numbers all the way."""
    return (2 * number + by) // (2 * by)


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

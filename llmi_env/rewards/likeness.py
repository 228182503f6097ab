"""Whether a picture shows anything, and whether two look the same, from their pixels alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llmi_env.document import Picture

_SMALLEST_SIDE = 16
_FLAT_RANGE = 8
_GRID = 48
_NOTICEABLE = 24
_REMEMBERED = 1024


def shows_something(picture: Picture) -> bool:
    """Whether a picture is more than one flat colour and larger than an icon's pixel: a blank one is no illustration."""
    image = picture.image
    if min(image.size) < _SMALLEST_SIDE:
        return False
    flat: Image.Image = image.convert("RGBA") if image.mode in ("P", "PA", "LA") else image
    bands = flat.getextrema()
    pairs = bands if isinstance(bands[0], tuple) else (bands,)
    ranges = [float(high) - float(low) for low, high in pairs]
    return max(ranges) > _FLAT_RANGE


@lru_cache(maxsize=_REMEMBERED)
def appearance(picture: Picture) -> NDArray[np.int16]:
    """The picture at a glance: mean colours of a grid, shape (48, 48, 3), in 0..255."""
    image = picture.image.convert("RGB").resize((_GRID, _GRID), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.int16)


def alike(one: NDArray[np.int16], other: NDArray[np.int16]) -> bool:
    """Whether two appearances differ nowhere by more than a shade: the same picture for a reader."""
    return int(np.abs(one - other).max()) <= _NOTICEABLE

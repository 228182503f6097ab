"""From a file that may be anything to a small picture of the corpus, or the reason why not."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from pathlib import Path

from PIL import Image

from llmi_env.tools.web.decoding import NotAPicture, decode_picture

__all__ = ["MAX_BYTES", "MAX_PIXELS", "MIN_SIDE", "SIDE", "SUFFIXES", "bounded", "reduced", "store"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""Endings that are taken for a picture's. What a file is, its bytes decide; a TIFF is named among those left out."""
SIDE = 640
"""Longest side, in pixels, of a picture that was taken in."""
MAX_PIXELS = 50_000_000
"""Pictures with more pixels are not decoded."""
MAX_BYTES = 100_000_000
"""Files larger than this are not read."""
MIN_SIDE = 16
"""Pictures with a shorter side show nothing."""
_ORDINARY = 16_000_000
_one_large = threading.Lock()


def bounded(path: Path) -> bytes:
    """The bytes of a plain file.

    Raises:
        ValueError: too large, or a device, a pipe or the like.
        OSError: it cannot be read.
    """
    # Without waiting, so that a pipe that somebody left in the folder holds nobody up.
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("not a plain file")
        if about.st_size > MAX_BYTES:
            raise ValueError(f"{about.st_size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}")
        return file.read(MAX_BYTES)


def reduced(data: bytes) -> Image.Image:
    """The picture in `data`: RGB, upright, transparency on white, its longest side at most `SIDE`.

    Pictures of more than 16 million pixels are decoded one at a time: memory for one (about 16 bytes a pixel) is all they may take.

    Raises:
        ValueError: not a picture that is let in; says why.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data) / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}")
    try:
        image = decode_picture(data, pixels=min(_ORDINARY, MAX_PIXELS))
    except NotAPicture:
        with _one_large:
            image = decode_picture(data, pixels=MAX_PIXELS)
    if min(image.size) < MIN_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels, too small to show anything")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


def store(image: Image.Image, target: Path, scratch: Path) -> str:
    """Write `image` as a WebP file, whole or not at all; returns the file's SHA-256.

    Args:
        image: what `reduced` gave.
        target: where it goes; its folder is made.
        scratch: a file of this thread's own on the same disk.
    """
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch.write_bytes(buffer.getvalue())
    scratch.replace(target)
    return hashlib.sha256(buffer.getvalue()).hexdigest()

"""Pictures as they are sent to a model: of bounded side and weight."""

from __future__ import annotations

import base64
import io
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any, Protocol

from PIL import Image

__all__ = ["DataUrls", "Shown", "data_url"]

_MANY_COLOURS = 4096
_QUALITIES = (90, 75, 55)
_SMALLEST = 64


class Shown(Protocol):
    """What is known here of a picture (see `llmi_env.document.Picture`)."""

    @property
    def image(self) -> Image.Image:
        """What is seen."""
        ...

    @property
    def digest(self) -> str:
        """Of what is seen."""
        ...


class DataUrls:
    """Pictures as `data:` URLs, each encoded once for all the questions about it. Used from many threads.

    Args:
        max_side: longest side in pixels.
        max_bytes: bytes of a file at most, before base64.
        most: pictures that are held; beyond it those used longest ago go.
    """

    def __init__(self, max_side: int, max_bytes: int, most: int = 64) -> None:
        self._options = (max_side, max_bytes, most)
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Future[str]] = OrderedDict()

    def of(self, picture: Shown) -> str:
        """The URL of a picture; waits where another thread is encoding it."""
        max_side, max_bytes, most = self._options
        digest = picture.digest
        with self._lock:
            found = self._held.get(digest)
            url = found or self._held.setdefault(digest, Future())
            self._held.move_to_end(digest)
            while len(self._held) > most:
                self._held.popitem(last=False)
        if found is None:
            try:
                url.set_result(data_url(picture, max_side, max_bytes))
            except BaseException as error:
                url.set_exception(error)
                with self._lock:
                    self._held.pop(digest, None)
        return url.result()

    def ready(self, picture: Shown) -> bool:
        """Whether `of` has nothing to encode or to wait for; it may have by then, where other pictures came between."""
        with self._lock:
            held = self._held.get(picture.digest)
        return held is not None and held.done()

    def __reduce__(self) -> tuple[Any, ...]:
        return DataUrls, self._options


def data_url(picture: Shown, max_side: int, max_bytes: int) -> str:
    """A picture as a `data:` URL, transparency laid on white; the same picture always gives the same URL.

    Charts and drawings go as PNG, which keeps lettering sharp; photographs, and what would be too heavy, as JPEG. What is too heavy even
    then is made smaller.

    Args:
        picture: the picture.
        max_side: longest side in pixels.
        max_bytes: bytes of the file at most, before base64.
    """
    image = _flat(picture.image)
    side = max_side
    while True:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        if image.getcolors(_MANY_COLOURS) is not None and len(data := _encoded(image, "PNG")) <= max_bytes:
            return _url("png", data)
        for quality in _QUALITIES:
            data = _encoded(image, "JPEG", quality=quality)
            if len(data) <= max_bytes or (side <= _SMALLEST and quality == _QUALITIES[-1]):
                return _url("jpeg", data)
        side = max(max(image.size) // 2, _SMALLEST)


def _flat(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        laid = Image.new("RGBA", image.size, "white")
        laid.alpha_composite(image.convert("RGBA"))
        return laid.convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"

"""Pictures as they are sent to a judge: of bounded side and weight."""

from __future__ import annotations

import base64
import io

from PIL import Image

from llmi_env.document import Picture

_MANY_COLOURS = 4096
_QUALITIES = (90, 75, 55)
_SMALLEST = 64


def data_url(picture: Picture, max_side: int, max_bytes: int) -> str:
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

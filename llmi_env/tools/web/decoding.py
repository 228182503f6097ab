"""From bytes that may be anything to a plain RGB picture, or a reason why not.

What is claimed, and tested claim by claim: the bytes decide what they are, whatever a server called them; only PNG, JPEG, WebP, GIF and
BMP decoders are ever reached; a picture's size is read before anything is decoded; hostile files take neither more memory than the
pixels allowed nor more than some seconds; what comes back is pixels alone, upright, on white, without metadata; and
nothing but `NotAPicture` is raised.

What is not claimed: a fault in the decoders themselves (libjpeg, libwebp, zlib) is not walled off, they run in this process.
Colour profiles are not applied: their parser is one more decoder to attack, and most pictures on the web are sRGB.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from llmi_env.errors import LLMIError

__all__ = ["FORMATS", "NotAPicture", "decode_picture", "flatten", "picture_format"]

HEAD = 1024
"""Bytes after which `picture_format` knows what it can know."""
MAX_PARTS = 20_000
"""Chunks or segments of a file. A PNG of 12 MB in chunks of 1 KiB has fewer; files of empty ones keep a decoder busy for nothing."""
MAX_SCANS = 64
"""Passes of a progressive JPEG. Encoders write about 10; 60 bytes can ask for one more over all pixels, at 0.05 s for 40 million."""

# Made directly, without `Image.open`: no registry is asked, so that no other decoder can be reached, whatever else is imported.
# TIFF is left out: a dozen compressions inside one container, each a decoder of its own, for a format that no browser shows.
# AVIF is left out too: servers send it to those who say that they accept it.
_DECODERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
FORMATS = tuple(_DECODERS)
"""Names of the formats that are read."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND")
_JPEG_SEGMENTS = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDD, 0xE0, 0xEE})
"""Tables and frame headers, JFIF, and Adobe's segment, which says how colours are coded."""
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"II*\0", "a TIFF picture, which is not read here"),
    (0, b"MM\0*", "a TIFF picture, which is not read here"),
    (4, b"ftypavi", "an AVIF picture, which is not read here"),
    (4, b"ftyphei", "a HEIF picture, which is not read here"),
    (4, b"ftypmif1", "a HEIF picture, which is not read here"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture, which is not read here"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture, which is not read here"),
    (0, b"\0\0\1\0", "an icon, which is not read here"),
    (0, b"8BPS", "a Photoshop file"),
    (4, b"ftyp", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "compressed with gzip"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
)
_PAGE = "a web page (HTML)"


class NotAPicture(LLMIError, ValueError):
    """Raised when bytes are not a picture that can be let in.

    Attributes:
        reason: what they are instead, or what is wrong with them: one clause, without anything that the bytes say.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def page(self) -> bool:
        """Whether they are a web page."""
        return self.reason == f"it is {_PAGE}"


def picture_format(head: bytes) -> str:
    """Which of `FORMATS` the bytes that begin so are.

    Raises:
        NotAPicture: none of them; the reason says what they are instead, as far as that can be told.
    """
    if head.startswith(_PNG):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "BMP"
    raise NotAPicture(f"it is {_what_else(head[:HEAD])}")


def _what_else(head: bytes) -> str:
    if not head:
        return "empty"
    for place, magic, name in _OTHERS:
        if head.startswith(magic, place):
            return name
    folded = head.lower()
    if b"<svg" in folded:
        return "an SVG drawing, which is not read here"
    if b"<html" in folded or b"<!doctype html" in folded:
        return _PAGE
    # A character may be cut by the end of the head.
    text = head.decode("utf-8", "ignore")
    if len(text.encode()) > len(head) - 4 and all(
        char.isprintable() or char.isspace() for char in text.lstrip("\ufeff")
    ):
        return "text"
    return f"none of {', '.join(FORMATS)}"


def decode_picture(data: bytes, *, pixels: int = 40_000_000) -> Image.Image:
    """Decode a picture from outside: RGB, its first frame, upright, transparency on white, without metadata.

    Takes up to some seconds and about 16 bytes a pixel, so call it off the event loop.

    Args:
        data: the whole file.
        pixels: most pixels (width x height) that it may have.

    Raises:
        NotAPicture: another format, damaged, cut short, too many pixels, or made to keep a decoder busy.
    """
    name = picture_format(data)
    try:
        flat, orientation = _decode(_DECODERS[name], _PREPARE[name](data, pixels), pixels)
        return flat.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else flat
    except NotAPicture:
        raise
    except (
        Exception
    ) as error:  # hostile bytes make decoders raise nearly anything, SyntaxError and struct.error included
        cut = isinstance(error, EOFError) or any(
            word in str(error) for word in ("truncated", "Truncated", "not enough")
        )
        raise NotAPicture(f"its {name} data {'end too early' if cut else 'are damaged'}") from error


def _decode(decoder: Callable[[io.BytesIO], ImageFile.ImageFile], data: bytes, pixels: int) -> tuple[Image.Image, int]:
    """The picture as it is stored, and its orientation."""
    with decoder(io.BytesIO(data)) as image:
        _check_size(image.width, image.height, pixels)
        image.load()
        return flatten(image), _orientation(image)


def flatten(image: Image.Image) -> Image.Image:
    """A picture of any mode as RGB: transparency on white, 16 bits a pixel scaled down to 8, metadata left out."""
    if image.mode.startswith("I"):
        flat = _from_16_bits(image)
    elif image.mode == "La":
        flat = _on_white(image.convert("LA"))
    elif image.has_transparency_data:
        flat = _on_white(image)
    else:
        flat = image.convert("RGB")
    flat.info = {}
    return flat


def _on_white(image: Image.Image) -> Image.Image:
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    flat = Image.new("RGB", layer.size, "white")
    flat.paste(layer, mask=layer.getchannel("A"))
    return flat


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Pillow itself would cut such values off at 255."""
    values = np.asarray(image)
    grey = Image.fromarray((values.clip(0, 0xFFFF) >> 8).astype(np.uint8)).convert("RGB")
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.paste("white", mask=Image.fromarray(np.where(values == clear, 255, 0).astype(np.uint8)))
    return grey


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged metadata: the picture itself is none the worse for it
        return 1
    return value if isinstance(value, int) else 1


def _check_size(width: int, height: int, pixels: int) -> None:
    if width * height > pixels:
        raise NotAPicture(f"it has {width} x {height} pixels, more than {pixels}")


def _prepare_png(data: bytes, pixels: int) -> bytes:
    """The file without chunks that are not needed to see it: profiles and texts are unpacked on reading, and may be bombs."""
    kept, place = [_PNG], len(_PNG)
    for _ in range(MAX_PARTS):
        length = int.from_bytes(data[place : place + 4], "big")
        kind, end = data[place + 4 : place + 8], place + 12 + length
        if end > len(data):
            raise NotAPicture("its PNG data end too early")
        if kind in _PNG_CHUNKS:
            kept.append(data[place:end])
        if kind == b"IEND":
            return b"".join(kept)
        place = end
    raise NotAPicture(f"its PNG data are in more than {MAX_PARTS} parts")


def _prepare_jpeg(data: bytes, pixels: int) -> bytes:
    """The file with nothing before its pixels but what is needed to read them, and the orientation."""
    kept, place, exif = [data[:2]], 2, False
    for _ in range(MAX_PARTS):
        if place + 4 > len(data):
            raise NotAPicture("its JPEG data end too early")
        mark, kind = data[place], data[place + 1]
        if mark != 0xFF:
            raise NotAPicture("its JPEG data are damaged")
        if kind == 0xFF:  # filling
            place += 1
            continue
        if kind in _JPEG_BARE:
            place += 2
            continue
        if kind == 0xDA:
            # To the end of the picture: phones append a film, in which any bytes may stand.
            end = data.find(b"\xff\xd9", place)
            scans = data[place:] if end < 0 else data[place : end + 2]
            if scans.count(b"\xff\xda") > MAX_SCANS:
                raise NotAPicture(f"its JPEG data have more than {MAX_SCANS} scans")
            return b"".join([*kept, scans])
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        orients = kind == 0xE1 and not exif and data.startswith(_EXIF, place + 4)
        if kind in _JPEG_SEGMENTS or orients:
            kept.append(data[place:end])
            exif = exif or orients
        place = end
    raise NotAPicture(f"its JPEG data are in more than {MAX_PARTS} parts")


def _prepare_webp(data: bytes, pixels: int) -> bytes:
    """Checks the size before the decoder is made, which takes memory for the whole canvas at once."""
    if int.from_bytes(data[4:8], "little") + 8 > len(data) or len(data) < 30:
        raise NotAPicture("its WebP data end too early")
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[place : place + 3], "little") + 1 for place in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(data[place : place + 2], "little") & 0x3FFF for place in (26, 28))
    else:
        raise NotAPicture("its WebP data are damaged")
    _check_size(width, height, pixels)
    return data


def _prepare_gif(data: bytes, pixels: int) -> bytes:
    """The first picture alone, with the block that says which of its colours is clear; comments and all other pictures left out."""
    place = 13 + _gif_colours(data, 10)
    kept, clear = [data[:place]], b""
    for _ in range(MAX_PARTS):
        kind, start = data[place : place + 1], place
        if kind == b",":
            _check_gif_size(data, place, pixels)
            end = _gif_blocks_end(data, place + 10 + _gif_colours(data, place + 9) + 1)
            return b"".join([*kept, clear, data[start:end], b";"])
        if kind == b"!":
            place = _gif_blocks_end(data, place + 2)
            if data[start + 1 : start + 2] == b"\xf9":
                clear = data[start:place]
        elif kind == b"\0":
            place += 1
        else:
            raise NotAPicture("its GIF data are damaged" if kind else "its GIF data end too early")
    raise NotAPicture(f"its GIF data are in more than {MAX_PARTS} parts")


def _check_gif_size(data: bytes, place: int, pixels: int) -> None:
    """Canvas and first picture together: Pillow makes the canvas larger where the picture reaches beyond it."""
    width, height, left, top, across, down = (
        int.from_bytes(data[at : at + 2], "little") for at in (6, 8, place + 1, place + 3, place + 5, place + 7)
    )
    _check_size(max(width, left + across), max(height, top + down), pixels)


def _gif_colours(data: bytes, place: int) -> int:
    """Bytes of the table of colours whose flags are at `place`."""
    if place >= len(data):
        raise NotAPicture("its GIF data end too early")
    return 3 << (data[place] & 7) + 1 if data[place] & 0x80 else 0


def _gif_blocks_end(data: bytes, place: int) -> int:
    """Where a run of blocks ends, each of which begins with its length; a block of length 0 is the last."""
    while place < len(data):
        length = data[place]
        place += 1 + length
        if not length:
            return place
    raise NotAPicture("its GIF data end too early")


def _prepare_bmp(data: bytes, pixels: int) -> bytes:
    """Refuses run lengths: Pillow unpacks them in Python, ten seconds for a large picture; files on the web are not packed so."""
    if int.from_bytes(data[14:18], "little") >= 40 and int.from_bytes(data[30:34], "little") not in (0, 3, 6):
        raise NotAPicture("it is a packed BMP picture, which is not read here")
    return data


_PREPARE: dict[str, Callable[[bytes, int], bytes]] = {
    "PNG": _prepare_png,
    "JPEG": _prepare_jpeg,
    "WebP": _prepare_webp,
    "GIF": _prepare_gif,
    "BMP": _prepare_bmp,
}

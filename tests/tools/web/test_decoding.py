"""Hostile bytes: a plain RGB picture comes out, or a reason."""

from __future__ import annotations

import io
import pickle
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from llmi_env.tools.web.decoding import (
    FORMATS,
    MAX_PARTS,
    MAX_SCANS,
    NotAPicture,
    decode_picture,
    flatten,
    picture_format,
)

PILLOW = {"PNG": "PNG", "JPEG": "JPEG", "WebP": "WEBP", "GIF": "GIF", "BMP": "BMP"}


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, PILLOW.get(name, name), **options)
    return buffer.getvalue()


def quarters(size: int = 32) -> Image.Image:
    """Red, green, blue and black quarters, in reading order."""
    image = Image.new("RGB", (size, size * 3 // 4))
    for colour, place in (("red", (0, 0)), ("lime", (size // 2, 0)), ("blue", (0, size * 3 // 8))):
        image.paste(colour, (*place, place[0] + size // 2, place[1] + size * 3 // 8))
    return image


def near(image: Image.Image, place: tuple[int, int], colour: tuple[int, int, int], tolerance: int = 4) -> bool:
    found = image.getpixel(place)
    assert isinstance(found, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(found, colour, strict=True))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(extra: bytes, image: Image.Image | None = None) -> bytes:
    """A PNG with further chunks after its header."""
    plain = encoded(image or quarters(), "PNG")
    return plain[:33] + extra + plain[33:]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_becomes_the_same_picture(name: str) -> None:
    options: dict[str, Any] = {"JPEG": {"quality": 95, "subsampling": 0}, "WebP": {"lossless": True}}.get(name, {})
    data = encoded(quarters(), name, **options)
    assert picture_format(data[:64]) == name
    image = decode_picture(data)
    assert (type(image), image.mode, image.size, image.info) == (Image.Image, "RGB", (32, 24), {})
    for place, colour in (((4, 4), (255, 0, 0)), ((28, 4), (0, 255, 0)), ((4, 20), (0, 0, 255)), ((28, 20), (0, 0, 0))):
        assert near(image, place, colour, 12)


GREY, RED, HALF = (128, 128, 128), (255, 0, 0), (255, 127, 127)


def _palette_with_clear(index: int) -> Image.Image:
    image = Image.new("P", (8, 8), index)
    image.putpalette([255, 0, 0, 0, 255, 0])
    return image


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        pytest.param(encoded(Image.new("1", (8, 8), 1), "PNG"), (255, 255, 255), id="1"),
        pytest.param(encoded(Image.new("L", (8, 8), 128), "PNG"), GREY, id="L"),
        pytest.param(encoded(Image.new("L", (8, 8), 128), "PNG", transparency=128), (255, 255, 255), id="L, one clear"),
        pytest.param(encoded(Image.new("1", (8, 8), 0), "PNG", transparency=0), (255, 255, 255), id="1, one clear"),
        pytest.param(encoded(Image.new("LA", (8, 8), (0, 127)), "PNG"), GREY, id="LA"),
        pytest.param(encoded(_palette_with_clear(0), "PNG"), RED, id="P"),
        pytest.param(encoded(_palette_with_clear(0), "PNG", transparency=0), (255, 255, 255), id="P, one clear"),
        pytest.param(encoded(_palette_with_clear(0), "PNG", transparency=b"\x80\xff"), HALF, id="P, shades of clear"),
        pytest.param(encoded(_palette_with_clear(0), "GIF", transparency=0), (255, 255, 255), id="GIF, one clear"),
        pytest.param(
            encoded(Image.new("RGB", (8, 8), "red"), "PNG", transparency=RED), (255, 255, 255), id="RGB, one clear"
        ),
        pytest.param(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG"), HALF, id="RGBA"),
        pytest.param(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "WebP", lossless=True), HALF, id="WebP RGBA"),
        pytest.param(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "PNG"), (255, 255, 255), id="RGBA, clear"),
        pytest.param(encoded(Image.new("I;16", (8, 8), 0x8080), "PNG"), GREY, id="I;16"),
        pytest.param(
            encoded(Image.new("I;16", (8, 8), 0x8080), "PNG", transparency=0x8080), (255, 255, 255), id="I;16, clear"
        ),
        pytest.param(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), RED, id="CMYK"),
        pytest.param(encoded(Image.new("L", (8, 8), 128), "JPEG"), GREY, id="L JPEG"),
        pytest.param(encoded(Image.new("RGB", (8, 8), "red"), "JPEG", progressive=True), RED, id="progressive"),
        pytest.param(encoded(Image.new("1", (8, 8), 1), "BMP"), (255, 255, 255), id="1 BMP"),
        pytest.param(encoded(_palette_with_clear(0), "BMP"), RED, id="P BMP"),
    ],
)
def test_what_files_hold_becomes_rgb_on_white(data: bytes, colour: tuple[int, int, int]) -> None:
    image = decode_picture(data)
    assert image.mode == "RGB"
    assert near(image, (3, 3), colour, 3)


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.new("I", (4, 4), 0x8080), GREY),
        (Image.new("I", (4, 4), 1 << 30), (255, 255, 255)),
        (Image.new("I", (4, 4), -5), (0, 0, 0)),
        (Image.new("I;16B", (4, 4), 0x8080), GREY),
        (Image.new("F", (4, 4), 128.0), GREY),
        (Image.new("LA", (4, 4), (0, 127)).convert("La"), GREY),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 128)).convert("RGBa"), HALF),
        (Image.new("RGB", (4, 4), "red").convert("P").convert("PA"), RED),
        (Image.new("RGBX", (4, 4), (255, 0, 0, 0)), RED),
        (Image.new("RGB", (4, 4), "red").convert("YCbCr"), RED),
        (Image.new("RGB", (4, 4), "red").convert("HSV"), RED),
        (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), RED),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_every_mode_that_pillow_knows_becomes_rgb(image: Image.Image, colour: tuple[int, int, int]) -> None:
    assert near(flatten(image), (1, 1), colour, 3)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_forgotten(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "taken at 1 Main Street"
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = quarters() if orientation == 1 else quarters().transpose(undo[orientation])
    options: dict[str, Any] = {"JPEG": {"quality": 95, "subsampling": 0}, "WebP": {"lossless": True}}.get(name, {})
    image = decode_picture(encoded(stored, name, exif=exif, **options))
    assert image.size == (32, 24)
    assert near(image, (4, 4), (255, 0, 0), 12)
    assert near(image, (28, 4), (0, 255, 0), 12)
    assert image.info == {}
    assert not image.getexif()
    assert b"Main Street" not in encoded(image, name)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Tag data")
def test_damaged_metadata_do_not_spoil_a_picture() -> None:
    for exif in (
        b"Exif\0\0",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff" * 40,
    ):
        plain = encoded(quarters(), "JPEG")
        data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
        assert decode_picture(data).size == (32, 24)


@pytest.mark.parametrize("name", ["GIF", "WebP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(name: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    options: dict[str, Any] = {"WebP": {"lossless": True}}.get(name, {})
    image = decode_picture(encoded(frames[0], name, save_all=True, append_images=frames[1:], duration=50, **options))
    assert image.size == (16, 16)
    assert near(image, (8, 8), (255, 0, 0))


def test_a_gif_s_first_frame_may_be_smaller_than_its_canvas() -> None:
    data = bytearray(encoded(_palette_with_clear(1), "GIF"))
    data[6:10] = struct.pack("<HH", 20, 10)
    image = decode_picture(bytes(data))
    assert image.size == (20, 10)
    assert near(image, (3, 3), (0, 255, 0))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\xef\xbb\xbf\n<!-- hi -->\n<HTML lang='en'>", "web page"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<svg onload=alert(1)>", "SVG"),
        (b'{"error": "quota exceeded"}', "text"),
        ("nicht gefunden: K\u00e4uzchen".encode(), "text"),
        (("\u6f22" * 2000).encode(), "text"),
        (b"BM, a company", "text"),
        (encoded(quarters(), "TIFF"), "TIFF"),
        (encoded(quarters(), "ICO"), "icon"),
        (encoded(quarters(), "PPM"), "none of PNG, JPEG, WebP, GIF, BMP"),
        (encoded(quarters(), "TGA"), "none of"),
        (encoded(quarters(), "JPEG2000"), "JPEG 2000"),
        (encoded(quarters(), "PDF"), "PDF"),
        (encoded(quarters(), "EPS"), "PostScript"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "video"),
        (b"\x1aE\xdf\xa3\x01\0\0\0", "video"),
        (b"PK\3\4\x14\0", "ZIP"),
        (zlib.compress(encoded(quarters(), "PNG"), wbits=31), "gzip"),
        (b"\x28\xb5\x2f\xfd\0\0", "Zstandard"),
        (bytes(range(256)), "none of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_picture_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(NotAPicture, match=reason) as caught:
        decode_picture(data)
    assert "quota" not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_other_decoder_is_reached_whatever_pillow_has_loaded() -> None:
    Image.init()
    named = {"PNG": "PNG", "JPEG": "JPEG", "WEBP": "WebP", "GIF": "GIF", "BMP": "BMP", "DIB": "", "MPO": "JPEG"}
    tried = 0
    for name in sorted(set(Image.SAVE) & set(Image.OPEN)):
        for mode in ("RGB", "L", "1", "P"):
            try:
                data = encoded(quarters().convert(mode), name)
            except (OSError, ValueError, KeyError):  # no writer for this mode
                continue
            tried += 1
            if named.get(name):
                assert picture_format(data) == named[name]
            else:
                with pytest.raises(NotAPicture):
                    decode_picture(data)
            break
    assert tried > 15


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_cut_short_is_told_from_a_damaged_one(name: str) -> None:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    whole = encoded(noise, name)
    for part in (0.5, 0.9):
        with pytest.raises(NotAPicture, match=f"its {name} data end too early"):
            decode_picture(whole[: int(len(whole) * part)])
    head = whole[: {"JPEG": 4, "WebP": 20, "GIF": 10, "BMP": 20}.get(name, 30)]
    with pytest.raises(NotAPicture, match=f"its {name} data (end too early|are damaged)"):
        decode_picture(head)


def test_damage_is_called_damage() -> None:
    whole = bytearray(encoded(quarters(), "PNG"))
    whole[45] ^= 0xFF
    with pytest.raises(NotAPicture, match="its PNG data are damaged"):
        decode_picture(bytes(whole))
    with pytest.raises(NotAPicture, match="its JPEG data are damaged"):
        decode_picture(b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"\0" * 300)


def _png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def _jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(quarters(), "JPEG"))
    place = data.find(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _webp_of(image: Image.Image, side: int, **options: Any) -> bytes:
    data = bytearray(encoded(image, "WebP", **options))
    if data[12:16] == b"VP8X":
        data[24:30] = (side - 1).to_bytes(3, "little") * 2
    elif data[12:16] == b"VP8L":
        data[21:25] = (side - 1 | side - 1 << 14).to_bytes(4, "little")
    else:
        data[26:30] = struct.pack("<HH", side, side)
    return bytes(data)


def _gif_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(quarters(), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def _gif_with_a_frame_of(width: int, height: int) -> bytes:
    plain = encoded(quarters(), "GIF")
    place = 13 + 3 * (2 << (plain[10] & 7))
    assert plain[place : place + 1] == b","
    return plain[: place + 5] + struct.pack("<HH", width, height) + plain[place + 9 :]


def _bmp_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(quarters(), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: _png_header(30_000, 30_000),
        lambda: _png_header(2**31 - 1, 2**31 - 1),
        lambda: _jpeg_of(65_000, 65_000),
        lambda: _webp_of(quarters(), 16_383),
        lambda: _webp_of(quarters(), 16_383, lossless=True),
        lambda: _webp_of(quarters().convert("RGBA"), 16_383, exif=b"Exif\0\0"),
        lambda: _gif_of(65_000, 65_000),
        lambda: _gif_with_a_frame_of(65_000, 65_000),
        lambda: _bmp_of(30_000, 30_000),
        lambda: _bmp_of(30_000, -30_000),
    ],
    ids=[
        "png",
        "png, huge",
        "jpeg",
        "webp",
        "webp lossless",
        "webp extended",
        "gif",
        "gif frame",
        "bmp",
        "bmp upwards",
    ],
)
def test_a_bomb_is_refused_by_its_header(make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    data = make()
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NotAPicture, match="pixels, more than 40000000"):
            decode_picture(data)
    assert time.process_time() - started < 0.8


def test_the_limit_is_of_pixels_and_may_be_chosen() -> None:
    data = encoded(quarters(), "PNG")
    assert decode_picture(data, pixels=32 * 24).size == (32, 24)
    with pytest.raises(NotAPicture, match="32 x 24 pixels, more than 767"):
        decode_picture(data, pixels=32 * 24 - 1)


def test_profiles_and_texts_are_never_unpacked() -> None:
    bomb = zlib.compress(b"\0" * 80_000_000, 1)
    extra = chunk(b"iCCP", b"x\0\0" + bomb) + chunk(b"zTXt", b"x\0\0" + bomb) + chunk(b"iTXt", b"x\0\1\0\0\0" + bomb)
    started = time.process_time()
    assert near(decode_picture(png_with(extra)), (4, 4), (255, 0, 0))
    assert time.process_time() - started < 0.8


def _progressive_with(scans: int) -> bytes:
    data = encoded(quarters(), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    more = scans - data.count(b"\xff\xda")
    return data[:-2] + data[last:-2] * more + data[-2:]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_progressive_with(MAX_SCANS + 1), id="scans"),
        pytest.param(png_with(chunk(b"teSt", b"") * 900_000), id="chunks"),
        pytest.param(b"\xff\xd8" + b"\xff\xfe\0\2" * 2_900_000, id="segments"),
        pytest.param(b"\xff\xd8" + b"\xff" * 11_000_000, id="filling"),
        pytest.param(b"GIF89a\x08\0\x08\0\0\0\0" + b"!\xfe\1a\0" * 2_300_000, id="comments"),
    ],
)
def test_files_made_to_keep_a_decoder_busy_are_refused(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(NotAPicture, match="more than"):
        decode_picture(data)
    assert time.process_time() - started < 0.8


def test_busy_is_far_from_what_encoders_write() -> None:
    assert decode_picture(_progressive_with(MAX_SCANS)).size == (32, 24)
    assert decode_picture(png_with(chunk(b"teSt", b"") * (MAX_PARTS - 10))).size == (32, 24)


def test_what_phones_append_to_a_picture_is_not_counted() -> None:
    film = b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 1000
    assert decode_picture(encoded(quarters(), "JPEG") + film).size == (32, 24)


def test_an_end_that_is_none_does_not_hide_what_follows() -> None:
    data = _progressive_with(MAX_SCANS + 1)
    first = data.find(b"\xff\xda", data.find(b"\xff\xda") + 2)
    hidden = data[:first] + b"\xff\xfe\0\x06\xff\xd9\0\0" + data[first:]
    with pytest.raises(NotAPicture, match=r"end too early|damaged"):
        decode_picture(hidden)


def test_packed_bmp_is_refused() -> None:
    data = bytearray(encoded(quarters().convert("P"), "BMP"))
    data[30:34] = struct.pack("<I", 1)
    with pytest.raises(NotAPicture, match="packed BMP"):
        decode_picture(bytes(data))


def test_a_file_that_is_two_things_leaves_nothing_of_the_other() -> None:
    script = b"<script>alert(document.cookie)</script>"
    plain = encoded(quarters(), "JPEG")
    data = plain[:2] + b"\xff\xfe" + struct.pack(">H", len(script) + 2) + script + plain[2:] + script
    image = decode_picture(data)
    assert script not in encoded(image, "PNG") + encoded(image, "JPEG") + image.tobytes()


def _samples() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    small = quarters(16)
    frames: dict[str, Any] = {"save_all": True, "append_images": [Image.new("RGB", small.size, "white")]}
    return [
        encoded(small, "PNG", exif=exif),
        encoded(small.convert("RGBA"), "PNG", **frames),
        encoded(small.convert("P"), "PNG", transparency=1),
        encoded(small.convert("I;16"), "PNG"),
        encoded(small, "JPEG", exif=exif),
        encoded(small, "JPEG", progressive=True),
        encoded(small.convert("CMYK"), "JPEG"),
        encoded(small, "WebP"),
        encoded(small.convert("RGBA"), "WebP", lossless=True, exif=exif),
        encoded(small, "WebP", **frames),
        encoded(small, "GIF", **frames),
        encoded(small.convert("P"), "GIF", transparency=1, interlace=1),
        encoded(small, "BMP"),
        encoded(small.convert("1"), "BMP"),
    ]


SAMPLES = _samples()


def picture_or_reason(data: bytes) -> bool:
    """Whether a picture came; fails on anything but a picture within the limit, or `NotAPicture`."""
    try:
        image = decode_picture(data, pixels=100_000)
    except NotAPicture:
        return False
    assert (type(image), image.mode, image.info) == (Image.Image, "RGB", {})
    assert 0 < image.width * image.height <= 100_000
    assert np.asarray(image).shape == (image.height, image.width, 3)
    return True


def test_the_samples_are_pictures() -> None:
    assert all(picture_or_reason(sample) for sample in SAMPLES)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400)
@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8), st.floats(0, 1))
def test_flipped_and_cut_bytes_give_a_picture_or_a_reason(
    sample: bytes, flips: list[tuple[float, int]], keep: float
) -> None:
    data = bytearray(sample)
    for place, value in flips:
        # Half of them near the start, where headers are.
        data[int(place * 2 % 1 * (60 if place < 0.5 else len(data) - 1))] = value
    picture_or_reason(bytes(data))
    picture_or_reason(bytes(data[: int(keep * len(data))]))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200)
@given(
    st.sampled_from(
        [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x30\0\0\0WEBPVP8L", b"BM\0\0\0\0\0\0\0\0", b""]
    ),
    st.binary(max_size=200),
)
def test_any_bytes_after_a_format_s_mark_give_a_picture_or_a_reason(mark: bytes, rest: bytes) -> None:
    picture_or_reason(mark + rest)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_every_flip_and_every_cut_of_small_files() -> None:
    for sample in SAMPLES:
        for place in range(len(sample)):
            picture_or_reason(sample[:place])
            for value in (0x00, 0xFF, sample[place] ^ 0x01, sample[place] ^ 0x80):
                picture_or_reason(sample[:place] + bytes([value]) + sample[place + 1 :])

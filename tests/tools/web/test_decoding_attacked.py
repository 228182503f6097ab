"""Files made to harm whoever decodes them: bombs, endless files, two things in one, and bytes at random."""

from __future__ import annotations

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

from llmi_env.tools.web.decoding import MAX_PARTS, MAX_SCANS, NotAPicture, decode_picture
from tests.pngs import chunk, claiming
from tests.tools.web.encoding import encoded, near, quarters


def png_with(extra: bytes) -> bytes:
    """A PNG with further chunks after its header."""
    plain = encoded(quarters(), "PNG")
    return plain[:33] + extra + plain[33:]


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
        lambda: claiming(30_000, 30_000, bytes(99)),
        lambda: claiming(2**31 - 1, 2**31 - 1, bytes(99)),
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

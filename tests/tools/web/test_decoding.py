"""What files of pictures become, and what is said of those that are none."""

from __future__ import annotations

import pickle
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from llmi_env.tools.web.decoding import FORMATS, NotAPicture, decode_picture, flatten, picture_format
from tests.tools.web.encoding import encoded, near, quarters


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

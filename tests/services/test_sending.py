from __future__ import annotations

import base64
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from llmi_env.document import Picture, Provenance
from llmi_env.services import sending
from llmi_env.services.sending import data_url

NOISE = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)


def sent(image: Image.Image, max_side: int = 1024, max_bytes: int = 500_000) -> tuple[str, int, Image.Image]:
    head, _, body = data_url(Picture(image, Provenance("test")), max_side, max_bytes).partition(";base64,")
    data = base64.b64decode(body)
    return head, len(data), Image.open(io.BytesIO(data))


def test_a_chart_goes_as_it_is() -> None:
    chart = Image.new("RGB", (300, 200), "white")
    chart.paste("navy", (50, 50, 80, 200))
    head, _, image = sent(chart)
    assert head == "data:image/png"
    assert np.array_equal(np.asarray(image), np.asarray(chart))


def test_a_photograph_goes_as_jpeg() -> None:
    head, weight, image = sent(Image.fromarray(NOISE))
    assert (head, image.size) == ("data:image/jpeg", (600, 400))
    assert weight <= 500_000


def test_no_side_is_longer_than_allowed() -> None:
    assert sent(Image.new("RGB", (3000, 1500)), max_side=512)[2].size == (512, 256)
    assert sent(Image.new("RGB", (2, 4000)), max_side=512)[2].size == (1, 512)


def test_what_is_too_heavy_is_compressed_and_then_made_smaller() -> None:
    _, weight, image = sent(Image.fromarray(NOISE), max_bytes=8_000)
    assert weight <= 8_000
    assert max(image.size) < 600


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "CMYK"])
def test_every_kind_of_picture_can_be_sent(mode: str) -> None:
    assert sent(Image.new(mode, (20, 20)))[2].mode == "RGB"


def test_transparency_is_laid_on_white() -> None:
    assert sent(Image.new("RGBA", (4, 4), (255, 0, 0, 0)))[2].getpixel((0, 0)) == (255, 255, 255)


def test_each_picture_is_encoded_once_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []

    def encode(picture: Picture, max_side: int, max_bytes: int) -> str:
        encoded.append(picture.digest)
        if picture.image.mode == "1":
            raise OSError("broken")
        return data_url(picture, max_side, max_bytes)

    monkeypatch.setattr(sending, "data_url", encode)
    urls = sending.DataUrls(64, 8_000, most=2)
    red, blue, green = (
        Picture(Image.new("RGB", (9, 9), name), Provenance("test")) for name in ("red", "blue", "green")
    )
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(urls.of, [red, blue] * 20))
    assert set(found) == {data_url(red, 64, 8_000), data_url(blue, 64, 8_000)}
    assert len(encoded) == 2
    assert urls.ready(red)
    assert not urls.ready(green)
    urls.of(green)  # the one used longest ago goes
    urls.of(green)
    assert len(encoded) == 3
    broken = Picture(Image.new("1", (9, 9)), Provenance("test"))
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            urls.of(broken)
    assert len(encoded) == 5
    assert pickle.loads(pickle.dumps(urls)).of(red) == found[0]

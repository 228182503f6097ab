"""What tells one picture from another."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from llmi_env.document import Document, Figure, Picture, Provenance
from llmi_env.judges.cache import judgment_key
from llmi_env.task import Task
from llmi_env.world.wire import PictureMessage

INDICES = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3


def of(image: Image.Image) -> Picture:
    return Picture(image, Provenance("test"))


def paletted(*colours: tuple[int, ...], indices: np.ndarray = INDICES, transparent: int | None = None) -> Picture:
    image = Image.fromarray(indices, "L").copy()
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([value for colour in colours for value in colour], "RGBA" if len(colours[0]) == 4 else "RGB")
    if transparent is not None:
        image.info["transparency"] = transparent
    return of(image)


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_pictures_of_other_colours_are_other_pictures() -> None:
    one, other = paletted(RED, GREEN, BLUE), paletted(GREEN, RED, BLUE)
    assert one.image.tobytes() == other.image.tobytes()
    assert one.digest != other.digest
    assert one != other
    documents = [Document((Figure("{}", None, picture),)) for picture in (one, other)]
    assert len({judgment_key("judge", ["a"], document, Task("Owls?")) for document in documents}) == 2


def test_what_is_seen_decides_and_not_how_it_is_kept() -> None:
    one = paletted(RED, GREEN, BLUE)
    assert one.digest == paletted(BLUE, GREEN, RED, indices=2 - INDICES).digest
    assert one.digest == of(one.image.convert("RGB")).digest
    unused = paletted(RED, GREEN, BLUE, (9, 9, 9))
    assert one.digest == unused.digest


def test_transparency_is_seen() -> None:
    one = paletted(RED, GREEN, BLUE)
    clear = paletted(RED, GREEN, BLUE, transparent=1)
    half = paletted((*RED, 128), (*GREEN, 255), (*BLUE, 255))
    assert len({one.digest, clear.digest, half.digest}) == 3


@pytest.mark.parametrize(
    "picture",
    [
        paletted(RED, GREEN, BLUE),
        paletted(RED, GREEN, BLUE, transparent=1),
        paletted((*RED, 128), (*GREEN, 255), (*BLUE, 255)),
        of(paletted(RED, GREEN, BLUE).image.convert("PA")),
    ],
    ids=["palette", "transparent colour", "palette with alpha", "palette and alpha"],
)
def test_it_is_the_same_picture_elsewhere(picture: Picture) -> None:
    assert PictureMessage.of(picture).value() == picture
    if picture.image.mode != "PA":  # PNG has none
        assert Picture.from_png(picture.png, picture.provenance) == picture


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1"])
def test_digests_of_other_modes_are_those_of_their_pixels(mode: str) -> None:
    image = paletted(RED, GREEN, BLUE).image.convert("RGBA").convert(mode)
    assert of(image).digest == hashlib.sha256(f"{mode}:4x3:".encode() + image.tobytes()).hexdigest()

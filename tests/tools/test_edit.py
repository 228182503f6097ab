"""The edit tool's first nine edits: ordinary wordings are understood, the rest is refused whole, and the picture changes as told."""

from __future__ import annotations

import asyncio
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageStat

from llmi_env.document import Picture, Provenance
from llmi_env.errors import BadParams, ConfigError, Refused, fault_of
from llmi_env.tools.base import Tool, ToolContext
from llmi_env.tools.edit import EXAMPLES, EditTool, Operation, apply, parse_instruction

WORDINGS = {
    # grayscale
    "grayscale": "grayscale",
    "make it black and white": "grayscale",
    "Convert the image to grayscale.": "grayscale",
    "Turn this photo into a black-and-white picture": "grayscale",
    "Please convert the photo of the old bridge to greyscale": "grayscale",
    "apply a monochrome filter": "grayscale",
    "remove all the color from the picture": "grayscale",
    "desaturate it": "grayscale",
    "Make it B&W": "grayscale",
    "turn the picture gray": "grayscale",
    "make the picture completely grayscale to give it a timeless look": "grayscale",
    # brightness
    "make it brighter": "brightness 1.35",
    "brighten the image a little": "brightness 1.15",
    "darken it a little": "brightness 0.85",
    "make the picture much darker": "brightness 0.4",
    "Increase the brightness by 20%": "brightness 1.2",
    "reduce the brightness by 30 percent": "brightness 0.7",
    "set the brightness to 150%": "brightness 1.5",
    "lighten the photo slightly so that the details are visible": "brightness 1.15",
    "dim it": "brightness 0.65",
    "Could you make this picture a bit lighter?": "brightness 1.15",
    "make it half as bright": "brightness 0.5",
    # tint
    "give it a red tint": "tint red",
    "tint the image blue": "tint blue",
    "Tint it with a light green": "tint lightgreen",
    "add a #ff8800 overlay": "tint #ff8800",
    "apply a sepia tone": "tint sepia",
    "make it warmer": "tint warm",
    "give the photo a cooler look": "tint cool",
    "make the picture look vintage": "tint sepia",
    "Add a slight golden hue": "tint #ffd700",
    "make it more orange": "tint orange",
    "colour it teal": "tint teal",
    "give it a warm orange tint": "tint orange",
    "make it bluish": "tint blue",
    # blur, sharpen
    "blur it": "blur 0.02",
    "blur the image slightly": "blur 0.008",
    "apply a strong gaussian blur": "blur 0.045",
    "make it out of focus": "blur 0.02",
    "blur it by 4 pixels": "blur 4",
    "soften the picture": "blur 0.02",
    "sharpen the image": "sharpen",
    "make it less blurry": "sharpen",
    # rotate
    "rotate it 90 degrees clockwise": "rotate 90",
    "turn it 90 degrees clockwise": "rotate 90",
    "rotate the picture by 45°": "rotate 45",
    "rotate 90 degrees counterclockwise": "rotate 270",
    "rotate it to the left": "rotate 270",
    "Turn the photo to the right": "rotate 90",
    "turn it upside down": "rotate 180",
    "rotate the image 180 degrees": "rotate 180",
    "tilt it slightly to the left": "rotate 353",
    "rotate it by ninety degrees anti-clockwise": "rotate 270",
    "give it a quarter turn to the right": "rotate 90",
    # flip
    "flip it horizontally": "flip horizontal",
    "flip the picture vertically": "flip vertical",
    "mirror the picture": "flip horizontal",
    "flip it upside down": "flip vertical",
    "mirror it from left to right": "flip horizontal",
    "flip along the horizontal axis": "flip vertical",
    # crop
    "crop to the left half": "crop left 0.5",
    "crop it to the centre": "crop centre 0.6",
    "Crop the image to a square": "crop aspect 1",
    "keep only the top half": "crop top 0.5",
    "crop the right third of the picture": "crop right 0.3333",
    "cut off the bottom half": "crop top 0.5",
    "crop to the top left corner": "crop top-left 0.5",
    "crop to 16:9": "crop aspect 1.7778",
    "make it square": "crop aspect 1",
    "zoom in on the middle": "crop centre 0.6",
    "crop to the lower half of the image": "crop bottom 0.5",
    # caption
    "add the caption 'Sunrise'": "caption bottom Sunrise",
    'write "Hello, world and all" at the top': "caption top Hello, world and all",
    "Add a caption saying “Owls at night” at the bottom of the picture": "caption bottom Owls at night",
    "add the text 'Don't panic' at the top": "caption top Don't panic",
    "put the words 'Blur me' in big letters on the bottom": "caption bottom Blur me",
    "caption it: The grand canal": "caption bottom The grand canal",
    "add a caption that says Rome 1960 at the top": "caption top Rome 1960",
    "label the picture with 'A'": "caption bottom A",
    'add a title at the top saying "Q3 Sales"': "caption top Q3 Sales",
    "Write Hello at the bottom": "caption bottom Hello",
    "Add text 'Summer' in the top left corner": "caption top Summer",
    # several
    "grayscale and rotate 90 degrees": "grayscale; rotate 90",
    "Crop to a square, then blur it a little and add the caption 'Soft and calm'": "crop aspect 1; blur 0.008; caption bottom Soft and calm",
    "make it darker and bluer": "brightness 0.65; tint blue",
    "flip it horizontally, turn it black and white, and brighten it": "flip horizontal; grayscale; brightness 1.35",
    "Add a red tint and write 'Rot' at the top": "tint red; caption top Rot",
    "add a blue tint, put the caption 'Blau' below it, rotate it left": "tint blue; caption bottom Blau; rotate 270",
    "reduce the picture's brightness": "brightness 0.65",
    "rotate left and mirror vertically": "rotate 270; flip vertical",
    "Rotate it 90 degrees clockwise and make it slightly darker": "rotate 90; brightness 0.85",
    "convert it to grayscale & crop to the right half": "grayscale; crop right 0.5",
    "make it a warm sepia and add the title 'Old times' at the top": "tint sepia; caption top Old times",
}


def told(operation: Operation) -> str:
    number = f"{operation.amount:.4f}".rstrip("0").rstrip(".")
    match operation.kind:
        case "caption":
            return f"caption {'top' if operation.top else 'bottom'} {operation.text}"
        case "tint" | "flip":
            return f"{operation.kind} {operation.text}"
        case "crop":
            return f"crop {operation.text} {number}"
        case "grayscale" | "sharpen":
            return operation.kind
    return f"{operation.kind} {number}"


@pytest.mark.parametrize("wording", WORDINGS)
def test_wordings(wording: str) -> None:
    assert "; ".join(told(operation) for operation in parse_instruction(wording)) == WORDINGS[wording]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_of_the_refusal_is_understood(name: str) -> None:
    assert [operation.kind for operation in parse_instruction(EXAMPLES[name])] == [name]


@pytest.mark.parametrize(
    "wording",
    [
        "", "   ", "make it nicer and add a dog", "add a red hat to the cat", "remove the background", "make the sky blue",
        "blur the background", "blur the faces", "rotate it and add a bird", "replace the apple with a pear", "do not rotate it",
        "make it grayscale without blurring the cat's ears into mush and swap the heads", "turn it into an oil painting",
        "crop to the dog", "just make it good", "please",
        "make the car red", "turn the lights on", "colorize the old man", "😀", "42", "rotate" * 300, "caption ''",
        "add the caption '" + "x" * 300 + "'", "draw a circle", "supprime les couleurs", "make the left half darker",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_what_is(wording: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_instruction(wording)
    assert all(name in str(caught.value) for name in EXAMPLES)
    assert fault_of("edit", caught.value.kind) == "policy"


VOCABULARY = sorted(
    {word for wording in WORDINGS for word in wording.split()}
    | {"the", "not", "dog", "'", '"', ":", "%", "°", "-", "#12", "999999"}
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(VOCABULARY), max_size=30).map(" ".join)))
def test_any_text_is_read_or_refused_and_what_is_read_can_be_done(text: str) -> None:
    try:
        operations = parse_instruction(text)
        assert operations
        result = apply(Image.new("RGB", (64, 48), "teal"), operations)
    except Refused:
        return
    assert result.mode == "RGB"
    assert 0 < result.width * result.height <= 4_000_000


def test_reading_is_quick_however_the_text_is_made() -> None:
    generator = random.Random(0)
    began = time.process_time()
    for text in (
        "a " * 500,
        "'" * 1000,
        "add " * 250,
        "the the the of " * 60,
        "rotate 90 " * 90,
        "crop " * 200,
        "(" * 1000,
    ):
        for _ in range(3):
            try:
                parse_instruction(text[: generator.randint(900, 1000)])
            except Refused:
                pass
    assert time.process_time() - began < 5


# ---------------------------------------------------------------- what is done to the picture


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Red left above, green right above, blue left below, gray right below; 120 x 80."""
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[:40, :60], pixels[:40, 60:], pixels[40:, :60], pixels[40:, 60:] = (
        (220, 30, 30),
        (30, 200, 30),
        (30, 30, 210),
        (128, 128, 128),
    )
    return Image.fromarray(pixels)


def done(image: Image.Image, wording: str) -> Image.Image:
    return apply(image, parse_instruction(wording))


def corner(image: Image.Image, x: float, y: float) -> tuple[int, ...]:
    pixel = image.getpixel((round(x * (image.width - 1)), round(y * (image.height - 1))))
    assert isinstance(pixel, tuple)
    return pixel


RED, GREEN, BLUE, GRAY = (220, 30, 30), (30, 200, 30), (30, 30, 210), (128, 128, 128)


def test_grayscale_has_no_colour(photo: Image.Image) -> None:
    assert {len(set(color)) for _, color in done(photo, "black and white").getcolors() or []} == {1}  # type: ignore[arg-type]


def test_brightness_goes_the_way_it_says(photo: Image.Image) -> None:
    means = [ImageStat.Stat(done(photo, words).convert("L")).mean[0] for words in
             ("much darker", "darker", "a little darker", "a little brighter", "brighter", "much brighter")]  # fmt: skip
    assert means == sorted(means)
    assert means[2] < ImageStat.Stat(photo.convert("L")).mean[0] < means[3]


@pytest.mark.parametrize(
    ("words", "channel"),
    [("give it a red tint", 0), ("tint it green", 1), ("tint it blue", 2), ("warmer", 0), ("cooler", 2)],
)
def test_tints_move_gray_towards_the_colour(photo: Image.Image, words: str, channel: int) -> None:
    tinted = corner(done(photo, words), 1, 1)
    assert tinted[channel] == max(tinted)
    assert len(set(tinted)) > 1


def test_blur_spreads_and_sharpen_does_not(photo: Image.Image) -> None:
    def colours(image: Image.Image) -> int:
        return len(image.getcolors(100_000) or [])

    assert colours(photo) == 4 < colours(done(photo, "blur it slightly")) < colours(done(photo, "blur it a lot"))
    assert done(photo, "sharpen it").size == photo.size


def test_rotations_and_flips_put_corners_where_they_belong(photo: Image.Image) -> None:
    def corners(words: str) -> tuple[tuple[int, ...], ...]:
        image = done(photo, words)
        return tuple(corner(image, x, y) for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)))

    assert corners("rotate it clockwise") == (BLUE, RED, GRAY, GREEN)
    assert corners("rotate it to the left") == (GREEN, GRAY, RED, BLUE)
    assert corners("turn it upside down") == (GRAY, BLUE, GREEN, RED)
    assert corners("mirror it") == (GREEN, RED, GRAY, BLUE)
    assert corners("flip it vertically") == (BLUE, GRAY, RED, GREEN)
    assert done(photo, "rotate it clockwise").size == (80, 120)
    assert corners("rotate by 45 degrees") == ((255, 255, 255),) * 4


@pytest.mark.parametrize(
    ("words", "size", "middle"),
    [
        ("crop to the left half", (60, 80), None),
        ("crop to the bottom right corner", (60, 40), GRAY),
        ("crop to the top left quarter", (60, 40), RED),
        ("crop to a square", (80, 80), None),
        ("crop to the centre", (72, 48), None),
        ("cut off the top half and crop to the left half", (60, 40), BLUE),
        ("crop to 2:1", (120, 60), None),
    ],
)
def test_crops(photo: Image.Image, words: str, size: tuple[int, int], middle: tuple[int, ...] | None) -> None:
    cropped = done(photo, words)
    assert cropped.size == size
    if middle:
        assert corner(cropped, 0.5, 0.5) == middle


def test_a_caption_stands_where_it_should_and_can_be_read() -> None:
    image = Image.new("RGB", (320, 240), "white")
    below = np.asarray(done(image, "add the caption 'Sunrise'"))
    assert (below[:150] == 255).all()
    band = below[-40:].mean(axis=2)
    assert (band > 240).mean() > 0.02, "bright letters"
    assert (band < 90).mean() > 0.5, "on a dark band"
    above = np.asarray(done(image, "write 'Sunrise' at the top"))
    assert (above[90:] == 255).all()
    assert not (above[:40] == 255).all()
    long = done(image, "add the caption '" + "many words to wrap " * 8 + "'")
    assert long.size == image.size
    with pytest.raises(Refused, match="does not fit"):
        done(Image.new("RGB", (20, 10)), "add the caption 'far too long for this'")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "CMYK", "I", "F", "I;16"])
def test_any_mode_of_picture_becomes_rgb(mode: str) -> None:
    assert done(Image.new(mode, (30, 20)), "grayscale, rotate 10 degrees and add a red tint").mode == "RGB"


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_tiny_and_thin_pictures_survive(size: tuple[int, int]) -> None:
    result = done(
        Image.new("RGB", size), "blur, crop to the left third, rotate 45 degrees, crop to a square, sharpen, flip"
    )
    assert min(result.size) >= 1


def test_size_is_bounded_and_the_source_is_untouched() -> None:
    image = Image.new("RGB", (1200, 900), "navy")
    before = image.tobytes()
    result = apply(image, parse_instruction("rotate 45 degrees and brighten"), max_pixels=100_000)
    assert 90_000 < result.width * result.height <= 100_000
    assert image.tobytes() == before


def test_the_tool_carries_provenance_and_is_deterministic(photo: Image.Image) -> None:
    tool = EditTool()
    assert isinstance(tool, Tool)
    source = Picture(photo, Provenance("corpus", title="Squares", author="A. Painter", licence="CC-BY-4.0", seed=3))
    context = ToolContext(pictures=(source,))

    def edit(prompt: object) -> Picture:
        return asyncio.run(tool({"img_index": 0, "prompt": prompt}, context))

    first = edit("blur it and add the caption 'Farben'")
    assert first.png == edit("blur it and add the caption 'Farben'").png
    assert (first.provenance.backend, first.provenance.author, first.provenance.licence) == (
        "pillow",
        "A. Painter",
        "CC-BY-4.0",
    )
    with pytest.raises(BadParams):
        edit(7)
    with pytest.raises(BadParams, match="img_index"):
        asyncio.run(tool({"prompt": "blur it"}, ToolContext()))
    with pytest.raises(ConfigError):
        EditTool(max_pixels=0)

"""What the later edits do to pixels: each changes what it says and leaves the rest; sizes stay bounded whatever is asked for."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from llmi_env.errors import Refused
from llmi_env.tools.edit import apply, parse_instruction
from tests.tools.edit_pictures import pictures, scene

PICTURE = scene()


def done(wording: str, image: Image.Image = PICTURE) -> Image.Image:
    return apply(image, parse_instruction(wording))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), np.int32)


def spread(image: Image.Image) -> float:
    return float(pixels(image.convert("L")).std())


def chroma(image: Image.Image) -> float:
    values = pixels(image)
    return float((values.max(axis=2) - values.min(axis=2)).mean())


def rising(values: list[float]) -> bool:
    return all(one < other for one, other in pairwise(values))


# ---------------------------------------------------------------- looks


def test_contrast_spreads_the_tones_and_keeps_their_mean() -> None:
    asked = ("much less contrast", "less contrast", "a bit more contrast", "more contrast", "a lot more contrast")
    assert rising([spread(done(words)) for words in asked])
    assert abs(pixels(done("more contrast")).mean() - pixels(PICTURE).mean()) < 8


def test_auto_contrast_and_equalize_use_the_full_range() -> None:
    dull = done("much less contrast")
    for words in ("auto contrast", "equalize it"):
        light = pixels(done(words, dull).convert("L"))
        assert light.min() < 30, words
        assert light.max() > 225, words


def test_saturation_moves_colours_from_gray_and_leaves_gray_alone() -> None:
    asked = ("much less saturated", "less saturated", "a bit more vivid", "more vivid", "much more vivid")
    assert rising([chroma(done(words)) for words in asked])
    assert np.abs(pixels(done("partially desaturate it by 100%")) - pixels(done("black and white"))).max() <= 1
    gray = pictures()["strip"]
    assert (pixels(done("much more vivid", gray)) == pixels(gray)).all()


def test_invert_is_its_own_inverse() -> None:
    assert (pixels(done("invert it")) == 255 - pixels(PICTURE)).all()
    assert (pixels(done("invert it, then invert it")) == pixels(PICTURE)).all()


def test_few_tones() -> None:
    for words, most in (("posterize to 3 levels", 3), ("threshold it", 2), ("dither it", 2)):
        assert max(len(np.unique(channel)) for channel in pixels(done(words)).T) <= most, words
    assert len(done("reduce it to 5 colours").getcolors() or []) <= 5
    solarized = pixels(done("solarize it"))
    assert (solarized[pixels(PICTURE) < 128] == pixels(PICTURE)[pixels(PICTURE) < 128]).all()
    assert solarized.max() < 129


def test_shadows_highlights_and_gamma_move_their_own_tones_and_keep_the_order() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None, :])
    for words in (
        "lift the shadows",
        "lift the shadows a lot",
        "deepen the shadows a lot",
        "lower the highlights",
        "gamma 3",
        "gamma 0.3",
    ):
        row = pixels(done(words, ramp))[0, :, 0]
        assert (np.diff(row) >= 0).all(), words
        assert (row[0], row[255]) == (0, 255), words
    lifted, lowered = (
        pixels(done(words, ramp))[0, :, 0] - np.arange(256) for words in ("lift the shadows", "lower the highlights")
    )
    assert lifted.argmax() in range(40, 90)
    assert lifted[230] < 3
    assert lowered.argmin() in range(165, 215)
    assert lowered[25] > -3
    assert pixels(done("gamma 2", ramp))[0, 64, 0] == 128


def test_a_full_turn_of_the_hue_comes_back_and_swapping_exchanges_two_channels() -> None:
    assert np.abs(pixels(done("shift the hue by 360 degrees")) - pixels(PICTURE)).max() <= 2
    assert np.abs(pixels(done("shift the hue by 120 degrees"))[20, 68] - [40, 215, 60]).max() <= 3
    assert (pixels(done("swap red and blue")) == pixels(PICTURE)[..., ::-1]).all()


def test_one_colour_is_changed_or_kept_and_the_others_are_not() -> None:
    blue = pixels(done("turn the reds blue"))
    assert blue[20, 68].argmax() == 2
    assert blue[20, 68][0] < 90
    assert (blue[30:, :20] == pixels(PICTURE)[30:, :20]).all(), "sky and hill"
    white, black = (pixels(done(f"turn the red {to}"))[20, 68] for to in ("white", "black"))
    assert white.min() > 200
    assert black.max() < 80
    kept = pixels(done("keep only the red"))
    assert (kept[20, 68] == pixels(PICTURE)[20, 68]).all()
    assert (kept[60, 60] == kept[60, 60][0]).all(), "the hill is gray"
    with pytest.raises(Refused, match="nothing purple"):
        done("turn the purple red")


def test_grain_is_the_same_every_time_spreads_evenly_and_can_be_taken_out() -> None:
    plain = Image.new("RGB", (200, 150), (128, 128, 128))
    grain = pixels(done("add film grain", plain))
    assert abs(grain.mean() - 128) < 1
    assert 10 < grain.std() < 20
    assert (grain[..., 0] == grain[..., 1]).all()
    assert done("add film grain", plain).tobytes() == done("add film grain", plain).tobytes()
    coloured = pixels(done("add colour noise", plain))
    assert abs(np.corrcoef(coloured[..., 0].ravel(), coloured[..., 1].ravel())[0, 1]) < 0.05
    along = np.corrcoef(grain[:, :-1, 0].ravel(), grain[:, 1:, 0].ravel())[0, 1]
    down = np.corrcoef(grain[:-1, :, 0].ravel(), grain[1:, :, 0].ravel())[0, 1]
    assert max(abs(along), abs(down)) < 0.05, "no stripes"
    assert pixels(done("denoise it a lot", done("add film grain", plain))).std() < 0.5 * grain.std()


def test_pixelate_makes_blocks_of_one_colour() -> None:
    blocks = pixels(done("pixelate with 8 px blocks"))
    assert (blocks.reshape(9, 8, 12, 8, 3).std(axis=(1, 3)) == 0).all()
    assert np.abs(blocks[:8, :8].mean(axis=(0, 1)) - pixels(PICTURE)[:8, :8].mean(axis=(0, 1))).max() < 1


def test_relief_edges_and_sketch() -> None:
    flat = Image.new("RGB", (60, 40), "teal")
    assert pixels(done("emboss it", flat)).std() < 1
    assert pixels(done("find the edges", flat)).max() == 0
    assert pixels(done("turn it into a pencil sketch", flat)).min() > 250
    step = Image.fromarray(np.repeat(np.array([[40] * 30 + [220] * 30], np.uint8), 40, axis=0))
    edges, sketch = pixels(done("find the edges", step)), pixels(done("pencil sketch", step))
    assert edges[20, 28:32].min() > 100
    assert edges[20, :20].max() == 0
    assert sketch[20, 29].max() < 160
    assert sketch[20, :10].min() > 250
    assert chroma(done("pencil sketch")) == 0


def test_a_vignette_leaves_the_middle_and_is_the_same_at_all_corners() -> None:
    plain = Image.new("RGB", (91, 60), (200, 200, 200))
    dark, white = pixels(done("add a vignette", plain)), pixels(done("add a white vignette", plain))
    assert (dark[25:35, 40:50] == 200).all()
    assert dark[0, 0].max() < 80
    assert white[0, 0].min() > 235
    assert (dark == dark[:, ::-1]).all()
    assert (dark == dark[::-1]).all()
    weak, strong = (pixels(done(f"add a {how} vignette", plain))[0, 0, 0] for how in ("subtle", "strong"))
    assert strong < dark[0, 0, 0] < weak


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    ("wording", "size"),
    [
        ("make it half the size", (48, 36)),
        ("enlarge it by 50%", (144, 108)),
        ("resize to 200x100", (200, 100)),
        ("resize it to 40 pixels wide", (40, 30)),
        ("make it 144 pixels high", (192, 144)),
        ("resize it to 48 px", (48, 36)),
        ("make a thumbnail", (128, 96)),
        ("add a 5 px red border", (106, 82)),
        ("add a white margin of 50%", (168, 144)),
        ("pad it to a square", (96, 96)),
        ("letterbox it", (128, 72)),
        ("round the corners", (96, 72)),
        ("crop it to a circle", (72, 72)),
        ("tile it 3x2", (288, 144)),
        ("repeat it twice side by side", (192, 72)),
        ("mirror the left half onto the right", (96, 72)),
    ],
)
def test_sizes(wording: str, size: tuple[int, int]) -> None:
    assert done(wording).size == size


def test_what_is_laid_around_leaves_the_picture_as_it_is() -> None:
    framed = pixels(done("add a 5 px red border"))
    assert (framed[5:-5, 5:-5] == pixels(PICTURE)).all()
    assert (framed[:5] == (255, 0, 0)).all()
    assert (framed[:, -5:] == (255, 0, 0)).all()
    padded = pixels(done("pad it to a square with black bars"))
    assert (padded[12:-12] == pixels(PICTURE)).all()
    assert padded[:12].max() == 0
    assert padded[-12:].max() == 0
    polaroid = done("add a polaroid frame")
    assert polaroid.height - PICTURE.height == 2 * (polaroid.width - PICTURE.width)


def test_rounded_corners_circles_and_shadows() -> None:
    rounded = pixels(done("round the corners", Image.new("RGB", (100, 80), "navy")))
    assert (rounded[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert (rounded == rounded[::-1]).all()
    assert (rounded == rounded[:, ::-1]).all()
    assert (rounded[20:60] == (0, 0, 128)).all()
    circle = pixels(done("crop it to a circle", Image.new("RGB", (100, 80), "navy")))
    share = (circle[..., 0] < 128).mean()
    assert abs(share - np.pi / 4) < 0.005
    shaded = pixels(done("add a drop shadow", Image.new("RGB", (100, 80), "navy")))
    assert (shaded[6:-6, 6:-6] == (0, 0, 128)).all()
    assert (shaded[0, 0] == 255).all()
    assert shaded[-4, 60].max() < 245
    assert shaded[1, 60].min() > shaded[-2, 60].max() - 1
    both = pixels(done("crop it to a circle and add a drop shadow", Image.new("RGB", (80, 80), "navy")))
    assert (both[7, 7] == 255).all(), "no shadow of corners that are gone"


def test_repeats_and_halves() -> None:
    tiles = pixels(done("tile it 2x3"))
    assert all(
        (tiles[72 * row : 72 * row + 72, 96 * column : 96 * column + 96] == pixels(PICTURE)).all()
        for row in range(3)
        for column in range(2)
    )
    for side, kept in (("left", np.s_[:, :48]), ("right", np.s_[:, 48:]), ("top", np.s_[:36]), ("bottom", np.s_[36:])):
        half = pixels(done(f"mirror the {side} half"))
        assert (half[kept] == pixels(PICTURE)[kept]).all(), side
        assert (half == (half[:, ::-1] if side in ("left", "right") else half[::-1])).all(), side
    kaleidoscope = pixels(done("kaleidoscope effect"))
    assert (kaleidoscope == kaleidoscope[::-1, ::-1]).all()
    assert (kaleidoscope[:36, :48] == pixels(PICTURE)[:36, :48]).all()


@pytest.mark.parametrize(
    ("place", "rows", "columns"),
    [
        ("in the centre", slice(90, 150), slice(100, 220)),
        ("in the top-left corner", slice(0, 60), slice(0, 160)),
        ("in the top-right corner", slice(0, 60), slice(160, 320)),
        ("in the bottom-left corner", slice(180, 240), slice(0, 160)),
        ("in the corner", slice(180, 240), slice(160, 320)),
    ],
)
def test_words_stand_where_they_are_asked_for(place: str, rows: slice, columns: slice) -> None:
    image = Image.new("RGB", (320, 240), "olive")
    changed = (pixels(done(f"write 'Hello' {place}", image)) != pixels(image)).any(axis=2)
    assert changed[rows, columns].sum() > 100
    changed[rows, columns] = False
    assert not changed.any()


def test_letters_have_the_colour_and_size_that_is_said() -> None:
    image = Image.new("RGB", (320, 240), "olive")

    def area(wording: str) -> int:
        return int((pixels(done(wording, image)) != pixels(image)).any(axis=2).sum())

    small, normal, large = (area(f"write 'Hi' in the centre in {how} letters") for how in ("small", "yellow", "large"))
    assert small < normal < large
    assert (pixels(done("write 'Hi' in the centre in red", image)) == (255, 0, 0)).all(axis=2).any()
    band = pixels(done("add the caption 'Hi' in navy", image))[-6:]
    assert band.mean() > 150, "dark letters stand on a light band"
    with pytest.raises(Refused, match="does not fit"):
        done("write 'far too long for this' in the centre", Image.new("RGB", (20, 10)))


# ---------------------------------------------------------------- any picture

EVERY = (
    "more contrast", "auto contrast", "equalize it", "more vivid", "invert it", "posterize it", "reduce it to 4 colours", "threshold it",
    "dither it", "solarize it", "lift the shadows", "gamma 2", "shift the hue", "swap red and green", "add film grain", "add colour noise",
    "denoise it", "pixelate it", "emboss it", "find the edges", "pencil sketch", "add a vignette", "make it half the size",
    "enlarge it by 300%",
    "resize to 300x20", "resize it to 4000 pixels high", "tile it 6x6", "mirror the left half", "kaleidoscope effect", "add a border",
    "add a border of 500 px", "add a polaroid frame", "pad it to a square", "letterbox it", "round the corners", "crop it to a circle",
    "cut it into an oval", "add a drop shadow", "round the corners and add a drop shadow", "round the corners with a radius of 900 px",
)  # fmt: skip


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2)])
def test_tiny_and_thin_pictures_survive_every_edit(size: tuple[int, int]) -> None:
    for wording in EVERY:
        result = apply(Image.new("RGB", size, "teal"), parse_instruction(wording), max_pixels=50_000)
        assert result.mode == "RGB"
        assert 0 < result.width * result.height <= 50_000, wording


def test_no_edit_asks_for_much_memory_however_the_picture_is_shaped(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmi_env.tools.edit.pixels import shape

    monkeypatch.setattr(shape, "CANVAS", 200_000)
    monkeypatch.setattr(shape, "TURNED", 400_000)
    made: list[int] = []
    new = Image.new

    def counted(mode: str, size: tuple[int, int], *rest: object) -> Image.Image:
        made.append(size[0] * size[1])
        return new(mode, size, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "new", counted)
    for size in ((50_000, 1), (1, 50_000), (220, 220)):
        image = new("RGB", size, "teal")
        for wording in (*EVERY, "rotate 45 degrees", "rotate 91 degrees"):
            result = apply(image, parse_instruction(wording), max_pixels=50_000)
            assert result.width * result.height <= 50_000, wording
    assert 300_000 < max(made) < 700_000


DIGESTS = {
    "more contrast": "a2fabfe3cd0c",
    "more vivid": "48425f7da7dd",
    "invert it": "1632ea1a6e98",
    "posterize it": "e380fcf50267",
    "solarize it": "7a9c8e32e7bf",
    "lift the shadows": "2afb8b8b4209",
    "gamma 1.7": "57ae01fd622d",
    "shift the hue by 75 degrees": "3159f8fdc8d4",
    "turn the reds blue": "a8bb6107a41c",
    "swap red and blue": "ed38b723cf0e",
    "add film grain": "54d6a1a3ede7",
    "add colour noise": "eaa1ecad253f",
    "add a vignette": "fdcdc06d75d3",
    "add a thin gold border": "8b1762ae61a8",
    "pad it to a square": "1cf17ec67043",
    "tile it 2x2": "588dc5d73bc2",
    "mirror the left half": "aca365269b75",
    "round the corners": "ef6d4551abc4",
    "crop it to a circle": "3590e02e810a",
    "keep only the red": "f336a93be09d",
}


def test_what_is_worked_out_in_whole_numbers_is_the_same_everywhere() -> None:
    assert {words: hashlib.sha256(done(words).tobytes()).hexdigest()[:12] for words in DIGESTS} == DIGESTS

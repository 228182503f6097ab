"""The edits that came after the first nine: many wordings of each, combinations in the order said, and words that ask for no edit."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from llmi_env.document import Failure
from llmi_env.errors import Refused
from llmi_env.prompting import result_text
from llmi_env.tools.edit import EXAMPLES, Operation, apply, parse_instruction
from llmi_env.tools.edit.operation import Kind


def read_wordings() -> dict[str, list[str]]:
    """Wordings by what they ask for, from `edit_wordings.txt`: a line "= MEANING", then a wording a line."""
    wordings: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("edit_wordings.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            said = wordings.setdefault(line[2:], [])
        else:
            said.append(line)
    return wordings


WORDINGS = read_wordings()


def told(operation: Operation) -> str:
    amount = f"{operation.amount:g}" if operation.amount else ""
    top, place = "top" if operation.top else "", f"@{operation.place}" if operation.place else ""
    return " ".join(filter(None, (operation.kind, amount, operation.text, top, place, operation.colour)))


def test_there_are_at_least_twenty_edits_each_with_an_example() -> None:
    assert set(EXAMPLES) == set(get_args(Kind))
    assert len(EXAMPLES) >= 20


@pytest.mark.parametrize("meaning", WORDINGS)
def test_wordings(meaning: str) -> None:
    for wording in WORDINGS[meaning]:
        assert "; ".join(told(operation) for operation in parse_instruction(wording)) == meaning, wording


def test_every_edit_is_said_in_several_ways() -> None:
    ways: dict[str, int] = {}
    for meaning, wordings in WORDINGS.items():
        for part in meaning.split("; "):
            kind = part.split()[0]
            ways[kind] = ways.get(kind, 0) + len(wordings)
    new = set(EXAMPLES) - {"grayscale", "brightness", "tint", "blur", "sharpen", "crop", "rotate", "flip", "caption"}
    assert {kind: ways.get(kind, 0) for kind in new if ways.get(kind, 0) < 4} == {}


# ---------------------------------------------------------------- words that ask for no edit


@pytest.mark.parametrize(
    ("wording", "meaning"),
    [
        ("blur the picture of a frame", "blur 0.02"),
        ("add contrast to the picture of a frame", "contrast 1.4"),
        ("add contrast to the photo of a border collie", "contrast 1.4"),
        ("posterize the photo of the colourful market", "posterize 4"),
        ("solarize the photo of the dark forest", "solarize 128"),
        ("add grain to the picture of the bright frame", "noise 0.3"),
        ("make it darker with a negative mood", "brightness 0.65"),
        ("make it black and white to give it more contrast", "grayscale"),
        ("add the caption 'Add a black border'", "caption Add a black border"),
        ("write 'invert the colours, add grain' in the centre", "caption invert the colours, add grain @centre"),
        ("add the caption 'Negative' and a vignette", "caption Negative; vignette 0.8 black"),
        ("solarize it so that the frame stands out", "solarize 128"),
    ],
)
def test_what_the_picture_shows_and_what_a_caption_says_is_no_edit(wording: str, meaning: str) -> None:
    assert "; ".join(told(operation) for operation in parse_instruction(wording)) == meaning


@pytest.mark.parametrize(
    "wording",
    [
        # other things of the same name
        "a picture of a frame", "add a border collie", "border collie", "frame house", "add a noise barrier", "crop to the edge of the lake",
        "give it a negative mood", "a negative review", "turn on the light", "add a shadow puppet", "add a picture frame shop",
        "the shadow of the tree is too dark", "vignette of village life", "the picture is a mosaic floor", "round the numbers",
        "sharp corners",
        "posterize the photo 'Inverted black frame'", "add a film border patrol", "draw a frame of a film", "duplicate",
        "repeat the previous edit",
        # a part of the picture, or something new in it
        "invert the cat", "pixelate the face", "pixelate the face in the picture", "make the dog bigger", "make the dog in the picture bigger",
        "blur the man in the photo and add a border", "make the car in the photo red and add a border", "tile the floor in the photo",
        "put a border around the cat", "add a frame to the window", "add a white frame to the dog in the photo", "make the red car blue",
        "turn the blue sky red", "change the background to blue", "lift the shadows of the trees", "increase the contrast of the sky",
        "round the corners of the table in the photo", "make the moon round", "draw a circle", "sketch a cat", "draw a sketch of a cat",
        "make the picture with a frame darker", "blur the picture with the frame", "make the border black",
        # the contrary
        "do not invert it", "don't add a border", "without a border", "add contrast without a border", "no vignette please",
        "remove the shadow", "remove the border", "remove the vignette",
        # one part that can be done, one that cannot
        "increase the contrast and add a dog", "add a border and draw a picture of a dog", "turn it into an oil painting and add a border",
        "posterize it so that it looks like a print and add a dog", "solarize it to make it dreamy and remove the car",
        "add noise and remove the people", "add a hat with a border", "increase the contrast, then explain what you did",
        # nothing in particular
        "resize it", "scale", "make it less", "make it more", "add a", "add a red", "high", "up", "extra", "change the hue", "swap the heads",
    ],
)  # fmt: skip
def test_it_is_refused_whole(wording: str) -> None:
    with pytest.raises(Refused):
        parse_instruction(wording)


@pytest.mark.parametrize(
    ("wording", "reason"),
    [
        ("resize it to 1000%", "5% to 400%, not 1000%"),
        ("resize it to 1%", "5% to 400%, not 1%"),
        ("enlarge it 50x", "5% to 400%, not 5000%"),
        ("resize to 99999x99999", "8 to 4000 pixels, not 99999"),
        ("resize it to 5 pixels", "8 to 4000 pixels, not 5"),
        ("tile it 50x50", "not 50 x 50"),
        ("tile it 0x3", "not 0 x 3"),
        ("repeat it 1000 times", "not 1000 x 1"),
        ("posterize to 1 level", "2 to 64 levels, not 1"),
        ("reduce it to 1000 colours", "2 to 256 colours, not 1000"),
        ("gamma 99", "0.1 to 10, not 99"),
        ("pad it to 99:1", "1:10 to 10:1, not 99:1"),
        ("add a border and " * 30 + "flip it", "more than 20 edits"),
        ("x" * 1001, "more than 1000 characters"),
    ],
)
def test_a_refusal_says_what_is_too_much(wording: str, reason: str) -> None:
    with pytest.raises(Refused, match=re.escape(reason)):
        parse_instruction(wording)


@pytest.mark.parametrize("wording", ["add a dragon", "turn it into an oil painting", "make the left half darker"])
def test_a_policy_reads_the_whole_list_within_what_it_is_shown_of_a_refusal(wording: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_instruction(wording)
    shown = result_text(0, Failure("refused", "policy", str(caught.value)))
    assert len(shown) < 350
    assert [name for name in EXAMPLES if name not in shown] == []


def test_corners_come_before_the_shadow_that_they_cast() -> None:
    assert [
        operation.kind for operation in parse_instruction("add a drop shadow and round the corners, then blur it")
    ] == [
        "corners",
        "shadow",
        "blur",
    ]


# ---------------------------------------------------------------- any text

VOCABULARY = sorted(
    {word for wordings in WORDINGS.values() for wording in wordings for word in wording.split()}
    | {"the", "not", "dog", "'", '"', ":", "%", "°", "-", "#12", "999999", "picture", "of", "x", "px"}
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(VOCABULARY), max_size=30).map(" ".join))
def test_any_words_are_read_or_refused_and_what_is_read_can_be_done(text: str) -> None:
    try:
        operations = parse_instruction(text)
        assert operations
        result = apply(Image.new("RGB", (48, 36), "teal"), operations, max_pixels=20_000)
    except Refused:
        return
    assert result.mode == "RGB"
    assert 0 < result.width * result.height <= 20_000


def seconds(of: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    try:
        of(text)
    except Refused:
        pass
    return time.process_time() - began


def test_reading_is_quick_however_the_text_is_made() -> None:
    generator = random.Random(0)
    seconds(parse_instruction, "add a dragon")  # the patterns are compiled once
    for word in generator.sample(VOCABULARY, 20):
        for form in (f"{word} ", f"a {word} of ", f"{word}-", word):
            assert seconds(parse_instruction, (form * 1000)[:1000]) < 1.5, form
    for text in (
        "' " * 500, "add 'a b' " * 99, "the picture of " * 66, "with a " * 140, "10 px " * 160, "thin black " * 90, "turn red " * 110,
        "the photo of a dark forest " * 37, "increase the contrast and " * 38, "keep only the red " * 55, "the the the of " * 60,
        "ﷺ " * 500, "ﬃ" * 1000, "(" * 1000,
    ):  # fmt: skip
        assert seconds(parse_instruction, text[:1000]) < 1.5, text[:30]


def test_a_text_of_a_hundred_thousand_characters_costs_nothing() -> None:
    for text in ("a " * 50_000, "add a border and " * 6_000, "'" * 100_000, "x" * 100_000, " " * 99_999 + "x"):
        assert seconds(parse_instruction, text) < 0.2

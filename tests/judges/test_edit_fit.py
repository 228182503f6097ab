"""Whether an edit is the one that the question wants."""

import json
from importlib.resources import files

import pytest

from llmi_env.judges import edit_fit
from llmi_env.judges.edit_fit import is_other
from llmi_env.tools.edit.language import edits_named
from llmi_env.tools.edit.operation import EXAMPLES, Operation

RIGHT = [
    ("My photo is too dark. Fix that.", "make it brighter"),
    ("Swap left and right of the motorcycle.", "flip it horizontally"),
    ("Turn left into right in my picture.", "mirror it"),
    ("Lay an orange wash over the dunes.", "tint it orange"),
    ("Give the red barn a vintage look.", "make it sepia"),
    (
        "Our printer has black ink only. Convert the attached horse.",
        "make it black and white and add the caption 'Horses'",
    ),
    ("The attached photo is too sharp for a background.", "blur it"),
    ("The photo is too warm in tone for a winter sale.", "make it cooler"),
    ("Desaturate the given image.", "convert to grayscale"),
    ("Draw an upside-down raven, then the same darkened to dusk.", "make it darker"),
    ('Stamp "Back soon" onto the attached door.', "add the caption 'Back soon'"),
    ("Brighten it and mirror it.", "make it brighter"),
    ("Show an owl.", "make it brighter"),
    ("Brighten the owl.", "give the owl wings"),
    ("", ""),
    # what a subject is like, what is wrong with a picture, and edits that questions are not read for
    ("a warm bowl of soup, then the same with a thin black border", "add a thin black border"),
    ("Draw a dark forest, then the same forest with a vignette", "add a vignette"),
    ("a bright red postbox, then the same pixelated", "pixelate it"),
    ("A sharp knife, then as a pencil sketch", "turn it into a pencil sketch"),
    ("a cold drink, the same with more contrast", "increase the contrast"),
    ("a maize crop, then the same with a white frame", "add a white border"),
    ("Smooth out the noise", "remove the noise"),
    ("Brighten the shadows", "lift the shadows"),
    ("a black and white pencil sketch of it", "turn it into a pencil sketch"),
    ("My photo came out dark. Please fix it.", "make it brighter"),
    ("My photo is rather dim; fix it", "make it brighter"),
    ("My photo is blurry. Can you fix it?", "sharpen it"),
    ("Remove the blur from my photo.", "sharpen it"),
    ("It is out of focus; repair it", "sharpen it"),
    ("It has a yellow cast; neutralise it", "make it cooler"),
    ("Remove the blue tint", "make it warmer"),
    ("a colourful parrot, then the same in monochrome", "make it black and white"),
    ("a grey heron, then it with stronger colours", "make the colours more vivid"),
    ("My photo is too grey. Fix it.", "make the colours more vivid"),
    ("too vivid. Mute them.", "desaturate it"),
    ("Show a knight with increased exposure", "make it brighter"),
    ("owl at night; lighten the picture", "make it brighter"),
    ("a swarm of bees in blue tones", "tint it blue"),
    ("Global warming poster with a blue tint", "tint it blue"),
    ("icy Arctic in orange evening tones", "give it a warm orange tint"),
    ("a blue whale, then with a warm tint", "give it a warm orange tint"),
    ("a green meadow, then as at sunset", "give it an orange tint"),
    ("Mirror the photo.", "flip it across the vertical axis"),
    ("a rear-view mirror, turned by 180 degrees", "turn it upside down"),
    ("sky blue wash over it", "tint it blue"),
    ("a light blue wash over it", "tint it blue"),
    ("a golden tint over it", "tint it yellow"),
    ("a purple wash over it", "tint it violet"),
    ("a teal wash over it", "tint it turquoise"),
    ("a rosy pink wash over it", "tint it rose"),
    ("a reddish brown tint over it", "make it sepia"),
    ("Crop the portrait to the face", "crop to the top half"),
    ("Crop away the empty sky", "crop to the bottom half"),
    ("Zoom in on the left eye", "zoom in"),
    ("make it look like an old photo", "make it black and white"),
    ('Explain the saying "break a leg" and show it with a frame', "add a black border"),
    ('Read "Moby Dick" and add a frame', "add a border"),
    ('My photo of the printing "The Times" with a frame', "add a black border"),
    ("The picture is for a blurb; darken it", "make it darker"),
    ("Turn the page: a hot roll, mirrored", "mirror it"),
    ("My picture looks the wrong way up.", "turn it upside down"),
]
OTHER = [
    ("Draw a train, then the same with a blurred look.", "make it brighter"),
    ("My photo is too dark. Fix that.", "make it darker"),
    ("Swap left and right of the motorcycle.", "flip it vertically"),
    ("Lay an orange wash over the dunes.", "tint it blue"),
    ("Give the red barn a vintage look.", "blur it heavily"),
    ("Sketch a stork; below, the identical stork turned upside down.", "blur it heavily"),
    ("Our printer has black ink only. Convert the attached horse.", "rotate it"),
    ('Stamp "Back soon" onto the attached door.', "make it grayscale"),
    ("A vase, and the same with only its top half kept.", "crop to the left half"),
    ("Darken my photo.", "make it brighter, blur it and sharpen it"),
    ("Make my picture less bright.", "make it brighter"),
    ("Darken my photo.", "make it darker and brighter"),
    ("Swap left and right of the motorcycle", "add the caption 'a'"),
    ("Lay an orange wash over the desert", "add the caption 'a'"),
    ("Lay an orange wash over the desert", "make it brighter and add the caption 'a'"),
    ("Turn it upside down", "rotate it by 1 degree"),
    ('Stamp "2026" on it', "add the caption '1'"),
    (
        "Lay an orange wash over it",
        "make it darker, blur it, sharpen it, rotate it 90 degrees, mirror it, make it black and white, crop to the left half, tint it orange",
    ),
]


@pytest.mark.parametrize(("question", "asked"), RIGHT)
def test_nothing_is_held_against_a_right_edit(question: str, asked: str) -> None:
    assert not is_other(question, asked)


@pytest.mark.parametrize(("question", "asked"), OTHER)
def test_another_edit_is_seen(question: str, asked: str) -> None:
    assert is_other(question, asked)


@pytest.mark.parametrize("words", EXAMPLES.values())
def test_no_edit_is_another_one_than_itself(words: str) -> None:
    assert not is_other(words, words)


def test_it_takes_no_wanted_edit_for_another_and_sees_half_of_all_blurs_for_what_they_are() -> None:
    """Over the tasks that ship."""
    for name, caught in (("practice", 0.5), ("train", 0.7), ("heldout", 0.7)):
        lines = (files("llmi_env") / "assets" / "tasks" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        wanted = [
            (task["question"], call["params"]["prompt"])
            for task in map(json.loads, lines[:: 5 if name == "practice" else 1])
            for call in task["reference"]
            if call["tool"] == "edit"
        ]
        assert len(wanted) >= 20
        assert [pair for pair in wanted if is_other(*pair)] == []
        sharp = [question for question, prompt in wanted if "blur" not in prompt and "soft" not in prompt]
        assert sum(is_other(question, "blur it heavily") for question in sharp) >= caught * len(sharp)


def test_no_more_is_read_than_a_question_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes longer the more there is, faster than in proportion, and a question may be of any length."""
    read: list[int] = []

    def watched(text: str) -> list[Operation]:
        read.append(len(text))
        return edits_named(text)

    monkeypatch.setattr(edit_fit, "edits_named", watched)
    assert is_other(f"Darken it. {'crop ' * 20_000}", "make it brighter")
    assert not is_other("Darken it, in this test alone.", "make it brighter " * 300)
    assert read, "the question was read"
    assert max(read) <= 1000
    assert len(read) == 1, "an instruction that the tool refuses for its length needs no comparison"


def test_what_a_text_names_is_read_among_much_else() -> None:
    named = edits_named(
        "A plane for our leaflet, drawn once, and that same drawing flipped the other way, in sepia. Notes, please."
    )
    assert {edit.kind for edit in named} == {"flip", "tint"}
    assert edits_named("An owl at noon, with a caption of your own.") == []
    assert edits_named('Read "Turn it upside down" aloud.') == []

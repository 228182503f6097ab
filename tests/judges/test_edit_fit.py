"""Whether an edit is the one that the question wants."""

import json
from importlib.resources import files

import pytest

from llmi_env.judges.edit_fit import is_other
from llmi_env.tools.edit.language import edits_named


@pytest.mark.parametrize(
    ("question", "asked", "other"),
    [
        ("My photo is too dark. Fix that.", "make it brighter", False),
        ("My photo is too dark. Fix that.", "make it darker", True),
        ("Swap left and right of the motorcycle.", "flip it vertically", True),
        ("Swap left and right of the motorcycle.", "flip it horizontally", False),
        ("Turn left into right in my picture.", "mirror it", False),
        ("My picture looks the wrong way up.", "turn it upside down", False),
        ("Lay an orange wash over the desert.", "tint it blue", True),
        ("Lay an orange wash over the desert.", "tint it orange", False),
        ("Give the red barn a vintage look.", "make it sepia", False),
        ("Give the red barn a vintage look.", "blur it heavily", True),
        ("Sketch a wolf; below, the identical wolf turned upside down.", "blur it heavily", True),
        ("Sketch a wolf; below, the identical wolf turned upside down.", "rotate it by 180 degrees", False),
        ("We print in black ink only. Convert the attached horse.", "make it black and white", False),
        ("We print in black ink only. Convert the attached horse.", "rotate it", True),
        ("The attached photo is too sharp for a background.", "blur it", False),
        ("The photo is too warm in tone for a winter sale.", "make it cooler", False),
        ("Desaturate the given image.", "convert to grayscale", False),
        ("Draw an upside-down raven, then the same darkened to dusk.", "make it darker", False),
        ('Stamp "Sold out" onto the attached stadium.', "add the caption 'Sold out'", False),
        ('Stamp "Sold out" onto the attached stadium.', "make it grayscale", True),
        ("A poster entitled 'Best of all', a mirrored cello.", "add the caption 'Best of all'", False),
        ("A bottle, and the same with only its top half kept.", "crop to the top half", False),
        ("A bottle, and the same with only its top half kept.", "crop to the left half", True),
        ("Brighten it and mirror it.", "make it brighter", False),
        ("Show an owl.", "make it brighter", False),
        (
            "Brighten the owl.",
            "give the owl wings",
            False,
        ),  # not understood: the call fails, and that is counted elsewhere
        ("Put the words '' and '" + "x" * 300 + "' on it.", "make it brighter", False),
    ],
)
def test_an_edit_that_is_another_one(question: str, asked: str, other: bool) -> None:
    assert is_other(question, asked) is other


def test_it_takes_no_wanted_edit_for_another_and_sees_most_blurs_for_what_they_are() -> None:
    """Over the tasks that ship; those of `train` were not looked at when it was written."""
    for name, wrongly, caught in (("practice", 0.01, 0.5), ("train", 0.0, 0.6), ("heldout", 0.0, 0.6)):
        lines = (files("llmi_env") / "assets" / "tasks" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        wanted = [
            (task["question"], call["params"]["prompt"])
            for task in map(json.loads, lines[:: 5 if name == "practice" else 1])
            for call in task["reference"]
            if call["tool"] == "edit"
        ]
        assert len(wanted) >= 20
        assert sum(is_other(*pair) for pair in wanted) <= wrongly * len(wanted)
        sharp = [question for question, prompt in wanted if "blur" not in prompt and "soft" not in prompt]
        assert sum(is_other(question, "blur it heavily") for question in sharp) >= caught * len(sharp)


def test_what_a_text_names_is_read_among_much_else() -> None:
    named = edits_named(
        "A plane for our leaflet, drawn once, and that same drawing flipped the other way, in sepia. Notes, please."
    )
    assert {edit.kind for edit in named} == {"flip", "tint"}
    assert edits_named("An owl at night, with a caption of your own.") == []

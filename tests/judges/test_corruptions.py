"""Corruptions do what they say: each changes a good document, and nothing besides."""

from __future__ import annotations

import random

import pytest
from PIL import Image

from llmi_env.calls import parse_call
from llmi_env.document import Document, Figure, Picture, Provenance, Text
from llmi_env.judges.corruptions import CORRUPTIONS, Corruption, Sample, make_figure
from llmi_env.rewards.preset import RULE_TERMS, Preset
from llmi_env.task import Task


def picture(colour: str, caption: str) -> Picture:
    image = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    image.paste(colour, (8, 8, 40, 30))
    return Picture(image, Provenance("test", caption=caption))


RAIN = Sample(
    Task("Rain in Lisbon: January 100 mm, July 5 mm. One chart and one photo.", image_count=3, id="rain"),
    Document(
        (
            Text("January brings 100 mm of rain. July is much drier, with only 5 mm. "),
            make_figure("code", "bar chart of the rain", "plt.bar(['Jan', 'Jul'], [100, 5])", picture("navy", "")),
            Text(" Tourists come in summer and carry no umbrella at all. "),
            make_figure("search", "photo of Lisbon", "Lisbon", picture("red", "roofs of Lisbon")),
            make_figure("diffusion", "a dream of rain", "rain over a harbour", picture("teal", "rain")),
            Text(" The trams run in every weather."),
        )
    ),
)
OWLS = Sample(
    Task("Write about owls.", image_count="at_least_one", id="owls"),
    Document(
        (
            Text("Owls hunt at night. "),
            make_figure("search", "photo of an owl", "barn owl", picture("brown", "a barn owl")),
            make_figure("diffusion", "an owl with a crown", "an owl king", picture("gold", "an owl king")),
            make_figure("code", "bar chart of mice", "plt.bar(['Mon', 'Tue'], [3, 4])", picture("black", "")),
            Text(" They hear a mouse under the snow."),
        )
    ),
)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_a_corruption_changes_the_document_the_same_way_each_time(corruption: Corruption) -> None:
    before = RAIN.document.to_source()
    worse = corruption.spoil(RAIN, OWLS, random.Random(1))
    assert worse is not None
    assert worse != RAIN.document
    assert worse == corruption.spoil(RAIN, OWLS, random.Random(1))
    assert RAIN.document.to_source() == before


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_what_a_call_says_is_what_is_written(corruption: Corruption) -> None:
    """Judges read the body as written, or the call: both must tell of the corruption."""
    worse = corruption.spoil(RAIN, OWLS, random.Random(1))
    assert worse is not None
    for figure in worse.figures:
        assert figure.call is None or parse_call(figure.raw) == figure.call


def test_names_are_unique_and_terms_are_judged_ones_of_the_reward() -> None:
    assert len({corruption.name for corruption in CORRUPTIONS}) == len(CORRUPTIONS)
    judged = set(Preset.bundled("llmi").terms) - set(RULE_TERMS)
    assert {term for corruption in CORRUPTIONS for term in corruption.lowers} == judged


def test_what_cannot_be_spoilt_is_left_alone() -> None:
    plain = Sample(Task("Write about owls."), Document((Text("Owls hunt."),)))
    spoilt = {c.name for c in CORRUPTIONS if c.spoil(plain, RAIN, random.Random(0)) is not None}
    assert {c.name for c in CORRUPTIONS if c.lowers != ("text_quality",)}.isdisjoint(spoilt)


def test_swapped_pictures_stay_under_the_old_calls_and_misplaced_figures_take_theirs_along() -> None:
    by_name = {corruption.name: corruption for corruption in CORRUPTIONS}
    calls = [figure.call for figure in RAIN.document.figures]
    pictures = [figure.picture for figure in RAIN.document.figures]
    swapped = by_name["swapped pictures"].spoil(RAIN, OWLS, random.Random(0))
    assert swapped is not None
    assert [figure.call for figure in swapped.figures] == calls
    assert [figure.picture for figure in swapped.figures] == [pictures[-1], *pictures[:-1]]
    misplaced = by_name["misplaced figures"].spoil(RAIN, OWLS, random.Random(0))
    assert misplaced is not None
    assert [figure.call for figure in misplaced.figures] == [calls[-1], *calls[:-1]]
    assert [b.text for b in misplaced if isinstance(b, Text)] == [b.text for b in RAIN.document if isinstance(b, Text)]


def test_a_wrong_picture_keeps_the_caption_of_the_right_one() -> None:
    by_name = {corruption.name: corruption for corruption in CORRUPTIONS}
    worse = by_name["wrong picture"].spoil(RAIN, OWLS, random.Random(0))
    assert worse is not None
    for old, new in zip(RAIN.document.figures, worse.figures, strict=True):
        assert isinstance(new, Figure)
        assert old.picture is not None
        assert new.picture is not None
        assert new.picture.provenance == old.picture.provenance
        assert new.picture.digest != old.picture.digest

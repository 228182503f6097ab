"""InterleavedBench: its file, its questions, its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmi_env.document import Document
from llmi_env.evaluate.benchmark import BenchmarkError, Item
from llmi_env.evaluate.benchmarks.interleaved_bench import ASPECTS, InterleavedBench
from tests.evaluate.benchmarks.benchmark_files import (
    DATA,
    LOST,
    Spoil,
    answered,
    check_measures,
    document,
    picture,
    spoilt,
)

BENCH = InterleavedBench()
KITE, MUG, BOAT = ITEMS = tuple(BENCH.load(DATA / "interleaved_bench"))
WORDLESS = ["perceptual_quality", "image_coherence", "helpfulness"]


def asked_of(item: Item, answer: Document) -> list[str]:
    return [question.name for question in BENCH.questions(item, answer)]


def test_pictures_go_to_task_and_answer_by_their_marks() -> None:
    assert KITE.task.question == (
        "Goal: start a kite alone. Step 1: lay it down.\n[picture 0]\nWhat are the next two steps? Write each with a picture."
    )
    assert [image.provenance.source for image in KITE.task.images] == ["kites/1_0.png"]
    assert KITE.reference is not None
    assert [shown.provenance.title for shown in KITE.reference.pictures] == ["1_1", "1_2"]
    assert (MUG.reference, MUG.task.images) == (None, ())
    assert [item.kind for item in ITEMS] == ["wikihow_next_step", "storytelling_generation", "image_editing"]


def test_each_aspect_is_asked_by_itself() -> None:
    asked = BENCH.questions(KITE, document("Pull.", picture()))
    assert tuple(question.name for question in asked) == ASPECTS
    assert {(question.low, question.high, question.prompt, *question.criteria) for question in asked} == {
        (0, 5, "interleaved_bench", "score")
    }


def test_where_the_task_is_without_words_those_of_the_text_do_not_count() -> None:
    assert [item.facts["wordless"] for item in ITEMS] == [False, False, True]
    answer = document("Here it is:", picture())
    assert asked_of(BOAT, answer) == WORDLESS
    scores = answered(BENCH.questions(BOAT, answer), lambda question, _: {"helpfulness": 2}.get(question.name, 5))
    assert BENCH.measure(BOAT, answer, scores) == {
        "average": 4.0,
        "perceptual_quality": 5,
        "image_coherence": 5,
        "helpfulness": 2,
    }


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (document("Pull."), ["text_quality", "helpfulness"]),
        (document("Pull.", LOST), ["text_quality", "helpfulness"]),
        (document(picture(), " \n"), WORDLESS),
        (Document(), []),
    ],
)
def test_of_what_is_not_there_the_score_is_nought_unasked(answer: Document, asked: list[str]) -> None:
    assert asked_of(KITE, answer) == asked
    figures = BENCH.measure(KITE, answer, answered(BENCH.questions(KITE, answer), lambda *_: 5))
    assert figures == {"average": len(asked), **{aspect: 5 * (aspect in asked) for aspect in ASPECTS}}


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_no_higher_answer_lowers_a_figure(data: st.DataObject) -> None:
    answers = [document("Pull.", picture()), document("Pull."), Document()]
    check_measures(BENCH, data.draw(st.sampled_from(ITEMS)), data.draw(st.sampled_from(answers)), data)


def _item(**fields: Any) -> Spoil:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0] |= fields

    return change


def _said(*values: Any, **fields: Any) -> Spoil:
    return _item(conversations=[{"from": "human", "value": value} for value in values], **fields)


@pytest.mark.parametrize(
    ("change", "task", "answer", "wordless"),
    [
        (_said("<image> Mend it.", image="kites/1_0.png"), 1, 0, False),
        (_said("Mend it.", "", image=["kites/1_0.png"]), 0, 1, True),
        (_said("Mend it.", "So. <image>", image=["kites/1_0.png"]), 0, 1, False),
        (_said("<image> Mend it.", "So.", image=["kites/1_0.png", "kites/1_1.png"]), 1, 1, False),
        (_said("Mend it.", None, image=None, task_name="subject_driven_generation"), 0, 0, True),
    ],
)
def test_pictures_that_are_left_over_are_the_answers(
    change: Spoil, task: int, answer: int, wordless: bool, tmp_path: Path
) -> None:
    item = BENCH.load(spoilt("interleaved_bench", "interleaved_bench.json", change, tmp_path))[0]
    assert len(item.task.images) == task
    assert (len(item.reference.pictures) if item.reference else 0) == answer
    assert item.facts["wordless"] is wordless


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _said("<image> <image> Mend it.", image=["kites/1_0.png"]),
            "field 'image': expected a picture for each <image> in the conversations, 2, not 1",
        ),
        (
            _said("<image> Mend it.", image=["kites/9_9.png"]),
            "field 'image[0]': expected the name of a picture below the file's folder, not 'kites/9_9.png'",
        ),
        (_said("<image> Mend it.", image=3), "field 'image': expected a list, not int 3"),
        (_item(conversations=[]), "field 'conversations': expected a turn with the task, not an empty list"),
        (_item(conversations="Owls?"), "field 'conversations': expected a list, not str 'Owls?'"),
        (_said(""), "field 'conversations[0].value': expected text that is not blank, not str ''"),
        (_said("Owls?", ["So."]), "field 'conversations[1].value': expected text, not list"),
        (_said("<image>"), "expected a task with words"),
        (_item(task_name=None), "field 'task_name': expected text that is not blank, not null"),
        (_item(id=" "), "field 'id': expected text that is not blank, not str ' '"),
    ],
)
def test_what_is_not_as_published_is_refused(change: Spoil, message: str, tmp_path: Path) -> None:
    copy = spoilt("interleaved_bench", "interleaved_bench.json", change, tmp_path)
    with pytest.raises(BenchmarkError) as told:
        BENCH.load(copy)
    assert str(told.value).startswith("interleaved_bench.json, item 1")
    assert message in str(told.value)

"""ISG-Bench: its file, the four levels of its questions, its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmi_env.document import Document, Figure, Text
from llmi_env.evaluate.benchmark import BenchmarkError, Item, Question
from llmi_env.evaluate.benchmarks.isg_bench import ISGBench
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

BENCH = ISGBench()
KITE, LEAF, BOAT = ITEMS = tuple(BENCH.load(DATA / "isg_bench"))
RIGHT = document("It climbs.", picture("red"), "\n\n", picture("blue"))
WRONG = document("It climbs.", picture("red"), "It is high up.", picture("blue"))


def asked_of(item: Item, answer: Document) -> dict[str, Question]:
    return {question.name: question for question in BENCH.questions(item, answer)}


def test_items_have_group_structure_and_golden_answer() -> None:
    assert [(item.id, item.kind, item.facts["structure"]) for item in ITEMS] == [
        ("0001", "Temporal Prediction", ("text", "image", "image")),
        ("0002", "Image-Text Complementation", ("image", "text", "image", "text")),
        ("0003", "VQA", ("text", "image")),
    ]
    assert BOAT.task.question.startswith("[picture 0]\nWhat is missing")
    assert BOAT.reference is not None
    assert BOAT.reference.text == "The sail is missing."
    # `<all>` is no block, a question without words none, and the golden answer has no third picture.
    assert [item.facts["left_out"] for item in ITEMS] == [1, 2, 0]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (RIGHT, True),
        (document("It climbs", LOST, " and climbs.", picture(), picture()), True),
        (WRONG, False),
        (document(picture(), picture(), "It climbs."), False),
        (document("It climbs.", picture(), LOST), False),
        (document("It climbs.", picture(), picture(), picture()), False),
        (Document(), False),
    ],
)
def test_the_structure_is_that_of_the_golden_answer(answer: Document, right: bool) -> None:
    asked = asked_of(KITE, answer)
    figures = BENCH.measure(KITE, answer, answered([*asked.values()], lambda question, _: question.high))
    assert figures["structural"] == float(right)
    assert (figures["block"], figures["image"]) == ((10, 1) if right else (1, 0))
    assert ("block-0" in asked, "image-0" in asked) == (right, right)


def test_the_golden_answer_has_its_own_structure() -> None:
    for item in ITEMS:
        assert item.reference is not None
        assert BENCH.measure(item, item.reference, answered(BENCH.questions(item, item.reference), lambda *_: 1))[
            "structural"
        ]


def test_a_question_about_two_blocks_shows_the_one_and_gives_the_other() -> None:
    asked = asked_of(KITE, RIGHT)
    text, pictures = asked["block-0"], asked["block-1"]
    assert text.part == Document((Text("It climbs."),))
    assert text.given == {"the second block, of the task": [KITE.task.images[0]]}
    assert text.criteria == {
        "holds": "Does the DOCUMENT tell what happens after this image? "
        "(The first of the two is the DOCUMENT, the second is the block under GIVEN.)"
    }
    assert (text.low, text.high, text.prompt) == (1, 10, "isg_block")
    assert pictures.part is not None
    assert [shown.digest for shown in pictures.part.pictures] == [picture("blue").digest]
    assert pictures.given == {"the second block, of the answer": [picture("red")]}


def test_what_is_of_the_query_is_never_the_document() -> None:
    answer = document(picture("red"), "Paint it.", picture("blue"), "Press it.")
    asked = asked_of(LEAF, answer)
    assert asked["block-1"].part == Document((Text("Press it."),))
    assert asked["block-1"].given == {"the second block, of the answer": ["Paint it."]}
    assert asked["block-2"].given == {"the first block, of the task": [LEAF.task.question]}
    assert (
        asked["block-2"]
        .criteria["holds"]
        .startswith("Does the block under GIVEN ask for what this image shows? (The first")
    )
    assert [question for question in asked if question.startswith("block")] == ["block-0", "block-1", "block-2"]


def test_a_question_about_a_picture_shows_it_alone() -> None:
    asked = asked_of(KITE, RIGHT)["image-1"]
    assert asked.part == Document((Figure(RIGHT.figures[0].raw, RIGHT.figures[0].call, picture("red")),))
    assert (asked.criteria, asked.low, asked.high, asked.prompt) == ({"yes": "Is the kite red?"}, 0, 1, "isg_image")


@pytest.mark.parametrize(
    ("answers", "share"), [((1, 1, 1), 1), ((0, 1, 1), 1 / 3), ((1, 0, 1), 2 / 3), ((0, 0, 0), 0), ((0.5, 1, 0), 1 / 3)]
)
def test_what_presupposes_a_no_is_a_no(answers: tuple[float, ...], share: float) -> None:
    scores = answered([*asked_of(KITE, RIGHT).values()], lambda question, _: question.low)
    scores |= {f"image-{at}/yes": value for at, value in enumerate(answers)}
    assert BENCH.measure(KITE, RIGHT, scores)["image"] == pytest.approx(share)


def test_the_whole_is_judged_beside_the_golden_answer_whatever_its_structure() -> None:
    whole = asked_of(KITE, WRONG)["whole"]
    assert (list(whole.criteria)[-1], whole.low, whole.high) == ("overall_score", 1, 10)
    assert whole.part is None
    assert whole.given["the golden answer"][0] == "The kite lifts off the ground and climbs into the sky."
    scores = answered([whole], lambda _, name: 7 if name == "overall_score" else 3)
    assert BENCH.measure(KITE, WRONG, scores) == {"holistic": 7, "structural": 0, "block": 1, "image": 0}


def test_an_empty_answer_has_the_lowest_score_unasked() -> None:
    for answer in (Document(), document(" \n", LOST)):
        assert BENCH.questions(KITE, answer) == []
        assert BENCH.measure(KITE, answer, {}) == {"holistic": 1, "structural": 0, "block": 1, "image": 0}


def test_an_item_without_questions_about_pictures_has_no_such_figure() -> None:
    answer = document("The sail.", picture())
    scores = answered(BENCH.questions(BOAT, answer), lambda *_: 4)
    assert BENCH.measure(BOAT, answer, scores) == {"holistic": 4, "structural": 1, "block": 4}


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_no_higher_answer_lowers_a_figure(data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(ITEMS))
    assert item.reference is not None
    check_measures(BENCH, item, data.draw(st.sampled_from([item.reference, WRONG, Document()])), data)


def _predict(**fields: Any) -> Spoil:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["predict"] |= fields
        rows[0]["predict"] = {name: value for name, value in rows[0]["predict"].items() if value is not ...}

    return change


def _item(**fields: Any) -> Spoil:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0] |= fields

    return change


def _loaded(change: Spoil, tmp_path: Path) -> Item:
    return BENCH.load(spoilt("isg_bench", "ISG-Bench.jsonl", change, tmp_path))[0]


def test_a_category_that_no_group_has_stands_for_itself(tmp_path: Path) -> None:
    assert _loaded(_item(Category="Semantic Segmentation"), tmp_path).kind == "Semantic Segmentation"


def test_questions_of_other_shapes_are_left_out_and_counted(tmp_path: Path) -> None:
    strange = [{}, {"subject": ["<gen_img1>"], "object": "<gen_img2>", "Question": "?"}]
    same = {"subject": "<gen_img1>", "object": "<gen_img1>", "Question": "Is it itself?"}
    query = {"subject": "<query_img1>", "object": "<query_text1>", "Question": "Do they fit?"}
    dangling = [
        {"image": "<gen_img1>", "Question": "A kite?", "id": 0, "Preliminary": [7]},
        {"image": "<gen_text1>", "Question": "A text?", "id": 1, "Preliminary": []},
        {"image": "<gen_img2>", "Question": "A red one?", "id": 0, "Preliminary": [0]},
        {"image": "<gen_img2>", "Question": "A tail?", "id": 3, "Preliminary": [0]},
    ]
    fields = {"block_qa": {"questions": [*strange, same, query]}, "image_qa": dangling}
    item = _loaded(_predict(**fields), tmp_path)
    assert item.facts["block"] == ()
    assert [question.needs for question in item.facts["image"]] == [(), (0,), (1,)]
    assert item.facts["left_out"] == 6
    assert "block" not in BENCH.measure(
        item, RIGHT, {"whole/overall_score": 5, **dict.fromkeys((f"image-{at}/yes" for at in range(3)), 1.0)}
    )


@pytest.mark.parametrize("nothing", [..., None, {}, [], {"questions": []}])
def test_questions_about_pictures_may_be_missing(nothing: Any, tmp_path: Path) -> None:
    assert _loaded(_predict(image_qa=nothing), tmp_path).facts["image"] == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_item(Golden=[]), "field 'Golden': expected a golden answer, not an empty one"),
        (_item(Golden="x"), "field 'Golden': expected a list, not str 'x'"),
        (_item(Query=[]), "expected a task with words"),
        (
            _item(Query=[{"type": "video", "content": "x"}]),
            "field 'Query[0].type': expected 'text' or 'image', not str 'video'",
        ),
        (
            _item(Query=[{"type": "image"}]),
            "field 'Query[0].content': expected the name of a picture below the file's folder",
        ),
        (_item(Query=[{"type": "text", "content": 4}]), "field 'Query[0].content': expected text, not int 4"),
        (_item(id=1), "field 'id': expected text that is not blank, not int 1"),
        (_item(predict=None), "field 'predict': expected an object, not null"),
        (_predict(block_qa=...), "field 'predict.block_qa': expected an object, but it is missing, did you mean"),
        (_predict(block_qa={"questions": [1]}), "field 'predict.block_qa.questions[0]': expected an object, not int 1"),
        (_predict(image_qa=3), "field 'predict.image_qa': expected a list, not int 3"),
        (
            _predict(image_qa=[{"Question": "A kite?"}]),
            "field 'predict.image_qa[0].image': expected text that is not blank",
        ),
        (
            _predict(image_qa={"questions": [{"image": "<gen_img1>"}]}),
            "field 'predict.image_qa.questions[0].Question': expected text",
        ),
    ],
)
def test_what_is_not_as_published_is_refused(change: Spoil, message: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError) as told:
        _loaded(change, tmp_path)
    assert str(told.value).startswith("ISG-Bench.jsonl, item 1")
    assert message in str(told.value)

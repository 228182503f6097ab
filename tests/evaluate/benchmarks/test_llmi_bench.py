"""LLMI-Bench: its files, its questions, its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmi_env.evaluate.benchmark import BenchmarkError
from llmi_env.evaluate.benchmarks.llmi_bench import LLMIBench
from tests.evaluate.benchmarks.benchmark_files import DATA, Spoil, answered, check_measures, document, picture, spoilt

BENCH = LLMIBench()
ITEMS = BENCH.load(DATA / "llmi_bench")


def test_both_published_files_are_read() -> None:
    assert [(item.id, item.kind, len(item.task.images)) for item in ITEMS] == [
        ("text_only-1", "text", 0),
        ("text_only-2", "text", 0),
        ("text_only-3", "text", 0),
        ("text_only-4", "text", 0),
        ("mm_input-1", "multimodal", 1),
        ("mm_input-2", "multimodal", 2),
    ]
    assert all(list(item.facts["criteria"]) == [f"r{number}" for number in range(1, 11)] for item in ITEMS)
    assert all(item.reference is None and item.task.source == "llmi-bench" for item in ITEMS)
    assert [item.id for item in BENCH.load(DATA / "llmi_bench" / "mm_input.json")] == ["mm_input-1", "mm_input-2"]


def test_pictures_stand_where_the_prompt_marks_them() -> None:
    assert ITEMS[4].task.question.startswith("This is the mug that our pottery sells:\n[picture 0]\nWrite a short page")
    assert ITEMS[5].task.question.startswith("[picture 0]\n[picture 1]\nThe first picture")
    assert [image.provenance.title for image in ITEMS[5].task.images] == ["boat", "boat_sail"]


def test_pictures_without_a_mark_follow_the_words(tmp_path: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[1] |= {"prompt": "<image> What has changed?", "id": "boats"}

    item = BENCH.load(spoilt("llmi_bench", "mm_input.json", change, tmp_path))[5]
    assert (item.id, item.task.question) == ("boats", "[picture 0]\nWhat has changed?\n[picture 1]")


def test_each_criterion_is_asked_by_itself() -> None:
    asked = BENCH.questions(ITEMS[1], document("Growth.", picture()))
    assert [question.name for question in asked] == [f"r{number}" for number in range(1, 11)]
    assert asked[2].criteria == {"met": "The chart shows the numbers 12, 18, 27, 31 and 46."}
    assert {(question.low, question.high, question.prompt, question.show) for question in asked} == {
        (0, 2, "rubric", "pictures")
    }


def test_the_score_is_of_ten() -> None:
    text = document("Growth.")
    points = {"r1": 2, "r2": 1, "r3": 0, "r4": 2}
    scores = answered(BENCH.questions(ITEMS[1], text), lambda question, _: points.get(question.name, 2))
    assert BENCH.measure(ITEMS[1], text, scores) == {"score": 8.5, "met": 0.8}


def test_fewer_criteria_weigh_more(tmp_path: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"prompt": "Owls?", "r1": "It is about owls.", "r2": "It is true.", "images": None}]

    item = BENCH.load(spoilt("llmi_bench", "mm_input.json", change, tmp_path) / "mm_input.json")[0]
    assert item.kind == "text"
    assert BENCH.measure(item, document("x"), {"r1/met": 2, "r2/met": 1}) == {"score": 7.5, "met": 0.5}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_higher_answer_lowers_a_figure(data: st.DataObject) -> None:
    check_measures(BENCH, data.draw(st.sampled_from(ITEMS)), document("x", picture()), data)


def _first(**fields: Any) -> Spoil:
    return lambda rows: [{name: value for name, value in (rows[0] | fields).items() if value is not ...}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _first(r2=...),
            "field 'r2': expected criteria without gaps, not missing beside r1, r3, r4, r5, r6, r7, r8, r9, r10",
        ),
        (_first(r1=...), "field 'r1': expected criteria without gaps, not missing beside r2"),
        (_first(r11="More."), "field 'r11': expected criteria from r1 to r10, not a field of that name"),
        (_first(r0="Less."), "field 'r0': expected criteria from r1 to r10"),
        (_first(r3=" "), "field 'r3': expected text that is not blank, not str ' '"),
        (_first(r3=["a"]), "field 'r3': expected text that is not blank, not list"),
        (_first(prompt=...), "field 'prompt': expected text that is not blank, but it is missing"),
        (_first(prompt=..., promt="Owls?"), "but it is missing, did you mean 'promt'"),
        (_first(prompt="\ud800"), "without lone surrogates"),
        (_first(prompt="<image>"), "expected a task with words, not pictures alone"),
        (
            _first(prompt="<image> <image> Mugs?"),
            "field 'images': expected a picture for each <image> in the prompt, 2, not 1",
        ),
        (_first(images="images/mug.png"), "field 'images': expected a list, not str"),
        (_first(id=3), "field 'id': expected text, not int 3"),
        (lambda rows: [{"prompt": "Owls?"}], "field 'r1': expected text that is not blank, but it is missing"),
    ],
)
def test_what_is_not_as_published_is_refused(change: Spoil, message: str, tmp_path: Path) -> None:
    copy = spoilt("llmi_bench", "mm_input.json", change, tmp_path)
    with pytest.raises(BenchmarkError) as told:
        BENCH.load(copy)
    assert "mm_input.json, item 1" in str(told.value)
    assert message in str(told.value)

"""OpenING: its file, its questions, its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmi_env.document import Figure, Picture, Text
from llmi_env.evaluate.benchmark import BenchmarkError
from llmi_env.evaluate.benchmarks.opening import CRITERIA, OpenING
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

BENCH = OpenING()
ITEMS = BENCH.load(DATA / "opening")
TEXT = document("Lay it down.", picture(), "Pull.", LOST)


def test_steps_become_words_and_pictures_without_marks() -> None:
    assert [(item.id, item.kind, item.facts) for item in ITEMS] == [
        ("2101001", "Educational Tasks", {"steps": 2, "subtask": "Interactive Tutorial Generation"}),
        ("2101002", "Educational Tasks", {"steps": 2, "subtask": "Interactive Tutorial Generation"}),
        ("0101003", "Storybook Creation", {"steps": 2, "subtask": "Story Writing"}),
    ]
    assert ITEMS[0].task.question == "Show me step by step, in words and pictures, how a kite is started alone."
    assert ITEMS[1].task.question.splitlines()[:2] == ["This is my first leaf print.", "[picture 0]"]
    assert [len(item.task.images) for item in ITEMS] == [0, 1, 0]


def test_the_published_answer_is_the_reference() -> None:
    answer = ITEMS[2].reference
    assert answer is not None
    assert [type(block) for block in answer] == [Text, Figure, Text]
    assert answer.text.endswith("with what?In spring a girl came with a sheet under her arm.")
    assert answer.pictures[0].image.size == (64, 48)
    assert "![3-o-1]" in answer.to_markdown()


def test_the_scores_are_asked_at_once() -> None:
    scores, pair = BENCH.questions(ITEMS[0], TEXT)
    assert (scores.name, tuple(scores.criteria), scores.low, scores.high) == ("scores", CRITERIA, 0, 10)
    assert (pair.name, tuple(pair.criteria), pair.low, pair.high) == ("pair", ("better",), 0, 3)
    ((heading, other),) = pair.given.items()
    assert heading == "the other answer"
    assert [type(part) for part in other] == [str, type(other[1]), str, type(other[1])]
    assert isinstance(other[1], Picture)
    assert "<image>" not in str(other[0])


@pytest.mark.parametrize(
    ("verdict", "wins"),
    [(0, (0, 0, 0)), (1, (0, 0.5, 0)), (2, (1, 0.5, 0)), (3, (1, 1, 1)), (1.5, (0.5, 0.5, 0)), (2.5, (1, 0.75, 0.5))],
)
def test_ties_count_in_three_ways(verdict: float, wins: tuple[float, ...]) -> None:
    asked = BENCH.questions(ITEMS[0], TEXT)
    figures = BENCH.measure(ITEMS[0], TEXT, answered(asked, lambda question, _: verdict))
    assert (figures["win_fdt"], figures["win_ties_half"], figures["win_ties_none"]) == wins


def test_overall_is_the_mean_of_seven() -> None:
    bench = OpenING(compare=False)
    (asked,) = bench.questions(ITEMS[0], TEXT)
    figures = bench.measure(ITEMS[0], TEXT, {f"scores/{name}": at for at, name in enumerate(CRITERIA)})
    assert figures == {"overall": 3.0, **{name: at for at, name in enumerate(CRITERIA)}}
    assert [measure.name for measure in bench.measures] == list(figures)
    assert tuple(asked.criteria) == CRITERIA


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_no_higher_answer_lowers_a_figure(data: st.DataObject) -> None:
    check_measures(BENCH, data.draw(st.sampled_from(ITEMS)), TEXT, data)


def test_without_a_published_answer_nothing_is_compared(tmp_path: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["conversations"][1]["output"] = [{"image": None, "text": " <image> "}]

    items = BENCH.load(spoilt("opening", "test_data.jsonl", change, tmp_path))
    assert items[0].reference is None
    asked = BENCH.questions(items[0], TEXT)
    assert [question.name for question in asked] == ["scores"]
    assert "win_fdt" not in BENCH.measure(items[0], TEXT, answered(asked, lambda *_: 5))


def _turns(*turns: Any) -> Spoil:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["conversations"] = list(turns)

    return change


def _field(name: str, value: Any) -> Spoil:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0][name] = value

    return change


ASKED: dict[str, Any] = {"input": [{"text": "Owls?", "image": None}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _turns(ASKED),
            "field 'conversations': expected two objects, one with 'input' and one with 'output', not 1 of them",
        ),
        (_turns(ASKED, 3), "field 'conversations[1]': expected an object, not int 3"),
        (
            _turns(ASKED, ASKED),
            "field 'conversations[1].output': expected a list, but it is missing. Fields here: input",
        ),
        (_turns({"input": "Owls?"}, ASKED), "field 'conversations[0].input': expected a list, not str 'Owls?'"),
        (_turns({"input": []}, {"output": []}), "expected a task with words"),
        (
            _turns({"input": [{"text": 1}]}, {"output": []}),
            "field 'conversations[0].input[0].text': expected text, not int 1",
        ),
        (
            _turns(ASKED, {"output": [{"text": "", "image": "./images/9-o-1.png"}]}),
            "field 'conversations[1].output[0].image': expected the name of a picture below the file's folder, "
            "not './images/9-o-1.png': there is no such file",
        ),
        (_field("total_uid", 2101001), "field 'total_uid': expected text that is not blank, not int 2101001"),
        (_field("meta_task_name", None), "field 'meta_task_name': expected text that is not blank, not null"),
    ],
)
def test_what_is_not_as_published_is_refused(change: Spoil, message: str, tmp_path: Path) -> None:
    copy = spoilt("opening", "test_data.jsonl", change, tmp_path)
    with pytest.raises(BenchmarkError) as told:
        BENCH.load(copy)
    assert str(told.value).startswith("test_data.jsonl, item 1")
    assert message in str(told.value)

"""The bundled tasks: how many, how balanced, how far apart the splits are, and that the embedded tools can fulfil them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llmi_env.calls import BUILTIN, Call
from llmi_env.document import Picture, Provenance
from llmi_env.task_sets import TaskSet, load_tasks
from llmi_env.tools import ToolContext, corpus, make_tool

SPLITS = ("train", "validation", "heldout")
"""Those that are written by hand; `practice` is looked at in `test_practice_tasks.py`."""

STAND_IN = Image.new("RGB", (64, 64), "teal")


def rows(split: str) -> list[dict[str, Any]]:
    text = (Path(str(files("llmi_env"))) / "assets" / "tasks" / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


ROWS = {split: rows(split) for split in SPLITS}
ALL = [row for split in SPLITS for row in ROWS[split]]


def references(tool: str, source: list[dict[str, Any]] = ALL) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    return ((row, call) for row in source for call in row["reference"] if call["tool"] == tool)


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{3,}", text.lower()))


# --- counts and balance ---------------------------------------------------------------------------------------


def test_there_are_enough_tasks() -> None:
    assert len(ALL) >= 400
    assert len(ROWS["train"]) >= 280
    assert len(ROWS["validation"]) >= 48
    assert len(ROWS["heldout"]) >= 64


def test_ids_are_unique_over_all_splits() -> None:
    assert max(Counter(row["id"] for row in ALL).values()) == 1


@pytest.mark.parametrize("split", SPLITS)
def test_tools_are_required_about_equally_often(split: str) -> None:
    required = Counter(tool for row in ROWS[split] for tool in row["tools"])
    total = required.total()
    assert set(required) == set(BUILTIN)
    assert all(0.2 <= count / total <= 0.3 for count in required.values()), required


@pytest.mark.parametrize("split", SPLITS)
def test_every_kind_of_image_count_occurs(split: str) -> None:
    assert {"any", "none", "at_least_one", 1, 2} <= {row["image_count"] for row in ROWS[split]}
    assert any(row["image_count"] == 3 for row in ALL)


def test_most_tasks_are_short() -> None:
    calls = Counter(len(row["reference"]) for row in ALL)
    assert calls[1] / len(ALL) >= 0.7
    assert 0.1 <= calls[2] / len(ALL) <= 0.2
    assert 0.06 <= calls[0] / len(ALL) <= 0.12
    assert all((row.get("size") == "long") == (len(row["reference"]) > 2) for row in ALL)


def test_references_agree_with_their_tasks() -> None:
    check_references(ALL)


def check_references(tasks: Sequence[dict[str, Any]]) -> None:
    for row in tasks:
        count, found = row["image_count"], len(row["reference"])
        assert {call["tool"] for call in row["reference"]} == set(row["tools"]), row["id"]
        match count:
            case "none":
                assert found == 0, row["id"]
            case "any" | "at_least_one":
                assert found >= 1, row["id"]
            case _:
                assert found == count, row["id"]
        for index, call in enumerate(row["reference"]):
            Call(call["tool"], call["description"], call["params"]).check(len(row["images"]), index)


# --- variety --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [*SPLITS, "all"])
def test_no_template_covers_more_than_a_twentieth(split: str) -> None:
    tasks = ALL if split == "all" else ROWS[split]
    assert max(Counter(row["template"] for row in tasks).values()) / len(tasks) <= 0.05


@pytest.mark.parametrize("field", ["subject", "template", "question"])
def test_splits_are_disjoint(field: str) -> None:
    seen = [{row[field].lower() for row in ROWS[split]} for split in SPLITS]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_splits_share_no_input_picture_and_no_query() -> None:
    for pick in (
        lambda row: set(row["images"]),
        lambda row: {str(call["params"].get("query", "")).lower() for call in row["reference"]} - {""},
        lambda row: {str(call["params"].get("code", "")) for call in row["reference"]} - {""},
    ):
        seen = [{value for row in ROWS[split] for value in pick(row)} for split in SPLITS]
        assert not seen[0] & seen[1]
        assert not seen[0] & seen[2]
        assert not seen[1] & seen[2]


def test_wordings_of_one_split_do_not_return_in_another() -> None:
    """Questions of two splits share no run of seven words: what differs between templates is more than the noun."""

    def runs(question: str) -> set[tuple[str, ...]]:
        parts = re.findall(r"\w+", question.lower())
        return {tuple(parts[i : i + 7]) for i in range(len(parts) - 6)}

    seen = [{run for row in ROWS[split] for run in runs(row["question"])} for split in SPLITS]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_no_question_names_a_tool_or_a_call() -> None:
    assert not [row["id"] for row in ALL if re.search(r"\b(diffusion|imgen|search tool|code tool)\b", row["question"])]


# --- the embedded tools can fulfil them -----------------------------------------------------------------------


def carry_out(
    tool: str, cases: Sequence[tuple[dict[str, Any], dict[str, Any], Picture | None]], **options: Any
) -> list[Picture]:
    """Run calls one after the other; a call that fails raises, which fails the test."""

    async def run() -> list[Picture]:
        made = make_tool(tool, **options)
        try:
            results = []
            for row, call, picture in cases:
                context = ToolContext(description=call["description"], pictures=(picture,) if picture else ())
                try:
                    results.append(await made(call["params"], context))
                except Exception as error:
                    raise AssertionError(f"{row['id']}: {call}") from error
            return results
        finally:
            await made.aclose()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def sets() -> dict[str, TaskSet]:
    return {split: load_tasks(split) for split in SPLITS}


@pytest.mark.parametrize("split", SPLITS)
def test_every_task_loads_with_its_pictures(sets: dict[str, TaskSet], split: str) -> None:
    for row, task in zip(ROWS[split], sets[split], strict=True):
        assert task.id == row["id"]
        assert len(task.images) == len(row["images"])
        assert all(picture.provenance.licence and picture.provenance.title for picture in task.images)


def test_every_edit_instruction_is_carried_out(sets: dict[str, TaskSet]) -> None:
    stand_in = Picture(STAND_IN, Provenance("test"))
    inputs = {task.id: task.images for split in SPLITS for task in sets[split]}
    cases = []
    for row, call in references("edit"):
        pictures = (*inputs[row["id"]], *[stand_in] * len(row["reference"]))
        cases.append((row, call, pictures[call["params"]["img_index"]]))
    for (row, _, before), after in zip(cases, carry_out("edit", cases), strict=True):
        assert before is not None
        assert row["images"] == [] or after.digest != before.digest, row["id"]


def check_search(semantic: bool) -> None:
    cases = [(row, call, None) for row, call in references("search")]
    wrong = []
    for (row, call, _), picture in zip(cases, carry_out("search", cases, semantic=semantic, user=False), strict=True):
        found = words(picture.provenance.title) | words(picture.provenance.caption)
        if not words(call["params"]["query"]) & found:
            wrong.append((row["id"], call["params"]["query"], picture.provenance.title))
    assert not wrong


def test_search_finds_what_the_references_look_for_by_words() -> None:
    check_search(semantic=False)


def test_search_finds_what_the_references_look_for_by_meaning() -> None:
    if not corpus.index_ready():
        pytest.skip("needs the prepared index of the bundled pictures: llmi prepare")
    check_search(semantic=True)


def test_reference_charts_are_drawn() -> None:
    cases = [(row, call, None) for row, call in references("code")]
    assert len(carry_out("code", cases[::5])) >= 18


@pytest.mark.slow
def test_all_reference_charts_are_drawn() -> None:
    cases = [(row, call, None) for row, call in references("code")]
    assert all(picture.image.width > 100 for picture in carry_out("code", cases))


@pytest.mark.slow
def test_reference_drawings_are_made() -> None:
    if importlib.util.find_spec("diffusers") is None:
        pytest.skip("needs the extra 'offline'")
    cases = [(row, call, None) for row, call in references("diffusion", ROWS["heldout"])]
    assert all(picture.image.width >= 32 for picture in carry_out("diffusion", cases[:6]))

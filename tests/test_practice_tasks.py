"""The task set that is put together by chance: well formed, apart from what is held out, and made by its script."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llmi_env.calls import BUILTIN, Call
from llmi_env.task_sets import load_tasks
from llmi_env.tools.edit import parse_instruction
from tests.test_bundled_tasks import check_references, rows

PRACTICE = rows("practice")
EVALUATED = [*rows("validation"), *rows("heldout")]


def test_it_is_what_its_script_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    import build_practice

    assert build_practice.build() == PRACTICE
    sys.modules.pop("build_practice")


def test_there_are_thousands_and_all_tools_are_needed_about_equally_often() -> None:
    assert len(PRACTICE) >= 12_000
    assert len({row["question"] for row in PRACTICE}) == len(PRACTICE)
    required = Counter(tool for row in PRACTICE for tool in row["tools"])
    assert set(required) == set(BUILTIN)
    assert all(0.2 <= count / required.total() <= 0.3 for count in required.values()), required
    assert {"any", "none", "at_least_one", 1, 2} <= {row["image_count"] for row in PRACTICE}
    assert max(len(row["question"]) for row in PRACTICE) < 260


def test_references_agree_with_their_tasks() -> None:
    check_references(PRACTICE)
    calls = [call for row in PRACTICE for call in row["reference"]]
    for told in {call["params"]["prompt"] for call in calls if call["tool"] == "edit"}:
        assert parse_instruction(told), told
    for code in {call["params"]["code"] for call in calls if call["tool"] == "code"}:
        ast.parse(code)
    for call in calls[::10]:
        assert Call(call["tool"], call["description"], call["params"]).to_json()


def test_nothing_of_what_is_evaluated_stands_in_it() -> None:
    def runs(row: dict[str, Any]) -> set[tuple[str, ...]]:
        parts = re.findall(r"\w+", row["question"].lower())
        return {tuple(parts[i : i + 7]) for i in range(len(parts) - 6)}

    def queries(row: dict[str, Any]) -> set[str]:
        return {str(call["params"].get("query", "")).lower() for call in row["reference"]} - {""}

    for of in (
        runs,
        queries,
        lambda row: set(row["images"]),
        lambda row: {row["question"], row["subject"], row["template"]},
    ):
        ours, theirs = ({value for row in side for value in of(row)} for side in (PRACTICE, EVALUATED))
        assert not ours & theirs


def test_it_loads_with_its_pictures() -> None:
    tasks = load_tasks("practice")
    assert len(tasks) == len(PRACTICE)
    with_pictures = [number for number, row in enumerate(PRACTICE) if row["images"]]
    assert len(with_pictures) >= 2000
    for number in with_pictures[::200]:
        assert [len(task.images) for task in tasks[number : number + 1]] == [1]

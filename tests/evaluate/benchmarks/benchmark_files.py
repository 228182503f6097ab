"""Benchmark files of tests: those that ship under `tests/data`, and spoilt copies of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.evaluate.benchmark import Benchmark, Item, Question

DATA = Path(__file__).parents[2] / "data"
CALL = Call("search", "a boat", {"query": "boat"})
LOST = Failure.of("search", "timeout", "too late")

Spoil = Callable[[list[dict[str, Any]]], Any]
"""Changes the items of a file in place; what it returns, where it returns something, is written instead of them."""


def picture(colour: str = "red") -> Picture:
    return Picture(Image.new("RGB", (8, 8), colour), Provenance("test"))


def document(*parts: str | Picture | Failure) -> Document:
    return Document(
        tuple(Text(part) if isinstance(part, str) else Figure(CALL.to_json(), CALL, part) for part in parts)
    )


def rows_of(file: Path) -> list[dict[str, Any]]:
    text = file.read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = (
        json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    )
    return rows


def spoilt(folder: str, file: str, change: Spoil, tmp_path: Path) -> Path:
    """A copy of a folder in which the items of a file are changed."""
    copy = tmp_path / folder
    shutil.copytree(DATA / folder, copy)
    rows = rows_of(copy / file)
    instead = change(rows)
    value = rows if instead is None else instead
    text = value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, list) and file.endswith(".jsonl"):
        text = "\n".join(map(json.dumps, value))
    (copy / file).write_text(text, encoding="utf-8")
    return copy


def answered(questions: Sequence[Question], score: Callable[[Question, str], float]) -> dict[str, float]:
    """An answer to every criterion."""
    return {f"{question.name}/{name}": score(question, name) for question in questions for name in question.criteria}


def check_measures(benchmark: Benchmark, item: Item, document: Document, data: st.DataObject) -> Mapping[str, float]:
    """What every benchmark promises: figures that it has named, within their bounds, that no higher score makes lower."""
    asked = benchmark.questions(item, document)
    assert len({question.name for question in asked}) == len(asked)
    low, high = {}, {}
    for question in asked:
        for name in question.criteria:
            drawn = sorted(data.draw(st.tuples(*[st.integers(2 * question.low, 2 * question.high)] * 2)))
            low[f"{question.name}/{name}"], high[f"{question.name}/{name}"] = (each / 2 for each in drawn)
    bounds = {measure.name: measure for measure in benchmark.measures}
    below, above = benchmark.measure(item, document, low), benchmark.measure(item, document, high)
    assert list(below) == [name for name in bounds if name in below]
    assert below.keys() == above.keys()
    for name in below:
        assert bounds[name].low <= below[name] <= above[name] <= bounds[name].high
    return below

"""Our own tasks as a benchmark, and benchmarks by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmi_env.config import load_config
from llmi_env.errors import ConfigError
from llmi_env.evaluate.benchmark import Benchmark, BenchmarkError, taken_evenly
from llmi_env.evaluate.benchmarks.heldout import TaskBenchmark, TaskItems
from llmi_env.evaluate.benchmarks.registry import BENCHMARKS, find_benchmark
from llmi_env.evaluate.grading import questions_of
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.task_sets import load_tasks
from llmi_env.world.protocol import Scored
from tests.rewards.making import document, figure, judged, picture

DOCS = Path(__file__).parents[3] / "docs" / "evaluation.md"
LLMI = HybridReward.preset("llmi")
OWNED = document("The seahorse swims upright.", figure(outcome=picture(1), what="a seahorse"))


def test_the_held_out_tasks_are_the_items() -> None:
    benchmark, tasks = find_benchmark("heldout"), load_tasks("heldout")
    items = benchmark.load(None)
    assert isinstance(benchmark, Benchmark)
    assert [item.id for item in items] == list(tasks.ids)
    assert (items[0].task, items[0].kind) == (tasks[0], "search")
    assert items[0].facts["subject"] == "seahorse"
    assert {item.kind for item in items} >= {"search", "code", "diffusion", "edit"}
    assert [item.id for item in items[10:12]] == list(tasks.ids[10:12])
    assert find_benchmark("validation").load(None)[0].id == load_tasks("validation").ids[0]


def test_sixteen_items_are_of_all_kinds_that_there_are() -> None:
    """The last tasks of the file need no tool: none of them would be among the first sixteen, nor among every fourth one."""
    items = find_benchmark("heldout").load(None)
    part = taken_evenly(items, 16)
    assert isinstance(part, TaskItems)
    assert (len(part), part.ids[0]) == (16, items.ids[0])
    assert {"search", "code", "diffusion", "edit", "no tool"} <= {item.kind for item in part}
    assert part.digest != items.digest


def test_tasks_without_their_tools_are_left_out() -> None:
    benchmark = find_benchmark("heldout", load_config("rules"))
    kinds = {tool for item in benchmark.load(None) for tool in item.task.tools}
    assert kinds == {"search", "code", "edit"}
    assert benchmark.terms is not None
    assert benchmark.terms.judged_terms == ()


def test_tasks_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    row = {"id": "a", "question": "Owls?", "image_count": "any", "tools": [], "images": []}
    file.write_text(json.dumps(row) + "\n")
    (item,) = find_benchmark("heldout").load(file)
    assert (item.id, item.kind) == ("a", "no tool")
    file.write_text(json.dumps({**row, "image_count": -3}) + "\n")
    with pytest.raises(BenchmarkError, match=r"heldout: own\.jsonl, row 1.*image_count"):
        find_benchmark("heldout").load(file)


def test_the_measures_are_the_reward_and_its_terms() -> None:
    benchmark = TaskBenchmark("heldout", LLMI)
    item = benchmark.load(None)[0]
    judgments = judged(text_quality=4, call_quality=3)
    scores = {f"reward/{term}": judgments[term].score for term in LLMI.judged_terms}  # type: ignore[union-attr]
    found = benchmark.measure(item, OWNED, scores)
    report = LLMI.score(OWNED, item.task, judgments)
    assert found["reward"] == report.total
    assert found["text_quality"] == 4
    assert found["image_count"] == report.terms["image_count"].raw
    declared = {measure.name: measure for measure in benchmark.measures}
    assert next(iter(declared)) == benchmark.headline == "reward"
    for name, value in found.items():
        assert declared[name].low <= value <= declared[name].high


def test_the_reward_rises_with_every_score() -> None:
    benchmark = TaskBenchmark("heldout", LLMI)
    item = benchmark.load(None)[0]
    low = {f"reward/{term}": 2.0 for term in LLMI.judged_terms}
    start = benchmark.measure(item, OWNED, low)["reward"]
    for name in low:
        assert benchmark.measure(item, OWNED, {**low, name: 4.0})["reward"] >= start


def test_a_document_that_the_world_failed_has_no_reward_and_its_terms_stand() -> None:
    benchmark = TaskBenchmark("heldout", LLMI)
    item = benchmark.load(None)[0]
    failed = document("The seahorse swims.", figure(outcome="unavailable", what="a seahorse"))
    found = benchmark.measure(item, failed, {f"reward/{term}": 3.0 for term in LLMI.judged_terms})
    assert LLMI.score(failed, item.task, {term: Scored(3) for term in LLMI.judged_terms}).total is None
    assert "reward" not in found
    assert found["text_quality"] == 3


@pytest.mark.parametrize("name", BENCHMARKS.names)
def test_every_benchmark_can_be_found(name: str) -> None:
    benchmark = find_benchmark(name)
    assert benchmark.name == name
    assert benchmark.headline in {measure.name for measure in benchmark.measures}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("held-out", "did you mean 'heldout'"),
        ("tests.evaluate.making:Marker", "Marker is none, it needs `name`"),
        ("tests.evaluate.making:Nothing", "has no 'Nothing'"),
    ],
)
def test_what_is_no_benchmark_is_said_so(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_benchmark(name)


def test_a_class_of_ones_own() -> None:
    assert find_benchmark("tests.evaluate.making:Owls").name == "owls"


@pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not shipped with the package")
def test_the_benchmark_in_the_documentation_is_one() -> None:
    (example,) = (
        block for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "class Brevity" in block
    )
    scope: dict[str, Any] = {}
    exec(example, scope)
    benchmark = scope["Brevity"]()
    assert isinstance(benchmark, Benchmark)
    (item,) = benchmark.load(None)
    (question,) = questions_of(benchmark, item, document("Mice."))
    assert (question.name, question.high) == ("all", 2)
    assert benchmark.measure(item, document("Mice."), {"all/said": 2}) == {"kept_short": 1}

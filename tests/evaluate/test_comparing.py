"""Two evaluations side by side: differences, tests that keep their promise, and what may not be compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from llmi_env.errors import ConfigError
from llmi_env.evaluate import comparing, showing
from llmi_env.evaluate.benchmark import Item
from llmi_env.evaluate.comparing import compare_results
from llmi_env.evaluate.figures import Range
from llmi_env.evaluate.results import ItemFigures, Results, summarise
from llmi_env.evaluate.tool_use import ToolTally
from llmi_env.task import Task
from tests.evaluate.evaluations import NO_HIT, Birds, Judges, Told, birds, evaluation, good, met
from tests.rewards.making import document, figure

ITEMS = birds(10)


def style(value: Any) -> Judges:
    def says(item: Item, sample: int) -> Told:
        told = value(int(item.id.removeprefix("owl-"))) if callable(value) else value
        return {**good(item, sample), "style": told}

    return says


def results(path: Path, items: Sequence[Item] = ITEMS, benchmark: Any = None, **options: Any) -> Results:
    benchmark = benchmark or Birds()
    return summarise(benchmark, items, evaluation(path, items, benchmark=benchmark, **options))


def test_a_difference_that_every_item_shows_is_found(tmp_path: Path) -> None:
    before = results(tmp_path / "a", judges={"hawk": style(lambda n: 1 + n % 3)})
    after = results(tmp_path / "b", judges={"hawk": style(lambda n: 2 + n % 3)})
    change = compare_results(before, after).measures["style"]
    assert (change.difference, change.items) == (1.0, 10)
    assert change.after - change.before == pytest.approx(1.0)
    assert change.p == pytest.approx(2 / 2**10)  # all ten the same way round: two of all ways are as extreme
    assert change.p_adjusted == pytest.approx(4 * 2 / 2**10)  # four measures are looked at
    assert change.low is not None
    assert change.low > 0
    assert change.verdict == "better"
    assert compare_results(after, before).measures["style"].verdict == "worse"


def test_the_same_evaluation_twice_shows_nothing(tmp_path: Path) -> None:
    once = results(tmp_path, judges={"hawk": style(lambda n: 1 + n % 3)})
    found = compare_results(once, once)
    for change in (*found.measures.values(), *found.tools.values()):
        assert (change.difference, change.p, change.verdict) == (0.0, 1.0, "not distinguishable")


def test_missing_answers_that_could_turn_it_round_leave_it_open(tmp_path: Path) -> None:
    before = results(tmp_path / "a", judges={"hawk": style(lambda n: 2)})
    after = results(tmp_path / "b", judges={"hawk": style(lambda n: 3 if n < 6 else "HTTP 503")})
    change = compare_results(before, after).measures["style"]
    assert (change.difference, change.items) == (1.0, 6)
    assert change.bounds == Range(pytest.approx((6 - 4) / 10), pytest.approx((6 + 4 * 3) / 10))
    assert change.verdict == "better"
    after = results(tmp_path / "c", judges={"hawk": style(lambda n: 3 if n < 5 else "HTTP 503")})
    assert compare_results(before, after).measures["style"].verdict == "not distinguishable"  # five items: p is 1/16
    wide = results(tmp_path / "d", birds(20), judges={"hawk": style(lambda n: 3 if n < 8 else "HTTP 503")})
    first = results(tmp_path / "e", birds(20), judges={"hawk": style(lambda n: 2)})
    found = compare_results(first, wide)
    assert found.measures["style"].verdict == "open"
    assert showing.change_rows(found, first.measures)[0][-1] == "bounds of the difference"


def test_only_items_that_both_have_are_compared(tmp_path: Path) -> None:
    before = results(tmp_path / "a", birds(10), judges={"hawk": style(lambda n: n % 3 + 1)})
    after = results(tmp_path / "b", birds(20)[4:], judges={"hawk": style(lambda n: 5)})
    found = compare_results(before, after)
    assert found.items == tuple(f"owl-{n}" for n in range(4, 10))
    assert found.only == (4, 10)
    assert found.measures["style"].items == 6
    assert found.measures["style"].before == pytest.approx(np.mean([n % 3 + 1 for n in range(4, 10)]))


def test_tool_use_is_compared_as_well(tmp_path: Path) -> None:
    def writes(item: Item, sample: int) -> Any:
        return document("An owl.", figure(item.task.tools[0], outcome=NO_HIT)) if sample == 0 else met(item)

    before = results(tmp_path / "a", writes=lambda item, sample: writes(item, 0))
    after = results(tmp_path / "b", writes=lambda item, sample: writes(item, 1))
    tools = compare_results(before, after).tools
    assert (tools["succeeded"].before, tools["succeeded"].after, tools["succeeded"].verdict) == (0.0, 1.0, "better")
    assert tools["chosen"].difference == 0.0
    assert tools["accuracy"].difference == 1.0
    assert tools["accuracy"].p == pytest.approx(2 / 2**10)
    assert "fits" not in tools  # before, there is no picture that could fit


def test_evaluations_without_calls_or_judges_have_no_tool_use_to_compare(tmp_path: Path) -> None:
    class Computed(Birds):
        def questions(self, item: Item, document: Any) -> Sequence[Any]:
            return []

        def measure(self, item: Item, document: Any, scores: Any) -> dict[str, float]:
            return {"points": float(len(document.text) % 5)}

    items = [Item(Task(f"Owl {n}", id=f"owl-{n}")) for n in range(3)]
    options: Any = {"benchmark": Computed(), "judges": {}}
    before = results(tmp_path / "a", items, writes=lambda item, sample: document("Owls."), **options)
    after = results(tmp_path / "b", items, writes=lambda item, sample: document("An owl."), **options)
    found = compare_results(before, after)
    assert not found.tools
    assert found.measures["points"].difference == 2.0


def test_judges_that_differ_are_told(tmp_path: Path) -> None:
    before, after = results(tmp_path / "a"), results(tmp_path / "b", judges={"kite": good})
    assert any("not judged alike (hawk and kite)" in text for text in compare_results(before, after).warnings)
    assert not compare_results(before, before).warnings


@pytest.mark.parametrize(
    ("change", "match"), [({"benchmark": "fish"}, "one benchmark"), ({"version": "2"}, "one version")]
)
def test_two_benchmarks_are_not_compared(tmp_path: Path, change: dict[str, str], match: str) -> None:
    one = results(tmp_path)
    with pytest.raises(ConfigError, match=match):
        compare_results(one, one.model_copy(update=change))


def test_items_that_only_share_their_ids_are_not_compared(tmp_path: Path) -> None:
    one = results(tmp_path)
    with pytest.raises(ConfigError, match="not the same on both sides"):
        compare_results(one, one.model_copy(update={"data": "other"}))
    with pytest.raises(ConfigError, match="no item in common"):
        compare_results(one, one.model_copy(update={"items": {}}))


def made(base: Results, rng: np.random.Generator, items: int, shift: float = 0.0) -> Results:
    """Results of a policy whose items have points and calls at random: most calls succeed, and some items have more of them."""
    found = {}
    for n in range(items):
        calls = int(rng.integers(0, 4))
        right = int(rng.binomial(calls, 0.7))
        tally = ToolTally(needs=1, chosen=1, met=int(right > 0), calls=calls, valid=calls, succeeded=right)
        value = float(np.clip(rng.normal(2 + shift, 1), 0, 4))
        found[f"i{n}"] = ItemFigures(
            kind="", samples={0: {"points": Range(value, value)}}, tools={"search": tally}, texts={}
        )
    return base.model_copy(update={"items": found, "measures": {"points": base.measures["points"]}})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer permutations: p values are coarser, and keep their promise all the same."""
    monkeypatch.setattr(comparing, "PERMUTATIONS", 399)


@pytest.mark.slow
def test_where_nothing_differs_a_test_in_twenty_says_so(tmp_path: Path, quick: None) -> None:
    base, rng = results(tmp_path), np.random.default_rng(3)
    false: dict[str, list[bool]] = {}
    held: list[bool] = []
    for _ in range(120):
        found = compare_results(made(base, rng, 24), made(base, rng, 24))
        for name, change in {**found.measures, **found.tools}.items():
            assert change.p is not None
            false.setdefault(name, []).append(change.p <= 0.05)
        points = found.measures["points"]
        held.append(points.low <= 0 <= points.high)  # type: ignore[operator]
    # Of 120 tests at a level of 5 %, more than 14 would say so once in a thousand times.
    assert {name: sum(said) for name, said in false.items() if sum(said) > 14} == {}
    assert sum(held) >= 0.90 * len(held)


@pytest.mark.slow
def test_where_something_differs_it_is_mostly_found(tmp_path: Path, quick: None) -> None:
    base, rng = results(tmp_path), np.random.default_rng(4)
    found = [
        compare_results(made(base, rng, 40), made(base, rng, 40, shift=0.8)).measures["points"].verdict
        for _ in range(40)
    ]
    assert found.count("better") > 30
    assert "worse" not in found

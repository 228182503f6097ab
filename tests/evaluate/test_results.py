"""An evaluation summed up: means over items, intervals, and what missing answers and documents do to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from llmi_env.document import Document
from llmi_env.errors import ConfigError
from llmi_env.evaluate import showing
from llmi_env.evaluate.benchmark import BenchmarkError, Item, Question
from llmi_env.evaluate.benchmarks.heldout import TaskBenchmark
from llmi_env.evaluate.figures import Range
from llmi_env.evaluate.kept import EvaluationFolder
from llmi_env.evaluate.results import Results, summarise
from llmi_env.evaluate.scoring import NOT_ASKED, STALE
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.task import Task
from tests.evaluate.evaluations import NO_HIT, WORLD_DOWN, Birds, Told, birds, evaluation, good, met
from tests.rewards.making import document, figure

ITEMS = birds(6)


def number(item: Item) -> int:
    return int(item.id.removeprefix("owl-"))


def summed(path: Path, items: Sequence[Item] = ITEMS, **options: Any) -> Results:
    return summarise(options.get("benchmark") or Birds(), items, evaluation(path, items, **options))


def test_an_item_counts_once_however_many_documents_it_has(tmp_path: Path) -> None:
    def says(item: Item, sample: int) -> Told:
        return {**good(item, sample), "named": [0, 2][sample], "place": 2 if number(item) else 0}

    results = summed(tmp_path, judges={"hawk": says}, samples=2)
    points = results.measures["points"].overall
    assert points.mean == pytest.approx((1 + 5 * 3) / 6)
    assert (points.items, points.of, points.documents, points.missing) == (6, 6, 12, 0)
    assert points.bounds == (points.mean, points.mean)
    assert points.low is not None
    assert points.low < points.mean <= points.high  # type: ignore[operator]
    assert results.items["owl-0"].value("points") == 1
    assert results.complete


def test_a_missing_answer_leaves_a_figure_open_and_is_no_low_score(tmp_path: Path) -> None:
    def says(item: Item, sample: int) -> Told:
        return {**good(item, sample), "place": "HTTP 503"} if number(item) == 0 else good(item, sample)

    results = summed(tmp_path, judges={"hawk": says})
    points, style = results.measures["points"].overall, results.measures["style"].overall
    assert (points.mean, points.missing, points.items) == (4.0, 1, 5)
    assert points.bounds == (pytest.approx((2 + 5 * 4) / 6), 4.0)  # the answer would have been 0, 1 or 2
    assert results.items["owl-0"].samples[0]["points"] == Range(2, 4)
    assert (style.mean, style.missing) == (5.0, 0)  # what does not need the answer is known
    assert (results.judging["hawk"].asked, results.judging["hawk"].scored) == (24, 23)
    assert results.judging["hawk"].reasons == {"HTTP 503": 1}
    assert not results.complete
    assert results.criteria["facts/place"].overall.missing == 1
    assert "hawk gave no score (1): HTTP 503" in showing.reasons(results)
    row = next(row for row in showing.measure_rows(results) if row[0] == "points")
    assert row[4:] == ("5 of 6", "1 of 6", "[3.67, 4.00]")


def test_a_document_that_never_came_may_have_been_anything(tmp_path: Path) -> None:
    results = summed(tmp_path, writes=lambda item, sample: "HTTP 500" if number(item) == 1 else met(item))
    points, charts = results.measures["points"].overall, results.measures["charts"].overall
    assert points.mean == 4.0
    assert points.bounds == (pytest.approx(5 * 4 / 6), 4.0)
    assert (charts.of, charts.missing, charts.bounds) == (3, 1, (pytest.approx(4 / 3), 2.0))
    assert (results.writing.wanted, results.writing.written, results.writing.reasons) == (6, 5, {"HTTP 500": 1})
    assert results.criteria["reader/style"].overall.documents == 5  # nobody was asked about it


def test_of_several_documents_of_an_item_those_that_came_tell_its_mean(tmp_path: Path) -> None:
    def says(item: Item, sample: int) -> Told:
        return {**good(item, sample), "named": 0, "place": 0}

    writes = lambda item, sample: "HTTP 500" if (number(item), sample) == (2, 1) else met(item)  # noqa: E731
    results = summed(tmp_path, writes=writes, judges={"hawk": says}, samples=2)
    points = results.measures["points"].overall
    assert (points.mean, points.items, points.missing) == (0.0, 6, 1)
    assert points.bounds == (0.0, pytest.approx(4 / 2 / 6))
    assert "charts" not in results.items["owl-2"].samples[1]  # its other document shows that it is no matter of charts


def test_figures_by_kind_and_by_judge(tmp_path: Path) -> None:
    def strict(item: Item, sample: int) -> Told:
        return {"named": 0, "place": 1 if item.kind == "code" else 0, "style": 1, "text_image_relevance": 1}

    results = summed(tmp_path, judges={"hawk": good, "kite": strict})
    points = results.measures["points"]
    assert {judge: one.mean for judge, one in points.judges.items()} == {"hawk": 4.0, "kite": 0.5}
    assert points.overall.mean == pytest.approx(2.25)
    assert {kind: one.mean for kind, one in points.kinds.items()} == {"search": 2.0, "code": 2.5}
    assert list(results.measures["charts"].kinds) == ["code"]
    everything = results.agreements[0]
    assert (everything.first, everything.second, everything.pairs) == ("hawk", "kite", 24)
    assert everything.difference == pytest.approx(
        -(1 + 0.75 + 1 + 1) / 4, abs=1e-3
    )  # of the scale, whatever its numbers
    assert everything.kappa is not None
    assert showing.judge_rows(results)[1][1] == "4.00 (n 6)"


def test_with_two_judges_one_that_fails_leaves_the_mean_open(tmp_path: Path) -> None:
    def down(item: Item, sample: int) -> Told:
        return dict.fromkeys(good(item, sample), "HTTP 503")

    results = summed(tmp_path, judges={"hawk": good, "kite": down})
    points = results.measures["points"]
    assert points.judges["hawk"].mean == 4.0
    assert points.judges["kite"].mean is None
    assert points.overall.mean is None
    assert points.overall.bounds == (2.0, 4.0)
    assert results.agreements[0].pairs == 0
    assert showing.measure_rows(results)[1][2:4] == ("none", "none")


def test_what_was_not_asked_yet_is_missing_too(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, ITEMS, judges={"hawk": lambda item, sample: {"named": 2, "place": 2}})
    results = summarise(Birds(), ITEMS, folder)
    assert results.measures["points"].overall.missing == 0
    assert results.measures["style"].overall.mean is None
    assert results.judging["hawk"].reasons == {NOT_ASKED: 12}


def test_an_answer_about_another_document_does_not_count(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, ITEMS)
    file = folder.path / "answers" / "hawk.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[1:3]:  # both questions about the first document
        line["document"] = "another"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = summarise(Birds(), ITEMS, folder)
    assert results.judging["hawk"].reasons == {STALE: 4}
    assert results.items["owl-0"].samples[0]["points"] == Range(0, 4)


def test_an_answer_to_another_question_of_that_name_does_not_count(tmp_path: Path) -> None:
    class Stricter(Birds):
        def questions(self, item: Item, document: Document) -> Sequence[Question]:
            _, reader = super().questions(item, document)
            return [Question("facts", {"named": "It names an owl in Latin.", "place": "Where?"}, 0, 2), reader]

    results = summarise(Stricter(), ITEMS, evaluation(tmp_path, ITEMS))
    assert results.measures["points"].overall.mean is None
    assert results.measures["style"].overall.mean == 5.0


def test_nobody_judges_where_everything_is_computed(tmp_path: Path) -> None:
    class Counting(Birds):
        headline = "pictures"

        def questions(self, item: Item, document: Document) -> Sequence[Question]:
            return []

        def measure(self, item: Item, document: Document, scores: Mapping[str, float]) -> Mapping[str, float]:
            return {"pictures": float(len(document.pictures))}

    results = summed(tmp_path, benchmark=Counting(), judges={})
    assert results.measures["pictures"].overall.mean == 1.0
    assert results.complete
    assert not results.criteria
    assert {row[4] for row in showing.tool_rows(results.tools)[1:]} == {"not judged"}


def test_a_reward_that_has_no_total_is_missing(tmp_path: Path) -> None:
    """The world failed all calls of one document: it has no reward, and does not drop out in silence."""
    reward = HybridReward.load("rules")
    benchmark = TaskBenchmark("heldout", reward)
    items = [Item(Task(f"Write about owl {n}.", tools=("search",), image_count=1, id=f"owl-{n}")) for n in range(4)]

    def writes(item: Item, sample: int) -> Document:
        return document("An owl.", figure(outcome=WORLD_DOWN)) if number(item) == 0 else met(item)

    results = summed(tmp_path, items, benchmark=benchmark, writes=writes, judges={})
    points = results.measures["reward"].overall
    assert (points.items, points.of, points.missing) == (3, 4, 1)
    assert points.bounds is not None
    assert points.bounds[1] - points.bounds[0] == pytest.approx(0.25)
    assert results.writing.world_faults == 1


def test_picture_fit_is_read_from_the_judges(tmp_path: Path) -> None:
    def says(item: Item, sample: int) -> Told:
        return {**good(item, sample), "text_image_relevance": {0: 5, 1: 4, 2: 3, 3: "HTTP 503"}.get(number(item), 1)}

    tools = summed(tmp_path / "a", judges={"hawk": says}).tools
    fits = tools.parts["fits"].total
    assert (fits.met, fits.of, fits.left_out) == (2, 5, 1)
    assert "without a judgment" in showing.tool_rows(tools)[1][4]

    class Named(Birds):
        picture_fits = ("reader/style",)

    assert summed(tmp_path / "b", judges={"hawk": says}, benchmark=Named()).tools.parts["fits"].total.met == 6


def test_judges_that_were_shown_no_picture_were_asked_all_the_same(tmp_path: Path) -> None:
    tools = summed(tmp_path, writes=lambda item, sample: document("No picture.")).tools
    assert {row[4] for row in showing.tool_rows(tools)[1:]} == {"none"}


def test_totals_count_what_was_paid_in_vain_as_well(tmp_path: Path) -> None:
    def writes(item: Item, sample: int) -> Document | str:
        return "HTTP 500" if number(item) == 1 else document("An owl.", figure(outcome=NO_HIT))

    results = summed(tmp_path, writes=writes)
    writing, judging = results.writing, results.judging["hawk"]
    assert (writing.tokens, writing.prompt_tokens) == (5 * 20 + 7, 5 * 10 + 3)
    assert writing.cost == pytest.approx(5 * 0.5 + 0.25)
    assert writing.seconds.quantiles == (1.0, 1.0, 1.0)
    assert (writing.calls, writing.pictures) == (5, 0)
    assert (judging.requests, judging.tokens, judging.cost) == (10, 100, pytest.approx(0.1))
    assert showing.totals_rows(results)[1][:3] == ("documents", "6", "5")


def test_reasons_beyond_the_most_frequent_are_counted(tmp_path: Path) -> None:
    def says(item: Item, sample: int) -> Told:
        return {**good(item, sample), "place": f"HTTP 503, request {number(item)}", "named": "HTTP 429"}

    told = showing.reasons(summed(tmp_path, birds(8), judges={"hawk": says}))
    assert told[0] == "hawk gave no score (8): HTTP 429"
    assert told[-1] == "hawk gave no score (4): for other reasons"
    assert sum(int(line.split("(")[1].split(")")[0]) for line in told) == 16


def test_tokens_of_finished_documents_are_not_known(tmp_path: Path) -> None:
    results = summed(tmp_path)
    nothing = results.writing.model_copy(update={"tokens": 0, "prompt_tokens": 0, "counted": False})
    guessed = results.writing.model_copy(update={"counted": False})
    assert showing.totals_rows(results.model_copy(update={"writing": nothing}))[1][4:6] == ("not known", "not known")
    assert showing.totals_rows(results.model_copy(update={"writing": guessed}))[1][4:6] == (
        "60",
        "120 (partly guessed)",
    )


def test_results_survive_json_and_are_written_whole(tmp_path: Path) -> None:
    results = summed(tmp_path, writes=lambda item, sample: "no" if number(item) == 1 else met(item), samples=2)
    assert results.save(tmp_path) == tmp_path / "results.json"
    assert Results.load(tmp_path) == results
    assert not list(tmp_path.glob(".results*"))


@pytest.mark.parametrize("text", ["", "[1]", '{"format": 9}', '{"format": 1}', "nonsense", '{"format": 1, "items": 3}'])
def test_a_file_that_holds_no_results_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ConfigError, match=r"results\.json.*--resume"):
        Results.load(tmp_path)


def test_other_items_than_those_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = evaluation(tmp_path, ITEMS)
    with pytest.raises(ConfigError, match="6 items, not of these 4"):
        summarise(Birds(), birds(4), folder)
    with pytest.raises(ConfigError, match="item 1 is 'owl-0' there and 'owl-5' here"):
        summarise(Birds(), ITEMS[::-1], folder)
    with pytest.raises(ConfigError, match="no folder of an evaluation"):
        summarise(Birds(), ITEMS, EvaluationFolder(tmp_path / "nowhere"))


@pytest.mark.parametrize("value", [4.5, -1.0, float("nan"), float("inf")])
def test_a_figure_off_its_scale_is_an_error(value: float, tmp_path: Path) -> None:
    """It would make means outside of the scale, and intervals that do not hold them."""

    class Loose(Birds):
        def measure(self, item: Item, document: Document, scores: Mapping[str, float]) -> Mapping[str, float]:
            return {"points": value}

    with pytest.raises(BenchmarkError, match=rf"item owl-0: a figure 'points' of {value!r} on a scale from 0 to 4"):
        summed(tmp_path, benchmark=Loose())


def test_a_figure_that_the_benchmark_does_not_declare_is_an_error(tmp_path: Path) -> None:
    class Loose(Birds):
        def measure(self, item: Item, document: Document, scores: Mapping[str, float]) -> Mapping[str, float]:
            return {"surprise": 1.0}

    with pytest.raises(BenchmarkError, match="'surprise' that it does not declare"):
        summarise(Loose(), ITEMS, evaluation(tmp_path, ITEMS))


def test_texts_of_criteria_stand_with_the_item_where_they_differ(tmp_path: Path) -> None:
    results = summed(tmp_path)
    assert results.criteria["facts/named"].what == "It names an owl."
    assert results.criteria["facts/place"].what == ""
    assert results.items["owl-1"].texts == {"facts/place": "It says how many owls there are."}

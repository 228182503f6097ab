"""The folder of an evaluation: what it keeps, what a kill may do to it, and what a resume refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from llmi_env.errors import ConfigError
from llmi_env.evaluate.kept import Answer, DocumentCost, EvaluationFolder
from llmi_env.evaluate.sources.base import Order
from llmi_env.judges.openai_judge import Graded
from llmi_env.store import StoreError
from llmi_env.world.protocol import Unscored
from tests.evaluate.making import begun, config, items, rollout

ITEMS = items(3)
MET, DOWN = Graded(2, "named", "m@rubric/3", (2, 2)), Unscored("HTTP 503")
COST = DocumentCost(20, 10, 0.5, 1.5)


def answer(item: str = "owl-0", question: str = "text", document: str = "d", **given: Graded | Unscored) -> Answer:
    return Answer(item, 0, question, document, "q", given, 1, 100, 10, 0.01, 0.3)


def test_documents_come_back_as_they_were_in_the_order_of_items(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    written = {place: rollout(Order(ITEMS[place], 0, 40 + place)) for place in (2, 0)}
    for place, one in written.items():
        folder.add_document(ITEMS[place].id, 0, place, one, COST)
    folder.add_document("owl-0", 1, 0, rollout(Order(ITEMS[0], 1, 9)), DocumentCost(3, 4, None, 0.5, counted=False))
    found = list(folder.documents())
    assert [(item, sample) for item, sample, _ in found] == [("owl-0", 0), ("owl-0", 1), ("owl-2", 0)]
    assert found[0][2].document == written[0].document
    assert found[2][2].group == 2
    assert folder.costs() == {
        ("owl-0", 0): COST,
        ("owl-0", 1): DocumentCost(3, 4, None, 0.5, counted=False),
        ("owl-2", 0): COST,
    }
    digests = [folder.document(place, sample)[0] for place, sample in ((0, 0), (0, 1), (2, 0))]
    assert len(set(digests)) == 3
    assert folder.document(2, 0)[1].document == written[2].document
    with pytest.raises(StoreError, match="no document"):
        folder.document(1, 0)


def test_other_programs_read_the_documents_as_one_table(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    for place, cost in enumerate((COST, DocumentCost(1, 2, None, 0.5))):
        folder.add_document(ITEMS[place].id, 0, place, rollout(Order(ITEMS[place], 0, place)), cost)
    table = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "episodes")
    assert table["item"].to_pylist() == ["owl-0", "owl-1"]
    assert table["cost"].to_pylist()[0] == 0.5
    assert table["task_id"].to_pylist() == ["owl-0", "owl-1"]


def test_answers_by_judge_document_and_criterion(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.add_answer("marker", {"use": "marker"}, answer(r1=MET, r2=Graded(0.5, "", "m")))
    folder.add_answer("marker", {"use": "marker"}, answer(question="pictures", r3=DOWN))
    assert folder.answers() == {
        "marker": {("owl-0", 0): {"text/r1": 2, "text/r2": 0.5, "pictures/r3": DOWN}},
    }
    kept = folder.answers_of("marker")
    assert kept.identity == {"use": "marker"}
    assert kept.lines[0] == answer(r1=MET, r2=Graded(0.5, "", "m"))


def test_asked_again_a_score_stays_and_a_failure_gives_way(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    for line in (answer(r1=MET, r2=DOWN), answer(r1=DOWN, r2=Graded(1, "", "m"))):
        folder.add_answer("marker", {}, line)
    assert folder.answers()["marker"] == {("owl-0", 0): {"text/r1": 2, "text/r2": 1}}
    assert len(folder.answers_of("marker").lines) == 2  # both were paid for
    folder.add_answer("marker", {}, answer(document="another", r1=DOWN, r2=MET))
    assert folder.answers()["marker"] == {("owl-0", 0): {"text/r1": DOWN, "text/r2": 2}}


@pytest.mark.parametrize("torn", ['{"item": "owl-1", "samp', '{"item": "owl-1"}', "\x00\x00"])
def test_a_line_that_a_kill_cut_off_is_left_out_and_mended(tmp_path: Path, torn: str) -> None:
    folder = begun(tmp_path)
    folder.add_answer("marker", {}, answer(r1=MET))
    with (tmp_path / "answers" / "marker.jsonl").open("a") as file:
        file.write(torn)  # without the end of the line
    assert folder.answers()["marker"] == {("owl-0", 0): {"text/r1": 2}}
    begun(tmp_path, resume=True).add_answer("marker", {}, answer("owl-1", r1=DOWN))
    assert folder.answers()["marker"] == {("owl-0", 0): {"text/r1": 2}, ("owl-1", 0): {"text/r1": DOWN}}


def test_a_first_line_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "marker.jsonl").write_text('{"format": 1, "jud')
    begun(tmp_path, resume=True).add_answer("marker", {"use": "marker"}, answer(r1=MET))
    assert folder.answers_of("marker").identity == {"use": "marker"}


@pytest.mark.parametrize("line", ["[]", "{", '{"item": "owl-1"}'])
def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    folder = begun(tmp_path)
    folder.add_answer("marker", {}, answer(r1=MET))
    with (tmp_path / "answers" / "marker.jsonl").open("a") as file:
        file.write(f"{line}\n")
    folder.add_answer("marker", {}, answer("owl-1", r1=MET))
    with pytest.raises(StoreError, match=r"marker\.jsonl, line 3: "):
        folder.answers()


def test_documents_that_never_came(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    took = DocumentCost(5, 0, 0.2, 3.0)
    folder.add_not_written("owl-0", 0, "HTTP 503", took)
    folder.add_not_written("owl-1", 0, "HTTP 503", took)
    folder.add_not_written("owl-1", 0, "HTTP 500", took)
    folder.add_document("owl-0", 0, 0, rollout(Order(ITEMS[0], 0, 1)), COST)
    assert folder.not_written() == {("owl-1", 0): "HTTP 500"}
    assert folder.costs_in_vain() == [took] * 3


def test_begun_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no evaluation in .* to resume"):
        begun(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()
    folder = begun(tmp_path / "run")
    assert {key: value for key, value in folder.config.items() if key != "format"} == config()
    with pytest.raises(ConfigError, match="holds an evaluation: --resume goes on with it"):
        begun(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"samples": 2}, "samples: 1 then, 2 now"),
        ({"source__model": "other"}, "source.model: 'm' then, 'other' now"),
        ({"source__temperature": 0.7}, "source.temperature: None then, 0.7 now"),
        ({"benchmark__items": ["owl-0"]}, "benchmark.items: 3 then, 1 now"),
        ({"benchmark__items": ["owl-0", "owl-2", "owl-1"]}, "benchmark.items: number 2 'owl-1' then, 'owl-2' now"),
        ({"judges__marker": {"use": "marker", "version": 2}}, "judges.marker.version: 1 then, 2 now"),
        ({"judges": {"other": {"use": "other"}}}, "judges.marker.use: 'marker' then, None now"),
        ({"services__deadline": 5.0}, "services.deadline: 60.0 then, 5.0 now"),
    ],
)
def test_a_changed_configuration_is_refused_with_the_difference(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    folder = begun(tmp_path)
    with pytest.raises(ConfigError, match="was begun otherwise") as refused:
        begun(tmp_path, resume=True, **changes)
    assert told in str(refused.value)
    assert folder.config["samples"] == 1


def test_judges_may_be_added_and_how_it_is_carried_out_may_change(tmp_path: Path) -> None:
    both = {"marker": {"use": "marker", "version": 1}, "mark": {"use": "b"}}
    begun(tmp_path)
    folder = begun(tmp_path, resume=True, judges=both, world="local", services__concurrency={"search": 1})
    assert folder.judges == ("marker", "mark")
    assert folder.answers() == {"marker": {}, "mark": {}}


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with (
            pytest.raises(ConfigError, match="a folder that can be written to is needed"),
            EvaluationFolder(path).begin(config(), resume=False),
        ):
            pass


def test_two_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with (
        EvaluationFolder(tmp_path).begin(config(), resume=False),
        pytest.raises(ConfigError, match="another process is at work on"),
    ):
        begun(tmp_path, resume=True)
    begun(tmp_path, resume=True)


@pytest.mark.parametrize("text", [None, "judges: [", "a: 1", "format: 1"])
def test_what_is_no_evaluation_is_said_so(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError):
        _ = EvaluationFolder(tmp_path).config


def test_lines_are_plain_json(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.add_answer("marker", {"use": "marker"}, answer(r1=MET, r2=DOWN))
    head, line = map(json.loads, (tmp_path / "answers" / "marker.jsonl").read_text().splitlines())
    assert head == {"format": 1, "judge": "marker", "identity": {"use": "marker"}}
    assert (line["item"], line["sample"], line["question"], line["cost"]) == ("owl-0", 0, "text", 0.01)
    assert line["given"] == {
        "r1": {"score": 2, "rationale": "named", "judge": "m@rubric/3", "votes": [2, 2]},
        "r2": {"reason": "HTTP 503"},
    }

"""`llmi evaluate`: what it says, keeps and refuses, and that a kill costs nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

pytest.importorskip("pyarrow")

from llmi_env.cli import app
from llmi_env.errors import ConfigError
from llmi_env.evaluate.benchmark import BenchmarkError
from llmi_env.evaluate.kept import EvaluationFolder
from llmi_env.evaluate.results import Results
from tests.rewards.making import picture

runner = CliRunner()
RULES = ("--config", "rules", "world=in_process")
OWLS = "tests.evaluate.making:Owls"
MARKER = '{"use": "tests.evaluate.making:Marker"}'
SIMULATED = "llmi_env.testing:SimulatedJudge"


@pytest.fixture
def documents(tmp_path: Path) -> str:
    """Finished documents for the items of `Owls`."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "owl.png").write_bytes(picture(1, side=32).png)
    for number in range(3):
        (folder / f"owl-{number}.md").write_text(f"Owl number {number} hunts.\n\n![an owl](owl.png)\n")
    return f"documents:{folder}"


def said(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, ["evaluate", *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return " ".join(result.output.split())


def refused(*arguments: str) -> str:
    result = runner.invoke(app, ["evaluate", *arguments])
    assert isinstance(result.exception, ConfigError | BenchmarkError), (result.output, result.exception)
    return str(result.exception)


def test_help_teaches() -> None:
    assert "Example: llmi evaluate heldout --items 16" in said("--help")


def test_a_benchmark_from_documents_to_figures(documents: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    output = said(OWLS, *RULES, "--policy", documents, "--judge", MARKER, "--out", str(out))
    assert "3 documents, 3 written now; 6 answers wanted, 6 given now" in output
    assert "points" in output
    results = Results.load(out)
    assert (results.complete, results.measures["points"].overall.mean) == (True, 7.0)
    assert (out / "report.html").stat().st_size > 1000
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["benchmark"]["items"] == ["owl-0", "owl-1", "owl-2"]
    assert config["judges"] == {"Marker": {"use": "marker", "version": 1}}
    assert config["policy"] == documents
    assert "judges" not in config["services"]
    output = said(OWLS, *RULES, "--policy", documents, "--judge", MARKER, "--out", str(out), "--resume")
    assert "3 documents, 0 written now; 6 answers wanted, 0 given now" in output


def test_several_judges_and_how_far_they_agree(documents: str, tmp_path: Path) -> None:
    second = '{"use": "tests.evaluate.making:Marker", "version": 2}'
    arguments = (
        OWLS,
        *RULES,
        "--policy",
        documents,
        "--judge",
        MARKER,
        "--judge",
        second,
        "--out",
        str(tmp_path / "out"),
    )
    said(*arguments)
    folder = EvaluationFolder(tmp_path / "out")
    assert folder.judges == ("Marker", "Marker-2")
    assert folder.answers()["Marker"] == folder.answers()["Marker-2"]
    assert "the same judge is given twice" in refused(
        OWLS, *RULES, "--policy", documents, "--judge", MARKER, "--judge", MARKER, "--out", str(tmp_path / "twice")
    )


def test_a_judge_is_added_later_and_documents_stay(documents: str, tmp_path: Path) -> None:
    begin = (OWLS, *RULES, "--policy", documents, "--judge", MARKER, "--out", str(tmp_path / "out"))
    said(*begin)
    second = '{"use": "tests.evaluate.making:Marker", "version": 2}'
    assert "0 written now; 12 answers wanted, 6 given now" in said(*begin, "--judge", second, "--resume")
    assert "judges.Marker-2" in refused(*begin, "--resume")


def test_our_own_tasks_are_judged_by_the_environments_judges(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "seahorse.md").write_text("The seahorse swims upright.\n")
    judges = f"services.judges=[{SIMULATED}]"
    output = said(
        "heldout",
        *RULES,
        "reward=llmi",
        judges,
        "--policy",
        f"documents:{folder}",
        "--items",
        "1",
        "--out",
        str(tmp_path / "o"),
    )
    assert "1 documents, 1 written now; 1 answers wanted, 1 given now" in output
    assert "reward" in output
    (answers,) = EvaluationFolder(tmp_path / "o").answers()["SimulatedJudge"].values()
    assert "reward/text_quality" in answers


def test_a_reward_of_rules_needs_no_judge(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "seahorse.md").write_text("The seahorse swims upright.\n")
    said("heldout", *RULES, "--policy", f"documents:{folder}", "--items", "1", "--out", str(tmp_path / "out"))
    results = Results.load(tmp_path / "out")
    assert results.judges == {}
    assert results.measures["reward"].overall.mean is not None


def test_a_missing_document_is_said_and_taken_when_it_is_there(documents: str, tmp_path: Path) -> None:
    late = Path(documents.removeprefix("documents:")) / "owl-1.md"
    text = late.read_text()
    late.unlink()
    begin = (OWLS, *RULES, "--policy", documents, "--judge", MARKER, "--out", str(tmp_path / "out"))
    output = said(*begin, code=1)  # a script that goes on with the figures must be told
    assert "document missing (1)" in output
    assert "what is missing is asked for again by the same command with --resume" in output
    late.write_text(text)
    assert "3 documents, 1 written now; 6 answers wanted, 2 given now" in said(*begin, "--resume")
    late.write_text(f"{text} And sleeps.")
    assert "source.documents.owl-1: " in refused(*begin, "--resume")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((OWLS,), "owls asks judges: give --judge openai:MODEL@BASE_URL"),
        ((OWLS, "--judge", "embedded"), "answers no questions of a benchmark"),
        (("heldot",), "did you mean 'heldout'"),
        (("llmi-bench", "--judge", MARKER), "--data"),
        ((OWLS, "--judge", MARKER, "--budget", "documents=3"), "--budget is about --scale"),
        ((OWLS, "--judge", MARKER, "--scale", "4"), "documents that are finished"),
        ((OWLS, "--judge", MARKER, "--resume"), "no evaluation in"),
        ((OWLS, "--judge", MARKER, "services.deadlin=3"), "did you mean 'deadline'"),
        (("heldout", "reward=llmi"), "needs judges"),
        ((OWLS, "--judge", MARKER, "--data", "-1"), "owls: there are no items"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    arguments: tuple[str, ...], message: str, documents: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert message in refused(*arguments, *RULES, "--policy", documents, "--out", str(out))
    assert not out.exists()


def test_a_changed_option_is_refused_with_the_difference(documents: str, tmp_path: Path) -> None:
    begin = (OWLS, *RULES, "--policy", documents, "--judge", MARKER, "--out", str(tmp_path / "out"))
    said(*begin)
    assert "holds an evaluation: --resume goes on with it" in refused(*begin)
    assert "samples: 1 then, 2 now" in refused(*begin, "--samples", "2", "--resume")
    told = refused(*begin, "--items", "2", "--resume")
    assert "benchmark.items: 3 then, 2 now" in told
    assert "services.deadline: 60.0 then, 5.0 now" in refused(*begin, "--resume", "services.deadline=5")


def test_folders_are_numbered(documents: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    begin = (OWLS, *RULES, "--policy", documents, "--judge", MARKER)
    said(*begin)
    said(*begin)
    assert "0 given now" in said(*begin, "--resume")
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "evaluate-tests.evaluate.making.Owls",
        "evaluate-tests.evaluate.making.Owls-2",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_goes_on_and_asks_nothing_twice(
    end: signal.Signals, documents: str, tmp_path: Path
) -> None:
    """The whole command in a process of its own, ended while a judge is at work."""
    out = tmp_path / "out"
    slow = json.dumps({"use": "tests.evaluate.making:Marker", "pause": 1.5, "concurrency": 1})
    command = [
        sys.executable,
        "-m",
        "llmi_env.cli",
        "evaluate",
        OWLS,
        *RULES,
        "--policy",
        documents,
        "--judge",
        slow,
        "--out",
        str(out),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    file = out / "answers" / "Marker.jsonl"
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text().count("\n") >= 3):  # who answers, and two answers
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, end)
    output, _ = process.communicate(timeout=30)
    kept = EvaluationFolder(out).answers_of("Marker").lines
    assert 2 <= len(kept) < 6
    if end == signal.SIGINT:
        assert process.returncode == 130
        assert "goes on" in output
    quick = slow.replace("1.5", "0.01")
    again = said(OWLS, *RULES, "--policy", documents, "--judge", quick, "--out", str(out), "--resume")
    assert f"0 written now; 6 answers wanted, {6 - len(kept)} given now" in again
    lines = EvaluationFolder(out).answers_of("Marker").lines
    assert lines[: len(kept)] == kept
    assert len({(line.item, line.question) for line in lines}) == len(lines) == 6

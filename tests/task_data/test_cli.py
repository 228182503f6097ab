"""`llmi data`: what it teaches, what it shows, and how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llmi_env.cli import app
from llmi_env.errors import ConfigError
from tests.task_data.files import jsonl, picture
from tests.task_data.models import Models, failing, good_draft, number_of, user_text


def llmi(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        ((), ["llmi data build --llm openai:", "llmi data check", "llmi data convert"]),
        (
            ("build",),
            ["not told what was ordered", "--resume goes on", "OUT.build/", "none=1,any=3", "openai:MODEL@URL"],
        ),
        (("check",), ["Ends with 1 where there are errors", "BENCHMARK:PATH", "FILE:FIELD", "--strict"]),
        (("convert",), ["TO_mm", "byte by byte", ".parquet file (LLM-I's)"]),
    ],
)
def test_help_teaches(arguments: tuple[str, ...], taught: list[str]) -> None:
    output = " ".join(re.sub(r"[│╭╮╰╯─]", " ", llmi(*arguments, "--help").output).split())
    for words in taught:
        assert words in output


def test_building_checking_and_converting(models: Models, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    pytest.importorskip("pyarrow")
    picture(tmp_path / "photos" / "a barn by the lake.png")
    options = tmp_path / "writer.yaml"
    options.write_text(f"model: writer\nbase_url: {models.base_url}\nprompt_price: 10\ncompletion_price: 20\n")
    out = tmp_path / "tasks.jsonl"
    command = [
        "build",
        "--llm",
        options,
        "--validator",
        models.reader,
        "--out",
        out,
        "--count",
        6,
        "--pictures",
        tmp_path / "photos",
        "--no-embed",
    ]
    result = llmi(*command)
    assert result.exit_code == 0, result.output
    assert "6 of 6 tasks" in result.output
    assert "6 versions, 0 sent back, 0 orders given up" in result.output
    assert re.search(r"writer +writer +6 +6 +0 +600 +60 +\d+ +0\.0072", result.output)
    assert re.search(r"reader +validator .* no prices", result.output)
    assert llmi(*command, "--resume").exit_code == 0
    assert models.asked.total() == 12

    report = tmp_path / "report.json"
    result = llmi("check", out, "--no-embed", "--json", report)
    assert result.exit_code == 0, result.output
    assert "tasks: 6 tasks of" in result.output
    assert "held against 127 protected questions, by words alone" in result.output
    assert json.loads(report.read_text())["errors"] == 0

    result = llmi("convert", out, tmp_path / "train.parquet")
    assert result.exit_code == 0, result.output
    assert "train_mm.parquet" in result.output
    result = llmi("convert", tmp_path / "train.parquet", tmp_path / "train_mm.parquet", tmp_path / "back.jsonl")
    assert "6 tasks: " in result.output
    assert "lost: extra_info.split is 'train'" in result.output


def test_a_build_that_ends_early_says_how_it_goes_on(models: Models, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    models.write = lambda request: (
        failing(404) if number_of(user_text(request)) == 1 else good_draft(user_text(request))
    )
    result = llmi(
        "build",
        "--llm",
        models.writer,
        "--validator",
        "none",
        "--out",
        tmp_path / "t.jsonl",
        "--count",
        3,
        "--no-embed",
    )
    assert result.exit_code == 1
    assert "2 of 3 tasks" in result.output
    assert "HTTP 404" in result.output
    assert "go on with: llmi" in result.output
    assert "--resume" in result.output


def test_a_model_that_reads_what_it_wrote_is_told_of(models: Models, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    models.write = lambda request: "no"
    result = llmi(
        "build", "--llm", models.writer, "--out", tmp_path / "t.jsonl", "--count", 1, "--attempts", 1, "--no-embed"
    )
    assert "also reads what it wrote: --validator names another one" in result.output
    assert re.search(r"sent back for +times[\s─]+declined +\d", result.output)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--llm", "gpt-4", "--out", "t.jsonl"], "no language model 'gpt-4': openai:MODEL@http"),
        (["--llm", "openai:m@http://h/v1", "--out", "t.parquet"], "built into a .jsonl file"),
        (["--llm", "openai:m@http://h/v1", "--out", "t.jsonl", "--counts", "any"], "weights are expected"),
        (["--llm", "openai:m@http://h/v1", "--out", "t.jsonl", "--counts", "any=1,any=2"], "stands there twice"),
        (["--llm", "openai:m@http://h/v1", "--out", "t.jsonl", "--language", " "], "--language is empty"),
        (
            ["--llm", "openai:m@http://h/v1", "--out", "t.jsonl", "--counts", "some=1"],
            "no kind of wish for pictures 'some'",
        ),
        (["--llm", "openai:m@http://h/v1", "--out", "t.jsonl", "--tools", "paint"], "no tool 'paint'"),
        (
            ["--llm", "openai:m@http://h/v1", "--out", "t.jsonl", "--max-cost", "3"],
            "needs prompt_price and completion_price",
        ),
        (
            ["--llm", '{"model": "m", "terms": ["text_quality"]}', "--out", "t.jsonl"],
            "terms is about judging documents",
        ),
        (["--llm", '{"model": "m", "sample": 2}', "--out", "t.jsonl"], "no option 'sample'"),
        (["--llm", '{"model": "m", "api_key": "s"}', "--out", "t.jsonl"], "keys do not belong into configurations"),
        (["--llm", "{", "--out", "t.jsonl"], "its options are not JSON"),
        (["--llm", "none.yaml", "--out", "t.jsonl"], "'none.yaml' cannot be read"),
        (["--llm", "openai:@http://h/v1", "--out", "t.jsonl"], "names no model"),
    ],
)
def test_what_cannot_be_built(arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = llmi("build", *arguments, "--count", 2, "--no-embed")
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_errors_ends_with_one(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "t.jsonl",
        *({"question": f"Show <imgen> number {number} of the [red]owls."} for number in range(4)),
    )
    result = llmi("check", path, "--no-embed", "--show", 2)
    assert result.exit_code == 1
    assert "error call: 4" in result.output
    assert (
        "row 1, question: a written call stands in the question: 'Show <imgen> number 0 of the [r...'" in result.output
    )
    assert "and 2 more (--show N, --json FILE)" in result.output
    assert re.search(r"4 errors, \d warnings", result.output)
    path = jsonl(tmp_path / "u.jsonl", {"question": "<image> Show the number of the owls."})
    assert llmi("check", path, "--no-embed").exit_code == 0
    assert llmi("check", path, "--no-embed", "--strict").exit_code == 1

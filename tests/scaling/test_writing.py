"""`llmi write --scale`, and the page of everything that was tried."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmi_env.cli import app
from llmi_env.errors import ConfigError
from llmi_env.report.scaling_page import write_scaling_page
from llmi_env.scaling import Budget, Plan, load_scaled
from llmi_env.writing import TRIED, write_document
from tests.scaling.kit import OWLS, call, scaled, texts

runner = CliRunner()


def test_the_page_shows_every_document_with_its_verdict(tmp_path: Path) -> None:
    script = texts(
        f"Owls. <script>alert(1)</script> {call('search', 'owl')}",
        "Owls. <imgen>{</imgen>",
        f"good owls. {call('code', 'bug')}",
        "very good. <imgen>",
    )
    found = scaled(script, stages="3,validate,select,enhance,polish=1")
    page = write_scaling_page(tmp_path / "tried.html", found).read_text()
    assert "<script" not in page
    assert "default-src 'none'" in page
    for candidate in found.tried:
        assert f"document {candidate.number}: {candidate.note}" in page
    for told in ("figure 0 failed: malformed", "not valid", "figure 0: hit 3", "better", OWLS.question):
        assert told in page
    for lost in found.lost:
        assert lost.note in page
    rows = page[page.index("<table>") : page.index("</table>")]
    assert rows.count("<tr>") == 1 + 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--scale", "four"), "begins with the number of documents"),
        (("--scale", "4,chose"), "no stage 'chose'"),
        (("--scale", "4", "--budget", "calls=3"), "'calls=3' is not NAME=NUMBER"),
        (("--budget", "documents=3"), "give --scale"),
        (("--keep", "tried"), "give --scale"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_loaded(
    arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["write", "Owls", *arguments])
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)


def test_help_says_what_scaling_takes() -> None:
    said = " ".join(runner.invoke(app, ["write", "--help"]).output.split())
    for option in ("--scale", "--budget", "--keep"):
        assert option in said


@pytest.mark.slow
def test_a_document_is_scaled_and_all_is_kept(tmp_path: Path) -> None:
    from llmi_env.config import EnvConfig
    from llmi_env.testing import simulated_config
    from tests.tiny_policy import make_tiny_policy

    policy = make_tiny_policy(tmp_path / "policy")
    config = EnvConfig(services=simulated_config(), world="in_process")
    page, facts = write_document(
        "Owls",
        tmp_path / "owls.html",
        policy=str(policy),
        max_tokens=30,
        config=config,
        scaling=Plan(3, wave=2, enough=None),
        budget=Budget(tokens=120),
        keep=tmp_path / "run",
    )
    assert page.is_file()
    found = load_scaled(tmp_path / "run", TRIED)
    assert found.spent.tokens <= 120
    assert "the best of 3 documents" in facts
    assert str(tmp_path / "run" / "tried.html") in facts
    assert (tmp_path / "run" / "tried.html").read_text().count("<section>") == len(found.tried)

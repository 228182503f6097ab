"""`llmi ablate` and `llmi judge`: what they say, what they write, and what they say where it cannot be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("pyarrow")

from llmi_env.cli import app
from llmi_env.errors import ConfigError
from llmi_env.rewards import HybridReward
from llmi_env.task import Task
from tests.rewards.making import document, figure, judged, picture
from tests.saved_runs import save_run

runner = CliRunner()
LLMI = HybridReward.preset("llmi")
SIMULATED = "llmi_env.testing:SimulatedJudge"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    written = [(document(f"Owls {n}.", figure(outcome=picture(n))), judged(text_quality=n + 1)) for n in range(4)]
    return save_run(tmp_path / "run", [(Task("Owls?", id="owls"), written)], LLMI)


def said(*arguments: str) -> str:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("command", [["ablate"], ["judge", "rescore"]])
def test_help_teaches(command: list[str]) -> None:
    assert f"Example: llmi {' '.join(command)}" in " ".join(said(*command, "--help").split())


def test_ablate_shows_a_table_and_writes_everything(run: Path) -> None:
    output = said("ablate", str(run))
    assert f"4 episodes, 1 tasks, 1 groups of two and more; base: {LLMI.version}" in output
    assert "without text_quality" in output
    assert (run / "ablation" / "ablation.md").is_file()


def test_rescored_judgments_can_be_ablated(run: Path, tmp_path: Path) -> None:
    output = said("judge", "rescore", str(run), "--judge", SIMULATED, "--name", "other")
    assert "4 documents, 4 judged now" in output
    assert "text_image_relevance" in output
    assert (run / "judgments" / "other.agreement.json").is_file()
    output = said("ablate", str(run), "--judgments", "other", "--base", "paper", "-o", str(tmp_path / "out"))
    assert "base: paper/1" in output
    assert "judgments of another judge (llmi_env.testing:SimulatedJudge) in 4 of 4 episodes" in output
    assert (tmp_path / "out" / "variants.png").is_file()


def test_terms_of_ones_own_are_computed_from_the_documents(run: Path, tmp_path: Path) -> None:
    (tmp_path / "terms.py").write_text("def third(document, task):\n    return float('2' in document.text)\n")
    mine = tmp_path / "mine.yaml"
    mine.write_text("{name: mine, version: 1, terms: {third: {weight: 1, use: './terms.py:third'}}}")
    assert "mine/1+third/1" in said("ablate", str(run), "--base", str(mine))
    line = (run / "ablation" / "rewards.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in line] == ["mine", "0.0", "0.0", "1.0", "0.0"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["ablate", "nowhere"], "there is no nowhere"),
        (["ablate", "RUN", "--split", "before"], "it holds train-00001"),
        (["ablate", "RUN", "-v", "trems"], "did you mean 'terms'"),
        (["ablate", "RUN", "--base", "papr"], "did you mean 'paper'"),
        (["ablate", "RUN", "--judgments", "other"], "llmi judge rescore"),
        (["ablate", "RUN", "steps=4"], "go with --train"),
        (["ablate", "RUN", "--seeds", "2"], "go with --train"),
        (["ablate", "--train", "quickstrat"], "did you mean 'quickstart'"),
        (["ablate", "--train", "quickstart", "stepz=4"], "did you mean 'steps'"),
        (["ablate", "--train", "quickstart", "--common", "papr"], "did you mean 'paper'"),
        (["ablate", "--train", "quickstart", "--judgments", "other"], "do not go with --train"),
        (["judge", "rescore", "nowhere", "-j", "embedded"], "there is no nowhere"),
        (["judge", "rescore", "RUN", "-j", "embeded"], "did you mean 'embedded'"),
        (["judge", "rescore", "RUN", "-j", "no-such.yaml"], "no-such.yaml"),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_told(run: Path, arguments: list[str], reason: str) -> None:
    result = runner.invoke(app, [str(run) if argument == "RUN" else argument for argument in arguments])
    assert isinstance(result.exception, ConfigError)
    assert reason in str(result.exception)

"""A judge that also trained the policy is named; others are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmi_env.evaluate.partial_judges import judges_that_chose, judges_that_trained

MODEL = "Qwen/Qwen3-4B"
EMBEDDED = {
    "judges": [{"use": "embedded", "identity": "llmi_env.judges.embedded:EmbeddedJudge embedded/6", "terms": []}]
}
OPENAI = {"use": "openai", "model": MODEL, "base_url": "http://127.0.0.1:8000/v1"}
IN_WORLD = {
    "judges": [
        {"use": "openai", "identity": f"llmi_env.judges.openai_judge:OpenAIJudge openai:{MODEL}@text/3#0", "terms": []}
    ]
}
OTHER = {"use": "openai", "model": "another"}


def run(path: Path, judges: list[Any], reward: str = "llmi", model: str = "warm-start") -> Path:
    """A run folder with an adapter, as training leaves it."""
    adapter = path / "checkpoints" / "step-00004" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "smollm2"}))
    (path / "metrics.jsonl").write_text("")
    recipe = {"model": model, "env": {"reward": reward, "services": {"judges": judges}}}
    (path / "config.yaml").write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(autouse=True)
def embedded_policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The embedded policy need not be built for this."""
    monkeypatch.setattr("llmi_env.models.policy_path", lambda: str(tmp_path / "smollm2"))


@pytest.mark.parametrize(
    ("judges", "identity", "named"),
    [
        (["embedded"], EMBEDDED, "embedded"),
        ([OPENAI], OPENAI, MODEL),
        ([OPENAI], IN_WORLD, MODEL),
        ([{"use": "transformers", "model": MODEL}], OPENAI, MODEL),  # asked in another way, it is the same model
        ([{"use": "panel", "judges": ["embedded", OPENAI]}], OPENAI, MODEL),
        (["embedded"], OPENAI, ""),
        ([OPENAI], EMBEDDED, ""),
        ([OPENAI], OTHER, ""),
    ],
)
def test_the_same_judge_is_known_however_it_is_asked(
    tmp_path: Path, judges: list[Any], identity: dict[str, Any], named: str
) -> None:
    folder = run(tmp_path / "my-run", judges)
    warnings = judges_that_trained(str(folder), {"j": identity, "other": OTHER})
    if not named:
        assert warnings == []
        return
    (warning,) = warnings
    assert f"The judge j ({named})" in warning
    assert "my-run" in warning


def test_the_run_is_found_from_its_checkpoint_and_from_runs_that_went_on_from_it(tmp_path: Path) -> None:
    first = run(tmp_path / "first", ["embedded"])
    checkpoint = first / "checkpoints" / "step-00004" / "adapter"
    assert judges_that_trained(str(checkpoint), {"j": EMBEDDED})
    second = run(tmp_path / "second", [OPENAI], model=str(first))
    (warning,) = judges_that_trained(str(second), {"j": EMBEDDED})
    assert "first" in warning


def test_a_reward_of_rules_has_no_judge(tmp_path: Path) -> None:
    assert judges_that_trained(str(run(tmp_path / "run", ["embedded"], reward="rules")), {"j": EMBEDDED}) == []


@pytest.mark.parametrize(
    "policy", ["warm-start", "smollm2", "openai:m@http://h/v1", "documents:here", "Qwen/Qwen3-4B", "{}", ""]
)
def test_of_other_policies_nothing_is_said(policy: str) -> None:
    assert judges_that_trained(policy, {"j": EMBEDDED}) == []


def test_the_trained_policy_that_ships_says_who_trained_it() -> None:
    (warning,) = judges_that_trained("grpo-trained", {"j": EMBEDDED})
    assert "grpo-trained" in warning


@pytest.mark.parametrize("text", ["", "env: 3", "env: {services: {judges: 7}, reward: llmi}", "- a", "{"])
def test_a_run_that_cannot_be_read_is_passed_over(tmp_path: Path, text: str) -> None:
    folder = run(tmp_path / "run", ["embedded"])
    (folder / "config.yaml").write_text(text)
    assert judges_that_trained(str(folder), {"j": EMBEDDED}) == []


def test_runs_that_name_each_other_come_to_an_end(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", ["embedded"], model=str(tmp_path / "run"))
    assert len(judges_that_trained(str(folder), {"j": EMBEDDED})) == 1


@pytest.mark.parametrize(
    ("scaling", "warned"),
    [
        ({"reward": "llmi/2", "judges": ["embedded"]}, True),
        ({"reward": "llmi/2", "judges": [OPENAI]}, False),
        ({"reward": "rules/1", "judges": ["embedded"]}, False),  # by rules alone: nobody was asked
        (None, False),
    ],
)
def test_a_judge_that_chose_is_told(scaling: dict[str, Any] | None, warned: bool) -> None:
    source = {"policy": "writer"} if scaling is None else {"policy": "writer, scaled", "scaling": scaling}
    warnings = judges_that_chose(source, {"j": EMBEDDED})
    assert len(warnings) == warned
    assert all("The judge j also chose among the documents" in warning for warning in warnings)

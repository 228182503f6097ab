"""verl's own `main_ppo` on Ray, with our agent loop: two steps, what they leave behind, and going on."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from llmi_env.report import write_report
from llmi_env.store import read_episodes, read_metrics, rollouts_of
from trainers.recipe import load_recipe

pytest.importorskip("verl", reason="verl is not installed: pip install 'llmi-env[verl]'")
pytestmark = pytest.mark.slow


def train(folder: Path, name: str, *changes: str, resume: bool = False) -> None:
    from trainers.verl.launch import VerlTrainer
    from trainers.verl.recipe import VerlRecipe

    recipe = load_recipe(name, ["steps=2", "eval_every=2", *changes])
    assert isinstance(recipe, VerlRecipe)
    result = VerlTrainer().train(recipe, folder, resume=resume)
    assert result.finished
    assert result.step == recipe.steps


def test_grpo_and_going_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, "verl-tiny-grpo")
    rows = read_metrics(run)
    assert [(row["phase"], row["step"]) for row in rows] == [("before", 0), ("train", 1), ("train", 2), ("after", 2)]
    for row in rows[1:3]:
        assert row["logprob_error"] < 1e-4  # the sampler's probabilities are the trainer's
        assert row["rollouts"] == row["scored"] == 16
        assert row["terms"].keys() == {"image_count", "tool_choice", "call_validity", "call_success"}
        assert {"llmi/unscored", "llmi/reward/term_image_count", "actor/pg_loss"} <= row["verl"].keys()
        assert all(math.isfinite(row[name]) for name in ("loss", "kl_step", "entropy", "grad_norm"))
    rollouts = rollouts_of(read_episodes(run, "train-00002"))
    assert [rollout.group for rollout in rollouts] == [group for group in range(4) for _ in range(4)]
    for rollout in rollouts:
        rollout.ledger.check()
        assert len(rollout.ledger.policy_ids) == rollout.ledger.n_policy > 0
    assert "reward" in write_report(run).read_text(encoding="utf-8")
    from llmi_env.models import load_model
    from trainers.export import export_policy

    model, _ = load_model(export_policy(run, tmp_path / "exported"))
    assert model.config.model_type == "llama"

    train(run, "verl-tiny-grpo", "steps=3", resume=True)
    rows = read_metrics(run)
    assert [row["step"] for row in rows if row["phase"] == "train"] == [1, 2, 3]
    assert rows[0]["phase"] == "before"


def test_ppo_learns_a_critic(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, "verl-tiny-ppo")
    rows = [row for row in read_metrics(run) if row["phase"] == "train"]
    assert len(rows) == 2
    assert all(math.isfinite(row["verl"]["critic/vf_loss"]) for row in rows)


def test_pictures_reach_a_policy_that_sees(tmp_path: Path) -> None:
    """A random Qwen2.5-VL whose vocabulary holds a whole call, so that it meets pictures by chance."""
    from llmi_env.calls import Call
    from trainers.verl.tiny import make_tiny

    call = f"<imgen>{Call('search', 'a lighthouse', {'query': 'lighthouse'}).to_json()}</imgen>"
    model = make_tiny(tmp_path / "model", kind="qwen2_5_vl", vocabulary=300, pieces=[call])
    run = tmp_path / "run"
    sizes = ("samples=8", "max_prompt_tokens=1024", "max_tokens=160", "micro_batch=32", "logprob_micro_batch=32")
    train(run, "verl-tiny-grpo", f"model={model}", "env.feedback=image", *sizes)
    rows = [row for row in read_metrics(run) if row["phase"] == "train"]
    assert all(row["logprob_error"] < 1e-4 for row in rows)
    ledgers = [rollout.ledger for rollout in rollouts_of(read_episodes(run, "train-*"))]
    assert any(ledger.pictures for ledger in ledgers)
    for ledger in ledgers:
        ledger.check()

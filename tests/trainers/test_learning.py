"""Every algorithm learns what is known to be best: the right call, from chance to almost always."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.store import read_metrics
from trainers.local import train

VARIANTS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "Dr. GRPO": {"scale_advantages": False, "aggregation": "seq-mean-token-sum-norm", "lr": 1e-2},
    "gspo": {"algorithm": "gspo", "clip_low": 3e-2, "clip_high": 4e-2, "aggregation": "seq-mean-token-mean"},
    "ppo": {"algorithm": "ppo", "lr_critic": 1e-2, "steps": 20},
    "ppo, one document a task": {"algorithm": "ppo", "lr_critic": 1e-2, "samples": 1, "tasks_per_step": 64},
    "the most varied": {"learn_from": 4, "samples": 8},
    "dynamic sampling": {"dynamic_sampling": {"max_batches": 3}, "samples": 8},
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_learns(known_recipe: Callable[..., Any], tmp_path: Path, silent: Console, variant: str) -> None:
    result = train(known_recipe(**VARIANTS[variant]), tmp_path, console=silent)
    assert result.before is not None
    assert result.after is not None
    assert result.before.reward is not None
    assert result.after.reward is not None
    rows = [row for row in read_metrics(tmp_path) if row["phase"] == "train"]
    assert result.before.reward < 0.2
    assert result.after.reward > 0.95
    rewards = [row["reward"] for row in rows]
    assert sum(rewards[:3]) / 3 < 0.25
    assert sum(rewards[-3:]) / 3 > 0.95
    assert all(row["logprob_error"] < 1e-4 for row in rows if row["logprob_error"] is not None)
    assert all(row["approx_kl"] is not None and row["entropy"] >= 0 for row in rows[:6])


def test_the_entropy_goes_where_its_bonus_says(
    known_recipe: Callable[..., Any], tmp_path: Path, silent: Console
) -> None:
    found = {}
    for bonus in (-1.0, 1.0):
        train(known_recipe(steps=8, samples=4, entropy_bonus=bonus), tmp_path / str(bonus), console=silent)
        found[bonus] = [row["entropy"] for row in read_metrics(tmp_path / str(bonus)) if row["phase"] == "train"]
    assert found[-1.0][0] == found[1.0][0] == pytest.approx(math.log(270), abs=0.1), (
        "it begins at the most that there is"
    )
    assert found[-1.0][-1] < found[-1.0][0] - 0.5
    assert found[1.0][-1] == pytest.approx(found[1.0][0], abs=0.1)


def test_the_value_head_learns_alone_while_the_policy_stands_still(
    known_recipe: Callable[..., Any], tmp_path: Path, silent: Console
) -> None:
    recipe = known_recipe(algorithm="ppo", lr_critic=1e-2, epochs=8, steps=5, critic_warmup=4, samples=4, minibatches=2)
    train(recipe, tmp_path, console=silent)
    trained = [row for row in read_metrics(tmp_path) if row["phase"] == "train"]
    assert [row["optimizer_steps"] for row in trained] == [0, 0, 0, 0, 16]
    assert all(row["loss"] is None and row["kl"] is None for row in trained[:4])
    assert trained[0]["value"] == 0
    seen = [row["reward"] for row in trained[:4]]
    assert trained[4]["value"] == pytest.approx(sum(seen) / 4, abs=0.1)
    assert all(row["value_grad_norm"] > 0 for row in trained)

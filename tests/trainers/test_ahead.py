"""What is computed while judges work changes when things are computed and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.store import read_metrics  # noqa: E402
from trainers import ahead  # noqa: E402
from trainers.local import train  # noqa: E402

CLOCKS = ("seconds", "tokens_per_second")
VARIANTS: dict[str, dict[str, Any]] = {
    "grpo": {"micro_batch": 2},
    "two groups in a pass": {"micro_batch": 4, "tasks_per_step": 5},
    "so many tokens in a pass": {"micro_tokens": 600},
    "all weights": {"lora_rank": 0, "learn_from": 2},
    "a penalty": {"kl_coefficient": 0.1, "samples": 4},
    "a penalty for the most varied": {"kl_coefficient": 0.1, "samples": 4, "learn_from": 2},
    "a penalty, exact": {"kl_coefficient": 0.1, "kl_estimate": "exact", "kl_temperature": 0.5, "samples": 4},
    "a penalty on entropy": {"entropy_bonus": -0.05},
    "gspo, twice": {"algorithm": "gspo", "epochs": 2, "aggregation": "seq-mean-token-mean"},
    "minibatches": {"minibatches": 2},
    "ppo": {"algorithm": "ppo", "epochs": 2},
    "dynamic sampling": {"dynamic_sampling": {"max_batches": 2}},
    "the most varied": {"learn_from": 2},
    "some have no score": {"micro_batch": 2, "samples": 4, "judge": {"failure_rate": 0.3}},
}
ALL_TOGETHER = ("minibatches", "so many tokens in a pass", "all weights")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[ahead.Ahead]:
    """Every step's, so that it can be seen what was taken from it."""
    made: list[ahead.Ahead] = []

    class Seen(ahead.Ahead):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr("trainers.local.Ahead", Seen)
    return made


@pytest.mark.parametrize("variant", VARIANTS)
def test_latency_changes_no_number(
    variant: str,
    tiny_recipe: Callable[..., Any],
    tmp_path: Path,
    silent: Console,
    passes: list[ahead.Ahead],
) -> None:
    options = dict(VARIANTS[variant])
    judge = options.pop("judge", {})
    found, taken, gradients = [], [], []
    for latency in (0.0, 0.4):
        passes.clear()
        train(
            # Two at a time: when the first groups are judged, others still wait.
            tiny_recipe(judge | {"latency": latency, "concurrency": 2}, **options),
            tmp_path / str(latency),
            console=silent,
        )
        rows = read_metrics(tmp_path / str(latency))
        found.append(
            [{key: x for key, x in row.items() if key not in CLOCKS and not key.endswith("_s")} for row in rows]
        )
        taken.append(sum(step.taken for step in passes))
        gradients.append(sum(step.gradients for step in passes))
    assert found[0] == found[1]
    assert any(row.get("loss") for row in found[0])
    # The wait was long enough, and the update took what it was used for.
    assert (gradients[1] > 0) == (variant not in ("ppo", "dynamic sampling", *ALL_TOGETHER))
    assert taken[1] > 0 or variant in ("dynamic sampling", *ALL_TOGETHER)


def test_waiting_is_what_is_left(tiny_recipe: Callable[..., Any], tmp_path: Path, silent: Console) -> None:
    train(tiny_recipe({"latency": 0.5, "concurrency": 8}), tmp_path, console=silent)
    for row in read_metrics(tmp_path):
        if row["phase"] == "train":
            seconds = row["seconds"]
            assert 0 <= seconds["waiting"] < 0.6
            assert seconds["waiting"] + seconds["update"] >= 0.45
            assert seconds["sampling"] + seconds["waiting"] <= seconds["total"]

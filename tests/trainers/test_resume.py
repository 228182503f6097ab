"""Killed at any moment, a run goes on as if nothing had happened: the same metrics to the last digit, the same weights, every episode once."""

from __future__ import annotations

import io
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.store import read_episodes, read_metrics  # noqa: E402
from trainers.checkpoint import newest_checkpoint  # noqa: E402
from trainers.local import train  # noqa: E402

CLOCKS = ("seconds", "tokens_per_second")
STEPS = 10
VARIANTS: dict[str, dict[str, Any]] = {
    "grpo": {"kl_coefficient": 0.05},
    "a scale of its own": {
        "kl_coefficient": 0.05,
        "kl_estimate": "exact",
        "kl_temperature": 0.5,
        "lr_logit_scale": 0.1,
    },
    "ppo": {"algorithm": "ppo", "minibatches": 2, "epochs": 2, "critic_warmup": 1, "gamma": 0.99, "lam": 0.95},
    "gspo, all weights": {"algorithm": "gspo", "lora_rank": 0, "micro_tokens": 600, "gradient_checkpointing": True},
    "dynamic sampling": {"dynamic_sampling": {"max_batches": 3}, "samples": 4, "lr": 1e-3, "keep_checkpoints": 1},
}
CODE = (
    "import sys; from pathlib import Path; from trainers.local import train; from trainers.recipe import load_recipe\n"
    "train(load_recipe(Path(sys.argv[1])), Path(sys.argv[2]), resume=sys.argv[3] == 'resume')"
)


def lines(run: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in line.items() if key not in CLOCKS and not key.endswith("_s")}
        for line in read_metrics(run)
    ]


def episodes(run: Path) -> list[Any]:
    return [(about["phase"], about["step"], rollout) for about, rollout in read_episodes(run)]


def state(run: Path) -> dict[str, Any]:
    """Every tensor and number of the newest checkpoint."""
    checkpoint = newest_checkpoint(run)
    assert checkpoint is not None
    found: dict[str, Any] = {"progress": checkpoint.progress}
    for path in checkpoint.path.rglob("*.safetensors"):
        found[path.name] = path.read_bytes()
    walk(torch.load(checkpoint.path / "state.pt", weights_only=True), "", found)
    return found


def walk(value: Any, name: str, found: dict[str, Any]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    if items is None:
        found[name] = value.numpy().tobytes() if isinstance(value, torch.Tensor) else value
    else:
        for key, inner in items:
            walk(inner, f"{name}/{key}", found)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_at_random_moments_it_ends_the_same(
    tiny_recipe: Callable[..., Any], known_recipe: Callable[..., Any], tmp_path: Path, variant: str
) -> None:
    make = known_recipe if variant == "dynamic sampling" else tiny_recipe  # there, groups often earn alike
    recipe = make(steps=STEPS, tasks_per_step=3, **VARIANTS[variant])
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert train(recipe, straight, console=Console(file=io.StringIO())).finished

    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    seed = time.time_ns()
    dice = random.Random(seed)
    print(f"moments from seed {seed}")
    moments = sorted(dice.sample(range(1, STEPS + 1), 2))
    for number, step in enumerate(moments):
        arguments = [str(tmp_path / "recipe.yaml"), str(broken), "resume" if number else "new"]
        process = subprocess.Popen([sys.executable, "-c", CODE, *arguments], stdout=subprocess.DEVNULL)
        while f'"phase": "train", "step": {step},' not in (
            (broken / "metrics.jsonl").read_text() if (broken / "metrics.jsonl").exists() else ""
        ):
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(dice.random() * 0.2)  # before the checkpoint of this step, within the next one, or after it
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert train(recipe, broken, resume=True, console=Console(file=io.StringIO())).finished

    assert lines(broken) == lines(straight)
    assert episodes(broken) == episodes(straight)
    assert state(broken) == state(straight)
    trained = [line for line in lines(straight) if line["phase"] == "train"]
    assert sum(line["optimizer_steps"] for line in trained) >= STEPS // 2, "a run that does not move shows nothing"
    if variant == "dynamic sampling":
        assert len({line["batches"] for line in trained}) > 1
        assert sum(line["rollouts"] for line in trained) == sum(phase == "train" for phase, *_ in episodes(broken))

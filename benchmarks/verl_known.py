"""Does verl learn what is known to be best? GRPO, GSPO and PPO on a tiny random model. Makes `results/verl.md` and `verl.png`.

    python -m benchmarks.verl_known                 # all three, about ten minutes on two cores
    python -m benchmarks.verl_known grpo steps=10   # one of them, with changes to its recipe

Every task asks for one picture that the search tool finds. The vocabulary holds that call, and two that bring nothing, as one token each beside
the bytes, so that a random policy meets them by chance: each in one document of sixteen tokens out of twenty or so. A document may hold one
call, with which it ends. The best one is the right call, wherever it stands, and earns 1; the reward is the preset `rules`, search is the
real tool over the bundled pictures.

    python -m benchmarks.verl_known grpo env.limits.calls=3 env.limits.pictures=3    # harder

is the harder one, where the policy must also stop by itself after its call.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib
from rich.console import Console

from llmi_env.calls import Call
from llmi_env.store import read_metrics

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OUT = Path(__file__).parent / "results"
ALGORITHMS = ("grpo", "gspo", "ppo")
PIECES = [
    f"<imgen>{Call(tool, 'a lighthouse', params).to_json()}</imgen>"
    for tool, params in (
        ("search", {"query": "lighthouse"}),
        ("search", {"query": "a thing that nobody has ever seen"}),
        ("edit", {"img_index": 0, "prompt": "make it grayscale"}),
    )
]
QUESTIONS = (
    "Show a lighthouse.",
    "A picture of a lighthouse, please.",
    "What does a lighthouse look like?",
    "Find me a lighthouse.",
)


def recipe(algorithm: str, model: Path, tasks: Path) -> dict[str, Any]:
    """The same for all three, but for what makes them different."""
    of = {
        "grpo": {"lr": 1e-2},
        "gspo": {"lr": 1e-2, "clip_low": 3e-2, "clip_high": 4e-2, "aggregation": "seq-mean-token-mean"},
        "ppo": {"lr": 1e-2, "lr_critic": 1e-2},
    }
    return {
        "name": f"known-{algorithm}",
        "trainer": "verl",
        "algorithm": algorithm,
        "model": str(model),
        "env": {
            "preset": "rules",
            "world": "in_process",
            "tasks": str(tasks),
            "limits": {"characters": 2000, "calls": 1, "pictures": 1},
        },
        "eval_tasks": str(tasks),
        "eval_size": 4,
        "eval_samples": 8,
        "eval_temperature": 1.0,
        "tasks_per_step": 4,
        "samples": 16,
        "max_prompt_tokens": 1024,
        "max_tokens": 16,
        "steps": 24,
        "lr_schedule": "constant",
        "weight_decay": 0.0,
        "clip_high": 0.28,
        "eval_every": 1000,
        "save_every": 1000,
        "device": "cpu",
        "micro_batch": 64,
        "logprob_micro_batch": 64,
        "gradient_checkpointing": False,
        "workers": 1,
        **of[algorithm],
    }


def main() -> None:
    """Train and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "algorithms", nargs="*", metavar="ALGORITHM|key=value", help="grpo, gspo, ppo (default: all); changes"
    )
    words = parser.parse_args().algorithms
    chosen = [word for word in words if "=" not in word] or list(ALGORITHMS)
    changes = [word for word in words if "=" in word]
    from trainers.recipe import load_recipe
    from trainers.verl.launch import VerlTrainer
    from trainers.verl.tiny import make_tiny

    console = Console(stderr=True)
    curves: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_tiny(folder / "model", vocabulary=300, pieces=PIECES)
        tasks = folder / "tasks.jsonl"
        rows = [{"question": question, "tools": ["search"], "image_count": 1} for question in QUESTIONS]
        tasks.write_text("".join(json.dumps(row) + "\n" for row in rows * 8))
        for algorithm in chosen:
            console.rule(algorithm)
            # Four tasks make a step: as many rows as there are steps keep one epoch long.
            data = recipe(algorithm, model, tasks)
            run = folder / algorithm
            result = VerlTrainer().train(load_recipe(data, changes), run, console=console)  # type: ignore[arg-type]
            if not result.finished:
                raise SystemExit("interrupted: nothing is written")
            curves[algorithm] = read_metrics(run)
    text = report(curves)
    print(text)
    if len(curves) == len(ALGORITHMS):
        (OUT / "verl.md").write_text(text, encoding="utf-8")
        draw(curves)
        console.print(f"written: {OUT / 'verl.md'}")


def report(curves: dict[str, list[dict[str, Any]]]) -> str:
    """Rewards along the way, as Markdown."""
    lines = [
        "# verl learns what is known to be best",
        "",
        "Made by `python -m benchmarks.verl_known` (its text says what is done): verl's own `main_ppo` with our agent loop, estimator and "
        "CPU platform.",
        "Reward 1 is the best document, which exists; a document without a picture earns 0.",
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
        "",
        "| | before | "
        + " | ".join(f"after {place} %" for place in (25, 50, 75, 100))
        + " of the steps | held out, after | s a step | steps |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, rows in curves.items():
        steps = [row for row in rows if row["phase"] == "train"]
        ends = {row["phase"]: row["reward"] for row in rows if row["phase"] != "train"}
        along = [
            _mean(steps[max(0, len(steps) * place // 100 - 4) : len(steps) * place // 100])
            for place in (25, 50, 75, 100)
        ]
        seconds = sum(row["seconds"]["total"] for row in steps) / len(steps)
        lines.append(
            f"| {name} | {ends.get('before', float('nan')):.2f} | "
            + " | ".join(f"{value:.2f}" for value in along)
            + f" | {ends.get('after', float('nan')):.2f} | {seconds:.1f} | {len(steps)} |"
        )
    error = max((row.get("logprob_error") or 0.0) for rows in curves.values() for row in rows)
    lines += [
        "",
        f"Rewards along the way are means over four steps. Largest difference between the sampler's and the trainer's probability of "
        f"a token: {error:.1e}.",
        "",
        "![curves](verl.png)",
    ]
    return "\n".join(lines) + "\n"


def _mean(rows: list[dict[str, Any]]) -> float:
    values = [row["reward"] for row in rows if row["reward"] is not None]
    return sum(values) / len(values) if values else float("nan")


def draw(curves: dict[str, list[dict[str, Any]]]) -> None:
    """The curves as a picture."""
    figure, axes = plt.subplots(figsize=(6, 3.2))
    for name, rows in curves.items():
        steps = [row for row in rows if row["phase"] == "train"]
        axes.plot([row["step"] for row in steps], [row["reward"] for row in steps], label=name)
    axes.set(xlabel="step", ylabel="mean reward of 64 documents", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(OUT / "verl.png", dpi=110)


if __name__ == "__main__":
    main()

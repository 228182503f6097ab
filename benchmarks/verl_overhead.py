"""What our agent loop costs beside verl's own single-turn loop: the same model, prompts, lengths and trainer. Makes `results/verl_overhead.md`.

    python -m benchmarks.verl_overhead             # about ten minutes on two cores
    python -m benchmarks.verl_overhead steps=4     # fewer steps

verl's loop writes a document and has a reward function of one line score it. Ours parses it, would call tools (a random model asks for none),
scores it by rules and keeps it as an episode. Both run twice, in turns; medians over the steps of a run, the first step left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

OUT = Path(__file__).parent / "results" / "verl_overhead.md"
PARTS = ("timing_s/gen", "timing_s/step")


def recipe(own: bool, model: Path, scorer: Path) -> dict[str, Any]:
    """The recipe, with our loop or verl's."""
    agent = "actor_rollout_ref.rollout.agent.default_agent_loop"
    plain = {agent: "single_turn_agent", "reward.custom_reward_function.path": str(scorer)}
    return {
        "name": "overhead",
        "trainer": "verl",
        "algorithm": "grpo",
        "model": str(model),
        "env": {"preset": "rules", "world": "in_process"},
        "eval_every": 0,
        "save_every": 0,
        "tasks_per_step": 8,
        "samples": 8,
        "max_prompt_tokens": 1024,
        "max_tokens": 128,
        "steps": 8,
        "device": "cpu",
        "micro_batch": 32,
        "logprob_micro_batch": 32,
        "gradient_checkpointing": False,
        "workers": 1,
        "verl": {} if own else plain,
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe, steps=4 for instance")
    changes = parser.parse_args().changes
    from trainers.recipe import load_recipe
    from trainers.verl.episodes import VerlLog
    from trainers.verl.launch import VerlTrainer
    from trainers.verl.tiny import make_tiny

    console = Console(stderr=True)
    seconds: dict[bool, dict[str, list[float]]] = {own: {part: [] for part in PARTS} for own in (True, False)}
    starts: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_tiny(folder / "model")
        scorer = folder / "scorer.py"
        scorer.write_text(
            "def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):\n    return 0.0\n"
        )
        for turn, own in enumerate((True, False, False, True)):
            console.rule("our loop" if own else "verl's loop")
            run, begun = folder / f"run-{turn}", time.time()
            result = VerlTrainer().train(load_recipe(recipe(own, model, scorer), changes), run, console=console)  # type: ignore[arg-type]
            if not result.finished:
                raise SystemExit("interrupted: nothing is written")
            steps = [figures for _, figures in VerlLog(run / "verl.jsonl").news() if "timing_s/step" in figures]
            for part in PARTS:
                seconds[own][part] += [figures[part] for figures in steps[1:]]
            starts.append(time.time() - begun - sum(figures["timing_s/step"] for figures in steps))
    lines = [
        "# Our agent loop beside verl's own",
        "",
        "Made by `python -m benchmarks.verl_overhead` (its text says what is done). Medians of seconds, two runs each in turns.",
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
        "",
        "| | verl's single-turn loop | ours | ours / verl's |",
        "|---|---:|---:|---:|",
    ]
    for part, what in zip(PARTS, ("writing 64 documents", "a whole step"), strict=True):
        theirs, mine = (statistics.median(seconds[own][part]) for own in (False, True))
        lines.append(f"| {what} | {theirs:.2f} | {mine:.2f} | {mine / theirs:.3f} |")
    lines += ["", f"Start and end of a run, everything but its steps: {statistics.median(starts):.0f} s."]
    text = "\n".join(lines) + "\n"
    print(text)
    OUT.write_text(text, encoding="utf-8")
    console.print(f"written: {OUT}")


if __name__ == "__main__":
    main()

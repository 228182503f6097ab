"""The side of the comparison of trainers that is ours: `llmi train` with the local trainer, step by step."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training_work import Step, Work, say

import trainers.local
import trainers.policy_model
from llmi_env.models import load_model
from llmi_env.testing import simulated_config
from llmi_env.tokenizers import HFTokenizer
from llmi_env.world.config import WorldConfig
from trainers.recipe import Recipe, load_recipe
from trainers.run_folder import RunLog


def services(work: Work) -> WorldConfig:
    """Simulated tools and judge; the judge's scores are hashes, so that every document has a gradient."""
    return simulated_config(
        tools={name: {"latency": work.tool} for name in ("search", "diffusion", "code", "edit")},
        judge={"latency": work.judge, "concurrency": 64},
    )


def options(work: Work, world: str) -> dict[str, Any]:
    """The work as options that recipes of all our trainers have."""
    return {
        "name": "training",
        "model": work.model,
        "env": {"world": world, "tasks": work.tasks, "services": services(work).model_dump(mode="json")},
        "eval_tasks": work.tasks,
        "eval_size": 1,
        "seed": work.seed,
        "steps": work.steps,
        "tasks_per_step": len(work.prompts),
        "samples": work.samples,
        "max_tokens": work.tokens,
        "lora_rank": work.lora_rank,
        "lora_alpha": 2 * work.lora_rank,
        "lr": work.lr,
        "micro_batch": work.micro_batch,
    }


class Turns(RunLog):
    """The run's log, which tells of each step and waits for its turn."""

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Log, tell, wait."""
        super().write(metrics)
        if metrics["phase"] != "train":
            return
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        say(Step.logged(metrics, memory, rewards=(metrics["reward"], metrics["loss"], metrics["grad_norm"])))


def endless(*args: Any, **kwargs: Any) -> tuple[Any, HFTokenizer]:
    """`load_model` with a tokenizer for which no token ends a document: eos is a token like any other."""
    model, tokenizer = load_model(*args, **kwargs)
    return model, HFTokenizer(tokenizer.hf, eos_ids=[len(tokenizer.hf)])


def main() -> None:
    """Train, step by step."""
    work = Work.read()
    if work.fixed:
        trainers.policy_model.load_model = endless  # type: ignore[attr-defined]
    trainers.local.RunLog = Turns  # type: ignore[attr-defined]
    recipe = load_recipe(options(work, "in_process"))
    assert isinstance(recipe, Recipe)
    trainers.local.train(recipe, Path(work.folder) / "run")


if __name__ == "__main__":
    main()

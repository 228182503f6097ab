"""The side of the comparison of trainers that is verl on the CPU: `llmi train` with `trainer: verl`, all steps in one go.

verl goes its own way from step to step, so this side takes no turns and is measured alone. What writes the documents is ours
(`trainers.verl.sampler`), what learns is verl's. Its step also computes the logprobs of the batch again before the update, as verl
does wherever sampler and trainer are two processes; that counts as update here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_training import options
from training_work import Step, Work, say

import trainers.verl.launch
from trainers.recipe import load_recipe
from trainers.run_folder import RunLog
from trainers.verl.launch import VerlTrainer
from trainers.verl.recipe import VerlRecipe

_UPDATE = ("old_log_prob", "ref", "adv", "update_actor", "update_weights")


def recipe(work: Work) -> VerlRecipe:
    """The work as a recipe of verl."""
    made = load_recipe(
        options(work, "local")
        | {
            "trainer": "verl",
            "device": "cpu",
            "eval_every": 0,
            "save_every": 0,
            "max_prompt_tokens": 512,
            "lr_schedule": "constant",
            "weight_decay": 0.0,
            "logprob_micro_batch": work.micro_batch,
            "gradient_checkpointing": False,
        }
    )
    assert isinstance(made, VerlRecipe)
    return made


class Telling(RunLog):
    """The run's log, which tells of each step."""

    def write_once(self, metrics: Mapping[str, Any]) -> None:
        """Log and tell."""
        super().write_once(metrics)
        if metrics["phase"] != "train":
            return
        update = sum(metrics["verl"].get(f"timing_s/{part}", 0.0) for part in _UPDATE)
        say(Step.logged(metrics, None, update=update), wait=False)


def main() -> None:
    """Train."""
    work = Work.read()
    trainers.verl.launch.RunLog = Telling  # type: ignore[misc]
    VerlTrainer().train(recipe(work), Path(work.folder) / "run")


if __name__ == "__main__":
    main()

"""The run folder: the recipe as it was resolved, the metrics, and the evaluations that are kept.

    config.yaml  metrics.jsonl  events.out.tfevents.*  episodes/*.parquet  checkpoints/step-*/

A line of `metrics.jsonl` is an object with `phase` (before, train, after), `step` and the figures. Whatever was written after the newest
checkpoint belongs to a step that will be done again, and is taken out when the run goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmi_env.comparison import Evaluation
from llmi_env.errors import CheckpointError, ConfigError
from llmi_env.folders import write_whole
from llmi_env.rollout import Rollout
from llmi_env.store import read_episodes, read_metrics
from trainers.checkpoint import Checkpoint, newest_checkpoint
from trainers.recipe import Recipe, check_unchanged


def prepare_folder(recipe: Recipe, run_dir: Path, resume: bool) -> Checkpoint | None:
    """Make or check the run folder; returns the checkpoint to go on from, `None` to start at the beginning.

    Raises:
        ConfigError: it holds a run and `resume` is false, or a run of another recipe.
        CheckpointError: there is nothing to resume, or the newest checkpoint is broken.
    """
    config = run_dir / "config.yaml"
    begun = any((run_dir / name).exists() for name in ("metrics.jsonl", "episodes", "checkpoints"))
    checkpoint = None
    if resume:
        if not config.is_file():
            raise CheckpointError(f"{run_dir} holds no run to resume; start one without --resume")
        checkpoint = newest_checkpoint(run_dir)
        if begun:
            check_unchanged(config.read_text(encoding="utf-8"), recipe, checkpoint.step if checkpoint else 0)
    elif config.exists() and begun:
        raise ConfigError(f"{run_dir} holds a run already: go on with it by --resume, or choose another folder")
    run_dir.mkdir(parents=True, exist_ok=True)
    write_whole(config, recipe.to_yaml())
    return checkpoint


def stored_evaluation(run_dir: Path, phase: str, step: int) -> Evaluation | None:
    """The evaluation of this phase after that step, where the run has one already."""
    rollouts: list[Rollout] = []
    for columns, rollout in read_episodes(run_dir, phase):
        if columns.get("step") != step:  # of a run that was made longer since
            return None
        rollouts.append(rollout)
    return Evaluation(tuple(rollouts)) if rollouts else None


class RunLog:
    """`metrics.jsonl` and TensorBoard events.

    Args:
        run_dir: the run folder.
        done: steps of the checkpoint that the run goes on from; 0 at the beginning.
        steps: steps that it is to have.
    """

    def __init__(self, run_dir: Path, done: int, steps: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._path = run_dir / "metrics.jsonl"
        self._written: set[tuple[str, int]] = set()
        kept = []
        for entry in read_metrics(run_dir):
            # Evaluations along the way belong to their step; that of the end only to a run of this length.
            along = entry["phase"] in ("train", "validation")
            if entry["step"] <= done if along else entry["step"] == (0 if entry["phase"] == "before" else steps):
                kept.append(json.dumps(entry) + "\n")
                self._written.add((entry["phase"], entry["step"]))
        if kept or self._path.exists():
            write_whole(self._path, "".join(kept))
        self._events = SummaryWriter(str(run_dir), purge_step=done + 1 if done else None)

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Add a line; it is on the disk when this returns."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._written.add((metrics["phase"], metrics["step"]))
        prefix = "train" if metrics["phase"] == "train" else "eval"
        for name, value in _numbers(metrics):
            self._events.add_scalar(f"{prefix}/{name}", value, metrics["step"])
        self._events.flush()

    def write_once(self, metrics: Mapping[str, Any]) -> None:
        """Add a line unless there is one of this phase and step."""
        if (metrics["phase"], metrics["step"]) not in self._written:
            self.write(metrics)

    def close(self) -> None:
        """Close the events."""
        self._events.close()


def _numbers(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            yield f"{prefix}{name}", float(value)

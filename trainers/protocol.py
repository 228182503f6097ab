"""What a trainer is: one protocol for all of them, and where they are found by name.

`llmi train RECIPE` reads the recipe's `trainer:` key, checks the recipe against the model of that trainer and hands it over. Two come with the
package: `local`, one process, and `verl`, from one CPU to a cluster. A third is a class in a package of your own, named by an entry point:

    [project.entry-points."llmi_env.trainers"]
    mine = "my_package.trainer:MyTrainer"

after which `trainer: mine` works in every recipe; without a package, `trainer: "my_module:MyTrainer"` does. What the class needs is `Trainer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from llmi_env.comparison import Comparison, Evaluation
from llmi_env.errors import ConfigError
from llmi_env.registry import Registry
from trainers.display import number, share

if TYPE_CHECKING:
    from rich.console import Console

    from trainers.recipe import BaseRecipe

TRAINERS = Registry(
    what="trainer",
    group="llmi_env.trainers",
    builtin={"local": "trainers.local:LocalTrainer", "verl": "trainers.verl.launch:VerlTrainer"},
)
"""Every trainer by name."""


@dataclass(frozen=True)
class TrainResult:
    """What came of a run.

    Attributes:
        run_dir: the run folder.
        step: steps done.
        finished: whether all that the recipe asks for is done; if not, the run was interrupted and can be gone on with.
        before: evaluation of the starting policy; `None` where the trainer made none.
        after: evaluation of the trained one; `None` likewise, and in a run that was interrupted.
        interval: after minus before, with intervals; `None` where one of them is.
        report: whether the run folder holds the metrics and episodes that `llmi report` makes a page of.
    """

    run_dir: Path
    step: int
    finished: bool
    before: Evaluation | None = None
    after: Evaluation | None = None
    interval: Comparison | None = None
    report: bool = True

    def summary(self) -> str:
        """Before, after and difference, for the console."""
        if self.before is None or self.after is None or self.interval is None:
            return f"{self.step} steps done{'' if self.finished else ', not finished'}; run folder: {self.run_dir}"
        reward, tools = self.interval.reward, self.interval.tool_accuracy
        first, second = self.interval.rewards
        return "\n".join(
            [
                f"on {len(self.before.by_task)} held-out tasks, before and after {self.step} steps, with 95 % paired bootstrap intervals:",
                f"  reward         {number(first)} -> {number(second)}   {reward or 'not scored'}",
                f"  tool accuracy  {share(self.before.tools.accuracy)} -> {share(self.after.tools.accuracy)}   {tools or 'no tool needed'}",
                f"run folder: {self.run_dir}",
            ]
        )


@runtime_checkable
class Trainer(Protocol):
    """Carries out recipes. It is made without arguments, and making it loads nothing heavy."""

    @property
    def recipe(self) -> type[BaseRecipe]:
        """The model that its recipes are checked against: `trainers.recipe.BaseRecipe` with the options of its own."""
        ...

    def train(self, recipe: Any, run_dir: Path, *, resume: bool = False, console: Console | None = None) -> TrainResult:
        """Carry out a recipe.

        Whatever the recipe names is to be looked up before the run folder is made. In it belong `config.yaml` (`recipe.to_yaml()`),
        `metrics.jsonl` (`trainers.run_folder.RunLog`) and the documents (`llmi_env.store.write_episodes`); then `llmi report` serves this
        trainer, too. An episode without a score, `Rollout.reward is None`, stays out of baselines and of the loss.

        Args:
            recipe: an instance of the trainer's own recipe model.
            run_dir: the run folder; made when missing.
            resume: go on from what an earlier run saved there.
            console: for progress.

        Returns:
            The result; `finished=False` when it was interrupted from the keyboard, after which `resume=True` goes on.

        Raises:
            ConfigError: the recipe cannot be carried out, or the folder holds another run.
            CheckpointError: there is nothing to resume from, or it is broken.
            TrainingError: training cannot go on; what was saved is kept.
            WorldError: tools and judges cannot be reached.
        """
        ...

    def dry_run(self, recipe: Any, run_dir: Path) -> str:
        """What `train` would run, for people to read or to paste; nothing is made or started.

        Raises:
            ConfigError: the recipe cannot be carried out.
        """
        ...


def find_trainer(name: str) -> Trainer:
    """The trainer of this name.

    Raises:
        ConfigError: there is none, or what the name stands for is no trainer.
        MissingExtra: it needs packages that are not installed.
    """
    trainer = TRAINERS.make(name, {})
    missing = [part for part in ("recipe", "train", "dry_run") if not hasattr(trainer, part)]
    if missing:
        raise ConfigError(f"trainer {name!r} lacks {', '.join(missing)}: see trainers.protocol.Trainer")
    return trainer  # type: ignore[no-any-return]

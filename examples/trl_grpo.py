"""A third trainer: TRL's GRPOTrainer on our episodes, with text feedback, in the shape that `llmi train` takes.

    PYTHONPATH=examples llmi train examples/trl_grpo.yaml              # a tiny random policy, two steps
    PYTHONPATH=examples llmi train examples/trl_grpo.yaml model=warm-start max_tokens=160

TRL asks its `rollout_func` for completions. Ours has `run_rollouts` write them: the policy reads a line about each picture as soon as it has
landed, and what comes back are the very ids that were sampled and shown, with a mask of who wrote them. A document without a score gives
`None`, which TRL leaves out of its group's mean. In a package of your own, the class would be named by an entry point; see `trainers.protocol`.
"""

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console
from transformers import PrinterCallback, TrainerCallback

from llmi_env.errors import ConfigError, require
from llmi_env.ledger_export import to_trl
from llmi_env.models import calm_threads, load_model
from llmi_env.policies.transformers_policy import TransformersPolicy
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.store import write_episodes
from llmi_env.task import Task
from llmi_env.task_sets import load_tasks
from llmi_env.world import connect
from llmi_env.world_source import check_extras, tool_specs
from trainers.evaluation import interleaved, summary
from trainers.protocol import TrainResult
from trainers.recipe import BaseRecipe
from trainers.run_folder import RunLog

FEEDBACK = 512  # tokens of a completion that are shown and not written, at most


class TRLRecipe(BaseRecipe):
    """What every trainer takes, and one option for everything that TRL's `GRPOConfig` has besides."""

    trl: dict[str, Any] = Field(default_factory=dict)


class TRLTrainer:
    """See `trainers.protocol.Trainer` for what the three members are."""

    recipe = TRLRecipe

    def dry_run(self, recipe: TRLRecipe, run_dir: Path) -> str:
        """What TRL would be told."""
        return f"GRPOTrainer of TRL with {self.options(recipe, run_dir)}"

    def options(self, recipe: TRLRecipe, run_dir: Path) -> dict[str, Any]:
        """Our recipe in TRL's words."""
        options = {
            "output_dir": str(run_dir / "checkpoints"),
            "max_steps": recipe.steps,
            "per_device_train_batch_size": recipe.tasks_per_step * recipe.samples,
            "num_generations": recipe.samples,
            "max_completion_length": recipe.max_tokens + FEEDBACK,
            "learning_rate": recipe.lr,
            "lr_scheduler_type": "constant",
            "seed": recipe.seed,
            "shuffle_dataset": False,  # the order below spreads the tools evenly
            "save_strategy": "steps",
            "save_steps": 1,
            "save_total_limit": recipe.keep_checkpoints,
            "logging_steps": 1,
            "report_to": [],
            "disable_tqdm": True,
            "bf16": False,
            "use_cpu": True,
        }
        return options | recipe.trl

    def train(
        self, recipe: TRLRecipe, run_dir: Path, *, resume: bool = False, console: Console | None = None
    ) -> TrainResult:
        """GRPO as TRL does it, on documents as we make them."""
        trl = require("trl", "training with TRL", "train")  # and trl itself: see examples/README.md
        datasets = require("datasets", "training with TRL", "hub")
        check_extras(recipe.env.services)
        if recipe.env.feedback == "image":
            raise ConfigError("env.feedback: TRL's rollout_func cannot carry pictures; use 'none' or 'text'")
        if (run_dir / "config.yaml").exists() != resume:
            raise ConfigError(f"{run_dir} holds {'no run to resume' if resume else 'a run already: --resume goes on'}")
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / "config.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
        reward, tools = HybridReward.load(recipe.env.reward), tool_specs(recipe.env.services)
        tasks = interleaved(load_tasks(recipe.env.tasks).for_tools(tools), recipe.seed)
        by_question = {task.question: task for task in tasks}
        model, tokenizer = load_model(_tiny(run_dir) if recipe.model == "tiny" else recipe.model, trainable=True)
        written: list[Rollout] = []

        with asyncio.Runner() as loop:  # one event loop for all steps: connections to the World live in it
            world = connect(recipe.env.world, recipe.env.services)

            def write(prompts: list[str], trainer: Any) -> dict[str, Any]:
                """TRL's `rollout_func`: the prompts of a batch, each as often as there are to be documents of it."""
                policy = TransformersPolicy(trainer.accelerator.unwrap_model(trainer.model).eval(), tokenizer)
                asked: list[Task] = [by_question[prompt] for prompt in prompts]
                batch = loop.run(
                    run_rollouts(
                        policy,
                        world,
                        reward,
                        asked,
                        seed=recipe.seed + trainer.state.global_step,
                        max_tokens=recipe.max_tokens,
                        limits=recipe.env.limits.episode(),
                        tools=tools,
                        prompt=recipe.env.prompt,
                        feedback="text" if recipe.env.feedback == "text" else "none",
                    )
                )
                trainer.model.train()
                written[:] = [replace(r, group=prompts.index(p)) for p, r in zip(prompts, batch.rollouts, strict=True)]
                rewards = [rollout.reward for rollout in written]
                return to_trl(
                    [rollout.ledger for rollout in written],
                    max_completion_length=trainer.args.max_completion_length,
                    llmi=rewards,
                )

            def llmi_reward(llmi: list[float | None], **_: Any) -> list[float | None]:
                return llmi

            trainer = trl.GRPOTrainer(
                model=model,
                reward_funcs=llmi_reward,
                rollout_func=write,
                processing_class=tokenizer.hf,
                train_dataset=datasets.Dataset.from_list([{"prompt": question} for question in by_question]),
                args=trl.GRPOConfig(**self.options(recipe, run_dir)),
            )
            trainer.remove_callback(PrinterCallback)
            done = max((int(path.name.split("-")[1]) for path in run_dir.glob("checkpoints/checkpoint-*")), default=0)
            log = RunLog(run_dir, done, recipe.steps)
            trainer.add_callback(Keep(run_dir, log, written, console or Console()))
            try:
                trainer.train(resume_from_checkpoint=resume or None)
            except KeyboardInterrupt:
                return TrainResult(run_dir, trainer.state.global_step, finished=False)
            finally:
                log.close()
                loop.run(world.aclose())
        return TrainResult(run_dir, trainer.state.global_step, finished=True)


class Keep(TrainerCallback):
    """At the end of each step: its documents and figures, where `llmi report` finds them."""

    def __init__(self, run_dir: Path, log: RunLog, written: list[Rollout], console: Console) -> None:
        self.run_dir, self.log, self.written, self.console = run_dir, log, written, console

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """TRL has figures; the last ones, of the whole run, are of no step."""
        if logs is None or "loss" not in logs:
            return
        step, figures = state.global_step, summary(self.written)
        theirs = {name: value for name, value in logs.items() if isinstance(value, float) and math.isfinite(value)}
        write_episodes(self.run_dir, f"train-{step:05d}", self.written, phase="train", step=step)
        self.log.write({"phase": "train", "step": step, **figures, "trl": theirs})
        shown = sum(len(rollout.ledger.response_ids) - rollout.ledger.n_policy for rollout in self.written)
        self.console.print(
            f"step {step}: reward {figures['reward']}, loss {logs['loss']:.4f}, {shown} tokens of feedback"
        )


def _tiny(run_dir: Path) -> Path:
    """A random policy, which knows nothing: enough to see that everything runs."""
    from trainers.verl.tiny import make_tiny

    calm_threads()
    return make_tiny(run_dir / "model")

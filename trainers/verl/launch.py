"""The trainer `verl`: verl's own `main_ppo`, unmodified, as a child process, and around it the run folder that every trainer writes.

    config.yaml  agent.yaml  data/*.parquet  model/  verl.jsonl  verl.log  metrics.jsonl  episodes/*.parquet  checkpoints/global_step_*/

The recipe becomes Hydra overrides (`trainers.verl.recipe`), tasks become rows (`trainers.verl.data`), documents are written by our agent
loop in verl's workers. Validation before the first step and after the last one are the evaluations that the report compares.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel

from llmi_env.comparison import Evaluation, compare
from llmi_env.document import Document, Picture, Text
from llmi_env.errors import CheckpointError, ConfigError, TrainingError, WorldError
from llmi_env.judge_checks import check_judges, check_terms
from llmi_env.models import TRAINED, WARM_START, resolve_policy
from llmi_env.policies.vision import Eyes
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout
from llmi_env.store import FOLDER
from llmi_env.task import Task
from llmi_env.task_sets import load_tasks
from llmi_env.tokenizers import HFTokenizer
from llmi_env.world import connect
from llmi_env.world.http import HttpWorld
from llmi_env.world.protocol import TellingWorld, Unscored
from llmi_env.world_source import check_extras, tool_specs
from trainers.display import Display
from trainers.evaluation import interleaved, pick, summary
from trainers.export import export_policy
from trainers.protocol import TrainResult
from trainers.recipe import check_unchanged
from trainers.run_folder import RunLog, stored_evaluation
from trainers.verl import episodes
from trainers.verl.checkpoints import make_ready, saved_step
from trainers.verl.command import AGENT
from trainers.verl.data import write_rows
from trainers.verl.plugin import check_version
from trainers.verl.process import VerlProcess
from trainers.verl.recipe import VerlRecipe, check, command, environment

if TYPE_CHECKING:
    from rich.console import Console

_OURS = (WARM_START, TRAINED, "smollm2")
"""Policies that are put together here before verl loads them."""
_FULL = 1 << 20  # free bytes


class VerlTrainer:
    """GRPO, GSPO and PPO by verl, from a laptop's CPU to a cluster."""

    recipe: type[BaseModel] = VerlRecipe

    def dry_run(self, recipe: VerlRecipe, run_dir: Path) -> str:
        """The command that a run would start, with its environment; nothing is made.

        Raises:
            ConfigError: an option of a judge or a term of the reward that cannot be; where verl is installed, an option unknown to it.
        """
        check_judges(recipe.env.world, recipe.env.services.judges, HybridReward.load(recipe.env.reward))
        run_dir = run_dir.resolve()
        model = _model_name(recipe, run_dir)
        check(recipe, run_dir, model)
        variables = [f"{name}={shlex.quote(value)}" for name, value in environment(recipe, run_dir).items()]
        program, *options = [shlex.quote(word) for word in command(recipe, run_dir, model)]
        return " \\\n  ".join([*variables, f"{program} {' '.join(options[:2])}", *options[2:]])

    def train(
        self, recipe: VerlRecipe, run_dir: Path, *, resume: bool = False, console: Console | None = None
    ) -> TrainResult:
        """Carry out a recipe; see `trainers.protocol.Trainer.train`.

        Raises:
            ConfigError: another version of verl, a folder that holds a run, or a recipe that cannot be carried out.
            WorldError: the judges do not answer, and the recipe does not say `allow_unscored`.
            TrainingError: verl ended with an error, or nothing can be scored.
        """
        check_version()
        check_extras(recipe.env.services)
        run_dir = run_dir.resolve()
        tasks = _train_tasks(recipe)
        recipe = recipe.counted(len(tasks))
        check(recipe, run_dir, _model_name(recipe, run_dir))
        asyncio.run(_check_world(recipe))
        done = _prepare(recipe, run_dir, resume, console)
        if done >= recipe.steps:
            raise ConfigError(f"{run_dir} has its {recipe.steps} steps; give steps= more to go on")
        with Display(console, recipe.steps) as display:
            display.phase("preparing model and data", 1)
            model_path = _make_model(recipe, run_dir, anew=not resume)
            check(recipe, run_dir, model_path)
            _write_data(recipe, run_dir, model_path, tasks)
            episodes.drop_parts(run_dir)
            loop = {"name": AGENT, "_target_": "trainers.verl.agent_loop.LLMIAgentLoop", "run_dir": str(run_dir)}
            (run_dir / "agent.yaml").write_text(yaml.safe_dump([loop]), encoding="utf-8")
            watcher = _Watcher(recipe, run_dir, done, display)
            display.phase("starting verl and Ray (a minute or two), then training", recipe.steps)
            started = command(recipe, run_dir, model_path)
            try:
                with VerlProcess(started, environment(recipe, run_dir), run_dir / "verl.log") as process:
                    process.watch(watcher.look)
            except (TrainingError, OSError) as error:
                raise _with_advice(error, run_dir) from error
            except KeyboardInterrupt:
                step = saved_step(run_dir)
                display.say(f"interrupted; saved up to step {step}, go on with --resume" if step else "interrupted")
                return TrainResult(run_dir, step, finished=False)
            finally:
                watcher.close()
            return watcher.result()


class _Watcher:
    """Turns what verl and its workers leave into metrics, episodes and progress."""

    def __init__(self, recipe: VerlRecipe, run_dir: Path, done: int, display: Display) -> None:
        self._recipe, self._run_dir, self._display = recipe, run_dir, display
        (run_dir / "verl.jsonl").unlink(missing_ok=True)  # verl begins it anew; what counts is in metrics.jsonl
        self._verl = episodes.VerlLog(run_dir / "verl.jsonl")
        self._log = RunLog(run_dir, done, recipe.steps)
        self.step = done

    def look(self) -> None:
        """Take in what is new."""
        for step, data in self._verl.news():
            figures, trained, validated = episodes.split_figures(data)
            if trained:
                self._train(step, figures)
            if validated:
                self._validation(step)

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def result(self) -> TrainResult:
        """What came of the run."""
        recipe, run_dir = self._recipe, self._run_dir
        before = stored_evaluation(run_dir, "before", 0)
        after = stored_evaluation(run_dir, "after", recipe.steps)
        if self.step < recipe.steps:
            raise TrainingError(
                f"verl ended after step {self.step} of {recipe.steps} without an error; see {run_dir / 'verl.log'}"
            )
        comparison = compare(before, after) if before is not None and after is not None else None
        return TrainResult(run_dir, self.step, True, before, after, comparison)

    def _train(self, step: int, figures: dict[str, Any]) -> None:
        rollouts = episodes.join_parts(self._run_dir, "train", step, f"train-{step:05d}", "train")
        needed = 1 if self._recipe.algorithm == "ppo" else 2
        metrics: dict[str, Any] = {
            "phase": "train",
            "step": step,
            **summary(rollouts, tool_times=True),
            **episodes.missing(rollouts, figures, needed),
            "kl": figures.get("actor/kl_loss"),
            "kl_step": figures.get("actor/ppo_kl"),
            "clip_fraction": figures.get("actor/pg_clipfrac"),
            "entropy": figures.get("actor/entropy"),
            "loss": figures.get("actor/pg_loss"),
            "grad_norm": figures.get("actor/grad_norm"),
            "lr": figures.get("actor/lr"),
            "tokens": sum(rollout.ledger.n_policy for rollout in rollouts),
            "tokens_per_second": _rate(rollouts, figures),
            "logprob_error": figures.get("training/rollout_probs_diff_max"),
            "seconds": {
                "sampling": figures.get("timing_s/gen", 0.0),
                "waiting": max((rollout.times.judged - rollout.times.written for rollout in rollouts), default=0.0),
                "update": figures.get("timing_s/update_actor", 0.0),
                "total": figures.get("timing_s/step", 0.0),
            },
            "verl": figures,
        }
        self._log.write_once(metrics)
        self._display.step(metrics)
        self.step = step

    def _validation(self, step: int) -> None:
        phase = "before" if step == 0 else "after" if step >= self._recipe.steps else "validation"
        name = phase if phase != "validation" else f"validation-{step:05d}"
        rollouts = episodes.join_parts(self._run_dir, "val", step, name, phase)
        if not rollouts:
            return
        metrics: dict[str, Any] = {"phase": phase, "step": step, **summary(rollouts)}
        if phase == "after" and (before := stored_evaluation(self._run_dir, "before", 0)) is not None:
            metrics |= compare(before, Evaluation(tuple(rollouts))).to_json()
        self._log.write_once(metrics)
        self._display.evaluation(phase, metrics)


# ------------------------------------------------------------------------------------------------------------------- before it


def _prepare(recipe: VerlRecipe, run_dir: Path, resume: bool, console: Console | None) -> int:
    """Make or check the run folder; returns the step to go on from."""
    config = run_dir / "config.yaml"
    if resume:
        if not config.is_file():
            raise CheckpointError(f"{run_dir} holds no run to resume; start one without --resume")
        check_unchanged(config.read_text(encoding="utf-8"), recipe)
    elif any((run_dir / name).exists() for name in ("metrics.jsonl", FOLDER, "checkpoints")):
        raise ConfigError(f"{run_dir} holds a run already: go on with it by --resume, or choose another folder")
    run_dir.mkdir(parents=True, exist_ok=True)
    config.write_text(recipe.to_yaml(), encoding="utf-8")
    if not resume:
        return 0
    step, broken = make_ready(run_dir)
    if broken and console is not None:
        names = ", ".join(folder.name for folder in broken)
        console.print(f"{names}: not whole (a full disk, or a kill), removed; going on from step {step}")
    return step


def _with_advice(error: TrainingError | OSError, run_dir: Path) -> TrainingError:
    """The error with what is saved and what to do. A full disk stops verl and its log alike, so it is told from the disk itself."""
    told = str(error) if isinstance(error, TrainingError) else f"{error.filename or run_dir}: {error.strerror}"
    if shutil.disk_usage(run_dir).free < _FULL:
        told = f"the disk of {run_dir} is full. Make room (global_step_* folders are the largest): {told}"
    if "--resume" in told:
        return TrainingError(told)
    step = saved_step(run_dir)
    return TrainingError(
        f"{told}. "
        + (f"The run is saved up to step {step}; --resume goes on from there" if step else "Nothing is saved yet")
    )


async def _check_world(recipe: VerlRecipe) -> None:
    """Ask for the tools and have one small document judged, so that what is down or missing is told before anything starts."""
    reward = HybridReward.load(recipe.env.reward)
    check_judges(recipe.env.world, recipe.env.services.judges, reward)
    host = urlsplit(recipe.env.world).hostname
    if recipe.nodes > 1 and (host in ("localhost", "127.0.0.1", "::1") or recipe.env.world.startswith("unix:")):
        raise ConfigError(
            f"env.world={recipe.env.world} is another place on each of the {recipe.nodes} nodes: give an address that all of them reach, "
            "env.world=http://FIRST:8100"
        )
    world = connect(recipe.env.world, recipe.env.services)
    try:
        if isinstance(world, HttpWorld):
            await world.meet()
        if reward.judged_terms:
            assert isinstance(world, TellingWorld)  # all that have a name are
            check_terms(reward, await world.terms())
        if recipe.allow_unscored or not reward.judged_terms:
            return
        judgments = await world.judge(Document((Text("Owls hunt at night."),)), Task("Say when owls hunt."))
    finally:
        await world.aclose()
    for term in reward.judged_terms:
        judgment = judgments.get(term, Unscored("it was left out"))
        if isinstance(judgment, Unscored):
            raise WorldError(
                f"the judges do not answer: {term}: {judgment.reason}. Start or mend them; --allow-unscored begins nevertheless, and "
                "documents without a score are left out"
            )


def _model_name(recipe: VerlRecipe, run_dir: Path) -> str:
    """Folder or hub name that verl is to load."""
    return str(run_dir / "model") if recipe.model == "tiny" or _is_made_here(recipe.model) else recipe.model


def _is_made_here(model: str) -> bool:
    """Whether verl cannot load a policy itself: ours by name, and adapters, whose last norm it would leave out."""
    return model in _OURS or (Path(model).is_dir() and resolve_policy(model).adapter is not None)


def _make_model(recipe: VerlRecipe, run_dir: Path, anew: bool) -> str:
    """Make the folder of a model that verl cannot load by name; once for a run, whatever a failed start has left there."""
    folder = run_dir / "model"
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    if recipe.model == "tiny" and not folder.exists():
        from trainers.verl.tiny import make_tiny

        make_tiny(folder, seed=recipe.seed)
    elif _is_made_here(recipe.model) and not folder.exists():
        export_policy(recipe.model, folder)
    return _model_name(recipe, run_dir)


def _train_tasks(recipe: VerlRecipe) -> list[Task]:
    """The tasks in the order in which they are taken: any stretch of them has about the same mixture."""
    tools = tool_specs(recipe.env.services)
    return interleaved(load_tasks(recipe.env.tasks).for_tools(tools), recipe.seed << 16)


def _write_data(recipe: VerlRecipe, run_dir: Path, model_path: str, train: Sequence[Task]) -> None:
    tools = tool_specs(recipe.env.services)
    measure = _measure(model_path)
    held = pick(load_tasks(recipe.eval_tasks).for_tools(tools), recipe.eval_size, recipe.eval_seed)
    splits: list[tuple[str, Sequence[Task]]] = [("train", train), ("val", held)]
    for split, tasks in splits:
        path = run_dir / "data" / f"{split}.parquet"
        write_rows(path, tasks, split, tools, recipe.env.prompt, measure, recipe.max_prompt_tokens)


def _measure(model_path: str) -> Callable[[list[dict[str, Any]], Sequence[Picture]], int]:
    """Tokens of a conversation, with its pictures where the model sees them."""
    from transformers import AutoConfig

    if getattr(AutoConfig.from_pretrained(model_path), "vision_config", None) is None:
        tokenizer = HFTokenizer.load(model_path)
        return lambda messages, pictures: len(tokenizer.chat(messages))
    if find_spec("torchvision") is None:
        import_module("trainers.verl.cpu.vision")  # a processor for Pillow alone
    from transformers import AutoProcessor

    eyes = Eyes(AutoProcessor.from_pretrained(model_path))
    return lambda messages, pictures: len(eyes.see_prompt(messages, pictures).ids)


def _rate(rollouts: Sequence[Rollout], figures: dict[str, Any]) -> float:
    return sum(rollout.ledger.n_policy for rollout in rollouts) / max(float(figures.get("timing_s/gen", 0.0)), 1e-9)

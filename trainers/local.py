"""The local trainer: GRPO, GSPO or PPO in one process, from the recipe to the comparison at the end.

Read `_train` and `_learn` from top to bottom; they are the algorithm. Documents are written, illustrated, judged and scored by
`llmi_env.rollout`; the losses stand in `trainers.losses`. Beside them: the model (`policy_model`), PPO's value head (`value_head`), tensors and
micro-batches (`batching`), which tasks a step takes (`writing`), what is kept and how a run goes on after a kill (`run_folder`, `checkpoint`).

Axes: B documents of a step, M of a micro-batch, T tokens.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmi_env.comparison import compare
from llmi_env.errors import CheckpointError, ConfigError, TrainingError, require
from llmi_env.judge_checks import ask_judges, check_judges
from llmi_env.models import calm_threads, resolve_policy, sees_pictures
from llmi_env.policies.compute import compute
from llmi_env.policies.logit_scale import scale_now
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout
from llmi_env.store import write_episodes
from llmi_env.task import Task
from llmi_env.task_sets import load_tasks
from llmi_env.world import connect
from llmi_env.world_source import check_extras, tool_specs
from trainers.ahead import Ahead
from trainers.batching import Batch, minibatches
from trainers.checkpoint import Checkpoint, Progress, newest_checkpoint, restore, save_checkpoint
from trainers.display import Display
from trainers.evaluation import pick, summary
from trainers.failures import check_finite, memory_advice, out_of_memory
from trainers.gradient import (
    active,
    divide_gradients,
    divisor,
    learned_from,
    logprob_error,
    passes,
    surrogate,
    with_group_advantages,
)
from trainers.losses import explained_variance, gae, groups_that_differ, groups_without_baseline, masked_mean
from trainers.policy_model import PolicyModel, find_device, same_bits
from trainers.protocol import TrainResult
from trainers.recipe import Recipe
from trainers.reference import Reference, divergence
from trainers.run_folder import RunLog, prepare_folder, stored_evaluation
from trainers.tally import Tally
from trainers.value_head import Critic
from trainers.writing import Writer, step_seed, tasks_from

if TYPE_CHECKING:
    from rich.console import Console

_log = logging.getLogger(__name__)
_LOGPROB_ERROR = {"float32": 1e-2, "bfloat16": 1.0}
"""How far logprobs of sampler and trainer may be apart for a token before that is warned of; rounding alone makes up to 0.3 in bfloat16,
times the scale of the logits."""


class LocalTrainer:
    """GRPO, GSPO and PPO in this process; see `train`."""

    recipe = Recipe

    def train(
        self, recipe: Recipe, run_dir: Path, *, resume: bool = False, console: Console | None = None
    ) -> TrainResult:
        """Carry out a recipe: the function `train`."""
        return train(recipe, run_dir, resume, console)

    def dry_run(self, recipe: Recipe, run_dir: Path) -> str:
        """How much a run would do, and the resolved recipe."""
        named = _look_up(recipe)
        return (
            f"in this process, run folder {run_dir}: {recipe.steps} steps of {recipe.tasks_per_step} tasks x {recipe.samples} documents "
            f"({len(named.train_tasks)} tasks), {len(named.eval_tasks)} held-out tasks x {recipe.eval_samples} before and after\n\n"
            f"{recipe.to_yaml()}"
        )


@dataclass(frozen=True)
class _Named:
    """What a recipe names, looked up."""

    reward: HybridReward
    train_tasks: Sequence[Task]
    eval_tasks: Sequence[Task]


def _look_up(recipe: Recipe) -> _Named:
    require("peft", "training", "train")
    check_extras(recipe.env.services)
    resolve_policy(recipe.model)
    find_device(recipe.device)
    if recipe.env.feedback == "image" and not sees_pictures(recipe.model):
        raise ConfigError(f"env.feedback: the policy {recipe.model!r} sees no pictures; use 'none' or 'text'")
    tools = tool_specs(recipe.env.services)
    reward = HybridReward.load(recipe.env.reward)
    check_judges(recipe.env.world, recipe.env.services.judges, reward)
    return _Named(
        reward,
        list(load_tasks(recipe.env.tasks).for_tools(tools)),
        pick(load_tasks(recipe.eval_tasks).for_tools(tools), recipe.eval_size, recipe.eval_seed),
    )


def train(recipe: Recipe, run_dir: Path, resume: bool = False, console: Console | None = None) -> TrainResult:
    """Carry out a recipe.

    Args:
        recipe: what to do.
        run_dir: the run folder; made when missing.
        resume: go on from the folder's newest checkpoint, as if there had been no interruption.
        console: for progress.

    Returns:
        The result; `finished=False` when it was interrupted from the keyboard, after which `resume=True` goes on.

    Raises:
        ConfigError: the folder holds a run and `resume` is false, or it holds one of another recipe; or the policy does not fit the recipe.
        CheckpointError: the newest checkpoint is broken, or there is none to resume from.
        TrainingError: the loss is not finite, nothing can be scored or learned from, or memory runs out.
    """
    calm_threads()  # before torch is imported, and before the World's process inherits the environment
    # What the recipe names is looked up before anything is written, so that a typing error leaves no folder behind.
    named = _look_up(recipe)
    asyncio.run(ask_judges(recipe.env.world, recipe.env.services, named.reward))
    checkpoint = prepare_folder(recipe, run_dir, resume)
    with Display(console, recipe.steps) as display:
        try:
            with same_bits(find_device(recipe.device)):
                return asyncio.run(_train(recipe, run_dir, checkpoint, named, display))
        except KeyboardInterrupt:
            saved = newest_checkpoint(run_dir)
            display.say(
                f"interrupted; saved up to step {saved.step}, go on with --resume"
                if saved
                else "interrupted before the first step"
            )
            return TrainResult(run_dir, saved.step if saved else 0, finished=False)
        except (RuntimeError, MemoryError) as error:
            if out_of_memory(error):
                raise memory_advice(recipe, error) from error
            raise


async def _train(
    recipe: Recipe,
    run_dir: Path,
    checkpoint: Checkpoint | None,
    named: _Named,
    display: Display,
) -> TrainResult:
    import torch

    # ------------------------------------------------------------------------------------------------ policy, world, tasks
    display.phase("loading the policy", 1)
    torch.manual_seed(recipe.seed)
    model = await compute(PolicyModel.load, recipe)
    # Of an adapter the reference costs little and is logged in any case; of all weights it is a second copy.
    exact = recipe.kl_coefficient > 0 and recipe.kl_estimate == "exact"
    reference = Reference(model, exact) if model.is_adapter or recipe.kl_coefficient > 0 else None
    optimizer = model.optimizer(recipe)
    critic = Critic(model.hidden_size, recipe, model.device) if recipe.algorithm == "ppo" else None
    parts: dict[str, Any] = {"optimizer": optimizer}
    if model.logit_scale is not None:
        parts["logit_scale"] = model.logit_scale
    if critic is not None:
        parts |= {"value_head": critic.head, "value_optimizer": critic.optimizer}
    progress, done = Progress(), 0
    if checkpoint is not None:
        restore(checkpoint, model, parts)
        progress, done = checkpoint.progress, checkpoint.step
    policy = model.sampler()
    world = connect(recipe.env.world, recipe.env.services)
    writer = Writer(recipe, policy, world, named.reward, display)
    log = RunLog(run_dir, done, recipe.steps)
    try:
        writer.check_room([*named.train_tasks, *named.eval_tasks], model.context)
        # ------------------------------------------------------------------------------------------------- before
        before = stored_evaluation(run_dir, "before", 0)
        if before is None:
            if done:  # the policy is no longer the one that the run began with
                raise CheckpointError(
                    f"{run_dir}/episodes/before.parquet is missing, so this run cannot be compared with its start; start another one"
                )
            display.phase("before: writing", recipe.eval_size * recipe.eval_samples)
            before = await writer.evaluate(named.eval_tasks)
            write_episodes(run_dir, "before", before.rollouts, phase="before", step=0)
        log.write_once({"phase": "before", "step": 0, **summary(before.rollouts)})
        display.evaluation("before", summary(before.rollouts))
        if checkpoint is None:
            save_checkpoint(run_dir, 0, model, parts, progress, recipe.keep_checkpoints)

        for step in range(done + 1, recipe.steps + 1):
            # --------------------------------------------------------------------------------------------- write
            started = time.perf_counter()
            display.phase(f"step {step} of {recipe.steps}: writing", recipe.rollouts)
            written: list[Rollout] = []
            differing: list[int] = []  # groups with a gradient
            taken, batches = progress.tasks, []
            ahead = Ahead(model, reference, recipe)
            for number in range(recipe.dynamic_sampling.max_batches if recipe.dynamic_sampling else 1):
                wanted = recipe.tasks_per_step - len(differing)
                tasks = tasks_from(named.train_tasks, recipe.seed, taken, wanted, recipe.task_mix)
                first, seed = taken - progress.tasks, step_seed(recipe.seed, step, number)
                batches.append(await writer.write(tasks, recipe.samples, seed, first, ahead.work))
                taken += len(tasks)
                written += batches[-1].rollouts
                everything = Batch.of(written)
                differing = groups_that_differ(everything.rewards_B, everything.groups_B, everything.scored_B)
                if len(differing) == recipe.tasks_per_step:
                    break
            n_groups = taken - progress.tasks

            # --------------------------------------------------------------------------------------------- what can be learned
            needed = (
                1 if recipe.algorithm == "ppo" else 2
            )  # scores: a group is its own baseline, the value head is one for each document
            without_baseline = groups_without_baseline(everything.groups_B, everything.scored_B, needed)
            progress = Progress(taken, progress.idle + 1 if without_baseline == n_groups else 0)
            if progress.idle >= recipe.patience:
                raise TrainingError(
                    f"no group had {needed} score{'s' * (needed > 1)} in {progress.idle} steps: {_reasons(written)}. "
                    f"The run is saved up to step {step - 1}; mend the judges and go on with --resume"
                )
            if not everything.sampled_BT.any():
                raise TrainingError(
                    f"no document of step {step} holds a token that the policy sampled, so there is nothing to train: "
                    f"prompts have up to {max(x.ledger.prompt_length for x in written)} tokens, the policy reads {model.context}"
                )
            # Dynamic sampling: groups without a gradient are counted and kept, and learned from only where there is no other.
            chosen = differing if recipe.dynamic_sampling and differing else range(n_groups)
            batch = learned_from(recipe, Batch.of([rollout for rollout in written if rollout.group in chosen]))

            # --------------------------------------------------------------------------------------------- advantages
            display.phase(f"step {step} of {recipe.steps}: learning", len(batch.rollouts) * recipe.epochs)
            learning = time.perf_counter()
            batch = await compute(ahead.compared, batch)
            foreseen: dict[str, float | None] = {}
            if critic is None:
                batch = with_group_advantages(recipe, batch)
            elif batch.mask_BT.sum() > 1:
                values_BT = await compute(critic.look, model, batch)
                advantages_BT, returns_BT = gae(batch.rewards_BT, values_BT, batch.mask_BT, recipe.gamma, recipe.lam)
                batch = replace(batch, values_BT=values_BT, returns_BT=returns_BT, advantages_BT=advantages_BT)
                explained = float(explained_variance(values_BT, returns_BT, batch.mask_BT))
                foreseen = {
                    "value": float(masked_mean(values_BT, batch.mask_BT)),
                    "explained_variance": None if math.isnan(explained) else explained,
                }

            # --------------------------------------------------------------------------------------------- learn
            learned = await compute(_learn, recipe, model, ahead, optimizer, critic, batch, run_dir, step, display)
            policy.refresh()
            updated = time.perf_counter()

            # --------------------------------------------------------------------------------------------- keep
            tokens, seconds = sum(x.stats.tokens for x in batches), sum(x.stats.seconds for x in batches)
            metrics = {
                "phase": "train",
                "step": step,
                **summary(written, tool_times=True),
                "groups_without_baseline": without_baseline,
                "groups_without_difference": n_groups - len(differing),
                "batches": len(batches),
                "kl": divergence(replace(everything, reference_BT=ahead.reference_BT(everything))),
                "entropy": -float(masked_mean(everything.logprobs_BT, everything.sampled_BT)),
                **foreseen,
                **learned,
                **({} if model.logit_scale is None else {"logit_scale": scale_now(model.model)}),
                "tokens": tokens,
                "prompt_tokens": sum(x.stats.prompt_tokens for x in batches),
                "tokens_per_second": tokens / max(seconds, 1e-9),
                "seconds": {
                    "sampling": seconds,
                    "waiting": sum(x.stats.waited + x.after for x in batches),
                    "update": updated - learning + sum(x.meanwhile for x in batches),
                    "total": time.perf_counter() - started,
                },
            }
            write_episodes(run_dir, f"train-{step:05d}", written, phase="train", step=step)
            log.write(metrics)
            save_checkpoint(run_dir, step, model, parts, progress, recipe.keep_checkpoints)
            display.step(metrics)

        # ------------------------------------------------------------------------------------------------- after
        after = stored_evaluation(run_dir, "after", recipe.steps)
        if after is None:
            display.phase("after: writing", recipe.eval_size * recipe.eval_samples)
            after = await writer.evaluate(named.eval_tasks)
            write_episodes(run_dir, "after", after.rollouts, phase="after", step=recipe.steps)
        comparison = compare(before, after)
        log.write_once({"phase": "after", "step": recipe.steps, **summary(after.rollouts), **comparison.to_json()})
        display.evaluation("after", summary(after.rollouts))
        return TrainResult(run_dir, recipe.steps, True, before, after, comparison)
    finally:
        log.close()
        await world.aclose()


# ------------------------------------------------------------------------------------------------------------------- learning


def _learn(
    recipe: Recipe,
    model: PolicyModel,
    ahead: Ahead,
    optimizer: Any,
    critic: Critic | None,
    batch: Batch,
    run_dir: Path,
    step: int,
    display: Display,
) -> dict[str, float | None]:
    """Optimiser steps on one batch; returns what is to be logged of them."""
    import torch

    lr = recipe.lr_at(step)
    for settings in optimizer.param_groups:
        settings["lr"] = lr * settings.get("of_lr", 1.0)
    frozen = critic is not None and step <= recipe.critic_warmup  # the value head learns alone
    learnable = set(batch.learnable)
    tally, scale = Tally(), scale_now(model.model)  # errors are measured before anything moves
    for members in minibatches(batch.groups_B.tolist(), recipe.minibatches, recipe.epochs):
        # No score: neither gradient nor weight in the mean.
        minibatch = [i for i in members if i in learnable]
        rows, of = active(recipe, batch, minibatch), divisor(recipe, batch, minibatch)
        display.advance(len(members) - len(rows))
        for chosen in passes(recipe, batch, rows):
            part = batch.take(chosen, model.device)
            early = ahead.gradient(part.ledgers)
            if early is not None:  # computed while judges worked on other groups
                early.add_to(model.parameters)
                tally.add("loss", early.loss / of)
                tally.include(early.figures)
                display.advance(len(chosen))
                continue
            with torch.set_grad_enabled(not frozen):
                scored = ahead.score(part.ledgers)
            if not frozen:
                found = surrogate(recipe, scored, part)
                check_finite("loss", found.loss.item(), part.rollouts, run_dir, step)
                found.loss.backward()
                tally.add("loss", found.loss.item() / of)
                tally.include(found.figures)
            if critic is not None:
                value_loss, value_clip_fraction = critic.learn(scored.hidden_BTH, part, of)
                check_finite("value loss", value_loss, part.rollouts, run_dir, step)
                tally.add("value_loss", value_loss)
                tally.mean("value_clip_fraction", value_clip_fraction, int(part.mask_BT.sum()))
            if not tally.optimizer_steps:  # nothing has moved yet
                tally.most("logprob_error", logprob_error(scored, part))
            display.advance(len(chosen))
        if rows and not frozen:
            divide_gradients(model.parameters, of)
            norm = float(torch.nn.utils.clip_grad_norm_(model.parameters, recipe.grad_clip))
            check_finite("gradient's norm", norm, [batch.rollouts[i] for i in rows], run_dir, step)
            ahead.forget()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            tally.most("grad_norm", norm)
            tally.optimizer_steps += 1
        if rows and critic is not None:
            tally.most("value_grad_norm", critic.step())
    figures = tally.results()
    if (figures["logprob_error"] or 0) > _LOGPROB_ERROR[recipe.dtype] * max(1.0, scale):
        _log.warning("logprobs of sampler and trainer differ by %.2g", figures["logprob_error"])
    return {**figures, "lr": lr}


def _reasons(rollouts: Sequence[Rollout]) -> str:
    reasons = sorted({reason for rollout in rollouts for reason in rollout.report.unscored})
    return "; ".join(reasons[:3]) or "no reason given"

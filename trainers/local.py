"""The local trainer: GRPO or GSPO with a LoRA adapter in one process, from the recipe to the comparison at the end.

Read `_train` from top to bottom; it is the algorithm. Documents are written, illustrated, judged and scored by `llmi_env.rollout`; the losses
stand in `trainers.losses`; what is kept, and how a run goes on after a kill, in `trainers.run_folder` and `trainers.checkpoint`.

Axes: B documents of a step, M of a micro-batch, T tokens.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmi_env.comparison import Evaluation, compare
from llmi_env.errors import CheckpointError, TrainingError, require
from llmi_env.ledger_export import to_arrays
from llmi_env.models import calm_threads, load_model, resolve_policy
from llmi_env.policies.base import Sampling
from llmi_env.policies.compute import compute
from llmi_env.policies.transformers_policy import TransformersPolicy
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout, RolloutBatch, run_rollouts
from llmi_env.store import write_episodes
from llmi_env.task import Task
from llmi_env.task_sets import load_tasks
from llmi_env.world import connect
from llmi_env.world.protocol import World
from llmi_env.world_source import check_extras, tool_specs
from trainers.checkpoint import Checkpoint, load_adapter, newest_checkpoint, restore, save_checkpoint
from trainers.display import Display
from trainers.evaluation import interleaved, pick, summary
from trainers.protocol import TrainResult
from trainers.recipe import Recipe
from trainers.reference import Reference, divergence
from trainers.run_folder import RunLog, prepare_folder, stored_evaluation

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from llmi_env.tokenizers import HFTokenizer

_log = logging.getLogger(__name__)
_UNSCORED_STEPS = 3  # steps in a row without one usable group, after which there is no point in going on


class LocalTrainer:
    """GRPO and GSPO with a LoRA adapter in this process; see `train`."""

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
    tools = tool_specs(recipe.env.services)
    return _Named(
        HybridReward.load(recipe.env.reward),
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
        ConfigError: the folder holds a run and `resume` is false, or it holds one of another recipe.
        CheckpointError: the newest checkpoint is broken, or there is none to resume from.
        TrainingError: the loss is not finite, or nothing can be scored.
    """
    calm_threads()  # before torch is imported, and before the World's process inherits the environment
    # What the recipe names is looked up before anything is written, so that a typing error leaves no folder behind.
    named = _look_up(recipe)
    checkpoint = prepare_folder(recipe, run_dir, resume)
    with Display(console, recipe.steps) as display:
        try:
            return asyncio.run(_train(recipe, run_dir, checkpoint, named, display))
        except KeyboardInterrupt:
            saved = newest_checkpoint(run_dir)
            display.say(
                f"interrupted; saved up to step {saved.step}, go on with --resume"
                if saved
                else "interrupted before the first step"
            )
            return TrainResult(run_dir, saved.step if saved else 0, finished=False)


def _load(recipe: Recipe, checkpoint: Checkpoint | None) -> tuple[Any, Reference, HFTokenizer]:
    """The policy, the one that it started from, and its tokenizer."""
    model, tokenizer = load_model(recipe.model, trainable=True)
    if not hasattr(model, "peft_config"):
        from trainers.sft import add_lora

        model = add_lora(model, recipe.lora_rank).eval()
    reference = Reference(model, tokenizer.vocab_size)
    if checkpoint is not None:
        load_adapter(checkpoint, model)
    return model, reference, tokenizer


async def _train(
    recipe: Recipe,
    run_dir: Path,
    checkpoint: Checkpoint | None,
    named: _Named,
    display: Display,
) -> TrainResult:
    import torch

    from trainers.losses import groups_without_baseline, grpo_advantages

    # ------------------------------------------------------------------------------------------------ policy, world, tasks
    display.phase("loading the policy", 1)
    torch.manual_seed(recipe.seed)
    reward, train_tasks, eval_tasks = named.reward, named.train_tasks, named.eval_tasks
    model, reference, tokenizer = await compute(_load, recipe, checkpoint)
    policy = TransformersPolicy(model, tokenizer)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]  # the adapter's
    optimizer = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    if checkpoint is not None:
        restore(checkpoint, optimizer)
    done = checkpoint.step if checkpoint is not None else 0
    world = connect(recipe.env.world, recipe.env.services)
    log = RunLog(run_dir, done, recipe.steps)
    unscored_steps = 0
    try:
        # ------------------------------------------------------------------------------------------------- before
        before = stored_evaluation(run_dir, "before", 0)
        if before is None:
            if done:  # the policy is no longer the one that the run began with
                raise CheckpointError(
                    f"{run_dir}/episodes/before.parquet is missing, so this run cannot be compared with its start; start another one"
                )
            display.phase("before: writing", recipe.eval_size * recipe.eval_samples)
            before = await _evaluate(recipe, policy, world, reward, eval_tasks, display)
            write_episodes(run_dir, "before", before.rollouts, phase="before", step=0)
        log.write_once({"phase": "before", "step": 0, **summary(before.rollouts)})
        display.evaluation("before", summary(before.rollouts))
        if checkpoint is None:
            save_checkpoint(run_dir, 0, model, optimizer, recipe.keep_checkpoints)

        for step in range(done + 1, recipe.steps + 1):
            # --------------------------------------------------------------------------------------------- write
            started = time.perf_counter()
            tasks = _tasks_of_step(train_tasks, recipe, step)
            display.phase(f"step {step} of {recipe.steps}: writing", recipe.rollouts)
            batch = await _write(
                recipe, policy, world, reward, tasks, recipe.samples, step_seed(recipe.seed, step), display
            )

            # --------------------------------------------------------------------------------------------- advantages
            rollouts = batch.rollouts
            groups_B = torch.tensor([rollout.group for rollout in rollouts])
            scored_B = torch.tensor([rollout.reward is not None for rollout in rollouts])
            returns_B = torch.tensor([math.nan if rollout.reward is None else rollout.reward for rollout in rollouts])
            advantages_B = grpo_advantages(returns_B, groups_B, scored_B, recipe.scale_advantages)
            idle = groups_without_baseline(groups_B, scored_B)
            unscored_steps = unscored_steps + 1 if idle == len(tasks) else 0
            if unscored_steps >= _UNSCORED_STEPS:
                raise TrainingError(
                    f"no group had two scores in {unscored_steps} steps: {_reasons(rollouts)}. "
                    f"The run is saved up to step {step - 1}; mend the judges and go on with --resume"
                )

            # --------------------------------------------------------------------------------------------- learn
            display.phase(f"step {step} of {recipe.steps}: learning", recipe.rollouts * recipe.epochs)
            learning = time.perf_counter()
            # For the log, one document of each group tells enough; a penalty needs them all.
            compared = range(0, recipe.rollouts, 1 if recipe.kl_coefficient > 0 else recipe.samples)
            under_reference = await compute(
                reference.logprobs, model, [rollouts[i] for i in compared], recipe.micro_batch
            )
            reference_B = dict(zip(compared, under_reference, strict=True))
            learned = await compute(
                _learn,
                recipe,
                model,
                tokenizer.vocab_size,
                optimizer,
                rollouts,
                advantages_B,
                reference_B,
                step,
                display,
            )
            policy.refresh()
            updated = time.perf_counter()

            # --------------------------------------------------------------------------------------------- keep
            metrics = {
                "phase": "train",
                "step": step,
                **summary(rollouts),
                "groups_without_baseline": idle,
                "groups_without_difference": sum(
                    bool((advantages_B[groups_B == group] == 0).all()) for group in groups_B.unique()
                ),
                "kl": divergence([rollouts[i] for i in compared], under_reference),
                "entropy": -_mean_logprob(rollouts),
                **learned,
                "tokens": batch.stats.tokens,
                "prompt_tokens": batch.stats.prompt_tokens,
                "tokens_per_second": batch.stats.tokens / max(batch.stats.seconds, 1e-9),
                "seconds": {
                    "sampling": batch.stats.seconds,
                    "waiting": batch.stats.waited + batch.after,
                    "update": updated - learning,
                    "total": time.perf_counter() - started,
                },
            }
            write_episodes(run_dir, f"train-{step:05d}", rollouts, phase="train", step=step)
            log.write(metrics)
            save_checkpoint(run_dir, step, model, optimizer, recipe.keep_checkpoints)
            display.step(metrics)

        # ------------------------------------------------------------------------------------------------- after
        after = stored_evaluation(run_dir, "after", recipe.steps)
        if after is None:
            display.phase("after: writing", recipe.eval_size * recipe.eval_samples)
            after = await _evaluate(recipe, policy, world, reward, eval_tasks, display)
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
    model: Any,
    vocab_size: int,
    optimizer: Any,
    rollouts: Sequence[Rollout],
    advantages_B: Tensor,
    reference_B: Mapping[int, Sequence[float]],
    step: int,
    display: Display,
) -> dict[str, float | None]:
    """Optimiser steps on one batch; returns what is to be logged of them."""
    import torch

    from trainers.forward import score_responses
    from trainers.losses import aggregate, kl_penalty, policy_loss

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for group in optimizer.param_groups:
        group["lr"] = recipe.lr * min(1.0, step / (recipe.lr_warmup + 1))
    tally = _Tally()
    for minibatch in _minibatches(rollouts, recipe):
        minibatch = [
            i for i in minibatch if rollouts[i].reward is not None
        ]  # no score: neither gradient nor weight in the mean
        # Documents whose advantage is zero have no gradient: they count in the mean, but cost no computation.
        active = [i for i in minibatch if float(advantages_B[i]) != 0 or recipe.kl_coefficient > 0]
        per_token = recipe.aggregation == "token-mean"
        of = sum(rollouts[i].ledger.n_policy for i in minibatch) if per_token else len(minibatch)
        display.advance(len(minibatch) - len(active))
        for start in range(0, len(active), recipe.micro_batch):
            chosen = active[start : start + recipe.micro_batch]
            ledgers = [rollouts[i].ledger for i in chosen]
            scored = score_responses(
                model, [x.prompt_ids for x in ledgers], [x.response_ids for x in ledgers], vocab_size
            )
            arrays, device = to_arrays(ledgers), scored.logprobs_BT.device
            mask_MT = torch.from_numpy(arrays.policy_mask_BT).to(device)  # true where the policy sampled the token
            old_MT = torch.from_numpy(arrays.logprobs_BT).to(device)
            reference_MT = torch.zeros_like(old_MT)
            for row, i in enumerate(chosen):
                if i in reference_B:
                    reference_MT[row, : len(reference_B[i])] = torch.tensor(reference_B[i])
            result = policy_loss(
                "gspo" if recipe.algorithm == "gspo" else "vanilla",
                scored.logprobs_BT,
                old_MT,
                advantages_B[chosen][:, None],
                mask_MT,
                clip_low=recipe.clip_low,
                clip_high=recipe.clip_high,
                dual_clip=recipe.dual_clip,
                aggregation=recipe.aggregation,
                of=of,
                horizon=recipe.max_tokens,
            )
            loss = result.loss
            if recipe.kl_coefficient > 0:
                penalty_MT = kl_penalty(scored.logprobs_BT, reference_MT)
                loss = loss + recipe.kl_coefficient * aggregate(
                    penalty_MT, mask_MT, recipe.aggregation, of, recipe.max_tokens
                )
            if not math.isfinite(loss.item()):
                names = ", ".join(str(rollouts[i].task.id) for i in chosen)
                raise TrainingError(
                    f"the loss of step {step} is {loss.item()} (tasks {names}); the run is saved up to step {step - 1}. Try a smaller lr"
                )
            loss.backward()
            tally.add(
                int(mask_MT.sum()),
                loss=loss.item(),
                clip_fraction=result.clip_fraction.item(),
                dual_clip_fraction=result.dual_clip_fraction.item(),
                approx_kl=result.approx_kl.item(),
            )
            if not tally.grad_norms:  # nothing has moved yet: the trainer's logprobs must be the sampler's
                error_MT = (scored.logprobs_BT.detach() - old_MT).abs()[mask_MT]
                tally.logprob_error = max(tally.logprob_error, float(error_MT.max()))
            display.advance(len(chosen))
        if active:
            tally.grad_norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, recipe.grad_clip)))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    if tally.logprob_error > 1e-2:
        _log.warning(
            "logprobs of sampler and trainer differ by %.2g; are temperature and top_p 1?", tally.logprob_error
        )
    return {**tally.results(), "lr": recipe.lr * min(1.0, step / (recipe.lr_warmup + 1))}


def _minibatches(rollouts: Sequence[Rollout], recipe: Recipe) -> Iterator[list[int]]:
    """Indices of rollouts, whole groups together; each epoch holds every rollout once."""
    groups = sorted({rollout.group for rollout in rollouts})
    for _ in range(recipe.epochs):
        for part in range(recipe.minibatches):
            members = set(groups[part :: recipe.minibatches])
            yield [i for i, rollout in enumerate(rollouts) if rollout.group in members]


class _Tally:
    """Means over the tokens of a step."""

    def __init__(self) -> None:
        self._tokens = 0
        self._sums: dict[str, float] = {}
        self.grad_norms: list[float] = []
        self.logprob_error = 0.0

    def add(self, tokens: int, **values: float) -> None:
        self._tokens += tokens
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * (1 if name == "loss" else tokens)

    def results(self) -> dict[str, float | None]:
        names = ("clip_fraction", "dual_clip_fraction", "approx_kl")
        means = {name: self._sums.get(name, 0.0) / self._tokens if self._tokens else None for name in names}
        return {
            "loss": self._sums.get("loss"),
            **means,
            "grad_norm": max(self.grad_norms, default=None),
            "optimizer_steps": float(len(self.grad_norms)),
            "logprob_error": self.logprob_error if self.grad_norms else None,
        }


# -------------------------------------------------------------------------------------------------------------------- writing


def step_seed(seed: int, step: int) -> int:
    """Seed of the rollouts of one step: fixed by the recipe, so that a resumed run draws what an uninterrupted one would."""
    return (seed << 20) + step


def _tasks_of_step(tasks: Sequence[Task], recipe: Recipe, step: int) -> list[Task]:
    """The tasks of a step (counted from 1): epoch after epoch, each in an order of its own."""
    found: list[Task] = []
    for place in range((step - 1) * recipe.tasks_per_step, step * recipe.tasks_per_step):
        epoch, index = divmod(place, len(tasks))
        found.append(interleaved(tasks, (recipe.seed << 16) + epoch)[index])
    return found


async def _write(
    recipe: Recipe,
    policy: TransformersPolicy,
    world: World,
    reward: HybridReward,
    tasks: Sequence[Task],
    samples: int,
    seed: int,
    display: Display,
) -> RolloutBatch:
    env = recipe.env
    return await run_rollouts(
        policy,
        world,
        reward,
        tasks,
        samples=samples,
        seed=seed,
        max_tokens=recipe.max_tokens,
        sampling=Sampling(),
        limits=env.limits.episode(),
        tools=tool_specs(env.services),
        prompt=env.prompt,
        feedback="text" if env.feedback == "text" else "none",
        on_done=lambda rollout: display.advance(),
    )


async def _evaluate(
    recipe: Recipe,
    policy: TransformersPolicy,
    world: World,
    reward: HybridReward,
    tasks: Sequence[Task],
    display: Display,
) -> Evaluation:
    batch = await _write(recipe, policy, world, reward, tasks, recipe.eval_samples, recipe.eval_seed, display)
    return Evaluation(batch.rollouts)


def _mean_logprob(rollouts: Sequence[Rollout]) -> float:
    """Over all sampled tokens. Its negative is an unbiased estimate of the entropy, at no cost."""
    sampled = [
        logprob
        for rollout in rollouts
        for logprob, mine in zip(rollout.ledger.logprobs, rollout.ledger.policy_mask, strict=True)
        if mine
    ]
    return sum(sampled) / len(sampled)


def _reasons(rollouts: Sequence[Rollout]) -> str:
    reasons = sorted({reason for rollout in rollouts for reason in rollout.report.unscored})
    return "; ".join(reasons[:3]) or "no reason given"

"""A training recipe: everything that decides how a run goes, as data.

`BaseRecipe` is what recipes of all trainers share; each trainer adds options of its own (`trainers.protocol`).
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmi_env.config import EnvConfig, apply_overrides, load_config, load_yaml, parse_model
from llmi_env.differences import differences, flat
from llmi_env.errors import ConfigError
from llmi_env.yaml_text import parse_yaml
from trainers.losses import Aggregation
from trainers.protocol import find_trainer

# What decides how a run is carried out and not what it computes: to be changed after a failure.
_MAY_CHANGE = frozenset(
    {
        "allow_unscored", "env.services.judge_prepare_deadline", "env.world", "eval_every", "gpu_memory", "gradient_checkpointing",
        "keep_checkpoints", "loggers", "logprob_micro_batch", "micro_batch", "micro_tokens", "offload", "patience", "save_every",
    }
)  # fmt: skip


TaskMix = Literal["as_is", "even"]


class BaseRecipe(BaseModel):
    """Options that every trainer takes. `env` is a preset of the environment with changes: `{preset: offline, reward: paper}`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(default="run", pattern=r"^[\w.-]+$")
    """Names the run folder."""

    trainer: str = "local"
    """Which trainer carries it out: `local` is one process, `verl` one machine or many; or that of a plugin."""

    model: str = "warm-start"
    """Where the policy starts: `warm-start`, `grpo-trained`, `smollm2`, a run folder, an adapter, or a model by folder or hub name."""

    env: EnvConfig = Field(default_factory=EnvConfig)
    """Tasks, prompt, limits, tools, judges and reward."""

    seed: int = Field(default=0, ge=0)
    """Of the order of tasks and of everything that is drawn in training."""

    steps: int = Field(default=8, ge=1)
    """Batches of documents to learn from."""

    tasks_per_step: int = Field(default=4, ge=1)
    """Tasks of one step; each is a group with its own baseline."""

    samples: int = Field(default=4, ge=1)
    """Documents of each task: the group size."""

    max_tokens: int = Field(default=112, ge=1)
    """Tokens that the policy may write for one document."""

    lr: float = Field(default=2e-4, gt=0)
    """Learning rate of AdamW."""

    eval_tasks: str = "heldout"
    """Where the tasks of the evaluation before and after come from."""

    eval_size: int = Field(default=16, ge=1)
    """How many of them, spread evenly over the tools that they need."""

    keep_checkpoints: int = Field(default=2, ge=1)
    """How many of the newest checkpoints are kept."""

    @field_validator("env", mode="before")
    @classmethod
    def _preset_with_changes(cls, value: Any) -> Any:
        if isinstance(value, str):
            return load_config(value)
        if isinstance(value, Mapping):
            changes = dict(value)
            preset = changes.pop("preset", "offline")
            if preset is None:  # a resolved recipe: with a preset beneath it, tools that it leaves out would come back
                return load_config(changes)
            return load_config(preset, **dict(flat(changes)))
        return value

    @property
    def rollouts(self) -> int:
        """Documents of one step."""
        return self.tasks_per_step * self.samples

    def to_yaml(self) -> str:
        """The resolved recipe, as it stands in a run folder; `load_recipe` makes the same of it again."""
        data = self.model_dump(mode="json")
        data["env"] = {"preset": None, **data["env"]}
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


class DynamicSampling(BaseModel):
    """Groups whose documents all have the same reward teach nothing: further tasks are written in their place (DAPO, arXiv 2503.14476, 3.2)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_batches: int = Field(default=3, ge=2)
    """Batches that one step may write at most, the first one counted; then it learns from the groups that it has."""


class Recipe(BaseRecipe):
    """Options of the trainer `local`. What `verl` has, too, has the same name there."""

    trainer: Literal["local"] = "local"
    """Which trainer carries it out: `local` is one process."""

    task_mix: TaskMix = "as_is"
    """How often each kind of need comes, that is, each set of tools that tasks name: `as_is` as often as the tasks have it; `even` all equally
    often, so that what is rare among the tasks is practised as much as what is common."""

    algorithm: Literal["grpo", "gspo", "ppo"] = "grpo"
    """`grpo` weighs each token by its own ratio, `gspo` a whole document by one; `ppo` learns a value head besides."""

    lora_rank: int = Field(default=16, ge=0)
    """Rank of the adapter, where the starting policy brings none; 0 trains all weights (an adapter that it brings is merged)."""

    lora_alpha: int = Field(default=32, ge=1)
    """Scale of the adapter, as a multiple of 1 / rank."""

    # ---------------------------------------------------------------------------------------------------------- optimisation

    lr_warmup: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises."""

    lr_schedule: Literal["constant", "cosine"] = "constant"
    """How it goes on after them. A cosine ends quietly: the last steps average out the noise of the first. It counts all `steps`, so a run
    that is made longer by `--resume` goes on at a higher rate than it ended with."""

    lr_min_ratio: float = Field(default=0.01, ge=0, le=1)
    """Where the cosine ends, as a share of `lr`."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay of AdamW."""

    grad_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""

    epochs: int = Field(default=1, ge=1)
    """How often each batch is learned from."""

    minibatches: int = Field(default=1, ge=1)
    """Optimiser steps in one epoch; the groups of a step are shared out among them."""

    clip_low: float = Field(default=0.2, gt=0)
    """How far a token's probability (`gspo`: a document's mean) may fall, as a ratio, before its gradient is cut."""

    clip_high: float = Field(default=0.28, gt=0)
    """How far it may rise; more than `clip_low` leaves room for what is rare (DAPO's clip-higher)."""

    dual_clip: float | None = Field(default=10.0, gt=1)
    """Bound of the loss of tokens in bad documents, as a multiple of the advantage; none when null. `gspo` has none."""

    aggregation: Aggregation = "token-mean"
    """How tokens are weighed against each other."""

    scale_advantages: bool = True
    """Divide advantages by the group's standard deviation (GRPO); without it Dr. GRPO."""

    negative_weight: float = Field(default=1.0, ge=0, le=1)
    """Weight of documents that are worse than their group's mean. Less keeps a small policy from spreading its probability over nonsense (arXiv
    2506.01347); 0 learns from the better ones alone."""

    kl_coefficient: float = Field(default=0.0, ge=0)
    """Weight of the divergence from the starting policy in the loss. Where all weights are trained it needs a second copy of them."""

    kl_estimate: Literal["k3", "exact"] = "k3"
    """How it is measured. `k3`: from the sampled tokens alone, as in arXiv 2402.03300, eq. 4. `exact`: over the whole vocabulary at each token,
    without sampling noise, for two more products with the output layer; for an adapter, which leaves that layer alone."""

    kl_temperature: float = Field(default=1.0, gt=0, le=1)
    """Temperature of the starting policy that the divergence is from; below 1 only with `exact`. A small policy sampled at temperature 1 spoils
    calls by words that it hardly ever means; drawn towards itself at a lower one it stops doing so, whatever the noise of the reward."""

    lr_logit_scale: float = Field(default=0.0, ge=0)
    """Learning rate of one number that all logits are multiplied by, as its logarithm; 0 leaves it at 1. Drawn towards a lower `kl_temperature`
    it is there within some steps, which an adapter alone hardly gets to. It follows `lr`'s schedule."""

    entropy_bonus: float = 0.0
    """Weight of the policy's entropy in the loss. Above 0 the policy goes on trying (arXiv 1602.01783, 4); below 0 it grows surer of what it
    prefers already (arXiv 2505.15134), and a small policy, whose rare words are mostly nonsense, writes less of it."""

    dynamic_sampling: DynamicSampling | None = None
    """Write further tasks for groups without a difference, `{max_batches: 3}`; null takes a step's groups as they come."""

    learn_from: int | None = Field(default=None, ge=2)
    """Documents of each group that are learned from, those whose rewards vary most (PODS, arXiv 2504.13818): a cheaper update where
    writing is cheap; null takes all."""

    patience: int = Field(default=3, ge=1)
    """Steps in a row without a usable group (two scores, one for `ppo`) after which the run stops."""

    # ------------------------------------------------------------------------------------------------------------- ppo only

    lr_critic: float = Field(default=1e-3, gt=0)
    """Learning rate of the value head (`ppo`)."""

    critic_warmup: int = Field(default=0, ge=0)
    """Steps in which only the value head learns (`ppo`)."""

    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount for each token (`ppo`)."""

    lam: float = Field(default=1.0, ge=0, le=1)
    """Lambda of generalised advantage estimation (`ppo`)."""

    clip_value: float = Field(default=0.5, gt=0)
    """How far a value may move from its old prediction (`ppo`)."""

    # --------------------------------------------------------------------------------------------------- evaluation, hardware

    eval_samples: int = Field(default=1, ge=1)
    """Documents of each held-out task."""

    eval_seed: int = Field(default=1234, ge=0)
    """Of the evaluation; before and after use the same."""

    eval_temperature: float = Field(default=1.0, ge=0)
    """Of sampling in the evaluation; 0 takes the likeliest token. In training it is 1, so that logprobs are those of the model."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the policy computes; `auto` takes a GPU where there is one."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` computes products in it, on a GPU by autocast; weights and optimiser stay in float32. On a CPU that is faster where the
    processor multiplies bfloat16 (`avx512_bf16`, `amx_bf16` in /proc/cpuinfo); logprobs computed again are then off by some 0.04."""

    micro_batch: int = Field(default=8, ge=1)
    """Documents of one forward and backward pass, at most; fewer need less memory, the gradients are added up. Passes mostly hold whole groups,
    so that the update can begin with those that are judged (`trainers.gradient.by_group`): multiples of `samples` or `learn_from` suit."""

    micro_tokens: int | None = Field(default=None, ge=1)
    """Instead: tokens of one pass, prompts and padding counted. Documents of like length are put together, a longer one stands alone."""

    gradient_checkpointing: bool = False
    """Compute activations again rather than keep them: less memory, more time. Prompts are then no longer shared by a group."""

    @property
    def moves_everything(self) -> bool:
        """Whether documents have a gradient whatever their advantage."""
        return self.kl_coefficient > 0 or self.entropy_bonus != 0

    def lr_at(self, step: int) -> float:
        """Learning rate of a step, counted from 1."""
        rate = self.lr * min(1.0, step / (self.lr_warmup + 1))
        if self.lr_schedule == "cosine" and step > self.lr_warmup:
            progress = (step - self.lr_warmup - 1) / max(self.steps - self.lr_warmup - 1, 1)
            rate *= self.lr_min_ratio + (1 - self.lr_min_ratio) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return rate

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for wrong in _contradictions(self):
            raise ConfigError(wrong)
        return self


def _contradictions(recipe: Recipe) -> Iterator[str]:
    """What in a recipe cannot be together."""
    if recipe.samples < 2 and recipe.algorithm != "ppo":
        yield f"samples={recipe.samples}: {recipe.algorithm} compares documents of one task, so it needs two or more"
    if recipe.minibatches > recipe.tasks_per_step:
        yield f"minibatches={recipe.minibatches} cannot share out the {recipe.tasks_per_step} groups of a step"
    if recipe.dynamic_sampling is not None and recipe.algorithm == "ppo":
        yield "dynamic_sampling compares the documents of a group, ppo compares each with its value: leave it out, or take grpo or gspo"
    if recipe.learn_from is not None and recipe.algorithm == "ppo":
        yield "learn_from chooses among the documents of a group, ppo compares each with its value: leave it out, or take grpo or gspo"
    if recipe.negative_weight != 1 and recipe.algorithm == "ppo":
        yield "negative_weight weighs documents of a group, ppo compares each with its value: leave it out, or take grpo or gspo"
    if recipe.kl_temperature < 1 and recipe.kl_estimate != "exact":
        yield f"kl_temperature={recipe.kl_temperature:g} needs kl_estimate=exact: sampled tokens tell the divergence from the start itself only"
    if recipe.kl_estimate == "exact" and recipe.lora_rank == 0:
        yield "kl_estimate=exact compares two states by one output layer, and lora_rank=0 trains that layer: take kl_estimate=k3, or an adapter"
    if recipe.lr_logit_scale and recipe.lora_rank == 0:
        yield "lr_logit_scale is for adapters: with lora_rank=0 the last norm, which does the same, is trained already"
    if recipe.learn_from is not None and recipe.learn_from > recipe.samples:
        yield f"learn_from={recipe.learn_from} of samples={recipe.samples} documents: take as many or fewer"


def _defaults(recipe: BaseRecipe, known: Container[str]) -> dict[str, Any]:
    """Values of the options that were not there yet when a run began: it had what is now their default."""
    fields = type(recipe).model_fields
    missing = [name for name, field in fields.items() if name not in known and not field.is_required()]
    as_then = recipe.model_copy(update={name: fields[name].get_default(call_default_factory=True) for name in missing})
    found = parse_yaml(as_then.to_yaml(), "the recipe")
    return {name: found[name] for name in missing if name in found}


def load_recipe(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] | Mapping[str, Any] = ()
) -> BaseRecipe:
    """A recipe by name (see `envs_configs/train`), from a YAML file or a mapping, with changes such as `"steps=40"`.

    Returns:
        The recipe, of the model of the trainer that its `trainer:` names; `local` where it names none.

    Raises:
        ConfigError: unknown recipe, trainer or option, or a value that does not fit.
    """
    data = apply_overrides(load_yaml("train", source), overrides)
    if "name" not in data and not isinstance(source, Mapping):
        data["name"] = Path(str(source)).stem
    trainer = find_trainer(str(data.get("trainer", "local")))
    return parse_model(trainer.recipe, data, "recipe")


def check_unchanged(stored: str, recipe: BaseRecipe, done: int | None = None) -> None:
    """Raise `ConfigError` with every difference, where a run was begun with another recipe.

    Args:
        stored: the recipe that the run was begun with, as `to_yaml` gave it.
        recipe: that of now.
        done: steps behind the run, where it may also be made shorter, down to these; it may always grow.
    """
    before, now = parse_yaml(stored, "config.yaml of the run"), parse_yaml(recipe.to_yaml(), "the recipe")
    before = _defaults(recipe, before.keys()) | before
    steps = before.get("steps", 0) if done is None else max(done, 1)
    found = [
        str(each)
        for each in differences(before, now)
        if each.key not in _MAY_CHANGE and not (each.key == "steps" and recipe.steps >= steps)
    ]
    if found:
        raise ConfigError(
            "the recipe has changed since the run began, so it cannot go on as it was: "
            + "; ".join(found)
            + ". Give the same options, or start another run without --resume"
        )

"""A recipe for verl. What it comes to, overrides and a command, is made in `trainers.verl.command`; neither imports verl."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from llmi_env.errors import ConfigError, did_you_mean
from trainers.losses import Aggregation
from trainers.recipe import BaseRecipe
from trainers.verl.command import check, command, environment, overrides, too_long
from trainers.verl.hydra_overrides import flatten, split_key, value_text

__all__ = ["VerlRecipe", "check", "command", "environment", "overrides"]

_LOGGERS = ("tensorboard", "wandb", "trackio", "mlflow", "swanlab", "clearml")
# Options of verl that the run folder and the launcher read from the recipe: changed in one place only, they would disagree.
_OURS = {
    "actor_rollout_ref.model.path": "model",
    "actor_rollout_ref.rollout.n": "samples",
    "algorithm.adv_estimator": "algorithm",
    "data.max_prompt_length": "max_prompt_tokens",
    "data.max_response_length": "max_tokens",
    "data.train_batch_size": "tasks_per_step",
    "data.train_files": "env.tasks",
    "data.val_files": "eval_tasks",
    "trainer.default_local_dir": "--run-dir",
    "trainer.device": "device",
    "trainer.logger": "loggers",
    "trainer.n_gpus_per_node": "gpus_per_node",
    "trainer.nnodes": "nodes",
    "trainer.total_epochs": "total_epochs",
    "trainer.total_training_steps": "steps",
}


class VerlRecipe(BaseRecipe):
    """Options of the trainer `verl`. Defaults of the optimisation are those of the LLM-I paper."""

    trainer: Literal["verl"] = "verl"
    """Which trainer carries it out: `verl`, on Ray, from one CPU to a cluster."""

    algorithm: Literal["grpo", "gspo", "ppo"] = "grpo"
    """`grpo` weighs each token by its own ratio, `gspo` a whole document by one; `ppo` learns a critic besides."""

    model: str = "warm-start"
    """Where the policy starts: a folder or hub name; `warm-start`, `grpo-trained` or `smollm2`; `tiny`, a small random model that is made on
    the spot."""

    lora_rank: int = Field(default=0, ge=0)
    """Rank of a LoRA adapter; 0 trains all weights."""

    lora_alpha: int = Field(default=32, ge=1)
    """Scale of the adapter, as a multiple of 1 / rank."""

    steps: int = Field(default=0, ge=0)
    """Batches of documents to learn from; 0: as many as `total_epochs` passes over the tasks make."""

    total_epochs: int = Field(default=1, ge=1)
    """Passes over the tasks, where `steps` does not say how long."""

    tasks_per_step: int = Field(default=32, ge=1)
    """Tasks of one step; each is a group with its own baseline."""

    samples: int = Field(default=8, ge=1)
    """Documents of each task: the group size."""

    max_prompt_tokens: int = Field(default=1024, ge=1)
    """Tokens that a prompt may have; a task with a longer one is an error at the start."""

    max_tokens: int = Field(default=1024, ge=1)
    """Tokens of one document, results that are shown to the policy included."""

    temperature: float = Field(default=1.0, gt=0)
    """Of sampling in training."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Share of the probability that is sampled from; below 1 the logprobs are not those of the policy that is trained."""

    # ---------------------------------------------------------------------------------------------------------- optimisation

    lr: float = Field(default=1e-6, gt=0)
    """Learning rate of AdamW."""

    lr_schedule: Literal["constant", "cosine"] = "cosine"
    """How the learning rate goes on after the warm-up."""

    lr_min_ratio: float = Field(default=0.01, ge=0, le=1)
    """Where the cosine ends, as a share of `lr`."""

    lr_warmup: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises from zero; the first of them changes nothing."""

    weight_decay: float = Field(default=0.1, ge=0)
    """Weight decay of AdamW."""

    grad_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""

    epochs: int = Field(default=1, ge=1)
    """How often each batch is learned from."""

    minibatches: int = Field(default=1, ge=1)
    """Optimiser steps in one epoch; the groups of a step are shared out among them in equal parts."""

    clip_low: float = Field(default=0.2, gt=0)
    """How far a token's probability (`gspo`: a document's mean) may fall, as a ratio, before its gradient is cut."""

    clip_high: float = Field(default=0.2, gt=0)
    """How far it may rise."""

    dual_clip: float = Field(default=10.0, gt=1)
    """Bound of the loss of tokens in bad documents, as a multiple of the advantage; `gspo` has none."""

    aggregation: Aggregation = "token-mean"
    """How tokens are weighed against each other."""

    scale_advantages: bool = True
    """Divide advantages by the group's standard deviation (GRPO); without it Dr. GRPO."""

    kl_coefficient: float = Field(default=0.0, ge=0)
    """Weight of the divergence from the starting policy in the loss; above 0 that policy is kept in memory besides."""

    entropy_bonus: float = 0.0
    """Weight of the policy's entropy in the loss; below 0 the policy grows surer of what it prefers already."""

    # ------------------------------------------------------------------------------------------------------------- ppo only

    lr_critic: float = Field(default=1e-5, gt=0)
    """Learning rate of the critic (`ppo`)."""

    critic_warmup: int = Field(default=0, ge=0)
    """Steps in which only the critic learns (`ppo`)."""

    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount for each token (`ppo`)."""

    lam: float = Field(default=1.0, ge=0, le=1)
    """Lambda of generalised advantage estimation (`ppo`)."""

    clip_value: float = Field(default=0.5, gt=0)
    """How far a value may move from its old prediction (`ppo`)."""

    # ----------------------------------------------------------------------------------------------- evaluation, checkpoints

    eval_every: int = Field(default=10, ge=0)
    """Steps from one evaluation to the next, besides the first and the last; 0: no evaluation at all."""

    eval_samples: int = Field(default=1, ge=1)
    """Documents of each held-out task."""

    eval_seed: int = Field(default=1234, ge=0)
    """Of the choice of held-out tasks."""

    eval_temperature: float = Field(default=0.0, ge=0)
    """Of sampling in the evaluation; 0 takes the likeliest token."""

    save_every: int = Field(default=10, ge=0)
    """Steps from one checkpoint to the next, besides the last; 0: none at all."""

    loggers: tuple[str, ...] = ()
    """Where verl's own metrics go besides the run folder: `tensorboard`, `wandb`, `trackio`, `mlflow`, `swanlab`, `clearml`."""

    allow_unscored: bool = False
    """Begin although the judges do not answer."""

    patience: int = Field(default=3, ge=1)
    """Batches in a row without a usable group (two scores, one for `ppo`) after which the run stops, with a checkpoint."""

    # -------------------------------------------------------------------------------------------------------------- hardware

    device: Literal["cpu", "cuda"] = "cuda"
    """`cpu` runs the same path with a transformers server in place of vLLM: for small models."""

    nodes: int = Field(default=1, ge=1)
    """Machines; more than one need a Ray cluster that runs (`ray start`)."""

    gpus_per_node: int = Field(default=1, ge=1)
    """GPUs of each machine; on the CPU, worker processes."""

    engine: Literal["vllm", "sglang"] = "vllm"
    """Inference server on GPUs."""

    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share one inference server."""

    sequence_parallel: int = Field(default=1, ge=1)
    """GPUs that share one document in training (Ulysses)."""

    gpu_memory: float = Field(default=0.6, gt=0, lt=1)
    """Share of each GPU's memory for the inference server."""

    micro_batch: int = Field(default=1, ge=1)
    """Documents of one forward and backward pass on each GPU."""

    logprob_micro_batch: int = Field(default=1, ge=1)
    """Documents of one forward pass without gradient on each GPU."""

    gradient_checkpointing: bool = True
    """Compute activations again rather than keep them."""

    offload: bool = False
    """Keep weights and optimiser state in main memory while they are not in use."""

    workers: int = Field(default=8, ge=1)
    """Processes that run episodes: each has its own connection to the World."""

    verl: dict[str, Any] = Field(default_factory=dict)
    """Any further option of verl's, `actor_rollout_ref.rollout.top_k: 20`; it wins over what the recipe makes of it. A `+` before adds one."""

    @field_validator("loggers")
    @classmethod
    def _known_loggers(cls, loggers: tuple[str, ...]) -> tuple[str, ...]:
        for name in loggers:
            if name not in _LOGGERS:
                raise ConfigError(
                    f"no logger {name!r}{did_you_mean(name, _LOGGERS)}; the run folder is written in any case"
                )
        return loggers

    @field_validator("verl")
    @classmethod
    def _options_of_verl(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key, value in flatten(options):
            _, name = split_key(key)
            value_text(value)
            if name in _OURS:
                raise ConfigError(f"{name} is what this recipe calls {_OURS[name]!r}: say it there")
        return options

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for wrong in _contradictions(self):
            raise ConfigError(wrong)
        return self

    def counted(self, n_tasks: int) -> VerlRecipe:
        """The recipe with its number of steps in place, for so many tasks.

        Raises:
            ConfigError: there are fewer tasks than one step takes.
        """
        if n_tasks < self.tasks_per_step:
            raise ConfigError(f"{n_tasks} tasks are too few for tasks_per_step={self.tasks_per_step}")
        steps = self.steps or self.total_epochs * (n_tasks // self.tasks_per_step)
        return self.model_copy(update={"steps": steps})


def _contradictions(recipe: VerlRecipe) -> Iterator[str]:
    """What in a recipe cannot be together; verl would find out later, or not at all."""
    gpus = recipe.nodes * recipe.gpus_per_node
    if recipe.samples < 2 and recipe.algorithm != "ppo":
        yield f"samples={recipe.samples}: {recipe.algorithm} compares documents of one task, so it needs two or more"
    if recipe.device == "cpu":
        for name in ("nodes", "tensor_parallel", "sequence_parallel"):
            if (value := getattr(recipe, name)) > 1:
                yield f"{name}={value}: with device=cpu everything is one machine, and a model is not split"
    for name in ("tensor_parallel", "sequence_parallel"):
        if gpus % (value := getattr(recipe, name)):
            yield f"{name}={value} does not divide the {gpus} GPUs (nodes x gpus_per_node)"
    if recipe.tasks_per_step % recipe.minibatches:
        yield f"minibatches={recipe.minibatches} does not divide tasks_per_step={recipe.tasks_per_step}"
    ranks = gpus // recipe.sequence_parallel
    documents = recipe.tasks_per_step // recipe.minibatches * recipe.samples
    if documents % ranks or recipe.rollouts % gpus:
        yield (
            f"{documents} documents of an optimiser step (tasks_per_step / minibatches x samples) cannot be shared out evenly among "
            f"{gpus} GPUs in {ranks} groups (nodes x gpus_per_node / sequence_parallel)"
        )
    for name, share in (("micro_batch", documents // ranks), ("logprob_micro_batch", recipe.rollouts // ranks)):
        if share % (value := getattr(recipe, name)):
            yield f"{name}={value} does not divide the {share} documents that each GPU gets"
    room = recipe.max_prompt_tokens + recipe.max_tokens
    given = {split_key(key)[1]: value for key, value in flatten(recipe.verl)}
    allowed = given.get("actor_rollout_ref.rollout.max_model_len")
    if isinstance(allowed, int) and allowed < room:
        yield too_long(recipe, f"actor_rollout_ref.rollout.max_model_len={allowed}")

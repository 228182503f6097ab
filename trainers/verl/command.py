"""What a recipe comes to: Hydra overrides for verl's unmodified `main_ppo`, the command, and its environment.

`overrides` is a plain function of the recipe and the run folder. It needs no verl, so that `llmi train RECIPE --dry-run` prints the exact
command on any machine; where verl is installed, `check` tries the overrides against its own options first.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmi_env.errors import ConfigError
from trainers.verl.hydra_overrides import compose_config, config_folder, flatten, split_key, value_text

if TYPE_CHECKING:
    from trainers.verl.recipe import VerlRecipe

PLUGIN = "trainers.verl.plugin"
"""Module that every process of verl imports: the advantage estimator, and on the CPU what verl lacks there."""

AGENT = "llmi"
"""Name of our agent loop in verl's configuration."""

_CPU_SLOTS = 16  # what Ray may place on this machine at once: its actors mostly wait, and two cores would let too few of them start


def overrides(recipe: VerlRecipe, run_dir: Path, model_path: str) -> list[str]:
    """Hydra overrides for verl's `main_ppo`.

    Args:
        recipe: what to do.
        run_dir: the run folder; `data/train.parquet`, `data/val.parquet` and `agent.yaml` are expected in it.
        model_path: folder or hub name of the policy.

    Raises:
        ConfigError: a path that Hydra would take for a reference to another option.
    """
    for what in (str(run_dir), model_path):
        if "${" in what:
            raise ConfigError(
                f"{what!r}: Hydra takes ${{...}} in a path for the name of an option; choose another path"
            )
    options: dict[str, tuple[str, Any]] = {}  # by name: the sign of its key, and its value
    parts = [_run(recipe, run_dir), _data(recipe, run_dir), _policy(recipe, model_path), _rollout(recipe, run_dir)]
    if recipe.algorithm == "ppo":
        parts.append(_critic(recipe, model_path))
    parts.append(_cpu(recipe) if recipe.device == "cpu" else _gpu(recipe))
    for part in parts:
        for key, value in part.items():
            sign, name = split_key(key)
            options[name] = sign, value
    for key, value in flatten(recipe.verl):
        sign, name = split_key(key)
        options[name] = sign or options.get(name, ("", None))[0], value
    return [
        f"{sign}{name}" if sign == "~" else f"{sign}{name}={value_text(value)}"
        for name, (sign, value) in options.items()
    ]


def command(recipe: VerlRecipe, run_dir: Path, model_path: str) -> list[str]:
    """Program and arguments of a run; see `overrides`."""
    return [sys.executable, "-m", "verl.trainer.main_ppo", *overrides(recipe, run_dir, model_path)]


def environment(recipe: VerlRecipe, run_dir: Path | None = None) -> dict[str, str]:
    """Variables of verl's processes, over those of this one; `overrides` hands them to Ray's workers on other machines, too.

    Args:
        recipe: what to do.
        run_dir: the run folder, where verl's loggers are to write; left out, they are not named.
    """
    variables = {"VERL_USE_EXTERNAL_MODULES": PLUGIN, "HYDRA_FULL_ERROR": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    if recipe.device == "cpu":
        threads = max(1, (os.cpu_count() or 1) // recipe.gpus_per_node)
        variables |= {"VERL_PLATFORM": "cpu", "OMP_NUM_THREADS": str(threads)}
    if run_dir is not None:
        variables["VERL_FILE_LOGGER_PATH"] = str(run_dir / "verl.jsonl")
        if "tensorboard" in recipe.loggers:
            # Not the run folder itself: the events there are ours.
            variables["TENSORBOARD_DIR"] = str(run_dir / "tensorboard")
    return variables


def check(recipe: VerlRecipe, run_dir: Path, model_path: str) -> None:
    """Find out what can be found out before anything starts; about a second.

    Raises:
        ConfigError: an option that the installed verl does not know, a prompt and document longer than the model takes, or a model
            without a chat template.
    """
    if config_folder() is not None:
        compose_config(overrides(recipe, run_dir, model_path))
    folder = Path(model_path)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # a name on the hub, or what verl itself will complain of
    longest = config.get("max_position_embeddings") or config.get("text_config", {}).get("max_position_embeddings")
    if isinstance(longest, int) and longest < recipe.max_prompt_tokens + recipe.max_tokens:
        raise ConfigError(too_long(recipe, f"the {longest} that {model_path} takes"))
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = {}
    if not settings.get("chat_template") and not any(folder.glob("chat_template*")):
        raise ConfigError(f"{model_path} has no chat template: take an instruction-tuned model")


def _run(recipe: VerlRecipe, run_dir: Path) -> dict[str, Any]:
    return {
        "trainer.project_name": "llmi",
        "trainer.experiment_name": recipe.name,
        "trainer.device": recipe.device,
        "trainer.nnodes": recipe.nodes,
        "trainer.n_gpus_per_node": recipe.gpus_per_node,
        "trainer.logger": ["console", "file", *recipe.loggers],
        "trainer.default_local_dir": run_dir / "checkpoints",
        "trainer.resume_mode": "auto",
        "trainer.total_training_steps": recipe.steps or None,
        # An epoch has a step at least, so that this many never cut the steps short.
        "trainer.total_epochs": recipe.steps or recipe.total_epochs,
        "trainer.val_before_train": recipe.eval_every > 0,
        "trainer.test_freq": recipe.eval_every or -1,
        "trainer.save_freq": recipe.save_every or -1,
        "trainer.max_actor_ckpt_to_keep": recipe.keep_checkpoints,
        "trainer.max_critic_ckpt_to_keep": recipe.keep_checkpoints,
        "hydra.run.dir": run_dir / "hydra",
        "hydra.output_subdir": None,
        # One machine gets a Ray of its own, whatever else runs there; more of them must have been joined before.
        "+ray_kwargs.ray_init.address": "local" if recipe.nodes == 1 else "auto",
        **{f"+ray_kwargs.ray_init.runtime_env.env_vars.{k}": v for k, v in environment(recipe, run_dir).items()},
    }


def _data(recipe: VerlRecipe, run_dir: Path) -> dict[str, Any]:
    return {
        "data.train_files": [run_dir / "data" / "train.parquet"],
        "data.val_files": [run_dir / "data" / "val.parquet"],
        "data.train_batch_size": recipe.tasks_per_step,
        "data.max_prompt_length": recipe.max_prompt_tokens,
        "data.max_response_length": recipe.max_tokens,
        "data.truncation": "error",
        "data.shuffle": False,  # rows stand in the order in which they are to be taken: mixed, each kind of task evenly spread
        "data.seed": recipe.seed,
        "data.dataloader_num_workers": 0,  # a row is a few lines of text: processes for that cost more than they save
    }


def _policy(recipe: VerlRecipe, model_path: str) -> dict[str, Any]:
    actor = "actor_rollout_ref.actor"
    return {
        "actor_rollout_ref.model.path": model_path,
        "actor_rollout_ref.model.external_lib": PLUGIN,
        "actor_rollout_ref.model.lora_rank": recipe.lora_rank,
        "actor_rollout_ref.model.lora_alpha": recipe.lora_alpha,
        "actor_rollout_ref.model.enable_gradient_checkpointing": recipe.gradient_checkpointing,
        "algorithm.adv_estimator": "gae" if recipe.algorithm == "ppo" else "llmi_grpo",
        "algorithm.norm_adv_by_std_in_grpo": recipe.scale_advantages,
        "algorithm.gamma": recipe.gamma,
        "algorithm.lam": recipe.lam,
        "algorithm.use_kl_in_reward": False,
        f"{actor}.policy_loss.loss_mode": "gspo" if recipe.algorithm == "gspo" else "vanilla",
        f"{actor}.clip_ratio": recipe.clip_low,
        f"{actor}.clip_ratio_low": recipe.clip_low,
        f"{actor}.clip_ratio_high": recipe.clip_high,
        f"{actor}.clip_ratio_c": recipe.dual_clip,
        f"{actor}.loss_agg_mode": recipe.aggregation,
        f"{actor}.use_kl_loss": recipe.kl_coefficient > 0,
        f"{actor}.kl_loss_coef": recipe.kl_coefficient,
        f"{actor}.entropy_coeff": recipe.entropy_bonus,
        f"{actor}.grad_clip": recipe.grad_clip,
        f"{actor}.ppo_epochs": recipe.epochs,
        f"{actor}.ppo_mini_batch_size": recipe.tasks_per_step // recipe.minibatches,
        f"{actor}.ppo_micro_batch_size_per_gpu": recipe.micro_batch,
        f"{actor}.data_loader_seed": recipe.seed,
        f"{actor}.ulysses_sequence_parallel_size": recipe.sequence_parallel,
        **_optimiser(recipe, actor, recipe.lr),
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu": recipe.logprob_micro_batch,
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": recipe.logprob_micro_batch,
        "critic.enable": recipe.algorithm == "ppo",
    }


def _optimiser(recipe: VerlRecipe, part: str, lr: float) -> dict[str, Any]:
    return {
        f"{part}.optim.lr": lr,
        f"{part}.optim.lr_scheduler_type": recipe.lr_schedule,
        f"{part}.optim.min_lr_ratio": recipe.lr_min_ratio,
        f"{part}.optim.lr_warmup_steps": recipe.lr_warmup,
        f"{part}.optim.weight_decay": recipe.weight_decay,
        f"{part}.optim.clip_grad": recipe.grad_clip,
    }


def _critic(recipe: VerlRecipe, model_path: str) -> dict[str, Any]:
    return {
        "critic.model.path": model_path,
        "critic.model.external_lib": PLUGIN,
        "critic.model.enable_gradient_checkpointing": recipe.gradient_checkpointing,
        "critic.ppo_micro_batch_size_per_gpu": recipe.micro_batch,
        "critic.cliprange_value": recipe.clip_value,
        "critic.grad_clip": recipe.grad_clip,
        "critic.ulysses_sequence_parallel_size": recipe.sequence_parallel,
        **_optimiser(recipe, "critic", recipe.lr_critic),
        "trainer.critic_warmup": recipe.critic_warmup,
    }


def _rollout(recipe: VerlRecipe, run_dir: Path) -> dict[str, Any]:
    rollout = "actor_rollout_ref.rollout"
    return {
        f"{rollout}.n": recipe.samples,
        f"{rollout}.temperature": recipe.temperature,
        f"{rollout}.top_p": recipe.top_p,
        f"{rollout}.seed": recipe.seed,
        f"{rollout}.max_model_len": recipe.max_prompt_tokens + recipe.max_tokens,
        f"{rollout}.calculate_log_probs": True,
        f"{rollout}.tensor_model_parallel_size": recipe.tensor_parallel,
        f"{rollout}.val_kwargs.n": recipe.eval_samples,
        f"{rollout}.val_kwargs.do_sample": recipe.eval_temperature > 0,
        f"{rollout}.val_kwargs.temperature": recipe.eval_temperature,
        f"{rollout}.agent.num_workers": recipe.workers,
        f"{rollout}.agent.default_agent_loop": AGENT,
        f"{rollout}.agent.agent_loop_config_path": run_dir / "agent.yaml",
        "reward.num_workers": 1,  # the agent loop brings the reward: this one has nothing to do
        "trainer.v1.sampler.custom_sampler.path": "pkg://trainers.verl.sampler",
        "trainer.v1.sampler.custom_sampler.name": "ScoredReplayBuffer",
        "+trainer.v1.sampler.sampler_kwargs": {
            "samples": recipe.samples,
            "needed": 1 if recipe.algorithm == "ppo" else 2,
            "patience": recipe.patience,
        },
    }


def _gpu(recipe: VerlRecipe) -> dict[str, Any]:
    rollout, engines = (
        "actor_rollout_ref.rollout",
        ["actor_rollout_ref.actor.fsdp_config", "actor_rollout_ref.ref.fsdp_config"],
    )
    options: dict[str, Any] = {
        f"{rollout}.name": recipe.engine,
        # Without a tokenizer SGLang knows no stop strings, with which the policy is shown its results.
        **({f"{rollout}.skip_tokenizer_init": False} if recipe.engine == "sglang" else {}),
        f"{rollout}.gpu_memory_utilization": recipe.gpu_memory,
        f"{rollout}.max_num_batched_tokens": max(8192, recipe.max_prompt_tokens + recipe.max_tokens),
        "actor_rollout_ref.model.use_remove_padding": True,
    }
    if recipe.lora_rank:  # the server must have the base weights itself: only the adapter is sent to it
        options |= {f"{rollout}.load_format": "safetensors", f"{rollout}.layered_summon": True}
    if recipe.algorithm == "ppo":
        engines.append("critic.fsdp")
        options["critic.model.use_remove_padding"] = True
    for engine in engines:
        options[f"{engine}.param_offload"] = recipe.offload
        if "ref" not in engine.split("."):
            options[f"{engine}.optimizer_offload"] = recipe.offload
    return options


def _cpu(recipe: VerlRecipe) -> dict[str, Any]:
    """What verl needs to be told where there is no GPU: see `trainers.verl.cpu`."""
    models = {"actor_rollout_ref.model": ["actor_rollout_ref.actor.fsdp_config"]}
    if recipe.kl_coefficient > 0:
        models["actor_rollout_ref.model"].append("actor_rollout_ref.ref.fsdp_config")
    if recipe.algorithm == "ppo":
        models["critic.model"] = ["critic.fsdp"]
    documents = recipe.rollouts + recipe.eval_size * recipe.eval_samples
    options: dict[str, Any] = {
        "actor_rollout_ref.rollout.name": "hf",
        "actor_rollout_ref.rollout.max_num_seqs": 64,
        "actor_rollout_ref.actor.strategy": "fsdp2",
        "critic.strategy": "fsdp2",
        "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
        "transfer_queue.backend.SimpleStorage.total_storage_size": max(1000, 4 * documents),
        "ray_kwargs.ray_init.num_cpus": _CPU_SLOTS + 4 * recipe.gpus_per_node,
        "+ray_kwargs.ray_init.num_gpus": recipe.gpus_per_node,  # what verl asks of Ray for a worker is called a GPU here, too
        "+ray_kwargs.ray_init.include_dashboard": False,
        "+ray_kwargs.ray_init.object_store_memory": 500_000_000,
    }
    if recipe.lora_rank:  # the server on the CPU takes whole weights
        options["actor_rollout_ref.model.lora.merge"] = True
    for model, engines in models.items():
        options[f"{model}.use_remove_padding"] = False
        options[f"+{model}.override_config.attn_implementation"] = "sdpa"
        for engine in engines:
            options[f"{engine}.use_torch_compile"] = False
            options[f"+{engine}.mixed_precision.param_dtype"] = "fp32"
            options[f"+{engine}.mixed_precision.reduce_dtype"] = "fp32"
    return options


def too_long(recipe: VerlRecipe, allowed: str) -> str:
    """What to say where prompt and document do not fit into what is allowed."""
    room = recipe.max_prompt_tokens + recipe.max_tokens
    return f"max_prompt_tokens={recipe.max_prompt_tokens} and max_tokens={recipe.max_tokens} make {room} tokens, more than {allowed}"

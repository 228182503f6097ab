"""Recipes for verl: what they come to, composed and validated by verl's own configuration; the paper's values; input that cannot be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmi_env.config import load_yaml_preset, preset_names
from llmi_env.errors import ConfigError
from trainers.recipe import load_recipe
from trainers.verl.hydra_overrides import value_text
from trainers.verl.recipe import VerlRecipe, check, command, environment, overrides

RUN = Path("/runs/a run")
RECIPES = [name for name in preset_names("train") if load_yaml_preset("train", name).get("trainer") == "verl"]
WITHOUT_VERL = "verl is not installed: pip install 'llmi-env[verl]'"


def recipe(name: str, *changes: str) -> VerlRecipe:
    loaded = load_recipe(name, changes)
    assert isinstance(loaded, VerlRecipe)
    return loaded


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a random model: verl reads the model's configuration when it validates."""
    pytest.importorskip("torch")
    from trainers.verl.tiny import make_tiny

    return str(make_tiny(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def composed(tiny: str) -> Callable[..., Any]:
    """A recipe as verl's own configuration."""
    pytest.importorskip("hydra", reason=WITHOUT_VERL)
    from trainers.verl.hydra_overrides import compose_config

    def compose(name: str, *changes: str) -> Any:
        return compose_config(overrides(recipe(name, *changes), RUN, tiny))

    return compose


@pytest.fixture(scope="module")
def verls() -> SimpleNamespace:
    """What verl checks a configuration with; importing it takes ten seconds."""
    pytest.importorskip("verl", reason=WITHOUT_VERL)
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    return SimpleNamespace(
        validate=validate_config, dataclass=omega_conf_to_dataclass, critic=need_critic, reference=need_reference_policy
    )


# ------------------------------------------------------------------------------------------------------------------ verl's word


@pytest.mark.parametrize("name", RECIPES)
def test_verl_accepts_every_recipe(name: str, composed: Callable[..., Any], verls: SimpleNamespace) -> None:
    config = composed(name)
    if name == "qwen3-4b-lora-1gpu":  # verl asks vLLM for the ranks that it takes
        config.actor_rollout_ref.rollout.name = "hf"
    ppo = config.algorithm.adv_estimator == "gae"
    assert verls.critic(config) is ppo
    verls.validate(config, use_reference_policy=verls.reference(config), use_critic=ppo)
    policy = config.actor_rollout_ref
    for part in (policy.actor, policy.rollout, policy.model, config.algorithm, policy.rollout.checkpoint_engine):
        verls.dataclass(part)
    if ppo:
        assert verls.dataclass(config.critic).model.path == policy.model.path
    assert verls.dataclass(policy.actor).optim.total_training_steps == -1  # the trainer's to fill in


PAPER = {
    "qwen3-4b-grpo": {
        "data.train_batch_size": 32,
        "data.max_prompt_length": 8192,
        "data.max_response_length": 24576,
        "actor_rollout_ref.actor.policy_loss.loss_mode": "vanilla",
        "actor_rollout_ref.actor.clip_ratio_low": 0.2,
        "actor_rollout_ref.actor.clip_ratio_high": 0.2,
        "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
        "actor_rollout_ref.actor.optim.lr_warmup_steps": 5,
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 4,
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": 8,
    },
    "qwen3-30b-a3b-gspo": {
        "data.train_batch_size": 16,
        "data.max_prompt_length": 8192,
        "data.max_response_length": 24576,
        "actor_rollout_ref.actor.policy_loss.loss_mode": "gspo",
        "actor_rollout_ref.actor.clip_ratio_low": 3e-4,
        "actor_rollout_ref.actor.clip_ratio_high": 4e-4,
        "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-mean",
        "actor_rollout_ref.actor.optim.lr_warmup_steps": 6,
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 1,
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": 1,
    },
    "qwen2.5-vl-7b-grpo": {
        "data.train_batch_size": 32,
        "data.max_prompt_length": 16384,
        "data.max_response_length": 16384,
        "actor_rollout_ref.actor.policy_loss.loss_mode": "vanilla",
        "actor_rollout_ref.actor.clip_ratio_low": 0.2,
        "actor_rollout_ref.actor.clip_ratio_high": 0.2,
        "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
        "actor_rollout_ref.actor.optim.lr_warmup_steps": 4,
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 2,
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": 2,
    },
    "qwen2.5-vl-32b-grpo": {
        "data.train_batch_size": 32,
        "data.max_prompt_length": 16384,
        "data.max_response_length": 16384,
        "actor_rollout_ref.actor.policy_loss.loss_mode": "vanilla",
        "actor_rollout_ref.actor.clip_ratio_low": 0.2,
        "actor_rollout_ref.actor.clip_ratio_high": 0.2,
        "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
        "actor_rollout_ref.actor.optim.lr_warmup_steps": 4,
    },
}
PAPER_ALL = {
    "actor_rollout_ref.rollout.n": 8,
    "actor_rollout_ref.rollout.temperature": 1.0,
    "actor_rollout_ref.rollout.max_model_len": 32768,
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "actor_rollout_ref.actor.optim.lr_scheduler_type": "cosine",
    "actor_rollout_ref.actor.optim.min_lr_ratio": 0.01,
    "actor_rollout_ref.actor.optim.num_cycles": 0.5,
    "actor_rollout_ref.actor.optim.weight_decay": 0.1,
    "actor_rollout_ref.actor.optim.clip_grad": 1.0,
    "actor_rollout_ref.actor.grad_clip": 1.0,
    "actor_rollout_ref.actor.clip_ratio_c": 10.0,
    "actor_rollout_ref.actor.entropy_coeff": 0.0,
    "actor_rollout_ref.actor.use_kl_loss": False,
    "actor_rollout_ref.actor.kl_loss_coef": 0.0,
    "actor_rollout_ref.actor.ppo_epochs": 1,
    "algorithm.use_kl_in_reward": False,
    "algorithm.adv_estimator": "llmi_grpo",
    "algorithm.norm_adv_by_std_in_grpo": True,
    "trainer.total_epochs": 1,
    "trainer.total_training_steps": None,
    "trainer.nnodes": 2,
    "trainer.n_gpus_per_node": 8,
    "trainer.test_freq": 10,
    "trainer.save_freq": 10,
    "trainer.val_before_train": True,
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_values(name: str, composed: Callable[..., Any]) -> None:
    from omegaconf import OmegaConf

    config = composed(name)
    wanted = {
        **PAPER_ALL,
        **PAPER[name],
        "actor_rollout_ref.actor.ppo_mini_batch_size": PAPER[name]["data.train_batch_size"],
    }
    assert {key: OmegaConf.select(config, key) for key in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "model", "reward"),
    [
        ("qwen3-4b-grpo", "Qwen/Qwen3-4B-Instruct-2507", "paper"),
        ("qwen3-30b-a3b-gspo", "Qwen/Qwen3-30B-A3B-Instruct-2507", "paper"),
        ("qwen2.5-vl-7b-grpo", "Qwen/Qwen2.5-VL-7B-Instruct", "paper-vl"),
        ("qwen2.5-vl-32b-grpo", "Qwen/Qwen2.5-VL-32B-Instruct", "paper-vl"),
    ],
)
def test_the_papers_models_and_rewards(name: str, model: str, reward: str) -> None:
    found = recipe(name)
    assert (found.model, found.env.reward, found.env.world.startswith("http://")) == (model, reward, True)
    assert found.env.feedback == "none"
    judges = {options["model"]: options["terms"] for use, options in found.env.services.judge_uses() if use == "openai"}
    assert judges == {
        "Qwen/Qwen3-235B-A22B-Instruct-2507": ["text_quality", "call_quality"],
        "Qwen/Qwen2.5-VL-72B-Instruct": ["image_quality", "task_relevance", "text_image_relevance"],
    }


def test_what_the_run_folder_relies_on(composed: Callable[..., Any]) -> None:
    config = composed("verl-tiny-grpo", "loggers=[tensorboard]")
    assert config.data.train_files == [f"{RUN}/data/train.parquet"]
    assert config.data.val_files == [f"{RUN}/data/val.parquet"]
    assert config.actor_rollout_ref.rollout.agent.agent_loop_config_path == f"{RUN}/agent.yaml"
    assert config.actor_rollout_ref.rollout.agent.default_agent_loop == "llmi"
    assert config.trainer.default_local_dir == f"{RUN}/checkpoints"
    assert config.trainer.logger == ["console", "file", "tensorboard"]
    variables = config.ray_kwargs.ray_init.runtime_env.env_vars
    assert dict(variables) == environment(recipe("verl-tiny-grpo", "loggers=[tensorboard]"), RUN)
    assert variables.VERL_PLATFORM == "cpu"
    assert Path(variables.VERL_FILE_LOGGER_PATH) == RUN / "verl.jsonl"


@pytest.mark.parametrize(("name", "address"), [("qwen3-4b-lora-1gpu", "local"), ("qwen3-4b-2nodes", "auto")])
def test_one_machine_has_a_ray_of_its_own_and_more_share_one(
    name: str, address: str, composed: Callable[..., Any]
) -> None:
    assert composed(name).ray_kwargs.ray_init.address == address


def test_an_adapter_reaches_the_server_merged_or_by_itself(composed: Callable[..., Any]) -> None:
    on_cpu = composed("verl-tiny-grpo", "lora_rank=4").actor_rollout_ref
    assert (on_cpu.model.lora_rank, on_cpu.model.lora.merge, on_cpu.rollout.load_format) == (4, True, "dummy")
    on_gpu = composed("qwen3-4b-lora-1gpu").actor_rollout_ref
    assert (on_gpu.model.lora_rank, on_gpu.model.lora.merge, on_gpu.rollout.load_format) == (32, False, "safetensors")


def test_our_modules_that_verl_is_told_of_are_there(composed: Callable[..., Any]) -> None:
    import importlib.util

    config = composed("verl-tiny-ppo")
    sampler = config.trainer.v1.sampler.custom_sampler.path.removeprefix("pkg://")
    for module in (sampler, config.actor_rollout_ref.model.external_lib, config.critic.model.external_lib):
        assert importlib.util.find_spec(module) is not None
    assert config.trainer.v1.sampler.sampler_kwargs == {"samples": 4, "needed": 1, "patience": 3}


# -------------------------------------------------------------------------------------------------------- options of one's own


def test_an_option_of_verls_wins(composed: Callable[..., Any]) -> None:
    config = composed(
        "verl-tiny-grpo",
        "verl.actor_rollout_ref.rollout.temperature=0.7",
        "verl.ray_kwargs.ray_init.address=auto",  # one that the recipe adds, so that verl itself has none
        "verl.+actor_rollout_ref.rollout.limit_images=[1, null]",
    )
    assert config.actor_rollout_ref.rollout.temperature == 0.7
    assert config.ray_kwargs.ray_init.address == "auto"
    assert config.actor_rollout_ref.rollout.limit_images == [1, None]


def test_an_unknown_option_of_verls_is_named(tiny: str) -> None:
    pytest.importorskip("verl", reason=WITHOUT_VERL)
    with pytest.raises(ConfigError, match=r"did you mean 'actor_rollout_ref\.rollout\.top_k'"):
        check(recipe("verl-tiny-grpo", "verl.actor_rollout_ref.rollout.topk=5"), RUN, tiny)


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("'\\\"$ {}a,=[]:\n"))
@example("it's \\' a path\\")
@example("null")
@example("1e-3")
@example("ein Wörterbuch²")
def test_hydra_reads_back_any_text(text: str) -> None:
    pytest.importorskip("hydra", reason=WITHOUT_VERL)
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    assert parser.parse_override(f"key={value_text(text)}").value() == text
    assert parser.parse_override(f"key={value_text([text, {'a': text}])}").value() == [text, {"a": text}]


@pytest.mark.parametrize(
    "value", [None, True, False, 0, -1, 3e-4, 1e-6, [], {}, [1, "a b", None, [True]], {"a": {"b": [1]}}]
)
def test_hydra_reads_back_other_values(value: Any) -> None:
    pytest.importorskip("hydra", reason=WITHOUT_VERL)
    from hydra.core.override_parser.overrides_parser import OverridesParser

    read = OverridesParser.create().parse_override(f"key={value_text(value)}").value()
    assert read == value
    assert type(read) is type(value)


# ------------------------------------------------------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("verl-tiny-grpo", ["stpes=3"], "no option 'stpes', did you mean 'steps'"),
        ("verl-tiny-grpo", ["env.rewad=paper"], "did you mean 'reward'"),
        ("verl-tiny-grpo", ["algorithm=gppo"], "did you mean 'ppo'"),
        ("verl-tiny-grpo", ["loggers=[wandbb]"], "did you mean 'wandb'"),
        ("verl-tiny-grpo", ["samples=1"], "grpo compares documents of one task"),
        ("verl-tiny-grpo", ["minibatches=3"], "minibatches=3 does not divide tasks_per_step=4"),
        ("verl-tiny-grpo", ["micro_batch=3"], "micro_batch=3 does not divide the 16 documents"),
        ("verl-tiny-grpo", ["minibatches=2", "logprob_micro_batch=5"], "logprob_micro_batch=5 does not divide the 16"),
        ("verl-tiny-grpo", ["gpus_per_node=3"], "16 documents of an optimiser step .* evenly among 3 GPUs"),
        ("verl-tiny-grpo", ["nodes=2"], "nodes=2: with device=cpu everything is one machine"),
        ("qwen3-4b-grpo", ["tasks_per_step=3", "samples=3"], "9 documents .* among 16 GPUs in 8 groups"),
        ("qwen3-4b-grpo", ["tensor_parallel=3"], "tensor_parallel=3 does not divide the 16 GPUs"),
        ("qwen3-4b-grpo", ["sequence_parallel=5"], "sequence_parallel=5 does not divide the 16 GPUs"),
        (
            "qwen3-4b-grpo",
            ["verl.actor_rollout_ref.rollout.max_model_len=32000"],
            "make 32768 tokens, more than .*=32000",
        ),
        ("qwen3-4b-grpo", ["verl.trainer.nnodes=1"], "trainer.nnodes is what this recipe calls 'nodes'"),
        ("qwen3-4b-grpo", ["verl.a b=1"], "'a b' is no option"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(name: str, changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(name, changes)


def test_a_path_that_hydra_would_resolve() -> None:
    with pytest.raises(ConfigError, match="choose another path"):
        overrides(recipe("verl-tiny-grpo"), Path("/runs/${x}"), "model")


def test_a_document_longer_than_the_model_takes(tiny: str) -> None:
    with pytest.raises(ConfigError, match="make 4097 tokens, more than the 4096"):
        check(recipe("verl-tiny-grpo", "max_prompt_tokens=4000", "max_tokens=97"), RUN, tiny)


def test_a_model_without_a_chat_template(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((Path(tiny) / "config.json").read_text())
    with pytest.raises(ConfigError, match="no chat template"):
        check(recipe("verl-tiny-grpo"), RUN, str(tmp_path))
    check(recipe("verl-tiny-grpo"), RUN, tiny)


def test_steps_are_counted_where_epochs_are_given() -> None:
    assert recipe("qwen3-4b-grpo").counted(4010).steps == 125
    assert recipe("verl-tiny-grpo").counted(286).steps == 3
    with pytest.raises(ConfigError, match="31 tasks are too few for tasks_per_step=32"):
        recipe("qwen3-4b-grpo").counted(31)


# --------------------------------------------------------------------------------------------------------------- without verl


@pytest.mark.parametrize("name", RECIPES)
def test_a_resolved_recipe_is_the_same_recipe(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(recipe(name).to_yaml(), encoding="utf-8")
    assert load_recipe(tmp_path / "config.yaml") == recipe(name)


def test_the_command_needs_no_verl() -> None:
    program = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("verl", "ray", "hydra", "torch"):
            raise ModuleNotFoundError(f"{name} is not here")

sys.meta_path.insert(0, Absent())
from pathlib import Path
from trainers.recipe import load_recipe
from trainers.verl.recipe import command
print(*command(load_recipe("qwen3-4b-grpo"), Path("/runs/a"), "Qwen/Qwen3-4B-Instruct-2507"), sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    words = done.stdout.splitlines()
    assert words == command(recipe("qwen3-4b-grpo"), Path("/runs/a"), "Qwen/Qwen3-4B-Instruct-2507")
    assert words[1:3] == ["-m", "verl.trainer.main_ppo"]

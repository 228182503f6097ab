"""What a run cannot go on with is said, with what to do; what was saved stays good."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.errors import ConfigError, TrainingError  # noqa: E402
from llmi_env.store import read_episodes, read_metrics  # noqa: E402
from tests.tiny_policy import make_tiny_policy  # noqa: E402
from trainers import gradient, local  # noqa: E402
from trainers.checkpoint import newest_checkpoint  # noqa: E402
from trainers.failures import out_of_memory  # noqa: E402
from trainers.local import train  # noqa: E402
from trainers.policy_model import PolicyModel  # noqa: E402
from trainers.recipe import load_recipe  # noqa: E402

CPU = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), RuntimeError(CPU), MemoryError()],
    ids=["cuda", "cpu", "python"],
)
@pytest.mark.parametrize("tokens", [None, 500])
def test_out_of_memory_names_the_options_with_their_values(
    tiny_recipe: Callable[..., Any],
    tmp_path: Path,
    silent: Console,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    tokens: int | None,
) -> None:
    score, calls = PolicyModel.score, []

    def failing(self: PolicyModel, ledgers: Any, *wanted: Any) -> Any:
        calls.append(len(ledgers))
        if len(calls) > 3:
            raise error
        return score(self, ledgers, *wanted)

    monkeypatch.setattr(PolicyModel, "score", failing)
    recipe = tiny_recipe(micro_tokens=tokens, micro_batch=3, max_tokens=12)
    with pytest.raises(TrainingError, match="out of memory") as raised:
        train(recipe, tmp_path / "run", console=silent)
    said = str(raised.value)
    assert ("micro_tokens=500" in said) is (tokens is not None)
    for option in ("micro_batch=3", "samples=2", "max_tokens=12", "gradient_checkpointing=false", "--resume"):
        assert option in said
    assert raised.value.__cause__ is error
    monkeypatch.undo()
    resumed = tiny_recipe(micro_batch=1, micro_tokens=tokens, max_tokens=12, gradient_checkpointing=True)
    assert train(resumed, tmp_path / "run", resume=True, console=silent).finished


def test_the_machine_really_says_so() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 55)
    assert out_of_memory(raised.value)
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("what", ["loss", "loss while judges work", "gradient", "value"])
def test_a_number_that_is_none_stops_the_run_and_points_to_the_batch(
    tiny_recipe: Callable[..., Any], tmp_path: Path, silent: Console, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    steps: list[int] = []
    plain = gradient.policy_loss

    def broken(*arguments: Any, **options: Any) -> Any:
        result = plain(*arguments, **options)
        if len(steps) < 2:
            return result
        bad = result.loss * float("nan")
        if what == "gradient":  # the loss is a number, its gradient is none
            bad = result.loss + 0 * (arguments[1].sum() - arguments[1].sum().detach()).sqrt()
        return type(result)(bad, result.clip_fraction, result.dual_clip_fraction, result.approx_kl)

    save = local.save_checkpoint

    def counting(run: Path, step: int, *rest: Any) -> Path:
        steps.append(step)
        return save(run, step, *rest)

    monkeypatch.setattr(local, "save_checkpoint", counting)
    if what == "value":
        learn = local.Critic.learn

        def nan_value(self: Any, *arguments: Any) -> Any:
            loss, clipped = learn(self, *arguments)
            return (float("nan") if len(steps) == 2 else loss), clipped

        monkeypatch.setattr(local.Critic, "learn", nan_value)
    else:
        monkeypatch.setattr(gradient, "policy_loss", broken)
    judge = {"latency": 0.3, "concurrency": 2} if what == "loss while judges work" else None
    recipe = tiny_recipe(judge, algorithm="ppo" if what == "value" else "grpo")
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"of step 2 is (nan|inf).*saved up to step 1") as raised:
        train(recipe, run, console=silent)
    kept = [rollout for _, rollout in read_episodes(run / "failed")]
    assert kept
    assert str(run / "failed" / "episodes" / "train-00002.parquet") in str(raised.value)
    assert all(str(rollout.task.id) in str(raised.value) for rollout in kept)
    assert {row["step"] for row in read_metrics(run)} == {0, 1}
    assert {about["step"] for about, _ in read_episodes(run, "train-*")} == {1}
    checkpoint = newest_checkpoint(run)
    assert checkpoint is not None
    assert checkpoint.step == 1
    monkeypatch.undo()
    assert train(recipe, run, resume=True, console=silent).finished
    assert {about["step"] for about, _ in read_episodes(run, "train-*")} == {1, 2, 3}


@pytest.mark.parametrize("algorithm", ["grpo", "gspo"])
def test_a_group_of_one(tiny_recipe: Callable[..., Any], algorithm: str) -> None:
    with pytest.raises(ConfigError, match=f"samples=1: {algorithm} compares documents of one task, so it needs two"):
        tiny_recipe(samples=1, algorithm=algorithm)
    assert tiny_recipe(samples=1, algorithm="ppo").rollouts == 2


def test_a_vocabulary_without_eos(tiny_recipe: Callable[..., Any], tmp_path: Path, silent: Console) -> None:
    from transformers import AutoTokenizer, LlamaForCausalLM

    folder = make_tiny_policy(tmp_path / "policy")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"eos_token": "<|the end|>"})
    tokenizer.save_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder)
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    # Byte-level tokenizers of ours know <|im_end|>, which ends documents, too: without it and with an eos that the model has no output for
    data = json.loads((folder / "tokenizer.json").read_text().replace("<|im_end|>", "<|im_over|>"))
    (folder / "tokenizer.json").write_text(json.dumps(data))
    model.save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"has 259 outputs and none for the tokens that end a document, \[259\]"):
        train(tiny_recipe(model=str(folder)), tmp_path / "run", console=silent)

    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": None}))
    with pytest.raises(ConfigError, match="the tokenizer has no eos token, so no document could end"):
        train(tiny_recipe(model=str(folder)), tmp_path / "run", console=silent)


def test_prompts_that_leave_no_room(tiny_recipe: Callable[..., Any], tmp_path: Path, silent: Console) -> None:
    from transformers import LlamaForCausalLM

    folder = make_tiny_policy(tmp_path / "policy")
    model = LlamaForCausalLM.from_pretrained(folder)
    model.config.max_position_embeddings = 64
    model.save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"the prompt of task task-0 has \d+ tokens and the policy reads 64"):
        train(tiny_recipe(model=str(folder)), tmp_path / "run", console=silent)


def test_nothing_that_the_policy_sampled(
    tiny_recipe: Callable[..., Any], tmp_path: Path, silent: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy with no room left ends its rows at once (`llmi_env.policies.base.Row.end`)."""
    from llmi_env.policies.base import WriteStats
    from llmi_env.policies.transformers_policy import TransformersPolicy

    async def ends(self: Any, rows: Any, sampling: Any) -> WriteStats:
        for row in rows:
            row.end()
        return WriteStats()

    monkeypatch.setattr(TransformersPolicy, "write", ends)
    with pytest.raises(TrainingError, match="no document of step 1 holds a token that the policy sampled"):
        train(tiny_recipe(), tmp_path / "run", console=silent)


def test_a_recipe_of_another_form_is_refused_with_every_difference(
    tiny_recipe: Callable[..., Any], tmp_path: Path, silent: Console
) -> None:
    train(tiny_recipe(steps=1), tmp_path / "run", console=silent)
    changed = tiny_recipe(steps=1, algorithm="ppo", lora_rank=0, dtype="bfloat16", micro_batch=1)
    with pytest.raises(ConfigError, match="algorithm: 'grpo' then, 'ppo' now") as raised:
        train(changed, tmp_path / "run", resume=True, console=silent)
    assert "lora_rank: 2 then, 0 now" in str(raised.value)
    assert "dtype: 'float32' then, 'bfloat16' now" in str(raised.value)
    assert "micro_batch" not in str(raised.value)


def test_a_gpu_that_is_not_there(
    tiny_recipe: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device=cuda, and torch finds no GPU"):
        train(tiny_recipe(device="cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_of_the_recipes_that_ship() -> None:
    for name in ("quickstart", "quickstart-gspo", "quickstart-ppo"):
        recipe: Any = load_recipe(name)
        assert recipe.trainer == "local"
        assert recipe.device == "cpu"
        assert recipe.algorithm == (name.partition("-")[2] or "grpo")

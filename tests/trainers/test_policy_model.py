"""The model that is trained: adapter or whole, kept and read back; scored the same whichever way its memory is saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.errors import CheckpointError, ConfigError  # noqa: E402
from llmi_env.models import load_model, resolve_policy  # noqa: E402
from llmi_env.policies.engines import make_engine  # noqa: E402
from llmi_env.rewards.hybrid import HybridReward  # noqa: E402
from llmi_env.rollout import run_rollouts  # noqa: E402
from llmi_env.task import Task  # noqa: E402
from llmi_env.world.in_process import InProcessWorld  # noqa: E402
from trainers.checkpoint import Progress, newest_checkpoint, save_checkpoint  # noqa: E402
from trainers.export import export_policy  # noqa: E402
from trainers.policy_model import PolicyModel, compute_in_bfloat16, find_device, same_bits  # noqa: E402
from trainers.verl.tiny import make_tiny  # noqa: E402

TASKS = [Task("Write about owls.", id="owls"), Task("Of bees, wasps and flowers.", id="bees")]


def ledgers(model: PolicyModel, world: InProcessWorld, max_tokens: int = 12) -> list[Any]:
    batch = asyncio.run(
        run_rollouts(model.sampler(), world, HybridReward.preset("llmi"), TASKS, samples=2, max_tokens=max_tokens)
    )
    return [rollout.ledger for rollout in batch.rollouts]


def move(model: PolicyModel) -> None:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters:
            parameter += 0.1 * torch.randn_like(parameter)


def gradients(model: PolicyModel, lines: list[Any]) -> tuple[Any, Any]:
    scored = model.score(lines)
    scored.logprobs_BT.square().sum().backward()
    found = torch.cat([parameter.grad.flatten() for parameter in model.parameters])
    for parameter in model.parameters:
        parameter.grad = None
    return scored.logprobs_BT.detach(), found


@pytest.mark.parametrize("rank", [2, 0])
def test_what_is_saved_is_what_comes_back(
    tiny_recipe: Callable[..., Any], tmp_path: Path, world: InProcessWorld, rank: int
) -> None:
    recipe = tiny_recipe(lora_rank=rank)
    model = PolicyModel.load(recipe)
    assert model.is_adapter is (rank > 0)
    lines = ledgers(model, world)
    start = model.score(lines).logprobs_BT
    move(model)
    moved = model.score(lines).logprobs_BT
    assert not torch.allclose(start, moved)
    save_checkpoint(tmp_path / "run", 1, model, {}, Progress(4, 0), keep=2)
    checkpoint = newest_checkpoint(tmp_path / "run")
    assert checkpoint is not None
    assert checkpoint.progress == Progress(4, 0)

    again = PolicyModel.load(recipe)
    again.restore(checkpoint.path)
    for mine, theirs in zip(again.parameters, model.parameters, strict=True):
        assert torch.equal(mine, theirs)
    torch.testing.assert_close(again.score(lines).logprobs_BT, moved, atol=0, rtol=0)

    # The run folder, the checkpoint and what is made of them are policies for everybody.
    for place in (tmp_path / "run", checkpoint.path, export_policy(tmp_path / "run", tmp_path / "exported")):
        elsewhere, tokenizer = load_model(place)
        torch.testing.assert_close(
            PolicyModel(elsewhere, tokenizer).score(lines).logprobs_BT, moved, atol=1e-5, rtol=1e-5
        )


def test_of_two_checkpoints_the_newest_is_the_policy(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    for step, rank in ((1, 2), (2, 0)):
        save_checkpoint(tmp_path, step, PolicyModel.load(tiny_recipe(lora_rank=rank)), {}, Progress(), keep=2)
    assert resolve_policy(tmp_path).base == str(tmp_path / "checkpoints" / "step-00002" / "model")
    assert resolve_policy(tmp_path / "checkpoints" / "step-00001").adapter is not None


def test_an_adapter_is_merged_where_all_weights_are_trained(
    tiny_recipe: Callable[..., Any], tmp_path: Path, world: InProcessWorld
) -> None:
    adapted = PolicyModel.load(tiny_recipe())
    move(adapted)
    save_checkpoint(tmp_path, 1, adapted, {}, Progress(), keep=1)
    whole = PolicyModel.load(tiny_recipe(model=str(tmp_path), lora_rank=0))
    assert not whole.is_adapter
    assert all(parameter.requires_grad for parameter in whole.model.parameters())
    lines = ledgers(adapted, world)
    torch.testing.assert_close(whole.score(lines).logprobs_BT, adapted.score(lines).logprobs_BT, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rank", [2, 0])
def test_computing_activations_again_changes_nothing(
    tiny_recipe: Callable[..., Any], world: InProcessWorld, rank: int
) -> None:
    torch.manual_seed(0)
    plain = PolicyModel.load(tiny_recipe(lora_rank=rank))
    torch.manual_seed(0)
    saving = PolicyModel.load(tiny_recipe(lora_rank=rank, gradient_checkpointing=True))
    move(plain)
    move(saving)
    lines = ledgers(saving, world)  # the sampler's cache is not touched by it
    assert [x.ids for x in lines] == [x.ids for x in ledgers(plain, world)]
    for mine, theirs in zip(gradients(saving, lines), gradients(plain, lines), strict=True):
        assert (mine - theirs).norm() < 1e-4 * theirs.norm()


def test_activations_really_are_computed_again(tiny_recipe: Callable[..., Any], world: InProcessWorld) -> None:
    def held(**options: Any) -> int:
        model = PolicyModel.load(tiny_recipe(lora_rank=0, **options))
        lines, sizes = ledgers(model, world), []

        def keep(tensor: Any) -> Any:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.score(lines)
        return sum(sizes)

    assert held(gradient_checkpointing=True) < held() / 2


def test_bfloat16_is_what_the_model_computes_in_whoever_calls_it(
    tiny_recipe: Callable[..., Any], world: InProcessWorld
) -> None:
    model = PolicyModel.load(tiny_recipe(lora_rank=0))
    lines = ledgers(model, world)
    exact = model.score(lines).logprobs_BT
    compute_in_bfloat16(model.model, "cpu")
    assert model.model.model.embed_tokens.weight.dtype is torch.float32
    rough, gradient = gradients(model, lines)
    assert 0 < (rough - exact).abs().max() < 0.1
    assert gradient.dtype is torch.float32
    assert torch.isfinite(gradient).all()
    with torch.inference_mode():
        whole = model.model(input_ids=torch.tensor([lines[0].ids])).logits
    assert whole.dtype is torch.bfloat16
    assert make_engine(model.model, model.tokenizer.vocab_size) is not None


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == find_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="torch finds no GPU"):
        find_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto") == find_device("cuda") == "cuda"
    assert find_device("cpu") == "cpu"


def test_bits_are_fixed_on_a_cpu_alone_and_only_for_a_while() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    with same_bits("cpu"):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    with same_bits("cuda"):
        assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_weights_of_another_form_are_refused(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, PolicyModel.load(tiny_recipe(lora_rank=2)), {}, Progress(), keep=1)
    for other in (4, 0):
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            PolicyModel.load(tiny_recipe(lora_rank=other)).restore(tmp_path / "checkpoints" / "step-00001")


def test_an_adapter_leaves_the_eyes_alone(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "seeing", kind="qwen2_5_vl", vocabulary=300)
    model = PolicyModel.load(tiny_recipe(model=str(folder)))
    trained = [name for name, parameter in model.model.named_parameters() if parameter.requires_grad]
    assert trained
    assert not any("visual" in name for name in trained)
    whole = PolicyModel.load(tiny_recipe(model=str(folder), lora_rank=0))
    assert any("visual" in name and p.requires_grad for name, p in whole.model.named_parameters())

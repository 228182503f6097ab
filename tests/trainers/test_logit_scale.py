"""One number that all logits are multiplied by: trained, kept, and read by every loader."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.errors import ConfigError  # noqa: E402
from llmi_env.models import load_model  # noqa: E402
from llmi_env.policies.base import Sampling  # noqa: E402
from llmi_env.policies.engines import model_parts  # noqa: E402
from llmi_env.policies.logit_scale import add_logit_scale, write_norm  # noqa: E402
from llmi_env.policies.transformers_policy import TransformersPolicy  # noqa: E402
from llmi_env.rewards.hybrid import HybridReward  # noqa: E402
from llmi_env.rollout import run_rollouts  # noqa: E402
from llmi_env.store import read_metrics  # noqa: E402
from llmi_env.task import Task  # noqa: E402
from llmi_env.world.in_process import InProcessWorld  # noqa: E402
from trainers.checkpoint import Progress, newest_checkpoint, save_checkpoint  # noqa: E402
from trainers.export import export_policy  # noqa: E402
from trainers.forward import Anchors  # noqa: E402
from trainers.local import train  # noqa: E402
from trainers.policy_model import PolicyModel  # noqa: E402
from trainers.recipe import check_unchanged  # noqa: E402
from trainers.sft import further, save_adapter  # noqa: E402

TASKS = [Task("Write about owls.", id="owls"), Task("Of bees, wasps and flowers.", id="bees")]


def ledgers(policy: TransformersPolicy, world: InProcessWorld, temperature: float = 1.0) -> list[Any]:
    batch = asyncio.run(
        run_rollouts(
            policy, world, HybridReward.preset("llmi"), TASKS, samples=2, max_tokens=12, sampling=Sampling(temperature)
        )
    )
    return [rollout.ledger for rollout in batch.rollouts]


def sharp(recipe: Any, scale: float) -> PolicyModel:
    """A policy whose logits are multiplied, with an adapter that does something."""
    model = PolicyModel.load(recipe)
    torch.manual_seed(3)
    assert model.logit_scale is not None
    with torch.no_grad():
        for parameter in model.parameters:
            parameter += 0.1 * torch.randn_like(parameter)
        model.logit_scale["log"].fill_(torch.tensor(scale).log())
    return model


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_policy_with_a_scale_is_the_one_at_a_lower_temperature(
    tiny_recipe: Callable[..., Any], world: InProcessWorld, checkpointing: bool
) -> None:
    recipe = tiny_recipe(lr_logit_scale=0.1, gradient_checkpointing=checkpointing)
    model = sharp(recipe, 4.0)
    mine = ledgers(model.sampler(), world)
    scored = model.score(mine)
    for row, ledger in enumerate(mine):  # sampler and trainer agree
        drawn = torch.tensor(ledger.logprobs[ledger.prompt_length :])
        torch.testing.assert_close(scored.logprobs_BT[row, : len(drawn)].detach(), drawn, atol=1e-4, rtol=1e-4)
    assert model.logit_scale is not None
    with torch.no_grad():
        model.logit_scale["log"].zero_()
    theirs = ledgers(model.sampler(), world, temperature=0.25)
    assert [x.ids for x in mine] == [x.ids for x in theirs]


def test_logprobs_of_the_likeliest_tokens_are_the_policys_own(
    tiny_recipe: Callable[..., Any], world: InProcessWorld
) -> None:
    model = sharp(tiny_recipe(lr_logit_scale=0.1), 3.0)
    lines = ledgers(model.sampler(), world, temperature=0.0)
    scored = model.score(lines).logprobs_BT.detach()
    for row, ledger in enumerate(lines):
        drawn = torch.tensor(ledger.logprobs[ledger.prompt_length :])
        torch.testing.assert_close(scored[row, : len(drawn)], drawn, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_its_gradient_is_that_of_the_logits(
    tiny_recipe: Callable[..., Any], world: InProcessWorld, checkpointing: bool
) -> None:
    recipe = tiny_recipe(lr_logit_scale=0.1, gradient_checkpointing=checkpointing)
    model = sharp(recipe, 2.0)
    assert model.logit_scale is not None
    lines, log = ledgers(model.sampler(), world), model.logit_scale["log"]

    def total(at: float) -> Any:
        with torch.no_grad():
            log.fill_(at)
        return model.score(lines).logprobs_BT.sum()

    middle = float(log.detach())
    total(middle).backward()
    slope = float(log.grad)
    with torch.no_grad():
        expected = (float(total(middle + 0.01)) - float(total(middle - 0.01))) / 0.02
    assert slope == pytest.approx(expected, rel=2e-2)


def test_drawn_towards_the_start_at_a_lower_temperature_it_ends_there(
    tiny_recipe: Callable[..., Any], world: InProcessWorld
) -> None:
    model = PolicyModel.load(tiny_recipe(lr_logit_scale=0.1))
    assert model.logit_scale is not None
    lines = ledgers(model.sampler(), world)
    start = model.score(lines)
    states = [start.hidden_BTH[row, : len(x.response_ids)].detach() for row, x in enumerate(lines)]
    optimizer = torch.optim.Adam([model.logit_scale["log"]], lr=0.1)
    left = 1.0
    for _ in range(60):
        optimizer.zero_grad()
        scored = model.score(lines, anchors=Anchors(states, temperature=0.5))
        assert scored.divergences_BT is not None
        scored.divergences_BT.sum().backward()
        optimizer.step()
        left = float(scored.divergences_BT.detach().sum())
    assert float(model.logit_scale["log"].detach().exp()) == pytest.approx(2.0, rel=0.02)
    assert left == pytest.approx(0.0, abs=1e-3)


def test_everybody_reads_the_policy_that_was_trained(
    tiny_recipe: Callable[..., Any], tmp_path: Path, world: InProcessWorld
) -> None:
    recipe = tiny_recipe(lr_logit_scale=0.1)
    model = sharp(recipe, 3.0)
    assert model.logit_scale is not None
    lines = ledgers(model.sampler(), world)
    moved = model.score(lines).logprobs_BT
    save_checkpoint(tmp_path / "run", 1, model, {"logit_scale": model.logit_scale}, Progress(), keep=2)
    checkpoint = newest_checkpoint(tmp_path / "run")
    assert checkpoint is not None
    for place in (tmp_path / "run", checkpoint.path, export_policy(tmp_path / "run", tmp_path / "exported")):
        elsewhere, tokenizer = load_model(place)
        found = PolicyModel(elsewhere, tokenizer).score(lines).logprobs_BT
        torch.testing.assert_close(found, moved, atol=1e-4, rtol=1e-4)
        assert [x.ids for x in ledgers(TransformersPolicy(elsewhere, tokenizer), world)] == [x.ids for x in lines]

    # The run goes on where it was, and another one from its end.
    again = PolicyModel.load(recipe)
    again.restore(checkpoint.path)
    assert again.logit_scale is not None
    again.logit_scale.load_state_dict(model.logit_scale.state_dict())
    torch.testing.assert_close(again.score(lines).logprobs_BT, moved, atol=0, rtol=0)
    for changes in ({}, {"lr_logit_scale": 0.1}):
        further = PolicyModel.load(tiny_recipe(model=str(tmp_path / "run"), **changes))
        torch.testing.assert_close(further.score(lines).logprobs_BT, moved, atol=1e-4, rtol=1e-4)
        further.save(tmp_path / f"further{len(changes)}")
        elsewhere, tokenizer = load_model(tmp_path / f"further{len(changes)}" / "adapter")
        found = PolicyModel(elsewhere, tokenizer).score(lines).logprobs_BT
        torch.testing.assert_close(found, moved, atol=1e-4, rtol=1e-4)
        assert all("norm" not in name for name, x in further.model.named_parameters() if x.requires_grad)


def test_a_run_moves_it_at_its_own_rate_and_logs_it(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    recipe = tiny_recipe(
        lr_logit_scale=0.1, kl_coefficient=1.0, kl_estimate="exact", kl_temperature=0.5, lr=1e-5, lr_schedule="constant"
    )
    assert train(recipe, tmp_path / "run", console=Console(file=io.StringIO())).finished
    scales = [row["logit_scale"] for row in read_metrics(tmp_path / "run") if row["phase"] == "train"]
    assert scales == sorted(scales)
    assert scales[-1] == pytest.approx(1.1**3, abs=0.12)
    rates = [row["lr"] for row in read_metrics(tmp_path / "run") if row["phase"] == "train"]
    assert max(rates) <= 1e-5


def test_without_an_adapter_it_is_refused(tiny_recipe: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="lr_logit_scale is for adapters"):
        tiny_recipe(lr_logit_scale=0.1, lora_rank=0)


def test_a_norm_that_adds_one_to_its_weight_is_refused(tiny_recipe: Callable[..., Any]) -> None:
    model = PolicyModel.load(tiny_recipe()).model
    norm = model_parts(model)[0].norm
    plain = norm.forward
    norm.forward = lambda x: plain(x) / norm.weight * (1 + norm.weight)
    with pytest.raises(ConfigError, match="last norm's weight"):
        add_logit_scale(model)


def test_what_else_an_adapter_saves_stays(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    model = sharp(tiny_recipe(lr_logit_scale=0.1), 3.0)
    model.save(tmp_path)
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text(encoding="utf-8")) | {"modules_to_save": ["x"]}), encoding="utf-8"
    )
    write_norm(model.model, tmp_path / "adapter")
    assert json.loads(config.read_text(encoding="utf-8"))["modules_to_save"] == ["model.norm", "x"]


def test_a_warm_start_goes_on_from_it(
    tiny_recipe: Callable[..., Any], tiny_policy: Path, tmp_path: Path, world: InProcessWorld
) -> None:
    model = sharp(tiny_recipe(lr_logit_scale=0.1), 3.0)
    lines = ledgers(model.sampler(), world)
    moved = model.score(lines).logprobs_BT
    model.save(tmp_path)
    base, tokenizer = load_model(tiny_policy)
    again = further(base, tmp_path / "adapter")
    torch.testing.assert_close(PolicyModel(again, tokenizer).score(lines).logprobs_BT, moved, atol=1e-4, rtol=1e-4)
    assert {name.split(".")[-3] for name, x in again.named_parameters() if x.requires_grad} == {"lora_A", "lora_B"}
    save_adapter(again, tmp_path / "kept", half=True)
    kept, _ = load_model(tmp_path / "kept")
    torch.testing.assert_close(PolicyModel(kept, tokenizer).score(lines).logprobs_BT, moved, atol=0.02, rtol=0.02)


def test_a_run_from_before_the_option_was_there_goes_on(tiny_recipe: Callable[..., Any]) -> None:
    recipe = tiny_recipe()
    before = "\n".join(line for line in recipe.to_yaml().splitlines() if not line.startswith("lr_logit_scale"))
    check_unchanged(before, recipe)
    with pytest.raises(ConfigError, match="lr_logit_scale"):
        check_unchanged(before, tiny_recipe(lr_logit_scale=0.1))

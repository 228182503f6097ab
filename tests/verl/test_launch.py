"""What the launcher looks at before verl starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmi_env.errors import ConfigError, WorldError
from llmi_env.testing import simulated_config
from llmi_env.world.service import create_app
from tests.serving import served
from trainers.recipe import check_unchanged, load_recipe

launch = pytest.importorskip(
    "trainers.verl.launch", reason="what verl needs is not installed: pip install 'llmi-env[verl]'"
)


def check(*changes: str) -> None:
    asyncio.run(launch._check_world(load_recipe("verl-tiny-grpo", list(changes))))


@pytest.mark.parametrize("reward", ["llmi", "rules"])
def test_a_world_must_have_the_tools_that_the_prompt_offers(reward: str) -> None:
    with served(create_app(simulated_config(tools={"search": {}, "code": {}, "edit": {}}))) as address:
        said = "has no diffusion: its tools are search, code, edit, and the policy is offered"
        with pytest.raises(ConfigError, match=said):
            check(f"env.world={address}", f"env.reward={reward}", "env.services.tools.diffusion={}")
        check(f"env.world={address}", f"env.reward={reward}")


def test_a_world_that_is_down_is_told_before_anything_starts() -> None:
    with pytest.raises(WorldError, match="no World answers"):
        check("env.world=http://127.0.0.1:9")


@pytest.mark.parametrize("unscored", ["true", "false"])
def test_a_term_that_no_judge_scores_is_told_before_anything_starts(tmp_path: Path, unscored: str) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nversion: 1\nterms:\n  text_qualty: {weight: 1}\n")
    with (
        served(create_app(simulated_config())) as address,
        pytest.raises(ConfigError, match="'text_qualty', did you mean 'text_quality'"),
    ):
        check(f"env.world={address}", f"env.reward={mine}", f"allow_unscored={unscored}")


@pytest.mark.parametrize("world", ["local", "http://127.0.0.1:9"])
def test_a_typing_error_in_a_judges_options_starts_no_world(world: str) -> None:
    judges = "env.services.judges=[{use: embedded, loooks: false}]"
    with pytest.raises(ConfigError, match=r"judge 'embedded': .*'loooks', did you mean 'looks'"):
        check(f"env.world={world}", judges)
    with pytest.raises(ConfigError, match="did you mean 'looks'"):
        launch.VerlTrainer().dry_run(load_recipe("verl-tiny-grpo", [f"env.world={world}", judges]), Path("nowhere"))


def test_an_address_of_one_machine_is_no_address_on_two() -> None:
    recipe = load_recipe("qwen3-4b-2nodes", ["env.world=http://localhost:8100"])
    with pytest.raises(ConfigError, match="another place on each of the 2 nodes"):
        asyncio.run(launch._check_world(recipe))


def test_how_a_run_is_carried_out_may_change_and_what_it_computes_not() -> None:
    begun = load_recipe("verl-tiny-grpo").to_yaml()
    check_unchanged(
        begun, load_recipe("verl-tiny-grpo", ["env.world=http://10.0.0.9:8100", "save_every=1", "offload=true"])
    )
    with pytest.raises(ConfigError, match="lr: "):
        check_unchanged(begun, load_recipe("verl-tiny-grpo", ["lr=0.5"]))


def test_pictures_count_toward_the_length_of_a_prompt(tmp_path: Any) -> None:
    from tests.policies.test_vision import EDIT
    from trainers.verl.tiny import make_tiny

    measures: list[Callable[..., int]] = [
        launch._measure(str(make_tiny(tmp_path / kind, kind=kind, vocabulary=400))) for kind in ("llama", "qwen2_5_vl")
    ]
    conversation = [{"role": "user", "content": "Make it grey."}]
    blind, seeing = ([measure(conversation, images) for images in ((), EDIT.images)] for measure in measures)
    assert blind[0] == blind[1]
    assert seeing[1] > seeing[0]

"""All wrappers alike: Gymnasium's checker, `env.spec`, pickle, `deepcopy`, and each other."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from llmi_env import Task, wrappers
from llmi_env.errors import ConfigError
from llmi_env.testing import simulated_config
from llmi_env.wrappers import (
    ArraysOnly,
    CallLimit,
    DropUnscored,
    FullContext,
    PadImages,
    RecordTranscripts,
    ResizeImages,
    RewardVector,
    StepLimit,
    TokenHistory,
)
from tests.streams import DIFFUSION, SEARCH
from tests.wrappers.conftest import Make
from tests.wrappers.writing import steps

Wrap = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]


def everything(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    env = DropUnscored(StepLimit(CallLimit(env, 2), 400))
    return ArraysOnly(PadImages(ResizeImages(TokenHistory(FullContext(RewardVector(env)), 32), 16), 2, 16, 16))


WRAPS: dict[str, Wrap] = {
    "full": FullContext,
    "history": lambda env: TokenHistory(env, 16),
    "resize": lambda env: ResizeImages(env, 16),
    "pad": lambda env: PadImages(env, 2, 16, 24),
    "vector": RewardVector,
    "steps": lambda env: StepLimit(env, 30),
    "calls": lambda env: CallLimit(env, 1),
    "drop": DropUnscored,
    "arrays": lambda env: ArraysOnly(PadImages(env, 2, 16, 24)),
}


@pytest.mark.parametrize("name", [*WRAPS, "record"])
@pytest.mark.parametrize("mode", ["token", "chunk", "call", "document"])
def test_gymnasiums_checker_has_nothing_to_say(make: Make, tmp_path: Path, name: str, mode: str) -> None:
    wrap = {**WRAPS, "record": lambda env: RecordTranscripts(env, tmp_path)}[name]
    env = make(action_mode=mode, feedback="image", render_mode="rgb_array")
    if name == "history" and mode != "token":
        with pytest.raises(ConfigError):
            wrap(env)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It always says so of a wrapped environment.
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        check_env(wrap(env))


@pytest.mark.parametrize("shared_memory", [False, True])
@pytest.mark.parametrize("name", ["full", "history", "resize", "pad", "arrays"])
def test_processes_give_the_same_observations(name: str, shared_memory: bool) -> None:
    made = partial(_simulated, WRAPS[name])
    apart = AsyncVectorEnv([made] * 2, shared_memory=shared_memory)
    alone = SyncVectorEnv([made] * 2)
    try:
        assert data_equivalence(apart.reset(seed=0)[0], alone.reset(seed=0)[0], exact=True)
        for byte in f"Owls {DIFFUSION}".encode():
            one, other = apart.step([byte] * 2), alone.step([byte] * 2)
            assert data_equivalence(one[0], other[0], exact=True)
    finally:
        apart.close()
        alone.close()


def _simulated(wrap: Wrap) -> gym.Env[Any, Any]:
    services = simulated_config(tools={"diffusion": {"size": 8}})
    limits = {"observation_kib": 16, "picture_kib": 64, "characters": 1000, "picture_side": 32}
    options = {"world": "in_process", "services": services, "feedback": "image", "limits": limits}
    return wrap(gym.make("LLMI-v0", config="rules", tasks=[Task("Owls?", id="owls")], **options))


def test_of_a_vector_reward_it_says_that_it_is_no_number(make: Make) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(RewardVector(make(), as_reward=True))
    others = [str(one.message) for one in said if "different from the unwrapped version" not in str(one.message)]
    assert len(others) == 1
    assert "must be a float" in others[0]


def test_every_public_name_is_a_wrapper() -> None:
    assert sorted(wrappers.__all__) == wrappers.__all__
    assert all(issubclass(getattr(wrappers, name), gym.Wrapper) for name in wrappers.__all__)


@pytest.mark.parametrize("wrap", [*WRAPS.values(), everything], ids=[*WRAPS, "everything"])
def test_a_spec_makes_the_same_environment_again(wrap: Wrap) -> None:
    env = wrap(gym.make("LLMI-v0", config="rules", tasks="validation"))
    assert env.spec is not None
    text = env.spec.to_json()
    again = gym.make(EnvSpec.from_json(text))
    assert str(again) == str(env)
    assert again.observation_space == env.observation_space
    assert again.spec is not None
    assert json.loads(again.spec.to_json()) == json.loads(text)
    assert data_equivalence(env.reset(seed=3)[0], again.reset(seed=3)[0])


def test_an_id_of_ones_own_can_come_with_wrappers() -> None:
    specs = (StepLimit.wrapper_spec(n=9), TokenHistory.wrapper_spec(length=8), ArraysOnly.wrapper_spec())
    gym.register("Tokens-v0", entry_point="llmi_env.env:LLMIEnv", kwargs={"config": "rules"}, additional_wrappers=specs)
    try:
        env = gym.make("Tokens-v0")
    finally:
        del gym.registry["Tokens-v0"]
    observation, _ = env.reset(seed=0)
    assert observation["tokens"].shape == (8,)
    assert len(steps(env, "Owls hunt at night.")) == 9


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("wrap", [*WRAPS.values(), everything], ids=[*WRAPS, "everything"])
def test_a_copy_goes_on_in_the_middle_of_an_episode(wrap: Wrap, copied: Callable[[Any], Any]) -> None:
    # A World made from data: it is opened anew where a pickled environment wakes up.
    world = {"services": simulated_config(), "world": "in_process", "reward": "llmi"}
    env = wrap(gym.make("LLMI-v0", config="rules", tasks="validation", feedback="text", **world))
    env.reset(seed=1)
    steps(env, f"Owls {SEARCH} hunt"[:20], end=False)
    twin = copied(env)
    rest = f"Owls {SEARCH} hunt"[20:]
    theirs = steps(twin, rest)
    mine = steps(env, rest)
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        assert data_equivalence(one[:4], other[:4], exact=True)
    env.close()
    twin.close()


def test_all_of_them_together_give_arrays_of_fixed_shape(make: Make) -> None:
    env = everything(make(feedback="image"))
    assert isinstance(env.observation_space, Dict)
    assert {name: space.shape for name, space in env.observation_space.items()} == {
        "event": (),
        "image_count": (),
        "images": (2, 16, 16, 3),
        "token_mask": (32,),
        "tokens": (32,),
    }
    assert isinstance(env.observation_space["tokens"], Box)
    assert isinstance(env.observation_space["image_count"], Discrete)
    env.reset(seed=0, options={"task": "owls"})
    made = steps(env, f"Owls. {SEARCH}")
    assert [step[0]["image_count"] for step in made].count(1) >= 1
    assert made[-1][4]["reward_terms"].shape == (len(env.unwrapped.reward.terms),)  # type: ignore[attr-defined]
    assert made[-1][2]
    assert all(step[0] in env.observation_space for step in made)


class TestArraysOnly:
    def test_info_keeps_numbers_and_arrays(self, make: Make) -> None:
        from gymnasium.wrappers import RecordEpisodeStatistics

        env = ArraysOnly(RecordEpisodeStatistics(RewardVector(TokenHistory(make(), 8))))
        assert env.reset(options={"task": "owls"})[1] == {}
        info = steps(env, "Owls.")[-1][4]
        assert set(info) == {"reward_terms", "episode"}
        assert set(info["episode"]) == {"r", "l", "t"}
        assert isinstance(info["reward_terms"], np.ndarray)

    def test_something_has_to_be_left(self, make: Make) -> None:
        with pytest.raises(ConfigError, match=r"no part of the observation .*TokenHistory or PadImages"):
            ArraysOnly(make())

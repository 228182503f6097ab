"""Gymnasium's own checker, wrappers and vectorisation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit

from llmi_env import END, Event, LLMIEnv, Task
from llmi_env.testing import simulated_config
from tests.env.kit import FEEDBACK, MODES
from tests.streams import DIFFUSION, SEARCH


@pytest.mark.parametrize("feedback", FEEDBACK)
@pytest.mark.parametrize("mode", MODES)
def test_gymnasiums_checker_has_not_a_single_warning(make: Callable[..., LLMIEnv], mode: str, feedback: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(action_mode=mode, feedback=feedback))
        check_env(make(action_mode=mode, feedback=feedback, tokenizer="byte"))


class TestGymnasiumsWrappers:
    def test_statistics_and_time_limit(self, make: Callable[..., LLMIEnv]) -> None:
        env = RecordEpisodeStatistics(TimeLimit(make(action_mode="chunk"), 3))
        env.reset()
        for _ in range(3):
            _, _, terminated, truncated, info = env.step("Owls. ")
        assert (terminated, truncated) == (False, True)
        env.reset()
        _, reward, terminated, _, info = env.step("Owls." + END)
        assert terminated
        assert info["episode"]["r"] == pytest.approx(reward)


def _make_local() -> gym.Env[Any, Any]:
    return gym.make(
        "llmi_env:LLMI-v0",
        config="rules",
        tasks=[Task("Write about owls.", id="owls"), Task("Write about bees.", id="bees")],
        services=simulated_config(linger=1.0),
        reward="llmi",
        action_mode="chunk",
        feedback="image",
        tokenizer="byte",
    )


def _make_in_process() -> gym.Env[Any, Any]:
    env = _make_local().unwrapped
    assert isinstance(env, LLMIEnv)
    return gym.make(
        "llmi_env:LLMI-v0",
        config=env.config,
        tasks=[Task("Write about owls.", id="owls"), Task("Write about bees.", id="bees")],
        world="in_process",
    )


def test_gymnasiums_own_vectorisation_by_name(tasks: list[Task]) -> None:
    envs = gym.make_vec(
        "LLMI-v0",
        num_envs=2,
        vectorization_mode="sync",
        config="rules",
        tasks=tasks,
        world="in_process",
        services=simulated_config(),
        action_mode="document",
    )
    _, infos = envs.reset(seed=0)
    assert len(infos["task_id"]) == 2
    _, reward, terminated, _, infos = envs.step((SEARCH, "Owls."))
    envs.close()
    assert terminated.all()
    assert [report.total for report in infos["report"]] == reward.tolist()


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_autoreset_modes(autoreset: AutoresetMode) -> None:
    envs = gym.vector.SyncVectorEnv([_make_in_process] * 2, autoreset_mode=autoreset)
    envs.reset(seed=0)
    observations, reward, terminated, _, infos = envs.step(("Owls." + END, "Bees."))
    assert terminated.tolist() == [True, False]
    assert reward[0] > 0
    last = infos["final_info"] if autoreset is AutoresetMode.SAME_STEP else infos
    assert last["stop"][0] == "end"
    event = Event.PROMPT if autoreset is AutoresetMode.SAME_STEP else Event.END
    assert observations["event"].tolist() == [event, Event.NOTHING]
    if autoreset is AutoresetMode.DISABLED:
        observations, _ = envs.reset(options={"reset_mask": np.array([True, False])})
        assert observations["event"].tolist() == [Event.PROMPT, Event.NOTHING]
    else:
        observations, reward, *_ = envs.step(("more", "more"))
        wanted = Event.PROMPT if autoreset is AutoresetMode.NEXT_STEP else Event.NOTHING
        assert observations["event"].tolist() == [wanted, Event.NOTHING]
        assert reward.tolist() == [0.0, 0.0]
    envs.close()


def _run(envs: gym.vector.VectorEnv[Any, Any, Any]) -> list[Any]:
    found: list[Any] = [envs.reset(seed=3)]
    for actions in (("Owls. " + SEARCH, "Bees."), (" fly." + END, DIFFUSION), ("ignored", "more" + END)):
        found.append(envs.step(actions))
    envs.close()
    return found


@pytest.fixture(scope="module")
def one_process() -> list[Any]:
    return _run(gym.vector.SyncVectorEnv([_make_in_process] * 2))


@pytest.mark.parametrize(
    ("context", "shared_memory"),
    [
        ("fork", True),
        ("fork", False),
        pytest.param("spawn", True, marks=pytest.mark.slow),
        pytest.param("spawn", False, marks=pytest.mark.slow),
    ],
)
def test_vector_environments_give_the_trajectories_of_one_process(
    local_runtime: Any, one_process: list[Any], context: str, shared_memory: bool
) -> None:
    envs = gym.vector.AsyncVectorEnv([_make_local] * 2, context=context, shared_memory=shared_memory)
    for mine, theirs in zip(_run(envs), one_process, strict=True):
        assert data_equivalence(mine[0], theirs[0], exact=True)
        assert all(data_equivalence(a, b, exact=True) for a, b in zip(mine[1:-1], theirs[1:-1], strict=True))
        assert mine[-1].keys() == theirs[-1].keys()
        for key in mine[-1]:
            assert list(mine[-1][key]) == list(theirs[-1][key]), key

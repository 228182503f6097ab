"""The environment in several processes, as trainers use it: each is a client of the one helper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from llmi_env.task import Task
from llmi_env.testing import simulated_config

DOCUMENT = 'Owls. <imgen>{"source": "search", "description": "an owl", "params": {"query": "owl"}}</imgen> They fly.'


def make(world: str = "local") -> gym.Env[Any, Any]:
    return gym.make(
        "llmi_env:LLMI-v0",
        tasks=[Task("Write about owls", id="owls")],
        world=world,
        services=simulated_config(linger=0.3),
        action_mode="document",
    )


def make_in_process() -> gym.Env[Any, Any]:
    return make("in_process")


def rewards(envs: Any) -> Any:
    envs.reset(seed=7)
    _, reward, terminated, truncated, _ = envs.step((DOCUMENT,) * 2)
    envs.close()
    assert terminated.all()
    assert not truncated.any()
    return reward


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_earn_what_one_process_earns(runtime: Path, context: str) -> None:
    expected = rewards(SyncVectorEnv([make_in_process] * 2))
    assert np.array_equal(rewards(AsyncVectorEnv([make] * 2, context=context, shared_memory=False)), expected)

"""The environment under test, with simulated tools and judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest

from llmi_env import LLMIEnv, Task
from llmi_env.world.in_process import InProcessWorld


@pytest.fixture
def make(tasks: list[Task], world: InProcessWorld) -> Callable[..., LLMIEnv]:
    def made(**options: Any) -> LLMIEnv:
        options = {"config": "rules", "tasks": tasks, "world": world, "reward": "llmi", **options}
        env = gym.make("LLMI-v0", **options).unwrapped
        assert isinstance(env, LLMIEnv)
        return env

    return made

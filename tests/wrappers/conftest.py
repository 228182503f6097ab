from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest

from llmi_env import Task
from llmi_env.world.in_process import InProcessWorld

Make = Callable[..., gym.Env[Any, Any]]


@pytest.fixture
def make(tasks: list[Task], world: InProcessWorld) -> Make:
    def made(**options: Any) -> gym.Env[Any, Any]:
        return gym.make("LLMI-v0", **{"config": "rules", "tasks": tasks, "world": world, "reward": "llmi", **options})

    return made

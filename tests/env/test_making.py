"""How it is made: by name, from a spec, and what is wrong with a configuration."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import gymnasium as gym
import pytest

import llmi_env
from llmi_env import LLMIEnv, Task
from llmi_env.errors import ConfigError, MissingExtra, TaskError
from llmi_env.world.in_process import InProcessWorld


class TestRegistration:
    def test_there_is_no_limit_of_steps(self) -> None:
        assert gym.spec("LLMI-v0").max_episode_steps is None

    def test_the_public_names_are_there(self) -> None:
        names = llmi_env.__all__
        assert len(names) == len(set(names))
        assert all(getattr(llmi_env, name) is not None for name in names)
        assert set(names) <= set(dir(llmi_env))
        with pytest.raises(AttributeError, match="nothing_of_that_name"):
            _ = llmi_env.nothing_of_that_name

    def test_importing_it_needs_the_core_only(self) -> None:
        program = (
            "import sys, gymnasium as gym; env = gym.make('llmi_env:LLMI-v0', config='rules', tasks='train'); env.reset(seed=0); "
            "sys.exit(sorted({'torch', 'transformers', 'diffusers', 'matplotlib'} & set(sys.modules)) or 0)"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

    def test_a_spec_survives_json(self) -> None:
        env = gym.make("LLMI-v0", config="rules", action_mode="chunk", tasks="validation")
        assert env.spec is not None
        again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json())).unwrapped
        assert isinstance(again, LLMIEnv)
        assert again.config == env.unwrapped.config  # type: ignore[attr-defined]


class TestBadConfiguration:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"config": "rulez"}, "did you mean 'rules'"),
            ({"feedbak": "text"}, "did you mean 'feedback'"),
            ({"action_mode": "documnt"}, "cannot be 'documnt', did you mean 'document'"),
            ({"limits": {"calls": "5"}}, "limits.calls"),
            ({"render_mode": "human"}, "no render mode"),
            ({"reward": "papr"}, "did you mean 'paper'"),
            ({"tokenizer": 3}, "tokenizer"),
            ({"world": 3}, "world"),
            ({"reward": 3}, "reward"),
            ({"tasks": 3}, "tasks"),
        ],
    )
    def test_is_told(self, tasks: list[Task], world: InProcessWorld, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            LLMIEnv(**{"config": "rules", "tasks": tasks, "world": world, **options})

    def test_unknown_tasks(self) -> None:
        with pytest.raises(TaskError, match="did you mean 'train'"):
            LLMIEnv("rules", tasks="trian")

    def test_without_the_extra_the_default_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import importlib.util

        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "torch" else find(name, *a))
        with pytest.raises(MissingExtra, match=r"pip install 'llmi-env\[offline\]'") as raised:
            LLMIEnv("offline")
        assert raised.value.extra == "offline"
        LLMIEnv("rules")
        LLMIEnv("offline", world="http://127.0.0.1:8000")

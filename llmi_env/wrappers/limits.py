"""Limits of one episode, set from outside: of steps and of calls. Documents that they cut are scored as they stand.

Both belong right onto what `gym.make` gives, beneath all other wrappers: what they change, the others have to see.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

from llmi_env.env import StepResult
from llmi_env.episode import StopReason
from llmi_env.errors import ConfigError
from llmi_env.observing import Observation
from llmi_env.wrappers.base import LLMIWrapper, number


class _Limit(LLMIWrapper):
    def __init__(self, env: gym.Env[Any, Any], **arguments: Any) -> None:
        super().__init__(env, **arguments)
        beneath = env
        while isinstance(beneath, gym.Wrapper):
            if not isinstance(beneath, PassiveEnvChecker | OrderEnforcing | _Limit):
                name, other = type(self).__name__, type(beneath).__name__
                raise ConfigError(
                    f"{name} belongs beneath {other}, which would not see what it does: {other}({name}(env, ...), ...)"
                )
            beneath = beneath.env


class StepLimit(_Limit):
    """Ends the document with step `n`: `terminated`, `info["stop"] == "steps"`, and scored as it stands.

    Gymnasium's `TimeLimit` truncates instead: its episodes end without a reward, and what was written counts for nothing.

    Args:
        env: `LLMI-v0` as `gym.make` gives it.
        n: steps at most.

    Raises:
        ConfigError: there are other wrappers beneath.
    """

    def __init__(self, env: gym.Env[Any, Any], n: int) -> None:
        super().__init__(env, n=n)
        self._n = number("StepLimit", "n", n)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a document."""
        self._steps = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> StepResult:
        """Write; step `n` is the last."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        if terminated or truncated or self._steps < self._n:
            return observation, float(reward), terminated, truncated, info
        last, reward, terminated, truncated, info = self.base.cut(StopReason.STEPS)
        return _joined(observation, last), reward, terminated, truncated, info


class CallLimit(_Limit):
    """Lowers the limit of calls: one more call than `n` ends the document (`info["stop"] == "calls"`), and it is scored as it stands.

    Unlike `limits.calls` of the configuration it leaves the observation space alone, and may be moved between episodes (`env.n = 3`), as
    curricula do.

    Args:
        env: `LLMI-v0` as `gym.make` gives it.
        n: calls at most, unreadable ones included; a higher limit than the configuration's changes nothing.

    Raises:
        ConfigError: there are other wrappers beneath.
    """

    def __init__(self, env: gym.Env[Any, Any], n: int) -> None:
        super().__init__(env, n=n)
        self.n = number("CallLimit", "n", n, least=0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a document under the limit."""
        result = self.env.reset(seed=seed, options=options)
        episode = self.base.episode
        assert episode is not None
        episode.limits = replace(episode.limits, calls=min(self.n, episode.limits.calls))
        return result


def _joined(first: Observation, last: Observation) -> Observation:
    """What two observations show, as one."""
    joined = {**last, "text": first["text"] + last["text"], "images": first["images"] + last["images"]}
    if "tokens" in last:
        joined["tokens"] = np.concatenate([first["tokens"], last["tokens"]])
    return joined

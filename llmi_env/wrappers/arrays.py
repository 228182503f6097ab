"""Numbers only: what libraries of tensors can take."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from llmi_env.errors import ConfigError
from llmi_env.observing import Observation
from llmi_env.wrappers.base import LLMIWrapper

_KINDS = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)


class ArraysOnly(LLMIWrapper):
    """Takes away what is no number and no array of fixed shape: `text`, lists of pictures, and all of `info` that is neither.

    For Gymnasium's `NumpyToTorch` (which makes nonsense of text and fails on objects), TorchRL and stable-baselines3. Put `TokenHistory`,
    `PadImages` and `RewardVector` beneath it: what they give stays. The objects of the last `info` go, `report` and `document` among them:
    `RecordTranscripts` beneath keeps them.

    Args:
        env: `LLMI-v0`.

    Raises:
        ConfigError: nothing would be left of the observation but `event`.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        space = env.observation_space
        parts = space.spaces if isinstance(space, spaces.Dict) else {}
        kept: dict[str, spaces.Space[Any]] = {name: part for name, part in parts.items() if isinstance(part, _KINDS)}
        if not kept.keys() - {"event"}:
            raise ConfigError(
                f"ArraysOnly: no part of the observation ({', '.join(parts)}) is an array of fixed shape: "
                "put TokenHistory or PadImages beneath it"
            )
        self.observation_space = spaces.Dict(kept)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a document."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._kept(observation), _numbers(info)

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """Write."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._kept(observation), reward, terminated, truncated, _numbers(info)

    def _kept(self, observation: Observation) -> Observation:
        return {name: observation[name] for name in self.observation_space.spaces}  # type: ignore[attr-defined]


def _numbers(info: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in info.items():
        if isinstance(value, Mapping):
            if below := _numbers(value):
                kept[name] = below
        elif isinstance(value, numbers.Number | np.bool_) or (
            isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
        ):
            kept[name] = value
    return kept

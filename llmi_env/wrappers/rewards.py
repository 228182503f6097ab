"""The reward's terms one by one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from llmi_env.rewards import RewardReport
from llmi_env.wrappers.base import LLMIWrapper


class RewardVector(LLMIWrapper):
    """Gives the values of the reward's terms as a vector, at the end of each document.

    `info["reward_terms"]` is float32 of shape (terms,), in the order of `reward_terms`: each value in [0, 1], and NaN for a term that has no
    score, which is not to be read as a low one. The reward is their sum weighted by `reward_weights`, up to rounding.

    Args:
        env: `LLMI-v0`.
        as_reward: also give the vector in place of the reward, as in mo-gymnasium: zeros until the end. `reward_space` is its space; NaN,
            which lies outside, stands where there is no score (with `DropUnscored` beneath only in terms without a weight).

    Attributes:
        reward_terms: names of the terms.
        reward_weights: their weights, float32 of shape (terms,).
        reward_space: `Box(0, 1, (terms,))` with `as_reward`, otherwise `None`.
    """

    def __init__(self, env: gym.Env[Any, Any], as_reward: bool = False) -> None:
        super().__init__(env, as_reward=as_reward)
        spec = self.base.reward.spec
        self.reward_terms = tuple(spec.terms)
        self.reward_weights: npt.NDArray[np.float32] = np.array(
            [term.weight for term in spec.terms.values()], np.float32
        )
        self.reward_space = spaces.Box(0, 1, (len(self.reward_terms),), np.float32) if as_reward else None

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Write; the step that ends the document has the terms."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        report = info.get("report")
        if isinstance(report, RewardReport):
            info = {**info, "reward_terms": self._vector(report)}
        if self.reward_space is None:
            return observation, reward, terminated, truncated, info
        vector = np.zeros(len(self.reward_terms), np.float32) if report is None else self._vector(report)
        return observation, vector, terminated, truncated, info

    def _vector(self, report: RewardReport) -> npt.NDArray[np.float32]:
        return np.array([report.values.get(term, np.nan) for term in self.reward_terms], np.float32)

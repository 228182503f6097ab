"""Documents without a score, for loops that know of none."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from llmi_env.errors import ConfigError, UnscoredEpisode
from llmi_env.observing import Observation
from llmi_env.wrappers.base import LLMIWrapper, number


class DropUnscored(LLMIWrapper):
    """Begins the same task again when its document has no score, so that a plain loop learns from scored ones only.

    The step that would have ended such a document shows the prompt once more instead: reward 0, neither `terminated` nor `truncated`, the
    `info` of a reset, and in `info["dropped"]` why there was no score. To the loop the lost attempt is a part of the episode that earned
    nothing of its own; a trainer that keeps transitions one by one cuts at `info["dropped"]`.

    Args:
        env: `LLMI-v0` with `unscored="retry_then_truncate"` or `"nan"`.
        retries: how often in a row the task begins again.

    Raises:
        ConfigError: the environment was told to raise.
        UnscoredEpisode: in `step`: the document after the last retry has no score either.
    """

    def __init__(self, env: gym.Env[Any, Any], retries: int = 8) -> None:
        super().__init__(env, retries=retries)
        self._retries = number("DropUnscored", "retries", retries, least=0)
        if self.base.config.unscored == "raise":
            raise ConfigError("DropUnscored: with unscored='raise' there is nothing to drop; use 'retry_then_truncate'")
        self._dropped = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a document."""
        self._dropped = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """Write; instead of an end without a score, the prompt comes again."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "unscored" not in info:
            return observation, reward, terminated, truncated, info
        reasons = tuple(info["unscored"])
        if self._dropped == self._retries:
            raise UnscoredEpisode(
                f"task {info['task_id']}: {self._dropped + 1} documents in a row have no score; the last one: {'; '.join(reasons)}"
            )
        self._dropped += 1
        episode = self.base.episode
        assert episode is not None
        observation, fresh = self.env.reset(options={"task": episode.task})
        return observation, 0.0, False, False, {**fresh, "dropped": reasons}

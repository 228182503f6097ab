"""The environment that the friends get: tokens, in arrays of fixed shape."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from llmi_env import Task
from llmi_env.testing import simulated_world
from llmi_env.wrappers import ArraysOnly, PadImages, TokenHistory

LENGTH = 16
LIMIT = 12


def plain() -> gym.Env[Any, Any]:
    """Documents about owls, of 12 tokens at most, on simulated tools and judges."""
    tasks = [Task("Write about owls.", id="owls")]
    return gym.make(
        "LLMI-v0", config="rules", reward="llmi", tasks=tasks, world=simulated_world(), limits={"tokens": LIMIT}
    )


def owl_tokens(pictures: bool = False, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """The same with the last 16 tokens as observation; with `pictures`, also one picture of 8 by 8 pixels."""
    env: gym.Env[Any, Any] = TokenHistory(plain(), LENGTH)
    return ArraysOnly(PadImages(env, 1, 8, 8) if pictures else env)


def earned(tokens: list[int]) -> float:
    """What a document of these tokens earns in the environment without any wrapper."""
    env = plain()
    env.reset()
    for token in tokens:
        reward, ended = float(env.step(token)[1]), env.unwrapped.episode.stop is not None  # type: ignore[attr-defined]
    assert ended
    return reward

"""Drives a wrapped environment as a policy would."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from llmi_env import END

Step = tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]


def steps(env: gym.Env[Any, Any], text: str, end: bool = True) -> list[Step]:
    """Write text in the environment's own kind of action, in mode `chunk` in two pieces; what each step gave, until one is the last."""
    base: Any = env.unwrapped
    actions: list[Any]
    if base.config.action_mode == "token":
        actions = [*base.tokenizer.encode(text), *([min(base.tokenizer.eos_ids)] if end else [])]
    elif base.config.action_mode == "chunk":
        actions = [text[: len(text) // 2], text[len(text) // 2 :] + (END if end else "")]
    else:
        actions = [text]
    made: list[Step] = []
    for action in actions:
        made.append(env.step(action))
        if made[-1][2] or made[-1][3]:
            break
    return made

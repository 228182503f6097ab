"""What tests of the environment share: the kinds of actions and feedback, and a document written by any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmi_env import END, LLMIEnv
from llmi_env.world.in_process import InProcessWorld
from tests.streams import DIFFUSION, SEARCH, edit

MODES = ("token", "chunk", "document")
FEEDBACK = ("none", "text", "image")
TEXT = f"Owls hunt. {SEARCH} They see 日本. {edit(0)}{DIFFUSION} The end."
Step = tuple[dict[str, Any], float, bool, bool, dict[str, Any]]
MakeWorld = Callable[..., InProcessWorld]


def write(env: LLMIEnv, text: str) -> Step:
    """Write a whole document in the environment's own kind of action; the last step."""
    mode = env.config.action_mode
    if mode == "document":
        return env.step(text)
    if mode == "chunk":
        env.step(text[:20])
        return env.step(text[20:] + END)
    assert env.tokenizer is not None
    for token in env.tokenizer.encode(text):
        env.step(token)
    return env.step(min(env.tokenizer.eos_ids))

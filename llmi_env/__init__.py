"""LLMI: a Gymnasium environment in which a language model learns to write illustrated documents.

Importing it registers `LLMI-v0`::

    import gymnasium as gym, llmi_env
    env = gym.make("LLMI-v0")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register, registry

if TYPE_CHECKING:
    from llmi_env.calls import Call, ParamSpec, ToolSpec, parse_call
    from llmi_env.config import EnvConfig, load_config
    from llmi_env.document import Document, Failure, Figure, Outcome, Picture, Provenance, Text
    from llmi_env.env import END, Event, LLMIEnv
    from llmi_env.env_state import EnvState
    from llmi_env.episode import CallRequest, Episode, Limits, StopReason
    from llmi_env.errors import LLMIError
    from llmi_env.ledger import Ledger, Owner
    from llmi_env.rewards import HybridReward, RewardReport, RewardTerm
    from llmi_env.spaces import ImageList, TokenSequence, UnicodeText
    from llmi_env.task import Task
    from llmi_env.task_sets import TaskSet, load_tasks
    from llmi_env.tokenizers import ByteTokenizer, HFTokenizer, PieceTokenizer, Tokenizer
    from llmi_env.transcript import Transcript
    from llmi_env.vector import LLMIVectorEnv
    from llmi_env.world.config import WorldConfig
    from llmi_env.world.protocol import Judgment, Judgments, Scored, Unscored, World

__version__ = "0.1.0"

_PUBLIC = {
    "llmi_env.calls": ("Call", "ParamSpec", "ToolSpec", "parse_call"),
    "llmi_env.config": ("EnvConfig", "load_config"),
    "llmi_env.document": ("Document", "Failure", "Figure", "Outcome", "Picture", "Provenance", "Text"),
    "llmi_env.env": ("END", "Event", "LLMIEnv"),
    "llmi_env.episode": ("CallRequest", "Episode", "Limits", "StopReason"),
    "llmi_env.errors": ("LLMIError",),
    "llmi_env.ledger": ("Ledger", "Owner"),
    "llmi_env.env_state": ("EnvState",),
    "llmi_env.rewards": ("HybridReward", "RewardReport", "RewardTerm"),
    "llmi_env.spaces": ("ImageList", "TokenSequence", "UnicodeText"),
    "llmi_env.task": ("Task",),
    "llmi_env.task_sets": ("TaskSet", "load_tasks"),
    "llmi_env.tokenizers": ("ByteTokenizer", "HFTokenizer", "PieceTokenizer", "Tokenizer"),
    "llmi_env.transcript": ("Transcript",),
    "llmi_env.vector": ("LLMIVectorEnv",),
    "llmi_env.world.config": ("WorldConfig",),
    "llmi_env.world.protocol": ("Judgment", "Judgments", "Scored", "Unscored", "World"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "END",
    "ByteTokenizer",
    "Call",
    "CallRequest",
    "Document",
    "EnvConfig",
    "EnvState",
    "Episode",
    "Event",
    "Failure",
    "Figure",
    "HFTokenizer",
    "HybridReward",
    "ImageList",
    "Judgment",
    "Judgments",
    "LLMIEnv",
    "LLMIError",
    "LLMIVectorEnv",
    "Ledger",
    "Limits",
    "Outcome",
    "Owner",
    "ParamSpec",
    "Picture",
    "PieceTokenizer",
    "Provenance",
    "RewardReport",
    "RewardTerm",
    "Scored",
    "StopReason",
    "Task",
    "TaskSet",
    "Text",
    "TokenSequence",
    "Tokenizer",
    "ToolSpec",
    "Transcript",
    "UnicodeText",
    "Unscored",
    "World",
    "WorldConfig",
    "__version__",
    "load_config",
    "load_tasks",
    "parse_call",
]


def __getattr__(name: str) -> Any:
    # Public names are imported when they are asked for: the helper processes of the World import this package too, and should start at once.
    if name not in _HOME:
        raise AttributeError(f"module 'llmi_env' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# No `max_episode_steps`: the length of a document is bounded by its own limits.
if "LLMI-v0" not in registry:
    register(id="LLMI-v0", entry_point="llmi_env.env:LLMIEnv", vector_entry_point="llmi_env.vector:LLMIVectorEnv")

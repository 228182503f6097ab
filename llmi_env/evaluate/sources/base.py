"""Where documents come from: a policy in this process, an endpoint elsewhere, or a folder of finished ones.

A source is given orders and hands back each document as it is finished, in whatever order they finish. It judges nothing. What could not
be had is a `NotWritten` with its reason: missing, never an empty document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from llmi_env.calls import ToolSpec
from llmi_env.config import EnvConfig, Feedback
from llmi_env.episode import Limits
from llmi_env.errors import ConfigError, LLMIError
from llmi_env.evaluate.benchmark import Item
from llmi_env.policies.base import Sampling
from llmi_env.policies.endpoint import EndpointOptions
from llmi_env.prompting import PromptStyle, system_prompt
from llmi_env.rollout import Rollout
from llmi_env.world.protocol import World
from llmi_env.world_source import tool_specs

DOCUMENTS = "documents:"
"""Begins the name of a folder of finished documents."""


class SourceError(LLMIError, RuntimeError):
    """Raised when a source cannot bring anything at all: no such model, a wrong key, nobody at that address. What it brought is kept."""


@dataclass(frozen=True)
class Order:
    """One document wanted.

    Attributes:
        item: what it is written for.
        sample: its number among the documents of the item, from 0.
        seed: of the draws and of the calls (see `llmi_env.rollout.rollout_seed`); the document's rollout has it too.
    """

    item: Item
    sample: int
    seed: int


@dataclass(frozen=True)
class Written:
    """A document as it came.

    Attributes:
        rollout: the document with its outcomes; `group` is 0, and the report is empty (`llmi_env.rollout.NOT_SCORED`).
        tokens: tokens that were written for it: those of the document, of thoughts, and of tries that broke off.
        prompt_tokens: tokens of its prompt, for each try.
        cost: what it cost, in the currency of the prices given; `None` where that is not known.
        seconds: from its turn until its last picture had landed. Documents written side by side share these seconds.
        counted: whether the tokens were counted where they were made; if not, `tokens` is a guess from the pieces in which the text came.
    """

    rollout: Rollout
    tokens: int
    prompt_tokens: int
    cost: float | None
    seconds: float
    counted: bool = True


@dataclass(frozen=True)
class NotWritten:
    """A document that could not be had.

    Attributes:
        reason: why, for people.
        tokens: tokens that were spent on it all the same, as far as they are known.
        prompt_tokens: prompt tokens likewise.
        cost: what they cost; `None` where that is not known.
        seconds: that it took to find out.
    """

    reason: str
    tokens: int = 0
    prompt_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Writing:
    """How policies are to write: the same for a model in this process and for one elsewhere.

    Attributes:
        limits: bounds of a document.
        tools: specs of the tools at hand.
        prompt: how the system prompt explains them.
        feedback: what the policy is shown of its pictures.
        max_tokens: tokens that a document may have.
        sampling: temperature and top-p.
    """

    limits: Limits
    tools: Mapping[str, ToolSpec]
    prompt: PromptStyle
    feedback: Feedback
    max_tokens: int
    sampling: Sampling

    @classmethod
    def of(cls, config: EnvConfig, max_tokens: int, sampling: Sampling) -> Writing:
        """As a configuration has it.

        Raises:
            ConfigError: no room for a document, or a plugin whose spec cannot be known.
        """
        if max_tokens < 1:
            raise ConfigError(f"max_tokens must be 1 or more, not {max_tokens}")
        specs = tool_specs(config.services)
        return cls(config.limits.episode(), specs, config.prompt, config.feedback, max_tokens, sampling)

    def identity(self) -> dict[str, Any]:
        """All of it as plain data; the system prompt, with the tools, by its digest."""
        said = system_prompt(self.tools, self.prompt)
        return {
            "limits": asdict(self.limits),
            "system_prompt": hashlib.sha256(said.encode()).hexdigest()[:16],
            "feedback": self.feedback,
            "max_tokens": self.max_tokens,
            **asdict(self.sampling),
        }


Done = Callable[[Order, Written | NotWritten], None]
"""Is told of each document as it is finished, on the event loop, while others go on."""


@runtime_checkable
class Source(Protocol):
    """Whoever brings documents."""

    @property
    def name(self) -> str:
        """As given on the command line."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything of it that can move a document, as plain data. Its key `policy` says in one line who writes."""
        ...

    async def write(self, orders: Sequence[Order], done: Done) -> None:
        """Bring all of them; may be cancelled at any time.

        Raises:
            WorldError: the World cannot be reached.
            SourceError: nothing can be written at all.
            LLMIError: the model or the key is not there.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what it holds; may be called twice. The World is not its own."""
        ...


def open_source(
    policy: str,
    world: World,
    config: EnvConfig,
    *,
    max_tokens: int,
    temperature: float,
    top_p: float = 1.0,
    concurrency: int = 16,
) -> Source:
    """The source that a text names. Nothing is loaded or asked before the first order.

    Args:
        policy: `warm-start`, `grpo-trained`, a run folder, an adapter or a model (`llmi_env.models.resolve_policy`);
            `openai:MODEL@BASE_URL`, or the options of an endpoint as the path of a YAML file or as JSON
            (`llmi_env.policies.endpoint.EndpointOptions`); `documents:FOLDER`.
        world: carries out calls.
        config: limits of a document, prompt, tools, feedback.
        max_tokens: tokens that a document may have.
        temperature: 0 takes the likeliest token each time.
        top_p: keeps the likeliest tokens that together reach this probability.
        concurrency: documents that are written at the same time.

    Raises:
        ConfigError: no such policy, or an option that does not exist.
        AssetError: the shipped policy is missing.
    """
    if concurrency < 1:
        raise ConfigError(f"concurrency must be 1 or more, not {concurrency}")
    if policy.startswith(DOCUMENTS):
        from llmi_env.evaluate.sources.finished_documents import FinishedDocuments

        return FinishedDocuments(policy.removeprefix(DOCUMENTS), name=policy)
    writing = Writing.of(config, max_tokens, Sampling(temperature, top_p))
    options = EndpointOptions.named(policy)
    if options is not None:
        from llmi_env.evaluate.sources.endpoint_source import EndpointSource

        return EndpointSource(policy, options, world, writing, concurrency)
    from llmi_env.evaluate.sources.model_source import ModelSource

    return ModelSource(policy, world, writing, concurrency)

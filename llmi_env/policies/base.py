"""What a policy is to a rollout: something that writes documents token by token, many at once.

The rollout hands a policy its `Row`s, one for each document in the making. The policy samples and gives each token to its row; the row
puts it into the transcript, starts the calls that it completed, and says whether it is done or waits for an outcome that it is to be shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from llmi_env.document import Picture
from llmi_env.errors import ConfigError
from llmi_env.tokenizers import Tokenizer


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: divides the logits; 0 takes the likeliest token. Trainers need 1, so that logprobs are those of the model itself.
        top_p: keeps the likeliest tokens that together reach this probability; 1 keeps all.
    """

    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ConfigError(f"temperature must be 0 or more, not {self.temperature!r}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p lies in (0, 1], not {self.top_p!r}")

    @property
    def is_model_distribution(self) -> bool:
        """Whether the tokens are drawn from the model's own distribution, as training needs."""
        return self.temperature == 1.0 and self.top_p == 1.0


class Row(Protocol):
    """One document in the making, as the policy sees it. All methods are called on the event loop."""

    @property
    def prompt_ids(self) -> Sequence[int]:
        """Ids that the policy continues."""
        ...

    @property
    def seed(self) -> int:
        """Seed of this row's draws; nothing else makes two rows of one prompt differ."""
        ...

    @property
    def max_tokens(self) -> int:
        """At most so many tokens are sampled. Shown results come on top; a policy with less room than that ends the row (`end`)."""
        ...

    @property
    def done(self) -> bool:
        """Whether the document has ended, so that nothing more is to be sampled."""
        ...

    @property
    def pictures(self) -> Sequence[Picture]:
        """Pictures whose placeholders stand in the ids so far, in that order; none where the policy sees none."""
        ...

    @property
    def waiting(self) -> bool:
        """Whether the row waits for an outcome that the policy is to be shown before it writes on."""
        ...

    def take(self, token: int, logprob: float) -> None:
        """Receive a sampled token."""
        ...

    def shown(self) -> Sequence[int]:
        """Ids that the policy must read before it samples again; each is handed out once."""
        ...

    async def changed(self) -> None:
        """Return as soon as `waiting` may have become false."""
        ...

    def end(self) -> None:
        """Nothing more can be sampled: what the policy can read is full. The document ends as at its limit of tokens."""
        ...


@dataclass
class WriteStats:
    """What a policy did in one `write`, for the metrics.

    Attributes:
        tokens: tokens sampled.
        prompt_tokens: prompt tokens computed; a prompt, or a prefix, shared by several rows counts once.
        seconds: time spent computing, waiting not included.
        waited: time in which every row waited for outcomes.
    """

    tokens: int = 0
    prompt_tokens: int = 0
    seconds: float = 0.0
    waited: float = 0.0


@dataclass(frozen=True)
class SeenPrompt:
    """A prompt with pictures in it.

    Attributes:
        ids: of the prompt.
        runs: `(start, length)` of each picture's placeholders in it, in the order of the pictures.
    """

    ids: Sequence[int]
    runs: Sequence[tuple[int, int]] = ()


@runtime_checkable
class Policy(Protocol):
    """A language model, or what stands for one in tests."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        ...

    async def write(self, rows: Sequence[Row], sampling: Sampling) -> WriteStats:
        """Sample until every row is done. Must leave the event loop free while it computes."""
        ...


@runtime_checkable
class SeeingPolicy(Policy, Protocol):
    """A policy that sees pictures: those of the task in its prompt, and with the feedback `image` those of its calls."""

    def see_prompt(self, messages: Sequence[Mapping[str, Any]], pictures: Sequence[Picture]) -> SeenPrompt:
        """Ids of a conversation whose user shows these pictures, ending where the policy is to write."""
        ...

    def picture_ids(self, picture: Picture) -> Sequence[int]:
        """What stands for a picture in the middle of the context: its placeholders with what encloses them."""
        ...

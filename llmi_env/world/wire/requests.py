"""What is asked of a service, and what it answers: the bodies of its routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import Field

from llmi_env import errors
from llmi_env.errors import ConfigError, LLMIError
from llmi_env.world.protocol import AboutJudge, Judgments
from llmi_env.world.wire.documents import CallMessage, DocumentMessage, JudgmentMessage, TaskMessage
from llmi_env.world.wire.outcomes import OutcomeMessage, PictureMessage
from llmi_env.world.wire.texts import Message, pack, unpack

__all__ = [
    "PROTOCOL",
    "VERSION",
    "ErrorReply",
    "Health",
    "JudgeMessage",
    "JudgeReply",
    "JudgeRequest",
    "RunReply",
    "RunRequest",
    "Terms",
]

try:
    VERSION = version("llmi-env")
except PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0"

PROTOCOL = 4
"""Version of this format; a client and a service must agree on it."""


class RunRequest(Message):
    """Body of `POST /run`; `deadline` seconds, where given, in place of the service's own."""

    call: CallMessage
    pictures: list[PictureMessage]
    seed: int
    deadline: float | None = Field(default=None, gt=0)


class RunReply(Message):
    """Answer of `POST /run`."""

    outcome: OutcomeMessage


class JudgeRequest(Message):
    """Body of `POST /judge`."""

    document: DocumentMessage
    task: TaskMessage


class JudgeReply(Message):
    """Answer of `POST /judge`."""

    judgments: dict[str, JudgmentMessage]

    @classmethod
    def of(cls, judgments: Judgments) -> JudgeReply:
        """Encode."""
        return cls(judgments={pack(term): JudgmentMessage.of(judgment) for term, judgment in judgments.items()})

    def value(self) -> Judgments:
        """Decode."""
        return {unpack(term): message.value() for term, message in self.judgments.items()}


class Health(Message):
    """Answer of `GET /health`."""

    version: str
    protocol: int
    config: str
    tools: list[str]
    requests: int
    clients: int | None = None
    pid: int


class JudgeMessage(Message):
    """An `AboutJudge`."""

    name: str
    identity: str
    terms: list[str]


class Terms(Message):
    """Answer of `GET /terms`: the judges of the World and what each of them scores."""

    judges: list[JudgeMessage]

    @classmethod
    def of(cls, judges: Sequence[AboutJudge]) -> Terms:
        """Encode."""
        return cls(judges=[JudgeMessage(name=one.name, identity=one.identity, terms=list(one.terms)) for one in judges])

    def value(self) -> tuple[AboutJudge, ...]:
        """Decode."""
        return tuple(AboutJudge(one.name, one.identity, tuple(one.terms)) for one in self.judges)


class ErrorReply(Message):
    """Body of an answer other than 200: an error of `llmi_env.errors` that the client raises in its turn."""

    error: str
    args: list[Any]

    @classmethod
    def of(cls, error: LLMIError) -> ErrorReply:
        """Encode."""
        args = [arg if isinstance(arg, int | float | None) else pack(str(arg)) for arg in error.args]
        return cls(error=type(error).__name__, args=args)

    def value(self) -> LLMIError:
        """Decode; an error of an unknown name becomes a `ConfigError` with its message."""
        known: Mapping[str, Any] = vars(errors)
        kind = known.get(self.error)
        args = [unpack(arg) if isinstance(arg, str) else arg for arg in self.args]
        if isinstance(kind, type) and issubclass(kind, LLMIError):
            try:
                return kind(*args)
            except TypeError:
                pass
        return ConfigError(f"{self.error}: " + " ".join(str(arg) for arg in args))

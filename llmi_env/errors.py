"""The failure model of LLMI.

Four points decide where a failure goes:

1. **A bad document is data, not a crash.** Whatever the policy writes ends as a block of the document: a call that cannot be
   read is a figure with a `Failure`. Nothing that a policy writes raises out of an episode.
2. **Whose fault it was is fixed by a table**, not by whoever catches it: `fault_of(tool, kind)`. What is the world's fault (a
   service that is down, a deadline missed) never costs the policy.
3. **Extension code raises plain errors.** A tool raises `ToolError` (or one of its kinds) where it knows what went wrong; anything
   else that escapes a tool is the world's fault. `classify` is the only place that turns an exception into a `Failure` kind.
4. **The caller's mistakes raise at once**, typed, and say what was expected, what came and what to do.

The tree::

    LLMIError
    ├── ConfigError (ValueError)       a key, preset, recipe, tool or value that does not exist; raised on loading
    ├── TaskError (ValueError)         a task that cannot be used; names file, row and field
    ├── MalformedCall (ValueError)     a call's text cannot be read; caught by the episode, raised by `parse_call`
    ├── BadCall (ValueError)           a readable call that asks for the impossible; caught by the episode
    ├── ActionError (ValueError)       an action outside the action space; the episode is unharmed
    ├── EpisodeOver (RuntimeError)     an action after the end, or before `reset`
    ├── ConcurrentUse (RuntimeError)   an environment used while it is busy: by a second thread, or with an action in flight
    ├── MissingExtra (ImportError)     an optional dependency is not installed; names the extra
    ├── AssetError (OSError)           an asset, cache or model is missing or corrupt; names the command that mends it
    ├── CheckpointError (RuntimeError) a checkpoint cannot be used; says why and which one can
    ├── WorldError (RuntimeError)      the World as a whole cannot be reached or started
    ├── UnscoredEpisode (RuntimeError) an episode has no reward and the caller asked to be told so by an exception
    ├── TrainingError (RuntimeError)   training cannot go on (NaN loss, nothing scored); the last checkpoint is kept
    └── ToolError                      a tool's own verdict on one call; recorded in the document as a `Failure`
        ├── BadParams, CodeRaised, LimitExceeded, NothingFound, Refused      (as a rule the policy's fault)
        └── ToolTimeout, ToolUnavailable                                      (the world's fault)

Every error pickles: it may cross a process boundary.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable
from typing import Any, Literal

FailureKind = Literal[
    "malformed", "unknown_tool", "bad_params", "raised", "limit", "empty", "refused", "timeout", "unavailable"
]
Fault = Literal["policy", "world"]
LimitName = Literal["time", "memory", "output", "disk", "pixels"]


class LLMIError(Exception):
    """Root of every error that this package raises on purpose."""


class ConfigError(LLMIError, ValueError):
    """Raised when a configuration, preset, recipe or option cannot be used as given."""


class TaskError(LLMIError, ValueError):
    """Raised when a task or a task file cannot be used; the message names file, row and field where there are any."""


class MalformedCall(LLMIError, ValueError):
    """Raised when the body of a call cannot be read.

    Attributes:
        reason: what is wrong, one clause.
        position: offset in the body where reading failed, or `None`.
    """

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason, position)
        self.reason = reason
        self.position = position

    def __str__(self) -> str:
        return self.reason if self.position is None else f"{self.reason} (at character {self.position})"


class BadCall(LLMIError, ValueError):
    """Raised when a call is readable but asks for what cannot be.

    Attributes:
        kind: `unknown_tool` or `bad_params`.
    """

    def __init__(self, kind: Literal["unknown_tool", "bad_params"], message: str) -> None:
        super().__init__(kind, message)
        self.kind: Literal["unknown_tool", "bad_params"] = kind
        self.message = message

    def __str__(self) -> str:
        return self.message


class ActionError(LLMIError, ValueError):
    """Raised when an action lies outside the action space; the episode goes on as if it had not been sent."""


class EpisodeOver(LLMIError, RuntimeError):
    """Raised by an action after the end of the episode, or before the first `reset`."""


class ConcurrentUse(LLMIError, RuntimeError):
    """Raised when an environment is used while it is busy; what it is busy with goes on unharmed."""


class MissingExtra(LLMIError, ImportError):
    """Raised when a feature needs an optional dependency that is not installed.

    Attributes:
        extra: name of the extra that brings it.
    """

    def __init__(self, feature: str, extra: str, module: str = "") -> None:
        super().__init__(feature, extra, module)
        self.feature, self.extra, self.module = feature, extra, module

    def __str__(self) -> str:
        missing = f" (no module named {self.module!r})" if self.module else ""
        return f"{self.feature} needs the extra {self.extra!r}{missing}: pip install 'llmi-env[{self.extra}]'"


class AssetError(LLMIError, OSError):
    """Raised when an asset, a cache or a model is missing or corrupt; the message names the command that mends it."""


class CheckpointError(LLMIError, RuntimeError):
    """Raised when a checkpoint cannot be used."""


class WorldError(LLMIError, RuntimeError):
    """Raised when the World as a whole cannot be reached or started (a single failed call is a `Failure` instead)."""


class UnscoredEpisode(LLMIError, RuntimeError):
    """Raised at the end of an episode without a reward, when the configuration says `unscored="raise"`."""


class TrainingError(LLMIError, RuntimeError):
    """Raised when training cannot go on; the last good checkpoint is kept and named."""


class ToolError(LLMIError):
    """Raised by a tool to say what went wrong with one call. `kind` decides what the document records."""

    kind: FailureKind = "unavailable"
    limit: LimitName | None = None
    lasting: bool = True
    """Whether the same call would end so again, as far as the tool knows. Where not, no cache keeps it, even if it is the policy's fault."""


class BadParams(ToolError, ValueError):
    """Raised when the parameters have the right names and types, yet cannot be carried out."""

    kind: FailureKind = "bad_params"


class CodeRaised(ToolError):
    """Raised when the policy's own code failed; the message is that code's error."""

    kind: FailureKind = "raised"


class LimitExceeded(ToolError):
    """Raised when a call went over a limit; `limit` says which."""

    kind: FailureKind = "limit"

    def __init__(self, message: str, limit: LimitName) -> None:
        super().__init__(message, limit)
        self.message, self.limit = message, limit

    def __str__(self) -> str:
        return self.message


class NothingFound(ToolError, LookupError):
    """Raised when there is nothing to show: a search without hits, code that drew no figure."""

    kind: FailureKind = "empty"


class Refused(ToolError):
    """Raised when a backend understands the call but will not or cannot do it; the message says what it can do."""

    kind: FailureKind = "refused"


class ToolTimeout(ToolError, TimeoutError):
    """Raised when a backend did not answer before its deadline."""

    kind: FailureKind = "timeout"


class ToolUnavailable(ToolError):
    """Raised when a backend cannot be reached or started; the message says why and what to do."""

    kind: FailureKind = "unavailable"


_POLICY_KINDS: frozenset[str] = frozenset(
    {"malformed", "unknown_tool", "bad_params", "raised", "limit", "empty", "refused"}
)
# Exceptions to the rule: an image model that returns nothing has failed, whatever the prompt was.
_FAULTS: dict[tuple[str, str], Fault] = {("diffusion", "empty"): "world", ("edit", "empty"): "world"}


def fault_of(tool: str, kind: FailureKind) -> Fault:
    """Whose fault a failure of `kind` in `tool` is, from a fixed table."""
    return _FAULTS.get((tool, kind), "policy" if kind in _POLICY_KINDS else "world")


def classify(error: BaseException) -> tuple[FailureKind, str, LimitName | None]:
    """Turn whatever escaped a tool into `(kind, message, limit)`: the only place where that is decided.

    A `ToolError` speaks for itself. A time-out is a time-out. Everything else is a defect or an outage of the tool, hence
    `unavailable`: it never costs the policy.
    """
    if isinstance(error, ToolError):
        return error.kind, str(error), error.limit
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "timeout", str(error) or "the tool did not answer in time", None
    return "unavailable", f"{type(error).__name__}: {error}", None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A clause for error messages: `", did you mean 'x'?"` where a known word is near, and the list of known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    hint = f", did you mean {near[0]!r}?" if near else "."
    return f"{hint} Known: {', '.join(names) or 'none'}"


def require(module: str, feature: str, extra: str) -> Any:
    """Import `module`, or raise `MissingExtra` that names the extra to install."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtra(feature, extra, module) from error

"""The contract of a tool.

A tool is an object with a name, a spec and one coroutine. It returns a `Picture` or raises: a `ToolError` where it knows what went
wrong, anything else for a defect or an outage (see `llmi_env.errors`). It keeps no state of an episode: all that it may know
stands in the `ToolContext`, so the same params and context give the same picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from llmi_env.calls import BUILTIN, CODE, DIFFUSION, EDIT, SEARCH, ParamSpec, ToolSpec
from llmi_env.document import Picture

__all__ = [
    "BUILTIN",
    "CODE",
    "DIFFUSION",
    "EDIT",
    "SEARCH",
    "ParamSpec",
    "Tool",
    "ToolContext",
    "ToolSpec",
    "Warming",
]


@dataclass(frozen=True)
class ToolContext:
    """All that a tool may know besides its params.

    Attributes:
        seed: 31-bit seed fixed by task and call; the only source of randomness.
        description: the call's description (what the figure is to show).
        pictures: the pictures the call points at: for `edit`, one; else none.
        deadline: seconds this call may take; the runtime enforces it too.
    """

    seed: int = 0
    description: str = ""
    pictures: Sequence[Picture] = ()
    deadline: float = 60.0


@runtime_checkable
class Tool(Protocol):
    """A tool: search, diffusion, code, edit, or a plugin (entry point group `llmi_env.tools`)."""

    @property
    def spec(self) -> ToolSpec:
        """What the tool is called and takes."""
        ...

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Carry out one call. Must not block the event loop for more than a few milliseconds."""
        ...

    async def aclose(self) -> None:
        """Release processes, threads and models; may be called twice."""
        ...


@runtime_checkable
class Warming(Protocol):
    """A tool that loads something big before its first call: the World waits for that outside of any call's deadline."""

    async def warm(self) -> None:
        """Load what calls need. May be called twice; raises what a call would raise."""
        ...

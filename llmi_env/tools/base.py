"""The contract of a tool.

A tool is an object with a name, a spec and one coroutine. It returns a `Picture` or raises: a `ToolError` where it knows what went
wrong, anything else for a defect or an outage (see `llmi_env.errors`). It keeps no state of an episode: all that it may know
stands in the `ToolContext`, so the same params and context give the same picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from llmi_env.document import Picture


@dataclass(frozen=True)
class ParamSpec:
    """One parameter of a tool: its name, JSON type and what it means, in the words shown to the policy."""

    name: str
    type: type[str] | type[int]
    meaning: str


@dataclass(frozen=True)
class ToolSpec:
    """What a policy is told about a tool, and what the parser checks.

    Attributes:
        name: as written in `source`.
        purpose: one line: what the tool is for.
        params: exactly these parameters, no others.
        example: an example call's params.
    """

    name: str
    purpose: str
    params: tuple[ParamSpec, ...]
    example: Mapping[str, Any] = field(default_factory=dict)


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


SEARCH = ToolSpec(
    "search",
    "finds a real photo or picture of something that exists: places, animals, plants, people, objects",
    (ParamSpec("query", str, "what to look for"),),
    {"query": "barn owl in flight"},
)
DIFFUSION = ToolSpec(
    "diffusion",
    "draws an original, imagined or stylised picture",
    (ParamSpec("prompt", str, "what to draw"),),
    {"prompt": "a blue house on the moon"},
)
CODE = ToolSpec(
    "code",
    "plots a chart from data with Python; plt, np, pd and sns are there, no savefig needed",
    (ParamSpec("code", str, "Python code that draws one figure"),),
    {"code": "plt.bar(['a', 'b'], [3, 5])"},
)
EDIT = ToolSpec(
    "edit",
    "changes an input picture or an earlier figure, counted from 0",
    (ParamSpec("img_index", int, "which picture"), ParamSpec("prompt", str, "what to change")),
    {"img_index": 0, "prompt": "make it grayscale"},
)
BUILTIN: dict[str, ToolSpec] = {spec.name: spec for spec in (SEARCH, DIFFUSION, CODE, EDIT)}
"""The paper's four tools, by name."""

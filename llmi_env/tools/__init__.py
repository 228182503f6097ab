"""Visual tools: the registry that finds them, and one call for notebooks.

A tool is named in one of four ways: a built-in (`search`, `diffusion`, `code`, `edit`), a plugin of the entry point group
`llmi_env.tools`, an import path `"module:Class"`, or an object that fulfils `Tool`. Whatever the name stands for is called with the
options of its configuration as keywords and gives a `Tool`. Nothing is imported until a tool is made.

    >>> from llmi_env.tools import run
    >>> outcome = run("edit", {"img_index": 0, "prompt": "grayscale"}, images=[photo], timeout=10)  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmi_env.errors import ConfigError, LLMIError
from llmi_env.registry import Registry
from llmi_env.tools.base import BUILTIN, ParamSpec, Tool, ToolContext, ToolSpec

if TYPE_CHECKING:
    from PIL import Image

    from llmi_env.document import Outcome, Picture
    from llmi_env.world.in_process import InProcessWorld

__all__ = ["BUILTIN", "TOOLS", "ParamSpec", "Tool", "ToolContext", "ToolSpec", "check_tool", "make_tool", "run"]

TOOLS = Registry(
    what="tool",
    group="llmi_env.tools",
    builtin={
        "search": "llmi_env.tools.search:SearchTool",
        "diffusion": "llmi_env.tools.diffusion:DiffusionTool",
        "code": "llmi_env.tools.code:CodeTool",
        "edit": "llmi_env.tools.edit:EditTool",
        "web-search": "llmi_env.tools.web.search:WebSearchTool",
        "image-server": "llmi_env.tools.image_server:ImageServerTool",
        "image-server-edit": "llmi_env.tools.image_server:ImageServerEditTool",
        "diffusers-edit": "llmi_env.tools.diffusers_edit:DiffusersEditTool",
        "http": "llmi_env.tools.http_tool:HttpTool",
    },
)
"""Every tool that can be named in a configuration."""


def make_tool(name: str, /, **options: Any) -> Tool:
    """Make the tool called `name`.

    Raises:
        ConfigError: no such tool, an option that it does not have, or something that is not a tool.
        MissingExtra: the tool needs an optional dependency that is not installed.
    """
    made = TOOLS.make(name, options)
    if not isinstance(made, Tool):
        raise ConfigError(
            f"tool {name!r}: {type(made).__name__} is not a tool; it needs `spec`, `__call__` and `aclose`"
        )
    return made


def check_tool(name: str, options: Mapping[str, Any]) -> None:
    """Look through the options of a tool without making it: no model is loaded, and no key, file or server is needed.

    A tool that does not ship is not looked at: its class is not imported where it may not be.

    Raises:
        ConfigError: no such tool, or options that it cannot take on any machine; names the option and what was perhaps meant.
    """
    TOOLS.check(name)
    if name not in TOOLS.builtin or (name in BUILTIN and not options):
        return
    factory = TOOLS.find(name)
    TOOLS.bind(name, factory, options)
    check = getattr(factory, "check_options", factory)  # the others cost nothing to make
    try:
        check(**options)
    except LLMIError:
        raise
    except Exception as error:
        raise ConfigError(f"tool {name!r}: its options cannot be used: {type(error).__name__}: {error}") from error


_MOST_KEPT = 2
"""Worlds of `run` for each tool: each may hold a model, or processes."""


@dataclass
class _Kept:
    """A World of `run`, and how many calls it carries out."""

    world: InProcessWorld
    calls: int = 0


_pool: dict[str, OrderedDict[str, _Kept]] = {}
_pool_lock = threading.Lock()


def run(
    tool: str | Tool,
    params: Mapping[str, Any],
    /,
    images: Sequence[Picture | Image.Image] = (),
    *,
    seed: int = 0,
    description: str = "",
    **config: Any,
) -> Outcome:
    """Carry out one tool call and wait for it; works in a plain script and inside a running event loop (notebooks).

    Args:
        tool: name of a tool, or a tool.
        params: parameters of the call, as a policy would write them.
        images: what an `img_index` counts.
        seed: the only source of randomness.
        description: what the picture is to show.
        **config: options of the tool; of each tool the two sets of options used last are kept, and used again. `timeout` seconds, where
            given, bound this call once its turn has come.

    Returns:
        A `Picture`, or a `Failure` that says what went wrong and whose fault it was.

    Raises:
        ConfigError: no such tool or option.
        MissingExtra: the tool needs an optional dependency that is not installed.
    """
    from llmi_env.calls import Call
    from llmi_env.document import Failure
    from llmi_env.world.portal import portal

    pictures = [_as_picture(image) for image in images]
    timeout = config.pop("timeout", None)
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise ConfigError(f"timeout is a number of seconds above 0, not {timeout!r}")
    with _world_of(tool, config) as (world, name):
        if "img_index" in params and pictures:
            index = params["img_index"]
            if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(pictures):
                return Failure.of(name, "bad_params", f"img_index lies in 0..{len(pictures) - 1}, not {index!r}")
            pictures = [pictures[index]]
        call = Call(name, description, dict(params))
        return portal().call(world.run(call, pictures, seed=seed, deadline=timeout))


def _as_picture(image: Picture | Image.Image) -> Picture:
    from llmi_env.document import Picture, Provenance

    return image if isinstance(image, Picture) else Picture(image, Provenance(backend="given"))


@contextmanager
def _world_of(tool: str | Tool, options: Mapping[str, Any]) -> Iterator[tuple[InProcessWorld, str]]:
    """The World that carries the tool's calls out, and the tool's name there."""
    from llmi_env.world.config import WorldConfig
    from llmi_env.world.in_process import InProcessWorld
    from llmi_env.world.portal import portal

    if not isinstance(tool, str):
        if options:
            raise ConfigError(f"options ({', '.join(sorted(options))}) need a tool by name; this one is made already")
        yield InProcessWorld({tool.spec.name: tool}), tool.spec.name
        return
    check_tool(tool, options)
    key = hashlib.sha256(json.dumps(options, sort_keys=True, default=repr).encode()).hexdigest()
    with _pool_lock:
        kept = _pool.setdefault(tool, OrderedDict())
        if key not in kept:
            kept[key] = _Kept(InProcessWorld.from_config(WorldConfig(tools={tool: dict(options)}, judges=[])))
        kept.move_to_end(key)
        mine = kept[key]
        mine.calls += 1
    try:
        yield mine.world, tool
    finally:
        with _pool_lock:
            mine.calls -= 1
            idle = [name for name, one in kept.items() if not one.calls and one is not mine]
            over = [kept.pop(name).world for name in idle[: max(0, len(kept) - _MOST_KEPT)]]
        for world in over:
            portal().call(world.aclose())

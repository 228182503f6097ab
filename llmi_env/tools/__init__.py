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
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmi_env.errors import ConfigError
from llmi_env.registry import Registry
from llmi_env.tools.base import BUILTIN, ParamSpec, Tool, ToolContext, ToolSpec

if TYPE_CHECKING:
    from PIL import Image

    from llmi_env.document import Outcome, Picture
    from llmi_env.world.in_process import InProcessWorld

__all__ = ["BUILTIN", "TOOLS", "ParamSpec", "Tool", "ToolContext", "ToolSpec", "make_tool", "run"]

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


_pool: dict[str, InProcessWorld] = {}
_pool_lock = threading.Lock()


def run(
    tool: str | Tool,
    params: Mapping[str, Any],
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
        **config: options of the tool; tools are kept and used again for the same name and options. `timeout` seconds, where given,
            bound this call once its turn has come.

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
    world, name = _world_for(tool, config)
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


def _world_for(tool: str | Tool, options: Mapping[str, Any]) -> tuple[InProcessWorld, str]:
    from llmi_env.world.config import WorldConfig
    from llmi_env.world.in_process import InProcessWorld

    if not isinstance(tool, str):
        if options:
            raise ConfigError(f"options ({', '.join(sorted(options))}) need a tool by name; this one is made already")
        return InProcessWorld({tool.spec.name: tool}), tool.spec.name
    TOOLS.check(tool)
    key = hashlib.sha256(json.dumps([tool, options], sort_keys=True, default=repr).encode()).hexdigest()
    with _pool_lock:
        if key not in _pool:
            _pool[key] = InProcessWorld.from_config(WorldConfig(tools={tool: dict(options)}, judges=[]))
        return _pool[key], tool

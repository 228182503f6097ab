"""The World: tools and judges behind one protocol (`llmi_env.world.protocol`).

`connect` turns what a configuration says into a World. Which one runs never changes an outcome, only where the models live:

| `world=` | where tools and judges run |
|---|---|
| `"local"` (default) | in one helper process for this machine and user, started on first use |
| `"in_process"` | here, on the event loop that uses them |
| `"http://host:port"`, `"unix:/path"` | in a running `llmi serve` |
| an object | whatever fulfils `World` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.world.protocol import World

if TYPE_CHECKING:
    from llmi_env.world.config import WorldConfig

__all__ = ["World", "connect"]


def connect(world: str | World = "local", config: WorldConfig | None = None) -> World:
    """The World that `world` names; nothing is started or connected before its first use.

    Args:
        world: `local`, `in_process`, an address, or a World.
        config: what a World made here consists of; one that runs elsewhere has its own.

    Raises:
        ConfigError: no such World.
    """
    if not isinstance(world, str):
        if isinstance(world, World):
            return world
        raise ConfigError(f"a World needs `run`, `judge` and `aclose`; {type(world).__name__} lacks one")
    if world == "local":
        from llmi_env.world.local import LocalWorld

        return LocalWorld(config)
    if world == "in_process":
        from llmi_env.world.in_process import InProcessWorld

        return InProcessWorld.from_config(config)
    from llmi_env.world.http import HttpWorld

    if world.startswith(("http://", "https://", "unix:")):
        return HttpWorld(world)
    known = ("local", "in_process", "http://...", "unix:...")
    raise ConfigError(f"no world {world!r}{did_you_mean(world, known)}")

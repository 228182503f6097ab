"""The World: tools and judges behind one protocol (`llmi_env.world.protocol`).

`connect` turns what a configuration says into a World. Which one runs never changes an outcome, only where the models live:

| `world=` | where tools and judges run |
|---|---|
| `"local"` (default) | in one helper process for this machine and user, started on first use |
| `"in_process"` | here, on the event loop that uses them |
| `"http://host:port"`, `"unix:/path"` | in a running `llmi serve` |
| `"record:folder"`, `"in_process+record:folder"` | as without it; what they answer is written down |
| `"recorded:folder"` | nowhere: all answers are taken from what was written down |
| an object | whatever fulfils `World` |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.world.protocol import World

if TYPE_CHECKING:
    from llmi_env.world.config import WorldConfig

__all__ = ["Place", "World", "connect"]


@dataclass(frozen=True)
class Place:
    """What a text says of how a World is reached.

    Attributes:
        base: `local`, `in_process` or an address; "" where there is a recording alone.
        mode: whether what it answers is written down (`record`), or was (`recorded`).
        folder: of the recording.
    """

    base: str
    mode: Literal["", "record", "recorded"] = ""
    folder: Path | None = None

    @classmethod
    def parse(cls, world: str) -> Place:
        """Read `world`.

        Raises:
            ConfigError: there is no such World.
        """
        if world.startswith("recorded:"):
            return cls("", "recorded", _folder(world, world.removeprefix("recorded:")))
        base, plus, folder = world.rpartition("+record:")
        if not plus:
            base, folder = ("local", world.removeprefix("record:")) if world.startswith("record:") else (world, "")
        if base not in ("local", "in_process") and not base.startswith(_ADDRESSES):
            known = ("local", "in_process", "http://...", "unix:...", "record:FOLDER", "recorded:FOLDER")
            raise ConfigError(f"no world {base!r}{did_you_mean(base, known)}, the URL of `llmi serve` among them")
        return cls(base, "record", _folder(world, folder)) if base != world else cls(base)

    @property
    def is_here(self) -> bool:
        """Whether tools and judges are made of what is configured here, rather than elsewhere or not at all."""
        return self.base in ("local", "in_process")

    @property
    def is_elsewhere(self) -> bool:
        """Whether tools and judges are those of a service with a configuration of its own."""
        return bool(self.base) and not self.is_here

    def __str__(self) -> str:
        """As it is written, with the folder's whole path: other processes read it in folders of their own."""
        if self.mode == "recorded":
            return f"recorded:{self.folder}"
        return f"{self.base}+record:{self.folder}" if self.mode else self.base


_ADDRESSES = ("http://", "https://", "unix:")


def _folder(world: str, folder: str) -> Path:
    if not folder:
        raise ConfigError(f"world {world!r} names no folder: 'record:FOLDER' records, 'recorded:FOLDER' replays")
    return Path(folder).expanduser().absolute()


def connect(world: str | World = "local", config: WorldConfig | None = None) -> World:
    """The World that `world` names; nothing is started or connected before its first use.

    Args:
        world: `local`, `in_process`, an address, one of these recorded, a recording, or a World.
        config: what a World made here consists of; one that runs elsewhere has its own, which must have these tools.

    Raises:
        ConfigError: no such World, or no such recording.
    """
    if not isinstance(world, str):
        if isinstance(world, World):
            return world
        raise ConfigError(f"a World needs `run`, `judge` and `aclose`; {type(world).__name__} lacks one")
    place = Place.parse(world)
    if place.folder is None:
        return _connect(place.base, config)
    from llmi_env.world.recorded import RecordedWorld, RecordingWorld

    if place.mode == "recorded":
        return RecordedWorld(place.folder, config)
    return RecordingWorld(_connect(place.base, config), place.folder)


def _connect(base: str, config: WorldConfig | None) -> World:
    if base == "local":
        from llmi_env.world.local import LocalWorld

        return LocalWorld(config)
    if base == "in_process":
        from llmi_env.world.in_process import InProcessWorld

        return InProcessWorld.from_config(config)
    from llmi_env.world.http import HttpWorld

    return HttpWorld(base, tools=() if config is None else config.tools)

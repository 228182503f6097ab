"""Where an environment's World comes from, and which tools it brings.

A `WorldSource` is what the options `world=`, `tools=` and `judges=` come to. Nothing is opened before the first use; environments of one
process that want the same World share it, and it is closed with the last of them.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from llmi_env.calls import BUILTIN, ToolSpec
from llmi_env.errors import ConfigError, MissingExtra
from llmi_env.judges.base import Judge
from llmi_env.tools import TOOLS
from llmi_env.tools.base import Tool
from llmi_env.world import Place, connect
from llmi_env.world.config import WorldConfig
from llmi_env.world.portal import portal
from llmi_env.world.protocol import World
from llmi_env.world.variables import environment_of


def tool_specs(services: WorldConfig) -> dict[str, ToolSpec]:
    """Specs of the tools that a configuration names, without making any tool.

    Raises:
        ConfigError: a plugin whose spec cannot be known from its class.
    """
    specs: dict[str, ToolSpec] = {}
    for name in services.tools:
        use, options = services.tool_use(name)
        if name in BUILTIN and use == name:
            specs[name] = BUILTIN[name]
            continue
        found = TOOLS.find(use)
        spec_of = getattr(found, "spec_of", None)  # of a tool whose configuration says what it takes
        spec = spec_of(name, options) if callable(spec_of) else BUILTIN.get(name, getattr(found, "spec", None))
        if not isinstance(spec, ToolSpec):
            raise ConfigError(
                f"tool {name!r}: its class has no attribute `spec`, so the policy cannot be told of it; give one, "
                "or pass `tools={name: ToolSpec}` to the environment"
            )
        specs[name] = spec
    return specs


def check_extras(services: WorldConfig) -> None:
    """Raise `MissingExtra` when what `services` names needs packages that are not installed; imports nothing."""
    needs: list[tuple[str, str]] = []
    for name in services.tools:
        use, options = services.tool_use(name)
        if use == "diffusion":
            needs += [("the diffusion tool", module) for module in ("torch", "diffusers")]
        elif use == "search" and options.get("semantic", True):
            needs += [("search by meaning", module) for module in ("torch", "transformers")]
    if any(use == "embedded" for use, _ in services.judge_uses()):
        needs += [("the embedded judges", module) for module in ("torch", "transformers")]
    for feature, module in needs:
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(f"{feature} (use config='rules' to do without)", "offline", module)


class _Pool:
    """Worlds opened from configurations: one for all environments of the process that want the same, closed with the last of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._open: dict[str, tuple[World, int]] = {}

    def acquire(self, key: str, where: str, services: WorldConfig) -> World:
        with self._here():
            world, users = self._open.get(key) or (connect(where, services), 0)
            self._open[key] = (world, users + 1)
            return world

    def release(self, key: str) -> None:
        with self._here():
            held = self._open.get(key)
            if held is None:
                return
            world, users = held
            if users > 1:
                self._open[key] = (world, users - 1)
                return
            del self._open[key]
        portal().call(world.aclose())

    def _here(self) -> threading.Lock:
        if (
            self._pid != os.getpid()
        ):  # forked: what is open belongs to the parent, the lock may be held by a thread that is not here
            self.__init__()  # type: ignore[misc]
        return self._lock


_pool = _Pool()


class WorldSource:
    """How to come by a World.

    Args:
        where: a World, or how to reach one (see `llmi_env.world.connect`); a World given as an object stays the caller's to close.
        services: what a World that is opened here is made of; its limits hold for the objects too.
        tools: tools of the caller's, in place of those of that name.
        judges: judges of the caller's, in place of all others.
        specs: names of the tools that a World elsewhere must have, in place of those that `services` names.

    Raises:
        ConfigError: `services` has limits of a tool that there is not.
    """

    def __init__(
        self,
        where: str | World,
        services: WorldConfig,
        tools: Mapping[str, Tool] | None = None,
        judges: Sequence[Judge] = (),
        specs: Collection[str] = (),
    ) -> None:
        self._where, self._tools, self._judges = where, dict(tools or {}), tuple(judges)
        self._place = Place.parse(where) if isinstance(where, str) else None
        services.check_limits((*self._tools, *specs))
        self._limits = services
        if self._place is not None:
            # What the objects take the place of need not be made, or be there, at all.
            services = services.without(self._tools) if self._tools else services
            services = services.model_copy(update={"judges": []}) if judges else services
            if specs and self._place.is_elsewhere:
                services = services.model_copy(update={"tools": {n: {} for n in specs if n not in self._tools}})
        self.services = services
        """What a World opened here is made of: only what no object stands in for."""
        self._key = _key(self._place, services)
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._base: World | None = None
        self._overlay: World | None = None

    @property
    def tools(self) -> dict[str, ToolSpec]:
        """Specs of the tools at hand.

        Raises:
            ConfigError: a plugin whose spec cannot be known from its class.
        """
        if isinstance(self._where, str):
            specs = tool_specs(self.services)
        else:
            names = getattr(self._where, "tool_names", None)
            specs = dict(BUILTIN) if names is None else {name: BUILTIN[name] for name in names if name in BUILTIN}
        return specs | {name: tool.spec for name, tool in self._tools.items()}

    def check_extras(self) -> None:
        """Raise `MissingExtra` when a World that is to be opened here needs packages that are not installed."""
        if self._place is not None and self._place.is_here:
            check_extras(self.services)

    def acquire(self) -> World:
        """The World; `release` it when it is needed no more."""
        base = _pool.acquire(self._key, self._where, self.services) if isinstance(self._where, str) else self._where
        if not self._tools and not self._judges:
            return base
        if self._pid != os.getpid():
            self._forget()
        if self._overlay is None or self._base is not base:
            from llmi_env.world.overlay import OverlayWorld
            from llmi_env.world.recorded import laid_over

            self._base = base
            self._overlay = laid_over(base, lambda world: OverlayWorld(world, self._tools, self._judges, self._limits))
        return self._overlay

    def release(self) -> None:
        """Let the World go; it is closed with the last user of this process."""
        if isinstance(self._where, str):
            _pool.release(self._key)

    def __deepcopy__(self, memo: Any) -> WorldSource:
        # Worlds, tools and judges given as objects may hold models: copies of an environment share them.
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_base": None, "_overlay": None}


def _key(place: Place | None, services: WorldConfig) -> str:
    """Names the World that environments share. One whose key of a service has been set since wants a new helper, which reads it."""
    if place is None:
        return ""
    # Python's own hash is salted in each process: the values cannot be found out from it.
    environment = hash(tuple(sorted(environment_of(services).items()))) if place.base == "local" else ""
    return f"{place}:{services.digest()}:{environment}"

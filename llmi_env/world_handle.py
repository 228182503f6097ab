"""A World as synchronous code needs it: opened late, shared within the process, gone after a fork.

The environment holds a `WorldHandle`. It opens nothing before the first call or judgment, keeps no thread and no event loop (those belong to
`llmi_env.world.portal`), and starts afresh in a forked child and after pickling: calls that were in flight are started again from the
requests that the episode still holds.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llmi_env.calls import BUILTIN, ToolSpec
from llmi_env.document import Document, Outcome
from llmi_env.episode import CallRequest, Episode
from llmi_env.errors import ConfigError, MissingExtra
from llmi_env.task import Task
from llmi_env.tools import TOOLS
from llmi_env.world import connect
from llmi_env.world.config import WorldConfig
from llmi_env.world.portal import portal
from llmi_env.world.protocol import Judgments, World

if TYPE_CHECKING:
    from llmi_env.world.runtime import CallScheduler


def tool_specs(services: WorldConfig) -> dict[str, ToolSpec]:
    """Specs of the tools that a configuration names, without making any tool.

    Raises:
        ConfigError: a plugin whose spec cannot be known from its class.
    """
    specs: dict[str, ToolSpec] = {}
    for name in services.tools:
        if name in BUILTIN:
            specs[name] = BUILTIN[name]
            continue
        use, _ = services.tool_use(name)
        spec = getattr(TOOLS.find(use), "spec", None)
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


# ---------------------------------------------------------------------------------------------------------- shared in a process


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

    def release(self, key: str, world: World) -> None:
        with self._here():
            held = self._open.get(key)
            if held is None or held[0] is not world:
                return
            if held[1] > 1:
                self._open[key] = (world, held[1] - 1)
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


class WorldHandle:
    """One episode's access to a World, from synchronous code.

    Args:
        world: a World, or how to reach one (see `llmi_env.world.connect`); a World given as an object stays the caller's to close.
        services: what a World that is opened here is made of.
    """

    def __init__(self, world: str | World, services: WorldConfig) -> None:
        self._source = world
        self._services = services
        self._key = f"{world}:{services.digest()}" if isinstance(world, str) else ""
        self._drop()

    def _drop(self) -> None:
        self._pid = os.getpid()
        self._world: World | None = None
        self._calls: CallScheduler | None = None
        self._started: set[int] = set()

    def _current(self) -> World:
        if self._pid != os.getpid():
            self._drop()
        if self._world is None:
            source = self._source
            self._world = _pool.acquire(self._key, source, self._services) if isinstance(source, str) else source
        return self._world

    def start(self, episode: Episode) -> None:
        """Start the calls that the episode awaits and that do not run yet, without waiting for them."""
        world = self._current()
        fresh = [request for index, request in episode.pending.items() if index not in self._started]
        if not fresh:
            return
        from llmi_env.world.runtime import CallScheduler

        if self._calls is None:
            self._calls = CallScheduler(world)
        sources: dict[int, Outcome] = {}
        for request in fresh:
            # What an edit points at may have failed at once, or have come before a fork or a pickle.
            if request.depends_on is not None and request.depends_on not in self._started:
                outcome = episode.figure(request.depends_on).outcome
                if outcome is not None:
                    sources[request.depends_on] = outcome
        portal().call(_start(self._calls, fresh, sources))
        self._started.update(request.index for request in fresh)

    def finish(self, episode: Episode) -> None:
        """Wait for every outcome that the episode awaits, and deliver it.

        Raises:
            WorldError: the World cannot be reached at all.
        """
        pending = episode.pending
        if not pending:
            return
        self.start(episode)
        assert self._calls is not None
        outcomes = portal().call(self._calls.wait_all())
        for index in pending:
            episode.deliver(index, outcomes[index])

    def judge(self, document: Document, task: Task) -> Judgments:
        """Judge a finished document.

        Raises:
            WorldError: the World cannot be reached at all.
        """
        return portal().call(self._current().judge(document, task))

    def cancel(self) -> None:
        """Cancel the calls in flight; a new episode may begin."""
        calls, self._calls, self._started = self._calls, None, set()
        if calls is not None and self._pid == os.getpid():
            portal().call(_cancel(calls))

    def close(self) -> None:
        """Cancel the calls in flight and let the World go; used again, the handle opens it again."""
        if self._pid == os.getpid():
            self.cancel()
            if self._world is not None and isinstance(self._source, str):
                _pool.release(self._key, self._world)
        self._drop()

    def __deepcopy__(self, memo: Any) -> WorldHandle:
        # A World given as an object may hold models: copies of an environment share it.
        return WorldHandle(self._source, self._services)

    def __getstate__(self) -> dict[str, Any]:
        return {"_source": self._source, "_services": self._services, "_key": self._key}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._drop()


async def _start(calls: CallScheduler, requests: Iterable[CallRequest], sources: Mapping[int, Outcome]) -> None:
    for index, outcome in sources.items():
        calls.settle(index, outcome)
    for request in requests:
        calls.start(request)


async def _cancel(calls: CallScheduler) -> None:
    async with calls:
        pass

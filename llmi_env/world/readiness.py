"""Readiness of a service: whether its tools and judges are made and their models loaded, told apart from being alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from pydantic import BaseModel, ConfigDict

from llmi_env.world.in_process import InProcessWorld

__all__ = ["Readiness", "Ready"]

_READY = "ready"
_AGAIN = 30.0
"""Seconds after which what failed is tried again, when somebody asks."""
_MOMENT = 0.5
"""Seconds that an answer waits for what is quickly made."""
_LONGEST = 300


class Ready(BaseModel):
    """Answer of `GET /ready`; `parts` says of each tool and judge `ready`, `loading`, or why not, to those who have the token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ready: bool
    stopping: bool
    parts: dict[str, str]


class Readiness:
    """Makes a World's tools and judges, and knows how far that is.

    Args:
        world: the World that is served.
    """

    def __init__(self, world: InProcessWorld) -> None:
        self._world = world
        self._parts: dict[str, str] = {}
        self._work: asyncio.Task[None] | None = None
        self._ended = -_AGAIN

    @property
    def ready(self) -> bool:
        """Whether everything was made."""
        return bool(self._work) and all(state == _READY for state in self._parts.values())

    @property
    def parts(self) -> dict[str, str]:
        """State of each tool and judge: `ready`, `loading`, or the error."""
        return dict(self._parts)

    @property
    def told(self) -> str | None:
        """One line on what came of it, once it has ended."""
        if self._work is None or not self._work.done():
            return None
        failed = [f"{name}: {state}" for name, state in self._parts.items() if state != _READY]
        return f"not ready: {'; '.join(failed)}" if failed else f"ready: {', '.join(self._parts) or 'nothing to load'}"

    def begin(self) -> None:
        """Make what is not made, in the background; where that has failed, again after half a minute."""
        if self.ready or (self._work is not None and not self._work.done()):
            return
        if time.monotonic() - self._ended < _AGAIN:
            return
        makers = {name: maker for name, maker in self._world.makers().items() if self._parts.get(name) != _READY}
        self._parts.update(dict.fromkeys(makers, "loading"))
        self._work = asyncio.get_running_loop().create_task(self._make_all(makers), name="warm-up")

    async def settle(self, seconds: float = _MOMENT) -> None:
        """Begin, and wait a moment for what is quickly made."""
        self.begin()
        if self._work is not None and not self._work.done():
            await asyncio.wait({self._work}, timeout=seconds)

    async def aclose(self) -> None:
        """Give up what is not made yet."""
        if self._work is not None and not self._work.done():
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _make_all(self, makers: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        try:
            await asyncio.gather(*(self._make(name, maker) for name, maker in makers.items()))
        finally:
            self._ended = time.monotonic()

    async def _make(self, name: str, maker: Callable[[], Awaitable[object]]) -> None:
        try:
            await maker()
        except Exception as error:
            self._parts[name] = f"{type(error).__name__}: {error}"[:_LONGEST]
        else:
            self._parts[name] = _READY

"""Carrying out the calls of one episode, without barriers.

A call starts when it is requested; one that points at an earlier figure waits for that figure and for nothing else (a tool that is to bring
other pictures than before, for those that it brought). The policy may
write on meanwhile. Outcomes come back in the order in which they land::

    async with CallScheduler(world) as calls:
        for request in episode.write(text):
            calls.start(request)
        async for index, outcome in calls.completed():
            episode.deliver(index, outcome)

Dropped half-way (`cancel`, or leaving the `with` block), it cancels what still runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from llmi_env.document import Failure, Outcome, Picture
from llmi_env.episode import CallRequest
from llmi_env.world.protocol import World

__all__ = ["CallScheduler"]


class CallScheduler:
    """Runs the calls of one episode against a World, on the running event loop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: dict[int, asyncio.Task[Outcome]] = {}
        self._settled: dict[int, Outcome] = {}
        self._running: set[int] = set()
        self._landed: dict[int, None] = {}  # in the order in which they landed, until taken
        self._news = asyncio.Event()

    @property
    def pending(self) -> frozenset[int]:
        """Figures whose call was started and has not landed."""
        return frozenset(self._running)

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """Every outcome so far, by figure."""
        return dict(sorted(self._settled.items()))

    def settle(self, index: int, outcome: Outcome) -> None:
        """Make known an outcome that was not run here (replayed, or a call that could not be read), so that edits find it."""
        self._settled[index] = outcome

    def start(self, request: CallRequest) -> None:
        """Start a call. It begins at once, unless it points at a figure that is still pending.

        Raises:
            ValueError: the call of this figure was started before.
        """
        if request.index in self._tasks:
            raise ValueError(f"the call of figure {request.index} was started before")
        task = asyncio.get_running_loop().create_task(self._carry_out(request), name=f"figure {request.index}")
        self._tasks[request.index] = task
        self._running.add(request.index)
        task.add_done_callback(lambda done: self._land(request.index, done))

    async def completed(self) -> AsyncIterator[tuple[int, Outcome]]:
        """Outcomes as they land, each once; ends when none is pending, and may be called again after more were started.

        Raises:
            WorldError: the World cannot be reached at all; also whatever else it raises.
        """
        while self._landed or self._running:
            while self._landed:
                yield self._take(next(iter(self._landed)))
            if self._running:
                self._news.clear()
                await self._news.wait()

    def take_landed(self) -> list[tuple[int, Outcome]]:
        """The outcomes that have landed and were not taken yet, without waiting."""
        return [self._take(index) for index in list(self._landed)]

    async def wait_for(self, index: int) -> Outcome:
        """Wait for one figure; it counts as taken."""
        outcome = await asyncio.shield(self._tasks[index])
        self._landed.pop(index, None)
        return outcome

    async def wait_all(self) -> dict[int, Outcome]:
        """Wait for everything that was started; all outcomes by figure, those taken before included."""
        async for _ in self.completed():
            pass
        return self.outcomes

    def cancel(self) -> None:
        """Cancel every call that is still running."""
        for task in self._tasks.values():
            task.cancel()

    async def __aenter__(self) -> Self:
        """Use the scheduler for the length of a block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is left and wait until it is gone."""
        self.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _land(self, index: int, task: asyncio.Task[Outcome]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._settled[index] = task.result()
        self._running.discard(index)
        self._landed[index] = None
        self._news.set()

    def _take(self, index: int) -> tuple[int, Outcome]:
        del self._landed[index]
        return index, self._tasks[index].result()

    async def _carry_out(self, request: CallRequest) -> Outcome:
        pictures = request.inputs
        if request.depends_on is not None:
            source = await self._source(request.depends_on)
            if not isinstance(source, Picture):
                return _without_source(request, source)
            pictures = (*pictures, source)
        for earlier in [await self._source(index) for index in request.earlier]:
            pictures = (*pictures, earlier) if isinstance(earlier, Picture) else pictures
        return await self._world.run(request.call, pictures, seed=request.seed)

    async def _source(self, index: int) -> Outcome | None:
        task = self._tasks.get(index)
        # shielded: an edit that is dropped must not take its source with it
        return self._settled.get(index) if task is None else await asyncio.shield(task)


def _without_source(request: CallRequest, source: Failure | None) -> Failure:
    tool, index = request.call.tool, request.depends_on
    if source is not None and source.fault == "world":
        return Failure.of(tool, "unavailable", f"figure {index} has no picture, through no fault of the document")
    why = f" ({source.kind})" if source is not None else ""
    return Failure.of(tool, "bad_params", f"figure {index} has no picture{why}: it cannot be changed")

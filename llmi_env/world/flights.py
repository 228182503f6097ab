"""Work that several ask for and that is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Grounded(Exception):
    """Raised to those who wait when all work is given up (`Flights.cancel`)."""


class Flights(Generic[T]):
    """Work in flight, by key: whoever asks for the same waits for the same result. Belongs to one event loop."""

    def __init__(self) -> None:
        self._flying: dict[str, _Flight[T]] = {}

    async def join(self, key: str, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the work called `key`; `start` begins it where it is not in flight. It ends when nobody waits for it any more.

        Raises:
            Grounded: the work was given up by `cancel`.
        """
        flight = self._flying.get(key)
        if flight is None:
            flight = self._flying[key] = _Flight(asyncio.ensure_future(start()))
            flight.task.add_done_callback(partial(self._forget, key, flight))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if flight.task.cancelled() and me is not None and not me.cancelling():
                raise Grounded from None
            raise
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()

    async def cancel(self) -> None:
        """Give up everything and wait until it has ended."""
        tasks = [flight.task for flight in self._flying.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, key: str, flight: _Flight[T], _done: object = None) -> None:
        if self._flying.get(key) is flight:
            del self._flying[key]


class _Flight(Generic[T]):
    def __init__(self, task: asyncio.Future[T]) -> None:
        self.task = task
        self.waiting = 0

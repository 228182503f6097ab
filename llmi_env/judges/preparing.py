"""The loading of a judge's models, which may take long, fail or hang, and holds nobody up beyond its time."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from llmi_env.judges.base import Judge
from llmi_env.world.threads import in_thread


class Preparation:
    """A judge's `prepare`: called once, in a thread of its own, and again after it has failed.

    Args:
        judge: whose models; one without `prepare` is ready.
        seconds: how long documents wait for it, counted from its beginning. It goes on beyond that: later documents may find it done.
    """

    def __init__(self, judge: Judge, seconds: float) -> None:
        self._judge, self._seconds = judge, seconds
        self._lock = threading.Lock()
        self._work: Future[None] | None = None
        self._begun = 0.0

    def begin(self) -> Future[None] | None:
        """Begin it, where it has not begun or has failed; `None` for a judge that has nothing to prepare."""
        prepare = getattr(self._judge, "prepare", None)
        if not callable(prepare):
            return None
        with self._lock:
            if self._work is None or (self._work.done() and self._work.exception() is not None):
                self._begun = time.monotonic()
                self._work = in_thread(prepare, "loading a judge")
            return self._work

    async def ready(self) -> None:
        """Wait until the models are there.

        Raises:
            TimeoutError: they are not, after that time; says so.
            Exception: what `prepare` raised.
        """
        work = self.begin()
        if work is None:
            return
        try:
            if not work.done():
                await asyncio.wait_for(asyncio.wrap_future(work), self._left)
        except TimeoutError:
            if not work.done():
                raise TimeoutError(f"the judge has not loaded its models within {self._seconds:g} seconds") from None
        work.result()

    def wait(self) -> None:
        """The same from a thread; that it failed or takes too long is left to `ready` to say."""
        work = self._work or self.begin()
        if work is not None:
            with suppress(Exception):
                work.result(self._left)

    @property
    def _left(self) -> float:
        return max(0.0, self._begun + self._seconds - time.monotonic())

    def __reduce__(self) -> tuple[Any, ...]:
        return Preparation, (self._judge, self._seconds)

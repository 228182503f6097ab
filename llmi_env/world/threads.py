"""Threads for work that may never end: neither an event loop nor the end of the process waits for them, as both do for pools."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class OneThread:
    """Carries out one piece of work after another in a thread of its own, which starts with the first.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._since: float | None = None

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have work done after all that was given before. What is cancelled before its turn is left out; what runs cannot be stopped."""
        future: Future[T] = Future()
        self._work.put((future, work))
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        return future

    @property
    def busy(self) -> float:
        """Seconds that it has been at its present piece of work; 0 where it has none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        """End after what was given so far; returns at once."""
        self._work.put(None)

    def _run(self) -> None:
        while (given := self._work.get()) is not None:
            future, work = given
            if not future.set_running_or_notify_cancel():
                continue
            self._since = time.monotonic()
            try:
                result = work()
            except Exception as error:
                self._since = None
                future.set_exception(error)
            except BaseException as error:  # it may not end the process from here
                self._since = None
                future.set_exception(RuntimeError(f"it wanted to end the process: {error!r}"))
            else:
                self._since = None
                future.set_result(result)
            del given, future, work


def in_thread(work: Callable[[], T], name: str) -> Future[T]:
    """Have work done in a new thread."""
    thread = OneThread(name)
    future = thread.submit(work)
    thread.close()
    return future

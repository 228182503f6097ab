"""From synchronous code into asyncio: one background event loop for each process.

The environment is synchronous, the World is not. A `Portal` runs coroutines on the loop of a daemon thread that all callers of the
process share, so it also works where the caller sits inside a running loop (a notebook). A forked child makes its own: threads do
not survive a fork, and the parent's loop must not be touched there.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Portal", "portal"]

T = TypeVar("T")


class Portal:
    """A thread with an event loop, started on first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start `work` on the portal's loop; the future may be waited for or cancelled from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._running_loop())

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run `work` and wait for its result. Interrupted (Ctrl-C, `TimeoutError`), it cancels `work`.

        Raises:
            RuntimeError: called from the portal's own thread, where waiting would never end.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("Portal.call inside the portal's own loop would wait for itself: await the coroutine")
        return self.wait(self.submit(work), timeout)

    def wait(self, future: concurrent.futures.Future[T], timeout: float | None = None) -> T:
        """Wait for what `submit` started. Interrupted (Ctrl-C, `TimeoutError`), it cancels the work.

        Raises:
            RuntimeError: called from the portal's own thread, where waiting would never end.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("Portal.wait inside the portal's own loop would wait for itself: await the coroutine")
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def soon(self, work: Callable[..., object], *args: Any) -> None:
        """Run a function on the loop's thread, soon and in the order asked for, without waiting."""
        self._running_loop().call_soon_threadsafe(work, *args)

    def close(self) -> None:
        """Cancel what runs and end the thread; the portal starts again when it is used again."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        with contextlib.suppress(concurrent.futures.TimeoutError):
            asyncio.run_coroutine_threadsafe(_drain(), loop).result(timeout=2.0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=2.0)
        if not thread.is_alive():
            loop.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                loop = asyncio.new_event_loop()
                ready = threading.Event()

                def serve() -> None:
                    asyncio.set_event_loop(loop)
                    loop.call_soon(ready.set)
                    loop.run_forever()

                self._thread = threading.Thread(target=serve, name="llmi-portal", daemon=True)
                self._thread.start()
                ready.wait()
                self._loop = loop
            return self._loop


async def _drain() -> None:
    me = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not me]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


_lock = threading.Lock()
_portal: Portal | None = None
_owner: int | None = None
_abandoned: list[Portal | None] = []
"""Portals of a parent process: never closed and never collected here, since their selector is shared with the parent."""


def portal() -> Portal:
    """The portal of this process."""
    global _portal, _owner
    with _lock:
        if _portal is None or _owner != os.getpid():
            _abandoned.append(_portal)
            _portal, _owner = Portal(), os.getpid()
        return _portal


def _after_fork() -> None:
    # A lock that another thread held at the moment of the fork would stay locked for ever in the child.
    global _lock
    _lock = threading.Lock()


def _at_exit() -> None:
    if _portal is not None and _owner == os.getpid():
        _portal.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)

"""Work of tools and judges that can neither end the process nor hold anybody up beyond its time."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

_log = logging.getLogger(__name__)
T = TypeVar("T")


async def guarded(work: Awaitable[T]) -> T:
    """The work of a tool or judge, which cannot end the process or the loop: what would do so is an error like any other."""
    try:
        return await work
    except SystemExit as error:
        raise RuntimeError(f"it wanted to end the process: SystemExit({error.code!r})") from None
    except KeyboardInterrupt:
        if threading.current_thread() is threading.main_thread():
            raise  # a real one
        raise RuntimeError("it raised KeyboardInterrupt") from None
    except asyncio.CancelledError:
        me = asyncio.current_task()
        if me is not None and me.cancelling():
            raise
        raise RuntimeError("it raised CancelledError although nobody had cancelled it") from None


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The work's result within a time; after it the work is cancelled and left alone, also where it will not end.

    Raises:
        TimeoutError: it took longer.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_forgotten)
    if not done:
        raise TimeoutError
    return task.result()


def _forgotten(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.info("work that was given up ended with %s: %s", type(error).__name__, error)

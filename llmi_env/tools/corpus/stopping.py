"""Ctrl-C that ends a long work where nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stoppable"]


@contextmanager
def stoppable(said: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; the second ends the process as ever.

    Args:
        said: called at the first one, from the signal handler.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only there are signals handled
        yield event
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def stop(number: int, frame: FrameType | None) -> None:
        event.set()
        restore()
        if said is not None:
            said()

    for number in before:
        signal.signal(number, stop)
    try:
        yield event
    finally:
        restore()

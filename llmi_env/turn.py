"""One user at a time, for objects that are not made for more."""

from __future__ import annotations

import threading

from llmi_env.errors import ConcurrentUse


class Turn:
    """Refuses a second user while there is one. Copies and pickles begin free.

    Used as `with turn.take(): ...`. Taken in the `with` statement itself, the lock is let go whenever the block is left, also by a Ctrl-C
    that comes at the very moment of taking it; of two threads that come at the same moment, one may wait.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def take(self) -> threading.Lock:
        """The free lock, to be entered by `with`.

        Raises:
            ConcurrentUse: it is taken.
        """
        if self.lock.locked():
            raise busy()
        return self.lock

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        return Turn, ()


def busy() -> ConcurrentUse:
    """The error to raise."""
    return ConcurrentUse(
        "this environment is in the middle of something: of another thread's (give each thread its own), or of this one's (a signal "
        "handler, tool, judge or reward term must not use it)"
    )

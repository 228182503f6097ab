"""How many threads torch computes with, for a while and in one thread of ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_mine = threading.local()
_inside = 0
_before = 0


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch compute with `count` threads in the calling thread; `None`, or within another one, changes nothing.

    What many threads of ours do side by side, each does best on one; and the number can move the last bits of a result. Torch hands the number
    on to threads that start later, so each of those inside puts back what stood before the first of them.
    """
    global _inside, _before
    import torch

    if count is None or getattr(_mine, "limited", False):
        yield
        return
    with _lock:
        if not _inside:
            _before = torch.get_num_threads()
        _inside += 1
        before = _before
    _mine.limited = True
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _mine.limited = False
        with _lock:
            _inside -= 1

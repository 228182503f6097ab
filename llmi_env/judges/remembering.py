"""What was found of a picture is remembered for as long as it is likely to be asked again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from cachetools import LRUCache, cached

from llmi_env.document import Picture

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Remembering(Protocol[R_co]):
    """A function of pictures with a memory."""

    def __call__(self, picture: Picture, /) -> R_co:
        """What is found of the picture."""
        ...

    def cache_clear(self) -> None:
        """Forget all."""
        ...


def remembering(size: int, function: Callable[[Picture], R]) -> Remembering[R]:
    """The function with a memory of the last `size` pictures, by their pixels.

    From several threads pictures are looked at side by side, at worst the same one twice.
    """
    with_memory: Remembering[R] = cached(LRUCache(size), key=_digest, lock=threading.Lock())(function)
    return with_memory


def _digest(picture: Picture) -> str:
    return picture.digest

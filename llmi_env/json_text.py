"""Reading JSON of others."""

from __future__ import annotations

from collections import Counter
from typing import Any


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which no field stands twice, as `object_pairs_hook` of readers: of two, they would keep the last and say nothing.

    Raises:
        ValueError: one does.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the field {twice!r:.60} stands twice in one object")
    return found

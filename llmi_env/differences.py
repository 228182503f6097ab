"""How two configurations differ, key by key: what goes on must be what was begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Difference", "differences", "flat"]


class Difference(NamedTuple):
    """A key whose values are not the same; `None` stands for one that is not there."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.before!r} then, {self.now!r} now"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Every difference of two nested configurations, in the order of their dotted keys."""
    first, second = dict(flat(before)), dict(flat(now))
    for key in sorted(first.keys() | second.keys()):
        if first.get(key) != second.get(key):
            yield Difference(key, first.get(key), second.get(key))


def flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Its values by dotted keys; a mapping with nothing in it is a value.

    >>> dict(flat({"limits": {"calls": 3}, "world": {}}))
    {'limits.calls': 3, 'world': {}}
    """
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

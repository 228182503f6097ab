"""How many calls of a tool may run at a time and begin in a stretch of time."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from llmi_env.errors import ConfigError

__all__ = ["Queue", "Rate"]

_UNITS = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0, "day": 86400.0}
_FORM = re.compile(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*")
_MOST_CALLS = 1_000_000


@dataclass(frozen=True)
class Rate:
    """At most `calls` calls begin in any stretch of `seconds`."""

    calls: int
    seconds: float

    @classmethod
    def parse(cls, told: str | Sequence[float]) -> Rate:
        """Read `"10/s"`, `"60/min"`, `"5 / 2 s"`, `"200/day"`, or calls and seconds as two numbers.

        Raises:
            ConfigError: it is no rate.
        """
        calls = seconds = 0.0
        if isinstance(told, str):
            if (found := _FORM.fullmatch(told)) and found[3] in _UNITS:
                calls, seconds = float(found[1]), float(found[2] or 1) * _UNITS[found[3]]
        elif len(told) == 2:
            calls, seconds = told
        if not (1 <= calls <= _MOST_CALLS and calls == int(calls) and 0 < seconds < float("inf")):
            raise ConfigError(
                f"a rate is e.g. '10/s', '60/min', '1/2s', '200/day', or whole calls and seconds, [10, 1]; not {told!r}. "
                f"Units: {', '.join(_UNITS)}"
            )
        return cls(int(calls), seconds)


class Queue:
    """A tool's places and its rates: who comes first is served first. Belongs to one event loop.

    A rate holds for every stretch of its length, wherever it begins, as services count: a leaky bucket would let twice as many through in the
    first.

    Args:
        places: calls at a time.
        rates: all of them hold.
    """

    def __init__(self, places: int, rates: Sequence[Rate] = ()) -> None:
        self.places = asyncio.Semaphore(places)
        self._rates = tuple(rates)
        self._begun: deque[float] = deque(maxlen=max((rate.calls for rate in rates), default=1))
        self._paused_until = 0.0
        self._head = asyncio.Lock()

    async def begin(self) -> None:
        """Wait until one more request may be sent, and count it; nothing is counted where the wait is cancelled."""
        async with self._head:
            while (wait := self._due() - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self._begun.append(time.monotonic())

    def pause(self, seconds: float) -> None:
        """Let nothing begin for so long: the service has asked for it."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _due(self) -> float:
        full = (self._begun[-rate.calls] + rate.seconds for rate in self._rates if len(self._begun) >= rate.calls)
        return max(self._paused_until, *full, 0.0)

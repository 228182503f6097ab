"""Outcomes of earlier calls, kept in memory by content and bounded in size."""

from __future__ import annotations

from collections import OrderedDict

from llmi_env.document import Failure, Outcome

_FAILURE_BYTES = 1_000


class OutcomeCache:
    """The outcomes used last, up to `max_bytes` of pixels.

    Kept are pictures and failures that would come again. Those of the world are not, nor is a time limit: it may have been met only
    because the machine was busy.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, Outcome] = OrderedDict()

    def get(self, key: str) -> Outcome | None:
        """The outcome kept under `key`, or `None`."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: str, outcome: Outcome) -> None:
        """Keep `outcome`, and let go of what was used longest ago."""
        if isinstance(outcome, Failure) and (outcome.fault == "world" or outcome.limit == "time"):
            return
        if key in self._kept:
            self._bytes -= _size(self._kept.pop(key))
        self._kept[key] = outcome
        self._bytes += _size(outcome)
        while self._bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _size(dropped)

    def __len__(self) -> int:
        return len(self._kept)


def _size(outcome: Outcome) -> int:
    if isinstance(outcome, Failure):
        return _FAILURE_BYTES
    return outcome.image.width * outcome.image.height * len(outcome.image.getbands())

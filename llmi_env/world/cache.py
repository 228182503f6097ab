"""Outcomes of earlier calls, kept in memory by content and bounded in size; and which outcomes may be kept at all."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import astuple

from llmi_env.calls import Call
from llmi_env.document import Failure, Outcome, Picture

_FAILURE_BYTES = 1_000


def lasting(outcome: Outcome) -> bool:
    """Whether the same call would end so again: a picture, or a failure of the policy's.

    The world's failures would not, nor a time limit: it may have been met only because the machine was busy. Every cache and every recording
    of outcomes asks here.
    """
    return isinstance(outcome, Picture) or (outcome.fault != "world" and outcome.limit != "time")


def call_key(call: Call, pictures: Sequence[Picture], seed: int) -> str:
    """SHA-256 of all that a tool is given: the call with its description, which it may use, the pictures that it points at, and the seed."""
    try:
        params = json.dumps(dict(call.params), sort_keys=True)
    except (ValueError, TypeError, RecursionError):
        params = "{}"  # beyond JSON: it cannot be sent to a World either, and no tool takes it
    shown = [[picture.digest, *astuple(picture.provenance)] for picture in pictures]
    body = json.dumps([call.tool, call.description, params, shown, seed])
    return hashlib.sha256(body.encode()).hexdigest()


class OutcomeCache:
    """The lasting outcomes used last, up to `max_bytes` of pixels and what is attached to them."""

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
        """Keep `outcome` if it is a lasting one, and let go of what was used longest ago."""
        if not lasting(outcome):
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
    attached = 0 if outcome.attachment is None else len(outcome.attachment.data)
    return outcome.image.width * outcome.image.height * len(outcome.image.getbands()) + attached

"""What tools take: counts, times and kinds of failures, for operators and for the report of a run.

Two sources. A World counts its own calls as they pass (`ToolTally`, read as `ToolFigures`): waiting, running, shared and kept ones, too. Where
the World is elsewhere, documents tell the rest (`delivered`): a picture carries the seconds that it took, a failure its kind. None of it is
ever part of an observation or of `info`: clock times differ from run to run.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmi_env.document import Document, Failure, Outcome, Picture

__all__ = ["Delivered", "Durations", "ToolFigures", "ToolTally", "delivered", "tool_metrics"]

_SHORTEST, _LONGEST = 1e-4, 1e6
_STEP = math.log(1.02)
SHARES = (0.5, 0.9, 0.99)
"""The percentiles that are told, as shares."""

Percentiles = tuple[float, float, float]


@dataclass(frozen=True)
class ToolFigures:
    """What one tool of a World has done since the World was made.

    Attributes:
        calls: asked for so far, those that still wait or run included.
        cached: answered from memory or from disk.
        shared: answered by the same call that was in flight already.
        retries: further tries after a failure of the world's.
        failures: answers without a picture, by kind; a kept or shared failure counts for each call that it answers.
        running: being carried out now.
        waiting: waiting for a place or for the rate now.
        seconds: of carrying a call out, retries included: 50th, 90th and 99th percentile; `None` before the first.
        queue_seconds: of waiting for a place and the rate, likewise.
    """

    calls: int
    cached: int
    shared: int
    retries: int
    failures: Mapping[str, int]
    running: int
    waiting: int
    seconds: Percentiles | None
    queue_seconds: Percentiles | None


class Durations:
    """Any number of durations in bounded memory: counts in buckets that are 2 % wide, so percentiles are right to 1 %.

    Shorter than 0.1 ms counts as 0.1 ms, longer than a million seconds as that.
    """

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        bounded = min(max(seconds, _SHORTEST), _LONGEST)
        self._buckets[math.floor(math.log(bounded / _SHORTEST) / _STEP)] += 1

    def percentiles(self) -> Percentiles | None:
        """The durations that 50, 90 and 99 % do not exceed, in seconds; `None` before the first."""
        total = self._buckets.total()
        if not total:
            return None
        found = []
        passed, buckets = 0, iter(sorted(self._buckets.items()))
        bucket = 0
        for share in SHARES:
            while passed < share * total:
                bucket, count = next(buckets)
                passed += count
            found.append(_SHORTEST * math.exp((bucket + 0.5) * _STEP))
        return found[0], found[1], found[2]


class ToolTally:
    """Counts one tool's calls while they pass."""

    def __init__(self) -> None:
        self.calls = self.cached = self.shared = self.retries = self.running = self.waiting = 0
        self._failures: Counter[str] = Counter()
        self._seconds, self._queue_seconds = Durations(), Durations()

    def taken_over(self) -> ToolTally:
        """The same counts for another event loop, where nothing runs or waits yet; the old one's calls may still end, or never."""
        new = copy.copy(self)
        new.running = new.waiting = 0
        return new

    def answered(self, outcome: Outcome) -> None:
        """Count the answer to a call."""
        if isinstance(outcome, Failure):
            self._failures[outcome.kind] += 1

    def carried_out(self, seconds: float, queued: float) -> None:
        """Count the times of a call that was carried out."""
        self._seconds.add(seconds)
        self._queue_seconds.add(queued)

    def figures(self) -> ToolFigures:
        """All of it as it is now."""
        return ToolFigures(
            self.calls,
            self.cached,
            self.shared,
            self.retries,
            dict(sorted(self._failures.items())),
            self.running,
            self.waiting,
            self._seconds.percentiles(),
            self._queue_seconds.percentiles(),
        )


# -------------------------------------------------------------------------------------------------------- from documents


@dataclass(frozen=True)
class Delivered:
    """What documents tell of one tool.

    Attributes:
        calls: figures that asked for it and have an outcome.
        failures: kinds of those without a picture.
        seconds: of carrying out those with one: 50th, 90th and 99th percentile; `None` where there is none. A kept picture tells what it took
            when it was made.
        queue_seconds: of waiting for a turn, likewise.
    """

    calls: int
    failures: Mapping[str, int]
    seconds: Percentiles | None
    queue_seconds: Percentiles | None


def delivered(documents: Iterable[Document]) -> dict[str, Delivered]:
    """What the figures of documents tell of each tool, by name. Tools that do not exist are left out: a policy has made up their names."""
    calls: Counter[str] = Counter()
    failures: dict[str, Counter[str]] = {}
    durations: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    for document in documents:
        for figure in document.figures:
            if figure.call is None or figure.outcome is None:
                continue
            name, outcome = figure.call.tool, figure.outcome
            if isinstance(outcome, Failure) and outcome.kind == "unknown_tool":
                continue
            calls[name] += 1
            if isinstance(outcome, Picture):
                durations.setdefault(name, []).append(outcome.seconds)
                waits.setdefault(name, []).append(outcome.queued)
            else:
                failures.setdefault(name, Counter())[outcome.kind] += 1
    return {
        name: Delivered(
            calls[name],
            dict(sorted(failures.get(name, Counter()).items())),
            _percentiles(durations.get(name, [])),
            _percentiles(waits.get(name, [])),
        )
        for name in sorted(calls)
    }


def tool_metrics(documents: Iterable[Document]) -> dict[str, float]:
    """`delivered` as flat figures for a line of metrics: `tool/search/calls`, `tool/search/p90_s`, `tool/search/queue_p90_s`,
    `tool/search/failed/timeout` ..."""
    metrics: dict[str, float] = {}
    for name, told in delivered(documents).items():
        metrics[f"tool/{name}/calls"] = told.calls
        for prefix, percentiles in (("", told.seconds), ("queue_", told.queue_seconds)):
            for share, value in zip(SHARES, percentiles or (), strict=percentiles is not None):
                metrics[f"tool/{name}/{prefix}p{share * 100:.0f}_s"] = round(value, 4)
        metrics |= {f"tool/{name}/failed/{kind}": count for kind, count in told.failures.items()}
    return metrics


def _percentiles(durations: list[float]) -> Percentiles | None:
    """Nearest rank, hence durations that occurred."""
    if not durations:
        return None
    ordered = sorted(durations)
    p50, p90, p99 = (ordered[math.ceil(share * len(ordered)) - 1] for share in SHARES)
    return p50, p90, p99

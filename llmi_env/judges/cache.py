"""Scores of earlier judgments, on disk, by content.

Training, evaluation, ablation and test-time scaling share it: a document that a judge has scored is not judged again, whoever asks. Only
complete answers are kept, and only of judges that declare a `fingerprint`; the lack of a score never is.

One SQLite file, opened for each access: safe under many threads, forks and processes, and under a kill at any moment. It is a convenience:
where the disk is full, read-only or broken, judging goes on without it and one warning says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from llmi_env.calls import Call
from llmi_env.document import Block, Document, Failure, Picture, Text
from llmi_env.errors import ConfigError
from llmi_env.folders import cache_dir
from llmi_env.judges.base import Judge
from llmi_env.task import Task
from llmi_env.world.flights import Flights, Grounded
from llmi_env.world.protocol import Judgments, Scored, Unscored

_log = logging.getLogger(__name__)
_FORMAT = 1  # raised when the key or what is kept under it changes
_LOOK_EVERY = 64
_KEPT_SHARE = 0.8
_PATIENCE = 20.0
T = TypeVar("T")

VARIABLE = "LLMI_JUDGE_CACHE"
"""Environment variable: the file of the default cache, or `off` for none."""


class JudgmentCache:
    """Scores on disk, and judgments in flight. One for each event loop; any number may share a file.

    Args:
        path: the file; its folder is made. `None` keeps nothing, and still judges documents in flight once.
        max_bytes: what the file may hold; beyond it the oldest scores go, until a fifth of it is free.
    """

    def __init__(self, path: Path | None, max_bytes: int = 1_000_000_000) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._puts = 0
        self._warned = False
        self._flights: Flights[Judgments] = Flights()

    @classmethod
    def from_option(cls, option: str | None, max_bytes: int) -> JudgmentCache:
        """The cache that `WorldConfig.judge_cache` names."""
        if option == "default":
            option = os.environ.get(VARIABLE) or "default"
        if option is None or option == "off":
            return cls(None)
        try:
            path = cache_dir() / "judgments.sqlite" if option == "default" else Path(option).expanduser()
        except ConfigError as error:
            _log.warning("judgments are not kept: %s", error)
            return cls(None)
        return cls(path, max_bytes)

    async def through(
        self, judge: Judge, document: Document, task: Task, ask: Callable[[], Awaitable[Judgments]]
    ) -> Judgments:
        """What `judge` says of a document: from the file, from the same judgment in flight, or from `ask`, whose answer is then kept.

        A judge without a fingerprint is asked every time.
        """
        if not getattr(judge, "fingerprint", ""):
            return await ask()
        # in a thread: digests of large pictures take their time
        key = await asyncio.to_thread(judgment_key, judge_identity(judge), judge.terms, document, task)
        try:
            return await self._flights.join(key, lambda: self._land(key, judge.terms, ask))
        except Grounded:
            return dict.fromkeys(judge.terms, Unscored("the World was closed while the document was judged"))

    async def aclose(self) -> None:
        """Give up what is in flight."""
        await self._flights.cancel()

    def get(self, key: str) -> dict[str, Scored] | None:
        """What is kept under `key`, or `None`. Blocks for the time of a read."""
        row = self._guarded(lambda file: file.execute("SELECT body FROM judgments WHERE key = ?", (key,)).fetchone())
        try:
            return None if row is None else {term: _scored(told) for term, told in json.loads(row[0]).items()}
        except (ValueError, TypeError, AttributeError, KeyError):
            return None  # written by something else

    def put(self, key: str, judgments: Judgments) -> None:
        """Keep an answer, if every term in it is scored. Blocks for the time of a write."""
        if not judgments or not all(isinstance(judgment, Scored) for judgment in judgments.values()):
            return
        body = json.dumps({term: asdict(judgment) for term, judgment in judgments.items()})
        row = (key, body, time.time())
        self._guarded(lambda file: file.execute("INSERT OR REPLACE INTO judgments VALUES (?, ?, ?)", row).fetchone())
        self._puts += 1
        if self._puts % _LOOK_EVERY == 1:
            self._guarded(self._shrink)

    async def _land(self, key: str, terms: Sequence[str], ask: Callable[[], Awaitable[Judgments]]) -> Judgments:
        if self.path is None:
            return await ask()
        kept = await asyncio.to_thread(self.get, key)
        if kept is not None and set(kept) >= set(terms):
            return kept
        answer = await ask()
        if set(answer) >= set(terms):
            await asyncio.to_thread(self.put, key, {term: answer[term] for term in terms})
        return answer

    def _shrink(self, file: sqlite3.Connection) -> None:
        size, pages, free = (
            file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        used = (pages - free) * size
        if used <= self._max_bytes:
            return
        count = file.execute("SELECT count(*) FROM judgments").fetchone()[0]
        surplus = count - int(count * _KEPT_SHARE * self._max_bytes / used)
        file.execute("DELETE FROM judgments WHERE key IN (SELECT key FROM judgments ORDER BY put LIMIT ?)", (surplus,))

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        if self.path is None:
            return None
        try:
            with _opened(self.path) as file:
                return work(file)
        except (sqlite3.OperationalError, OSError) as error:
            self._warn("cannot be used", error)
        except sqlite3.DatabaseError as error:
            # Not ours, or damaged: put aside, so that the next access begins a new one.
            self._warn("is broken and was put aside", error)
            try:
                self.path.replace(self.path.with_name(f"{self.path.name}.broken"))
            except OSError as failed:
                _log.debug("%s cannot be put aside: %s", self.path, failed)
        return None

    def _warn(self, what: str, error: Exception) -> None:
        log = _log.debug if self._warned else _log.warning
        self._warned = True
        log("the judges' cache %s %s (%s); judging goes on without it", self.path, what, error)


@runtime_checkable
class Caching(Protocol):
    """A judge made of judges, which keeps the scores of each of them by itself."""

    def use_cache(self, cache: JudgmentCache) -> None:
        """Take the World's cache; called before the first document."""
        ...


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as file:
        # A kill cannot break the file like this. The power going out may, and then it is put aside: waiting for the disk
        # would cost a hundred times as much.
        file.execute("PRAGMA synchronous = OFF")
        file.execute(
            "CREATE TABLE IF NOT EXISTS judgments (key TEXT PRIMARY KEY, body TEXT NOT NULL, put REAL NOT NULL)"
        )
        yield file


def judge_identity(judge: Judge) -> str:
    """What tells a judge from any other: its class, its `fingerprint` where it declares one, and its `members` where it asks others."""
    name = f"{type(judge).__module__}:{type(judge).__qualname__}"
    declared = getattr(judge, "fingerprint", "")
    members: Sequence[Judge] = getattr(judge, "members", ())
    asked = f"({', '.join(map(judge_identity, members))})" if members else ""
    return " ".join(part for part in (name, str(declared), asked) if part)


def judgment_key(fingerprint: str, terms: Sequence[str], document: Document, task: Task) -> str:
    """SHA-256 of everything that a judge is given and is: its fingerprint and terms, the document with its outcomes, the task.

    Neither time, place nor a request's nonce enters it, nor a picture's `seconds`, nor the task's id and source.
    """
    content = [
        _FORMAT,
        fingerprint,
        list(terms),
        [_block(block) for block in document],
        [task.question, [_picture(picture) for picture in task.images], task.image_count, list(task.tools)],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _block(block: Block) -> list[Any]:
    if isinstance(block, Text):
        return ["text", block.text]
    outcome = block.outcome
    told: list[Any] | None = None
    if isinstance(outcome, Picture):
        told = _picture(outcome)
    elif isinstance(outcome, Failure):
        told = [outcome.kind, outcome.fault, outcome.message, outcome.limit]
    return ["figure", block.raw, block.tag, block.closed, None if block.call is None else _call(block.call), told]


def _call(call: Call) -> list[str]:
    try:
        params = json.dumps(dict(call.params), sort_keys=True)
    except (ValueError, TypeError, RecursionError):
        params = ""  # beyond JSON: the raw text, which is part of the key too, tells them apart
    return [call.tool, call.description, params]


def _picture(picture: Picture) -> list[Any]:
    return [picture.digest, *asdict(picture.provenance).values()]


def _scored(told: dict[str, Any]) -> Scored:
    return Scored(told["score"], str(told["rationale"]), str(told["judge"]), tuple(told["votes"]))

"""Scores of earlier judgments, on disk, by content.

Training, evaluation, ablation and test-time scaling share it: a document that a judge has scored is not judged again, whoever asks. Only
complete answers are kept, and only of judges that declare a `fingerprint`; the lack of a score never is.

They lie in one file, safe under many threads, forks and processes, and under a kill at any moment: see `llmi_env.kept_file`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from llmi_env.calls import Call
from llmi_env.document import Block, Document, Failure, Picture, Text
from llmi_env.judges.base import Judge
from llmi_env.kept_file import KeptFile, kept_path
from llmi_env.task import Task
from llmi_env.world.flights import Flights, Grounded
from llmi_env.world.protocol import Judgments, Scored, Unscored

_FORMAT = 1  # raised when the key or what is kept under it changes

VARIABLE = "LLMI_JUDGE_CACHE"
"""Environment variable: the file of the default cache, or `off` for none."""


class JudgmentCache:
    """Scores on disk, and judgments in flight. One for each event loop; any number may share a file.

    Args:
        path: the file; its folder is made. `None` keeps nothing, and still judges documents in flight once.
        max_bytes: what the file may hold; beyond it the scores used longest ago go, until a fifth of it is free.
    """

    def __init__(self, path: Path | None, max_bytes: int = 1_000_000_000) -> None:
        self._file = KeptFile(path, "judgments", max_bytes, ("the judges' cache", "judging"))
        self._flights: Flights[Judgments] = Flights()

    @classmethod
    def from_option(cls, option: str | None, max_bytes: int) -> JudgmentCache:
        """The cache that `WorldConfig.judge_cache` names."""
        return cls(kept_path(option, VARIABLE, "judgments.sqlite", "judgments"), max_bytes)

    @property
    def path(self) -> Path | None:
        """The file."""
        return self._file.path

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
        body = self._file.get(key)
        try:
            return None if body is None else {term: _scored(told) for term, told in json.loads(body).items()}
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            return None  # written by something else

    def put(self, key: str, judgments: Judgments) -> None:
        """Keep an answer, if every term in it is scored. Blocks for the time of a write."""
        if judgments and all(isinstance(judgment, Scored) for judgment in judgments.values()):
            self._file.put(key, json.dumps({term: asdict(judgment) for term, judgment in judgments.items()}))

    async def _land(self, key: str, terms: Sequence[str], ask: Callable[[], Awaitable[Judgments]]) -> Judgments:
        if self._file.path is None:
            return await ask()
        kept = await asyncio.to_thread(self.get, key)
        if kept is not None and set(kept) >= set(terms):
            return kept
        answer = await ask()
        if set(answer) >= set(terms):
            await asyncio.to_thread(self.put, key, {term: answer[term] for term in terms})
        return answer


@runtime_checkable
class Caching(Protocol):
    """A judge made of judges, which keeps the scores of each of them by itself."""

    def use_cache(self, cache: JudgmentCache) -> None:
        """Take the World's cache; called before the first document."""
        ...


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

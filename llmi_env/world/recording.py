"""A recording: what the calls and judgments of a run came to, in a folder.

    calls.jsonl       one line for each call: the call as written, digests of the pictures that it points at, its seed, its outcome
    judgments.jsonl   one line for each judgment: the question, the document as written, the scores and the lack of scores
    judges.jsonl      who judged, and which terms
    made_of.jsonl     what decided the answers, part by part (`llmi_env.world.deciding`)
    pictures/ab/...   the pictures as PNG, by SHA-256 of the file

Lines are only ever added, under a lock that all processes share, and a picture stands whole on the disk before its line: a kill loses what
was in flight. A line that was cut off is read over. What is read was perhaps written by somebody else: pictures are checked, and names of
files are digests.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from llmi_env.calls import Call
from llmi_env.document import Document, Outcome, Picture
from llmi_env.errors import WorldError
from llmi_env.folders import write_whole
from llmi_env.judges.cache import judgment_key
from llmi_env.task import Task
from llmi_env.world.cache import lasting
from llmi_env.world.deciding import differences
from llmi_env.world.kept_outcome import outcome_of, told
from llmi_env.world.protocol import AboutJudge, Deciding, Judgments, Scored
from llmi_env.world.wire import CallMessage, JudgmentMessage

_log = logging.getLogger(__name__)
_FORMAT = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")
_POLL = 0.005
_LAST = sys.maxsize


class Recording:
    """The outcomes and judgments in a folder. Its methods block for the time of a read or a write; any thread may call them.

    A call has one outcome in the whole recording, the first, the world's failures included: so the order in which answers arrive cannot matter.
    A document that was scored in every term has its scores for ever; where a judge had none, each time that it was asked is kept, since who has
    no score may ask again.

    Args:
        folder: made by the first line.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._calls = _Lines(folder / "calls.jsonl")
        self._judgments = _Lines(folder / "judgments.jsonl")
        self._judges = _Lines(folder / "judges.jsonl")
        self._made_of = _Lines(folder / "made_of.jsonl")

    def outcome(self, key: str) -> Outcome | None:
        """What the call came to, `None` where it is not recorded.

        Raises:
            WorldError: a picture is missing or damaged.
        """
        line = self._calls.find(key)
        return None if line is None else self._outcome(line)

    def add_outcome(self, key: str, call: Call, pictures: Sequence[Picture], seed: int, outcome: Outcome) -> Outcome:
        """Record an outcome; returns the one that counts, as a replay will give it.

        Raises:
            WorldError: it cannot be written.
        """
        try:
            parts, png = told(outcome)
            if png is not None:
                parts["png"] = self._keep_picture(png)
            params = json.loads(CallMessage.of(call).params)
            line = {
                "format": _FORMAT,
                "key": key,
                "call": {"tool": call.tool, "description": call.description, "params": params},
                "pictures": [picture.digest for picture in pictures],
                "seed": seed,
                "outcome": parts,
                "lasting": lasting(outcome),  # for who wants to take the world's failures out
                "final": True,
            }
            return self._outcome(self._calls.add(line))
        except OSError as error:
            raise WorldError(f"the recording {self.folder} cannot be written: {error}") from error

    def judgments(self, key: str, asked: int = 0) -> Judgments | None:
        """What was said of a document when it was asked for the time `asked` (from 0), `None` where it is not recorded."""
        line = self._judgments.find(key, asked)
        return None if line is None else _judgments(line)

    def final_judgments(self, key: str) -> Judgments | None:
        """What was said of a document, where that will not change any more."""
        line = self._judgments.final(key)
        return None if line is None else _judgments(line)

    def add_judgments(self, key: str, document: Document, task: Task, judgments: Judgments) -> Judgments:
        """Record what judges said; returns what counts.

        Raises:
            WorldError: it cannot be written.
        """
        line = {
            "format": _FORMAT,
            "key": key,
            "question": task.question,
            "document": document.to_source(),
            "judgments": {term: JudgmentMessage.of(judgment).model_dump() for term, judgment in judgments.items()},
            "final": all(isinstance(judgment, Scored) for judgment in judgments.values()),
        }
        try:
            return _judgments(self._judgments.add(line))
        except OSError as error:
            raise WorldError(f"the recording {self.folder} cannot be written: {error}") from error

    def terms(self) -> tuple[str, ...]:
        """Every term that was judged, or that the judges score."""
        judged = [term for line in self._judgments.last() for term in line["judgments"]]
        return tuple(dict.fromkeys([*(term for judge in self.judges() for term in judge.terms), *judged]))

    def judges(self) -> tuple[AboutJudge, ...]:
        """Who judged; of several Worlds that were recorded, the last one's judges."""
        line = self._judges.find("judges", _LAST)
        told_of = [] if line is None else line["judges"]
        return tuple(AboutJudge(one["name"], one["identity"], tuple(one["terms"])) for one in told_of)

    def add_judges(self, judges: Sequence[AboutJudge]) -> None:
        """Record who judges, where that is news."""
        if tuple(judges) != self.judges():
            entries = [{"name": one.name, "identity": one.identity, "terms": list(one.terms)} for one in judges]
            self._judges.add({"format": _FORMAT, "key": "judges", "judges": entries, "final": False})

    @property
    def tells_its_world(self) -> bool:
        """Whether it says what decided its answers; those made before that was asked do not."""
        return len(self._made_of) > 0

    def agree(self, parts: Deciding) -> list[str]:
        """Record what decides the answers, as far as that is news; returns in what it differs from what is recorded.

        Raises:
            WorldError: it cannot be written.
        """
        if len(self) and not self.tells_its_world:
            _log.warning("%s does not say what configuration it was made with; it goes on with this one", self.folder)
        try:
            for name, options in parts.items():
                if self._made_of.find(name) is None:
                    self._made_of.add({"format": _FORMAT, "key": name, "options": dict(options), "final": True})
        except OSError as error:
            raise WorldError(f"the recording {self.folder} cannot be written: {error}") from error
        return self.differences(parts)

    def differences(self, parts: Deciding) -> list[str]:
        """In what these parts differ from those that are recorded."""
        told = []
        for name, options in parts.items():
            line = self._made_of.find(name)
            kept = None if line is None else line.get("options")
            if isinstance(kept, dict):
                told += differences(kept, options)
        return told

    def __len__(self) -> int:
        """How many calls and judgments are recorded."""
        return len(self._calls) + len(self._judgments)

    def _outcome(self, line: Mapping[str, Any]) -> Outcome:
        parts = dict(line["outcome"])
        name = parts.pop("png", None)
        try:
            return outcome_of(parts, None if name is None else self._picture(name))
        except (OSError, ValueError) as error:
            raise WorldError(
                f"{self.folder}: the outcome of a call of {line['call']['tool']!r} is missing or damaged ({error}): it must be recorded anew"
            ) from error

    def _picture(self, name: Any) -> bytes:
        png = self._place(name).read_bytes()
        if hashlib.sha256(png).hexdigest() != name:
            raise ValueError(f"picture {name} is not what was recorded")
        return png

    def _keep_picture(self, png: bytes) -> str:
        name = hashlib.sha256(png).hexdigest()
        path = self._place(name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, png)
        return name

    def _place(self, name: Any) -> Path:
        if not isinstance(name, str) or not _DIGEST.fullmatch(name):
            raise ValueError(f"{name!r:.80} is no name of a picture")
        return self.folder / "pictures" / name[:2] / f"{name}.png"


def document_key(document: Document, task: Task) -> str:
    """SHA-256 of all that judges are given."""
    return judgment_key(json.dumps([task.id, task.source]), (), document, task)


def _judgments(line: Mapping[str, Any]) -> Judgments:
    return {term: JudgmentMessage.model_validate(parts).value() for term, parts in line["judgments"].items()}


class _Lines:
    """A file of JSON objects with `key` and `final`, one a line, that threads and processes add to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._lock = filelock.FileLock(path.with_suffix(".lock"), poll_interval=_POLL)
        self._read = 0
        self._found: dict[str, list[dict[str, Any]]] = {}
        self._number = 0

    def find(self, key: str, asked: int = 0) -> dict[str, Any] | None:
        """The line of `key` for who asks for the time `asked`, the last one where there are not so many."""
        with self._mutex:
            self._look()
            lines = self._found.get(key)
            return lines[min(asked, len(lines) - 1)] if lines else None

    def final(self, key: str) -> dict[str, Any] | None:
        """The final line of `key`, where there is one."""
        last = self.find(key, _LAST)
        return last if last is not None and last["final"] else None

    def last(self) -> list[dict[str, Any]]:
        """The last line of every key."""
        with self._mutex:
            self._look()
            return [lines[-1] for lines in self._found.values() if lines]

    def add(self, line: dict[str, Any]) -> dict[str, Any]:
        """Add a line, unless there is a final one of the same key already, from whatever process; returns the one that counts."""
        with self._mutex:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                self._look()
                lines = self._found.setdefault(line["key"], [])
                if not lines or not lines[-1]["final"]:
                    with self._path.open("ab") as file:
                        # after a kill half a line may stand at the end
                        cut = file.tell() > self._read
                        file.write(b"\n" * cut + json.dumps(line).encode() + b"\n")
                    self._look()
                return lines[-1]

    def __len__(self) -> int:
        with self._mutex:
            self._look()
            return sum(map(len, self._found.values()))

    def _look(self) -> None:
        """Read what is new, up to the last whole line."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                fresh = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return
        whole, _, _ = fresh.rpartition(b"\n")
        if not whole and not fresh.startswith(b"\n"):
            return
        for raw in whole.split(b"\n"):
            self._number += 1
            if raw:
                self._take(raw)
        self._read += len(whole) + 1

    def _take(self, raw: bytes) -> None:
        try:
            line = json.loads(raw)
            if not isinstance(line, dict) or line["format"] != _FORMAT or not isinstance(line["final"], bool):
                raise ValueError(f"not of format {_FORMAT}")
            self._found.setdefault(str(line["key"]), []).append(line)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            _log.warning(
                "%s, line %d is left out: it was cut off, or is none of ours (%s)", self._path, self._number, error
            )

"""Outcomes of earlier calls on disk, by content: a search or a picture that was paid for is not paid for again, whoever asks.

Kept are the calls of tools that say so by `cacheable = True`: those that cost money or many seconds, as tools of the web do. The offline ones
do not: a search costs no more than reading its picture back. Which outcomes may be kept at all says `lasting` of `llmi_env.world.cache`: never
the world's failures. A body is one line of JSON and, for a picture, its PNG; whatever else somebody wrote into the file is a miss, told once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmi_env.document import Outcome
from llmi_env.kept_file import KeptFile, kept_path
from llmi_env.tools.base import Tool
from llmi_env.world.cache import lasting
from llmi_env.world.kept_outcome import outcome_of, told
from llmi_env.world.wire import VERSION as PACKAGE

_log = logging.getLogger(__name__)
_FORMAT = 2  # raised when the key or what is kept under it changes

VARIABLE = "LLMI_CALL_CACHE"
"""Environment variable: the file of the default cache, or `off` for none."""


class CallCache:
    """Outcomes on disk. Any number of Worlds and processes may share a file.

    Args:
        path: the file; its folder is made. `None` keeps nothing.
        max_bytes: what the file may hold; beyond it the outcomes used longest ago go, until a fifth of it is free.
    """

    def __init__(self, path: Path | None, max_bytes: int = 1_000_000_000) -> None:
        self._file = KeptFile(path, "calls", max_bytes, ("the tools' cache", "calling"))
        self._warned = False
        self.hits = self.misses = 0
        """How often a call was found, and how often not."""

    @classmethod
    def from_option(cls, option: str | None, max_bytes: int) -> CallCache:
        """The cache that `WorldConfig.call_cache` names."""
        return cls(kept_path(option, VARIABLE, "calls.sqlite", "outcomes of calls"), max_bytes)

    @property
    def path(self) -> Path | None:
        """The file."""
        return self._file.path

    async def get(self, key: str) -> Outcome | None:
        """The outcome kept under `key`, or `None`."""
        outcome = await asyncio.to_thread(self._read, key)
        if outcome is None:
            self.misses += 1
        else:
            self.hits += 1
        return outcome

    async def put(self, key: str, outcome: Outcome) -> None:
        """Keep `outcome` if it is a lasting one. Cancelled, it is kept whole or not at all."""
        if lasting(outcome):
            await asyncio.to_thread(self._write, key, outcome)

    def _read(self, key: str) -> Outcome | None:
        body = self._file.get(key)
        if body is None:
            return None
        try:
            if not isinstance(body, bytes):
                raise ValueError("it is a text")
            line, newline, png = body.partition(b"\n")
            parts = json.loads(line)
            if not isinstance(parts, Mapping):
                raise ValueError("its first line is no JSON object")
            outcome = outcome_of(parts, png if newline else None)
            if not lasting(outcome):
                raise ValueError("it is not what is kept")
            return outcome
        except (ValueError, RecursionError) as error:
            log = _log.debug if self._warned else _log.warning
            self._warned = True
            log("the tools' cache %s holds what is no outcome (%.200s); it is left out", self.path, error)
            self._file.drop(key)
            return None

    def _write(self, key: str, outcome: Outcome) -> None:
        parts, png = told(outcome)
        line = json.dumps(parts).encode()
        self._file.put(key, line if png is None else line + b"\n" + png)


def tool_identity(tool: Tool, use: str | None, options: Mapping[str, Any]) -> str | None:
    """What tells a tool from any other that could answer to its name: class, options, and its `fingerprint`, else this package's version.

    Args:
        tool: the tool.
        use: what the configuration calls it, `None` for an object of the caller's.
        options: its options in the configuration.

    Returns:
        A digest, since options may hold what must not be kept; `None` where an object declares no fingerprint: nothing is known of it.
    """
    fingerprint = str(getattr(tool, "fingerprint", "") or "")
    if use is None and not fingerprint:
        return None
    version = fingerprint or f"llmi-env {PACKAGE}"  # who declares none has its outcomes made anew after an upgrade
    name = f"{type(tool).__module__}:{type(tool).__qualname__}"
    body = json.dumps([_FORMAT, name, use, dict(options), version], sort_keys=True, default=repr)
    return hashlib.sha256(body.encode()).hexdigest()

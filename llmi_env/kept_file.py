"""What is kept for later runs: texts or bytes by key, in one SQLite file that many processes share.

The judges' scores (`llmi_env.judges.cache`) and the tools' outcomes (`llmi_env.world.disk_cache`) lie in files of this kind. The file is
opened for each access: safe under many threads, forks and processes, and under a kill at any moment. It is a convenience: where the disk is
full, read-only or broken, work goes on without it and one warning says so. Nothing in it is executed or unpickled; who reads a body checks it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from llmi_env.errors import ConfigError
from llmi_env.folders import cache_dir

_log = logging.getLogger(__name__)
_KEPT_SHARE = 0.8
_PATIENCE = 20.0
_FRESH = 60.0
T = TypeVar("T")


def kept_path(option: str | None, variable: str, name: str, what: str) -> Path | None:
    """The file that an option of the World names, `None` where nothing is to be kept.

    Args:
        option: a path; `default`, which is `name` in the cache folder or what the environment variable says; `None` or `off` for none.
        variable: environment variable with the file of `default`, or `off`.
        name: of the file in the cache folder.
        what: is not kept where there is no such folder, for the warning.
    """
    if option == "default":
        option = os.environ.get(variable) or "default"
    if option is None or option == "off":
        return None
    try:
        return cache_dir() / name if option == "default" else Path(option).expanduser()
    except ConfigError as error:
        _log.warning("%s are not kept: %s", what, error)
        return None


class KeptFile:
    """Bodies by key. Its methods block for the time of a read or a write.

    Args:
        path: the file; its folder is made. `None` keeps nothing.
        table: name of the table in it.
        max_bytes: what the file may hold; before it would hold more, what was used longest ago goes, until a fifth is free.
        title: of what it holds and of what goes on without it, for warnings: `("the judges' cache", "judging")`.
    """

    def __init__(self, path: Path | None, table: str, max_bytes: int, title: tuple[str, str]) -> None:
        self.path = path
        self._table, self._max_bytes, self._title = table, max_bytes, title
        self._warned = False

    def get(self, key: str) -> str | bytes | None:
        """What is kept under `key`, or `None`."""

        def read(file: sqlite3.Connection) -> str | bytes | None:
            # `fetchall` ends the read, so that the write below waits for its turn as any other
            rows = file.execute(f"SELECT body, put FROM {self._table} WHERE key = ?", (key,)).fetchall()
            if not rows:
                return None
            ((body, put),) = rows
            now = time.time()
            if (
                not isinstance(put, float) or not 0 <= now - put < _FRESH
            ):  # not at every access: reading would be writing
                with suppress(sqlite3.OperationalError):  # read-only, or full
                    file.execute(f"UPDATE {self._table} SET put = ? WHERE key = ?", (now, key))
            return body if isinstance(body, str | bytes) else None

        return self._guarded(read)

    def put(self, key: str, body: str | bytes) -> None:
        """Keep `body`; one that is larger than the file may be is not kept."""
        if len(body) > self._max_bytes * _KEPT_SHARE:
            return

        def write(file: sqlite3.Connection) -> None:
            with file:  # one transaction: the bound holds whoever else writes
                file.execute("BEGIN IMMEDIATE")
                self._make_room(file, len(body))
                row = (key, time.time(), body)
                file.execute(f"INSERT OR REPLACE INTO {self._table} (key, put, body) VALUES (?, ?, ?)", row)

        self._guarded(write)

    def drop(self, key: str) -> None:
        """Let go of what is kept under `key`."""
        self._guarded(lambda file: file.execute(f"DELETE FROM {self._table} WHERE key = ?", (key,)).rowcount)

    def _make_room(self, file: sqlite3.Connection, fresh: int) -> None:
        size, pages, free = (
            file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        used = (pages - free) * size
        if used + fresh <= self._max_bytes:
            return
        held = file.execute(f"SELECT total(length(body)) FROM {self._table}").fetchone()[0]
        # Pages hold more than bodies: what is let go is reckoned as a share of both.
        surplus = held * (used + fresh - self._max_bytes * _KEPT_SHARE) / used
        doomed: list[tuple[int]] = []
        for rowid, length in file.execute(f"SELECT rowid, length(body) FROM {self._table} ORDER BY put"):
            if surplus <= 0:
                break
            doomed.append((rowid,))
            surplus -= length
        file.executemany(f"DELETE FROM {self._table} WHERE rowid = ?", doomed)

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        if self.path is None:
            return None
        try:
            with self._opened(self.path) as file:
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

    @contextmanager
    def _opened(self, path: Path) -> Iterator[sqlite3.Connection]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as file:
            # A kill cannot break the file like this. The power going out may, and then it is put aside: waiting for the disk
            # would cost a hundred times as much.
            file.execute("PRAGMA synchronous = OFF")
            file.execute("PRAGMA trusted_schema = OFF")  # triggers that somebody else put in have no functions to call
            # `put` stands before the body: to sort by it, bodies need not be read.
            file.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} (key TEXT PRIMARY KEY, put REAL NOT NULL, body NOT NULL)"
            )
            yield file

    def _warn(self, what: str, error: Exception) -> None:
        log = _log.debug if self._warned else _log.warning
        self._warned = True
        named, work = self._title
        log("%s %s %s (%s); %s goes on without it", named, self.path, what, error, work)

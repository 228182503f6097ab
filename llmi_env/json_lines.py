"""JSON lines that are added to while work goes on: what judges answered, what models replied, and why something did not come.

A line is whole before the next is begun, so whatever ends the work cuts off the last line at most. `read_rows` leaves that one out; `mend`
takes it away before more is added. The files of an evaluation, of judgments beside a run and of a build of tasks are kept so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmi_env.store import StoreError


def add_rows(file: Path, rows: Iterable[Mapping[str, Any]], *, fsync: bool) -> None:
    """Add rows, whole lines at once; when this returns, no kill can lose them.

    Args:
        file: its folder is made.
        rows: plain data.
        fsync: whether to wait for the disk, so that no power cut can lose them either.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as opened:
        opened.write("".join(json.dumps(row) + "\n" for row in rows))
        if fsync:
            opened.flush()
            os.fsync(opened.fileno())


def mend(file: Path) -> bool:
    """Take away a last line that was cut off, so that the next one does not run on from it; to be called by the only writer.

    Returns:
        Whether a whole line is left. A file without one stays as it is: the caller knows whether it is ours or somebody else's.
    """
    whole = file.read_bytes().rfind(b"\n") + 1 if file.exists() else 0
    if whole:
        os.truncate(file, whole)
    return bool(whole)


def read_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file with where each stands (`FILE, line 3`), a last one that was cut off left out; none where there is no file.

    Raises:
        StoreError: a whole line is no JSON object.
    """
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    for number, line in enumerate(text.split("\n")[:-1], 1):  # what follows the last end of a line is not whole
        where = f"{file}, line {number}"
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("expected a JSON object")
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{where}: not one of ours: {error}; without that line, the rest can be used") from error
        yield where, row

"""Task files row by row: what each row is, or what is wrong with it, so that a file with a hundred faults can be told of all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmi_env.errors import TaskError
from llmi_env.task import Task
from llmi_env.task_files import bundled_file, records
from llmi_env.task_pictures import PictureRef
from llmi_env.task_sets import SPLITS, load_tasks, read_row

__all__ = ["Row", "name_of", "read_rows"]

_FIELD = re.compile(r"field '([^']+)'")


@dataclass(frozen=True)
class Row:
    """One row of a task file.

    Attributes:
        number: its place in the file, counted from 1; in JSONL, the line.
        data: as it stands there; `None` where it is no JSON.
        task: the task without its pictures; `None` where the row cannot be read.
        pictures: its input pictures, not decoded.
        extras: what only the evaluation sees: `subject`, `template`, `size`, `reference`.
        error: what is wrong, with file, row and field; "" where nothing is.
    """

    number: int
    data: Any
    task: Task | None = None
    pictures: tuple[PictureRef, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def at_fault(self) -> str:
        """The field that the error is about, or ""."""
        found = _FIELD.search(self.error)
        return found[1] if found else ""


def name_of(source: str) -> str:
    """What the tasks of a source are called: the split, or the file without its ending."""
    return source if source in SPLITS else Path(source).stem


def read_rows(source: str) -> Iterator[Row]:
    """The rows of a bundled split, a `.jsonl` or `.parquet` file in our layout or LLM-I's, or a Hugging Face data set.

    A data set of the hub is read as a whole: its first fault ends it.

    Raises:
        TaskError: there is no such file or set, or it cannot be read at all.
        MissingExtra: parquet without pyarrow, or a data set without `datasets`.
    """
    path = bundled_file(source) if source in SPLITS else Path(source).expanduser()
    if path.suffix not in (".jsonl", ".parquet"):
        for number, (data, task) in enumerate(_whole(source), start=1):
            yield Row(number, None, task, data)
        return
    if not path.is_file():
        raise TaskError(f"there is no task file {source!r}")
    for number, data, error in records(path):
        if error:
            yield Row(number, None, error=error)
            continue
        where = f"{path.name}, row {number}"
        try:
            read = read_row(data, where, f"{path.stem}-{number}", path.stem, path.parent)
        except TaskError as failed:
            yield Row(number, data, error=str(failed))
        else:
            yield Row(number, data, read.task, read.pictures, read.extras)


def _whole(source: str) -> Iterator[tuple[tuple[PictureRef, ...], Task]]:
    for row in load_tasks(source).rows:
        yield row.pictures, row.task

"""Task files row by row: what each row is, or what is wrong with it, so that a file with a hundred faults can be told of all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmi_env.errors import TaskError, require
from llmi_env.task import Task
from llmi_env.task_pictures import PictureRef

# The one reading of a row that there is; task sets stop at the first fault.
from llmi_env.task_sets import SPLITS, _read_row, load_tasks

__all__ = ["Row", "bundled_file", "name_of", "read_rows", "records"]

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


def bundled_file(split: str) -> Path:
    """The file of a bundled split."""
    from importlib import resources

    return Path(str(resources.files("llmi_env").joinpath("assets", "tasks", f"{split}.jsonl")))


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
            read = _read_row(data, where, f"{path.stem}-{number}", path.stem, path.parent)
        except TaskError as failed:
            yield Row(number, data, error=str(failed))
        else:
            yield Row(number, data, read.task, read.pictures, read.extras)


def records(path: Path) -> Iterator[tuple[int, Any, str]]:
    """The rows of a `.jsonl` or `.parquet` file as plain data: number, row, and what is wrong where there is none.

    Raises:
        TaskError: the file cannot be read.
        MissingExtra: parquet without pyarrow.
    """
    yield from _lines(path) if path.suffix == ".jsonl" else _table(path)


def _whole(source: str) -> Iterator[tuple[tuple[PictureRef, ...], Task]]:
    for row in load_tasks(source)._rows:
        yield row.pictures, row.task


def _lines(path: Path) -> Iterator[tuple[int, Any, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path.name}: cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line), ""
        except (ValueError, RecursionError) as error:
            yield number, None, f"{path.name}, row {number}: not a line of JSON: {error}"


def _table(path: Path) -> Iterator[tuple[int, Any, str]]:
    parquet = require("pyarrow.parquet", "reading parquet task files", "train")
    lib = require("pyarrow", "reading parquet task files", "train")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=64):
                for data in batch.to_pylist():
                    number += 1
                    yield number, data, ""
    except (lib.ArrowException, OSError) as error:
        raise TaskError(f"{path.name}: not a readable parquet file: {error}") from error

"""Task files as plain rows, of either layout: what task sets are made of, and what `llmi data` looks through row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from llmi_env.errors import TaskError, require
from llmi_env.json_text import once_each

_ROWS = 64


def bundled_file(split: str) -> Path:
    """The file of a bundled split."""
    return Path(str(resources.files("llmi_env").joinpath("assets", "tasks", f"{split}.jsonl")))


def records(path: Path) -> Iterator[tuple[int, Any, str]]:
    """The rows of a `.jsonl` or `.parquet` file as plain data: number (in JSONL, the line), row, and what is wrong where there is none.

    Raises:
        TaskError: the file cannot be read.
        MissingExtra: parquet without pyarrow.
    """
    yield from _table(path) if path.suffix.lower() == ".parquet" else _lines(path)


def _lines(path: Path) -> Iterator[tuple[int, Any, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path.name}: cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line, object_pairs_hook=once_each), ""
        except (ValueError, RecursionError) as error:
            yield number, None, f"{path.name}, row {number}: not a line of JSON: {error}"


def _table(path: Path) -> Iterator[tuple[int, Any, str]]:
    parquet = require("pyarrow.parquet", "reading parquet task files", "train")
    lib = require("pyarrow", "reading parquet task files", "train")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for data in batch.to_pylist():
                    number += 1
                    yield number, data, ""
    except (lib.ArrowException, OSError) as error:
        raise TaskError(f"{path.name}: not a readable parquet file: {error}") from error

"""Reading the files of benchmarks: where they are, and the fields of their items (`items` goes on from there).

Benchmark files come from outside. Each is checked whole before anything runs, and what is wrong is a `BenchmarkError` that names file, item
(counted from 1), field, what was expected and what came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmi_env.errors import did_you_mean, require
from llmi_env.evaluate.benchmark import BenchmarkError
from llmi_env.hub import from_hub
from llmi_env.json_text import once_each
from llmi_env.task import LONE_SURROGATE

_SUFFIXES = (".json", ".jsonl")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+\Z")
_SCHEMAS = {
    "llmi-bench": ("prompt", "r1"),
    "opening": ("total_uid", "conversations"),
    "isg-bench": ("Query", "Golden"),
    "interleaved-bench": ("task_name", "conversations"),
}
"""Fields by which an item of a benchmark is known: somebody who passes the wrong file is told which one it is."""


@dataclass(frozen=True)
class Published:
    """The files of a benchmark.

    Attributes:
        benchmark: its name.
        files: what they are called; each with the places in a folder where it may lie, the first that is there being read.
        where: where a user gets them, for messages.
        roots: folders, as seen from a file's own, from which its pictures are counted.
        patterns: what is fetched of a hub repository.
    """

    benchmark: str
    files: tuple[tuple[str, ...], ...]
    where: str
    roots: tuple[str, ...] = (".",)
    patterns: tuple[str, ...] = ("*.json", "*.jsonl", "*.zip", "images/*")


# -------------------------------------------------------------------------------------------------------------- files


def find_files(data: str | Path | None, published: Published) -> tuple[Path, ...]:
    """The files of a benchmark.

    Args:
        data: a file, a folder that holds the published ones, or a name on the hub.
        published: what they are called.

    Raises:
        BenchmarkError: there are none.
        MissingExtra: a name on the hub without `huggingface_hub`.
    """
    wanted = " and ".join(names[0] for names in published.files)
    if data is None or not str(data).strip():
        raise BenchmarkError(f"{published.benchmark} needs its files, {wanted}: {published.where}")
    path = Path(data).expanduser()
    if path.is_file():
        if path.suffix.lower() not in _SUFFIXES:
            hint = "; unpack it and give the folder" if path.suffix.lower() == ".zip" else ""
            raise BenchmarkError(f"{path.name}: expected a file that ends in .json or .jsonl{hint}")
        return (path,)
    if not path.is_dir():
        if not _HUB_NAME.match(str(data)) or path.suffix.lower() in _SUFFIXES:
            raise BenchmarkError(f"{published.benchmark}: there is no file or folder {str(data)!r}; expected {wanted}")
        path = _fetched(str(data), published)
    found = [next((path / name for name in names if (path / name).is_file()), None) for names in published.files]
    if files := tuple(file for file in found if file is not None):
        return files
    there = sorted(file.name for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
    if len(there) == 1:
        return (path / there[0],)
    raise BenchmarkError(
        f"{published.benchmark}: the folder {str(data)!r} holds neither {wanted} nor one other file of items; "
        f"of its kind there are: {', '.join(there[:10]) or 'none'}"
    )


def _fetched(name: str, published: Published) -> Path:
    hub = require("huggingface_hub", f"fetching {published.benchmark} from the hub", "hub")
    problems, partly = [], []
    for kind in ("dataset", "model"):  # InterleavedBench stands among the models

        def load(local: bool, kind: str = kind) -> Path:
            patterns = list(published.patterns)
            folder = Path(hub.snapshot_download(name, repo_type=kind, allow_patterns=patterns, local_files_only=local))
            if local and any(folder.parents[1].glob("blobs/*.incomplete")):
                partly.append(folder)
                raise FileNotFoundError("a download was cut off")
            return folder

        try:
            return from_hub(load, name)
        except Exception as error:  # the hub's client lets errors of HTTP, file systems and its own through
            problems.append(f"as a {kind}: {type(error).__name__}: {str(error).splitlines()[0]:.200}")
    if partly:  # what was cut off may have been another file; one that is missing will be named
        return partly[0]
    raise BenchmarkError(
        f"{published.benchmark}: {name!r} is no file and no folder, and the hub does not give it ({'; '.join(problems)}). "
        f"{published.where}"
    )


def read_rows(file: Path) -> list[Row]:
    """The items of a JSON array or of a file with one JSON object a line; which of the two is told by the content.

    Raises:
        BenchmarkError: neither.
    """
    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{file.name}: cannot be read as UTF-8 text: {error}") from error
    if content.lstrip().startswith("["):
        values = _parsed(content, file.name)
        assert isinstance(values, list)
        numbered = list(enumerate(values, start=1))
    else:
        lines = [(number, line) for number, line in enumerate(content.split("\n"), start=1) if line.strip()]
        numbered = [
            (at, _parsed(line, f"{file.name}, line {number}")) for at, (number, line) in enumerate(lines, start=1)
        ]
    if not numbered:
        raise BenchmarkError(f"{file.name}: there are no items in it")
    rows = []
    for number, value in numbered:
        where = f"{file.name}, item {number}"
        if not isinstance(value, dict):
            raise BenchmarkError(f"{where}: expected an object with the fields of an item, not {said(value)}")
        rows.append(Row(where, value, number=number))
    return rows


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=once_each)
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(
            f"{where}: not JSON ({error}); expected an array of objects, or one object on each line"
        ) from error


# ------------------------------------------------------------------------------------------------------------- fields


@dataclass(frozen=True)
class Row:
    """An item, or an object in it, as it stands in the file.

    Attributes:
        where: file and item, for messages.
        data: its fields.
        path: of the object in the item: `""`, or such as `Query[0].`.
        number: of the item in its file, from 1.
    """

    where: str
    data: Mapping[str, Any]
    path: str = ""
    number: int = 0

    def error(self, name: str, wanted: str, came: str = "") -> BenchmarkError:
        """What to raise about the field `name`; says what is there, or that nothing is."""
        if not came and name not in self.data:
            near = did_you_mean(name, list(self.data)[:20]).replace("Known:", "Fields here:")
            other = "" if self.path else self._other()
            return BenchmarkError(
                f"{self.where}, field '{self.path}{name}': expected {wanted}, but it is missing{near}{other}"
            )
        return BenchmarkError(
            f"{self.where}, field '{self.path}{name}': expected {wanted}, not {came or said(self.data[name])}"
        )

    def _other(self) -> str:
        found = next((name for name, keys in _SCHEMAS.items() if all(key in self.data for key in keys)), None)
        return f". This looks like an item of {found}" if found else ""

    def text(self, name: str, *, blank: bool = False) -> str:
        """A field of text; `blank` lets it be missing, null or blank, which is `""`."""
        value = self.data.get(name)
        wanted = "text" if blank else "text that is not blank"
        if blank and value is None:
            return ""
        if not isinstance(value, str) or not (blank or value.strip()):
            raise self.error(name, wanted)
        if (half := LONE_SURROGATE.search(value)) is not None:
            raise self.error(name, f"{wanted}, without lone surrogates", repr(half.group()))
        return value.strip()

    def items(self, name: str) -> list[Any]:
        """A field that is a list."""
        value = self.data.get(name)
        if not isinstance(value, list):
            raise self.error(name, "a list")
        return value

    def row(self, name: str) -> Row:
        """A field that is an object."""
        value = self.data.get(name)
        if not isinstance(value, dict):
            raise self.error(name, "an object")
        return Row(self.where, value, f"{self.path}{name}.", self.number)

    def rows(self, name: str) -> list[Row]:
        """A field that is a list of objects."""
        values = self.items(name)
        for at, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.error(f"{name}[{at}]", "an object", said(value))
        return [Row(self.where, value, f"{self.path}{name}[{at}].", self.number) for at, value in enumerate(values)]


def said(value: object) -> str:
    """A value as messages quote it: its kind and its start."""
    return "null" if value is None else f"{type(value).__name__} {value!r:.60}"

"""A folder of captioned pictures as a source: captions beside the pictures, in tables, or in file names.

Folders come from elsewhere, too: nothing outside of the folder is read, whatever a table or a link in it says.
"""

from __future__ import annotations

import csv
import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmi_env.errors import ConfigError
from llmi_env.tools.corpus.describing import (
    CAPTION_COLUMNS,
    Columns,
    Item,
    LeftOut,
    NoCaption,
    clean,
    describe,
    title_from_name,
)
from llmi_env.tools.corpus.pictures import SUFFIXES, bounded

__all__ = ["TABLES", "FolderSource"]

TABLES = ("metadata.jsonl", "metadata.csv", "captions.jsonl", "captions.csv")
"""Tables of captions, in any folder; paths in them start there."""
_MAX_LINE = 1 << 20
_MAX_NOTE = 1 << 16
_KEPT_COLUMNS = frozenset(
    (
        *CAPTION_COLUMNS,
        "title",
        "keywords",
        "tags",
        "kind",
        "author",
        "source",
        "licence",
        "license",
        "licence_url",
        "license_url",
    )
)


class FolderSource:
    """The pictures of `directory` and of the folders in it, in the order of their paths.

    What a picture shows is read from, each time the later one in addition: a row of a table (`TABLES`; its column `file_name` or `file` is the
    path), `NAME.txt` beside it (the caption, or a title, a line break and a caption), `NAME.json` (`title`, `caption`, `keywords`,
    `author`, `source`, `licence`); or else the file's name.

    Args:
        directory: the folder.
        columns: which column or key is the caption, and what stands for author, source and licence.
        skip: a folder in it to leave out: the corpus itself.

    Raises:
        ConfigError: no such folder, or no picture in it.
    """

    has_files = True
    key = ""  # its items have no marks

    def __init__(self, directory: Path | str, columns: Columns | None = None, skip: Path | None = None) -> None:
        self._root = Path(directory).expanduser()
        if not self._root.is_dir():
            raise ConfigError(f"there is no folder {str(directory)!r}")
        self._columns = columns or Columns()
        self._inside = self._root.resolve()
        self.origin = str(self._inside)
        self.title = self._inside.name or "pictures"
        self._tables: list[str] = []
        self._pictures: list[str] = []
        self._walk(skip.resolve() if skip is not None else None)
        if not self._pictures:
            raise ConfigError(f"no pictures in {str(directory)!r}; known endings: {', '.join(sorted(SUFFIXES))}")
        self.total: int | None = len(self._pictures)

    def _walk(self, skip: Path | None) -> None:
        for folder, folders, names in os.walk(self._root):
            folders[:] = sorted(
                name for name in folders if not name.startswith(".") and Path(folder, name).resolve() != skip
            )
            here = Path(folder).relative_to(self._root).as_posix()
            paths = [posixpath.normpath(posixpath.join(here, name)) for name in names if not name.startswith("._")]
            self._tables.extend(path for path in paths if posixpath.basename(path) in TABLES)
            self._pictures.extend(path for path in paths if Path(path).suffix.lower() in SUFFIXES)
        self._tables.sort(key=lambda path: (path.count("/"), TABLES.index(posixpath.basename(path)), path))
        self._pictures.sort()

    def items(self, mark: Mapping[str, Any] | None = None) -> Iterator[Item | LeftOut]:
        """The pictures, and what could not be read of tables and notes; begins anew every time, as files are told by their stamps."""
        rows: dict[str, dict[str, Any]] = {}
        places: dict[str, str] = {}
        for table in self._tables:
            for place, row in self._read_table(table):
                if isinstance(row, str):
                    yield LeftOut(place, row)
                    continue
                path = row.pop("")
                rows.setdefault(path, {}).update(row)
                places[path] = place
        for picture in self._pictures:
            # a table of the root may name a picture of a folder by its name alone
            found = picture if picture in rows else posixpath.basename(picture)
            places.pop(found, None)
            yield self._item(picture, rows.get(found, {}))
        for path, place in places.items():
            yield LeftOut(place, f"there is no picture {_printable(path)!r}")

    def read(self, item: Item) -> bytes:
        """The bytes of a picture."""
        assert item.path is not None
        return bounded(item.path)

    def _item(self, name: str, row: dict[str, Any]) -> Item | LeftOut:
        shown = _printable(name)
        path = self._root / name
        try:
            if not self._holds(path):
                return LeftOut(shown, "a link that leads out of the folder")
            about = path.stat()
            note, record = path.with_suffix(".txt"), path.with_suffix(".json")
            row = row | self._note(note) | self._record(record)
            entry = describe(row, self._columns, title=title_from_name(path.stem), source=path.name)
        except NoCaption as error:
            return LeftOut(
                shown,
                f"{error}; write a sentence into {_printable(note.name)} beside it, or give the file a speaking name",
                captionless=True,
            )
        except (OSError, ValueError, RecursionError) as error:
            return LeftOut(shown, str(error) or type(error).__name__)
        return Item(shown, entry, path, stamp=f"{about.st_size}-{about.st_mtime_ns}")

    def _holds(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self._inside)

    def _note(self, path: Path) -> dict[str, str]:
        text = self._beside(path)
        lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
        if len(lines) > 1:
            return {"title": lines[0], self._columns.caption or "caption": " ".join(lines[1:])}
        return {self._columns.caption or "caption": lines[0]} if lines else {}

    def _record(self, path: Path) -> dict[str, Any]:
        text = self._beside(path)
        if text is None:
            return {}
        try:
            loaded = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{_printable(path.name)} cannot be read: {error}") from error
        if not isinstance(loaded, Mapping):
            raise ValueError(f"{_printable(path.name)} is not an object")
        return dict(loaded)

    def _beside(self, path: Path) -> str | None:
        if not path.exists():
            return None
        if not self._holds(path):
            raise ValueError(f"{_printable(path.name)} is a link that leads out of the folder")
        return bounded(path)[:_MAX_NOTE].decode("utf-8-sig", errors="replace")

    # ------------------------------------------------------------------------------------------------------- tables

    def _read_table(self, table: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
        """Place and row, or place and what is wrong with it; the picture's path within the folder is the row's key ""."""
        path = self._root / table
        if not (self._holds(path) and path.is_file()):
            yield table, "not a plain file in the folder"
            return
        try:
            read = self._read_csv(path, table) if path.suffix == ".csv" else self._read_jsonl(path, table)
            for place, row in read:
                yield place, row if isinstance(row, str) else self._located(row, posixpath.dirname(table))
        except OSError as error:
            yield table, f"cannot be read: {error.strerror}"

    def _read_jsonl(self, path: Path, table: str) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_MAX_LINE):
                number += 1
                place = f"{table}, line {number}"
                if len(line) == _MAX_LINE and not line.endswith(b"\n"):
                    while (rest := file.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
                        pass
                    yield place, f"longer than {_MAX_LINE} bytes"
                    continue
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace")
                    row = json.loads(text) if text.strip() else None
                except (ValueError, RecursionError) as error:
                    yield place, f"not JSON: {error}"
                    continue
                if isinstance(row, Mapping):
                    yield place, row
                elif row is not None:
                    yield place, f"an object is expected, not {type(row).__name__}"

    def _read_csv(self, path: Path, table: str) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(iter(lambda: file.readline(_MAX_LINE), ""))
            header: list[str] = []
            while True:
                number = reader.line_num + 1
                place = f"{table}, line {number}"
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield place, f"not CSV: {error}"
                    continue
                if not header:
                    header = [name.strip() for name in row]
                    if not {"file", "file_name"} & set(header):
                        yield table, "no column 'file_name' or 'file' in its first line"
                        return
                elif row and len(row) != len(header):
                    yield place, f"{len(header)} columns are expected, not {len(row)}"
                elif row:
                    yield place, dict(zip(header, row, strict=True))

    def _located(self, row: Mapping[str, Any], folder: str) -> dict[str, Any] | str:
        name = row.get("file_name") or row.get("file")
        if not isinstance(name, str) or not name or "\0" in name:
            return "it names no file: 'file_name' is expected"
        path = posixpath.normpath(posixpath.join(folder, name))
        if path.startswith(("/", "../")) or path == ".." or Path(name).is_absolute():
            return f"file_name {clean(name, 80)!r} leads out of the folder"
        kept = {key: value for key, value in row.items() if value and (key in _KEPT_COLUMNS or key in self._named())}
        return {**kept, "": path}

    def _named(self) -> set[str]:
        chosen = self._columns
        credits = (chosen.author, chosen.source, chosen.licence)
        return {chosen.caption or "", *(value.removeprefix("column:") for value in credits)}


def _printable(name: str) -> str:
    """A path as text that can be written and shown, whatever bytes it is made of."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)

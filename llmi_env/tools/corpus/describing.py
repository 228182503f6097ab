"""What is known about a picture that is to be taken in: read from a row of a table, a file beside it, or its name.

Rows come from outside, so every text is cut to a length and rid of what is not text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from llmi_env.tools.corpus.entries import Entry

__all__ = [
    "CAPTION_COLUMNS",
    "Columns",
    "Item",
    "LeftOut",
    "NoCaption",
    "Source",
    "clean",
    "describe",
    "title_from_name",
]

CAPTION_COLUMNS = ("caption", "text", "description", "captions", "sentences", "alt")
"""Where a caption is looked for when no column is named."""
_OF_COLUMN = "column:"
_MAX_TITLE, _MAX_CAPTION, _MAX_CREDIT, _MAX_KEYWORDS = 120, 1000, 300, 32
_CAMERA = re.compile(r"(?i)^(img|dsc|dscn|dscf|pxl|p|image|photo|picture|screenshot|scan)?[\s_-]*[\d\s_-]*$")


class NoCaption(ValueError):
    """Raised when nothing says what a picture shows."""


@dataclass(frozen=True)
class Columns:
    """Which columns say what; `author`, `source` and `licence` may also be values that hold for all pictures.

    Attributes:
        caption: column of the captions; `None` takes the first of `CAPTION_COLUMNS` that is there.
        image: column of the pictures, in a data set; `None` takes the one that holds pictures.
        author: a value where a row has none, or `column:NAME`.
        source: likewise.
        licence: likewise.
    """

    caption: str | None = None
    image: str | None = None
    author: str = ""
    source: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Item:
    """One picture of a source, before it is looked at.

    Attributes:
        name: of its own within the source, the same every time.
        entry: what is known about it.
        path: the file, where there is one.
        data: the file's bytes, or a remote address or a value of a data set that they are made of.
        stamp: changes with the file; empty where that cannot be told.
        mark: where to go on after this item, for sources that cannot skip cheaply.
    """

    name: str
    entry: Entry
    path: Path | None = None
    data: Any = None
    stamp: str = ""
    mark: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class LeftOut:
    """What a source could not give: which item or row, why, and whether it was for want of a caption."""

    name: str
    reason: str
    captionless: bool = False
    mark: Mapping[str, Any] | None = field(default=None, compare=False)


class Source(Protocol):
    """Captioned pictures from somewhere, in an order that is the same every time."""

    origin: str
    """Where it is: what tells it from others of the same name."""
    title: str
    """A name for its collection."""
    total: int | None
    """How many items there are, where that is known."""
    has_files: bool
    """Whether its pictures are files that may stay where they are."""
    key: str
    """Stands in the marks of its items; other data have another one."""

    def items(self, mark: Mapping[str, Any] | None = None) -> Iterator[Item | LeftOut]:
        """The items, from the beginning or from a mark on."""
        ...

    def read(self, item: Item) -> bytes:
        """The bytes of a picture; raises `OSError` or `ValueError` where there are none."""
        ...


def clean(value: object, limit: int) -> str:
    """A value as one line of printable text of at most `limit` characters; empty where it is no text or number."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    text = str(value)[: 4 * limit]
    # Lone surrogates cannot be written; control characters would reach the terminal.
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    text = " ".join(text.split())
    return "".join(char for char in text if char.isprintable())[:limit].strip()


def describe(row: Mapping[str, Any], columns: Columns, *, title: str = "", source: str = "") -> Entry:
    """What `row` says of a picture; the entry has no `id` and no `file` yet.

    Args:
        row: columns and values, or the keys of a JSON object.
        columns: which columns say what.
        title: stands where the row has neither title nor caption.
        source: stands where neither the row nor `columns` names one.

    Raises:
        NoCaption: there is neither title nor caption.
    """
    caption = _first(row, (columns.caption,) if columns.caption else CAPTION_COLUMNS, _MAX_CAPTION)
    said = clean(row.get("title"), _MAX_TITLE)
    if columns.caption and not caption and not said:
        raise NoCaption(f"column {columns.caption!r} says nothing")
    if caption and any(
        char.isdigit() for char in title
    ):  # a name with digits in it is a number more often than a title
        title = ""
    shown = said or title or caption[:80].strip()
    if not shown:
        raise NoCaption("nothing says what it shows")
    return Entry(
        id="",
        file="",
        title=shown,
        caption=caption,
        keywords=tuple(_keywords(row.get("keywords") or row.get("tags"))),
        kind=clean(row.get("kind"), 40) or "picture",
        author=_credit(row, columns.author, ("author",)),
        source=_credit(row, columns.source, ("source",)) or clean(source, _MAX_CREDIT),
        licence=_credit(row, columns.licence, ("licence", "license")) or "unknown",
        licence_url=clean(row.get("licence_url") or row.get("license_url"), _MAX_CREDIT),
    )


def _credit(row: Mapping[str, Any], option: str, names: Iterable[str]) -> str:
    if option.startswith(_OF_COLUMN):
        return clean(row.get(option.removeprefix(_OF_COLUMN)), _MAX_CREDIT)
    return _first(row, names, _MAX_CREDIT) or clean(option, _MAX_CREDIT)


def _first(row: Mapping[str, Any], names: Iterable[str], limit: int) -> str:
    """The first of some columns that says anything; several captions of one picture follow each other."""
    for name in names:
        value = row.get(name)
        texts = list(value)[:20] if isinstance(value, list | tuple) else [value]
        if text := " ".join(filter(None, (clean(each, limit) for each in texts)))[:limit].strip():
            return text
    return ""


def _keywords(value: object) -> list[str]:
    if isinstance(value, str):
        value = value[: _MAX_CREDIT * _MAX_KEYWORDS].split(",")
    if not isinstance(value, list | tuple):
        return []
    return [word for each in value[:_MAX_KEYWORDS] if (word := clean(each, 60))]


def title_from_name(stem: str) -> str:
    """What a file's name says: `redBarn_owl` is "red Barn owl"; a camera's `IMG_0042` says nothing."""
    stem = clean(re.sub(r"[_\-.]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)), _MAX_TITLE)
    return "" if _CAMERA.match(stem) else stem

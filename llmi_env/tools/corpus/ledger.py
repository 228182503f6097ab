"""What an adding run remembers of the corpus, so that nothing is taken in twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from llmi_env.tools.corpus.describing import Item
from llmi_env.tools.corpus.entries import MANIFEST, Corpus, Entry

__all__ = ["Known", "Ledger", "about"]


class Known(NamedTuple):
    """What is remembered of an entry: enough to see whether it is still the same."""

    id: str
    stamp: str
    about: bytes
    file: str
    sha256: str
    linked: bool

    @classmethod
    def of(cls, entry: Entry) -> Known:
        """What is remembered of `entry`."""
        return cls(entry.id, entry.stamp, about(entry), entry.file, entry.sha256, entry.linked)


class Ledger:
    """Entries of the corpus by item and by picture.

    Args:
        folder: the corpus.
        collection: whose items are known; pictures are those of all.

    Attributes:
        pictures: digests of the bytes that pictures were made of.
    """

    def __init__(self, folder: Path, collection: str) -> None:
        self._items: dict[str, Known] = {}
        self.pictures: set[str] = set()
        if (folder / MANIFEST).exists():
            for entry in Corpus.load(folder, grows=True).entries:
                self.pictures.add(entry.id)
                if entry.collection == collection:
                    self._items[entry.item] = Known.of(entry)

    def of(self, item: Item) -> Known | None:
        """What is remembered of an item."""
        return self._items.get(item.name)

    def put(self, entry: Entry) -> None:
        """Remember an entry that was written down."""
        self.pictures.add(entry.id)
        self._items[entry.item] = Known.of(entry)


def about(entry: Entry) -> bytes:
    """A digest of what is said of a picture."""
    said = (
        entry.title,
        entry.caption,
        entry.keywords,
        entry.kind,
        entry.author,
        entry.source,
        entry.licence,
        entry.licence_url,
    )
    return hashlib.sha256(json.dumps(said).encode()).digest()[:12]

"""What a corpus holds: entries, the manifest that lists them, and the pictures beside it."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from llmi_env.errors import AssetError

__all__ = ["MANIFEST", "Corpus", "Entry", "bundled", "entry_of", "line_of", "manifest_lines", "user", "user_folder"]

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
_TEXTS = ("id", "file", "title", "caption", "author", "source", "licence_url", "sha256", "collection", "item", "stamp")


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a corpus and what is known about it.

    Attributes:
        id: name within its corpus.
        file: path of the picture within the corpus folder; where it is linked, its place on this machine.
        title: what it shows, in a few words.
        caption: one sentence or two on what is seen and where.
        keywords: further words to find it by.
        kind: `photograph`, `illustration`, `icon`, `map` or `picture`.
        author: as its source states it.
        source: URL or name of where it comes from.
        licence: SPDX identifier, or `unknown` for a user's own.
        licence_url: where the licence can be read.
        sha256: digest of the file.
        collection: what it was added with; empty in the bundled corpus.
        item: its name there: a path within the folder, or the number of a row.
        stamp: size and time of the file that it was read from; empty where it came from none.
        linked: whether the picture stayed where it was, instead of being copied.
    """

    id: str
    file: str
    title: str
    caption: str = ""
    keywords: tuple[str, ...] = ()
    kind: str = "picture"
    author: str = ""
    source: str = ""
    licence: str = "unknown"
    licence_url: str = ""
    sha256: str = ""
    collection: str = ""
    item: str = ""
    stamp: str = ""
    linked: bool = False

    @property
    def described(self) -> str:
        """Title and caption as one text: what stands for the picture where meanings are compared."""
        if not self.caption or self.caption.casefold().startswith(self.title.casefold()):
            return self.caption or self.title
        return f"{self.title}. {self.caption}"


@dataclass(frozen=True)
class Corpus:
    """Pictures of one folder.

    Attributes:
        folder: where they stand.
        entries: what is known about them, in the manifest's order.
        digest: changes whenever the manifest does.
        grows: whether pictures are added to it from time to time.
    """

    folder: Path
    entries: tuple[Entry, ...]
    digest: str
    grows: bool = False

    @classmethod
    def load(cls, folder: Path, *, grows: bool = False) -> Corpus:
        """Read the manifest of `folder`.

        Of one that grows, a last line that is being written is left out, and a line about an item that an earlier line is about takes
        that one's place.

        Raises:
            AssetError: there is none, or a line of it cannot be read; says which.
        """
        digest = hashlib.sha256()
        entries: dict[Any, Entry] = {}
        for line, entry in manifest_lines(folder, grows=grows):
            digest.update(line)
            if entry is not None:
                entries[(entry.collection, entry.item) if entry.item else len(entries)] = entry
        return cls(folder, tuple(entries.values()), digest.hexdigest(), grows)

    def open(self, entry: Entry) -> Image.Image:
        """The picture of `entry`, RGB.

        Raises:
            AssetError: the file is missing or is not the picture that the manifest speaks of.
        """
        path = Path(entry.file) if entry.linked else self.folder / entry.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise AssetError(
                f"picture {entry.id!r} of the corpus is missing ({error.strerror}); install or add it again"
            ) from error
        if entry.sha256 and hashlib.sha256(data).hexdigest() != entry.sha256:
            if entry.linked:
                raise AssetError(f"picture {entry.id!r} of the corpus was changed where it stands; add it again")
            raise AssetError(f"picture {entry.id!r} of the corpus is damaged; install or add it again")
        if entry.linked:
            from llmi_env.tools.corpus.pictures import reduced

            return reduced(data)
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")


def manifest_lines(folder: Path, *, grows: bool = False) -> Iterator[tuple[bytes, Entry | None]]:
    """The lines of a manifest, one at a time, each with its entry; `None` stands with an empty one.

    Raises:
        AssetError: there is no manifest, or a line of it cannot be read; says which.
    """
    path = folder / MANIFEST
    try:
        file = path.open("rb")
    except OSError as error:
        raise AssetError(
            f"the picture corpus has no readable {MANIFEST} ({error.strerror}); install the package again"
        ) from error
    with file:
        for number, line in enumerate(file, start=1):
            try:
                entry = entry_of(line, own=grows) if line.strip() else None
            except (ValueError, TypeError, RecursionError) as error:
                if grows and not line.endswith(b"\n"):
                    return  # another process is writing it, or was killed while it did
                raise AssetError(
                    f"line {number} of the corpus manifest in {folder.name}/ cannot be read ({error}); remove the line, "
                    "or install the package again where it is the bundled corpus"
                ) from error
            yield line, entry


def entry_of(line: bytes, *, own: bool = False) -> Entry:
    """The entry that a line of a manifest says.

    Args:
        line: of the manifest.
        own: it is the user's own, and may speak of pictures elsewhere on this machine.

    Raises:
        ValueError: it says none.
    """
    row = json.loads(line.decode("utf-8", errors="replace"))
    if not isinstance(row, Mapping):
        raise ValueError("not an object")
    texts = {name: str(row.get(name) or "") for name in _TEXTS}
    for name in ("id", "file", "title"):
        if not texts[name]:
            raise ValueError(f"field {name!r} is missing")
    linked = own and row.get("linked") is True
    if not linked and (Path(texts["file"]).is_absolute() or ".." in Path(texts["file"]).parts):
        raise ValueError("field 'file' leads out of the corpus")
    keywords = row.get("keywords") or ()
    if isinstance(keywords, str):
        keywords = [word.strip() for word in keywords.split(",")]
    return Entry(
        **texts,
        keywords=tuple(str(word) for word in keywords if str(word).strip()),
        kind=str(row.get("kind") or "picture"),
        licence=str(row.get("licence") or "unknown"),
        linked=linked,
    )


def line_of(entry: Entry) -> bytes:
    """The line of the manifest that says `entry`; what is empty is left out."""
    row = {field.name: value for field in fields(entry) if (value := getattr(entry, field.name))}
    return json.dumps(row, ensure_ascii=False).encode("utf-8", errors="replace") + b"\n"


def bundled() -> Corpus:
    """The curated corpus that ships with the package."""
    return Corpus.load(Path(str(files("llmi_env") / "assets" / "corpus")))


def user_folder() -> Path:
    """Where the user's own pictures are kept; it need not exist."""
    import platformdirs

    root = os.environ.get("LLMI_DATA_DIR") or platformdirs.user_data_dir("llmi", appauthor=False)
    return Path(root) / "corpus"


def user() -> Corpus | None:
    """The user's own pictures, where there are any."""
    folder = user_folder()
    return Corpus.load(folder, grows=True) if (folder / MANIFEST).exists() else None

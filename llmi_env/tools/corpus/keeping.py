"""The user's corpus on disk: its collections, who may change it at a time, and taking one out again.

Everything is written beside and renamed, or appended line by line: a kill at any moment leaves a corpus that can be read, and other
processes may read while this one writes.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from llmi_env.errors import AssetError, ConfigError, did_you_mean
from llmi_env.folders import write_whole
from llmi_env.tools.corpus.entries import MANIFEST, Corpus, Entry, line_of, manifest_lines, user_folder

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "EARLIER",
    "Collection",
    "Removed",
    "claim",
    "collections",
    "mend",
    "only_writer",
    "remove",
    "slug",
]

logger = logging.getLogger(__name__)

EARLIER = "earlier"
"""Stands for pictures of which no collection is known: the manifest was written by hand."""
_COLLECTIONS = "collections.json"
_NAME = re.compile(r"[^\s/\\:][^/\\:]{0,63}")


@dataclass(frozen=True)
class Collection:
    """What was added together.

    Attributes:
        name: what `llmi corpus remove` calls it.
        origin: where it came from.
        pictures: how many of its pictures are there.
        bytes: what they take on disk; 0 for those that are linked.
    """

    name: str
    origin: str
    pictures: int
    bytes: int


@dataclass(frozen=True)
class Removed:
    """How many pictures were taken out, and how many are left."""

    pictures: int
    left: int


@contextmanager
def only_writer(folder: Path, console: Console | None = None) -> Iterator[None]:
    """Hold the corpus for changes; waits while another process does, and says so.

    Raises:
        AssetError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0.2)
        except Timeout:
            if console is not None:
                console.print("another process is changing the corpus; waiting for it to end ...")
            lock.acquire()
    except OSError as error:
        raise AssetError(
            f"the corpus in {folder} cannot be written to ({error.strerror or error}); LLMI_DATA_DIR names another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def collections(folder: Path | None = None) -> list[Collection]:
    """What the user's corpus is made of, in the order in which it was added."""
    folder = folder or user_folder()
    counts: dict[str, list[int]] = {}
    if (folder / MANIFEST).exists():
        for entry in Corpus.load(folder, grows=True).entries:
            count = counts.setdefault(entry.collection or EARLIER, [0, 0])
            count[0] += 1
            if not entry.linked:
                try:
                    count[1] += (folder / entry.file).stat().st_size
                except OSError:
                    logger.warning("picture %r of the corpus is missing: %s", entry.id, entry.file)
    origins = _origins(folder)
    return [
        Collection(name, origins.get(name, ""), *counts.get(name, (0, 0)))
        for name in dict.fromkeys([*counts, *origins])
    ]


def claim(folder: Path, origin: str, title: str, name: str | None) -> str:
    """The collection that `origin` is added to: the one it was added to before, or a new one; to be called by the only writer.

    Args:
        folder: the corpus.
        origin: where the pictures come from.
        title: what a new collection is called, with a number where that is taken.
        name: a name that the user gave; then it is this one, whatever was added to it before.

    Raises:
        ConfigError: a name that cannot be used.
    """
    origins = _origins(folder)
    if name is None:
        known = [each for each, where in origins.items() if where == origin]
        stem = re.sub(r"[/\\:\s]+", "-", title).strip("-")[:48] or "pictures"
        numbered = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(origins) + 3))
        name = known[0] if known else next(each for each in numbered if each not in origins and each != EARLIER)
    elif not _NAME.fullmatch(name) or not name.isprintable() or name == EARLIER:
        raise ConfigError(f"--name {name!r}: a name has 1 to 64 characters, none of them '/', '\\' or ':'")
    if origins.get(name) != origin:
        _write_origins(folder, {**origins, name: origin})
    return name


def remove(name: str, *, folder: Path | None = None, console: Console | None = None) -> Removed:
    """Take a collection out of the user's corpus, its copied pictures and its part of the index included; linked pictures stay.

    Raises:
        ConfigError: no such collection.
    """
    from llmi_env.tools.corpus_update import update

    folder = folder or user_folder()
    with only_writer(folder, console):
        mend(folder)
        origins = _origins(folder)
        entries = Corpus.load(folder, grows=True).entries if (folder / MANIFEST).exists() else ()
        names = dict.fromkeys([*origins, *(entry.collection or EARLIER for entry in entries)])
        if name not in names:
            raise ConfigError(f"there is no collection {name!r}" + did_you_mean(name, names))
        kept = [entry for entry in entries if (entry.collection or EARLIER) != name]
        write_whole(folder / MANIFEST, b"".join(map(line_of, kept)))
        _write_origins(folder, {each: origin for each, origin in origins.items() if each != name})
        (folder / "progress" / f"{slug(name)}.json").unlink(missing_ok=True)
        update(folder, console=console)  # before the files go, so that no new search finds them
        _sweep(folder, kept)
    return Removed(len(entries) - len(kept), len(kept))


def _sweep(folder: Path, kept: list[Entry]) -> None:
    """Delete the copies of pictures that no entry speaks of, those that a killed run left behind included."""
    wanted = {entry.file for entry in kept if not entry.linked}
    for path in (folder / "pictures").rglob("*.webp"):
        if path.relative_to(folder).as_posix() not in wanted:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder / "scratch", ignore_errors=True)


def mend(folder: Path) -> None:
    """End the manifest with a whole line; to be called by the only writer. A line cut by a kill goes: its picture is taken in again."""
    manifest = folder / MANIFEST
    if not manifest.exists():
        return
    whole = sum(len(line) for line, _ in manifest_lines(folder, grows=True))
    if whole < manifest.stat().st_size:
        logger.warning("the last line of %s was not finished; dropping it", manifest.name)
        os.truncate(manifest, whole)
    with manifest.open("rb+") as file:
        if whole and (file.seek(whole - 1), file.read(1))[1] != b"\n":
            file.write(b"\n")


def slug(name: str) -> str:
    """A collection's name as part of a file's: letters and digits stay, the rest is written out."""
    return re.sub(r"[^\w-]", lambda found: f"%{ord(found[0]):x}", name)


def _origins(folder: Path) -> dict[str, str]:
    try:
        loaded: Any = json.loads((folder / _COLLECTIONS).read_text(encoding="utf-8"))
    except OSError:
        return {}
    except ValueError:
        logger.warning("%s of the corpus cannot be read; collections are known by the manifest alone", _COLLECTIONS)
        return {}
    return {str(name): str(about.get("origin", "")) for name, about in loaded.items() if isinstance(about, dict)}


def _write_origins(folder: Path, origins: dict[str, str]) -> None:
    about = {name: {"origin": origin} for name, origin in origins.items()}
    write_whole(folder / _COLLECTIONS, json.dumps(about, ensure_ascii=False, indent=1).encode("utf-8", "replace"))

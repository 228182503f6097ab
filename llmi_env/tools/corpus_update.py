"""Making the index of a user's corpus, and keeping it in step while pictures are added.

What takes long, embeddings and the graph, is kept as it grows and never made twice; words and entries are written anew each time, in seconds.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llmi_env import embeddings
from llmi_env.errors import MissingExtra
from llmi_env.folders import write_whole
from llmi_env.tools.corpus import MANIFEST, Corpus, Entry, line_of
from llmi_env.tools.corpus_kept import CURRENT, EXACT_ROWS, FORMAT, Place, file_digest, missing
from llmi_env.tools.corpus_vectors import GROWN_AT_ONCE, Graph, VectorFile, meaning, meaning_key
from llmi_env.tools.corpus_words import Words, document

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Growing", "own_vectors", "update"]

logger = logging.getLogger(__name__)

_TAIL = 4096
"""Rows beyond the graph that a search compares one by one; more are added to it."""
_DEAD = 500
"""Rows of the graph that no entry has any more; with more it is made anew."""


class Growing:
    """The vectors of a corpus while pictures are added to it; nothing where texts cannot be embedded here.

    Args:
        corpus: its folder; the caller is its only writer.
        stop: once set, no more work is begun.
    """

    def __init__(self, corpus: Path, stop: threading.Event) -> None:
        self._file = Place(corpus).vectors()
        self._stop = stop
        self._covered = len(self._file) if self._file is not None else 0

    def embed(self, entries: Sequence[Entry], pictures: int) -> None:
        """Compute what is missing of `entries`; widen the graph of a corpus of so many pictures when enough has come together."""
        if self._file is None:
            return
        self._file.embed(missing(self._file, entries), self._stop)
        if pictures > EXACT_ROWS and len(self._file) - self._covered >= GROWN_AT_ONCE:
            self._covered = len(self._file)
            _graph(self._file, None, self._stop)


def update(
    corpus: Path, *, console: Console | None = None, stop: threading.Event | None = None, graph: bool = True
) -> int:
    """Make the index of a corpus fit it: embed what is missing, and keep words and graph of a large one.

    Args:
        corpus: its folder; the caller is its only writer.
        console: where progress is shown.
        stop: once set, no more is embedded and the graph stays as it is; the rest, seconds, is done.
        graph: widen the graph, which may take minutes.

    Returns:
        How many pictures searches find.
    """
    if not (corpus / MANIFEST).exists():
        return 0
    place = Place(corpus)
    loaded = Corpus.load(corpus, grows=True)
    with place.lock:
        file = place.vectors()
        entries: Sequence[Entry] = loaded.entries
        if file is not None:
            left = missing(file, entries)
            with _bar(console, "embedding captions", len(left)) as tick:
                file.embed(left, stop, tick)
            entries = [entry for entry, row in zip(entries, _rows(file, entries), strict=True) if row >= 0]
            _compact(file, entries)
        if len(loaded.entries) > EXACT_ROWS:
            made = _graph(file, console, stop, grow=graph) if file is not None else None
            _publish(place, loaded.digest, entries, file, made)
        else:
            (place.path / CURRENT).unlink(missing_ok=True)
            _tidy(place, file, ())
    return len(entries)


def own_vectors(corpus: Corpus, *, console: Console | None = None) -> NDArray[np.float32]:
    """Meanings of a corpus that grows, shape (entries, 384); those that are missing are computed and kept.

    Raises:
        MissingExtra: torch or transformers is not installed.
        AssetError: the embedding model is not installed.
    """
    file = VectorFile(Place(corpus.folder).path)
    while left := missing(
        file, corpus.entries
    ):  # another process may begin a new file, without what it does not know of
        with _bar(console, "embedding captions", len(left)) as tick:
            file.embed(left, None, tick)
    return file.vectors[_rows(file, corpus.entries)].astype(np.float32)


def _rows(file: VectorFile, entries: Sequence[Entry]) -> NDArray[np.int64]:
    return file.rows([meaning_key(meaning(entry)) for entry in entries])


def _compact(file: VectorFile, entries: Sequence[Entry]) -> None:
    """Begin a new file where the old one is damaged, or it or the graph over it holds too much that belongs to no entry any more."""
    used = np.unique(_rows(file, entries))
    covered = max((rows for rows, _ in Graph.files(file)), default=0)
    dead = covered - int((used < covered).sum())
    if file.damaged or dead > _DEAD or len(file) - len(used) > max(_DEAD, len(used)):
        file.compact([meaning_key(meaning(entry)) for entry in entries])


def _graph(
    file: VectorFile, console: Console | None, stop: threading.Event | None, *, grow: bool = True
) -> Graph | None:
    """The graph over `file`, widened where much has come since; `None` without the library, and then every row is compared."""
    try:
        graph = Graph.newest(file)
        left = len(file) - (graph.rows if graph is not None else 0)
        if not grow or left <= _TAIL:
            return graph
        with _bar(console, "making the vector index", left) as tick:
            return Graph.grown(file, stop, tick)
    except MissingExtra as error:
        logger.warning("%s; until then searches compare every picture, which takes longer", error)
        return None


def _publish(place: Place, digest: str, entries: Sequence[Entry], file: VectorFile | None, graph: Graph | None) -> None:
    """Write a generation beside the others, then say that it is the current one."""
    before = place.current()
    making = place.path / f"making-{os.getpid()}"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    lines = [line_of(entry) for entry in entries]
    (making / "entries.jsonl").write_bytes(b"".join(lines))
    np.save(making / "starts.npy", np.cumsum([0, *map(len, lines)], dtype=np.int64))
    np.save(making / "photograph.npy", np.array([entry.kind == "photograph" for entry in entries], dtype=bool))
    Words.build(map(document, entries)).save(making / "words")
    if file is not None:
        np.save(making / "rows.npy", _rows(file, entries))
    numbers = [int(path.name.split("-")[1]) for path in place.path.glob("generation-*")]
    generation = place.path / f"generation-{max(numbers, default=0) + 1}"
    said: dict[str, Any] = {
        "format": FORMAT,
        "manifest": digest,
        "entries": len(entries),
        "generation": generation.name,
        "model": embeddings.model_digest() if file is not None else None,
        "vectors": file.path.name if file is not None else None,
        "vector_rows": len(file) if file is not None else 0,
        "graph": {"file": graph.path.name, "rows": graph.rows} if graph is not None else None,
        "files": {
            path.relative_to(making).as_posix(): file_digest(path)
            for path in sorted(making.rglob("*"))
            if path.is_file()
        },
    }
    making.rename(generation)
    write_whole(place.path / CURRENT, json.dumps(said, indent=1).encode())
    _tidy(place, file, (said, before))


def _tidy(place: Place, file: VectorFile | None, kept: Sequence[dict[str, Any] | None]) -> None:
    """Delete what neither the current generation nor the one before it needs; who has it open still reads it."""
    wanted = {file.path.name} if file is not None else set()
    if file is not None and kept:
        wanted |= {path.name for _, path in Graph.files(file)[:1]}
    for said in filter(None, kept):
        wanted |= {str(name) for name in (said["generation"], said["vectors"], (said["graph"] or {}).get("file"))}
    for path in place.path.iterdir():
        if path.name in wanted:
            continue
        if path.name.startswith(("generation-", "making-")):
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix in (".usearch", ".part") or (path.suffix == ".rows" and file is not None):
            path.unlink(missing_ok=True)


@contextmanager
def _bar(console: Console | None, what: str, total: int) -> Iterator[Callable[[int], None] | None]:
    if console is None or total == 0:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)

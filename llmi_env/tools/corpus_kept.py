"""The index of a user's large corpus, kept in files, so that a search over 100,000 pictures is ready in a second.

A corpus of up to `EXACT_ROWS` pictures is read whole, and every picture is compared: that is as fast. A larger one has a *generation*, a folder
that nothing changes any more: the entries, their words (BM25) and which row of the vector file each one's meaning is; beside it the graph
that finds near vectors. `current.json` names all of these with their digests, and the manifest's, and is replaced as the last thing. So a
search finds a whole index whatever else goes on, and sees where the corpus has changed since. It is made by `llmi_env.tools.corpus_update`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from llmi_env import embeddings
from llmi_env.errors import AssetError, MissingExtra
from llmi_env.folders import cache_dir
from llmi_env.tools.corpus import MANIFEST, Corpus, Entry, entry_of
from llmi_env.tools.corpus_vectors import Graph, VectorFile, cosines, meaning, meaning_key, open_vectors
from llmi_env.tools.corpus_words import MEANING_WEIGHT, Words

__all__ = [
    "CURRENT",
    "EXACT_ROWS",
    "FORMAT",
    "KeptIndex",
    "Place",
    "Ranked",
    "described",
    "embedded",
    "file_digest",
    "missing",
    "opened",
]

logger = logging.getLogger(__name__)

EXACT_ROWS = 10_000
"""Pictures up to which all of them are compared with a query; measured (benchmarks/results/corpus.md)."""
MISSING_AT_SEARCH = 512
"""Captions of a large corpus that a search embeds itself, at most: some seconds' work."""
CURRENT = "current.json"
FORMAT = 1
"""Raised when the layout of a generation, or what counts as a word, changes."""
_SAID = {"manifest", "entries", "generation", "model", "vectors", "vector_rows", "graph", "files"}
_WIDE = 200


class Ranked(NamedTuple):
    """A picture that answers a query, its score, and what it is sorted by."""

    key: float
    score: float
    entry: Entry


class Place:
    """The folder in the cache that belongs to a corpus.

    Attributes:
        corpus: folder of the corpus.
        path: folder of its index; made when it is missing.
        lock: held by who makes a generation.
    """

    def __init__(self, corpus: Path) -> None:
        self.corpus = corpus
        key = hashlib.sha256(str(corpus.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self.path = cache_dir() / "search" / f"own-{key}"
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(self.path / "index.lock")

    def current(self) -> dict[str, Any] | None:
        """What is said of the newest generation, where there is one of this format."""
        try:
            said = json.loads((self.path / CURRENT).read_bytes())
        except (OSError, ValueError):
            return None
        return said if isinstance(said, dict) and said.get("format") == FORMAT and said.keys() >= _SAID else None

    def vectors(self) -> VectorFile | None:
        """The vectors of the captions; `None` where texts cannot be embedded here."""
        return VectorFile(self.path) if embeddings.available() else None


class KeptIndex:
    """A generation, ready to be searched; any number of threads may.

    Args:
        place: folder of the index.
        said: what `current.json` says of it.
        folder: of the corpus.
        semantic: meanings are to be compared, too.

    Raises:
        OSError: a file of it is gone: a newer generation has taken its place.
        ValueError: a file of it is damaged.
    """

    def __init__(self, place: Path, said: Mapping[str, Any], folder: Path, *, semantic: bool) -> None:
        generation = place / str(said["generation"])
        for name, digest in said["files"].items():
            if file_digest(generation / name) != digest:
                raise ValueError(f"{generation.name}/{name} is damaged")
        self.corpus = Corpus(folder, (), str(said["manifest"]), grows=True)
        self._lines = np.asarray(np.memmap(generation / "entries.jsonl", dtype=np.uint8, mode="r"))
        self._starts = np.load(generation / "starts.npy", mmap_mode="r")
        self._photograph = np.load(generation / "photograph.npy")
        self._words = Words.open(generation / "words")
        self._vectors: NDArray[np.float16] | None = None
        self._graph: Graph | None = None
        if semantic:
            count = int(said["vector_rows"])
            self._vectors = open_vectors(place / said["vectors"], count)
            if self._vectors is None:
                raise ValueError(f"{said['vectors']} is damaged")
            self._rows = np.load(generation / "rows.npy")  # which row of the vectors each entry has
            self._order = np.argsort(self._rows, kind="stable")
            self._sorted = self._rows[self._order]
            self._cover(place, said["graph"], count)

    def _cover(self, place: Path, graph: Mapping[str, Any] | None, count: int) -> None:
        """Take the graph, where there is one, and note which rows it leaves to be compared one by one."""
        if graph is not None:
            try:
                self._graph = Graph.load(place / graph["file"], int(graph["rows"]))
            except MissingExtra as error:
                logger.warning("every picture is compared, which takes longer: %s", error)
            else:
                if self._graph is None:
                    raise ValueError(f"{graph['file']} is damaged")
        covered = self._graph.rows if self._graph is not None else 0
        used = np.unique(self._rows)
        self._tail = used[used >= covered]
        self._dead = covered - int((used < covered).sum())

    def __len__(self) -> int:
        return len(self._starts) - 1

    def entry(self, row: int) -> Entry:
        """One entry, read from its line."""
        return entry_of(self._lines[self._starts[row] : self._starts[row + 1]].tobytes(), own=True)

    def search(
        self, words: Sequence[str], vector: NDArray[np.float32] | None, raised: float, limit: int, floor: float
    ) -> list[Ranked]:
        """The pictures that answer a query, best first, as an index in memory would find them.

        Args:
            words: what the query asks for.
            vector: its meaning; `None` compares words alone.
            raised: what a photograph's score is raised by when pictures are sorted.
            limit: most pictures that are wanted.
            floor: least score.
        """
        shares = self._words.shares(words)
        if vector is None:
            rows = np.flatnonzero(shares)
            scores = shares[rows]
        else:
            rows = np.union1d(_highest(shares, max(_WIDE, 8 * limit)), self._near(vector, max(_WIDE, 8 * limit)))
            scores = self._fused(rows, vector, shares)
        keys = np.round(scores + raised * self._photograph[rows], 4)
        order = np.argsort(-keys, kind="stable")
        order = order[scores[order] >= floor][:limit]
        return [Ranked(float(keys[at]), float(scores[at]), self.entry(int(rows[at]))) for at in order]

    def _fused(self, rows: NDArray[np.int64], vector: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[Any]:
        assert self._vectors is not None
        alike = np.clip(cosines(self._vectors, self._rows[rows], vector), 0.0, 1.0).astype(np.float64)
        return MEANING_WEIGHT * alike + (1 - MEANING_WEIGHT) * shares[rows]

    def _near(self, vector: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Entries whose meanings are near: at least `count`, where there are as many."""
        assert self._vectors is not None
        found = [self._tail[_highest(cosines(self._vectors, self._tail, vector), count)]]
        if self._graph is not None:
            found.append(self._graph.near(vector, count + self._dead))  # some may belong to entries that are gone
        rows = np.concatenate(found)
        starts, ends = np.searchsorted(self._sorted, rows, "left"), np.searchsorted(self._sorted, rows, "right")
        parts = [self._order[start:end] for start, end in zip(starts, ends, strict=True) if end > start]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _highest(values: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Places of the `count` highest of those above 0."""
    above = np.flatnonzero(values > 0)
    if len(above) <= count:
        return above
    return above[np.argpartition(-values[above], count - 1)[:count]]


def opened(corpus: Path, *, semantic: bool) -> KeptIndex | None:
    """The kept index of a large corpus; `None` where it is small, or where there is none that is whole.

    One that does not fit the corpus any more is made again, unless that would take long or another process is adding: then the last whole
    one is taken, and a warning says what is missing.
    """
    count, digest = _measured(corpus / MANIFEST)
    if count <= EXACT_ROWS:
        return None
    place = Place(corpus)
    said = place.current()
    if said is None or said["manifest"] != digest or not _suits(said, semantic):
        said = _made_again(corpus, place) or said
    for _ in range(3):  # a newer one may take its place while it is being opened, or it may be damaged
        if said is None or not _suits(said, semantic):
            return None
        try:
            found = KeptIndex(place.path, said, corpus, semantic=semantic)
        except (OSError, ValueError) as error:
            newer = place.current()
            if newer == said:
                logger.warning("the search index of your pictures is damaged (%s); it is made again", error)
                newer = _made_again(corpus, place)
            said = newer
            continue
        if said["manifest"] != digest:
            logger.warning(
                "searching %d of your pictures; others are not indexed yet: wait for 'llmi corpus add' to end, or run 'llmi corpus index'",
                len(found),
            )
        return found
    return None


def _suits(said: Mapping[str, Any], semantic: bool) -> bool:
    return not semantic or (embeddings.available() and said["model"] == embeddings.model_digest())


def _made_again(corpus: Path, place: Place) -> dict[str, Any] | None:
    """What is said of the new generation; `None` where it would take long, or another process is changing the corpus."""
    from llmi_env.tools.corpus_update import update

    try:
        lock = FileLock(corpus / ".lock")
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return None
    try:
        file = place.vectors()
        if file is not None and len(missing(file, Corpus.load(corpus, grows=True).entries)) > MISSING_AT_SEARCH:
            return None
        update(corpus, graph=False)
        return place.current()
    except OSError as error:
        if isinstance(error, AssetError):
            raise
        logger.warning("the search index could not be kept in the cache (%s)", error)
        return None
    finally:
        lock.release()


def _measured(manifest: Path) -> tuple[int, str]:
    """Lines and digest of a manifest."""
    count, digest = 0, hashlib.sha256()
    try:
        with manifest.open("rb") as file:
            while portion := file.read(1 << 20):
                count += portion.count(b"\n")
                digest.update(portion)
    except OSError:
        return 0, ""
    return count, digest.hexdigest()


def missing(file: VectorFile, entries: Sequence[Entry]) -> dict[bytes, str]:
    """The texts of entries that have no vector yet, by key."""
    texts = {meaning_key(text): text for text in map(meaning, entries)}
    found = file.rows(list(texts))
    return {key: text for (key, text), row in zip(texts.items(), found, strict=True) if row < 0}


def embedded(corpus: Corpus) -> Corpus:
    """A large corpus of which there is no kept index: what is embedded of it, where the rest would take long."""
    file = Place(corpus.folder).vectors()
    if file is None or len(corpus.entries) <= EXACT_ROWS:
        return corpus
    left = missing(file, corpus.entries)
    if len(left) <= MISSING_AT_SEARCH:
        return corpus
    logger.warning("%d captions of your pictures are not embedded yet; run 'llmi corpus index'", len(left))
    entries = tuple(entry for entry in corpus.entries if meaning_key(meaning(entry)) not in left)
    return Corpus(corpus.folder, entries, corpus.digest, corpus.grows)


def described(corpus: Path) -> str:
    """How the pictures of a corpus are searched, in a sentence or two."""
    count, digest = _measured(corpus / MANIFEST)
    if count <= EXACT_ROWS:
        return "every picture is compared with a query"
    place = Place(corpus)
    said = place.current()
    if said is None:
        return "not indexed yet: run 'llmi corpus index'"
    graph = said["graph"]
    text = f"indexed: {said['entries']:,} pictures, "
    text += (
        f"the nearest of {graph['rows']:,} captions found by a graph"
        if graph
        else "every caption compared with a query"
    )
    text += (
        f", {sum(path.stat().st_size for path in place.path.rglob('*') if path.is_file()) / 1e6:.0f} MB in {place.path}"
    )
    return text if said["manifest"] == digest else f"{text}; not all of them: run 'llmi corpus index'"


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Meanings of a corpus that grows: vectors of captions, each computed once, and the graph that finds near ones among many.

Vectors lie in one file to which rows are appended, float16, each with the digest of its text and a check sum: a row that a kill has cut is
dropped, all before it stay. The graph (HNSW, by the library usearch) covers the first rows of that file; what came since is compared one by
one. Files are never changed otherwise: a new one is written beside and renamed, so whoever reads an old one goes on undisturbed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from llmi_env import embeddings
from llmi_env.embeddings import DIMENSIONS, MAX_TOKENS, TextEmbedder
from llmi_env.errors import require
from llmi_env.tools.corpus import Entry

__all__ = ["CaptionEmbedder", "Graph", "VectorFile", "cosines", "meaning", "meaning_key", "open_vectors"]

logger = logging.getLogger(__name__)

EMBEDDED_UNDER_LOCK = 512
"""Captions that are embedded before another process gets its turn."""
GROWN_AT_ONCE = 20_000
"""Rows that are added to a graph before it is kept."""
_KEY_BYTES = 16
_FORMAT = 1  # raised when the layout or the embedded text changes
_ROW = np.dtype([("key", f"V{_KEY_BYTES}"), ("vector", "<f2", (DIMENSIONS,)), ("check", "<u4")])
_ALIKE = 16
_BLOCK = 4096
_CONNECTIVITY, _EXPANSION_ADD, _EXPANSION_SEARCH = 16, 128, 128


def meaning(entry: Entry) -> str:
    """The text that stands for an entry where meanings are compared."""
    return f"{entry.described} ({', '.join(entry.keywords)})" if entry.keywords else entry.described


def meaning_key(text: str) -> bytes:
    """What the vector of `text` is kept under."""
    return hashlib.sha256(text.encode()).digest()[:_KEY_BYTES]


class CaptionEmbedder(TextEmbedder):
    """The embedding model for many captions at a time: about two and a half times as fast as one by one.

    Sixteen texts of one length in tokens go through it together, filled up where there are fewer. Nothing is padded, and the shape is always
    the same, so a caption's vector does not depend on its companions.
    """

    def __init__(self) -> None:
        super().__init__(remembered=0)

    def in_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Positions in `texts` and their vectors, shape (len(positions), 384), batch by batch."""
        if len(texts) < _ALIKE:
            yield list(range(len(texts))), self(texts)
            return
        self.load()
        by_length: dict[int, list[tuple[int, list[int]]]] = {}
        for place, ids in enumerate(self._token_ids(texts)):
            by_length.setdefault(len(ids), []).append((place, ids))
        for _, alike in sorted(by_length.items()):
            for start in range(0, len(alike), _ALIKE):
                batch = alike[start : start + _ALIKE]
                filled = [ids for _, ids in batch] + [batch[0][1]] * (_ALIKE - len(batch))
                yield [place for place, _ in batch], self._encode_alike(filled)[: len(batch)]

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self._tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        return found

    def _encode_alike(self, ids: list[list[int]]) -> NDArray[np.float32]:
        import torch

        tokens = torch.tensor(ids)
        with torch.inference_mode():
            hidden = self._model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
            pooled = hidden.mean(dim=1)
            return np.array((pooled / pooled.norm(dim=1, keepdim=True).clamp_min(1e-12)).numpy(), dtype=np.float32)


class VectorFile:
    """Vectors of texts by key, in the newest file of `folder` that the embedding model made.

    Any number of processes may read while one writes; writers take turns by a lock.

    Attributes:
        path: the file.
        damaged: how many of its rows are of no use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stem = f"vectors-{embeddings.model_digest()[:8]}-{_FORMAT}"
        self._lock = FileLock(folder / "vectors.lock")
        self._embedder: CaptionEmbedder | None = None
        self.path = folder
        self._forget()
        self.refresh()

    def _forget(self) -> None:
        self._rows: NDArray[Any] = np.zeros(0, dtype=_ROW)
        self._found: dict[bytes, int] = {}
        self.damaged = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def vectors(self) -> NDArray[np.float16]:
        """All rows, shape (len(self), 384), mapped from the file."""
        found: NDArray[np.float16] = self._rows["vector"]
        return found

    def rows(self, keys: Sequence[bytes]) -> NDArray[np.int64]:
        """The row of each key; -1 where there is none."""
        return np.array([self._found.get(key, -1) for key in keys], dtype=np.int64)

    def refresh(self) -> None:
        """Take note of what other processes have appended, or of the file that has taken this one's place."""
        newest = self._folder / f"{self._stem}-{max(self._numbers(), default=0)}.rows"
        if newest != self.path:
            self.path = newest
            self._forget()
        try:
            count = newest.stat().st_size // _ROW.itemsize
        except FileNotFoundError:
            count = 0
        if count <= len(self._rows):
            return
        seen = len(self._rows)
        self._rows = _mapped(newest, count)
        whole = _whole(self._rows, seen)
        keys = self._rows["key"][seen:].tobytes()
        for row in range(seen, count):
            if whole[row - seen]:
                self._found[keys[(row - seen) * _KEY_BYTES : (row - seen + 1) * _KEY_BYTES]] = row
        self.damaged += int((~whole).sum())
        if not whole.all():
            logger.warning("%d rows of %s are damaged; they are computed again", (~whole).sum(), newest.name)

    def _numbers(self) -> list[int]:
        pattern = re.compile(re.escape(self._stem) + r"-(\d+)\.rows")
        return [int(found[1]) for path in self._folder.glob("*.rows") if (found := pattern.fullmatch(path.name))]

    def embed(
        self, texts: Mapping[bytes, str], stop: threading.Event | None = None, tick: Callable[[int], None] | None = None
    ) -> None:
        """Compute and append the vectors of those of `texts` that are not there yet.

        Args:
            texts: by their keys.
            stop: once set, nothing more is computed.
            tick: called with how many were dealt with.
        """
        self._embedder = self._embedder or CaptionEmbedder()
        keys = list(texts)
        for start in range(0, len(keys), EMBEDDED_UNDER_LOCK):
            portion = keys[start : start + EMBEDDED_UNDER_LOCK]
            with self._lock:
                self.refresh()  # another process may have been at it
                missing = [key for key in portion if key not in self._found]
                for places, vectors in self._embedder.in_batches([texts[key] for key in missing]) if missing else ():
                    self._append([missing[place] for place in places], vectors)
                    if stop is not None and stop.is_set():
                        return
            if tick is not None:
                tick(len(portion))

    def _append(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        rows = _made(keys, vectors.astype(np.float16))
        with self.path.open("ab") as file:
            whole = file.tell() // _ROW.itemsize * _ROW.itemsize
            if whole != file.tell():  # a kill has cut the last row
                file.truncate(whole)
            file.write(rows.tobytes())
        self.refresh()

    def compact(self, keys: Sequence[bytes]) -> None:
        """Begin a new file with the rows of `keys` alone."""
        with self._lock:
            self.refresh()
            alive = [key for key in dict.fromkeys(keys) if key in self._found]
            rows = _made(alive, self.vectors[self.rows(alive)])
            number = max(self._numbers(), default=0) + 1
            partial = self._folder / f"{self._stem}-{number}.part"
            rows.tofile(partial)
            partial.rename(self._folder / f"{self._stem}-{number}.rows")
            self.refresh()


def open_vectors(path: Path, count: int) -> NDArray[np.float16] | None:
    """The first `count` rows of a vector file, mapped; `None` where they are not all there and whole."""
    if path.stat().st_size < count * _ROW.itemsize:
        return None
    rows = _mapped(path, count)
    vectors: NDArray[np.float16] = rows["vector"]
    return vectors if _whole(rows).all() else None


def _mapped(path: Path, count: int) -> NDArray[Any]:
    # as a plain array: slices of a memmap are slow to make
    return np.asarray(np.memmap(path, dtype=_ROW, mode="r", shape=(count,))) if count else np.zeros(0, dtype=_ROW)


def _whole(rows: NDArray[Any], first: int = 0) -> NDArray[np.bool_]:
    """Which rows, from `first` on, have the check sum that they should."""
    size = _ROW.itemsize
    raw = rows.view(np.uint8).data
    checks = rows["check"][first:].tolist()
    return np.array(
        [zlib.crc32(raw[row * size : (row + 1) * size - 4]) == check for row, check in enumerate(checks, start=first)],
        dtype=bool,
    )


def _made(keys: Sequence[bytes], vectors: NDArray[np.float16]) -> NDArray[Any]:
    rows = np.zeros(len(keys), dtype=_ROW)
    rows["key"] = np.frombuffer(b"".join(keys), dtype=f"V{_KEY_BYTES}")
    rows["vector"] = vectors
    raw = rows.tobytes()
    size = _ROW.itemsize
    rows["check"] = [zlib.crc32(raw[row * size : (row + 1) * size - 4]) for row in range(len(rows))]
    return rows


class Graph:
    """Which rows of a vector file are near a vector: all that the graph covers, nearly always the right ones.

    Attributes:
        rows: how many rows it covers, from the first on.
        path: its file.
    """

    def __init__(self, path: Path, index: Any, rows: int) -> None:
        self.path, self.rows = path, rows
        self._index = index
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: Path, rows: int, *, change: bool = False) -> Graph | None:
        """The graph in a file, mapped from there unless it is to be changed; `None` where the file is damaged.

        Raises:
            MissingExtra: usearch is not installed.
        """
        usearch = require("usearch.index", "a vector index", "corpus")
        # the library trusts its files, and a damaged one would end the process
        if not path.stem.endswith(_digest(path)):
            logger.warning("the vector index %s is damaged; it is made again", path.name)
            return None
        index = usearch.Index.restore(str(path), view=not change)
        index.expansion_add, index.expansion_search = _EXPANSION_ADD, _EXPANSION_SEARCH
        return cls(path, index, rows)

    @staticmethod
    def files(file: VectorFile) -> list[tuple[int, Path]]:
        """The graphs over `file` that are kept, the widest first: how many rows each covers, and where it is."""
        pattern = re.compile(re.escape(file.path.stem) + r"-(\d+)-[0-9a-f]{16}\.usearch")
        named = ((pattern.fullmatch(path.name), path) for path in file.path.parent.glob("*.usearch"))
        found = [(int(match[1]), path) for match, path in named if match is not None]
        return sorted((each for each in found if each[0] <= len(file)), reverse=True)

    @classmethod
    def newest(cls, file: VectorFile, *, change: bool = False) -> Graph | None:
        """The widest whole graph over `file`; `None` where there is none.

        Raises:
            MissingExtra: there is one, and usearch is not installed.
        """
        loaded = (cls.load(path, rows, change=change) for rows, path in cls.files(file))
        return next((graph for graph in loaded if graph is not None), None)

    @classmethod
    def grown(
        cls, file: VectorFile, stop: threading.Event | None = None, tick: Callable[[int], None] | None = None
    ) -> Graph | None:
        """A graph over all rows of `file`, made by adding to the newest; kept as it grows, so that a kill loses little.

        Args:
            file: the rows; the caller is its only writer.
            stop: once set, the graph is kept as it is.
            tick: called with how many rows were added.

        Raises:
            MissingExtra: usearch is not installed.
        """
        usearch = require("usearch.index", "a vector index", "corpus")
        graph = cls.newest(file, change=True)
        if graph is None:
            index = usearch.Index(
                ndim=DIMENSIONS,
                metric="cos",
                dtype="f16",
                connectivity=_CONNECTIVITY,
                expansion_add=_EXPANSION_ADD,
                expansion_search=_EXPANSION_SEARCH,
            )
            graph = cls(file.path, index, 0)
        while graph.rows < len(file) and not (stop is not None and stop.is_set()):
            upto = min(graph.rows + GROWN_AT_ONCE, len(file))
            while graph.rows < upto and not (stop is not None and stop.is_set()):
                portion = np.arange(graph.rows, min(graph.rows + 500, upto), dtype=np.uint64)
                # one thread: the same rows in the same order make the same graph
                graph._index.add(portion, np.ascontiguousarray(file.vectors[portion.astype(np.int64)]), threads=1)
                graph.rows += len(portion)
                if tick is not None:
                    tick(len(portion))
            graph._keep(file.path)
        return graph if graph.rows else None

    def _keep(self, vectors: Path) -> None:
        partial = vectors.with_name(f"{vectors.stem}-{os.getpid()}.usearch.part")
        self._index.save(str(partial))
        self.path = vectors.with_name(f"{vectors.stem}-{self.rows}-{_digest(partial)}.usearch")
        partial.replace(self.path)

    def near(self, vector: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """The `count` rows that are nearest to `vector`."""
        with self._lock:  # the library lends no more places than there are processors
            self._index.expansion_search = max(_EXPANSION_SEARCH, count)
            found = self._index.search(vector, count, threads=1)
        return np.asarray(found.keys, dtype=np.int64)


def cosines(vectors: NDArray[np.float16], rows: NDArray[np.int64], vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Products of some rows with a vector, shape (len(rows),), in float32 and a block at a time."""
    found = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = vectors[rows[part]].astype(np.float32) @ vector
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]

"""Ranking pictures for a query: words (BM25) and meanings (MiniLM), fused, with a floor below which nothing is found.

Words are matched on title, caption and keywords; their score is divided by the best that the query could reach, so that it says how much
of the query a picture answers. Meanings are cosines between the query and the picture's description. Both lie in [0, 1], so one floor
tells a poor match from a good one; it was measured (see the corpus's README). The meanings of the bundled corpus are computed once and kept
in the cache folder under the digests of model and manifest; those of the user's own, which grows, are kept by `corpus_vectors`, and the
index of a large one by `corpus_kept`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from llmi_env.folders import write_whole
from llmi_env.tools.corpus import Corpus, Entry
from llmi_env.tools.corpus_kept import KeptIndex, Place, missing
from llmi_env.tools.corpus_update import own_vectors
from llmi_env.tools.corpus_vectors import meaning, meaning_key
from llmi_env.tools.corpus_words import MEANING_WEIGHT, Words, document, essence, favour, query_words

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["CorpusIndex", "Hit", "query_words", "vectors_of", "vectors_ready"]

logger = logging.getLogger(__name__)

WORDS_FLOOR = 0.30
"""Least share of the query that a picture must answer when words alone are compared."""
FUSED_FLOOR = 0.40
"""Least fused score when meanings are compared too."""
_FORMAT = 2  # raised when the layout or the embedded text changes
_KEY_BYTES = 16
_SAVED_EVERY = 256
_T = TypeVar("_T")


@dataclass(frozen=True)
class Hit:
    """One picture that answers a query.

    Attributes:
        corpus: where it stands.
        entry: what it is.
        score: in [0, 1]; above the floor.
    """

    corpus: Corpus
    entry: Entry
    score: float


class CorpusIndex:
    """Pictures of one or several corpora, ranked for a query. Immutable, so any number of threads may search.

    Args:
        corpora: the first one's pictures win where scores are equal; all of them are compared.
        semantic: compare meanings too; needs the extra `offline` and the embedding model.
        floor: least score of a hit; by default the measured one.
        console: where the progress of a first computation is shown.
        kept: a large corpus besides, whose index is kept in files.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        *,
        semantic: bool = True,
        floor: float | None = None,
        console: Console | None = None,
        kept: KeptIndex | None = None,
    ) -> None:
        self.semantic = semantic
        self.floor = floor if floor is not None else (FUSED_FLOOR if semantic else WORDS_FLOOR)
        self._kept = kept
        self._rows: list[tuple[Corpus, Entry]] = [(corpus, entry) for corpus in corpora for entry in corpus.entries]
        self._words = Words.build(document(entry) for _, entry in self._rows)
        self._photograph = np.array([entry.kind == "photograph" for _, entry in self._rows], dtype=bool)
        self._vectors = (
            np.concatenate([vectors_of(corpus, console=console) for corpus in corpora]) if semantic else None
        )

    def __len__(self) -> int:
        return len(self._rows) + (len(self._kept) if self._kept is not None else 0)

    def search(self, query: str, limit: int = 5, floor: float | None = None) -> list[Hit]:
        """Pictures that answer `query`, best first; none where nothing reaches the floor (by default the index's own)."""
        floor = self.floor if floor is None else floor
        words = query_words(query)
        if not words:
            return []
        vector = self._meaning(query)
        scores = self._scores(words, vector)
        raised = favour(query)
        # photographs first where all else is nearly equal, unless a drawing is asked for
        keys = np.round(scores + raised * self._photograph, 4)
        order = np.argsort(-keys, kind="stable")
        order = order[scores[order] >= floor][:limit]
        found = []
        for row in order:
            corpus, entry = self._rows[row]
            found.append((float(keys[row]), Hit(corpus, entry, round(float(scores[row]), 4))))
        if self._kept is not None:
            for key, score, entry in self._kept.search(words, vector, raised, limit, floor):
                found.append((key, Hit(self._kept.corpus, entry, round(score, 4))))
            found.sort(key=lambda pair: -pair[0])
        return [hit for _, hit in found[:limit]]

    def scores(self, query: str) -> NDArray[np.float64]:
        """Scores of all pictures that are compared one by one, in the order of their manifests."""
        words = query_words(query)
        return self._scores(words, self._meaning(query)) if words else np.zeros(len(self._rows))

    def _meaning(self, query: str) -> NDArray[np.float32] | None:
        if not self.semantic or not len(self):
            return None
        from llmi_env.embeddings import embed

        vector: NDArray[np.float32] = embed([essence(query)])[0]
        return vector

    def _scores(self, words: Sequence[str], vector: NDArray[np.float32] | None) -> NDArray[np.float64]:
        matched = self._words.shares(words)
        if self._vectors is None or vector is None:
            return matched
        alike = np.clip(self._vectors @ vector, 0.0, 1.0).astype(np.float64)
        fused: NDArray[np.float64] = MEANING_WEIGHT * alike + (1 - MEANING_WEIGHT) * matched
        return fused


# ------------------------------------------------------------------------------------------------------------------ meanings


def _vector_file(corpus: Corpus) -> Path:
    from llmi_env.embeddings import model_digest
    from llmi_env.folders import cache_dir

    key = hashlib.sha256(f"{_FORMAT}:{model_digest()}:{corpus.digest}".encode()).hexdigest()[:24]
    return cache_dir() / "search" / f"{key}.f32"


def vectors_ready(corpus: Corpus) -> bool:
    """Whether the meanings of `corpus` are in the cache, whole."""
    from llmi_env.embeddings import available

    if not available():
        return False
    if corpus.grows:
        file = Place(corpus.folder).vectors()
        return file is not None and not missing(file, corpus.entries)
    kept = _read(_vector_file(corpus))
    return kept is not None and all(meaning_key(meaning(entry)) in kept for entry in corpus.entries)


def vectors_of(corpus: Corpus, *, console: Console | None = None) -> NDArray[np.float32]:
    """Meanings of a corpus, shape (entries, 384): from the cache, or computed and kept there.

    A cache file that is damaged is said in the log and made again; so is one that cannot be written, whose work is then not kept. A stop
    loses at most the last few hundred.

    Raises:
        MissingExtra: torch or transformers is not installed.
        AssetError: the embedding model is not installed.
    """
    from llmi_env.embeddings import DIMENSIONS, TextEmbedder

    if corpus.grows:
        return own_vectors(corpus, console=console)
    path = _vector_file(corpus)
    kept = _read(path) or {}
    if any(meaning_key(meaning(entry)) not in kept for entry in corpus.entries):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            found = _read(path)  # another process may have been at it
            if found is None and path.exists():
                logger.warning("the cached search index %s is damaged; computing it again", path.name)
            kept = found or {}
            left = {key: entry for entry in corpus.entries if (key := meaning_key(meaning(entry))) not in kept}
            embedder = TextEmbedder(remembered=0)
            for number, (key, entry) in enumerate(_progress(list(left.items()), console), start=1):
                kept[key] = embedder([meaning(entry)])[0]
                if number % _SAVED_EVERY == 0:
                    _write(path, kept)
            wanted = {meaning_key(meaning(entry)) for entry in corpus.entries}
            _write(path, {key: vector for key, vector in kept.items() if key in wanted})
    if not corpus.entries:
        return np.zeros((0, DIMENSIONS), dtype=np.float32)
    return np.stack([kept[meaning_key(meaning(entry))] for entry in corpus.entries])


def _progress(items: list[_T], console: Console | None) -> Iterable[_T]:
    if console is None:
        return items
    from rich.progress import track

    return track(items, description="embedding captions", console=console)


def _read(path: Path) -> dict[bytes, NDArray[np.float32]] | None:
    """The vectors in `path` by key, where it is whole: rows of key and vector, then the digest of all that."""
    from llmi_env.embeddings import DIMENSIONS

    try:
        data = path.read_bytes()
    except OSError:
        return None
    body, digest = data[:-32], data[-32:]
    row = _KEY_BYTES + 4 * DIMENSIONS
    if hashlib.sha256(body).digest() != digest or len(body) % row:
        return None
    starts = range(0, len(body), row)
    return {
        body[at : at + _KEY_BYTES]: np.frombuffer(body, dtype="<f4", count=DIMENSIONS, offset=at + _KEY_BYTES).astype(
            np.float32
        )
        for at in starts
    }


def _write(path: Path, vectors: dict[bytes, NDArray[np.float32]]) -> None:
    body = b"".join(key + vector.astype("<f4").tobytes() for key, vector in vectors.items())
    try:
        write_whole(path, body + hashlib.sha256(body).digest())
    except OSError as error:
        logger.warning("the search index could not be kept in the cache (%s)", error)

"""Ranking pictures for a query: words (BM25) and meanings (MiniLM), fused, with a floor below which nothing is found.

Words are matched on title, caption and keywords; their score is divided by the best that the query could reach, so that it says how much
of the query a picture answers. Meanings are cosines between the query and the picture's description. Both lie in [0, 1], so one floor
tells a poor match from a good one; it was measured (see the corpus's README). The meanings of a corpus are computed once and kept in the
cache folder under the digests of model and manifest; a corpus that grows keeps one file, to which only what is new is added.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from llmi_env.tools.corpus import Corpus, Entry

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["CorpusIndex", "Hit", "query_words", "vectors_of", "vectors_ready"]

logger = logging.getLogger(__name__)

WORDS_FLOOR = 0.30
"""Least share of the query that a picture must answer when words alone are compared."""
FUSED_FLOOR = 0.40
"""Least fused score when meanings are compared too."""
MEANING_WEIGHT = 0.6
"""Weight of the cosine in the fused score; the rest is the words'."""
_K1, _B = 0.6, 0.3  # short descriptions: a second mention says little, and length says little
_FORMAT = 2  # raised when the layout or the embedded text changes
_KEY_BYTES = 16
_SAVED_EVERY = 256
_T = TypeVar("_T")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FUNCTION_WORDS = _word_set(
    """a about above across after all along also am an and any are around as at be been being below between both but by can could did do
    does during each either every for from had has have having he her here him his how i if in inside into is it its itself just like
    me more most my near no nor not of off on one only onto or other our out outside over own per please quite rather same she should
    showing shows shown so some such than that the their them then there these they this those through to together too toward towards
    under until up upon us very was we were what when where which while who whom whose why will with within without would you
    your"""
)
_PHOTO_WORDS = _word_set("photo photograph photography photographic photorealistic shot snapshot")
_DRAWING_WORDS = _word_set("drawing illustration cartoon clipart icon sketch drawn illustrated emoji")
_EMPTY_WORDS = _word_set(
    """image picture pic pics depicting depiction depicted display displaying view scene visual figure close closeup up high low quality
    resolution hd 4k detailed realistic real beautiful nice stunning famous typical classic traditional simple clear good great best
    vivid colorful colourful bright single various several different example suitable relevant"""
)


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
        corpora: the first one's pictures win where scores are equal.
        semantic: compare meanings too; needs the extra `offline` and the embedding model.
        floor: least score of a hit; by default the measured one.
        console: where the progress of a first computation is shown.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        *,
        semantic: bool = True,
        floor: float | None = None,
        console: Console | None = None,
    ) -> None:
        import bm25s

        self.semantic = semantic
        self.floor = floor if floor is not None else (FUSED_FLOOR if semantic else WORDS_FLOOR)
        self._rows: list[tuple[Corpus, Entry]] = [(corpus, entry) for corpus in corpora for entry in corpus.entries]
        documents = [_document(entry) for _, entry in self._rows]
        frequency = Counter(word for document in documents for word in set(document))
        self._idf = {word: _idf(count, len(documents)) for word, count in frequency.items()}
        self._idf_unknown = _idf(0, max(len(documents), 1))
        self._bm25: Any = None
        if frequency:
            self._bm25 = bm25s.BM25(k1=_K1, b=_B, method="lucene")
            self._bm25.index(documents, show_progress=False)
        self._photograph = np.array([entry.kind == "photograph" for _, entry in self._rows], dtype=bool)
        self._vectors = (
            np.concatenate([vectors_of(corpus, console=console) for corpus in corpora]) if semantic else None
        )

    def __len__(self) -> int:
        return len(self._rows)

    def search(self, query: str, limit: int = 5, floor: float | None = None) -> list[Hit]:
        """Pictures that answer `query`, best first; none where nothing reaches the floor (by default the index's own)."""
        floor = self.floor if floor is None else floor
        scores = self.scores(query)
        if not len(scores):
            return []
        wanted = {word.lower() for word in _WORD.findall(query)}
        # photographs first where all else is nearly equal, unless a drawing is asked for
        favour = -0.02 if wanted & _DRAWING_WORDS else (0.04 if wanted & _PHOTO_WORDS else 0.02)
        order = np.argsort(-np.round(scores + favour * self._photograph, 4), kind="stable")
        hits = [
            Hit(corpus=self._rows[row][0], entry=self._rows[row][1], score=round(float(scores[row]), 4))
            for row in order
            if scores[row] >= floor
        ]
        return hits[:limit]

    def scores(self, query: str) -> NDArray[np.float64]:
        """Scores of all pictures, shape (len(self),), in the order of their manifests."""
        words = query_words(query)
        if not self._rows or not words:
            return np.zeros(len(self._rows))
        matched = self._words(words)
        if self._vectors is None:
            return matched
        from llmi_env.embeddings import embed

        meaning = np.clip(self._vectors @ embed([_essence(query)])[0], 0.0, 1.0).astype(np.float64)
        fused: NDArray[np.float64] = MEANING_WEIGHT * meaning + (1 - MEANING_WEIGHT) * matched
        return fused

    def _words(self, words: Sequence[str]) -> NDArray[np.float64]:
        """Share of the best possible BM25 score, in [0, 1]; a word that no picture has counts like the rarest one."""
        best = sum(self._idf.get(word, self._idf_unknown) for word in words)
        known = [word for word in words if word in self._idf]
        if not known:
            return np.zeros(len(self._rows))
        found = np.asarray(self._bm25.get_scores(known), dtype=np.float64)
        return np.clip(found / best, 0.0, 1.0)


def _idf(count: int, total: int) -> float:
    return math.log(1 + (total - count + 0.5) / (count + 0.5))


def _document(entry: Entry) -> list[str]:
    """Words of an entry; the title counts twice."""
    title = [_stem(word) for word in _split(entry.title)]
    return (
        title
        + title
        + [_stem(word) for word in _split(entry.caption)]
        + [_stem(w) for w in _split(" ".join(entry.keywords))]
    )


def _split(text: str) -> list[str]:
    return [word for word in (found.lower() for found in _WORD.findall(text)) if word not in _FUNCTION_WORDS]


def query_words(query: str) -> list[str]:
    """What a query asks for: its words in lower case and singular, each once; empty words such as `photo` or `beautiful` left out."""
    empty = _PHOTO_WORDS | _DRAWING_WORDS | _EMPTY_WORDS
    return list(dict.fromkeys(_stem(word) for word in _split(query) if word not in empty))


def _essence(query: str) -> str:
    """The query without the words that say only that a picture is wanted; order and function words stay, for the sense."""
    empty = _PHOTO_WORDS | _DRAWING_WORDS | {"image", "picture", "pic", "depicting", "showing"}
    words = [
        word for word in query.split() if _WORD.findall(word.lower()) and _WORD.findall(word.lower())[0] not in empty
    ]
    text = " ".join(words)
    return re.sub(r"^(?:(?:a|an|the|of)\s+)+", "", text, flags=re.IGNORECASE) or query


def _stem(word: str) -> str:
    """Harman's weak stemmer: plurals only, so that nothing is confused."""
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("us", "ss", "is")):
        return word[:-1]
    return word


# ------------------------------------------------------------------------------------------------------------------ meanings


def _vector_file(corpus: Corpus) -> Path:
    from llmi_env.embeddings import model_digest
    from llmi_env.folders import cache_dir

    # a corpus that grows keeps its file, so that only what is new is computed
    which = str(corpus.folder.resolve()) if corpus.grows else corpus.digest
    key = hashlib.sha256(f"{_FORMAT}:{model_digest()}:{which}".encode()).hexdigest()[:24]
    return cache_dir() / "search" / f"{key}.f32"


def vectors_ready(corpus: Corpus) -> bool:
    """Whether the meanings of `corpus` are in the cache, whole."""
    from llmi_env.embeddings import available

    if not available():
        return False
    kept = _read(_vector_file(corpus))
    return kept is not None and all(_key(entry) in kept for entry in corpus.entries)


def vectors_of(corpus: Corpus, *, console: Console | None = None) -> NDArray[np.float32]:
    """Meanings of a corpus, shape (entries, 384): from the cache, or computed and kept there.

    A cache file that is damaged is said in the log and made again; so is one that cannot be written, whose work is then not kept. A stop
    loses at most the last few hundred.

    Raises:
        MissingExtra: torch or transformers is not installed.
        AssetError: the embedding model is not installed.
    """
    from llmi_env.embeddings import DIMENSIONS, TextEmbedder

    path = _vector_file(corpus)
    kept = _read(path) or {}
    if any(_key(entry) not in kept for entry in corpus.entries):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            found = _read(path)  # another process may have been at it
            if found is None and path.exists():
                logger.warning("the cached search index %s is damaged; computing it again", path.name)
            kept = found or {}
            missing = {key: entry for entry in corpus.entries if (key := _key(entry)) not in kept}
            embedder = TextEmbedder(remembered=0)
            for number, (key, entry) in enumerate(_progress(list(missing.items()), console), start=1):
                kept[key] = embedder([_meaning(entry)])[0]
                if number % _SAVED_EVERY == 0:
                    _write(path, kept)
            wanted = {_key(entry) for entry in corpus.entries}
            _write(path, {key: vector for key, vector in kept.items() if key in wanted})
    if not corpus.entries:
        return np.zeros((0, DIMENSIONS), dtype=np.float32)
    return np.stack([kept[_key(entry)] for entry in corpus.entries])


def _meaning(entry: Entry) -> str:
    return f"{entry.described} ({', '.join(entry.keywords)})" if entry.keywords else entry.described


def _key(entry: Entry) -> bytes:
    return hashlib.sha256(_meaning(entry).encode()).digest()[:_KEY_BYTES]


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
    partial = ""
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(body + hashlib.sha256(body).digest())
        os.replace(partial, path)
    except OSError as error:
        logger.warning("the search index could not be kept in the cache (%s)", error)
        if partial:
            Path(partial).unlink(missing_ok=True)

"""Ranking pictures for a query: words (BM25) and meanings (MiniLM), fused, with a floor below which nothing is found.

Words are matched on title, caption and keywords; their score is divided by the best that the query could reach, so that it says how much
of the query a picture answers. Meanings are cosines between the query and the picture's description. Both lie in [0, 1], so one floor
tells a poor match from a good one; it was measured (see the corpus's README). The meanings of a corpus are computed once and kept in the
cache folder under the digest of manifest and model.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
_FORMAT = 1
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
    from llmi_env.models import cache_dir

    key = hashlib.sha256(f"{_FORMAT}:{model_digest()}:{corpus.digest}".encode()).hexdigest()[:24]
    return cache_dir() / "search" / f"{key}.f32"


def vectors_ready(corpus: Corpus) -> bool:
    """Whether the meanings of `corpus` are in the cache, whole."""
    from llmi_env.embeddings import available

    return available() and _read(_vector_file(corpus), len(corpus.entries)) is not None


def vectors_of(corpus: Corpus, *, console: Console | None = None) -> NDArray[np.float32]:
    """Meanings of a corpus, shape (entries, 384): from the cache, or computed and kept there.

    A cache file that is damaged is said in the log and made again; so is one that cannot be written, whose work is then not kept.

    Raises:
        MissingExtra, AssetError: texts cannot be embedded here.
    """
    from llmi_env.embeddings import DIMENSIONS, TextEmbedder

    if not corpus.entries:
        return np.zeros((0, DIMENSIONS), dtype=np.float32)
    path = _vector_file(corpus)
    found = _read(path, len(corpus.entries))
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        found = _read(path, len(corpus.entries))  # another process may have been at it
        if found is not None:
            return found
        if path.exists():
            logger.warning("the cached search index %s is damaged; computing it again", path.name)
        embedder = TextEmbedder(remembered=0)
        rows = np.concatenate([embedder([_meaning(entry)]) for entry in _progress(corpus.entries, console)])
        try:
            _write(path, rows)
        except OSError as error:
            logger.warning("the search index could not be kept in the cache (%s)", error)
    return rows


def _meaning(entry: Entry) -> str:
    return f"{entry.described} ({', '.join(entry.keywords)})" if entry.keywords else entry.described


def _progress(entries: Sequence[Entry], console: Console | None) -> Any:
    if console is None:
        return entries
    from rich.progress import track

    return track(entries, description="embedding the picture corpus", console=console)


def _read(path: Path, rows: int) -> NDArray[np.float32] | None:
    """The array in `path` where it is whole: its digest stands in the file's last 32 bytes."""
    from llmi_env.embeddings import DIMENSIONS

    try:
        data = path.read_bytes()
    except OSError:
        return None
    body, digest = data[:-32], data[-32:]
    if hashlib.sha256(body).digest() != digest or len(body) != 4 * rows * DIMENSIONS:
        return None
    return np.frombuffer(body, dtype="<f4").reshape(rows, DIMENSIONS).astype(np.float32)


def _write(path: Path, rows: NDArray[np.float32]) -> None:
    body = rows.astype("<f4").tobytes()
    handle, partial_path = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body + hashlib.sha256(body).digest())
        os.replace(partial_path, path)
    except BaseException:
        os.unlink(partial_path)
        raise

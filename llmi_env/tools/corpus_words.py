"""Words of queries and captions, and how well they match: BM25 as a share of the best that a query could reach.

In memory for small corpora; for large ones it is built once, kept in files and mapped from there.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmi_env.tools.corpus import Entry

__all__ = ["MEANING_WEIGHT", "Words", "document", "essence", "favour", "query_words"]

MEANING_WEIGHT = 0.6
"""Weight of the cosine in the fused score; the rest is the words'."""
_K1, _B = 0.6, 0.3  # short descriptions: a second mention says little, and length says little
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_import_lock = threading.Lock()


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


class Words:
    """BM25 over documents; scores are shares of the best that the query could reach, in [0, 1]. Immutable."""

    def __init__(self, ranked: Any, count: int) -> None:
        self._ranked = ranked
        self._count = count
        self._idf: dict[str, float] = {}
        self._idf_unknown = _idf(0, max(count, 1))
        if ranked is not None:
            # of each word, in how many documents it stands
            found = np.diff(ranked.scores["indptr"])
            self._idf = {word: _idf(int(found[at]), count) for word, at in ranked.vocab_dict.items() if word}

    @classmethod
    def build(cls, documents: Iterable[Sequence[str]]) -> Words:
        """Index documents, each given as its words."""
        bm25s = _bm25s()
        vocabulary: dict[str, int] = {}
        numbered = [[vocabulary.setdefault(word, len(vocabulary)) for word in words] for words in documents]
        ranked: Any = None
        if vocabulary:
            ranked = bm25s.BM25(k1=_K1, b=_B, method="lucene")
            ranked.index((numbered, vocabulary), show_progress=False)
        return cls(ranked, len(numbered))

    def save(self, folder: Path) -> None:
        """Keep it in `folder`, which is made."""
        folder.mkdir(parents=True)
        np.save(folder / "count.npy", self._count)
        if self._ranked is not None:
            self._ranked.save(folder, show_progress=False)

    @classmethod
    def open(cls, folder: Path) -> Words:
        """What `save` kept, mapped rather than read."""
        bm25s = _bm25s()
        there = (folder / "params.index.json").exists()
        ranked = bm25s.BM25.load(folder, mmap=True, show_progress=False) if there else None
        return cls(ranked, int(np.load(folder / "count.npy")))

    def shares(self, words: Sequence[str]) -> NDArray[np.float64]:
        """What each document answers of a query, shape (documents,); a word that none has counts like the rarest one."""
        best = sum(self._idf.get(word, self._idf_unknown) for word in words)
        known = [word for word in words if word in self._idf]
        if not known:
            return np.zeros(self._count)
        found = np.asarray(self._ranked.get_scores(known), dtype=np.float64)
        return np.clip(found / best, 0.0, 1.0)


def _bm25s() -> ModuleType:
    """The library, without JAX: where that is installed, it starts it on import, which takes three quarters of a GPU away from the policy.

    It sorts with it; only scores are asked for here. Whoever imports the library before this module does, has started JAX already; and for the
    moment of this import another thread finds no `jax.lax`.
    """
    with _import_lock:
        if "bm25s" not in sys.modules:
            loaded = sys.modules.get("jax.lax")
            # `None` makes an import fail as if nothing were there.
            sys.modules["jax.lax"] = None  # type: ignore[assignment]
            try:
                importlib.import_module("bm25s")
            finally:
                if sys.modules.get("jax.lax") is None:
                    sys.modules.pop("jax.lax", None)
                    if loaded is not None:
                        sys.modules["jax.lax"] = loaded
    return importlib.import_module("bm25s")  # waits for a thread that is half through with it


def _idf(count: int, total: int) -> float:
    return math.log(1 + (total - count + 0.5) / (count + 0.5))


def document(entry: Entry) -> list[str]:
    """Words of an entry; the title counts twice."""
    title = [_stem(word) for word in _split(entry.title)]
    return (
        title
        + title
        + [_stem(word) for word in _split(entry.caption)]
        + [_stem(w) for w in _split(" ".join(entry.keywords))]
    )


def favour(query: str) -> float:
    """What a photograph's score is raised by where all else is nearly equal; negative where a drawing is asked for."""
    wanted = {word.lower() for word in _WORD.findall(query)}
    return -0.02 if wanted & _DRAWING_WORDS else (0.04 if wanted & _PHOTO_WORDS else 0.02)


def _split(text: str) -> list[str]:
    return [word for word in (found.lower() for found in _WORD.findall(text)) if word not in _FUNCTION_WORDS]


def query_words(query: str) -> list[str]:
    """What a query asks for: its words in lower case and singular, each once; empty words such as `photo` or `beautiful` left out."""
    empty = _PHOTO_WORDS | _DRAWING_WORDS | _EMPTY_WORDS
    return list(dict.fromkeys(_stem(word) for word in _split(query) if word not in empty))


def essence(query: str) -> str:
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

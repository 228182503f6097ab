"""Questions that mean the same in other words, found by the embedding model; vectors are kept on the disk, for they take long to make."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from llmi_env.embeddings import DIMENSIONS, embed, ensure_available, model_digest
from llmi_env.errors import AssetError, ConfigError, MissingExtra
from llmi_env.kept_file import KeptFile, kept_path

__all__ = ["SAME_MEANING", "TOO_CLOSE", "Meanings", "earlier", "ensure_meanings", "vectors"]

Vectors = NDArray[np.float32]

TOO_CLOSE = 0.8
"""Cosine from which on a question says what a protected one says."""
SAME_MEANING = 0.92
"""Cosine from which on two questions of a set say the same."""

_BLOCK = 512
_MOST_BYTES = 256_000_000


def ensure_meanings() -> None:
    """Check that texts can be embedded here.

    Raises:
        ConfigError: the model, or what it runs on, is not installed; says how to do without.
    """
    try:
        ensure_available("comparing questions by meaning")
    except (MissingExtra, AssetError) as error:
        raise ConfigError(f"{error}; or compare them by their words alone: --no-embed") from error


def vectors(texts: Sequence[str], done: Callable[[], None] = lambda: None) -> Vectors:
    """Unit vectors of texts, shape (len(texts), 384); the model reads the first 256 tokens of each.

    Args:
        texts: what to embed.
        done: is told of each.

    Raises:
        MissingExtra: torch or transformers is not installed.
        AssetError: the model is not installed, or cannot be read.
    """
    kept, model = _kept(), _model()
    found = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in enumerate(texts):
        key = hashlib.sha256(f"{model}:{text}".encode()).hexdigest()
        body = kept.get(key)
        if isinstance(body, bytes) and len(body) == found[row].nbytes:
            found[row] = np.frombuffer(body, dtype="<f4")
        else:
            found[row] = embed([text])[0]
            kept.put(key, found[row].astype("<f4").tobytes())
        done()
    return found


class Meanings:
    """Vectors, and which of them a new one is nearest to."""

    def __init__(self, given: Vectors | None = None) -> None:
        self._held = np.empty((0, DIMENSIONS), dtype=np.float32) if given is None else given
        self._count = len(self._held)

    def nearest(self, vector: Vectors) -> tuple[int, float] | None:
        """Number and cosine of the nearest, the first of several; `None` where there is none."""
        if not self._count:
            return None
        likeness = self._held[: self._count] @ vector
        index = int(likeness.argmax())
        return index, float(likeness[index])

    def add(self, vector: Vectors) -> None:
        """Take a vector in."""
        if self._count == len(self._held):
            room = np.empty((max(64, self._count), DIMENSIONS), dtype=np.float32)
            self._held = np.concatenate([self._held, room])
        self._held[self._count] = vector
        self._count += 1


def earlier(given: Vectors, least: float) -> Iterator[tuple[int, int, float]]:
    """For each vector that has an earlier one as near as `least`: its number, the nearest earlier one's, and the cosine."""
    for start in range(0, len(given), _BLOCK):
        block = given[start : start + _BLOCK]
        likeness = block @ given[: start + len(block)].T
        for row in range(len(block)):
            before = likeness[row, : start + row]
            if len(before) and before[nearest := int(before.argmax())] >= least:
                yield start + row, nearest, float(before[nearest])


@cache
def _model() -> str:
    return model_digest()


@cache
def _kept() -> KeptFile:
    path = kept_path("default", "LLMI_VECTOR_CACHE", "question-vectors.sqlite", "vectors of questions")
    return KeptFile(path, "vectors", _MOST_BYTES, ("the cache of vectors", "embedding"))

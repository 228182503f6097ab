"""Whether a picture shows what a text says, told from the pixels: the embedded judge's eyes.

A small head (`scripts/train_picture_head.py`, its card beside the weights) maps features of EfficientNet-lite0 to the space of MiniLM's texts,
where a picture and a text have a cosine. The signal is coarse: it tells a bridge from a cat, not one bridge from another. Charts are out of
its reach.
"""

from __future__ import annotations

import threading
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmi_env.document import Picture
from llmi_env.errors import AssetError
from llmi_env.judges.picture_features import EfficientNetLite, weights_file
from llmi_env.judges.relevance import Meanings
from llmi_env.judges.remembering import remembering

__all__ = ["HEAD", "PictureText", "projected", "spread_out"]

HEAD = Path(str(files("llmi_env") / "assets" / "judges" / "picture_head.npz"))
"""The head that ships: `weight` (1280, 384) float16, `offset` (384,), `middle` (384,), the mean of the training texts."""
_REMEMBERED = 1024


class PictureText:
    """Pictures beside texts; loaded on the first picture, and safe to use from several threads.

    Args:
        meanings: text embeddings.

    Raises:
        AssetError: the features' weights are not installed, or the head is missing.
    """

    def __init__(self, meanings: Meanings) -> None:
        weights_file()  # say at once what is not there
        if not HEAD.is_file():
            raise AssetError(f"the picture head is missing from {HEAD.parent}; reinstall the package")
        self._meanings = meanings
        self._lock = threading.Lock()
        self._net: EfficientNetLite | None = None
        self._seen = remembering(_REMEMBERED, self._look)

    def cosine(self, picture: Picture, text: str) -> float:
        """How near the picture is to the text, in [-1, 1], to three digits; about 0 for a text that has nothing to do with it."""
        if not text.strip():
            return 0.0
        seen = self._seen(picture)
        said = self._meanings(text) - self._middle
        return round(float(seen @ said / max(float(np.linalg.norm(said)), 1e-6)), 3)

    def forget(self) -> None:
        """Drop what is remembered of pictures."""
        self._seen.cache_clear()

    def load(self) -> None:
        """Load network and head now, not on the first picture."""
        with self._lock:
            self._load()

    def _look(self, picture: Picture) -> NDArray[np.float32]:
        """The picture as a unit vector among texts, shape (384,)."""
        self.load()
        assert self._net is not None
        vector: NDArray[np.float32] = projected(self._net(picture.image)[None], self._weight, self._offset)[0]
        return vector

    def _load(self) -> None:
        if self._net is not None:
            return
        try:
            with np.load(HEAD) as head:
                self._weight = head["weight"].astype(np.float32)
                self._offset = head["offset"].astype(np.float32)
                self._middle = head["middle"].astype(np.float32)
        except (OSError, KeyError, ValueError) as error:
            raise AssetError(f"the picture head cannot be read ({error}); reinstall the package") from error
        self._net = EfficientNetLite()


def spread_out(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square roots: features are at least 0, with few large ones."""
    return np.asarray(np.sqrt(features), dtype=np.float32)


def projected(
    features: NDArray[np.float32], weight: NDArray[np.floating], offset: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Features (N, 1280) as unit vectors among texts, (N, 384)."""
    rows = spread_out(features) @ weight.astype(np.float32) + offset
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6), dtype=np.float32)

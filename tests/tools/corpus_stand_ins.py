"""What the tests of the user's corpus share: pictures of all kinds, and a stand-in for the embedding model."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llmi_env import embeddings
from llmi_env.tools import corpus_kept, corpus_update, corpus_vectors

DIMENSIONS = 384


def picture(number: int, size: tuple[int, int] = (48, 32), kind: str = "PNG") -> bytes:
    """A picture like no other number's."""
    image = Image.new("RGB", size, (number % 256, number // 256 % 256, 77))
    image.putpixel((0, 0), (255, 255, number % 251))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def vector_of(text: str) -> np.ndarray:
    """A unit vector that depends on the text alone; texts that share words lie nearer."""
    found = np.zeros(DIMENSIONS, dtype=np.float32)
    for word in text.lower().split():
        found += _of_word(word)
    return found / max(float(np.linalg.norm(found)), 1e-6)


@cache
def _of_word(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)


def stand_in(log: Path, batch: int = 4) -> object:
    """In place of `CaptionEmbedder.in_batches`: notes each text that it was asked for in a file, then embeds it."""

    def in_batches(self: object, texts: Sequence[str]) -> Iterator[tuple[list[int], np.ndarray]]:
        for start in range(0, len(texts), batch):
            part = texts[start : start + batch]
            with log.open("a", encoding="utf-8") as file:
                file.writelines(f"{text}\n" for text in part)
            yield list(range(start, start + len(part))), np.stack([vector_of(text) for text in part])

    return in_batches


def fill(folder: Path, numbers: Sequence[int], words: str = "picture") -> Path:
    """A folder of pictures with captions in metadata.jsonl, numbered."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metadata.jsonl").open("a", encoding="utf-8") as table:
        for number in numbers:
            (folder / f"p{number:04}.png").write_bytes(picture(number))
            table.write(f'{{"file_name": "p{number:04}.png", "text": "{words} number{number} word{number % 7}"}}\n')
    return folder


def own_corpus(folder: Path, monkeypatch: pytest.MonkeyPatch, *, exact_rows: int, batch: int = 4) -> Path:
    """Folders of a test's own, a stand-in for the model, and a small bound of what is compared whole; the file says what was embedded."""
    log = folder / "embedded.log"
    monkeypatch.setenv("LLMI_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("LLMI_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setattr(embeddings, "ensure_available", lambda feature: None)
    monkeypatch.setattr(embeddings, "model_digest", lambda: "stand-in")
    monkeypatch.setattr(embeddings, "embed", lambda texts: np.stack([vector_of(text) for text in texts]))
    monkeypatch.setattr(corpus_vectors.CaptionEmbedder, "in_batches", stand_in(log, batch))
    for module in (corpus_kept, corpus_update):
        monkeypatch.setattr(module, "EXACT_ROWS", exact_rows)
    return log


def use_stand_in(log: Path) -> None:
    """For processes of their own: no model, and small bounds."""
    embeddings.ensure_available = lambda feature: None
    embeddings.model_digest = lambda: "stand-in"
    corpus_vectors.CaptionEmbedder.in_batches = stand_in(log)  # type: ignore[method-assign, assignment]

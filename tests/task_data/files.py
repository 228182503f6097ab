"""Task files for tests, and an embedding that needs no model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from llmi_env.embeddings import DIMENSIONS
from llmi_env.task_data.words import words

SYNONYMS = {"boat": "ship", "kid": "child", "pic": "picture", "tell": "say"}


def embed(texts: Sequence[str]) -> Any:
    """Unit vectors of the words, whatever their order; synonyms are the same word."""
    found = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in words(text):
            digest = hashlib.sha256(SYNONYMS.get(word, word).encode()).digest()
            found[row, int.from_bytes(digest[:4], "big") % DIMENSIONS] += 1
        found[row] /= np.linalg.norm(found[row]) or 1
    return found


def jsonl(path: Path, *rows: Mapping[str, Any] | str) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def picture(path: Path, colour: str = "red", size: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), colour).save(path)
    return path

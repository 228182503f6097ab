"""Words that stand in a picture, by optical character recognition (RapidOCR): optional, a second or more a picture.

For charts: whether title, labels and ticks that the program writes are there to be read. For any picture: whether what it says is meant for
whoever scores it.
"""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import numpy as np
from PIL import Image

from llmi_env.document import Picture
from llmi_env.errors import MissingExtra
from llmi_env.judges.relevance import NUMBER, ramp, words
from llmi_env.judges.remembering import remembering

__all__ = ["PictureWords", "agreement"]

_REMEMBERED = 1024
_LONGEST = 1024
_ENOUGH = 2


class PictureWords:
    """Reads pictures, one at a time and on one thread, so that a picture always reads the same; loaded on the first one.

    Raises:
        MissingExtra: RapidOCR or its engine is not installed.
    """

    def __init__(self) -> None:
        for module in ("rapidocr", "onnxruntime"):
            if importlib.util.find_spec(module) is None:
                raise MissingExtra("reading the words in pictures", "ocr", module)
        self._turn = threading.Lock()
        self._engine: Any = None
        self._read = remembering(_REMEMBERED, self._look)

    def __call__(self, picture: Picture) -> tuple[str, ...]:
        """Pieces of text in the picture, about from top to bottom; none where there is nothing to read."""
        return self._read(picture)

    def forget(self) -> None:
        """Drop what is remembered of pictures."""
        self._read.cache_clear()

    def _look(self, picture: Picture) -> tuple[str, ...]:
        full = picture.image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", full.size, "white"), full).convert("RGB")
        flat.thumbnail((_LONGEST, _LONGEST))
        with self._turn:
            if self._engine is None:
                from rapidocr import RapidOCR

                threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
                self._engine = RapidOCR(params={**threads, "Global.log_level": "error"})
            found = self._engine(np.asarray(flat)[:, :, ::-1]).txts  # it wants BGR
        return tuple(found or ())


def agreement(read: tuple[str, ...], written: list[str]) -> float:
    """How far what is read in a chart is what its program writes, in [0.3, 1]; 1 where the program writes too little to tell.

    Rotated labels are seldom read, so half of the words are enough.
    """
    expected = _tokens(" ".join(written))
    if len(expected) < _ENOUGH:
        return 1.0
    return 0.3 + 0.7 * ramp(len(expected & _tokens(" ".join(read))) / len(expected), 0.0, 0.5)


def _tokens(text: str) -> set[str]:
    return {word for word in words(text) if len(word) > 2} | set(NUMBER.findall(text))

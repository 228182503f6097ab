"""Whether words make sentences: told from a middle layer of MiniLM by a small head.

The model that embeds texts for their meaning knows half-way, in its third layer, how they are put together. The head
(`scripts/train_sentence_head.py`, its card beside the weights) tells sentences that people and models wrote from their words shuffled,
joined by little words, or dealt out by a chain; it costs nothing besides, since these sentences are embedded anyway. It sees words that
do not fit together, and not whether what they say is true, or wise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmi_env.errors import AssetError
from llmi_env.judges.relevance import ramp, sentences

__all__ = ["HEAD", "Form", "Head", "log_odds", "sentence_form"]

Form = Callable[[str], NDArray[np.float32]]
"""A text to the mean state of its tokens, shape (384,): `llmi_env.embeddings.form`."""
HEAD = Path(str(files("llmi_env") / "assets" / "judges" / "sentence_head.npz"))
"""The head that ships; see `Head`."""
FEW_WORDS, LOOKED_AT = 4, 24  # words of what is no sentence to be judged; sentences of a text
_LOW, _HIGH, _LEAST = -3.2, -0.8, 0.25
"""Log-odds of a text: of demonstrations fewer than one in fifty lie below the upper one, of loose words joined by little ones nine in ten."""
_WORST, _DOUBT = -5.0, 8  # log-odds of a single sentence that count; words for which half is believed


def sentence_form(text: str, form: Form) -> float:
    """1 for a text of sentences, down to 0.25 for one whose words do not go together; 1 for what has no sentence of four words.

    Raises:
        AssetError: the head is missing or cannot be read.
    """
    odds = log_odds(text, form)
    return 1.0 if odds is None else _LEAST + (1 - _LEAST) * ramp(odds, _LOW, _HIGH)


def log_odds(text: str, form: Form) -> float | None:
    """Of the text's first sentences, the mean by their length; of a few words less is believed. `None` where there is none of four words."""
    told = {" ".join(line.split()): len(line.split()) for line in sentences(text)[:LOOKED_AT]}
    told = {line: length for line, length in told.items() if length >= FEW_WORDS}
    if not told:
        return None
    head = _head()
    found = [max(_WORST, head.log_odds(form(line))) for line in told]
    count = sum(told.values())
    return float(np.average(found, weights=list(told.values()))) * count / (count + _DOUBT)


@dataclass(frozen=True)
class Head:
    """One hidden layer, and the log-odds that something is a sentence.

    Attributes:
        weight: shape (384, 64).
        offset: shape (64,).
        top: shape (64,).
        top_offset: shape ().
    """

    weight: NDArray[np.floating]
    offset: NDArray[np.floating]
    top: NDArray[np.floating]
    top_offset: NDArray[np.floating]

    def log_odds(self, state: NDArray[np.float32]) -> float:
        """Of a text's state, shape (384,)."""
        hidden = np.maximum(state @ self.weight.astype(np.float32) + self.offset, 0)
        return float(hidden @ self.top + self.top_offset)

    def save(self, path: Path) -> None:
        """Write an `.npz`."""
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Head:
        """Read what `save` wrote.

        Raises:
            AssetError: it is missing or cannot be read.
        """
        try:
            with np.load(path) as found:
                return cls(*(found[field.name] for field in fields(cls)))
        except (OSError, KeyError, ValueError) as error:
            raise AssetError(f"the sentence head cannot be read ({error}); reinstall the package") from error


@cache
def _head() -> Head:
    return Head.load(HEAD)

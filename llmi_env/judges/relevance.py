"""Meaning and words: what the proxies share to say how near two texts are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to unit vectors, shape (N, 384)."""

_EMBEDDED_CHARACTERS = 2000
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def word_set(listed: str) -> frozenset[str]:
    """A set of words from one string of them."""
    return frozenset(listed.split())


FUNCTION_WORDS = word_set(
    """a about above across after again against all along also although am among an and another any are around as at away be because
    been before behind being below between both but by can cannot could did do does done down during each either even ever every few
    for from had has have he her here hers him his how i if in into is it its itself just least less like many may me might more most
    much must my near neither never no nor not of off often on once one only onto or other others our out over own per quite rather
    same she should since so some still such than that the their them then there these they this those though through thus to too
    toward towards under until up upon us very was we well were what when where whether which while who whom whose why will with
    within without would yet you your"""
)

VAGUE_WORDS = word_set(
    """image images picture pictures photo photos photograph figure figures illustration drawing chart graph plot diagram visual visuals
    thing things something anything stuff nice good great beautiful relevant related appropriate suitable interesting example examples
    show shows showing make making create draw display depict depicts topic subject question answer document article text content data
    information various general generic some any one two three small large big colorful colourful clear simple"""
)


class Meanings:
    """Texts as unit vectors.

    Each text is embedded on its own, so that the company it is in cannot move a score; the embedder remembers the last few thousand.
    """

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._stacks: dict[tuple[str, ...], NDArray[np.float32]] = {}

    def __call__(self, text: str) -> NDArray[np.float32]:
        """The unit vector of a text, shape (384,)."""
        key = " ".join(text.split())[:_EMBEDDED_CHARACTERS]
        return np.asarray(self._embed([key])[0], dtype=np.float32)

    def to_all(self, text: str, others: tuple[str, ...]) -> NDArray[np.float32]:
        """Cosines of a text with fixed other ones, shape (len(others),); 0 where the text is blank."""
        if others not in self._stacks:
            self._stacks[others] = np.stack([self(other) for other in others])
        if not text.strip():
            return np.zeros(len(others), dtype=np.float32)
        return np.asarray(self._stacks[others] @ self(text), dtype=np.float32)

    def near(self, one: str, other: str) -> float:
        """Cosine of two texts, in [-1, 1]; 0 where one is blank."""
        if not one.strip() or not other.strip():
            return 0.0
        return float(self(one) @ self(other))


def words(text: str) -> list[str]:
    """Words in lower case, numbers left out."""
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def content_words(text: str) -> list[str]:
    """Words that say something: neither function words nor empty ones such as `picture` or `nice`."""
    return [word for word in words(text) if word not in FUNCTION_WORDS and word not in VAGUE_WORDS and len(word) > 1]


def stems(text: str) -> set[str]:
    """Content words cut to a crude stem, so that `owls` meets `owl`."""
    found = set()
    for word in content_words(text):
        for ending in ("'s", "ing", "ies", "es", "s", "ed"):
            if word.endswith(ending) and len(word) - len(ending) >= 3:
                word = word[: -len(ending)]
                break
        found.add(word[:-1] if word.endswith("e") and len(word) > 4 else word)
    return found


def shared(one: str, other: str) -> float:
    """Share of the smaller text's content words that the other one has too."""
    left, right = stems(one), stems(other)
    return len(left & right) / min(len(left), len(right)) if left and right else 0.0


def kinship(meanings: Meanings, one: str, other: str) -> float:
    """How much two texts are about the same, in [0, 1]: by meaning, helped by shared words."""
    if not one.strip() or not other.strip():
        return 0.0
    return ramp(meanings.near(one, other) + 0.15 * shared(one, other), 0.12, 0.72)


def prose_numbers(text: str) -> set[str]:
    """Numbers in a text, plainly written: without trailing zeros or the commas between thousands."""
    return {plain_number(float(found)) for found in NUMBER.findall(joined_thousands(text))}


def joined_thousands(text: str) -> str:
    """The text without the commas between thousands."""
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)


def plain_number(number: float) -> str:
    """A number as it is compared: without trailing zeros."""
    return f"{number:.10g}"


def ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, straight between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def sentences(text: str) -> list[str]:
    """Sentences and lines, blank ones left out."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]

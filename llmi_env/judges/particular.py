"""Could it be said of anything? A sentence that fits every question answers none.

The words that a text shares with its question are taken out; what is left is compared with the question and with questions about sixty
other things (`assets/judges/questions.yaml`). What tells something of a subject stays nearer to it than to the others ("hunt by ear at
night" is nearer to owls than to bridges); a form with the subject filled in does not. Of 120 demonstrations the middle one lies 0.21 nearer to
its own question than to the mean of the others, of 187 documents of the shipped policy 0.16; eight such forms -0.08 to -0.03, over 42
questions each.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

import numpy as np

from llmi_env.judges.relevance import FUNCTION_WORDS, VAGUE_WORDS, Meanings, ramp, sentences, stems, words
from llmi_env.yaml_text import read_yaml

_SENTENCE, _LOOKED_AT = 3, 24
_PIECE = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[^\w\s]|\d+")


def particular(text: str, question: str, meanings: Meanings) -> float:
    """1 for a text that belongs to its question, toward 0 for one that would do for any other: as a whole, and sentence by sentence.

    Args:
        text: running text.
        question: what the task asks for.
        meanings: text embeddings.
    """
    told = {sentence: len(words(sentence)) for sentence in sentences(text)[:_LOOKED_AT]}
    long = {sentence: length for sentence, length in told.items() if length >= _SENTENCE}
    mean = sum(length * _nearer(sentence, question, meanings) for sentence, length in long.items())
    each = mean / sum(long.values()) if long else 1.0
    return _nearer(text, question, meanings) * (0.25 + 0.75 * each)


def _nearer(text: str, question: str, meanings: Meanings) -> float:
    left = without_words_of(text, question)
    if not left:
        return 0.1
    others = float(np.mean(meanings.to_all(left, other_questions())))
    return 0.1 + 0.9 * ramp(meanings.near(left, question) - others, 0.0, 0.1)


@cache
def other_questions() -> tuple[str, ...]:
    """Questions about other things."""
    text = (resources.files("llmi_env") / "assets" / "judges" / "questions.yaml").read_text(encoding="utf-8")
    return tuple(read_yaml(text, "questions.yaml"))


def without_words_of(text: str, question: str) -> str:
    """The text without the words that it shares with the question, in whatever form, and without talk of pictures and pages."""
    asked = {_stem(word) for word in words(question)} - FUNCTION_WORDS
    kept = (piece for piece in _PIECE.findall(text) if piece.lower() not in VAGUE_WORDS and _stem(piece) not in asked)
    return " ".join(kept)


def _stem(word: str) -> str:
    return next(iter(stems(word)), word.lower())

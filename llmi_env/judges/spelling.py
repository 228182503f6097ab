"""How much of a text is made of words that an embedding model's vocabulary knows: a cheap ear for typing errors and made-up words.

MiniLM's vocabulary holds some twenty thousand whole English words. A word that is neither among them nor an inflection of one is rare, a
name, or misspelt; a text full of them is not English.
"""

from __future__ import annotations

import re
from functools import cache

from llmi_env.embeddings import model_folder
from llmi_env.errors import AssetError

_WORD = re.compile(r"(?<![\w'’-])[^\W\d_]{4,}(?![\w-])")
_ENDINGS = (
    ("ies", "y"), ("ied", "y"), ("ily", "y"), ("iest", "y"), ("ier", "y"), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"),
    ("es", ""), ("s", ""), ("er", ""), ("er", "e"), ("est", ""), ("est", "e"), ("ers", ""), ("ers", "e"), ("ly", ""), ("ness", ""),
    ("less", ""), ("ful", ""),
)  # fmt: skip
"""What an inflected word ends in, and what stands there in the plain one."""


@cache
def vocabulary() -> frozenset[str]:
    """Whole words of the embedding model, in lower case.

    Raises:
        AssetError: the model is not installed, or its vocabulary cannot be read.
    """
    try:
        lines = (model_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise AssetError(
            f"the embedding model's vocabulary cannot be read ({error}); install the model again"
        ) from error
    return frozenset(line for line in lines if line.isalpha() and len(line) > 1)


def unknown_share(text: str, also: str = "") -> float:
    """Share of the words of four letters and more that nobody knows; names inside a sentence and the words of `also` count as known.

    Args:
        text: what is read.
        also: text whose words are known too, such as the question.
    """
    allowed = {word.lower() for word in _WORD.findall(also)}
    found = list(_WORD.finditer(text))
    if not found:
        return 0.0
    odd = sum(not (_is_name(match, text) or match[0].lower() in allowed or _known(match[0].lower())) for match in found)
    return odd / len(found)


def _is_name(match: re.Match[str], text: str) -> bool:
    """A capital inside a sentence."""
    before = text[: match.start()].rstrip()
    return match[0][0].isupper() and match[0][1:].islower() and bool(before) and before[-1] not in ".!?:\n"


def _known(word: str) -> bool:
    known = vocabulary()
    if word in known:
        return True
    for ending, instead in _ENDINGS:
        if word.endswith(ending):
            stem = word[: -len(ending)]
            if stem + instead in known or (len(stem) > 3 and stem[-1] == stem[-2] and stem[:-1] in known):
                return True
    return False

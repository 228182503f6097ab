"""Whether an edit asks for the contrary of what the question wants: brighter for darker, blue for orange."""

from __future__ import annotations

import re

from llmi_env.judges.relevance import word_set, words

_OPPOSITES = tuple(
    (re.compile(one, re.IGNORECASE), re.compile(other, re.IGNORECASE))
    for one, other in (
        (r"bright(?:er|en)|lighter|more light|too dark|gloomy|too dim", r"dark(?:er|en)|\bdusk|night|too bright"),
        (r"warm|golden|sunset", r"cool|cold|icy|wintry"),
        (r"left and right|horizontal|mirror|wrong way", r"upside down|vertical|on (?:its|his|her) head|top to bottom"),
        (r"gr[ae]y|black[- ](?:and[- ]white|ink)|without colou?r", r"vivid|more colou?r|colou?rful|saturat"),
    )
)
_COLOURS = word_set("red orange yellow green blue purple violet pink brown gold turquoise")


def is_opposite(question: str, asked: str) -> bool:
    """Whether an edit's instruction names the other side of what the question names, or another colour."""
    for one, other in _OPPOSITES:
        wanted = bool(one.search(question)), bool(other.search(question))
        done = bool(one.search(asked)), bool(other.search(asked))
        if wanted != done and sorted(wanted) == sorted(done) == [False, True]:
            return True
    colours = _COLOURS & set(words(question)), _COLOURS & set(words(asked))
    return all(colours) and not colours[0] & colours[1]

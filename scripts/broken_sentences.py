"""Sentences that are none: the wrong answers that `train_sentence_head.py` learns from."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

from llmi_env.judges.relevance import FUNCTION_WORDS, word_set

_JOINING = word_set("of in with from to by for on at between under into through about")
_JOINTS = (*(word + article for word in sorted(_JOINING) for article in ("", " the", " a")), "and", "and the", "", "")
_LITTLE = sorted(FUNCTION_WORDS)


def _bare(word: str) -> str:
    return re.sub(r"[^\w'’-]", "", word)


def _is_little(word: str) -> bool:
    return _bare(word).lower() in FUNCTION_WORDS


class Breaker:
    """Breaks sentences in ways of its own choice, one by one.

    Args:
        known: sentences, each with the text that it comes from.
        seed: of its choices.
    """

    def __init__(self, known: Sequence[tuple[str, str]], seed: int = 0) -> None:
        self._draw = random.Random(seed)
        self._lines = [_words(line) for line, _ in known]
        self._content = [word for line in self._lines for word in map(_bare, line) if word and not _is_little(word)]
        self._after: dict[str, list[str]] = defaultdict(list)
        for line in self._lines:
            for here, after in pairwise(line):
                self._after[here].append(after)
        self.ways: dict[str, Callable[[list[str], str], list[str]]] = {
            "words shuffled": self._shuffled,
            "neighbours exchanged": self._exchanged,
            "its words joined by little words": lambda words, _: self._joined(" ".join(words)),
            "the text's words joined by little words": lambda _, text: self._joined(text),
            "other words in its frame": self._framed,
            "little words left out": lambda words, _: [word for word in words if not _is_little(word)],
            "other little words": self._misjoined,
            "ends with another": self._halved,
            "word by word with another": self._mixed,
            "each word after one that it follows somewhere": self._chained,
        }

    def broken(self, sentence: str, text: str) -> tuple[str, str] | None:
        """The name of a way and what it made of the sentence; `None` where too little is left or nothing changed."""
        way = self._draw.choice(list(self.ways))
        words = self.ways[way](_words(sentence), text)
        while words and _is_little(words[-1]) and way.endswith("little words"):
            words.pop()
        made = " ".join(words).strip(" ,;:")
        made = made[:1].upper() + made[1:] + (sentence[-1] if sentence[-1] in ".!?" else ".")
        return (way, made) if len(words) >= 4 and made != sentence else None

    def _shuffled(self, words: list[str], _: str) -> list[str]:
        return self._draw.sample(words, len(words))

    def _exchanged(self, words: list[str], _: str) -> list[str]:
        for _turn in range(max(2, len(words) // 4)):
            here = self._draw.randrange(len(words) - 2)
            there = here + self._draw.choice((1, 2, 2))
            words[here], words[there] = words[there], words[here]
        return words

    def _joined(self, text: str) -> list[str]:
        own = [word.lower() for word in map(_bare, text.split()) if word and not _is_little(word)]
        drawn = self._draw.sample(own, min(len(own), self._draw.randint(4, 9)))
        return [part for word in drawn for part in (word, *self._draw.choice(_JOINTS).split())]

    def _framed(self, words: list[str], _: str) -> list[str]:
        return [word if _is_little(word) else self._draw.choice(self._content).lower() for word in words]

    def _misjoined(self, words: list[str], _: str) -> list[str]:
        return [
            self._draw.choice(_LITTLE) if _is_little(word) and self._draw.random() < 0.7 else word for word in words
        ]

    def _halved(self, words: list[str], _: str) -> list[str]:
        other = self._draw.choice(self._lines)
        return words[: self._draw.randint(2, len(words) - 2)] + other[self._draw.randint(2, max(2, len(other) - 2)) :]

    def _mixed(self, words: list[str], _: str) -> list[str]:
        other = self._draw.choice(self._lines)
        return [word for pair in zip(words, other, strict=False) for word in pair]

    def _chained(self, words: list[str], _: str) -> list[str]:
        made = [self._draw.choice(self._lines)[0]]
        for _turn in range(self._draw.randint(6, 18)):
            if not (after := self._after[made[-1]]):
                break
            made.append(self._draw.choice(after))
        return made


def _words(sentence: str) -> list[str]:
    """Its words, without the capital at its start and the stop at its end."""
    first, *others = re.sub(r"[.!?]+$", "", sentence).split()
    plain = first if first == "I" or first.startswith(("I'", "I’")) or first[1:] != first[1:].lower() else first.lower()
    return [plain, *others]

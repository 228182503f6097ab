"""Texts as words, runs of words that two texts share, and texts that are nearly the same: exact, without a model.

Words are compared as a reader sees them: case, punctuation, look-alike letters and what is not shown make no difference. Scripts that leave no
room between words are taken character by character.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from llmi_env.visible_text import folded

__all__ = ["SAME", "Neighbours", "Overlap", "SharedRuns", "grams", "words"]

Gram = tuple[str, ...]

SAME = 0.7
"""Share of common pairs of words from which on two questions count as nearly the same."""

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """The words of a text.

    >>> words("Owls' eyes: №2, 猫头鹰!")
    ['owls', 'eyes', 'no2', '猫', '头', '鹰']
    """
    return _WORD.findall(folded(text).casefold())


def grams(of: Sequence[str], size: int) -> list[Gram]:
    """Runs of `size` words, in order; a shorter text is one run.

    >>> grams(["a", "b", "c"], 2)
    [('a', 'b'), ('b', 'c')]
    """
    if len(of) <= size:
        return [tuple(of)] if of else []
    return [tuple(of[at : at + size]) for at in range(len(of) - size + 1)]


@dataclass(frozen=True)
class Overlap:
    """What a text has in common with a protected one.

    Attributes:
        index: which one.
        share: share of the protected text's words that stand in runs which both have.
        run: the longest run that both have, as words.
    """

    index: int
    share: float
    run: str


class SharedRuns:
    """Finds the protected text that another one shares most of.

    Args:
        texts: the protected ones.
        size: words that a run must have to count: 8, as usual where training data are cleaned of benchmarks. A protected text of fewer words
            counts where it stands as a whole in one of at most twice its length.
    """

    def __init__(self, texts: Iterable[str], size: int = 8) -> None:
        self._size = size
        self._texts = [words(text) for text in texts]
        self._places: dict[Gram, list[tuple[int, int]]] = defaultdict(list)
        for index, text in enumerate(self._texts):
            for at, gram in enumerate(grams(text, size)):
                self._places[gram].append((index, at))
        self._shorter = sorted({len(text) for text in self._texts if 0 < len(text) < size})

    def most(self, text: str) -> Overlap | None:
        """The greatest share, of the first text where several are equal; `None` where no run is shared."""
        found = words(text)
        covered: dict[int, set[int]] = defaultdict(set)
        for size in (*(short for short in self._shorter if len(found) <= 2 * short), self._size):
            for start in range(len(found) - size + 1):
                for index, at in self._places.get(tuple(found[start : start + size]), ()):
                    covered[index].update(range(at, at + size))
        if not covered:
            return None
        shares = {index: len(places) / len(self._texts[index]) for index, places in covered.items()}
        index = min(shares, key=lambda each: (-shares[each], each))
        run = max(_runs(sorted(covered[index])), key=len)
        return Overlap(index, shares[index], " ".join(self._texts[index][run.start : run.stop]))


def _runs(places: Sequence[int]) -> Iterator[range]:
    start = places[0]
    for before, after in zip(places, [*places[1:], -1], strict=True):
        if after != before + 1:
            yield range(start, before + 1)
            start = after


class Neighbours:
    """Texts, and which earlier one a new text is nearly the same as: the same pairs of words, by their Jaccard index.

    Exact and quick all the same: two sets of which so much is common share one of the few members that come first in any fixed order
    (prefix filtering, Bayardo et al. 2007), so that most texts are never compared.

    Args:
        least: Jaccard index from which on two texts count.
        common: how often each pair of words occurs, where that is known: rare ones first makes it quicker.
    """

    def __init__(self, least: float = SAME, common: Mapping[Gram, int] | None = None) -> None:
        self._least = least
        self._common = common or {}
        self._sets: list[frozenset[Gram]] = []
        self._firsts: dict[Gram, list[int]] = defaultdict(list)

    @classmethod
    def of(cls, texts: Sequence[str], least: float = SAME) -> Neighbours:
        """One without texts that knows how common the pairs of words in `texts` are."""
        return cls(least, Counter(gram for text in texts for gram in set(_pairs(text))))

    def nearest(self, text: str) -> tuple[int, float] | None:
        """Number and Jaccard index of the text that is most like this one, the first of several; `None` where none is like it."""
        own = frozenset(_pairs(text))
        found: tuple[int, float] | None = None
        for index in sorted({index for gram in self._prefix(own) for index in self._firsts.get(gram, ())}):
            other = self._sets[index]
            if not self._least <= len(own) / len(other) <= 1 / self._least:
                continue
            both = len(own & other)
            likeness = both / (len(own) + len(other) - both)
            if likeness >= self._least and (found is None or likeness > found[1]):
                found = index, likeness
        return found

    def add(self, text: str) -> None:
        """Take a text in."""
        own = frozenset(_pairs(text))
        for gram in self._prefix(own):
            self._firsts[gram].append(len(self._sets))
        self._sets.append(own)

    def _prefix(self, own: frozenset[Gram]) -> list[Gram]:
        ordered = sorted(own, key=lambda gram: (self._common.get(gram, 0), gram))
        return ordered[: len(own) - ceil(self._least * len(own)) + 1]


def _pairs(text: str) -> list[Gram]:
    return grams(words(text), 2)

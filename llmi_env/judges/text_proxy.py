"""A proxy for the quality of the text: near the question, in sentences, without repetition or lead-ins.

It knows nothing of facts or style. Five factors in [0, 1] are multiplied, so that one bad trait is enough to spoil a text.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from llmi_env.judges.relevance import FUNCTION_WORDS, Meanings, ramp, sentences, word_set, words

_SHORT, _LONG_ENOUGH = 1, 14
_STOPS, _PAUSES = ".!?", ",;:"
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d[\d.,%]*|[.!?;:,]")
_DETERMINERS = word_set("a an the this these those my your his her its our their every each")
_ALSO_PRONOUNS = word_set("this these those his her each")
_CANNOT_FOLLOW_A_DETERMINER = FUNCTION_WORDS - word_set(
    "same other others one most more least few many own very less even well like once only down above quite rather such"
)
_PREPOSITIONS = word_set("of from with into onto at by for toward towards upon during between among within without")
_CANNOT_FOLLOW_A_PREPOSITION = word_set(
    """is are was were am be been has have had do does did can could will would should may might must and or but if because he she they we
    i of from with into onto by for toward towards upon during"""
)
_CANNOT_END = (_DETERMINERS - _ALSO_PRONOUNS) | word_set("and or but of from into onto because than is are was were")
_LEAD_IN = re.compile(
    r"\b(?:here(?:'s| is| are)|below (?:is|are)|(?:as|is) (?:shown|seen|depicted) (?:below|above)|the following)\b[^.!?\n]{0,40}?"
    r"\b(?:image|picture|photo|photograph|figure|illustration|chart|graph|diagram|document|article|introduction)\b"
    r"|^\s*(?:sure|certainly|of course|absolutely|okay|ok)\b\s*[,!.:]|\bas an ai\b|\bi hope this helps\b|\bi (?:cannot|can't|am unable to)\b",
    re.IGNORECASE | re.MULTILINE,
)
_TO_THE_JUDGE = re.compile(
    r"\b(?:ignore|disregard|forget)\b[^.!?\n]{0,30}\b(?:instructions?|rules|criteria)\b|\b(?:score|rating|grade|quality|relevance)\s*[:=]\s*\d"
    r"|\b[45]\s*(?:out of|/)\s*5\b|\b(?:top|full|highest|maximum|perfect) (?:score|marks?|rating|grade)s?\b",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"```|</?(?:imgen|tool_call|think|image)>|!\[[^\]]*\]\(|\{\s*['\"](?:source|name)['\"]", re.IGNORECASE
)


@dataclass(frozen=True)
class TextTraits:
    """The five factors, each in [0, 1]."""

    on_topic: float
    order: float
    fresh: float
    length: float
    clean: float

    @property
    def product(self) -> float:
        """All of them together."""
        return self.on_topic * self.order * self.fresh * self.length * self.clean

    @property
    def weakest(self) -> str:
        """Name of the lowest factor."""
        traits = vars(self)
        return min(traits, key=lambda name: float(traits[name]))


def text_traits(text: str, question: str, meanings: Meanings) -> TextTraits:
    """Look at a text written for a question."""
    return TextTraits(
        on_topic=(0.05 + 0.95 * ramp(meanings.near(text, question), 0.05, 0.55)) * _own_words(text, question),
        order=_order(text),
        fresh=_fresh(text),
        length=ramp(len(words(text)), _SHORT, _LONG_ENOUGH),
        clean=0.75 ** min(4, len(_LEAD_IN.findall(text)))
        * 0.6 ** min(4, len(_MARKUP.findall(text)))
        * 0.3 ** min(4, len(_TO_THE_JUDGE.findall(text))),
    )


def count_lead_ins(text: str) -> int:
    """How many phrases announce a picture or the answer instead of giving it."""
    return len(_LEAD_IN.findall(text))


def _own_words(text: str, question: str) -> float:
    """1 for a text in its own words, toward 0 for one that repeats the question."""
    runs = _runs(words(text), 4)
    if not runs:
        return 1.0
    asked = set(_runs(words(question), 4))
    copied = sum(run in asked for run in runs) / len(runs)
    return 1.0 - ramp(copied, 0.2, 0.7)


def _order(text: str) -> float:
    """Whether words stand in an order that English allows: function words give it away, and so do sentences' starts and ends."""
    tokens = _TOKEN.findall(text)
    plain = [token.lower() for token in tokens]
    count = sum(token[0].isalpha() for token in tokens)
    if count < 3:
        return 0.2
    slips: float = sum(_slips(here, after) for here, after in pairwise(plain))
    slips += 0.5 * _misplaced_capitals(text)
    share = sum(token in FUNCTION_WORDS for token in plain) / count
    odd = sum(1 for token in plain if token[0].isalpha() and not _pronounceable(token)) / count
    grammar = 1.0 - ramp(slips / count, 0.012, 0.10)
    connected = ramp(share, 0.05, 0.25) * (1.0 - ramp(share, 0.68, 0.85))
    return max(0.02, grammar * connected * (1.0 - ramp(odd, 0.08, 0.35)))


def _slips(here: str, after: str) -> bool:
    """Whether two tokens can hardly stand side by side."""
    if here == after and here[0].isalpha():
        return True
    if here in _DETERMINERS:
        if here in _ALSO_PRONOUNS:  # "this is", "her.", "those of": only another determiner is out of place
            return after in _DETERMINERS
        return after in _CANNOT_FOLLOW_A_DETERMINER or after in _STOPS or after in _PAUSES
    if here in _PREPOSITIONS and (after in _CANNOT_FOLLOW_A_PREPOSITION or after in _PAUSES):
        return True
    return here in _CANNOT_END and after in _STOPS


def _misplaced_capitals(text: str) -> int:
    """Function words with a capital inside a sentence, and sentences that start without one."""
    inside = re.findall(r"(?<=[a-z,;] )(?!I\b)[A-Z][a-z]*\b", text)
    wrong = sum(word.lower() in FUNCTION_WORDS for word in inside)
    return wrong + len(re.findall(r"[a-z][.!?]\s+[a-z]", text))


def _pronounceable(word: str) -> bool:
    bare = re.sub(r"[^a-z]", "", word)
    if not bare:
        return True  # another script: nothing is known about it
    return (
        len(bare) <= 18
        and (bool(re.search(r"[aeiouy]", bare)) or len(bare) <= 3)
        and not re.search(r"[^aeiouy]{6}|(.)\1\1", bare)
    )


def _fresh(text: str) -> float:
    """1 without repetition, toward 0 where sentences or runs of words come again."""
    said = [" ".join(words(sentence)) for sentence in sentences(text)]
    said = [sentence for sentence in said if sentence.count(" ") >= 2]
    again = 1 - len(set(said)) / len(said) if said else 0.0
    runs = _runs(words(text), 3)
    repeated = 1 - len(set(runs)) / len(runs) if runs else 0.0
    counts = Counter(word for word in words(text) if word not in FUNCTION_WORDS)
    total = sum(counts.values())
    hammered = max(counts.values()) / total if total >= 12 else 0.0
    return max(0.02, (1 - ramp(again, 0.05, 0.5)) * (1 - ramp(repeated, 0.08, 0.5)) * (1 - ramp(hammered, 0.25, 0.5)))


def _runs(tokens: list[str], length: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[start:] for start in range(length)), strict=False))

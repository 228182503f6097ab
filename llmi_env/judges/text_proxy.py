"""A proxy for the quality of the text: near the question, in sentences, without repetition or lead-ins.

It knows nothing of facts or style, and reads English only. Factors in [0, 1] are multiplied, so that one bad trait is enough to spoil a text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from llmi_env.judges.addressed import for_a_reader
from llmi_env.judges.given import misnamed, told_backwards
from llmi_env.judges.particular import particular
from llmi_env.judges.relevance import (
    FUNCTION_WORDS,
    Meanings,
    content_words,
    prose_numbers,
    ramp,
    sentences,
    stems,
    word_set,
    words,
)
from llmi_env.judges.sentence_form import Form, sentence_form
from llmi_env.judges.spelling import unknown_share

_SHORT, _LONG_ENOUGH = 1, 14
_BACKWARDS = 0.3
_MOST, _PUT_IN_WORDS = 0.6, 0.32
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
CANNOT_END = (_DETERMINERS - _ALSO_PRONOUNS) | word_set("and or but of from into onto because than is are was were")
_LEAD_IN = re.compile(
    r"\b(?:here(?:'s| is| are)|below (?:is|are)|(?:as|is) (?:shown|seen|depicted) (?:below|above)|the following)\b[^.!?\n]{0,40}?"
    r"\b(?:image|picture|photo|photograph|figure|illustration|chart|graph|diagram|document|article|introduction)\b"
    r"|^\s*(?:sure|certainly|of course|absolutely|okay|ok)\b\s*[,!.:]|\bas an ai\b|\bi hope this helps\b|\bi (?:cannot|can't|am unable to)\b",
    re.IGNORECASE | re.MULTILINE,
)
_SCORER = r"(?:judge|grader|reviewer|evaluator|rater|scorer|assessor|examiner|grading|scoring)"
_TO_THE_JUDGE = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.!?\n]{0,30}\b(?:instructions?|rules|criteria|prompts?|rubric)\b"
    r"|\b(?:score|rating|grade|quality|relevance)s?\"?\s*[:=]\s*\d|\b[45]\s*(?:out of|/)\s*5\b"
    r"|\b(?:top|full|highest|maximum|perfect) (?:score|marks?|rating|grade)s?\b"
    rf"|\b(?:note|dear|attention|message|hint|word|instructions?|verdict|addressed)\b[^.!?\n]{{0,20}}\b{_SCORER}s?\b"
    rf"|\byou are (?:a|an|the) {_SCORER}\b"
    r"|\b(?:give|award|assign|rate|score|grade|mark)s?\b[^.!?\n]{0,40}"
    r"\b(?:[45]|five|full marks|excellent|perfect)\s*(?:points?|stars?)?\s*(?:[.!\n]|$)"
    r"|\byou (?:now |are now |must |should |shall )(?:to )?(?:rate|score|grade|judge)\b"
    r"|\b(?:answer|document|page|text)\b[^.!?\n]{0,30}\b(?:deserves|meets every|fulfils every|fulfills every|satisfies all)\b",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"```|</?(?:imgen|tool_call|think|image|img|answer|document)\b[^>]{0,80}>|<\|[a-z_]{2,30}\|>|!\[[^\]]*\]\(|\{\s*['\"](?:source|name|\w+_quality)['\"]"
    r"|^\s*(?:keywords?|tags?|hashtags?)\s*:",
    re.IGNORECASE | re.MULTILINE,
)


_OPENS_IN_THE_MIDDLE = re.compile(
    r"\s*(?:(?i:it|its|they|them|their|theirs|he|him|his|she|her|hers|these|those|both|however|then|also|besides|finally|afterwards?|therefore"
    r"|thus|instead|otherwise|and|but|or|so)\b|[a-z])",
)
_CLOSING = ".!?…\"'”’)]:;"
_ALPHABETS = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"})
_COMPARED = 8


@dataclass(frozen=True)
class TextTraits:
    """The factors, each in [0, 1].

    Attributes:
        on_topic: near the question, in its own words.
        particular: what could not be said of anything else.
        held_together: no sentence apart from the question and all the others.
        order: words and sentences as English allows.
        fresh: no repetition.
        length: more than a few words.
        clean: no lead-ins, no markup, no word to whoever scores it, no letters in disguise.
        spelt: words that are known.
        faithful: numbers told are those that were given.
    """

    on_topic: float
    particular: float
    held_together: float
    order: float
    fresh: float
    length: float
    clean: float
    spelt: float
    faithful: float

    @property
    def product(self) -> float:
        """All of them together."""
        return float(math.prod(vars(self).values()))

    @property
    def weakest(self) -> str:
        """Name of the lowest factor."""
        traits = vars(self)
        return min(traits, key=lambda name: float(traits[name]))


def text_traits(
    text: str, question: str, meanings: Meanings, spelling: bool = True, form: Form | None = None
) -> TextTraits:
    """Look at a text written for a question.

    Args:
        text: running text, calls left out.
        question: what the task asks for.
        meanings: text embeddings.
        spelling: whether to look words up in the embedding model's vocabulary.
        form: what tells how a sentence is put together; without it, only little words give a wrong order away.

    Raises:
        AssetError: with `spelling`, when that vocabulary is not installed; with `form`, when the head is missing.
    """
    return TextTraits(
        on_topic=(0.05 + 0.95 * ramp(meanings.near(text, question), 0.05, 0.55))
        * own_words(text, question)
        * _beyond(text, question),
        particular=particular(text, question, meanings),
        held_together=_held_together(text, question, meanings),
        order=_order(text) * _whole(text) * (1.0 if form is None else sentence_form(text, form)),
        fresh=_fresh(text),
        length=ramp(len(words(text)), _SHORT, _LONG_ENOUGH),
        clean=0.6 ** min(4, len(_LEAD_IN.findall(text)))
        * 0.6 ** min(4, len(_MARKUP.findall(text)))
        * 0.3 ** min(4, count_orders(text))
        * for_a_reader(text, question, meanings)
        * (1.0 - 0.9 * ramp(_disguised(text), 0.0, 0.1)),
        spelt=1.0 - 0.6 * ramp(unknown_share(text, question), 0.06, 0.4) if spelling else 1.0,
        faithful=_faithful(text, question),
    )


def count_lead_ins(text: str) -> int:
    """How many phrases announce a picture or the answer instead of giving it."""
    return len(_LEAD_IN.findall(text))


def count_orders(text: str) -> int:
    """How many phrases speak to whoever scores the document."""
    return len(_TO_THE_JUDGE.findall(text))


def _held_together(text: str, question: str, meanings: Meanings) -> float:
    """Toward 0.5 where a sentence is near neither the question nor any other sentence."""
    told = [sentence for sentence in sentences(text) if len(words(sentence)) >= 4][:_COMPARED]
    if len(told) < 2:
        return 1.0
    nearest = [max(meanings.near(one, other) for other in (question, *told) if other is not one) for one in told]
    return 0.5 + 0.5 * ramp(min(nearest), 0.0, 0.22)


def _whole(text: str) -> float:
    """Lower where the text starts in the middle of something, or stops there."""
    value = 0.85 if _OPENS_IN_THE_MIDDLE.match(text) else 1.0
    return value if text.rstrip()[-1:] in _CLOSING else 0.9 * value


def _beyond(text: str, question: str) -> float:
    """Lower where the question's own words come again and again in place of an answer."""
    asked = stems(question)
    again = Counter(stem for word in content_words(text) for stem in stems(word) if stem in asked)
    if len(again) < 3:
        return 1.0
    return 1.0 - 0.8 * ramp(sum(again.values()) / len(again), 1.7, 2.8)


def _faithful(text: str, question: str) -> float:
    """Lower where the question gives numbers and the text tells others, gives them to other names or tells them backwards."""
    given, told = prose_numbers(question), prose_numbers(text)
    if len(given) < 2 or not told:
        return 1.0
    value = (1.0 - 0.3 * len(told - given) / len(told)) * (1.0 - 0.7 * misnamed(text, question))
    return _BACKWARDS * value if told_backwards(text, question) else value


def _disguised(text: str) -> float:
    """Share of words that mix alphabets or hide characters that nobody sees."""
    found = re.findall(r"\S+", text)
    odd = sum(
        any(unicodedata.category(letter) == "Cf" for letter in word)
        or len({unicodedata.name(letter, "?").split(" ")[0] for letter in word if letter.isalpha()} & _ALPHABETS) > 1
        for word in found
    )
    return odd / len(found) if found else 0.0


def own_words(text: str, question: str) -> float:
    """1 for a text in its own words, toward 0 for one that repeats the question, as it stands or cut into pieces.

    Of a text that tells the numbers that were given, little is asked besides.
    """
    runs, said = _runs(words(text), 4), content_words(text)
    if not runs or not said:
        return 1.0
    asked, named = set(_runs(words(question), 4)), stems(question)
    copied = sum(run in asked for run in runs) / len(runs)
    own = sum(not stems(word) <= named for word in said) / len(said)
    given = prose_numbers(question)
    if len(given) >= 2 and len(given & prose_numbers(text)) >= _MOST * len(given):
        own = max(own, _PUT_IN_WORDS)  # numbers under their names can be told in few other words
    return (1.0 - ramp(copied, 0.2, 0.7)) * ramp(own, 0.1, 0.45)


def _order(text: str) -> float:
    """Whether words stand in an order that English allows: function words give it away, and so do sentences' starts and ends."""
    tokens = _TOKEN.findall(text)
    plain = [token.lower() for token in tokens]
    for at in range(1, len(tokens)):
        if tokens[at] == "A" and plain[at - 1] not in _STOPS:
            plain[at] = "Q"  # a label, as in "line A", not the article
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
    return here in CANNOT_END and after in _STOPS


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

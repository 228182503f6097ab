"""A proxy for the quality of calls, by the four criteria of LLM-I: they serve the question, say precisely what they want, ask the right
tool, and stand naturally in the text.

The right tool is told by example: what the call describes is compared with some eighty needs written down by tool (`needs.yaml`), helped by a
few words that settle the matter.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmi_env.calls import Call
from llmi_env.document import Figure, Picture
from llmi_env.judges.addressed import for_a_reader
from llmi_env.judges.caption_fit import announces_another, described_truly, titled
from llmi_env.judges.chart_fit import chart_of
from llmi_env.judges.chart_proxy import drawn
from llmi_env.judges.edit_fit import is_other
from llmi_env.judges.needs import example_needs
from llmi_env.judges.relevance import (
    Meanings,
    content_words,
    kinship,
    prose_numbers,
    ramp,
    stems,
    words,
)
from llmi_env.judges.text_proxy import CANNOT_END, count_lead_ins, count_orders, own_words

_TEMPERATURE = 0.06
_NEAREST = 3
_SUBJECT = 0.85
_COPIED = 8  # words from which a description can be a copy of the question rather than its subject's name
_HINTS: Mapping[str, re.Pattern[str]] = {
    tool: re.compile(rf"\b(?:{'|'.join(patterns.split(' ~ '))})\b", re.IGNORECASE)
    for tool, patterns in {
        "code": r"(?:bar|line|pie|scatter|stacked)\s+(?:chart|plot|graph|diagram) ~ (?:chart|plot|graph|histogram|heat ?map|box ?plot|curve"
        r"|trend)s? ~ distribution ~ statistics ~ percentages? ~ over time ~ per (?:year|month|day|week|capita)",
        "diffusion": r"illustrat\w+ ~ draw(?:n|ings?)? ~ design ~ cover art ~ imagin\w+ ~ made-up ~ fantasy ~ fantastic ~ dream\w* ~ cartoon"
        r" ~ stylis?z?ed ~ watercolou?r ~ concept art ~ surreal ~ whimsical ~ magical? ~ dragon ~ unicorn ~ wizard ~ robot ~ fairy ~ logo"
        r" ~ icon ~ invented ~ futuristic ~ storybook ~ abstract ~ mascot ~ poster",
        "search": r"photo\w* ~ real ~ actual ~ historic\w* ~ portrait of ~ landmark ~ species ~ in the wild ~ close-?up",
        "edit": r"gr[ae]y-?scale ~ black[- ]and[- ]white ~ brighte\w+ ~ darke\w+ ~ lighter ~ warmer ~ cooler ~ blur\w* ~ rotat\w+ ~ flip\w*"
        r" ~ mirror\w* ~ crop\w* ~ tint\w* ~ sepia ~ upside down ~ turn(?:ed)? by ~ vintage ~ caption ~ (?:make|turn) it"
        r" ~ (?:same|given|input|uploaded|original|provided|supplied|earlier|first) (?:photo|picture|image|figure)",
    }.items()
}
_PLOTTING = re.compile(r"\b(?:plt|ax\d?|axes|sns|df|fig)\s*(?:\[[^\]]*\]\s*)?\.\s*\w+")
_LABELLING = re.compile(r"\b(?:title|suptitle|xlabel|ylabel|set_title|set_xlabel|set_ylabel|legend)\s*\(")
_LAST_LINE = re.compile(r"[^\n]*:\s*$")
_IN_LINES = re.compile(r"\n[^\n]{1,40}\n?\s*$")
_GOES_ON = re.compile(r"[\w,;][ \t]*$")
_FENCE_BEFORE = re.compile(r"(?:```\w*|`)\s*$")
_ANNOUNCING = re.compile(
    r"(?::|\b(?:below|following|this (?:image|picture|photo|figure|chart))[^.!?\n]{0,30})\s*$", re.IGNORECASE
)


@dataclass(frozen=True)
class CallTraits:
    """The four criteria, each in [0, 1]; whether the picture is described, and to its reader rather than to whoever scores it."""

    relevant: float
    specific: float
    right_tool: float
    natural: float
    described: float = 1.0
    honest: float = 1.0

    @property
    def value(self) -> float:
        """All of them together: a wrong tool, a call without content or one off the subject spoils the rest."""
        told = 0.5 * self.relevant + 0.5 * self.specific
        spoilt = (0.3 + 0.7 * self.relevant) * (0.4 + 0.6 * self.specific)
        return (
            told
            * spoilt
            * (0.25 + 0.75 * self.right_tool)
            * (0.35 + 0.65 * self.natural)
            * (0.1 + 0.9 * self.described)
            * self.honest
        )

    @property
    def weakest(self) -> str:
        """Name of the lowest one."""
        traits = vars(self)
        return min(traits, key=lambda name: float(traits[name]))


class NeedTable:
    """The example needs as vectors."""

    def __init__(self, meanings: Meanings) -> None:
        self._meanings = meanings
        self._rows: dict[str, NDArray[np.float32]] | None = None

    def probabilities(self, need: str) -> dict[str, float]:
        """How likely each tool is the right one for a need, by its nearest examples and by words that settle it."""
        if self._rows is None:
            self._rows = {
                tool: np.stack([self._meanings(text) for text in texts]) for tool, texts in example_needs().items()
            }
        vector = self._meanings(need)
        scores = {}
        for tool, rows in self._rows.items():
            nearest = np.sort(rows @ vector)[-_NEAREST:]
            scores[tool] = float(nearest.mean()) + 0.15 * min(2, len(_HINTS[tool].findall(need)))
        top = max(scores.values())
        powers = {tool: math.exp((score - top) / _TEMPERATURE) for tool, score in scores.items()}
        total = sum(powers.values())
        return {tool: power / total for tool, power in powers.items()}


def call_traits(
    figure: Figure, before: str, after: str, question: str, sources: int, meanings: Meanings, needs: NeedTable
) -> CallTraits:
    """Look at one readable call.

    Args:
        figure: the call, with what came of it.
        before: text between it and the figure before.
        after: text between it and the next figure.
        question: what the task asks for.
        sources: pictures that an edit may point at: inputs and earlier figures.
        meanings: text embeddings.
        needs: the example needs.

    Raises:
        ValueError: the figure's call could not be read.
    """
    call = figure.call
    if call is None:
        raise ValueError("a call that could not be read has no traits")
    asked = wish(call)
    about = (
        f"{call.description}. {asked}"
        if call.tool != "code"
        else f"{call.description}. {' '.join(code_strings(asked))}"
    )
    context = f"{before[-300:]} {after[:200]}"
    nearness = max(kinship(meanings, about, question), 0.8 * kinship(meanings, about, context))
    specific = _code_specific(call, figure.picture) if call.tool == "code" else _specific(asked, call.tool, question)
    if call.tool == "edit" and is_other(question, asked):
        nearness *= 0.1  # whatever its description says
    elif call.tool == "edit" and _HINTS["edit"].search(question) and _HINTS["edit"].search(asked):
        nearness = max(nearness, 0.8)  # an edit's words name the change, not the subject
    elif call.tool == "code":
        # right words around wrong numbers, or the right numbers under another title
        nearness *= chart_of(call, figure.picture).fit(question, context) * titled(call, question, context, meanings)
    ordered = count_orders(f"{call.description}\n{asked}")
    return CallTraits(
        relevant=nearness,
        specific=specific,
        right_tool=_right_tool(call, asked, question, sources, needs),
        natural=_natural(before, after) * (0.5 if _led_astray(call.tool, before) else 1.0),
        described=_described(call.description, question),
        honest=0.2 if ordered else _to_a_reader(call, asked, question, meanings) * described_truly(call, question),
    )


def wish(call: Call) -> str:
    """What the call asks its tool for: query, prompt or code."""
    return str(call.params.get({"search": "query", "code": "code"}.get(call.tool, "prompt"), ""))


def code_strings(code: str) -> list[str]:
    """Strings in a program that a reader of the chart may see: titles, labels, categories."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [text for _, text in re.findall(r"(['\"])([^'\"\n]{2,80})\1", code)][:40]
    found = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in found if len(text) > 1][:40]


def _specific(asked: str, tool: str, question: str) -> float:
    if tool == "edit":
        named = _HINTS["edit"].search(asked) or re.search(r"\b(?:text|colou?r|warm|cool|bright)", asked, re.I)
        return 1.0 if named else 0.3
    told = content_words(asked)
    distinct = len(set(told))
    enough = _says_something(asked, question)
    rambling = ramp(len(words(asked)), 25, 60)
    stuffed = ramp(1 - distinct / len(told), 0.2, 0.6) if told else 0.0
    return enough * (1 - 0.7 * rambling) * (1 - stuffed)


def _described(description: str, question: str) -> float:
    """Whether a description says in a phrase of its own what is to be seen: it stands under the picture, and for it where that is missing."""
    count, asked = len(words(description)), stems(question)
    # What a question wants to be shown may be named in its words; what repeats most of it is no description.
    taken = len(asked & stems(description)) / len(asked) if asked else 0.0
    copied = (1 - own_words(description, question)) * ramp(taken, 0.4, 0.7) if count >= _COPIED else 0.0
    return _says_something(description, question) * (1 - ramp(count, 18, 40)) * (1 - copied)


def _says_something(text: str, question: str) -> float:
    """0 without a word that means something, 1 with two; one alone is nearly enough where it is the question's own."""
    told = set(content_words(text))
    return _SUBJECT if len(told) == 1 and stems(text) <= stems(question) else ramp(len(told), 0, 2)


def _to_a_reader(call: Call, asked: str, question: str, meanings: Meanings) -> float:
    """Whether a description is meant for a reader.

    An edit's may name the change as the tool is told it, and one that has only words of the question addresses nobody.
    """
    told = call.description
    if call.tool == "edit" and asked.strip():
        told = re.sub(re.escape(asked.strip()), " ", told, flags=re.IGNORECASE)
    return 1.0 if stems(told) <= stems(question) else for_a_reader(told, question, meanings)


def _code_specific(call: Call, picture: Picture | None) -> float:
    code = wish(call)
    try:
        ast.parse(code)
        readable = 1.0
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        readable = 0.3
    chart = chart_of(call, picture)
    plotting = chart.value if _PLOTTING.search(code) else 0.0
    data = 1.0 if re.search(r"np\.\w+\(|\*\*|\brange\(", code) else ramp(len(chart.drawn.numbers), 0, 3)
    labelled = ramp(len(_LABELLING.findall(code)) + (len(code_strings(code)) >= 3), 0, 2)
    return readable * (0.2 + 0.8 * plotting) * (0.15 + 0.55 * data + 0.3 * labelled)


def _right_tool(call: Call, asked: str, question: str, sources: int, needs: NeedTable) -> float:
    """Whether the tool suits the call's own words and the question, half and half."""
    if call.tool not in _HINTS:
        return 0.5  # a plugin's tool: nothing is known about it
    if call.tool == "edit" and not sources:
        return 0.05
    if call.tool == "code" and len(prose_numbers(question) & drawn(asked).numbers) >= 2:
        return 1.0  # it plots the numbers that were given
    own = needs.probabilities(call.description if call.tool == "code" else f"{call.description}. {asked}")
    wanted = needs.probabilities(question)
    suits = own[call.tool] / max(own.values())
    called_for = wanted[call.tool] / max(wanted.values())
    return 0.5 * max(suits, called_for) + 0.5 * called_for


def _led_astray(tool: str, before: str) -> bool:
    """Whether a line with a colon announces another kind of picture."""
    line = _LAST_LINE.search(before[-160:])
    return line is not None and announces_another(tool, line[0])


def _natural(before: str, after: str) -> float:
    tail = before[-160:]
    value = 1.0
    if count_lead_ins(tail):
        value -= 0.6
    elif _ANNOUNCING.search(tail):
        value -= 0.3
    if (last := words(tail[-20:])) and last[-1] in CANNOT_END and tail.rstrip()[-1].isalpha():
        value -= (
            0.25 if _IN_LINES.search(tail) else 0.5
        )  # between an article and its noun, or where a poem's line breaks
    elif _GOES_ON.search(tail) and re.match(r"[ \t]*[a-z]", after):
        value -= 0.4
    if _FENCE_BEFORE.search(tail) or after.lstrip().startswith("`"):
        value -= 0.6
    if not before.strip() and not after.strip():
        value -= 0.3
    return max(0.0, value)

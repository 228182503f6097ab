"""Random and mutated documents for property tests: text with calls right and wrong, thoughts, halves of tags and hostile bodies."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence

SEARCH = '<imgen>{"source": "search", "description": "an owl", "params": {"query": "owl"}}</imgen>'
DIFFUSION = '<imgen>{"source": "diffusion", "description": "a moon", "params": {"prompt": "blue moon"}}</imgen>'
CODE = "<imgen>{'source': 'code', 'description': 'c', 'params': {'code': 'plt.plot([1, 2])\nplt.title('a')'}}</imgen>"
HERMES = '<tool_call>{"name": "search", "arguments": {"query": "bee", "description": "a bee"}}</tool_call>'


def edit(index: object) -> str:
    body = {"source": "edit", "description": "grey", "params": {"img_index": index, "prompt": "grayscale"}}
    return f"<imgen>{json.dumps(body)}</imgen>"


FRAGMENTS = [
    SEARCH, DIFFUSION, CODE, HERMES, edit(0), edit(1), edit(7), edit(-1), edit(True), edit("0"),
    "<think>", "</think>", "<imgen>", "</imgen>", "<tool_call>", "</tool_call>", "<", "</", "<img", "gen>", ">", "</think",
    "Owls hunt at night. ", "\n\n", "é", "日本", "😀", "\x00", "\ud800", "\x03", "{", "}", "'", '"', "\\",
    "<imgen></imgen>", "<imgen>[]</imgen>", "<imgen>null</imgen>", "<imgen>{}</imgen>", "<imgen>NaN</imgen>",
    '<imgen>{"source": 1, "description": 2, "params": 3}</imgen>', "<imgen>" + "[" * 300 + "</imgen>",
    "<imgen>" + "9" * 5000 + "</imgen>", "<imgen>{'a': {'b': " + "not " * 50 + "1}}</imgen>",
    '<imgen>{"source": "search", "source": "code", "description": "", "params": {"query": "a"}}</imgen>',
    '<imgen>{"source": "paint", "description": "", "params": {}}</imgen>',
    '<imgen>{"source": "search", "description": "\\ud800", "params": {"query": "\\u0000"}}</imgen>',
]  # fmt: skip


def random_stream(dice: random.Random, longest: int = 12) -> str:
    """A document of some fragments, half of the time damaged in a few places."""
    text = "".join(dice.choice(FRAGMENTS) for _ in range(dice.randint(0, longest)))
    if text and dice.random() < 0.5:
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(text) + 1)
            kind = dice.randrange(3)
            if kind == 0:
                text = text[:at] + text[at + dice.randint(1, 5) :]
            elif kind == 1:
                text = text[:at] + dice.choice(FRAGMENTS)[: dice.randint(1, 8)] + text[at:]
            else:
                text = text[:at] + chr(dice.randrange(1, 0x11000)) + text[at + 1 :]
    return text


def cut(text: str, places: Sequence[int]) -> list[str]:
    """The text in pieces, cut at `places`."""
    marks = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(marks)]

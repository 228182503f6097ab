"""Good documents, and what corruptions are made with."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from llmi_env.calls import Call
from llmi_env.document import Block, Document, Failure, Figure, Outcome, Picture, Text
from llmi_env.task import Task

PARAM = {"search": "query", "diffusion": "prompt", "code": "code", "edit": "prompt"}
"""The parameter in which a call says what it wants, by tool."""


@dataclass(frozen=True)
class Sample:
    """A good document and its task."""

    task: Task
    document: Document


Spoil = Callable[[Sample, Sample, random.Random], Document | None]
"""Takes the sample, another one to borrow from, and a source of randomness; `None` where it does not apply."""


def make_call(tool: str, description: str, wish: str) -> Call:
    """A call with its one wish; an edit points at the first picture."""
    return Call(tool, description, {PARAM.get(tool, "prompt"): wish} | ({"img_index": 0} if tool == "edit" else {}))


def make_figure(tool: str, description: str, wish: str, picture: Picture | None) -> Figure:
    """A figure as a policy would have written it; without a picture nothing was found."""
    return figure_of(make_call(tool, description, wish), picture or Failure.of(tool, "empty", "nothing"))


def figure_of(call: Call, outcome: Outcome | None) -> Figure:
    """A figure whose written body says what its call says: judges read the one and the other."""
    return Figure(call.to_json(), call, outcome)


def tool_of(figure: Figure) -> str:
    """The tool that was asked, "" where the call cannot be read."""
    return figure.call.tool if figure.call is not None else ""


def document_of(blocks: Iterable[Block]) -> Document:
    """A document of these blocks, neighbouring texts joined as a policy's own text would be."""
    joined: list[Block] = []
    for block in blocks:
        if isinstance(block, Text) and joined and isinstance(last := joined[-1], Text):
            joined[-1] = Text(last.text + block.text)
        elif not isinstance(block, Text) or block.text:
            joined.append(block)
    return Document(tuple(joined))


def with_text(document: Document, change: Callable[[str], str]) -> Document:
    """All text changed, figures left in place."""
    return Document(tuple(Text(change(b.text)) if isinstance(b, Text) else b for b in document))


def one_text(document: Document, text: str) -> Document:
    """The text replaced by one run in front of the figures."""
    return Document((Text(text), *document.figures))


def with_figures(document: Document, change: Callable[[int, Figure], Figure]) -> Document:
    """Each figure changed, by its index."""
    blocks: list[Block] = []
    index = 0
    for block in document:
        if isinstance(block, Figure):
            block = change(index, block)
            index += 1
        blocks.append(block)
    return Document(tuple(blocks))


def sentences_of(text: str) -> list[str]:
    """Sentences with their stops, blank ones left out."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]

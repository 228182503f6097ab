"""Parts of a document asked for in words: tasks for whoever writes documents by messages, and how the answers are read.

The document is shown with a line in the place of each figure, its pictures given with the task. What comes back is a document like any other; a
rewriting must hold each of these lines once, in their order, or it is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from llmi_env.calls import Call, ToolSpec
from llmi_env.document import Block, Document, Text
from llmi_env.errors import BadCall
from llmi_env.task import Task

_MARK = re.compile(r"\[figure (\d{1,4})\b[^\]\n]*\]")

_REWRITE = """{question}

Below is a document that answers this. A line [figure N: ...] stands where the reader sees figure N; its picture is given. Write the document
anew: say it better, correct what is wrong, let the text fit what the pictures really show, keep to what was asked. Keep every line
[figure N: ...] once, in this order, on a line of its own. Write no calls, and nothing besides the document.

{document}"""

_MEND = """{question}

This call of your document failed:
<imgen>{raw}</imgen>
{kind}: {message}

Write this one call again, so that it works, and nothing besides."""

_LONGEST_MESSAGE = 1000


def rewriting_task(task: Task, document: Document) -> Task:
    """What asks for the text of a document anew; its pictures are the task's."""
    lines, number = [], 0
    for block in document:
        if isinstance(block, Text):
            lines.append(block.text.strip("\n"))
            continue
        about = _one_line(block.call.description if block.call else "a call that cannot be read")
        lines.append(f"[figure {number}: {about}{'' if block.picture else ' (no picture came)'}]")
        number += 1
    asked = _REWRITE.format(question=task.question, document="\n".join(lines))
    name = f"{task.id}~rewriting" if task.id else None
    return Task(asked, document.pictures, "none", (), name, task.source)


def rewritten(document: Document, answer: Document) -> tuple[Document | None, str]:
    """The figures of `document` in the text of `answer`, or why that cannot be."""
    if answer.figures:
        return None, f"the rewriting holds {len(answer.figures)} calls of its own"
    figures = document.figures
    blocks: list[Block] = []
    at, seen = 0, 0
    for mark in _MARK.finditer(answer.text):
        if int(mark[1]) != seen:
            return None, f"figure {mark[1]} stands where figure {seen} belongs"
        if seen == len(figures):
            return None, f"there is no figure {seen}"
        _add(blocks, answer.text[at : mark.start()])
        blocks.append(figures[seen])
        at, seen = mark.end(), seen + 1
    if seen < len(figures):
        return None, f"figure {seen} is left out"
    _add(blocks, answer.text[at:])
    made = Document(tuple(blocks))
    return (made, "") if made.text.strip() else (None, "nothing was written")


def mending_task(task: Task, document: Document, index: int) -> Task:
    """What asks for the call of a figure that failed."""
    figure = document.figures[index]
    failure = figure.failure
    kind, message = (failure.kind, failure.message) if failure is not None else ("failed", "no picture came")
    asked = _MEND.format(
        question=task.question, raw=figure.raw, kind=kind, message=message[:_LONGEST_MESSAGE] or "no picture came"
    )
    return replace(task, question=asked, image_count="any", tools=(), id=f"{task.id}~mending" if task.id else None)


def mended(answer: Document, task: Task, index: int, tools: Mapping[str, ToolSpec]) -> tuple[Call | None, str, str]:
    """The first call of `answer` as that of figure `index`, with its text, or why there is none."""
    if not answer.figures:
        return None, "", "no call was written"
    figure = answer.figures[0]
    if figure.call is None:
        return None, figure.raw, figure.failure.message if figure.failure else "the call cannot be read"
    try:
        figure.call.check(len(task.images), index, tools)
    except BadCall as error:
        return None, figure.raw, str(error)
    return figure.call, figure.raw, ""


def _add(blocks: list[Block], text: str) -> None:
    if text.strip():
        blocks.append(Text(text))


def _one_line(text: str) -> str:
    return " ".join(text.replace("[", "(").replace("]", ")").split())[:200]

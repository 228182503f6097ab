"""One document as HTML that is safe to show."""

from __future__ import annotations

import html
from functools import lru_cache
from typing import Any

from llmi_env.chart_reading import ChartReading
from llmi_env.document import Document, Failure, Figure, Picture, Text
from llmi_env.errors import require

_TAGS = {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li",
    "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_MARKS = 12
_FAULTS = {"policy": "the policy's fault", "world": "the world's fault"}


@lru_cache(maxsize=1)
def _markdown() -> Any:
    markdown_it = require("markdown_it", "the report", "train")
    return markdown_it.MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")


def text_html(text: str) -> str:
    """Markdown to HTML without links, pictures, attributes or raw HTML."""
    nh3 = require("nh3", "the report", "train")
    return str(nh3.clean(_markdown().render(text), tags=_TAGS, attributes={}, url_schemes=set()))


def document_html(document: Document) -> str:
    """The document's body: text in order, pictures in place, failures as boxes that say what was written."""
    parts, index = [], 0
    for block in document:
        if isinstance(block, Text):
            parts.append(text_html(block.text))
        else:
            parts.append(_figure_html(block, index))
            index += 1
    return "\n".join(parts)


def _figure_html(figure: Figure, index: int) -> str:
    tool = html.escape(figure.call.tool if figure.call else "unreadable call")
    description = html.escape(figure.call.description if figure.call else "")
    written = f"<details><summary>call {index}: {tool}</summary><pre>{html.escape(figure.raw)}</pre>{_reading(figure)}</details>"
    if isinstance(figure.outcome, Picture):
        return (
            f'<figure><img src="{figure.outcome.data_url}" alt="{description}">{_sound(figure.outcome)}'
            f"<figcaption>{description}{_credit(figure.outcome)}{written}</figcaption></figure>"
        )
    if isinstance(figure.outcome, Failure):
        failure = figure.outcome
        what = f"{failure.kind}, {_FAULTS[failure.fault]}: {failure.message}"
        return f'<figure class="failed"><p>No picture: {html.escape(what)}</p><figcaption>{description}{written}</figcaption></figure>'
    return f'<figure class="failed"><p>No picture yet.</p><figcaption>{description}{written}</figcaption></figure>'


def _sound(picture: Picture) -> str:
    """A player for what goes with the picture. Its address holds a type of the list and base64, nothing to escape."""
    if picture.attachment is None:
        return ""
    return f'<audio controls preload="none" src="{picture.attachment.data_url}"></audio>'


def _credit(picture: Picture) -> str:
    origin = picture.provenance
    known = [part for part in (origin.title, origin.author, origin.licence) if part]
    words = " · ".join([origin.backend, *known])
    return f'<small class="credit">{html.escape(words)}</small>'


def _reading(figure: Figure) -> str:
    """What was read off a chart, in one line; empty for other pictures."""
    reading = ChartReading.from_json(figure.picture.provenance.chart) if figure.picture else None
    if reading is None:
        return ""
    marks = [f"{mark.kind} {mark.name} {mark.value:g}".replace("  ", " ") for mark in reading.marks[:_MARKS]]
    if len(reading.marks) > _MARKS:
        marks.append(f"and {len(reading.marks) - _MARKS} more")
    shares = f"seen {reading.seen:.0%}, ink {reading.ink:.0%} of the page, axes {reading.room:.0%}"
    words = "; ".join([*(marks or ["no values"]), shares, *(["numbers of an axis renamed"] if reading.renamed else [])])
    return f'<small class="credit">read off the chart: {html.escape(words)}</small>'

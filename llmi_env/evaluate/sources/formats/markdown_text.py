"""A Markdown document: its text as it is written, with its pictures cut out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from llmi_env.errors import require
from llmi_env.evaluate.sources.formats.html_text import html_parts
from llmi_env.evaluate.sources.formats.parts import DocumentError, Part, PicturePlace, taken_out, tidy

__all__ = ["read_markdown"]

_LONGEST_PARAGRAPH = 20_000
"""The library takes quadratic time for hostile paragraphs; these are read in seconds."""


def read_markdown(text: str) -> list[Part]:
    """The parts of a Markdown document: the text as it is written, pictures (also as `<img>`) cut out of it.

    Raises:
        DocumentError: it is too long, or shows what cannot be read.
        MissingExtra: `markdown-it-py` is not installed.
    """
    text, embedded = taken_out(text.replace("\r\n", "\n").replace("\r", "\n"))
    return tidy(list(_cut(text, _found(text))), embedded)


@dataclass(frozen=True)
class _Cut:
    """Characters `start` to `stop` of the source, and what stands in their place."""

    start: int
    stop: int
    parts: Sequence[Part]


def _cut(text: str, cuts: Sequence[_Cut]) -> Iterator[Part]:
    at = 0
    for cut in cuts:
        yield text[at : cut.start]
        yield from cut.parts
        at = cut.stop
    yield text[at:]


def _found(text: str) -> list[_Cut]:
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found: list[_Cut] = []
    at = 0
    reader = _markdown()
    definitions: dict[str, Any] = {}
    for token in reader.parse(text, definitions):
        if token.type not in ("inline", "html_block") or token.map is None:
            continue
        begin, end = max(at, starts[token.map[0]]), min(starts[min(token.map[1], len(starts) - 1)], len(text))
        if token.type == "html_block":
            found.append(_Cut(begin, max(begin, end), ["\n", *html_parts(token.content), "\n"]))
            at = max(begin, end)
            continue
        if "![" not in token.content and "<" not in token.content:
            continue
        if len(token.content) > _LONGEST_PARAGRAPH:
            raise DocumentError(
                f"line {token.map[0] + 1}: a paragraph of {len(token.content)} characters; at most {_LONGEST_PARAGRAPH} are read"
            )
        children: list[Any] = []
        reader.inline.parse(token.content, reader, definitions, children)
        for raw, parts in _inline(children):
            place = text.find(raw, begin, end)
            # What is written over several lines of a quotation is not found as it stands: it goes to the end of its paragraph.
            start, stop = (place, place + len(raw)) if place >= 0 else (end, end)
            found.append(_Cut(start, stop, parts))
            begin = at = stop
    return found


def _inline(tokens: Sequence[Any]) -> Iterator[tuple[str, list[Part]]]:
    """Pictures and tags of a paragraph: how each is written, and what stands in its place."""
    linked = ""
    for at, token in enumerate(tokens):
        if token.type == "link_open" and [other.type for other in tokens[at + 1 : at + 3]] == ["image", "link_close"]:
            linked = token.meta["raw"]  # a picture that is a link, no words beside it
        elif token.type == "image":
            yield linked or token.meta["raw"], [PicturePlace(str(token.attrs["src"]), token.content)]
            linked = ""
        elif token.type == "html_inline":
            yield token.content, html_parts(token.content)


@cache
def _markdown() -> Any:
    markdown_it = require("markdown_it", "finished documents in Markdown", "train")
    from markdown_it.rules_inline import image, link

    def noting(rule: Callable[[Any, bool], bool]) -> Callable[[Any, bool], bool]:
        """The rule, which also notes on its first token how that was written."""

        def noted(state: Any, silent: bool) -> bool:
            start, before = state.pos, len(state.tokens)
            matched = rule(state, silent)
            if matched and not silent:
                # the text before it may have become a token only now
                token = next(token for token in state.tokens[before:] if token.type != "text")
                token.meta["raw"] = state.src[start : state.pos]
            return matched

        return noted

    reader = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table")
    reader.core.ruler.disable(
        ["inline", "text_join"]
    )  # paragraphs are read one by one, and only those that may show something
    reader.inline.ruler.at("image", noting(image))
    reader.inline.ruler.at("link", noting(link))
    reader.validateLink = lambda url: True  # whatever cannot be read is to be told, and not to become text
    return reader

"""A page of HTML as text in the manner of Markdown, its `<img>` as pictures.

The standard library's parser does the reading. It takes quadratic time for tags and comments that never end, so it is given whole tags only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser

from llmi_env.evaluate.sources.formats.parts import DocumentError, Part, PicturePlace, taken_out, tidy

__all__ = ["html_parts", "read_html"]

_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption",
        "figure", "footer", "form", "header", "hgroup", "legend", "main", "nav", "p", "section", "summary", "table", "tbody", "tfoot", "thead",
    }
)  # fmt: skip
_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "code": "`"}
_RAW = frozenset({"script", "style"})
_SKIPPED = frozenset({"template", "noscript", "title"})
_OPEN_ENDED = frozenset({"p", "li", "dt", "dd", "tr", "td", "th", "option"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_NOT_SHOWN = frozenset({"svg", "canvas", "object", "embed", "iframe", "video", "audio"})
_HIDING = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)


def read_html(text: str) -> list[Part]:
    """The parts of an HTML page: its text in the manner of Markdown, its `<img>` as pictures.

    Raises:
        DocumentError: it is too long, or shows what cannot be read.
    """
    text, embedded = taken_out(text)
    return tidy(html_parts(text), embedded)


def html_parts(text: str) -> list[Part]:
    """The same for a piece of HTML that stands within something else, as it comes."""
    page = _Page()
    page.feed("".join(_sound(text)))
    page.close()
    return page.parts


_LONGEST_TAG = 2000
_DEEPEST = 8
_TAG = re.compile(r"""<(/?[a-zA-Z][^\s/>"'<]*+)(?:[^"'<>]++|"[^"]*+"|'[^']*+')*+>""")
_LOOSE_TAG = re.compile(r"<(/?[a-zA-Z][^\s/><]*+)[^<>]*+>")


def _sound(text: str) -> Iterator[str]:
    """The text with whole tags; comments, scripts and the like are left out, other `<` are spelled out."""
    at = 0
    while (start := text.find("<", at)) >= 0:
        yield text[at:start]
        if text.startswith(("<!", "<?"), start):
            ending = "-->" if text.startswith("<!--", start) else ">"
            end = text.find(ending, start + 2)
            at = end + len(ending) if end >= 0 else len(text)
            continue
        end = start + _LONGEST_TAG
        tag = _TAG.match(text, start, end) or _LOOSE_TAG.match(text, start, end)
        if tag is None:
            yield "&lt;"
            at = start + 1
        elif (name := tag[1].lower()) in _RAW:
            closing = re.compile(rf"</{name}[\s/>]", re.IGNORECASE).search(text, tag.end())
            at = closing.end() if closing is not None else len(text)
        else:
            yield tag[0]
            at = tag.end()
    yield text[at:]


class _Page(HTMLParser):
    """Reads a page, tag by tag, into parts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[Part] = []
        self._tail = "\n\n"  # the end of what was written since the last picture
        self._skipped: list[str] = []
        self._pre = 0
        self._lists: list[int | None] = []  # the number of the last item of each open list; of one with bullets none

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipped and self._skipped[-1] == tag and tag in _OPEN_ENDED:
            self._skipped.pop()
        given = {name: value or "" for name, value in attrs}
        hidden = "hidden" in given or _HIDING.search(given.get("style", "")) or tag in _SKIPPED
        hidden = hidden or (tag == "svg" and given.get("aria-hidden") == "true")
        if self._skipped or hidden:
            if tag not in _VOID and (hidden or tag == self._skipped[-1]):
                self._skipped.append(tag)
            return
        if tag in _NOT_SHOWN:
            raise DocumentError(
                f"line {self.getpos()[0]}: <{tag}> cannot be read; save what it shows as a PNG and use <img>"
            )
        if tag == "img":
            self._image(given)
        elif tag == "br":
            self._write("\n")
        elif tag == "hr":
            self._part("---")
        elif tag in ("ul", "ol"):
            self._break(1 if self._lists else 2)
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._item()
        elif tag == "tr":
            self._break(1)
        elif tag in ("td", "th"):
            self._write("| ")
        elif tag == "pre":
            self._part("```\n")
            self._pre += 1
        elif re.fullmatch("h[1-6]", tag):
            self._break(2)
            self._write("#" * int(tag[1]) + " ")
        elif tag in _BLOCKS:
            self._break(1 if self._lists else 2)
        elif tag in _MARKS and not self._pre:
            self._write(_MARKS[tag])

    def handle_endtag(self, tag: str) -> None:
        if self._skipped:
            if self._skipped[-1] == tag:
                self._skipped.pop()
            return
        if tag == "pre" and self._pre:
            self._pre -= 1
            self._break(1)
            self._write("```")
            self._break(2)
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
            self._break(1 if self._lists else 2)
        elif tag in ("td", "th"):
            self._write(" ")
        elif tag in ("li", "tr"):
            self._break(1)
        elif tag in _BLOCKS or re.fullmatch("h[1-6]", tag):
            self._break(1 if self._lists else 2)
        elif tag in _MARKS and not self._pre:
            self._write(_MARKS[tag])

    def handle_data(self, data: str) -> None:
        if self._skipped:
            return
        if not self._pre:
            data = re.sub(r"\s+", " ", data)
            if self._tail.endswith((" ", "\n")):
                data = data.lstrip(" ")
        self._write(data)

    def _image(self, given: Mapping[str, str]) -> None:
        address = given.get("src") or given.get("data-src") or given.get("srcset", "").split(" ")[0]
        if not address.strip():
            raise DocumentError(f"line {self.getpos()[0]}: an <img> without src")
        self.parts.append(PicturePlace(address.strip(), given.get("alt", "")))
        self._tail = "\n\n"

    def _item(self) -> None:
        self._break(1)
        number = self._lists[-1] if self._lists else None
        if number is not None:
            self._lists[-1] = number = number + 1
        indent = "  " * min(max(0, len(self._lists) - 1), _DEEPEST)
        self._write(f"{indent}{'-' if number is None else f'{number}.'} ")

    def _part(self, text: str) -> None:
        self._break(2)
        self._write(text)
        self._break(1 if text.endswith("\n") else 2)

    def _break(self, lines: int) -> None:
        there = len(self._tail) - len(self._tail.rstrip("\n"))
        if there < lines:
            self._write("\n" * (lines - there))

    def _write(self, text: str) -> None:
        if text:
            self.parts.append(text)
            self._tail = (self._tail + text[-2:])[-2:]

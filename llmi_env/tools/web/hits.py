"""What a search service found: hits, and the hostile strings of its answer made plain.

An answer comes from the web. Text in it becomes one line of plain text of bounded length, addresses are kept only where they are http(s), and
licences are named by their SPDX identifier where there is one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from llmi_env.document import Provenance

__all__ = ["Hit", "Licences", "Wish", "field", "number", "plain", "spdx", "web_address"]

Licences = Literal["any", "reusable", "commercial"]
"""Which pictures are wanted: all, those that may be shared, or those that may be shared and changed, commercially too."""

_TITLE, _CAPTION, _NAME, _ADDRESS = 200, 500, 200, 2000
_MOST_MARKUP = 20_000  # characters of HTML that are read
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*+|!)[^<>]*+>")
_UNSEEN = frozenset({"script", "style", "template", "head", "noscript"})
_INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "big", "cite", "em", "font", "i", "small", "span", "strong", "sub", "sup", "u"}
)


@dataclass(frozen=True)
class Wish:
    """What a service is asked for.

    Attributes:
        words: the query, cleaned.
        hits: how many hits are wanted.
        safe: whether explicit pictures are to be left out, where the service can.
        language: language code, or `None` for the service's own choice.
        licences: which licences will do.
    """

    words: str
    hits: int = 10
    safe: bool = True
    language: str | None = None
    licences: Licences = "any"


@dataclass(frozen=True)
class Hit:
    """One picture that a service found, in its words.

    Attributes:
        picture: address of the picture; empty where the service gave none that can be used.
        title: short title.
        caption: what is seen in it.
        page: address of the page it stands on.
        author: who made it.
        licence: SPDX identifier or name of the licence.
        width, height: pixels as the service states them, or `None`.
    """

    picture: str
    title: str = ""
    caption: str = ""
    page: str = ""
    author: str = ""
    licence: str = ""
    width: int | None = None
    height: int | None = None

    @classmethod
    def of(cls, base: str, *, picture: Any, page: Any = "", width: Any = None, height: Any = None, **texts: Any) -> Hit:
        """A hit from raw values of an answer; what cannot be used is left empty.

        Args:
            base: address of the answer; relative addresses start there.
            picture, page: addresses.
            width, height: pixels.
            **texts: `title`, `caption`, `author`, `licence`; may hold HTML.
        """
        return cls(
            picture=web_address(picture, base),
            title=plain(texts.get("title"), _TITLE),
            caption=plain(texts.get("caption"), _CAPTION),
            page=web_address(page, base),
            author=plain(texts.get("author"), _NAME),
            licence=spdx(plain(texts.get("licence"), _NAME)),
            width=number(width),
            height=number(height),
        )

    def provenance(self, backend: str) -> Provenance:
        """Where the picture comes from, as a document keeps it."""
        return Provenance(
            backend=backend,
            title=self.title,
            caption=self.caption,
            source=self.page or self.picture,
            author=self.author,
            licence=self.licence,
        )


def plain(value: Any, most: int) -> str:
    """One line of plain text of at most `most` characters; markup and control characters are taken out, what is no text is empty.

    >>> plain('<a href="//x.org/u">Ann &amp; <b>Bob</b></a><br>2019', 40)
    'Ann & Bob 2019'
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = str(value)[:_MOST_MARKUP]
    if "<" in text or "&" in text:
        text = html.unescape(_without_tags(text))
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def _without_tags(markup: str) -> str:
    """What a reader of some HTML sees. Linear in its length: the standard library's parser takes seconds for markup that is made to be slow."""
    seen: list[str] = []
    start, unseen = 0, ""
    for tag in _TAG.finditer(markup):
        closing, name = bool(tag[1]), tag[2].lower()
        if unseen:
            unseen = "" if closing and name == unseen else unseen
        else:
            seen.append(markup[start : tag.start()])
            unseen = name if name in _UNSEEN and not closing else ""
            seen.append("" if name in _INLINE else " ")
        start = tag.end()
    return "".join(seen) if unseen else "".join(seen) + markup[start:]


def web_address(value: Any, base: str = "") -> str:
    """An http(s) address, relative ones completed by `base`; empty for anything else.

    >>> web_address("//img.example/a.png", "https://api.example/search")
    'https://img.example/a.png'
    >>> web_address("javascript:alert(1)")
    ''
    """
    if not isinstance(value, str) or not value.strip() or len(value) > _ADDRESS:
        return ""
    try:
        address = urljoin(base, value.strip())
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # e.g. a bracket that never closes
        return ""
    return address if usable and address.isprintable() and len(address) <= _ADDRESS else ""


def number(value: Any) -> int | None:
    """A number of pixels above 0, also from text; `None` for anything else."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        return None
    return int(value) or None


_CREATIVE_COMMONS = re.compile(r"cc[ -](by(?:[ -](?:nc|nd|sa))*)[ -](\d\.\d)(?: generic| international| unported)?")
_PUBLIC = frozenset({"public domain", "pd", "pdm", "public domain mark", "public domain mark 1.0", "pdm 1.0"})


def spdx(name: str) -> str:
    """The SPDX identifier of a licence that is known by its name; other names stay as they are.

    >>> spdx("CC BY-SA 4.0"), spdx("CC0"), spdx("Public domain"), spdx("GFDL")
    ('CC-BY-SA-4.0', 'CC0-1.0', 'LicenseRef-public-domain', 'GFDL')
    """
    said = name.strip().lower()
    if said in _PUBLIC:
        return "LicenseRef-public-domain"
    if said in ("cc0", "cc0 1.0", "cc-zero", "cc0-1.0"):
        return "CC0-1.0"
    if found := _CREATIVE_COMMONS.fullmatch(said):
        return f"CC-{found[1].replace(' ', '-')}-{found[2]}".upper()
    return name.strip()


def field(entry: Any, *names: str) -> Any:
    """The first value under `names` that is not empty, or `None`; an entry that is no mapping has none."""
    if not isinstance(entry, Mapping):
        return None
    return next((value for name in names if (value := entry.get(name)) not in (None, "")), None)

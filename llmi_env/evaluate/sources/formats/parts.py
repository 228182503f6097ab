"""What a finished document is made of, whatever it is written in: texts and places of pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmi_env.errors import LLMIError
from llmi_env.task import LONE_SURROGATE

__all__ = ["DocumentError", "Part", "PicturePlace", "checked_length", "taken_out", "tidy"]

_MOST_CHARACTERS = 400_000
_MOST_ALT = 2_000
_EMBEDDED = re.compile(r"data:image/[\w.+-]{1,40};base64,[A-Za-z0-9+/=%]+")
_STANDS_FOR = re.compile(r"embedded-picture:(\d{1,6})\Z")


class DocumentError(LLMIError, ValueError):
    """Raised when a finished document cannot be used; the message says where and why."""


@dataclass(frozen=True)
class PicturePlace:
    """Where a document shows a picture.

    Attributes:
        address: a path beside the document, or a `data:` URL.
        alt: what the document says in its place.
    """

    address: str
    alt: str = ""


Part = str | PicturePlace


def taken_out(text: str) -> tuple[str, list[str]]:
    """A text without its embedded pictures, which are megabytes, and those; short words stand for them until `tidy`.

    Raises:
        DocumentError: what is left is too long.
    """
    embedded: list[str] = []

    def keep(match: re.Match[str]) -> str:
        embedded.append(match[0])
        return f"embedded-picture:{len(embedded) - 1}"

    text = _EMBEDDED.sub(keep, text)
    checked_length(len(text))
    return text, embedded


def checked_length(characters: int) -> None:
    """Raise `DocumentError` where a text is too long to be read."""
    if characters > _MOST_CHARACTERS:
        raise DocumentError(f"{characters} characters without the pictures; at most {_MOST_CHARACTERS} are read")


def tidy(parts: Sequence[Part], embedded: Sequence[str] = ()) -> list[Part]:
    """The parts with texts joined and without halves of characters, and with embedded pictures where short words stood for them."""
    found: list[Part] = []
    texts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        _flush(texts, found)
        stands = _STANDS_FOR.match(part.address)
        number = int(stands[1]) if stands else len(embedded)
        address = embedded[number] if number < len(embedded) else part.address
        found.append(PicturePlace(address, _whole(" ".join(part.alt.split()))[:_MOST_ALT]))
    _flush(texts, found)
    return found


def _flush(texts: list[str], found: list[Part]) -> None:
    if text := _whole("".join(texts)):
        found.append(text)
    texts.clear()


def _whole(text: str) -> str:
    return LONE_SURROGATE.sub("\ufffd", text)

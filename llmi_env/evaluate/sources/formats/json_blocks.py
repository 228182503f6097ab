"""A document as JSON: a list of blocks, in the shapes that systems commonly write."""

from __future__ import annotations

import json
from typing import Any

from llmi_env.evaluate.sources.formats.parts import DocumentError, Part, PicturePlace, checked_length, tidy

__all__ = ["read_json"]

_LISTS = ("document", "blocks", "content", "output")
_TEXTS, _PICTURES, _ALTS = (
    ("text", "content"),
    ("image", "path", "image_url", "url", "images"),
    ("alt", "caption", "description"),
)


def read_json(text: str) -> list[Part]:
    """The parts of a document as JSON.

    That is a list of blocks, or an object with one as `document`, `blocks`, `content` or `output`. A block is a text, or an object with
    `text`, or with `image` (a path or `data:` URL, or a list of them) and its `alt` or `caption`, or with both, the text first. The content
    parts of chat messages are such blocks (`{"type": "image_url", "image_url": {"url": ...}}`), and so is `{"type": "image", "content": PATH}`.
    Texts side by side are paragraphs.

    Raises:
        DocumentError: it is no such thing.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"not JSON: {error}") from None
    if isinstance(data, dict):
        name = next((name for name in _LISTS if isinstance(data.get(name), list | str)), None)
        if name is None:
            raise DocumentError(
                f"an object with a list of blocks as {', '.join(_LISTS)} is needed, not one with {_names(data)}"
            )
        data = data[name]
    if isinstance(data, str):
        data = [data]
    if not isinstance(data, list):
        raise DocumentError(f"a list of blocks is needed, not {type(data).__name__}")
    parts: list[Part] = []
    for number, block in enumerate(data):
        for part in _block(block, f"block {number}"):
            if parts and isinstance(part, str) and isinstance(parts[-1], str):
                parts.append("\n\n")
            parts.append(part)
    checked_length(sum(len(part) for part in parts if isinstance(part, str)))
    return tidy(parts)


def _block(block: Any, where: str) -> list[Part]:
    if isinstance(block, str):
        return [block]
    if not isinstance(block, dict):
        raise DocumentError(f"{where}: a text or an object is needed, not {type(block).__name__}")
    kind = block.get("type")
    shows = isinstance(kind, str) and kind.startswith("image")
    texts = [value for name in _TEXTS if isinstance(value := block.get(name), str) and not shows]
    alts = (*_ALTS, "text") if shows else _ALTS
    alt = next((value for name in alts if isinstance(value := block.get(name), str)), "")
    names = (*_PICTURES, "content") if shows else _PICTURES
    pictures = [
        address for name in names if block.get(name) for address in _addresses(block[name], f"{where}, {name!r}")
    ]
    if not texts and not pictures:
        raise DocumentError(f"{where}: neither 'text' nor 'image' but {_names(block)}")
    return [*texts[:1], *(PicturePlace(address, alt) for address in pictures)]


def _addresses(value: Any, where: str) -> list[str]:
    if isinstance(value, dict):
        value = value.get("url") or value.get("path")
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) and one.strip() for one in values):
        raise DocumentError(f"{where}: a path or a data: URL is needed, not {value!r:.60}")
    return [one.strip() for one in values]


def _names(data: dict[str, Any]) -> list[str]:
    return [name[:40] for name in list(data)[:8]]

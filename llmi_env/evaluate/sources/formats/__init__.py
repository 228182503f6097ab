"""Finished documents of other systems as text and places of pictures: Markdown, HTML, JSON.

Pure: nothing is opened here. What a reader does not see (comments, scripts, hidden elements) is left out, for a judge is to see no more; what a
reader sees and this package cannot show (an inline SVG, a video) is an error, for leaving it out would change the document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmi_env.evaluate.sources.formats.html_text import read_html
from llmi_env.evaluate.sources.formats.json_blocks import read_json
from llmi_env.evaluate.sources.formats.markdown_text import read_markdown
from llmi_env.evaluate.sources.formats.parts import DocumentError, Part, PicturePlace

__all__ = ["FORMATS", "DocumentError", "Part", "PicturePlace", "read_html", "read_json", "read_markdown"]

FORMATS: Mapping[str, Callable[[str], list[Part]]] = {
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".html": read_html,
    ".htm": read_html,
    ".json": read_json,
}
"""Who reads a document, by the suffix of its file."""

"""Pictures of a document for `LLMIEnv.render`: as text with ANSI colours, as an HTML page, and as pixels.

What a policy wrote is never trusted: control characters are replaced before they reach a terminal, and everything is escaped in
HTML. No browser and no extra is needed; the report (`llmi_env.report`) is the richer page.
"""

from __future__ import annotations

import html
import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from llmi_env.document import Document, Figure, Picture, Text
from llmi_env.rewards import RewardReport
from llmi_env.task import Task

WIDTH, HEIGHT = 640, 720
"""Size of a frame; always the same, since recorders of video need that."""

_MARGIN, _FONT_SIZE, _PICTURE_HEIGHT = 16, 15, 200
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_DIM, _BOLD, _CYAN, _RED, _RESET = "\x1b[2m", "\x1b[1m", "\x1b[36m", "\x1b[31m", "\x1b[0m"


def _plain(text: str) -> str:
    """The text without control characters, lone surrogates and marks that turn the direction of writing."""
    return _CONTROL.sub("\ufffd", text)


def _label(figure: Figure) -> str:
    if figure.call is None:
        return "unreadable call"
    return _plain(f"{figure.call.tool}: {' '.join(figure.call.description.split())[:120]}")


def _state(figure: Figure) -> str:
    if isinstance(figure.outcome, Picture):
        size = figure.outcome.image.size
        return f"{size[0]}x{size[1]}"
    if figure.outcome is None:
        return "pending"
    return _plain(f"{figure.outcome.kind}: {' '.join(figure.outcome.message.split())[:160]}")


def _verdict(report: RewardReport | None) -> str:
    if report is None:
        return ""
    if report.total is None:
        return _plain("no score: " + "; ".join(report.unscored))
    return f"reward {report.total:.3f}: " + ", ".join(f"{name} {value:.2f}" for name, value in report.values.items())


def to_ansi(document: Document, task: Task, report: RewardReport | None = None) -> str:
    """The document for a terminal: the question, text, one line for each figure, and the reward where there is one."""
    parts = [f"{_DIM}{_plain(task.question)}{_RESET}\n\n"]
    for block in document:
        if isinstance(block, Text):
            parts.append(_plain(block.text))
        else:
            colour = _CYAN if block.picture is not None or block.outcome is None else _RED
            parts.append(f"\n{colour}[{_label(block)} | {_state(block)}]{_RESET}\n")
    if report is not None:
        parts.append(f"\n\n{_BOLD}{_verdict(report)}{_RESET}\n")
    return "".join(parts)


def to_html(document: Document, task: Task, report: RewardReport | None = None) -> str:
    """The document as one self-contained page, pictures inside; all text is escaped."""
    parts = [f"<blockquote>{html.escape(_plain(task.question))}</blockquote>"]
    for block in document:
        if isinstance(block, Text):
            parts.append(f'<div class="text">{html.escape(_plain(block.text))}</div>')
            continue
        caption = html.escape(f"{_label(block)} | {_state(block)}")
        picture = f'<img alt="" src="{block.picture.data_url}">' if block.picture is not None else ""
        if block.picture is not None and block.picture.attachment is not None:
            picture += f'<audio controls preload="none" src="{block.picture.attachment.data_url}"></audio>'
        kind = "" if block.failure is None else ' class="failed"'
        parts.append(f"<figure{kind}>{picture}<figcaption>{caption}</figcaption></figure>")
    if report is not None:
        parts.append(f"<p><b>{html.escape(_verdict(report))}</b></p>")
    style = (
        "body{max-width:44rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 sans-serif}.text{white-space:pre-wrap}"
        "blockquote,figcaption{color:#666}figure{margin:1rem 0}img{max-width:100%}.failed{border-left:3px solid #c33;padding-left:1rem}"
    )
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>LLMI-v0</title>'
        f"<style>{style}</style></head><body>\n{body}\n</body></html>\n"
    )


def to_pixels(document: Document, task: Task, report: RewardReport | None = None) -> npt.NDArray[np.uint8]:
    """The end of the document, as much as fits a frame: uint8, shape (720, 640, 3)."""
    font = _font()
    rows: list[tuple[str, str] | Image.Image] = [(line, "#888888") for line in _wrap(_plain(task.question), font)]
    for block in document:
        if isinstance(block, Text):
            rows += [(line, "black") for line in _wrap(_plain(block.text), font)]
            continue
        if block.picture is not None:
            shown = block.picture.image.convert("RGB")
            shown.thumbnail((WIDTH - 2 * _MARGIN, _PICTURE_HEIGHT))
            rows.append(shown)
        colour = "#b03030" if block.failure is not None else "#207080"
        rows += [(line, colour) for line in _wrap(f"[{_label(block)} | {_state(block)}]", font)]
    if report is not None:
        rows += [(line, "#106010") for line in _wrap(_verdict(report), font)]

    page = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(page)
    # From the end upwards, so that what was written last is always seen.
    heights = [row.height + 6 if isinstance(row, Image.Image) else _FONT_SIZE + 5 for row in rows]
    first, used = len(rows), 0
    while first > 0 and used + heights[first - 1] <= HEIGHT - 2 * _MARGIN:
        first -= 1
        used += heights[first]
    y = _MARGIN
    for row, height in zip(rows[first:], heights[first:], strict=True):
        if isinstance(row, Image.Image):
            page.paste(row, (_MARGIN, y))
        else:
            draw.text((_MARGIN, y), row[0], fill=row[1], font=font)
        y += height
    return np.array(page, np.uint8)


@lru_cache(maxsize=1)
def _font() -> Any:
    """DejaVu Sans from matplotlib's files, which knows far more scripts than Pillow's own font; nothing is imported for it."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), _FONT_SIZE)
    return ImageFont.load_default(_FONT_SIZE)


def _wrap(text: str, font: Any) -> list[str]:
    """Lines that fit the page; only the end of a very long text, since no more can be seen."""
    room = WIDTH - 2 * _MARGIN
    lines: list[str] = []
    for paragraph in text[-8000:].split("\n"):
        line = ""
        for word in re.findall(r"\S+\s*|\s+", paragraph):
            while font.getlength(line + word.rstrip()) > room:
                if line:
                    lines.append(line)
                    line = ""
                    continue
                fits = max(1, int(len(word) * room / font.getlength(word)) - 1)
                lines.append(word[:fits])
                word = word[fits:]
            line += word
        lines.append(line.rstrip())
    return lines

"""Proxies for pictures: how good one is to look at, and whether it shows what the text says.

Quality is measured on the pixels: size, contrast, detail, sharpness. Whether a picture fits its text is told by what is known of it: the
caption of what was found, the prompt of what was drawn, titles, labels and numbers of what was plotted, the instruction of what was edited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llmi_env.document import Document, Figure, Picture
from llmi_env.errors import require
from llmi_env.judges.call_proxy import code_strings, numbers, wish
from llmi_env.judges.relevance import Meanings, kinship, ramp
from llmi_env.task import Task

_LOOKED_AT = 384


@dataclass(frozen=True)
class PixelTraits:
    """What a picture looks like, each in [0, 1]."""

    size: float
    contrast: float
    detail: float
    sharpness: float

    @property
    def value(self) -> float:
        """All of them together: a picture that fails in one is spoilt."""
        return self.size * self.contrast * self.detail * self.sharpness

    @property
    def weakest(self) -> str:
        """Name of the lowest one."""
        traits = vars(self)
        return min(traits, key=lambda name: float(traits[name]))


def pixel_traits(picture: Picture) -> PixelTraits:
    """Measure a picture.

    Raises:
        MissingExtra: without scikit-image.
    """
    side = min(picture.image.size)
    gray = _gray(picture.image)
    spread = float(np.quantile(gray, 0.995) - np.quantile(gray, 0.005))
    histogram = np.bincount((gray * 63.999).astype(np.int64).ravel(), minlength=64) / gray.size
    filled = histogram[histogram > 0]
    entropy = float(-(filled * np.log2(filled)).sum())
    return PixelTraits(
        size=ramp(side, 12, 64),
        contrast=ramp(spread, 0.02, 0.25),
        detail=ramp(entropy, 0.05, 0.5),
        sharpness=_sharpness(gray),
    )


def _gray(image: Image.Image) -> NDArray[np.float64]:
    """Brightness in [0, 1], transparent parts on white, the middle of what is larger than `_LOOKED_AT`."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        full = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", full.size, "white"), full)
    width, height = image.size
    left, top = max(0, (width - _LOOKED_AT) // 2), max(0, (height - _LOOKED_AT) // 2)
    middle = image.crop((left, top, min(width, left + _LOOKED_AT), min(height, top + _LOOKED_AT)))
    return np.asarray(middle.convert("L"), dtype=np.float64) / 255.0


def _sharpness(gray: NDArray[np.float64]) -> float:
    """1 where edges are crisp, toward 0 where a blur would change nothing any more."""
    if min(gray.shape) < 12 or float(np.ptp(gray)) < 0.02:
        return 0.0
    measure: Any = require("skimage.measure", "the embedded judge of pictures", "offline")
    return 1.0 - ramp(float(measure.blur_effect(gray)), 0.55, 0.9)


def evidence(document: Document, task: Task) -> list[str]:
    """What is known to be seen in each figure's picture, without looking at it; an edit shows what its source shows, changed."""
    known = [_told(picture) for picture in task.images]
    for figure in document.figures:
        call = figure.call
        if call is None or figure.picture is None:
            known.append("")
            continue
        asked, told = wish(call), _told(figure.picture)
        if call.tool == "code":
            known.append(". ".join(code_strings(asked)))
        elif call.tool == "search":
            known.append(told or asked)
        elif call.tool == "edit":
            at = call.params.get("img_index")
            source = known[at] if isinstance(at, int) and 0 <= at < len(known) else ""
            known.append(_joined(source or told, asked))
        else:
            known.append(_joined(asked, told))
    return known[len(task.images) :]


def fit_to_text(figure: Figure, known: str, before: str, after: str, question: str, meanings: Meanings) -> float:
    """How well a picture shows what its description and the text around it say, in [0, 1].

    Args:
        figure: with its picture.
        known: what is known to be seen (see `evidence`).
        before: text between it and the figure before.
        after: text between it and the next figure.
        question: what the task asks for; short texts lean on it.
        meanings: text embeddings.
    """
    if figure.call is None:
        return 0.0
    context = f"{before[-300:]} {after[:200]}"
    described = kinship(meanings, known, figure.call.description)
    if figure.call.tool == "code":
        # A chart's labels are few and short: they can confirm its description but hardly refute it, its numbers can.
        described = 0.5 + 0.5 * described
        known = f"{figure.call.description}. {known}"
    around = max(kinship(meanings, known, context), 0.75 * kinship(meanings, known, question))
    fits = _numbers_fit(wish(figure.call), question, context) if figure.call.tool == "code" else 1.0
    return described * (0.3 + 0.7 * around) * fits


def fit_to_question(figure: Figure, known: str, question: str, meanings: Meanings) -> float:
    """How well a picture serves the question, in [0, 1]."""
    if figure.call is None:
        return 0.0
    shown = kinship(meanings, known, question)
    if figure.call.tool == "code":
        told = kinship(meanings, f"{figure.call.description}. {known}", question)
        shown = (0.4 * shown + 0.6 * told) * _numbers_fit(wish(figure.call), question, "")
    return shown


def _told(picture: Picture) -> str:
    return _joined(picture.provenance.title, picture.provenance.caption)


def _joined(*parts: str) -> str:
    return ". ".join(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _numbers_fit(code: str, question: str, text: str) -> float:
    """Whether a chart plots the numbers of the question, or else of the text; 1 where too few are given to tell."""
    for given in (numbers(question), numbers(text)):
        if len(given) >= 2:
            return 0.4 + 0.6 * ramp(len(given & numbers(code)) / len(given), 0.0, 0.6)
    return 1.0

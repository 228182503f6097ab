"""Proxies for pictures: how good one is to look at, and whether it shows what the text says.

Quality is measured on the pixels: size, contrast, detail, sharpness. Whether a picture fits its text is told by what is known of it: the
caption of what was found, the prompt of what was drawn, titles, labels and numbers of what was plotted, the instruction of what was edited.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llmi_env.document import Figure, Picture
from llmi_env.errors import require
from llmi_env.judges.call_proxy import code_strings, wish
from llmi_env.judges.relevance import Meanings, kinship, ramp

_LOOKED_AT = 384
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)?")


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


def evidence(figure: Figure) -> str:
    """What is known to be seen in a figure's picture, without looking at it."""
    if figure.picture is None or figure.call is None:
        return ""
    told = figure.picture.provenance
    known = ". ".join(dict.fromkeys(part.strip() for part in (told.title, told.caption) if part.strip()))
    asked = wish(figure.call)
    if figure.call.tool == "code":
        return ". ".join(code_strings(asked))
    if figure.call.tool == "search":
        return known or asked
    return ". ".join(part for part in (asked, known if known != asked else "") if part)


def fit_to_text(figure: Figure, before: str, after: str, question: str, meanings: Meanings) -> float:
    """How well a picture shows what its description and the text around it say, in [0, 1]."""
    if figure.call is None:
        return 0.0
    known = evidence(figure)
    described = kinship(meanings, known, figure.call.description)
    around = kinship(meanings, known, f"{before[-300:]} {after[:200]}")
    value = described * (0.35 + 0.65 * around)
    if figure.call.tool == "code":
        value = 0.35 + 0.65 * value if known else 0.35
        value *= _numbers_fit(wish(figure.call), f"{question} {before} {after}")
    return value


def fit_to_question(figure: Figure, question: str, meanings: Meanings) -> float:
    """How well a picture serves the question, in [0, 1]."""
    if figure.call is None:
        return 0.0
    known = evidence(figure)
    shown = kinship(meanings, known, question)
    if figure.call.tool in (
        "code",
        "edit",
    ):  # labels and instructions are short; the description says what they are about
        shown = 0.4 * shown + 0.6 * kinship(meanings, f"{figure.call.description}. {known}", question)
    return shown


def _numbers_fit(code: str, told: str) -> float:
    """Whether a chart plots the numbers that the text gives; 1 where the text gives too few to tell."""
    given = {number.replace(",", ".") for number in _NUMBER.findall(told)}
    if len(given) < 3:
        return 1.0
    plotted = {number.replace(",", ".") for number in _NUMBER.findall(code)}
    return 0.4 + 0.6 * ramp(len(given & plotted) / len(given), 0.0, 0.6)

"""Proxies for pictures: how good one is to look at, and whether it shows what the text says.

Quality is measured on the pixels: size, shape, contrast, detail, sharpness, grain. Whether a picture fits its text is told by what is known
of it (the caption of what was found, the prompt of what was drawn, titles, labels and numbers of what was plotted, the instruction of what was
edited) and, charts apart, by what its pixels look like (`picture_text`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llmi_env.document import Document, Figure, Picture
from llmi_env.errors import require
from llmi_env.judges.call_proxy import code_strings, wish
from llmi_env.judges.caption_fit import described_truly, titled
from llmi_env.judges.chart_fit import chart_of
from llmi_env.judges.edit_fit import is_other
from llmi_env.judges.relevance import Meanings, kinship, ramp
from llmi_env.task import Task

_LOOKED_AT = 384
_NOTICEABLE = 24


@dataclass(frozen=True)
class PixelTraits:
    """What a picture looks like, each in [0, 1]."""

    size: float
    shape: float
    contrast: float
    detail: float
    sharpness: float
    grain: float

    @property
    def value(self) -> float:
        """All of them together: a picture that fails in one is spoilt."""
        return self.size * self.shape * self.contrast * self.detail * self.sharpness * self.grain

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
        shape=1.0 - 0.8 * ramp(max(picture.image.size) / side, 2.5, 5.0),
        contrast=ramp(spread, 0.02, 0.25),
        detail=ramp(entropy, 0.05, 0.3),
        sharpness=_sharpness(gray),
        grain=1.0 - ramp(_noise(gray), 0.04, 0.12),
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
    """1 where edges are crisp, toward 0 where a blur would change nothing any more.

    Between lies what a small model draws and a tool enlarges fourfold (blur 0.79 to 0.84): soft, but the tool's softness.
    """
    if min(gray.shape) < 12 or float(np.ptp(gray)) < 0.02:
        return 0.0
    measure: Any = require("skimage.measure", "the embedded judge of pictures", "offline")
    blur = float(measure.blur_effect(gray))
    return 1.0 - 0.3 * ramp(blur, 0.55, 0.8) - 0.7 * ramp(blur, 0.82, 0.92)


def _noise(gray: NDArray[np.float64]) -> float:
    """Standard deviation of the grain, by a mask that is blind to edges and slopes (Immerkaer, 1996), as a median."""
    if min(gray.shape) < 3:
        return 0.0
    rows = gray[:-2] - 2 * gray[1:-1] + gray[2:]
    mask = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.median(np.abs(mask))) / 0.6745 / 6


def ink(picture: Picture) -> float:
    """Whether anything is drawn inside of a chart's frame, in [0, 1], whatever is written around it."""
    width, height = picture.image.size
    box = (int(0.14 * width), int(0.14 * height), int(0.88 * width), int(0.86 * height))
    inner = np.asarray(picture.image.convert("RGB").crop(box), dtype=np.int16).reshape(-1, 3)
    if not len(inner):
        return 0.0
    shades = inner // 8 @ np.array([1024, 32, 1], dtype=np.int16)
    ground = inner[shades == np.bincount(shades).argmax()][0]
    drawn_on = np.abs(inner - ground).max(axis=1) > _NOTICEABLE
    return ramp(float(drawn_on.mean()), 0.00005, 0.0004)


@dataclass(frozen=True)
class Evidence:
    """What is known of a figure's picture without looking at it.

    Attributes:
        told: what it should show, in words; "" where nothing is known.
        kind: `photo` (found or given), `drawing` or `chart`; an edit is what its source is.
    """

    told: str
    kind: str


def evidence(document: Document, task: Task) -> list[Evidence]:
    """What is known of each figure's picture; an edit shows what its source shows, changed."""
    known = [Evidence(_told(picture), "photo") for picture in task.images]
    for figure in document.figures:
        call = figure.call
        if call is None or figure.picture is None:
            known.append(Evidence("", "photo"))
            continue
        asked, told = wish(call), _told(figure.picture)
        if call.tool == "code":
            known.append(Evidence(". ".join(code_strings(asked)), "chart"))
        elif call.tool == "edit":
            at = call.params.get("img_index")
            source = known[at] if isinstance(at, int) and 0 <= at < len(known) else Evidence("", "photo")
            known.append(Evidence(_joined(source.told or told, asked), source.kind))
        elif call.tool == "diffusion":
            known.append(Evidence(_joined(asked, told), "drawing"))
        else:
            known.append(Evidence(told or asked, "photo"))
    return known[len(task.images) :]


def looks_like(seen: Evidence, cosine: float) -> float:
    """How far a picture's pixels bear out what is told of it, in [0.4, 1]; a coarse signal, so it never rules alone.

    Measured, as medians: photos that the head was trained on lie at 0.75 with their own captions, unknown ones at 0.2 to 0.3, and any at 0.02
    with another's; drawings of the embedded model at 0.15 with their own prompts, which they do not always show, and at 0.06 with others.
    The first slope decides, the second keeps what is certain ahead of what is likely.
    """
    low, likely, certain = (-0.15, 0.12, 0.4) if seen.kind == "drawing" else (-0.05, 0.2, 0.5)
    return 0.4 + 0.5 * ramp(cosine, low, likely) + 0.1 * ramp(cosine, likely, certain)


def fit_to_text(figure: Figure, seen: Evidence, before: str, after: str, question: str, meanings: Meanings) -> float:
    """How well a picture shows what its description and the text around it say, by what is known of it, in [0, 1].

    Args:
        figure: with its picture.
        seen: what is known of it (see `evidence`).
        before: text between it and the figure before.
        after: text between it and the next figure.
        question: what the task asks for; short texts lean on it.
        meanings: text embeddings.
    """
    if figure.call is None:
        return 0.0
    known = seen.told
    context = f"{before[-300:]} {after[:200]}"
    described = kinship(meanings, known, figure.call.description)
    if figure.call.tool == "code":
        # A chart's labels are few and short: they can confirm its description but hardly refute it, its numbers and its title can.
        described = (0.5 + 0.5 * described) * described_truly(figure.call, question)
        known = f"{figure.call.description}. {known}"
    around = max(kinship(meanings, known, context), 0.75 * kinship(meanings, known, question))
    return described * (0.3 + 0.7 * around) * _made_as_given(figure, question, context, meanings)


def fit_to_question(figure: Figure, seen: Evidence, question: str, meanings: Meanings) -> float:
    """How well a picture serves the question, by what is known of it, in [0, 1]."""
    if figure.call is None:
        return 0.0
    shown = kinship(meanings, seen.told, question)
    if figure.call.tool == "code":
        told = kinship(meanings, f"{figure.call.description}. {seen.told}", question)
        shown = 0.4 * shown + 0.6 * told
    return shown * _made_as_given(figure, question, "", meanings)


def _made_as_given(figure: Figure, question: str, text: str, meanings: Meanings) -> float:
    """Whether a chart draws data, the numbers given, and under their title; whether an edit is the one that was wanted; else 1."""
    if figure.call is not None and figure.call.tool == "edit" and is_other(question, wish(figure.call)):
        return 0.3
    if figure.call is None or figure.call.tool != "code":
        return 1.0
    chart = chart_of(figure.call, figure.picture)
    return (0.1 + 0.9 * chart.value) * chart.fit(question, text) * titled(figure.call, question, text, meanings)


def _told(picture: Picture) -> str:
    return _joined(picture.provenance.title, picture.provenance.caption)


def _joined(*parts: str) -> str:
    return ". ".join(dict.fromkeys(part.strip() for part in parts if part.strip()))

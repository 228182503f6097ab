"""Corruptions of what is seen: spoilt pixels, pictures of something else, in the wrong place, too many or too few."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from llmi_env.document import Document, Figure, Picture
from llmi_env.judges.corruptions.making import PARAM, Sample, Spoil, document_of, figure_of, tool_of, with_figures

# ------------------------------------------------------------------------------------------------------------------ pixels


def _repainted(change: Callable[[Image.Image, random.Random], Image.Image]) -> Spoil:
    def spoil(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
        def repaint(_: int, figure: Figure) -> Figure:
            picture = figure.picture
            assert picture is not None
            return replace(figure, outcome=Picture(change(picture.image.convert("RGB"), rng), picture.provenance))

        if not sample.document.pictures or len(sample.document.pictures) != len(sample.document.figures):
            return None
        return with_figures(sample.document, repaint)

    return spoil


def _noisy(image: Image.Image, rng: random.Random) -> Image.Image:
    grain = np.random.default_rng(rng.getrandbits(32)).normal(0, 90, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


blank = _repainted(lambda image, rng: Image.new("RGB", image.size, rng.choice(["white", "black", "gray"])))
tiny = _repainted(lambda image, rng: image.resize((rng.randint(8, 20),) * 2))
blurred = _repainted(lambda image, rng: image.filter(ImageFilter.GaussianBlur(max(image.size) / rng.uniform(25, 60))))
washed_out = _repainted(lambda image, rng: Image.blend(image, Image.new("RGB", image.size, "gray"), 0.93))
enlarged = _repainted(lambda image, rng: image.resize((14, 14)).resize(image.size, Image.Resampling.BICUBIC))
noisy = _repainted(_noisy)
stretched = _repainted(lambda image, rng: image.resize((image.width, max(1, image.height // rng.randint(4, 6)))))

# --------------------------------------------------------------------------------------------------------- something else


def another_picture_found(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """What the search found is another picture, with that one's caption."""
    donors = [figure.picture for figure in other.document.figures if figure.picture and tool_of(figure) == "search"]
    if not donors:
        return None
    return _changed(sample, lambda at, f: replace(f, outcome=donors[at % len(donors)]) if tool_of(f) == "search" else f)


def _another_result(tool: str) -> Spoil:
    """The tool was asked for something else and delivered it; the description stays."""

    def spoil(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
        donors = [figure for figure in other.document.figures if tool_of(figure) == tool and figure.picture]

        def swap(at: int, figure: Figure) -> Figure:
            donor = donors[at % len(donors)]
            if figure.call is None or donor.call is None or figure.call.tool != tool:
                return figure
            call = replace(figure.call, params={PARAM[tool]: donor.call.params[PARAM[tool]]})
            return figure_of(call, donor.outcome)

        return _changed(sample, swap) if donors else None

    return spoil


another_prompt_drawn = _another_result("diffusion")
another_chart_plotted = _another_result("code")


def wrong_picture(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """The pixels of another document's picture under the old call and caption: only who looks can tell."""
    donors = [figure.picture for figure in other.document.figures if figure.picture]

    def swap(at: int, figure: Figure) -> Figure:
        if figure.picture is None:
            return figure
        return replace(figure, outcome=Picture(donors[at % len(donors)].image, figure.picture.provenance))

    return _changed(sample, swap) if donors else None


def wrong_numbers_plotted(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """Charts of other numbers than those given."""

    def change(_: int, figure: Figure) -> Figure:
        if figure.call is None or figure.call.tool != "code":
            return figure
        code = re.sub(
            r"(?<![\w.])\d+(?:\.\d+)?",
            lambda m: str(round(float(m[0]) * rng.uniform(1.3, 3.7) + 3, 1)),
            figure.call.params["code"],
        )
        return figure_of(replace(figure.call, params={"code": code}), figure.outcome)

    told = len(re.findall(r"\d+", sample.task.question + sample.document.text))
    return _changed(sample, change) if told >= 4 else None


# ------------------------------------------------------------------------------------------------------- where and how many


def swapped_pictures(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """Pictures exchange places, with their captions; the calls stay."""
    figures = _exchangeable(sample)
    return _changed(sample, lambda at, f: replace(f, outcome=figures[at - 1].outcome)) if figures else None


def misplaced_figures(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """Figures exchange places, call and picture together: each stands beside the text of another."""
    figures = _exchangeable(sample)
    return _changed(sample, lambda at, _: figures[at - 1]) if figures else None


def extra_picture(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """Another document's figure at the end."""
    theirs = [figure for figure in other.document.figures if figure.picture]
    return Document((*sample.document.blocks, theirs[0])) if theirs and sample.document.pictures else None


def missing_pictures(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """The text alone, where pictures are wanted."""
    if not sample.document.pictures or sample.task.image_count in ("none", "any"):
        return None
    return document_of(block for block in sample.document if not isinstance(block, Figure))


def one_picture_missing(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """One figure of several left out."""
    if len(sample.document.pictures) < 2:
        return None
    left_out = rng.choice(sample.document.figures)
    return document_of(block for block in sample.document if block is not left_out)


def _exchangeable(sample: Sample) -> tuple[Figure, ...]:
    """The figures, if they are several of which none is made from another."""
    figures = sample.document.figures
    several = len(figures) > 1 and all(figure.picture and tool_of(figure) != "edit" for figure in figures)
    return figures if several else ()


def _changed(sample: Sample, change: Callable[[int, Figure], Figure]) -> Document | None:
    changed = with_figures(sample.document, change)
    return changed if changed != sample.document else None

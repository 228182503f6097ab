"""Builds the training set once: captioned 64 x 64 pictures of seven kinds, from a fixed seed.

Writes ``pictures.npy`` (N, 64, 64, 3) and ``captions.json`` (N lists) under the cache folder, with ``kinds.json``
saying which kind each picture is; the second stage draws the kinds by :data:`KIND_SHARES`, so that how many pictures a
kind has does not decide how often it is seen.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainers.diffusion import captions as say
from trainers.diffusion import compose
from trainers.diffusion.icons import Icon, load_icons, load_masters
from trainers.diffusion.scenes import COLOURS, SCENES, plain

logger = logging.getLogger(__name__)

KIND_SHARES = {
    "plain": 0.22,
    "colour": 0.20,
    "place": 0.36,
    "background": 0.12,
    "several": 0.02,
    "scene": 0.02,
    "colour_place": 0.06,
}
"""How often each kind is drawn in training."""
KIND_COUNTS = {"colour": 4500, "place": 8000, "background": 2000, "several": 2500, "scene": 320, "colour_place": 2500}
"""How many composed pictures are made; every icon gives two plain ones."""
PLAIN_CAPTIONS = 9
_COMPOSABLE = {"nature", "food", "travel", "activity", "object"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One training picture."""

    kind: str
    captions: list[str]
    pixels: NDArray[np.uint8]
    weight: float = 1.0
    """How often it is drawn within its kind, relative to the others."""
    icon: int = -1
    """The icon whose shape the picture shows; -1 for none."""


def build(raw: Path, out: Path, seed: int = 0) -> int:
    """Makes the set; returns the number of pictures."""
    icons = load_icons(raw)
    masters = load_masters(raw, icons)
    samples = list(_samples(icons, masters, np.random.default_rng(seed)))
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "pictures.npy", np.stack([sample.pixels for sample in samples]))
    (out / "captions.json").write_text(json.dumps([sample.captions for sample in samples]), "utf-8")
    (out / "kinds.json").write_text(json.dumps([[sample.kind, sample.weight] for sample in samples]), "utf-8")
    np.save(out / "icons.npy", np.array([sample.icon for sample in samples]))
    np.save(out / "views.npy", np.stack([memory_views(Image.fromarray(master, "RGBA")) for master in masters]))
    (out / "names.json").write_text(json.dumps([memory_names(icon) for icon in icons]), "utf-8")
    logger.info("%d pictures from %d icons", len(samples), len(icons))
    return len(samples)


def memory_names(icon: Icon) -> list[str]:
    """What the memory knows an icon by: its names, and these without a colour, since any colour may be asked."""
    return list(dict.fromkeys([*icon.names, *(say.without_colour(name) for name in icon.names)]))


def memory_views(icon: Image.Image) -> NDArray[np.uint8]:
    """``(2, 64, 64, 3)``: the icon filling a white picture, and as small as it stands in a place."""
    white = Image.new("RGB", icon.size, (255, 255, 255))
    views = [
        compose.on_background(icon, white, size, 0.5, foot, shadow=False) for size, foot in ((0.94, 0.95), (0.67, 0.86))
    ]
    return np.stack([compose.finish(view) for view in views])


def _samples(icons: list[Icon], masters: NDArray[np.uint8], rng: np.random.Generator) -> Iterator[Sample]:
    pictures = [Image.fromarray(master, "RGBA") for master in masters]
    for index, (icon, picture) in enumerate(zip(icons, pictures, strict=True)):
        for _ in range(2):
            said = say.plain_captions(icon, rng, PLAIN_CAPTIONS)
            yield Sample("plain", said, compose.finish(compose.on_white(picture, rng)), icon.weight, index)
    chooser = _Chooser(icons, masters, rng)
    scenes = list(SCENES.values())
    colours = list(COLOURS)
    for kind, count in KIND_COUNTS.items():
        made = 0
        while made < count:
            index = chooser.pick()
            icon, picture = icons[index], pictures[index]
            scene, colour = scenes[rng.integers(len(scenes))], str(rng.choice(colours))
            phrase: str
            if kind == "colour":
                if say.held_out(icon, colour=colour) or icon.names[0].startswith(f"{colour} "):
                    continue
                phrase = say.coloured_phrase(icon, colour, rng)
                canvas = compose.on_white(compose.recolour(picture, colour), rng)
            elif kind == "place":
                if say.held_out(icon, place=scene.name):
                    continue
                phrase = say.place_phrase(say.with_article(say.noun(icon, rng)), scene.name, rng)
                canvas = compose.in_scene(picture, scene, rng)
            elif kind == "background":
                if say.held_out(icon, background=colour):
                    continue
                phrase = say.background_phrase(say.with_article(say.noun(icon, rng)), colour, rng)
                canvas = compose.on_background(picture, plain(COLOURS[colour], rng), 0.82, 0.5, 0.9, shadow=False)
            elif kind == "several":
                if rng.random() < 0.3:
                    number = int(rng.integers(2, 5))
                    phrase, canvas = say.count_phrase(icon, number), compose.several(picture, number)
                else:
                    other = chooser.pick()
                    phrase = say.pair_phrase(icon, icons[other], rng)
                    canvas = compose.side_by_side(picture, pictures[other], rng)
            elif kind == "scene":
                phrase, canvas = str(rng.choice(scene.alone)), scene.draw(rng)
            else:
                if say.held_out(icon, colour=colour, place=scene.name):
                    continue
                phrase = say.place_phrase(say.coloured_phrase(icon, colour, rng), scene.name, rng)
                canvas = compose.in_scene(compose.recolour(picture, colour), scene, rng)
            made += 1
            shown = -1 if kind == "scene" else index
            yield Sample(kind, [say.composed_caption(phrase, rng)], compose.finish(canvas), icon=shown)


class _Chooser:
    """Draws icons that can be composed: cut-out objects, by weight; faces, people and icons that fill
    their square less or never.
    """

    def __init__(self, icons: list[Icon], masters: NDArray[np.uint8], rng: np.random.Generator) -> None:
        filled = (masters[..., 3] > 128).mean((1, 2))
        weights = np.array([icon.weight for icon in icons])
        weights *= [1.0 if icon.group in _COMPOSABLE else 0.25 if icon.group == "person" else 0.4 for icon in icons]
        weights[filled > 0.86] = 0
        self._shares = weights / weights.sum()
        self._rng = rng

    def pick(self) -> int:
        return int(self._rng.choice(len(self._shares), p=self._shares))

"""Places and plain backgrounds, drawn by rule: what an icon is set before ("a tiger on a beach", "a bus in the snow").

Every scene is drawn at 128 x 128 from a seeded generator, so that no two are alike, and has a ground line on which an
object can stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from trainers.diffusion.icons import MASTER_SIZE

Colour = tuple[int, int, int]
_S = MASTER_SIZE

COLOURS: dict[str, Colour] = {
    "red": (222, 42, 48), "orange": (245, 134, 28), "yellow": (250, 208, 40), "green": (58, 170, 70),
    "blue": (42, 112, 224),
    "purple": (138, 66, 204), "pink": (245, 120, 180), "brown": (136, 84, 52), "black": (44, 44, 50),
    "white": (238, 238, 242),
    "gray": (140, 142, 150), "turquoise": (40, 190, 190),
}  # fmt: skip
"""The colours that objects and backgrounds are given."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A place: how it is drawn and how captions say it."""

    name: str
    phrases: tuple[str, ...]
    """What follows the object: "on the beach"."""
    alone: tuple[str, ...]
    """What the place is called with nothing in it."""
    ground: float
    """Where an object's foot stands, as a share of the height; objects in mid-air centre around 0.5 + half their
    size.
    """
    draw: Callable[[np.random.Generator], Image.Image]


def gradient(top: Colour, bottom: Colour) -> Image.Image:
    """A vertical blend."""
    share = np.linspace(0.0, 1.0, _S)[:, None, None]
    rows = np.asarray(top) * (1 - share) + np.asarray(bottom) * share
    return Image.fromarray(np.broadcast_to(rows, (_S, _S, 3)).astype(np.uint8))


def plain(colour: Colour, rng: np.random.Generator) -> Image.Image:
    """One colour, a little lighter at the top."""
    base = _vary(colour, rng, 10)
    return gradient(_mix(base, (255, 255, 255), 0.12), base)


def _vary(colour: Colour, rng: np.random.Generator, by: int = 12) -> Colour:
    red, green, blue = (int(np.clip(c + rng.integers(-by, by + 1), 0, 255)) for c in colour)
    return red, green, blue


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _band(image: Image.Image, top: float, colour: Colour, rng: np.random.Generator, wave: float = 2.0) -> None:
    """Fills everything below a gently uneven line."""
    x = np.arange(0, _S + 4, 4)
    line = top * _S + wave * np.sin(x / rng.uniform(12, 30) + rng.uniform(0, 6.3))
    ImageDraw.Draw(image).polygon([*zip(x.tolist(), line.tolist(), strict=True), (_S, _S), (0, _S)], fill=colour)


def _disc(image: Image.Image, x: float, y: float, radius: float, colour: Colour) -> None:
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _clouds(
    image: Image.Image, rng: np.random.Generator, count: int, colour: Colour = (252, 252, 255), low: float = 0.4
) -> None:
    for _ in range(count):
        x, y, size = rng.uniform(0, _S), rng.uniform(0.05, low) * _S, rng.uniform(6, 11)
        for shift in (-1.1, 0.0, 1.1):
            _disc(image, x + shift * size, y + abs(shift) * 2, size * (1.0 if shift == 0 else 0.75), colour)


def _beach(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((96, 186, 245), rng), (190, 228, 250))
    _disc(image, rng.choice([0.14, 0.86]) * _S, 0.15 * _S, 11, (255, 225, 90))
    _band(image, rng.uniform(0.42, 0.5), _vary((30, 130, 205), rng), rng, 0.5)
    _band(image, 0.62, (225, 245, 250), rng)
    _band(image, 0.65, _vary((242, 212, 148), rng), rng)
    return image


def _snow(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((150, 180, 215), rng), (205, 220, 238))
    _band(image, rng.uniform(0.6, 0.68), (244, 248, 253), rng, 3)
    for _ in range(55):
        _disc(image, rng.uniform(0, _S), rng.uniform(0, _S * 0.95), rng.uniform(1.2, 2.4), (255, 255, 255))
    return image


def _night(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((12, 16, 52), rng, 6), (42, 46, 104))
    for _ in range(40):
        _disc(image, rng.uniform(0, _S), rng.uniform(0, _S * 0.7), rng.uniform(0.7, 1.6), (250, 245, 210))
    x, y = rng.choice([0.16, 0.84]) * _S, 0.17 * _S
    _disc(image, x, y, 11, (250, 240, 190))
    _disc(image, x + 5, y - 3, 9, (18, 22, 60))
    _band(image, 0.76, _vary((24, 34, 50), rng, 6), rng)
    return image


def _meadow(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((105, 185, 245), rng), (205, 232, 250))
    _clouds(image, rng, 2)
    _band(image, rng.uniform(0.55, 0.62), _vary((110, 190, 80), rng), rng, 4)
    _band(image, 0.72, _vary((84, 168, 62), rng), rng, 3)
    return image


def _desert(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((250, 190, 110), rng), (253, 225, 165))
    _disc(image, rng.uniform(0.15, 0.85) * _S, 0.18 * _S, 12, (255, 245, 200))
    _band(image, 0.52, _vary((222, 160, 90), rng), rng, 7)
    _band(image, 0.66, _vary((206, 138, 70), rng), rng, 5)
    return image


def _forest(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((150, 200, 160), rng), (190, 220, 180))
    draw = ImageDraw.Draw(image)
    _band(image, 0.68, _vary((52, 98, 48), rng, 8), rng)
    for x in np.linspace(-4, _S + 4, 8) + rng.uniform(-4, 4, 8):
        height, shade = rng.uniform(50, 80), _vary((28, 92, 50), rng)
        draw.rectangle((x - 3, 0.64 * _S, x + 3, 0.74 * _S), fill=(92, 62, 40))
        for level in range(3):
            foot, half = 0.69 * _S - level * height * 0.27, 16 - level * 4
            draw.polygon(
                [(x - half, foot), (x + half, foot), (x, foot - height * 0.45)],
                fill=_mix(shade, (90, 170, 90), level * 0.12),
            )
    return image


def _city(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((160, 200, 235), rng), (225, 235, 245))
    draw, x = ImageDraw.Draw(image), -4.0
    while x < _S:
        wide, top, shade = rng.uniform(14, 24), rng.uniform(0.12, 0.45) * _S, _vary((120, 132, 160), rng, 22)
        draw.rectangle((x, top, x + wide, 0.76 * _S), fill=shade)
        for wx in np.arange(x + 3, x + wide - 4, 6):
            for wy in np.arange(top + 4, 0.72 * _S, 9):
                draw.rectangle((wx, wy, wx + 2.5, wy + 4), fill=(250, 232, 150))
        x += wide + 1
    draw.rectangle((0, 0.75 * _S, _S, _S), fill=(82, 84, 92))
    for mark in np.arange(rng.uniform(0, 10), _S, 26):
        draw.rectangle((mark, 0.9 * _S, mark + 13, 0.92 * _S), fill=(240, 240, 235))
    return image


def _underwater(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((40, 160, 215), rng), (8, 60, 125))
    draw = ImageDraw.Draw(image)
    for _ in range(16):
        x, y, radius = rng.uniform(0, _S), rng.uniform(0, _S * 0.85), rng.uniform(1.5, 4)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=(190, 232, 250), width=1)
    for x in rng.uniform(0, _S, 6):
        draw.line([(x, _S), (x + 3, _S - 10), (x - 2, _S - rng.uniform(18, 30))], fill=(40, 140, 90), width=4)
    _band(image, 0.92, (205, 180, 125), rng)
    return image


def _space(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((8, 6, 24), rng, 5), (30, 14, 58))
    for _ in range(70):
        _disc(image, rng.uniform(0, _S), rng.uniform(0, _S), rng.uniform(0.6, 1.7), (255, 255, 255))
    x, y = rng.choice([0.14, 0.86]) * _S, rng.choice([0.15, 0.85]) * _S
    _disc(image, x, y, 11, _vary((226, 140, 80), rng, 25))
    ImageDraw.Draw(image).arc((x - 19, y - 5, x + 19, y + 6), 0, 360, fill=(235, 205, 160), width=2)
    return image


def _sunset(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((108, 62, 140), rng), (255, 150, 70))
    _disc(image, rng.uniform(0.2, 0.8) * _S, 0.6 * _S, 16, (255, 225, 110))
    _band(image, 0.7, _vary((78, 42, 64), rng, 8), rng)
    return image


def _mountains(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((130, 190, 240), rng), (220, 236, 250))
    draw = ImageDraw.Draw(image)
    for x in (rng.uniform(-5, 25), rng.uniform(100, 135), rng.uniform(50, 80)):
        half, peak = rng.uniform(40, 55), rng.uniform(0.1, 0.28) * _S
        shade = _vary((112, 118, 138), rng)
        draw.polygon([(x - half, 0.7 * _S), (x + half, 0.7 * _S), (x, peak)], fill=shade)
        cap = 0.3
        fall = (0.7 * _S - peak) * cap
        draw.polygon(
            [(x - half * cap, peak + fall), (x, peak + fall * 0.75), (x + half * cap, peak + fall), (x, peak)],
            fill=(250, 252, 255),
        )
    _band(image, 0.68, _vary((104, 168, 92), rng), rng)
    return image


def _rain(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((104, 114, 130), rng), (160, 170, 184))
    _clouds(image, rng, 4, (86, 92, 106), 0.12)
    _band(image, 0.78, _vary((92, 102, 112), rng), rng)
    draw = ImageDraw.Draw(image)
    for _ in range(55):
        x, y = rng.uniform(0, _S), rng.uniform(8, _S)
        draw.line((x, y, x - 3, y + 9), fill=(188, 216, 246), width=2)
    return image


def _sky(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((70, 160, 240), rng), (180, 220, 250))
    _clouds(image, rng, 6, low=0.95)
    return image


def _table(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((238, 226, 205), rng), (228, 212, 188))
    draw = ImageDraw.Draw(image)
    top = 0.68 * _S
    draw.rectangle((0, top, _S, _S), fill=_vary((158, 100, 58), rng))
    for y in np.arange(top + 8, _S, 11):
        draw.line((0, y, _S, y + rng.uniform(-2, 2)), fill=(130, 80, 46), width=2)
    draw.rectangle((0, top, _S, top + 3), fill=(190, 130, 82))
    return image


def _room(rng: np.random.Generator) -> Image.Image:
    image = gradient(_vary((176, 206, 196), rng, 20), (196, 216, 206))
    draw = ImageDraw.Draw(image)
    x = float(rng.choice([10, 82]))
    draw.rectangle((x, 12, x + 36, 50), fill=(250, 250, 248))
    draw.rectangle((x + 3, 15, x + 33, 47), fill=(150, 210, 245))
    draw.rectangle((x + 17, 15, x + 19, 47), fill=(250, 250, 248))
    draw.rectangle((0, 0.74 * _S, _S, _S), fill=_vary((196, 150, 104), rng))
    draw.rectangle((0, 0.72 * _S, _S, 0.75 * _S), fill=(246, 244, 240))
    return image


def _flames(rng: np.random.Generator) -> Image.Image:
    image = gradient((60, 14, 12), (120, 30, 14))
    draw = ImageDraw.Draw(image)
    for colour, tall in (((222, 60, 20), 70), ((248, 140, 30), 50), ((255, 215, 80), 28)):
        for x in np.linspace(0, _S, 8) + rng.uniform(-6, 6, 8):
            draw.polygon(
                [(x - 14, _S), (x + 14, _S), (x + rng.uniform(-5, 5), _S - tall * rng.uniform(0.7, 1.2))], fill=colour
            )
    return image.filter(ImageFilter.GaussianBlur(1.2))


SCENES: dict[str, Scene] = {
    scene.name: scene
    for scene in (
        Scene("beach", ("on a beach", "on the beach", "at the seaside", "on the sand by the sea"),
        ("a beach", "a sandy beach by the sea"), 0.86, _beach),
        Scene("snow", ("in the snow", "in a snowy field", "in winter", "on a snowy day"),
        ("a snowy field", "a winter landscape"), 0.86, _snow),
        Scene("night", ("at night", "under the stars", "under a starry sky", "in the moonlight"),
        ("a starry night", "the night sky"), 0.88, _night),
        Scene("meadow", ("in a meadow", "on green grass", "in a field", "on a green hill"),
        ("a green meadow", "a grassy field"), 0.86, _meadow),
        Scene("desert", ("in the desert", "in a desert", "on a sand dune"),
        ("a desert", "sand dunes in the desert"), 0.86, _desert),
        Scene("forest", ("in a forest", "in the forest", "in the woods", "among trees"),
        ("a forest", "a forest of pine trees"), 0.88, _forest),
        Scene("city", ("in the city", "in a city street", "in front of tall buildings", "in town"),
        ("a city street", "a city skyline"), 0.9, _city),
        Scene("sea", ("under water", "underwater", "under the sea", "at the bottom of the sea"),
        ("the sea floor", "an underwater scene"), 0.85, _underwater),
        Scene("space", ("in space", "in outer space", "floating among the stars"),
        ("outer space", "stars and a planet in space"), 0.82, _space),
        Scene("sunset", ("at sunset", "at dusk", "in the evening sun"), ("a sunset", "an evening sky"), 0.86, _sunset),
        Scene("mountains", ("in the mountains", "in front of mountains", "with mountains behind"),
        ("mountains", "a mountain landscape"), 0.88, _mountains),
        Scene("rain", ("in the rain", "on a rainy day", "in rainy weather"),
        ("a rainy day", "rain falling from dark clouds"), 0.9, _rain),
        Scene("sky", ("in the sky", "among clouds", "in the clouds", "high in the blue sky"),
        ("a blue sky with clouds", "clouds"), 0.82, _sky),
        Scene("table", ("on a table", "on a wooden table", "on a kitchen table"),
        ("a wooden table", "an empty table"), 0.8, _table),
        Scene("room", ("in a room", "at home", "in the living room", "indoors"),
        ("an empty room", "a room with a window"), 0.88, _room),
        Scene("fire", ("in flames", "in front of a fire", "surrounded by fire"),
        ("flames", "a wall of fire"), 0.85, _flames),
    )
}  # fmt: skip

"""How well the pictures show what was asked: forty captions, a contact sheet, and a blind choice among five.

Half of the captions combine what no training picture combined (see ``captions.HELD_OUT_...``). Each comes with four
wrong captions, hard ones among them: the same object in another colour or place, or another object in the same one.
:func:`sheets` draws numbered pictures and the shuffled choices; :func:`score` compares what a viewer chose with what
was asked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SEED = 2026
CELL = 160

SEEN: tuple[tuple[str, str, str, str, str], ...] = (
    ("a red apple", "a green apple", "a tomato", "a strawberry", "a red heart"),
    ("a tiger", "a lion", "a bear", "a cat", "a fox"),
    ("a house", "a castle", "a tent", "a church", "a barn"),
    ("a sunflower", "a rose", "a tulip", "the sun", "a daisy"),
    ("a slice of pizza", "a wedge of cheese", "a slice of cake", "a sandwich", "a slice of watermelon"),
    ("a bus", "a car", "a train", "an ambulance", "a truck"),
    ("a frog", "a turtle", "a crocodile", "a snake", "a parrot"),
    ("a blue heart", "a purple heart", "a blue circle", "a blue balloon", "a blue butterfly"),
    ("an owl", "an eagle", "a penguin", "a parrot", "a bear"),
    ("a cup of coffee", "a bowl of soup", "a teapot", "a glass of beer", "a cooking pot"),
    ("a penguin", "an owl", "a duck", "a panda", "a black cat"),
    ("a sailboat", "a cruise ship", "a kite", "a tent", "a surfboard"),
    ("a cactus", "a pine tree", "a cucumber", "a potted plant", "a palm tree"),
    ("a bee", "a butterfly", "a ladybug", "an ant", "a wasp nest"),
    ("a rocket", "an airplane", "a pencil", "a lighthouse", "a satellite"),
    ("a rainbow", "a cloud", "a bridge", "a sunset", "a beach ball"),
    ("a football", "a basketball", "a globe", "a clock", "a wheel"),
    ("a fish under water", "a fish in the desert", "a turtle under water", "a boat on the sea", "a shark in the sky"),
    ("a bear in a forest", "a bear in the snow", "a deer in a forest", "a tree in a forest", "a bear in the city"),
    ("a birthday cake", "a cupcake", "a pie", "a gift box", "a candle"),
)  # fmt: skip
"""The asked caption first, then the wrong ones."""

UNSEEN: tuple[tuple[str, str, str, str, str], ...] = (
    ("a purple apple", "a red apple", "a purple heart", "a blue apple", "an eggplant"),
    ("a blue tiger", "an orange tiger", "a blue bear", "a purple tiger", "a blue fish"),
    ("a pink house", "a blue house", "a pink car", "a white house", "a pink castle"),
    ("a green bus", "a yellow bus", "a green train", "a red bus", "a green tent"),
    ("a red owl", "a brown owl", "a red parrot", "a blue owl", "a red fox"),
    ("a purple frog", "a green frog", "a purple fish", "a blue frog", "a purple hat"),
    ("a pink car", "a blue car", "a pink bus", "a black car", "a pink shoe"),
    ("a blue mushroom", "a red mushroom", "a blue umbrella", "a green mushroom", "a blue tree"),
    ("a tiger on a beach", "a tiger in the snow", "a lion on a beach", "a tiger in the forest", "a crab on a beach"),
    ("a bus in the snow", "a bus in the desert", "a car in the snow", "a bus at night", "a house in the snow"),
    ("a house at night", "a house in a meadow", "a tent at night", "a house in the snow", "a tree at night"),
    ("a cat in space", "a cat on a table", "a dog in space", "a cat in the forest", "an astronaut in space"),
    ("an elephant in the city", "an elephant in a meadow", "a hippo in the city", "an elephant in the desert",
    "a bus in the city"),
    ("a penguin in the desert", "a penguin in the snow", "an owl in the desert", "a penguin under water",
    "a camel in the desert"),
    ("a guitar under water", "a guitar on a table", "a fish under water", "a guitar in space",
    "a violin in the desert"),
    ("a pizza in the sky", "a pizza on a table", "a kite in the sky", "a pizza in the forest", "a bird in the sky"),
    ("a car in the desert", "a car in the city", "a bus in the desert", "a car in the snow", "a tent in the desert"),
    ("a cat on a yellow background", "a cat on a blue background", "a dog on a yellow background",
    "a cat on a green background", "a duck on a yellow background"),
    ("an apple on a blue background", "an apple on a yellow background", "a pear on a blue background",
    "an apple on a red background", "a ball on a blue background"),
    ("a tiger on a green background", "a tiger on a pink background", "a bear on a green background",
    "a tiger on a blue background", "a frog on a green background"),
)  # fmt: skip


class Draws(Protocol):
    """What draws a caption from a seed."""

    def __call__(self, caption: str, seed: int) -> Image.Image:
        """One picture."""
        ...


def sheets(draw: Draws, out: Path, seed: int = SEED) -> None:
    """Writes ``contact_sheet.png`` (captions under the pictures), ``blind_1.png`` ... (numbers only), ``choices.txt``
    and ``answers.json``.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = [*SEEN, *UNSEEN]
    pictures = [draw(row[0], seed).resize((CELL, CELL), Image.Resampling.LANCZOS) for row in rows]
    _grid(pictures, [row[0] for row in rows], 8).save(out / "contact_sheet.png", optimize=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    answers, lines = {}, []
    for number, index in enumerate(order, 1):
        choices = [rows[index][place] for place in rng.permutation(5)]
        answers[str(number)] = "ABCDE"[choices.index(rows[index][0])]
        lines.append(
            f"{number}: " + "  ".join(f"{letter}) {choice}" for letter, choice in zip("ABCDE", choices, strict=True))
        )
    for part in range(0, len(order), 20):
        numbers = [str(number) for number in range(part + 1, part + 21)]
        _grid([pictures[index] for index in order[part : part + 20]], numbers, 5).save(
            out / f"blind_{part // 20 + 1}.png"
        )
    (out / "choices.txt").write_text("\n".join(lines) + "\n", "utf-8")
    (out / "answers.json").write_text(
        json.dumps({"answers": answers, "rows": [int(index) for index in order]}), "utf-8"
    )


def score(folder: Path, chosen: dict[str, str]) -> dict[str, int]:
    """Right choices among the seen, the unseen and all; ``chosen`` maps a number to a letter."""
    key = json.loads((folder / "answers.json").read_text("utf-8"))
    right = {"seen": 0, "unseen": 0}
    for number, letter in key["answers"].items():
        row = key["rows"][int(number) - 1]
        right["seen" if row < len(SEEN) else "unseen"] += chosen.get(number, "").upper() == letter
    return {**right, "all": right["seen"] + right["unseen"]}


def _grid(pictures: list[Image.Image], labels: list[str], columns: int) -> Image.Image:
    """Pictures in reading order, each with its label underneath."""
    strip, font = 30, ImageFont.load_default(13)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (CELL + 8), rows * (CELL + strip)), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = index % columns * (CELL + 8) + 4, index // columns * (CELL + strip)
        sheet.paste(picture, (x, y))
        words, lines = label.split(), [""]
        for word in words:
            if pen.textlength(f"{lines[-1]} {word}", font) > CELL:
                lines.append("")
            lines[-1] = f"{lines[-1]} {word}".strip()
        pen.multiline_text((x, y + CELL), "\n".join(lines), (20, 20, 20), font, spacing=0)
    return sheet

"""What tasks of the set `practice` are about: pictures to be found, things to be drawn, changes, with the calls for them."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from practice_numbers import Row
from practice_subjects import (
    CAPTIONS,
    CHANGES,
    COLOURS,
    DOING,
    LETTERED,
    LETTERING,
    LOOKS,
    NEEDS,
    ORDERS,
    SOMEBODY,
    SOMEWHERE,
    THINGS,
)

ASSETS = Path(__file__).parents[1] / "llmi_env" / "assets"
BEFORE = ("that picture", "the same picture", "this very picture", "the first picture", "that same picture")
"""What an order calls the picture that was made just before."""
PROPER = ("Mars", "Johann Sebastian Bach", "Ludwig van Beethoven")
KINDS_OF_MAP = ("Flag", "Globe", "Map", "Satellite")
WITH_ARTICLE = ("Great", "Hubble", "Leaning", "Sydney")
LOWERED = ("Ancient", "Decorated")
"""How some titles begin: with an article before them, with one before a name, and with a capital that is not kept."""
CAPITALISED = (
    "American", "Asian", "Atlantic", "Christmas", "Doberman", "Hindu", "Labrador", "Rubik's", "Siamese", "Swiss", "Thanksgiving",
)  # fmt: skip
"""First words of titles that keep their capital in a sentence."""
UNCOUNTED = (
    "apricots", "bacon", "inline skating", "lemons", "peanuts", "pears", "reeds", "sailor's knots", "sushi", "yoga",
)  # fmt: skip
"""Titles that stand without an article."""

Draft = tuple[str, dict[str, str], list[Row], list[str]]
"""A wording, what is put into it, the calls that fulfil it, and the pictures given."""


def capital(text: str) -> str:
    """With its first letter in upper case."""
    return text[0].upper() + text[1:]


# -------------------------------------------------------------------------------------------------------------- what is found


def pictures() -> list[Row]:
    """Pictures of the corpus that no task of the other splits is about."""
    taken: set[str] = set()
    words: set[str] = set()
    for split in ("validation", "heldout"):
        for line in (ASSETS / "tasks" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            task = json.loads(line)
            words |= {task["subject"], *re.findall(r"[a-z]+", task["subject"])}
            taken |= {image.removeprefix("corpus:") for image in task["images"]}
            for call in task["reference"]:
                words |= set(re.findall(r"[a-z]{4,}", str(call["params"].get("query", "")).lower()))
    rows = [
        json.loads(line) for line in (ASSETS / "corpus" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return [
        row
        for row in rows
        if row["id"] not in taken
        and not words & set(re.findall(r"[a-z]{4,}", row["title"].lower()))
        and len(row["title"]) < 28
        and re.fullmatch(r"[A-Za-z' -]+", row["title"])
    ]


def named(row: Row) -> str:
    """As the subject stands in a sentence: `the goldfish`, `Big Ben`."""
    title = str(row["title"])
    first, _, rest = title.partition(" ")
    common = title.lower() in row["caption"] or title.split()[-1].lower() in row["caption"]
    if first in (*KINDS_OF_MAP, *WITH_ARTICLE) or not (
        common or title in PROPER or any(letter.isupper() for letter in title[1:])
    ):
        common = True
    if title in PROPER or not common:
        return title
    if not (first in CAPITALISED or title[1].isupper() or (rest[:1].isupper() and first not in LOWERED)):
        title = title[0].lower() + title[1:]
    return title if first in ("Two", "Half") or title in UNCOUNTED else f"the {title}"


def find(row: Row) -> Row:
    """The call that finds a picture."""
    return {
        "tool": "search",
        "description": f"Photo of {named(row).removeprefix('the ')}",
        "params": {"query": row["title"]},
    }


# -------------------------------------------------------------------------------------------- what is drawn, and what is changed


def scene(draw: random.Random) -> str:
    """Something that no camera has seen."""
    who = f"{draw.choice(LOOKS)} {draw.choice(SOMEBODY)}"
    article = "an" if who[0] in "aeiou" else "a"
    return (
        f"{article} {who} {draw.choice(DOING)}" if draw.random() < 0.6 else f"{article} {who} {draw.choice(SOMEWHERE)}"
    )


def thing(draw: random.Random) -> str:
    """Something to draw: an everyday thing in a colour or as it comes, now and then a scene."""
    dice = draw.random()
    if dice < 0.15:
        return scene(draw)
    bare = draw.choice(THINGS)
    what = f"{draw.choice(COLOURS)} {bare}" if dice < 0.65 else bare
    return f"an {what}" if what[0] in "aeio" or what.startswith("umbrella") else f"a {what}"


def paint(what: str, description: str = "") -> Row:
    """The call that draws it."""
    return {"tool": "diffusion", "description": description or f"Illustration of {what}", "params": {"prompt": what}}


def wish(draw: random.Random) -> tuple[str, str]:
    """A change as it is wished for, and what the editor is told."""
    if draw.random() < 0.25:
        words = draw.choice(CAPTIONS)
        return draw.choice(LETTERED).format(words=words), f"add the caption '{words}'"
    return draw.choice(CHANGES)


def order(draw: random.Random, what: str) -> tuple[str, str]:
    """A change of `what` as something to be done, and what the editor is told."""
    if draw.random() < 0.2:
        words = draw.choice(CAPTIONS)
        return draw.choice(LETTERING).format(words=words, it=what), f"add the caption '{words}'"
    asked, told = draw.choice(ORDERS)
    return asked.format(it=what), told


def need(draw: random.Random, what: str) -> tuple[str, str]:
    """What is wrong with `what`, and what the editor is told."""
    asked, told = draw.choice(NEEDS)
    return asked.format(it=what), told


def change(told: str, index: int, thing: str) -> Row:
    """The call that changes a picture."""
    return {
        "tool": "edit",
        "description": f"{capital(thing)}, {told}",
        "params": {"img_index": index, "prompt": told},
    }


def changed(draw: random.Random, ordered: bool, thing: str, index: int = 0) -> tuple[dict[str, str], Row]:
    """A change of the picture before, as an order (`{do}`) or as how it is wanted (`{change}`), and the call."""
    if ordered:
        asked, told = order(draw, draw.choice(BEFORE))
        return {"do": asked}, change(told, index, thing)
    asked, told = wish(draw)
    return {"change": asked}, change(told, index, thing)

"""Writes the task set `practice`: 12,000 tasks to learn from, from 1,600 wordings and many subjects that are put together by chance.

The 286 tasks of `train` are enough to learn the form of a call, and few enough to be learnt by heart: a policy that does well on them does
much worse on `heldout`, whose wordings and subjects it has never seen. What is learnt on many wordings holds for others. The kinds of tasks
are those of `train`; subjects of `validation` and `heldout` are left out, and so are their wordings. Wordings stand in `practice_words/`,
subjects in `practice_subjects/`.

    python scripts/build_practice.py        # writes llmi_env/assets/tasks/practice.jsonl; the same each time
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import practice_words as wording
from practice_numbers import Row, curve, numbers, series, shares, spread
from practice_subjects import (
    ADVICE,
    CAPTIONS,
    CHANGES,
    DOING,
    LETTERED,
    LETTERING,
    LOOKS,
    NEEDS,
    ORDERS,
    PEOPLE,
    PLACES,
    SOMEBODY,
    SOMEWHERE,
    TRADES,
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


# ------------------------------------------------------------------------------------------------------------------- tasks


class Maker:
    """Makes tasks; each method is a kind."""

    def __init__(self, draw: random.Random, rows: list[Row]) -> None:
        self.draw, self.rows = draw, rows

    def find(self) -> Draft:
        row = self.draw.choice(self.rows)
        return self.draw.choice(wording.FIND_WORDINGS), {"thing": named(row)}, [find(row)], []

    def chart(self) -> Draft:
        data, call = numbers(self.draw)
        return self.draw.choice(wording.CHART_WORDINGS), {"data": data}, [call], []

    def share(self) -> Draft:
        whole, data, call = shares(self.draw)
        return self.draw.choice(wording.SHARE_WORDINGS), {"whole": whole, "data": data}, [call], []

    def series(self) -> Draft:
        values, call = series(self.draw)
        return self.draw.choice(wording.SERIES_WORDINGS), values, [call], []

    def spread(self) -> Draft:
        values, call = spread(self.draw)
        return self.draw.choice(wording.SPREAD_WORDINGS), values, [call], []

    def curve(self) -> Draft:
        values, call = curve(self.draw)
        return self.draw.choice(wording.CURVE_WORDINGS), values, [call], []

    def draw_scene(self) -> Draft:
        what = scene(self.draw)
        return self.draw.choice(wording.DRAW_WORDINGS), {"scene": what}, [paint(what)], []

    def trade(self) -> Draft:
        trade, motif = self.draw.choice(TRADES)
        call = paint(motif, f"Design for {trade}")
        return self.draw.choice(wording.TRADE_WORDINGS), {"trade": trade}, [call], []

    def change(self) -> Draft:
        row, (asked, told) = self.draw.choice(self.rows), wish(self.draw)
        values = {"thing": named(row), "change": asked}
        return self.draw.choice(wording.EDIT_WORDINGS), values, [change(told, 0, named(row))], [f"corpus:{row['id']}"]

    def order(self) -> Draft:
        row, template = self.draw.choice(self.rows), self.draw.choice(wording.ORDER_WORDINGS)
        key, wished = ("need", need) if "{need}" in template.lower() else ("do", order)
        asked, told = wished(self.draw, self.draw.choice(wording.ATTACHED).format(thing=named(row)))
        values = {"thing": named(row), key: asked}
        return template, values, [change(told, 0, named(row))], [f"corpus:{row['id']}"]

    def _changed(self, template: str, thing: str, index: int = 0) -> tuple[dict[str, str], Row]:
        """A change of the picture before, worded as the template wants it."""
        if "{do}" in template:
            asked, told = order(self.draw, self.draw.choice(BEFORE))
            return {"do": asked}, change(told, index, thing)
        asked, told = wish(self.draw)
        return {"change": asked}, change(told, index, thing)

    def draw_change(self) -> Draft:
        template, what = self.draw.choice(wording.DRAW_EDIT_WORDINGS), scene(self.draw)
        values, call = self._changed(template, "the drawing")
        return template, {"scene": what, **values}, [paint(what), call], []

    def find_change(self) -> Draft:
        template, row = self.draw.choice(wording.FIND_EDIT_WORDINGS), self.draw.choice(self.rows)
        values, call = self._changed(template, named(row))
        return template, {"thing": named(row), **values}, [find(row), call], []

    def chart_change(self) -> Draft:
        template, (data, first) = self.draw.choice(wording.CHART_CHANGE_WORDINGS), numbers(self.draw)
        values, call = self._changed(template, "the chart")
        return template, {"data": data, **values}, [first, call], []

    def find_chart(self) -> Draft:
        row, (data, call) = self.draw.choice(self.rows), numbers(self.draw)
        template = self.draw.choice(wording.FIND_CHART_WORDINGS)
        return template, {"thing": named(row), "data": data}, [find(row), call], []

    def draw_chart(self) -> Draft:
        what, (data, call) = scene(self.draw), numbers(self.draw)
        return self.draw.choice(wording.DRAW_CHART_WORDINGS), {"scene": what, "data": data}, [paint(what), call], []

    def find_draw(self) -> Draft:
        row, what = self.draw.choice(self.rows), scene(self.draw)
        values = {"thing": named(row), "scene": what}
        return self.draw.choice(wording.FIND_DRAW_WORDINGS), values, [find(row), paint(what)], []

    def several(self) -> Draft:
        one, other = self.draw.sample(self.rows, 2)
        values = {"thing": named(one), "other": named(other)}
        return self.draw.choice(wording.SEVERAL_WORDINGS), values, [find(one), find(other)], []

    def words(self) -> Draft:
        return self.draw.choice(wording.WORDS_ONLY), {"advice": self.draw.choice(ADVICE)}, [], []


KINDS: dict[Callable[[Maker], Draft], int] = {
    Maker.find: 2580,
    Maker.chart: 1230,
    Maker.share: 440,
    Maker.series: 500,
    Maker.spread: 180,
    Maker.curve: 520,
    Maker.draw_scene: 1410,
    Maker.trade: 470,
    Maker.change: 1050,
    Maker.order: 1110,
    Maker.draw_change: 820,
    Maker.find_change: 350,
    Maker.chart_change: 120,
    Maker.find_chart: 235,
    Maker.draw_chart: 235,
    Maker.find_draw: 120,
    Maker.several: 175,
    Maker.words: 475,
}


def make(kind: Callable[[Maker], Draft], maker: Maker) -> Row:
    """One task."""
    draw = maker.draw
    template, values, calls, images = kind(maker)
    values = {"place": draw.choice(PLACES), "people": draw.choice(PEOPLE), **values}
    values |= {name.capitalize(): capital(value) for name, value in values.items()}
    question = capital(template.format(**values))
    return {
        "question": question,
        "image_count": "none"
        if not calls
        else len(calls)
        if len(calls) > 1 or draw.random() < 0.4
        else draw.choice(("any", "at_least_one")),
        "tools": list(dict.fromkeys(call["tool"] for call in calls)),
        "images": images,
        "template": f"practice-{kind.__name__}",
        "reference": calls,
    }


def build(seed: int = 0) -> list[Row]:
    """All tasks, in an order in which kinds are mixed."""
    maker = Maker(random.Random(seed), pictures())
    found: dict[str, Row] = {}
    for kind, count in KINDS.items():
        wanted = len(found) + count
        while len(found) < wanted:
            task = make(kind, maker)
            if len(task["question"]) < 240:
                found.setdefault(task["question"], task)
    tasks = list(found.values())
    maker.draw.shuffle(tasks)
    return [
        {"id": f"practice-{number:05d}", **task, "subject": f"practice-{number:05d}"}
        for number, task in enumerate(tasks)
    ]


def main() -> None:
    """Write the file."""
    text = "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in build())
    (ASSETS / "tasks" / "practice.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

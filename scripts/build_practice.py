"""Writes the task set `practice`: two thousand tasks to learn from, from wordings and subjects that are put together by chance.

The 286 tasks of `train` are enough to learn the form of a call, and few enough to be learnt by heart: a policy that does well on them does
much worse on `heldout`, whose wordings and subjects it has never seen. What is learnt on many wordings holds for others. Subjects of
`validation` and `heldout` are left out, and so are their wordings.

    python scripts/build_practice.py        # writes llmi_env/assets/tasks/practice.jsonl; the same each time
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

from practice_words import (
    ADVICE,
    CHANGES,
    CHART_WORDINGS,
    DATA,
    DOING,
    DRAW_CHART_WORDINGS,
    DRAW_EDIT_WORDINGS,
    DRAW_WORDINGS,
    EDIT_WORDINGS,
    FIND_CHART_WORDINGS,
    FIND_EDIT_WORDINGS,
    FIND_WORDINGS,
    LOOKS,
    PLACES,
    SOMEBODY,
    SOMEWHERE,
    WORDS_ONLY,
)

ASSETS = Path(__file__).parents[1] / "llmi_env" / "assets"
COUNTS = {
    "find": 480,
    "chart": 440,
    "draw": 400,
    "change": 400,
    "draw_change": 120,
    "find_change": 60,
    "find_chart": 40,
    "draw_chart": 40,
    "words": 100,
}

Row = dict[str, Any]


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
    common = title.lower() in row["caption"] or title.split()[-1].lower() in row["caption"]
    return f"the {title[0].lower()}{title[1:]}" if common else title


def find(row: Row) -> Row:
    """The call that finds a picture."""
    return {
        "tool": "search",
        "description": f"Photo of {named(row).removeprefix('the ')}",
        "params": {"query": row["title"]},
    }


def change(wish: tuple[str, str], index: int, thing: str) -> Row:
    """The call that changes one."""
    return {
        "tool": "edit",
        "description": f"{thing[0].upper()}{thing[1:]}, {wish[1]}",
        "params": {"img_index": index, "prompt": wish[1]},
    }


def scene(draw: random.Random) -> str:
    """Something that no camera has seen."""
    who = f"{draw.choice(LOOKS)} {draw.choice(SOMEBODY)}"
    article = "an" if who[0] in "aeiou" else "a"
    return (
        f"{article} {who} {draw.choice(DOING)}" if draw.random() < 0.6 else f"{article} {who} {draw.choice(SOMEWHERE)}"
    )


def paint(what: str) -> Row:
    """The call that draws it."""
    return {"tool": "diffusion", "description": f"Illustration of {what}", "params": {"prompt": what}}


def numbers(draw: random.Random) -> tuple[str, Row]:
    """Values in words, and the call that charts them."""
    topic, unit, names, low, high, kind = draw.choice(DATA)
    size = min(len(names), draw.choice((3, 3, 4, 4, 5)))
    first = draw.randrange(len(names) - size + 1)
    some = names[first : first + size]
    step = 5 if high > 60 else 1
    values = [draw.randrange(low, high + 1, step) for _ in some]
    said = ", ".join(f"{name} {value}" for name, value in zip(some, values, strict=True)) + (f" {unit}" if unit else "")
    labels = "[" + ",".join(f"'{name}'" for name in some) + "]"
    listed = "[" + ",".join(map(str, values)) + "]"
    code = {
        "bar": f"plt.bar({labels},{listed})",
        "line": f"plt.plot({labels},{listed},marker='o')",
        "pie": f"plt.pie({listed},labels={labels})",
    }[kind]
    if unit and kind != "pie":
        code += f"; plt.ylabel('{unit}')"
    chart = {"bar": "Bar chart", "line": "Line chart", "pie": "Pie chart"}[kind]
    return f"{topic}: {said}", {"tool": "code", "description": f"{chart} of {topic}", "params": {"code": code}}


def make(kind: str, draw: random.Random, rows: list[Row]) -> Row:
    """One task."""
    row, wish = draw.choice(rows), draw.choice(CHANGES)
    thing, images = named(row), []
    values = {"place": draw.choice(PLACES), "thing": thing, "Thing": thing[0].upper() + thing[1:]}
    if kind == "find":
        wording, calls = draw.choice(FIND_WORDINGS), [find(row)]
    elif kind == "chart":
        wording = draw.choice(CHART_WORDINGS)
        values["data"], call = numbers(draw)
        calls = [call]
    elif kind == "draw":
        wording = draw.choice(DRAW_WORDINGS)
        values["scene"] = scene(draw)
        calls = [paint(values["scene"])]
    elif kind == "change":
        wording, images = draw.choice(EDIT_WORDINGS), [f"corpus:{row['id']}"]
        values["change"], calls = wish[0], [change(wish, 0, thing)]
    elif kind == "draw_change":
        wording = draw.choice(DRAW_EDIT_WORDINGS)
        values |= {"scene": scene(draw), "change": wish[0]}
        calls = [paint(values["scene"]), change(wish, 0, "the drawing")]
    elif kind == "find_change":
        wording = draw.choice(FIND_EDIT_WORDINGS)
        values["change"], calls = wish[0], [find(row), change(wish, 0, thing)]
    elif kind == "find_chart":
        wording = draw.choice(FIND_CHART_WORDINGS)
        values["data"], call = numbers(draw)
        calls = [find(row), call]
    elif kind == "draw_chart":
        wording = draw.choice(DRAW_CHART_WORDINGS)
        values["scene"] = scene(draw)
        values["data"], call = numbers(draw)
        calls = [paint(values["scene"]), call]
    else:
        wording, calls = draw.choice(WORDS_ONLY), []
        values["advice"] = draw.choice(ADVICE)
    question = wording.format(**values)
    tools = list(dict.fromkeys(call["tool"] for call in calls))
    return {
        "question": question[0].upper() + question[1:],
        "image_count": "none"
        if not calls
        else len(calls)
        if len(calls) > 1 or draw.random() < 0.4
        else draw.choice(("any", "at_least_one")),
        "tools": tools,
        "images": images,
        "template": f"practice-{kind}",
        "reference": calls,
    }


def build(seed: int = 0) -> list[Row]:
    """All tasks, in an order in which kinds are mixed."""
    draw, rows = random.Random(seed), pictures()
    found: dict[str, Row] = {}
    for kind, count in COUNTS.items():
        wanted = len(found) + count
        while len(found) < wanted:
            task = make(kind, draw, rows)
            found.setdefault(task["question"], task)
    tasks = list(found.values())
    draw.shuffle(tasks)
    return [
        {"id": f"practice-{number:04d}", **task, "subject": f"practice-{number:04d}"}
        for number, task in enumerate(tasks)
    ]


def main() -> None:
    """Write the file."""
    text = "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in build())
    (ASSETS / "tasks" / "practice.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

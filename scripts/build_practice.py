"""Writes the task set `practice`: 18,000 tasks to learn from, from 1,600 wordings and many subjects that are put together by chance.

The 286 tasks of `train` are enough to learn the form of a call, and few enough to be learnt by heart: a policy that does well on them does
much worse on `heldout`, whose wordings and subjects it has never seen. What is learnt on many wordings holds for others. The kinds of tasks
are those of `train`; subjects of `validation` and `heldout` are left out, and so are their wordings. Wordings stand in `practice_words/`,
subjects in `practice_subjects/`.

    python scripts/build_practice.py        # writes llmi_env/assets/tasks/practice.jsonl; the same each time
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

from practice_clauses import Clauses
from practice_numbers import Row
from practice_parts import ASSETS, Draft, capital, pictures
from practice_sentences import Sentences
from practice_subjects import PEOPLE, PLACES

SENTENCES: Mapping[str, int] = {
    "find": 2580,
    "chart": 1230,
    "share": 440,
    "series": 500,
    "spread": 180,
    "curve": 520,
    "draw_scene": 1410,
    "trade": 470,
    "change": 1050,
    "order": 1110,
    "draw_change": 820,
    "find_change": 350,
    "chart_change": 120,
    "find_chart": 235,
    "draw_chart": 235,
    "find_draw": 120,
    "several": 175,
    "words": 475,
}
CLAUSES: Mapping[str, int] = {
    "thing": 900,
    "photo": 900,
    "chart": 300,
    "thing_change": 1500,
    "photo_change": 550,
    "thing_chart": 300,
    "photo_chart": 450,
    "photo_thing": 150,
    "unillustrated": 900,
}
"""How many of each kind: methods of `Sentences` and `Clauses`. Those of clauses come last, so that the others keep their names, by which texts
are written for them (`assets/demos/practice.jsonl`)."""


def make(kind: str, maker: Sentences | Clauses) -> Row:
    """One task."""
    draw = maker.draw
    drafted: Draft = getattr(maker, kind)()
    template, values, calls, images = drafted
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
        "template": f"practice-{kind}",
        "reference": calls,
    }


def build(seed: int = 0) -> list[Row]:
    """All tasks: first those of whole sentences, then those of clauses, both in an order in which kinds are mixed."""
    rows, found = pictures(), dict[str, Row]()
    tasks: list[Row] = []
    makers: tuple[tuple[Sentences | Clauses, Mapping[str, int]], ...] = (
        (Sentences(random.Random(seed), rows), SENTENCES),
        (Clauses(random.Random(seed + 1), rows), CLAUSES),
    )
    for maker, kinds in makers:
        for kind, count in kinds.items():
            wanted = len(found) + count
            while len(found) < wanted:
                task = make(kind, maker)
                if len(task["question"]) < 240:
                    found.setdefault(task["question"], task)
        added = list(found.values())[len(tasks) :]
        maker.draw.shuffle(added)
        tasks += added
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

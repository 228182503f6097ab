"""Evaluations on disk, made in no time: documents with calls of every fate, and judges whose answers are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmi_env.document import Document, Failure
from llmi_env.episode import StopReason
from llmi_env.evaluate.benchmark import Item, Measure, Question
from llmi_env.evaluate.grading import question_digest, questions_of
from llmi_env.evaluate.kept import Answer, DocumentCost, EvaluationFolder
from llmi_env.judges.openai_judge import Graded
from llmi_env.ledger import Ledger
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.report import RewardReport
from llmi_env.rollout import Rollout
from llmi_env.task import Task
from llmi_env.world.protocol import Unscored
from tests.rewards.making import document, figure, picture

TOOLS = ("search", "code")
WORLD_DOWN = Failure("unavailable", "world", "the service is down")
NO_HIT = Failure("empty", "policy", "nothing found")
NO_TOOL = Failure("unknown_tool", "policy", "there is no tool 'paint'")

Told = Mapping[str, float | str]
"""What a judge says of one document: a score by criterion, or why there is none."""


class Birds:
    """Scores a document by facts (0..2) and style (1..5); of its measures one is about documents on code alone."""

    name = "birds"
    version = "1"
    paper = "none"
    headline = "points"
    needs_data = False
    terms: HybridReward | None = None
    measures: Sequence[Measure] = (
        Measure("points", 0, 4, "facts of both kinds"),
        Measure("style", 1, 5, "how it reads"),
        Measure("charts", 0, 2, "whether charts are right; of tasks that want charts"),
        Measure("pictures", 0, 10, "pictures that came"),
    )

    def load(self, data: str | Path | None) -> Sequence[Item]:
        return birds(int(data or 6))

    def questions(self, item: Item, document: Document) -> Sequence[Question]:
        own = "It says where the owl lives." if item.kind == "search" else "It says how many owls there are."
        return [
            Question("facts", {"named": "It names an owl.", "place": own}, 0, 2),
            Question("reader", {"style": "It reads well.", "text_image_relevance": "Pictures fit the text."}, 1, 5),
        ]

    def measure(self, item: Item, document: Document, scores: Mapping[str, float]) -> Mapping[str, float]:
        figures = {
            "points": scores["facts/named"] + scores["facts/place"],
            "style": scores["reader/style"],
            "pictures": float(len(document.pictures)),
        }
        return {**figures, "charts": scores["facts/place"]} if item.kind == "code" else figures


def birds(count: int) -> list[Item]:
    """Items that need search and code in turns."""
    return [
        Item(Task(f"Write about owl {n}.", tools=(TOOLS[n % 2],), image_count=1, id=f"owl-{n}"), kind=TOOLS[n % 2])
        for n in range(count)
    ]


def met(item: Item, seed: int = 0) -> Document:
    """A document with the picture that its task needs."""
    return document("An owl.", figure(item.task.tools[0], outcome=picture(seed, side=24)))


Writes = Callable[[Item, int], Document | str]
"""Gives the document of an item and sample, or the reason why there is none."""

Judges = Callable[[Item, int], Told]
"""Gives what a judge says of the document of an item and sample."""


def good(item: Item, sample: int) -> Told:
    """What a judge says that likes everything."""
    return {"named": 2, "place": 2, "style": 5, "text_image_relevance": 5}


def evaluation(
    path: Path,
    items: Sequence[Item],
    *,
    writes: Writes = lambda item, sample: met(item, sample),
    judges: Mapping[str, Judges] | None = None,
    samples: int = 1,
    benchmark: Any = None,
    **config: Any,
) -> EvaluationFolder:
    """Keep an evaluation as `llmi evaluate` does; returns its folder."""
    benchmark = benchmark or Birds()
    judges = {"hawk": good} if judges is None else judges
    folder = EvaluationFolder(path)
    told = {
        "benchmark": {
            "name": benchmark.name,
            "version": benchmark.version,
            "data": "d",
            "items": [item.id for item in items],
        },
        "policy": "writer",
        "source": {"policy": "writer"},
        "judges": {name: {"use": name} for name in judges},
        "samples": samples,
        "seed": 0,
        **config,
    }
    with folder.begin(told, resume=False):
        for place, item in enumerate(items):
            for sample in range(samples):
                written = writes(item, sample)
                if isinstance(written, str):
                    folder.add_not_written(item.id, sample, written, DocumentCost(7, 3, 0.25, 0.5))
                    continue
                rollout = Rollout(item.task, sample, place, Ledger(), written, StopReason.END, RewardReport(None, {}))
                cost = DocumentCost(20, 10, 0.5, 1.0 + sample)
                folder.add_document(item.id, place=place, sample=sample, rollout=rollout, cost=cost)
                digest, _ = folder.document(place, sample)
                for name, says in judges.items():
                    _answer(folder, benchmark, name, item, sample, digest, written, says(item, sample))
    return folder


def _answer(
    folder: EvaluationFolder,
    benchmark: Any,
    judge: str,
    item: Item,
    sample: int,
    digest: str,
    written: Document,
    says: Told,
) -> None:
    for question in questions_of(benchmark, item, written):
        given = {name: said for name in question.criteria if (said := says.get(name)) is not None}
        if given:
            answers = {
                name: Unscored(said) if isinstance(said, str) else Graded(said, f"{judge} on {name}", f"{judge}@1")
                for name, said in given.items()
            }
            asked = question_digest(question)
            line = Answer(item.id, sample, question.name, digest, asked, answers, 1, 100, 10, 0.01, 0.25)
            folder.add_answer(judge, {"use": judge}, line)

"""A small benchmark with its source and judge, for tests of how an evaluation runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmi_env.document import Document
from llmi_env.episode import StopReason
from llmi_env.evaluate.benchmark import Item, Measure, Question
from llmi_env.evaluate.kept import EvaluationFolder
from llmi_env.evaluate.sources.base import Done, NotWritten, Order, Written
from llmi_env.judges.chat import Usage
from llmi_env.judges.openai_judge import Graded
from llmi_env.ledger import Ledger
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.report import RewardReport
from llmi_env.rollout import Rollout
from llmi_env.task import Task
from llmi_env.world.protocol import Unscored
from tests.rewards.making import document, figure, picture


def items(count: int = 3) -> list[Item]:
    return [
        Item(Task(f"Write about owl {n}.", id=f"owl-{n}"), kind="even" if n % 2 == 0 else "odd") for n in range(count)
    ]


class Owls:
    """Asks two questions about each document, on scales of their own."""

    name = "owls"
    version = "1"
    paper = "none"
    headline = "points"
    needs_data = False
    measures: Sequence[Measure] = (Measure("points", 0, 7, "all points"),)
    terms: HybridReward | None = None

    def load(self, data: str | Path | None) -> Sequence[Item]:
        return items(int(data or 3))

    def questions(self, item: Item, document: Document) -> Sequence[Question]:
        return [
            Question("text", {"r1": "It names an owl.", "r2": "It says where."}, 0, 2),
            Question("pictures", {"r3": "The picture is of an owl."}, 1, 3),
        ]

    def measure(self, item: Item, document: Document, scores: Mapping[str, float]) -> Mapping[str, float]:
        return {"points": sum(scores.values())}


def rollout(order: Order, text: str = "An owl") -> Rollout:
    written = document(f"{text} {order.item.id}, {order.sample}.", figure(outcome=picture(order.seed % 97, side=24)))
    return Rollout(order.item.task, order.seed, 0, Ledger(), written, StopReason.END, RewardReport(None, {}))


class Writer:
    """Brings documents one after another, with a pause before each.

    Attributes:
        orders: every document that was asked for.
    """

    name = "writer"

    def __init__(self, pause: float = 0.0, fails: Callable[[Order], str] = lambda order: "", model: str = "m") -> None:
        self.pause, self.fails = pause, fails
        self.identity: Mapping[str, Any] = {"policy": "writer", "model": model}
        self.orders: list[tuple[str, int]] = []

    async def write(self, orders: Sequence[Order], done: Done) -> None:
        for order in orders:
            self.orders.append((order.item.id, order.sample))
            await asyncio.sleep(self.pause)
            if reason := self.fails(order):
                done(order, NotWritten(reason, tokens=5, seconds=0.1))
            else:
                done(order, Written(rollout(order), 20, 10, 0.5, 0.1))

    async def aclose(self) -> None:
        pass


class Marker:
    """Answers everything with the highest score, after a pause; or as told.

    Attributes:
        asked: how often each question was asked, by text of the document and name of the question.
        most_at_once: questions that it was at work on at the same time, at most.
    """

    def __init__(
        self,
        pause: float = 0.0,
        concurrency: int = 4,
        answer: Callable[[Question, Document], Any] | None = None,
        version: int = 1,
    ) -> None:
        self.pause, self.concurrency, self.answer = pause, concurrency, answer
        self.identity: Mapping[str, Any] = {"use": "marker", "version": version}
        self.usage = Usage()
        self.asked: Counter[tuple[str, str]] = Counter()
        self.given = 0
        self.most_at_once = self._now = 0
        self._turn = asyncio.Semaphore(concurrency)

    async def grade(self, question: Question, document: Document, item: Item) -> Mapping[str, Graded | Unscored]:
        async with self._turn:
            self.asked[document.text, question.name] += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            try:
                await asyncio.sleep(self.pause)
            finally:
                self._now -= 1
            self.given += 1
            if self.answer is not None and (told := self.answer(question, document)) is not None:
                return told  # type: ignore[no-any-return]
            return {name: Graded(question.high, f"{name} is met", "marker/1") for name in question.criteria}

    async def aclose(self) -> None:
        pass


def config(**changes: Any) -> dict[str, Any]:
    """A configuration of an evaluation, in which dotted keys may be changed."""
    data: dict[str, Any] = {
        "benchmark": {"name": "owls", "version": "1", "data": "0", "items": ["owl-0", "owl-1", "owl-2"]},
        "policy": "writer",
        "source": {"policy": "writer", "model": "m"},
        "judges": {"marker": {"use": "marker", "version": 1}},
        "samples": 1,
        "seed": 0,
        "world": "in_process",
        "services": {"deadline": 60.0, "concurrency": {"search": 8}},
    }
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        place[last] = value
    return data


def begun(path: Path, resume: bool = False, **changes: Any) -> EvaluationFolder:
    """A folder in which an evaluation was begun."""
    folder = EvaluationFolder(path)
    with folder.begin(config(**changes), resume=resume):
        pass
    return folder

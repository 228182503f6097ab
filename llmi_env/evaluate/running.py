"""An evaluation as it runs: documents are written, and judged while others are still being written.

One document goes: source -> disk -> each judge's questions -> disk. What is judged is what was kept, so that a resume meets the same
documents, and no more of them are held than judges are at work on. Nothing that is on the disk is paid for again; what failed is asked again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar, overload

from llmi_env.document import Document
from llmi_env.errors import LLMIError
from llmi_env.evaluate.benchmark import Benchmark, BenchmarkError, Item, Question
from llmi_env.evaluate.grading import Grader, checked, question_digest, questions_of
from llmi_env.evaluate.kept import Answer, DocumentCost, EvaluationFolder, Key
from llmi_env.evaluate.progress import Bars
from llmi_env.evaluate.sources.base import NotWritten, Order, Source, Written
from llmi_env.judges.chat import counting
from llmi_env.judges.openai_judge import Graded
from llmi_env.rollout import rollout_seed
from llmi_env.world.protocol import Unscored

if TYPE_CHECKING:
    from rich.console import Console

_log = logging.getLogger(__name__)
T = TypeVar("T")

_LOOKAHEAD = 2  # questions that stand ready for each one that a judge is at work on


@dataclass
class Ran:
    """What was done in one go.

    Attributes:
        documents: documents wanted.
        written: those that were written now.
        missing: those that are not there, with reasons.
        answers: questions, counted for each judge.
        answered: those that were answered now, a score for every criterion.
        unanswered: those of which a criterion has no score.
    """

    documents: int
    written: int = 0
    missing: dict[Key, str] = field(default_factory=dict)
    answers: int = 0
    answered: int = 0
    unanswered: int = 0

    @property
    def complete(self) -> bool:
        """Whether every document is there and has every answer."""
        return not self.missing and not self.unanswered


async def evaluate(
    benchmark: Benchmark,
    items: Sequence[Item],
    source: Source,
    graders: Mapping[str, Grader],
    folder: EvaluationFolder,
    *,
    samples: int = 1,
    seed: int = 0,
    console: Console | None = None,
) -> Ran:
    """Write and judge what the folder lacks. It is open for writing (`EvaluationFolder.begin`).

    Cancelled at any time, it keeps all that is finished.

    Args:
        benchmark: its protocol.
        items: what is to be written.
        source: writes.
        graders: judges by name.
        folder: keeps everything.
        samples: documents for each item.
        seed: of the documents.
        console: for the progress bars; only a terminal shows them.

    Raises:
        BenchmarkError: two items of one id.
        ConfigError: questions and nobody to answer them, or a key that is not set.
        LLMIError: whatever else stands in the way of all documents or answers.
    """
    ids = item_ids(items)
    if twice := [id for id, count in Counter(ids).items() if count > 1]:
        raise BenchmarkError(f"{benchmark.name}: the id {twice[0]!r} is that of two items")
    running = _Running(benchmark, items, source, graders, folder, Bars(console, len(items) * samples, len(graders)))
    with running.bars.shown():
        try:
            return await running.run(
                Orders(items, [(at, sample) for at in range(len(ids)) for sample in range(samples)], seed)
            )
        except BaseExceptionGroup as errors:
            raise _first(errors) from None


def item_ids(items: Sequence[Item]) -> tuple[str, ...]:
    """Ids of the items, in order; where the items know them without decoding pictures, nothing is decoded."""
    known: Sequence[str] | None = getattr(items, "ids", None)
    return tuple(item.id for item in items) if known is None else tuple(known)


def items_digest(items: Sequence[Item]) -> str:
    """SHA-256 of what the items ask, in order."""
    known: str | None = getattr(items, "digest", None)
    if known is not None:
        return known
    body = [[item.id, item.kind, item.task.key, *item.task.tools] for item in items]
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


class Orders(Sequence[Order]):
    """Documents wanted. An item is taken, and its pictures decoded, when its order is: thousands need not fit into memory.

    Args:
        items: what is to be written.
        places: place of the item and number of the sample, for each document.
        seed: of the whole; an order's own depends on its task and sample alone.
    """

    def __init__(self, items: Sequence[Item], places: Sequence[tuple[int, int]], seed: int) -> None:
        self._items, self._places, self._seed = items, places, seed

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Order: ...

    @overload
    def __getitem__(self, index: slice) -> Orders: ...

    def __getitem__(self, index: int | slice) -> Order | Orders:
        if isinstance(index, slice):
            return Orders(self._items, self._places[index], self._seed)
        place, sample = self._places[index]
        item = self._items[place]
        return Order(item, sample, rollout_seed(self._seed, item.task, sample))

    def without(self, keys: Container[Key]) -> Orders:
        """Those whose documents are not among `keys`."""
        ids = item_ids(self._items)
        return Orders(self._items, [(at, n) for at, n in self._places if (ids[at], n) not in keys], self._seed)

    @property
    def keys(self) -> list[Key]:
        """Item and sample of each."""
        ids = item_ids(self._items)
        return [(ids[place], sample) for place, sample in self._places]


class _Running:
    def __init__(
        self,
        benchmark: Benchmark,
        items: Sequence[Item],
        source: Source,
        graders: Mapping[str, Grader],
        folder: EvaluationFolder,
        bars: Bars,
    ) -> None:
        self._benchmark, self._source, self._graders, self._folder, self.bars = benchmark, source, graders, folder, bars
        self._items = items
        self._places = {id: place for place, id in enumerate(item_ids(items))}
        self._waiting: dict[str, asyncio.Queue[Key | None]] = {name: asyncio.Queue() for name in graders}
        self._arrived: asyncio.Queue[tuple[Key, Written | NotWritten] | None] = asyncio.Queue()

    async def run(self, wanted: Orders) -> Ran:
        self._ran = Ran(len(wanted))
        there = await asyncio.to_thread(self._folder.costs)
        missing = wanted.without(there)
        for key in wanted.keys:
            if key in there:
                self._judge_later(key)
                self.bars.document()
        async with asyncio.TaskGroup() as group:
            for name, grader in self._graders.items():
                group.create_task(self._judge(name, grader))
            group.create_task(self._keep_documents())
            group.create_task(self._write(missing))
        return self._ran

    # --------------------------------------------------------------------------------------------------------- documents

    async def _write(self, missing: Orders) -> None:
        left = dict.fromkeys(missing.keys)

        def done(order: Order, written: Written | NotWritten) -> None:
            key = (order.item.id, order.sample)
            if key in left:  # each document once, whatever a source does
                del left[key]
                self._arrived.put_nowait((key, written))

        if missing:
            await self._source.write(missing, done)
        for key in left:
            self._arrived.put_nowait((key, NotWritten(f"{self._source.name} gave no document")))
        self._arrived.put_nowait(None)

    async def _keep_documents(self) -> None:
        try:
            while (came := await self._arrived.get()) is not None:
                await _finished(self._put, *came)  # pictures are encoded beside the loop
                self._note(*came)
            for queue in self._waiting.values():
                queue.put_nowait(None)
        finally:  # of an interruption: what has come is kept
            for came in filter(None, _taken(self._arrived)):
                self._put(*came)

    def _put(self, key: Key, came: Written | NotWritten) -> None:
        took = DocumentCost(came.tokens, came.prompt_tokens, came.cost, came.seconds)
        if isinstance(came, NotWritten):
            self._folder.add_not_written(*key, came.reason, took)
        else:
            self._folder.add_document(*key, self._places[key[0]], came.rollout, replace(took, counted=came.counted))

    def _note(self, key: Key, came: Written | NotWritten) -> None:
        self.bars.document()
        if isinstance(came, NotWritten):
            self._ran.missing[key] = came.reason
            _log.info("item %s, document %d was not written: %s", *key, came.reason)
        else:
            self._ran.written += 1
            self._judge_later(key)

    def _judge_later(self, key: Key) -> None:
        for queue in self._waiting.values():
            queue.put_nowait(key)

    # ----------------------------------------------------------------------------------------------------------- answers

    async def _judge(self, name: str, grader: Grader) -> None:
        """Put every question to one judge, in the order in which documents arrive."""
        standing = (await asyncio.to_thread(self._folder.answers_of, name)).standing()
        ready = asyncio.Semaphore(_LOOKAHEAD * max(1, grader.concurrency))
        async with asyncio.TaskGroup() as group:
            while (key := await self._waiting[name].get()) is not None:
                digest, document, item, questions = await asyncio.to_thread(self._questions, key)
                self.bars.questions(len(questions))
                self._ran.answers += len(questions)
                for question in questions:
                    before = standing.get((*key, question.name))
                    new = Answer(*key, question.name, digest, question_digest(question), {})
                    if _whole(new.joined(before), question):
                        self.bars.answer()
                        continue
                    await ready.acquire()
                    group.create_task(self._ask(name, grader, ready, question, document, item, new, before))

    def _questions(self, key: Key) -> tuple[str, Document, Item, Sequence[Question]]:
        place = self._places[key[0]]
        item = self._items[place]
        digest, rollout = self._folder.document(place, key[1])
        return digest, rollout.document, item, questions_of(self._benchmark, item, rollout.document)

    async def _ask(
        self,
        name: str,
        grader: Grader,
        ready: asyncio.Semaphore,
        question: Question,
        document: Document,
        item: Item,
        new: Answer,
        before: Answer | None,
    ) -> None:
        start = time.perf_counter()
        try:
            with counting() as spent:
                given = await _graded(grader, question, document, item)
        finally:
            ready.release()
        answer = replace(
            new,
            given=checked(question, given, name),
            requests=spent.requests,
            prompt_tokens=spent.prompt_tokens,
            tokens=spent.completion_tokens,
            cost=spent.cost,
            seconds=time.perf_counter() - start,
        )
        self._folder.add_answer(name, grader.identity, answer)
        self.bars.answer()
        if _whole(answer.joined(before), question):
            self._ran.answered += 1
        else:
            self._ran.unanswered += 1


def _taken(queue: asyncio.Queue[T]) -> list[T]:
    """All that waits in a queue."""
    return [queue.get_nowait() for _ in range(queue.qsize())]


async def _finished(work: Callable[..., object], *arguments: object) -> None:
    """Do this in a thread, and see it through where the caller is cancelled meanwhile."""
    begun = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(begun)
    except asyncio.CancelledError:
        await begun
        raise


async def _graded(grader: Grader, question: Question, document: Document, item: Item) -> object:
    """A grader's answer; an error of its own is the lack of one."""
    try:
        return await grader.grade(question, document, item)
    except LLMIError:
        raise  # of the set-up: no key, no such prompt, a World that is gone
    except Exception as error:
        _log.warning("%s failed at question %s", type(grader).__name__, question.name, exc_info=error)
        return dict.fromkeys(question.criteria, Unscored(f"{type(error).__name__}: {error}"))


def _whole(answer: Answer, question: Question) -> bool:
    return all(isinstance(answer.given.get(name), Graded) for name in question.criteria)


def _first(errors: BaseExceptionGroup) -> BaseException:
    """One error of a group, ours where there is one: what follows from it is of no interest."""
    ours = errors.subgroup(LLMIError)
    found: BaseException = ours or errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found

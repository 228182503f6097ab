"""How an evaluation runs: judged while it is written, interrupted at any moment, gone on with, and nothing paid for twice."""

from __future__ import annotations

import asyncio
import io
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("pyarrow")

from llmi_env.document import Document
from llmi_env.errors import ConfigError, WorldError
from llmi_env.evaluate.benchmark import BenchmarkError, Item, Question
from llmi_env.evaluate.grading import Grader
from llmi_env.evaluate.kept import EvaluationFolder
from llmi_env.evaluate.running import Orders, Ran, evaluate, items_digest
from llmi_env.evaluate.sources.base import Done, Order, Source, Written
from llmi_env.judges.openai_judge import Graded
from llmi_env.world.protocol import Unscored
from tests.evaluate.making import Marker, Owls, Writer, config, items, rollout


def run(
    path: Path,
    writer: Any = None,
    graders: Mapping[str, Any] | None = None,
    *,
    count: int = 3,
    samples: int = 1,
    resume: bool = False,
    benchmark: Any = None,
    **changes: Any,
) -> Ran:
    folder = EvaluationFolder(path)
    graders = {"marker": Marker()} if graders is None else graders
    changes["judges"] = {name: dict(grader.identity) for name, grader in graders.items()}

    async def work() -> Ran:
        with folder.begin(config(**changes), resume=resume):
            return await evaluate(
                benchmark or Owls(), items(count), writer or Writer(), graders, folder, samples=samples
            )

    return asyncio.run(work())


def test_every_document_gets_every_answer_of_every_judge(tmp_path: Path) -> None:
    writer, first, second = Writer(), Marker(), Marker(version=2)
    assert isinstance(writer, Source)
    assert isinstance(first, Grader)
    ran = run(tmp_path, writer, {"a": first, "b": second}, samples=2)
    assert (ran.documents, ran.written, ran.answers, ran.answered, ran.unanswered) == (6, 6, 24, 24, 0)
    assert ran.complete
    assert writer.orders == [(f"owl-{n}", sample) for n in range(3) for sample in range(2)]
    found = EvaluationFolder(tmp_path).answers()
    assert found["a"] == found["b"]
    assert found["a"] == {
        (f"owl-{n}", sample): {"text/r1": 2, "text/r2": 2, "pictures/r3": 3} for n in range(3) for sample in range(2)
    }
    assert set(first.asked.values()) == {1}


def test_judging_begins_while_other_documents_are_written(tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Watching(Marker):
        async def grade(self, question: Question, document: Document, item: Item) -> Mapping[str, Any]:
            begun.set()
            return await super().grade(question, document, item)

    class Waiting(Writer):
        async def write(self, orders: Any, done: Done) -> None:
            await super().write(orders[:1], done)
            await asyncio.wait_for(begun.wait(), 30)
            await super().write(orders[1:], done)

    assert run(tmp_path, Waiting(), {"marker": Watching()}).complete


def test_a_judge_has_all_it_takes_and_as_much_again_ready(tmp_path: Path) -> None:
    class Counting(Marker):
        inside = most = 0
        full = asyncio.Event()

        async def grade(self, question: Question, document: Document, item: Item) -> Mapping[str, Any]:
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.inside == 6:
                self.full.set()
            await asyncio.wait_for(self.full.wait(), 30)  # of 16 questions, no other may come before one is answered
            await asyncio.sleep(0.02)
            self.inside -= 1
            return await super().grade(question, document, item)

    marker = Counting(concurrency=3)
    assert run(tmp_path, graders={"marker": marker}, count=8).complete
    assert marker.most == 6


def test_a_resume_writes_and_asks_nothing_twice(tmp_path: Path) -> None:
    run(tmp_path)
    writer, marker = Writer(), Marker()
    ran = run(tmp_path, writer, {"marker": marker}, resume=True)
    assert (writer.orders, marker.given) == ([], 0)
    assert (ran.documents, ran.written, ran.answers, ran.answered) == (3, 0, 6, 0)
    assert ran.complete


@pytest.mark.parametrize("moment", [0.05, 0.12, 0.2])
def test_interrupted_at_any_moment_it_goes_on(tmp_path: Path, moment: float) -> None:
    writer, marker = Writer(pause=0.02), Marker(pause=0.03, concurrency=2)
    folder = EvaluationFolder(tmp_path)

    async def interrupted() -> None:
        with folder.begin(config(), resume=False):
            work = asyncio.create_task(evaluate(Owls(), items(8), writer, {"marker": marker}, folder))
            await asyncio.sleep(moment)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

    asyncio.run(interrupted())
    there, lines = len(folder.costs()), len(folder.answers_of("marker").lines)
    assert there in (len(writer.orders) - 1, len(writer.orders))  # all that were finished
    assert lines == marker.given
    again, fresh = Writer(), Marker()
    ran = run(tmp_path, again, {"marker": fresh}, count=8, resume=True)
    assert ran.complete
    assert len(again.orders) == 8 - there
    assert fresh.given == 16 - lines


def test_ctrl_c_keeps_what_was_answered(tmp_path: Path) -> None:
    def stopping(question: Question, document: Document) -> None:
        if "owl-1" in document.text and question.name == "pictures":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, graders={"marker": Marker(concurrency=1, answer=stopping)})
    found = EvaluationFolder(tmp_path).answers()["marker"]
    assert {key: len(scores) for key, scores in found.items()} == {("owl-0", 0): 3, ("owl-1", 0): 3}
    assert run(tmp_path, resume=True).complete


def test_a_failed_answer_is_missing_with_its_reason_and_asked_again(tmp_path: Path) -> None:
    def failing(question: Question, document: Document) -> Any:
        if "owl-1" in document.text and question.name == "text":
            return {"r1": Graded(1, "", "m"), "r2": Unscored("HTTP 503")}
        if "owl-2" in document.text:
            raise ConnectionError("no route")
        return None

    ran = run(tmp_path, graders={"marker": Marker(answer=failing)})
    assert (ran.answered, ran.unanswered, ran.complete) == (3, 3, False)
    found = EvaluationFolder(tmp_path).answers()["marker"]
    assert found["owl-1", 0] == {"text/r1": 1, "text/r2": Unscored("HTTP 503"), "pictures/r3": 3}
    assert found["owl-2", 0]["text/r1"] == Unscored("ConnectionError: no route")
    marker = Marker()
    ran = run(tmp_path, graders={"marker": marker}, resume=True)
    assert (marker.given, ran.answered, ran.complete) == (3, 3, True)
    found = EvaluationFolder(tmp_path).answers()["marker"]
    assert found["owl-1", 0] == {"text/r1": 1, "text/r2": 2, "pictures/r3": 3}  # what had a score keeps it


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (7, "marker gave 7; a number from 0 to 2 was asked for"),
        (-1, "marker gave -1; a number"),
        (float("nan"), "marker gave nan; a number"),
        (True, "marker gave True; a number"),
        ("2", "marker gave '2'; a number"),
        (None, "marker gave None; a number"),
    ],
)
def test_what_is_no_score_of_the_scale_is_none(tmp_path: Path, given: Any, reason: str) -> None:
    def answer(question: Question, document: Document) -> Any:
        return dict.fromkeys(question.criteria, Graded(given, "", "m")) if question.name == "text" else None

    ran = run(tmp_path, graders={"marker": Marker(answer=answer)}, count=1)
    found = EvaluationFolder(tmp_path).answers()["marker"]["owl-0", 0]
    assert isinstance(found["text/r1"], Unscored)
    assert found["text/r1"].reason.startswith(reason)
    assert (found["pictures/r3"], ran.unanswered) == (3, 1)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("Fine!", "marker gave str, not an answer to each criterion"),
        ({"r1": Graded(1, "", "m")}, "marker gave nothing for this criterion"),
        ({"r1": Graded(1, "", "m"), "r2": 2}, "marker gave int, not a score for this criterion"),
    ],
)
def test_what_is_no_answer_is_none(tmp_path: Path, given: Any, reason: str) -> None:
    run(tmp_path, graders={"marker": Marker(answer=lambda question, document: given)}, count=1)
    assert EvaluationFolder(tmp_path).answers()["marker"]["owl-0", 0]["text/r2"] == Unscored(reason)


def test_a_document_that_does_not_come_is_missing_and_asked_for_again(tmp_path: Path) -> None:
    def fails(order: Order) -> str:
        return "HTTP 503" if order.item.id == "owl-1" else ""

    ran = run(tmp_path, Writer(fails=fails))
    assert ran.missing == {("owl-1", 0): "HTTP 503"}
    assert (ran.written, ran.answers, ran.complete) == (2, 4, False)
    folder = EvaluationFolder(tmp_path)
    assert folder.not_written() == {("owl-1", 0): "HTTP 503"}
    writer = Writer()
    assert run(tmp_path, writer, resume=True).complete
    assert writer.orders == [("owl-1", 0)]
    assert folder.not_written() == {}


def test_a_source_that_forgets_or_repeats_itself(tmp_path: Path) -> None:
    class Careless(Writer):
        async def write(self, orders: Any, done: Done) -> None:
            for text in ("first", "second"):
                done(orders[0], Written(rollout(orders[0], text), 1, 1, None, 0.0))

    ran = run(tmp_path, Careless())
    assert ran.missing == {(f"owl-{n}", 0): "writer gave no document" for n in (1, 2)}
    assert "first" in EvaluationFolder(tmp_path).document(0, 0)[1].document.text


def test_an_error_of_the_source_ends_it_and_keeps_what_there_is(tmp_path: Path) -> None:
    class Breaking(Writer):
        async def write(self, orders: Any, done: Done) -> None:
            await super().write(orders[:2], done)
            raise WorldError("the World is gone")

    with pytest.raises(WorldError, match="the World is gone"):
        run(tmp_path, Breaking())
    assert len(EvaluationFolder(tmp_path).costs()) == 2
    assert run(tmp_path, resume=True).written == 1


def test_an_error_of_the_set_up_ends_it(tmp_path: Path) -> None:
    def keyless(question: Question, document: Document) -> None:
        raise ConfigError("OPENAI_API_KEY is not set")

    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        run(tmp_path, graders={"marker": Marker(answer=keyless)})


def test_two_items_of_one_id_are_refused(tmp_path: Path) -> None:
    folder = EvaluationFolder(tmp_path)
    with (
        folder.begin(config(), resume=False),
        pytest.raises(BenchmarkError, match="the id 'owl-0' is that of two items"),
    ):
        asyncio.run(evaluate(Owls(), [*items(2), items(1)[0]], Writer(), {}, folder))


def test_another_question_of_the_same_name_is_asked(tmp_path: Path) -> None:
    class Reworded(Owls):
        def questions(self, item: Item, document: Document) -> Any:
            first, second = super().questions(item, document)
            return (
                [first, Question("pictures", {"r3": "The owl flies."}, 1, 3)] if item.id == "owl-1" else [first, second]
            )

    run(tmp_path)
    marker = Marker()
    run(tmp_path, graders={"marker": marker}, benchmark=Reworded(), resume=True)
    assert [name for _, name in marker.asked] == ["pictures"]


def test_a_document_that_was_put_in_its_place_is_judged_anew(tmp_path: Path) -> None:
    run(tmp_path)
    folder = EvaluationFolder(tmp_path)
    other = rollout(Order(items(1)[0], 0, 5), "Another owl")
    folder.add_document("owl-0", 0, 0, other, folder.costs()["owl-0", 0])
    marker = Marker()
    run(tmp_path, graders={"marker": marker}, resume=True)
    assert {text for text, _ in marker.asked} == {"Another owl owl-0, 0."}


def test_orders_depend_on_nothing_but_their_own_item() -> None:
    few, many = (Orders(items(count), [(at, n) for at in range(count) for n in range(2)], 7) for count in (2, 5))
    assert [order.seed for order in few] == [order.seed for order in many[:4]]
    assert len({order.seed for order in many}) == 10
    assert many.without({("owl-0", 1)}).keys == [("owl-0", 0), *many.keys[2:]]
    assert items_digest(items(2)) != items_digest(items(3))


def test_progress_has_a_bar_for_documents_and_one_for_answers(tmp_path: Path) -> None:
    shown = io.StringIO()
    folder = EvaluationFolder(tmp_path)

    async def work() -> None:
        with folder.begin(config(), resume=False):
            console = Console(file=shown, force_terminal=True, width=120)
            await evaluate(Owls(), items(3), Writer(0.05), {"marker": Marker()}, folder, console=console)

    asyncio.run(work())
    text = re.sub(r"\x1b\[[0-9;?]*\w", "", shown.getvalue())
    assert re.search(r"documents .* 3/3 ", text)
    assert re.search(r"answers .* 6/6 ", text)

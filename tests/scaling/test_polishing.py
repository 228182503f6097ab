"""The text written anew around the pictures, by going on from what stands before them; taken where judges prefer it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from llmi_env.document import Document, Text
from llmi_env.episode import StopReason
from llmi_env.policies.base import Row, Sampling, SeenPrompt, WriteStats
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.scaling import Budget, PolicyWriter
from llmi_env.scaling.writing import Rewritten, Room, Spent
from llmi_env.task import Task
from llmi_env.tokenizers import ByteTokenizer
from tests.scaling.kit import OWLS, WordJudge, call, drawn, scaled, world

OWL, MOON = call("search", "owl"), call("diffusion", "moon")
DRAFT = f"Owls. {OWL} The moon. {MOON} The end."


def around(prompt: Sequence[int], seed: int) -> str:
    """Goes on as befits what stands before: the draft at first, then each of its texts in better words."""
    said = bytes(prompt).decode().split("assistant", 1)[-1]
    if MOON in said:
        return " A good end. <imgen>"
    if OWL in said:
        return f" A good moon. {MOON} and more"
    return DRAFT if seed not in again else f"Good good owls. {OWL}"


again: set[int] = set()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    again.clear()
    from llmi_env.scaling import polishing

    derived = polishing.derived_seed

    def noted(*parts: object) -> int:
        seed = derived(*parts)  # type: ignore[arg-type]
        again.add(seed)
        return seed

    monkeypatch.setattr(polishing, "derived_seed", noted)


def test_texts_are_drawn_anew_and_figures_stay() -> None:
    found = scaled(around, stages="1,validate,polish=1")
    assert found.document.text == "Good good owls.  A good moon.  A good end. "
    assert found.document.figures == found.tried[0].document.figures
    assert found.document.to_source() == f"Good good owls. {OWL} A good moon. {MOON} A good end. "
    assert found.valid
    assert found.chosen.verdict.startswith("better")
    assert found.rollout.ledger.ids == [], "its tokens are no longer those of the draft"
    assert found.spent.documents == 2


def test_a_text_that_judges_do_not_prefer_is_kept_and_not_taken() -> None:
    def worse(prompt: Sequence[int], seed: int) -> str:
        return f"Good good owls. {OWL}" if seed not in again else "Owls. <imgen>"

    found = scaled(worse, stages="1,polish=2")
    assert found.number == 0
    assert [candidate.stage for candidate in found.tried] == ["sample", "polish", "polish"]
    assert all(candidate.verdict.startswith("not better") for candidate in found.tried[1:])


def test_where_the_judge_is_down_nothing_is_taken() -> None:
    found = scaled(around, world(WordJudge(fails=lambda document, before: True)), stages="1,polish=1")
    assert found.number == 0
    assert "no score to compare by" in found.tried[1].verdict


def test_rounds_end_when_one_brings_nothing() -> None:
    found = scaled(around, stages="1,polish=1,rounds=5")
    assert [candidate.parent for candidate in found.tried] == [None, 0, 1]


def test_what_is_enough_is_not_polished() -> None:
    found = scaled(f"good good good good {OWL}", stages="1,select,polish,enough=0.5")
    assert (len(found.tried), found.stopped) == (1, "polish: it is enough")


def test_documents_of_the_budget_are_rewritings_too() -> None:
    found = scaled(around, stages="1,polish=4", budget=Budget(documents=2))
    assert found.spent.documents == len(found.tried) == 2
    assert found.stopped == "polish: the documents are spent (2 of 2)"


def rewriting(script: object, document: Document, tokens: int = 500, seeds: Sequence[int] = (1,)) -> list[Rewritten]:
    async def run() -> list[Rewritten]:
        place = world()
        writer = PolicyWriter(
            script if not callable(script) and not isinstance(script, str) else ScriptedPolicy(script), place
        )  # type: ignore[arg-type]
        try:
            return await writer.rewrite(OWLS, document, seeds, Room(tokens, 0))
        finally:
            await place.aclose()

    return asyncio.run(run())


def document_of(text: str) -> Document:
    return scaled(text, stages="1").document


def test_tokens_of_a_rewriting_are_bounded() -> None:
    (found,) = rewriting("An owl in the night. ", document_of(f"Owls. {OWL}"), tokens=10)
    assert found.document is not None
    assert found.document.text == "An owl in "
    assert (found.spent.tokens, found.stop) == (10, StopReason.LENGTH)


def test_nothing_written_is_no_document() -> None:
    (found,) = rewriting("", document_of(f"Owls. {OWL}"))
    assert (found.document, found.why) == (None, "nothing was written")


def test_a_call_that_was_never_closed_ends_the_document_as_it_did() -> None:
    (found,) = rewriting("New. ", document_of("Owls. <imgen>{"))
    assert found.document is not None
    assert [type(block).__name__ for block in found.document] == ["Text", "Figure"]


def test_thoughts_and_half_tags_are_no_text() -> None:
    (found,) = rewriting("<think>let me see</think>Owls <b <imgen>", document_of("Old."))
    assert found.document == Document((Text("Owls <b "),))


class Seeing:
    """Sees pictures as one placeholder each, and writes which it was shown."""

    tokenizer = ByteTokenizer()

    def __init__(self) -> None:
        self.shown: list[list[str]] = []

    def see_prompt(self, messages: object, pictures: Sequence[object]) -> SeenPrompt:
        return SeenPrompt([1] * len(pictures), [(at, 1) for at in range(len(pictures))])

    def picture_ids(self, picture: object) -> Sequence[int]:
        return [2]

    async def write(self, rows: Sequence[Row], sampling: Sampling) -> WriteStats:
        for row in rows:
            self.shown.append([picture.provenance.title for picture in row.pictures])
            for token in [*self.tokenizer.encode("Seen. "), min(self.tokenizer.eos_ids)]:
                row.take(token, 0.0)
        return WriteStats()


def test_a_policy_that_sees_is_shown_the_pictures_before() -> None:
    task = Task("Two owls.", (drawn("input"),), id="see")
    policy = Seeing()
    document = document_of(f"Owls. {OWL} Grey. {call('edit', 'grey', img_index=0)}")

    async def run() -> list[Rewritten]:
        return await PolicyWriter(policy, world()).rewrite(task, document, [1], Room(100, 0))

    (found,) = asyncio.run(run())
    assert policy.shown == [["input"], ["input", "owl 0"], ["input", "owl 0", "grey of owl 0"]]
    assert found.document is not None
    assert found.document.text == "Seen. " * 3


def test_another_writer_may_polish() -> None:
    class Polisher:
        most = Room(100, 0)

        async def rewrite(self, task: Task, document: Document, seeds: Sequence[int], room: Room) -> list[Rewritten]:
            return [Rewritten(Document((Text("good good good"), *document.figures)), Spent(documents=1)) for _ in seeds]

    found = scaled(DRAFT, stages="1,polish=2", polisher=Polisher())
    assert found.document.text == "good good good"

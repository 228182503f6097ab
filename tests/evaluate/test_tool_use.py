"""Tool use in four parts: what each counts, what it leaves out, and how it stands to the figures beside it."""

from __future__ import annotations

import pytest

pytest.importorskip("scipy")

from llmi_env.document import Document, Failure
from llmi_env.evaluate.benchmark import Item
from llmi_env.evaluate.benchmarks.items import as_document
from llmi_env.evaluate.tool_use import (
    GIVEN,
    NO_SUCH_TOOL,
    UNREADABLE,
    ToolTally,
    ToolUse,
    added,
    summarise_tools,
    tally,
)
from llmi_env.rewards.tool_accuracy import tool_accuracy
from llmi_env.task import Task
from tests.evaluate.evaluations import NO_HIT, NO_TOOL, WORLD_DOWN
from tests.rewards.making import document, figure, picture

BAD_PARAMS = Failure("bad_params", "policy", "search takes exactly ['query']")
SEARCH = Task("Owls.", tools=("search",))


def use(*pairs: tuple[Task, Document], fit: float = 1.0) -> ToolUse:
    return summarise_tools([tally(task, written, fit) for task, written in pairs])


def counted(use: ToolUse, part: str, tool: str = "") -> tuple[int, int, int]:
    found = use.parts[part]  # type: ignore[index]
    share = found.tools[tool] if tool else found.total
    return share.met, share.of, share.left_out


@pytest.mark.parametrize(
    ("written", "chosen", "valid", "succeeded"),
    [
        (document("x", figure(outcome=picture())), (1, 1, 0), (1, 1, 0), (1, 1, 0)),
        (document("x", figure(outcome=NO_HIT)), (1, 1, 0), (1, 1, 0), (0, 1, 0)),
        (document("x", figure(outcome=WORLD_DOWN)), (1, 1, 0), (1, 1, 0), (0, 0, 1)),
        (document("x", figure(outcome=BAD_PARAMS)), (1, 1, 0), (0, 1, 0), (0, 0, 0)),
        (document("x", figure("code", outcome=picture())), (0, 1, 0), (1, 1, 0), (1, 1, 0)),
        (document("x", figure("paint", outcome=NO_TOOL)), (0, 1, 0), (0, 1, 0), (0, 0, 0)),
        (document("x", figure(outcome="malformed")), (0, 1, 0), (0, 1, 0), (0, 0, 0)),
        (document("no call at all"), (0, 1, 0), (0, 0, 0), (0, 0, 0)),
    ],
)
def test_each_bad_habit_shows_in_one_part(
    written: Document, chosen: tuple[int, ...], valid: tuple[int, ...], succeeded: tuple[int, ...]
) -> None:
    found = use((SEARCH, written))
    assert [counted(found, part) for part in ("chosen", "valid", "succeeded")] == [chosen, valid, succeeded]


def test_counts_stand_by_tool_and_strange_calls_apart() -> None:
    written = document(
        "x",
        figure("search", outcome=picture(1)),
        figure("search", outcome=NO_HIT),
        figure("code", outcome=picture(2)),
        figure("paint", outcome=NO_TOOL),
        figure("<script>", outcome=NO_TOOL),
        figure(outcome="malformed"),
    )
    found = use((Task("Owls.", tools=("search", "edit")), written))
    assert list(found.parts["valid"].tools) == ["code", "search", NO_SUCH_TOOL, UNREADABLE]
    assert counted(found, "valid") == (3, 6, 0)
    assert counted(found, "valid", NO_SUCH_TOOL) == (0, 2, 0)
    assert counted(found, "chosen", "edit") == (0, 1, 0)
    assert counted(found, "succeeded", "search") == (1, 2, 0)
    assert found.required["search"].value == 1.0
    assert found.required["edit"].value == 0.0


@pytest.mark.parametrize("fit", [0.74, 0.75, 1.0])
def test_pictures_fit_from_three_quarters_of_the_scale_on(fit: float) -> None:
    found = use((SEARCH, document("x", figure(outcome=picture(1)), figure("code", outcome=picture(2)))), fit=fit)
    assert counted(found, "fits") == (2 * (fit >= 0.75), 2, 0)


def test_a_judgment_that_failed_leaves_pictures_out_and_says_so() -> None:
    pictured = document("x", figure(outcome=picture()))
    tallies = [tally(SEARCH, pictured, 1.0), tally(SEARCH, pictured, "unscored"), tally(SEARCH, document("x"), 0.0)]
    found = summarise_tools(tallies)
    assert counted(found, "fits") == (1, 1, 1)
    nobody = summarise_tools([tally(SEARCH, pictured, "not asked")], judged=False)
    assert nobody.parts["fits"].total.value is None


def test_figures_beside_are_those_of_the_rewards() -> None:
    tasks = [Task(f"Owl {n}.", tools=(("search", "code")[n % 2],)) for n in range(12)]
    fates = [picture(1), NO_HIT, WORLD_DOWN, BAD_PARAMS]
    pairs = [
        (task, document("x", figure(task.tools[0], outcome=fates[n // 2 % 4]), figure("edit", outcome=fates[n % 3])))
        for n, task in enumerate(tasks)
    ]
    found, reference = use(*pairs), tool_accuracy(pairs)
    assert found.accuracy.value == pytest.approx(reference.accuracy)
    assert found.succeeded_of_well_formed.value == reference.succeeded_of_well_formed
    assert found.succeeded_of_all.value == reference.succeeded_of_all
    for name, counts in reference.tools.items():
        if counts.required:
            assert found.required[name].value == counts.accuracy
    assert found.accuracy.low is not None
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high  # type: ignore[operator]


def test_pictures_that_were_given_are_no_calls() -> None:
    given = as_document(["Look.", picture(1), picture(2)])
    found = use((Task("Owls."), given))
    assert counted(found, "valid") == (0, 0, 0)
    assert found.succeeded_of_well_formed.value is None
    assert counted(found, "fits", GIVEN) == (2, 2, 0)


def test_items_weigh_by_their_counts_and_documents_of_one_item_belong_together() -> None:
    good, bad = document("x", figure(outcome=picture())), document("x", figure(outcome=NO_HIT))
    items = [Item(Task(f"Owl {n}.", tools=("search",), id=f"{n}")) for n in range(8)]
    alike = [added([tally(item.task, good if n % 2 else bad, 1.0)] * 4) for n, item in enumerate(items)]
    right = (1, 2, 3, 2, 1, 3, 2, 2)
    apart = [
        added(tally(item.task, good if n < count else bad, 1.0) for n in range(4))
        for item, count in zip(items, right, strict=True)
    ]
    # Both have 16 of 32 calls right. Where an item's documents go the same way, there are eight observations and not thirty-two.
    wide, narrow = (summarise_tools(tallies).parts["succeeded"].total for tallies in (alike, apart))
    assert (wide.met, wide.of) == (narrow.met, narrow.of) == (16, 32)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low) > 0  # type: ignore[operator]


def test_nothing_written_has_no_shares() -> None:
    found = summarise_tools([{}, {}])
    assert found.accuracy.value is None
    assert all(part.total.value is None and part.total.of == 0 for part in found.parts.values())
    assert sum([ToolTally(), ToolTally(calls=2)], ToolTally()).calls == 2

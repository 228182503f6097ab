"""Other pictures for the figures of a document: where they come from, which one stays, and what hangs on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from llmi_env.document import Picture
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.scaling import Budget, Picker, Scaled
from llmi_env.task import Task
from tests.scaling.kit import Tool, WordJudge, call, down, drawn, hits, scaled, texts, world


def titles(found: Scaled) -> list[str | None]:
    return [figure.picture.provenance.title if figure.picture else None for figure in found.document.figures]


def enhanced(text: str, place: Any = None, plan: str = "1,enhance", **options: Any) -> Scaled:
    return scaled(text, place, stages=plan, **options)


def test_a_search_brings_its_next_hits_and_a_judge_picks() -> None:
    search = Tool("search", hits(9))
    place = world(WordJudge({"owl 2": 5.0, "owl 1": 4.0}), search=search)
    found = enhanced(f"An owl. {call('search', 'owl')}", place)
    assert titles(found) == ["owl 2"]
    assert [len(context.pictures) for _, context in search.calls] == [0, 1, 2, 3], "each is shown those that are there"
    assert found.spent.tool_calls == 4
    assert [(c.note, c.verdict[:6]) for c in found.tried[1:]] == [
        ("figure 0: hit 2", "better"),
        ("figure 0: hit 3", "better"),
        ("figure 0: hit 4", "not be"),
    ]


def test_a_picture_that_fits_best_stays() -> None:
    found = enhanced(f"An owl. {call('search', 'owl')}", world(WordJudge({"owl 0": 5.0})))
    assert (titles(found), found.number) == (["owl 0"], 0)


def test_a_search_that_has_no_more_hits_is_asked_no_further() -> None:
    search = Tool("search", hits(2))
    found = enhanced(f"An owl. {call('search', 'owl')}", world(search=search))
    assert len(search.calls) == 3
    assert [(lost.note, lost.why) for lost in found.lost] == [("figure 0: hit 3", "failed: empty: no other hit")]


def test_the_document_s_other_pictures_are_no_hits() -> None:
    search = Tool("search", hits(5))
    text = f"Owls. {call('search', 'owl')} Again. {call('search', 'owl')}"
    found = enhanced(text, world(WordJudge({"owl 1": 5.0, "owl 2": 4.0}), search=search), "1,enhance=2")
    assert [len(context.pictures) for _, context in search.calls] == [0, 0, 1, 2], "the same question is asked once"
    assert titles(found) == ["owl 1", "owl 2"]
    assert ("figure 1: hit 2", "the same picture again") in [(lost.note, lost.why) for lost in found.lost]


def test_diffusion_draws_from_other_seeds() -> None:
    diffusion = Tool("diffusion", lambda params, context: drawn(f"moon {len(diffusion.calls)}"))
    place = world(WordJudge({"moon 3": 5.0}), diffusion=diffusion)
    found = enhanced(f"The moon. {call('diffusion', 'moon')}", place)
    assert titles(found) == ["moon 3"]
    assert len({context.seed for _, context in diffusion.calls}) == 4


def test_a_tool_whose_seed_changes_nothing_is_tried_once() -> None:
    diffusion = Tool("diffusion", lambda params, context: drawn("moon"))
    found = enhanced(f"The moon. {call('diffusion', 'moon')}", world(diffusion=diffusion))
    assert len(diffusion.calls) == 2
    assert [lost.why for lost in found.lost] == ["the same picture again"]


def test_a_chart_that_came_is_left_alone() -> None:
    code = Tool("code", lambda params, context: drawn("chart"))
    enhanced(f"A chart. {call('code', 'plot')}", world(code=code))
    assert len(code.calls) == 1


def test_what_was_changed_further_is_changed_again() -> None:
    text = f"An owl. {call('search', 'owl')} Grey: {call('edit', 'grey', img_index=0)} Dark: {call('edit', 'dark', img_index=1)}"
    found = enhanced(text, world(WordJudge({"owl 1": 5.0})), "1,enhance=1")
    assert titles(found) == ["owl 1", "grey of owl 1", "dark of grey of owl 1"]
    assert found.tried[found.number].spent.tool_calls == 3


def test_code_is_mended_by_the_policy_with_the_error_message() -> None:
    seen: list[str] = []

    def script(prompt: Sequence[int], seed: int) -> str:
        said = bytes(prompt).decode()
        if "[picture 0 failed: raised: NameError" in said:
            seen.append(said)
            return call("code", "plot").removeprefix("<imgen>")
        return f"A chart. {call('code', 'bug')} That was it."

    found = enhanced("", policy=ScriptedPolicy(script), plan="1,validate,enhance=1")
    assert titles(found) == ["chart plot"]
    assert found.document.to_source() == f"A chart. {call('code', 'plot')} That was it."
    assert found.valid
    assert found.tried[0].faults == ("figure 0 (code) failed: raised",)
    assert len(seen) == 1
    assert seen[0].endswith("[picture 0 failed: raised: NameError: name 'bug' is not defined]\n<imgen>")


def test_a_call_that_cannot_be_read_is_mended_too() -> None:
    script = texts("An owl. <imgen>{broken</imgen> There.", call("search", "owl").removeprefix("<imgen>"))
    assert titles(enhanced("", policy=ScriptedPolicy(script), plan="1,enhance=1")) == ["owl 0"]


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("and so on", "the call was never closed"),
        ("{nonsense}</imgen>", "neither JSON"),
        (call("edit", "grey", img_index=3).removeprefix("<imgen>"), "there is no picture 3"),
        (call("code", "bug").removeprefix("<imgen>"), "failed: raised: NameError"),
    ],
)
def test_what_could_not_be_mended_is_kept_with_its_reason(written: str, why: str) -> None:
    script = texts(f"A chart. {call('code', 'bug')}", written)
    found = enhanced("", policy=ScriptedPolicy(script), plan="1,enhance=1")
    assert found.number == 0
    assert why in found.lost[0].why


def test_a_search_that_found_nothing_looks_for_its_description_first() -> None:
    empty = call("search", "nothing").replace('"description": "nothing"', '"description": "a barn owl"')
    found = enhanced(f"An owl. {empty}", plan="1,enhance=1")
    assert titles(found) == ["a barn owl 0"]
    assert found.spent.tokens == found.tried[0].spent.tokens, "the policy was not needed"


def test_what_the_world_failed_is_asked_for_once_more() -> None:
    def shaky(params: Any, context: Any) -> Picture:
        if len(search.calls) <= 3:  # the World tries three times by itself
            return down(params, context)
        return drawn("owl")

    search = Tool("search", shaky)
    place = world(search=search)
    place.config = place.config.model_copy(update={"retry_wait": 0.0})
    found = enhanced(f"An owl. {call('search', 'owl')}", place, "1,validate,enhance")
    assert found.tried[0].faults == ("figure 0 (search) failed: unavailable, through no fault of the document",)
    assert titles(found) == ["owl"]
    assert found.valid


def test_without_a_judge_a_document_is_mended_all_the_same() -> None:
    judge = WordJudge(fails=lambda document, before: True)
    script = texts(f"A chart. {call('code', 'bug')}", call("code", "plot").removeprefix("<imgen>"))
    found = enhanced("", world(judge), policy=ScriptedPolicy(script), plan="1,validate,enhance=1")
    assert titles(found) == ["chart plot"]
    assert found.value is None
    assert "no score to compare by" in found.chosen.verdict


def test_without_a_judge_a_picture_is_not_exchanged() -> None:
    judge = WordJudge(fails=lambda document, before: True)
    assert enhanced(f"An owl. {call('search', 'owl')}", world(judge)).number == 0


def test_a_picker_picks_without_a_judge() -> None:
    judge = WordJudge()
    asked: list[str] = []

    def rank(picture: Picture, words: str) -> float:
        asked.append(words)
        return {"owl 0": 0.5, "owl 1": 0.55, "owl 2": 0.9}[picture.provenance.title]

    text = f"An owl at night. {call('search', 'owl')} It hunts."
    found = enhanced(text, world(judge, search=Tool("search", hits(3))), "1,enhance=2", picker=Picker(rank, 0.1))
    assert titles(found) == ["owl 2"]
    assert set(asked) == {"owl An owl at night. It hunts."}
    assert [c.verdict for c in found.tried[1:]] == ["not picked: 0.550 against 0.500", "picked: 0.900 against 0.500"]
    assert len(judge.asked) == 1, "the chosen document alone, at the end"


def test_rounds_go_on_while_they_bring_a_gain() -> None:
    fits = {f"owl {number}": 3.0 + number / 10 for number in range(9)}
    place = world(WordJudge(fits), search=Tool("search", hits(9)))
    text = f"An owl. {call('search', 'owl')}"
    assert titles(enhanced(text, place, "1,enhance=2,rounds=1")) == ["owl 2"]
    more = enhanced(text, world(WordJudge(fits), search=Tool("search", hits(9))), "1,enhance=2,rounds=3")
    assert titles(more) == ["owl 6"]
    assert [c.note for c in more.tried[1:]] == [f"figure 0: hit {number}" for number in range(2, 8)]


def test_figures_share_out_what_is_left_in_their_order() -> None:
    text = f"Owls. {call('search', 'owl')} Moon. {call('diffusion', 'moon')}"
    search, diffusion = Tool("search", hits(9)), Tool("diffusion", lambda params, context: drawn(f"m{context.seed}"))
    found = enhanced(text, world(search=search, diffusion=diffusion), budget=Budget(tool_calls=6))
    assert (len(search.calls), len(diffusion.calls)) == (4, 2)
    assert found.spent.tool_calls == 6
    assert found.stages[-1].stopped == "the tool calls are spent"


def test_input_pictures_are_edited_from_other_seeds() -> None:
    task = Task("Make it grey.", (drawn("input"),), 1, ("edit",), "grey")
    edit = Tool("edit", lambda params, context: drawn(f"{context.pictures[0].provenance.title} {context.seed}"))
    found = enhanced(f"Here. {call('edit', 'grey', img_index=0)}", world(edit=edit), task=task)
    assert len(edit.calls) == 4
    assert all(context.pictures[0].provenance.title == "input" for _, context in edit.calls)
    assert len(found.tried) == 4


def test_the_offline_search_has_further_hits() -> None:
    """The shipped tool skips the pictures that it is shown, so that scaling gets the next ones."""
    import asyncio

    from llmi_env.errors import NothingFound
    from llmi_env.tools.base import ToolContext
    from llmi_env.tools.search import SearchTool, _provenance

    async def run() -> list[str]:
        tool, seen = SearchTool(semantic=False, user=False), list[Picture]()
        for _ in range(2):
            seen.append(await tool({"query": "owl"}, ToolContext(pictures=tuple(seen))))
        every = tuple(Picture(hit.corpus.open(hit.entry), _provenance(hit.entry)) for hit in tool.hits("owl", 99))
        with pytest.raises(NothingFound, match="no other picture"):
            await tool({"query": "owl"}, ToolContext(pictures=every))
        await tool.aclose()
        return [picture.provenance.title + picture.provenance.caption for picture in seen]

    found = asyncio.run(run())
    assert len(set(found)) == 2

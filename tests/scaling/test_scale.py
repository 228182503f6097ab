"""The stages together: what is chosen, what is kept, what is spent, and why it stops."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from llmi_env.document import Document
from llmi_env.errors import ConfigError, WorldError
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.rollout import rollout_seed
from llmi_env.scaling import Budget, NothingWritten, Plan, load_scaled, save_scaled, scale
from llmi_env.scaling.writing import Done, Room
from llmi_env.task import Task
from tests.scaling.kit import OWLS, REWARD, Tool, WordJudge, call, drawn, scaled, texts, world

OWL = f"Owls are good. {call('search', 'owl')}"
BROKEN = "Owls. <imgen>{</imgen>"
CHOOSE = Plan(3, ("validate", "select"))


def test_the_best_valid_document_is_chosen() -> None:
    judge = WordJudge()
    found = scaled(texts("Owls.", "good good good <imgen>{</imgen>", "good good owls."), world(judge), stages=CHOOSE)
    assert found.number == 2
    assert found.document.text == "good good owls."
    assert found.value == pytest.approx(0.6 * 2 / 4)
    assert [candidate.valid for candidate in found.tried] == [True, False, True]
    assert [candidate.verdict[:6] for candidate in found.tried] == ["not ch", "not va", "chosen"]
    assert len(judge.asked) == 2, "what is not valid is not judged"
    assert found.spent.judge_calls == 2
    assert found.reasons == ()


def test_each_stage_can_be_left_out() -> None:
    script = texts(BROKEN, "good owls.", "good good owls.")
    assert scaled(script, stages=Plan(3, ())).number == 0
    assert scaled(script, stages=Plan(3, ("validate",))).number == 1
    assert scaled(script, stages=Plan(3, ("select",))).number == 2
    assert [report.stage for report in scaled(script, stages="3,validate,polish").stages] == [
        "sample",
        "validate",
        "polish",
    ]


def test_without_a_valid_document_the_best_of_what_there_is_is_taken_and_said() -> None:
    found = scaled(texts(BROKEN, f"good {BROKEN}"), stages=Plan(2, ("validate", "select")))
    assert found.number == 1
    assert not found.valid
    assert found.reasons == ("none of 2 documents is valid: the best of what there is was taken",)


def test_counts_that_do_not_fit_are_no_valid_document() -> None:
    task = Task("Two owls.", id="two", image_count=2)
    one, two = f"Owl. {call('search', 'owl')}", f"Owls. {call('search', 'owl')} and {call('search', 'barn owl')}"
    found = scaled(texts(one, two), task=task, stages=Plan(2, ("validate",)))
    assert found.number == 1
    assert found.tried[0].faults == ("1 pictures where 2 are wanted",)


def test_a_judge_that_is_down_is_no_low_score() -> None:
    judge = WordJudge(fails=lambda document, before: "good" in document.text)
    found = scaled(texts("good good owls.", "Owls."), world(judge), stages=Plan(2, ("select",)))
    assert found.tried[0].value is None
    assert found.number == 1
    assert found.reasons == (
        "1 of 2 documents have no score: text_quality: the judge is down; text_image_relevance: the judge is down",
    )


def test_a_judge_that_failed_is_asked_once_more() -> None:
    judge = WordJudge(fails=lambda document, before: before == 0)
    found = scaled(texts("good good owls.", "Owls."), world(judge), stages=Plan(2, ("select",)))
    assert found.number == 0
    assert found.value is not None
    assert len(judge.asked) == found.spent.judge_calls == 4


def test_without_any_score_the_first_valid_document_is_taken() -> None:
    judge = WordJudge(fails=lambda document, before: True)
    found = scaled(texts(BROKEN, "Owls.", "good owls."), world(judge), stages=CHOOSE)
    assert found.number == 1
    assert found.value is None
    assert "2 of 2 documents have no score" in found.reasons[0]


def test_equal_documents_are_judged_once() -> None:
    judge = WordJudge()
    found = scaled("good owls.", world(judge), stages=Plan(5, ("validate", "select")))
    assert len(judge.asked) == 1
    assert {candidate.value for candidate in found.tried} == {found.value}


def test_judges_do_not_see_which_tools_a_task_needs() -> None:
    judge = WordJudge()
    found = scaled(OWL, world(judge), stages="1,select")
    assert [task.tools for task in judge.tasks] == [()]
    assert found.rollout.task == OWLS
    scaled(OWL, world(judge), stages="1,select,tools_told=true")
    assert judge.tasks[-1].tools == ("search",)


def test_the_first_document_is_what_would_have_been_written_alone() -> None:
    one, many = scaled(OWL, stages="1"), scaled(OWL, stages="3,validate")
    assert one.tried[0].rollout.seed == many.tried[0].rollout.seed == rollout_seed(0, OWLS, 0)
    assert one.tried[0].rollout.ledger == many.tried[0].rollout.ledger


def test_a_stage_more_leaves_the_ones_before_as_they_were() -> None:
    script = f"Owls are good. {call('search', 'owl')} They hunt. {call('diffusion', 'moon')}"
    short, long = scaled(script, stages="3,validate,select"), scaled(script, stages="3")
    assert long.at("select") == short.chosen
    spent = {report.stage: report.spent for report in long.stages}
    assert spent["select"] == {report.stage: report.spent for report in short.stages}["select"]


# -------------------------------------------------------------------------------------------------------------------- budget


def test_documents_are_bounded() -> None:
    found = scaled(OWL, stages="6,validate,select", budget=Budget(documents=4))
    assert len(found.tried) == found.spent.documents == 4
    assert found.stopped == "sample: the documents are spent (4 of 4)"


def test_tool_calls_are_bounded_and_shared_out() -> None:
    two = f"Owls. {call('search', 'owl')} and {call('search', 'barn owl')} and {call('search', 'tawny owl')}"
    tool = Tool("search", lambda params, context: drawn(params["query"]))
    found = scaled(two, world(search=tool), stages="8", budget=Budget(tool_calls=5))
    assert len(tool.calls) == found.spent.tool_calls <= 5
    assert found.spent.documents < 8
    assert "tool calls are spent" in found.stopped


@pytest.mark.parametrize(
    "budget", [Budget(tool_calls=0), Budget(tokens=30), Budget(documents=1, judge_calls=0, tool_calls=1)]
)
def test_a_document_there_is_however_small_the_budget(budget: Budget) -> None:
    found = scaled(OWL, stages="4", budget=budget)
    spent = found.spent
    assert [candidate.stage for candidate in found.tried].count("sample") == 1
    for kind, bound in budget.to_json().items():
        assert bound is None or getattr(spent, kind) <= bound, kind
    assert found.stopped


def test_judge_calls_are_bounded_and_what_is_judged_is_chosen_from() -> None:
    judge = WordJudge()
    found = scaled(
        texts("Owls.", "good owls.", "good good owls."), world(judge), stages=CHOOSE, budget=Budget(judge_calls=2)
    )
    assert len(judge.asked) == found.spent.judge_calls == 2
    assert found.number == 1
    assert found.stopped == "select: the judge calls are spent (2 of 2)"
    assert found.reasons == ("1 of 3 documents have no score: not judged",)


def test_tokens_are_bounded() -> None:
    found = scaled(OWL, stages="8", budget=Budget(tokens=700), max_tokens=200)
    assert found.spent.tokens <= 700
    assert found.spent.documents < 10


def test_seconds_give_up_what_is_under_way_but_not_the_first_document() -> None:
    class Slow(ScriptedPolicy):
        """Writes its first row at once and the others never."""

        async def _write(self, row):  # type: ignore[no-untyped-def]
            if row.seed != rollout_seed(0, OWLS, 1):
                await asyncio.sleep(0.3 if row.seed == rollout_seed(0, OWLS, 0) else 60)
            return await super()._write(row)

    found = scaled("", policy=Slow("good owls."), stages="3", budget=Budget(seconds=0.1))
    assert [candidate.note for candidate in found.tried] == ["sample 1"]
    assert [(lost.note, lost.why) for lost in found.lost] == [
        ("sample 0", "the time was over"),
        ("sample 2", "the time was over"),
    ]
    assert found.stopped.startswith("sample: the 0.1 seconds are over")
    none = scaled("", policy=Slow("good owls."), stages="1", budget=Budget(seconds=0.1))
    assert none.document.text == "good owls."


def test_waves_stop_when_one_brings_no_gain() -> None:
    script = texts("Owls.", "good owls.", "good good owls.", "Owls owls.", "good good good good good")
    found = scaled(script, stages="9,validate,select,wave=1")
    assert len(found.tried) == 4
    assert found.stopped == "sample: another wave brought no gain"
    assert found.document.text == "good good owls."


def test_waves_stop_at_what_is_enough() -> None:
    script = texts("Owls.", "good good good owls.", "good good good good good")
    found = scaled(script, stages="9,select,wave=1,enough=0.4")
    assert len(found.tried) == 2
    assert found.stopped == "sample: it is enough"


# -------------------------------------------------------------------------------------------------------------------- faults


def test_a_world_that_is_gone_is_told_while_writing_and_survived_later() -> None:
    gone = world()

    async def run(call: object, pictures: object = (), *, seed: int = 0) -> None:
        raise WorldError("gone")

    gone.run = run  # type: ignore[method-assign, assignment]
    with pytest.raises(WorldError, match="gone"):
        scaled(OWL, gone, stages="2")

    later = world()

    async def judge(document: Document, task: Task) -> None:
        raise WorldError("gone")

    later.judge = judge  # type: ignore[method-assign, assignment]
    found = scaled(OWL, later, stages="2")
    assert found.document.pictures
    assert "the World cannot be reached: gone" in found.reasons[0]


class Refusing:
    """A writer that has nothing to give."""

    most = Room(100, 2)

    async def write(self, task: Task, seeds: list[int], room: Room, done: Done) -> None:
        from llmi_env.scaling import Spent

        for place in range(len(seeds)):
            done(place, "the endpoint is down", Spent(prompt_tokens=7))


def test_no_document_at_all_is_an_error_with_its_reason() -> None:
    with pytest.raises(NothingWritten, match="the endpoint is down") as caught:
        scaled("", policy=Refusing(), stages="3")
    assert caught.value.spent.prompt_tokens == 21


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seeds": [1, 1]}, "2 documents need as many seeds that differ"),
        ({"stages": "2,select=judge", "reward": "rules"}, "no term that a judge scores"),
    ],
)
def test_what_cannot_be_done_is_told(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        scaled(OWL, **{"stages": "2", **options})


# ------------------------------------------------------------------------------------------------------------------- results


def _everything() -> str:
    return (
        f"Owls are good. {call('search', 'owl')} A chart: {call('code', 'bug')} The moon: {call('diffusion', 'moon')} "
        f"{call('edit', 'grey', img_index=0)} the end."
    )


def test_the_same_seed_gives_the_same_result() -> None:
    first, second = (scaled(_everything(), stages="3,rounds=2", seed=5) for _ in range(2))
    assert first == second
    other = scaled(_everything(), stages="3,rounds=2", seed=6)
    assert [c.rollout.seed for c in other.tried] != [c.rollout.seed for c in first.tried]


def test_everything_tried_is_kept_and_read_again(tmp_path: Path) -> None:
    found = scaled(_everything(), stages="3")
    assert {candidate.stage for candidate in found.tried} == {"sample", "enhance", "polish"}
    assert found.lost
    save_scaled(tmp_path, "owls-1", found)
    again = load_scaled(tmp_path, "owls-1")
    assert again.rollout == found.rollout
    assert again == replace(found, tried=tuple(replace(c, rollout=replace(c.rollout, task=OWLS)) for c in found.tried))


def test_many_tasks_share_one_policy() -> None:
    async def run() -> list[str]:
        from llmi_env.scaling import PolicyWriter

        place = world()
        writer = PolicyWriter(ScriptedPolicy(texts("Owls.", "good owls.")), place, max_tokens=500)
        found = await asyncio.gather(
            *(
                scale(Task(f"Task {n}."), policy=writer, world=place, reward=REWARD, stages="2,select", seed=n)
                for n in range(4)
            )
        )
        await place.aclose()
        return [scaled.document.text for scaled in found]

    assert len(asyncio.run(run())) == 4

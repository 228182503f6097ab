"""The measurement of scaling: its judge, and its page made of a small work folder."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks import scaling as bench
from benchmarks.reference_judge import ReferenceJudge, text_value
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.rewards.statistics import Difference
from llmi_env.scaling import save_scaled, scale
from llmi_env.task import Task
from llmi_env.world.protocol import Scored
from tests.rewards.making import document, figure, picture
from tests.scaling.kit import REWARD, call, texts, world

TASK = Task("Show a barn owl.", id="owl")
KNOWN = {
    "subject": "barn-owl",
    "reference": [{"tool": "search", "description": "a barn owl", "params": {"query": "barn owl"}}],
}
TEXT = (
    "The barn owl hunts at night over fields and meadows, hears mice under snow, and nests in old barns, towers and hollow trees, where it "
    "sleeps all day. "
)


def scores(*blocks: object) -> dict[str, float]:
    judged = asyncio.run(ReferenceJudge({TASK.key: KNOWN})(document(*blocks), TASK))  # type: ignore[arg-type]
    found = {}
    for term, judgment in judged.items():
        assert isinstance(judgment, Scored)
        found[term] = judgment.score
    return found


def test_the_reference_itself_scores_best() -> None:
    right = scores(TEXT, figure("search", picture(caption="a barn owl", side=256), "a barn owl"))
    wrong_tool = scores(TEXT, figure("diffusion", picture(caption="a barn owl", side=256), "a barn owl"))
    wrong_picture = scores(TEXT, figure("search", picture(caption="a red bus", side=256), "a barn owl"))
    failed = scores(TEXT, figure("search", "empty", "a barn owl"))
    assert right["call_quality"] == right["task_relevance"] == right["image_quality"] == 5
    assert wrong_tool["call_quality"] == wrong_tool["task_relevance"] == 1
    assert wrong_picture["task_relevance"] == wrong_picture["text_image_relevance"] == 1
    assert failed["image_quality"] == failed["task_relevance"] == 1


def test_a_text_names_its_subject_and_does_not_repeat_itself() -> None:
    assert text_value(TEXT, "barn-owl") == pytest.approx(1.0)
    assert text_value("A bus stops here. " * 10, "barn-owl") < 0.2
    assert text_value("", "barn-owl") == 0


def test_what_is_not_known_has_no_score() -> None:
    judged = asyncio.run(ReferenceJudge({})(document("Owls."), TASK))
    assert not any(isinstance(judgment, Scored) for judgment in judged.values())


@pytest.mark.parametrize(
    ("reward", "tools", "said"),
    [
        (Difference(0.1, 0.05, 0.15, 9), None, "earns its place"),
        (Difference(0.1, -0.05, 0.15, 9), Difference(0.0, 0.0, 0.0, 9), "does not earn"),
        (Difference(0.1, 0.05, 0.15, 9), Difference(-0.1, -0.2, -0.05, 9), "does harm"),
    ],
)
def test_a_step_earns_its_place_only_if_nothing_gets_worse(
    reward: Difference, tools: Difference | None, said: str
) -> None:
    assert said in bench.verdict(reward, tools)


def test_the_page_is_made_of_what_is_kept_and_notes_stay(tmp_path: Path) -> None:
    settings = bench.Settings("scripted", 3, (1, 2), (2,), 0, 100, 0.7, 1, 1)
    work, out = tmp_path / "work", tmp_path / "out"

    async def fill() -> None:
        place = world()
        for number, task in enumerate(bench.chosen_tasks(3)[1]):
            script = texts("Text.", f"good text {number}. {call('search', task.question[:20])}")
            for samples in settings.samples if number < 2 else (1,):
                found = await scale(
                    task,
                    policy=ScriptedPolicy(script),
                    world=place,
                    reward=REWARD,
                    stages=settings.plan(samples),
                    max_tokens=999,
                )
                save_scaled(work, bench.name_of(task, samples), found)
        await place.aclose()

    asyncio.run(fill())
    out.mkdir()
    (out / "scaling.md").write_text("old\n\n## Notes\n\nBy hand.\n")
    page = asyncio.run(bench.report(settings, work, None, out)).read_text()
    assert page.startswith("# What is test-time scaling worth?\n\n2 held-out tasks")
    assert page.endswith("## Notes\n\nBy hand.\n")
    assert page.count("\n| 1 | ") == 3
    assert page.count("\n| 2 | ") == 5
    assert "2 documents in place of 1" in page
    assert "polish after enhance" in page
    assert (out / "scaling.png").stat().st_size > 10_000

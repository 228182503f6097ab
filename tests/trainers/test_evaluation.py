"""Comparisons and the choice of tasks."""

from __future__ import annotations

from collections import Counter

import pytest
from PIL import Image

from llmi_env.calls import Call
from llmi_env.comparison import Evaluation, compare
from llmi_env.document import Document, Failure, Figure, Outcome, Picture, Provenance
from llmi_env.episode import StopReason
from llmi_env.rewards.report import RewardReport
from llmi_env.rollout import Rollout
from llmi_env.task import Task
from llmi_env.transcript import Ledger
from trainers.evaluation import by_turns, interleaved, pick, summary
from trainers.writing import tasks_from

PICTURE = Picture(Image.new("RGB", (4, 4)), Provenance("test"))
PARAMS = {"search": {"query": "owl"}, "code": {"code": "plt.plot([1])"}}


def rollout(group: int, tool: str, outcome: Outcome | None, reward: float | None) -> Rollout:
    call = Call(tool, "", PARAMS[tool])
    figures = () if outcome is None else (Figure(call.to_json(), call, outcome),)
    task = Task(f"Question {group}.", tools=(tool,), id=str(group))
    return Rollout(task, 0, group, Ledger(), Document(figures), StopReason.END, RewardReport(reward, {}))


FAILED = Failure.of("search", "empty", "nothing found")
DOWN = Failure.of("search", "unavailable", "down")


def evaluation(*rows: tuple[int, str, Outcome | None, float | None]) -> Evaluation:
    return Evaluation(tuple(rollout(*row) for row in rows))


def test_tasks_have_equal_weight_and_the_unscored_none() -> None:
    side = evaluation(
        (0, "search", PICTURE, 1.0), (0, "search", PICTURE, 0.5), (1, "code", None, None), (2, "code", None, 0.25)
    )
    assert side.rewards == [0.75, None, 0.25]
    assert side.reward == 0.5
    assert side.tools.accuracy == (1.0 + 0.0) / 2


def test_what_is_better_on_every_task_is_distinguishable() -> None:
    before = evaluation(*[(n, "search" if n % 2 else "code", None, 0.1) for n in range(8)])
    after = evaluation(*[(n, "search" if n % 2 else "code", PICTURE, 0.6) for n in range(8)])
    result = compare(before, after)
    assert result.reward is not None
    assert result.tool_accuracy is not None
    assert result.reward.mean == pytest.approx(0.5)
    assert result.tool_accuracy.mean == 1
    assert result.reward.distinguishable
    assert result.tool_accuracy.distinguishable
    assert result.rewards == (pytest.approx(0.1), pytest.approx(0.6))


def test_what_is_the_same_is_not() -> None:
    side = evaluation(*[(n, "search", PICTURE if n % 2 else FAILED, n / 10) for n in range(8)])
    result = compare(side, side)
    assert result.tool_accuracy is not None
    assert "not yet distinguishable" in str(result.tool_accuracy)
    assert (result.tool_accuracy.low, result.tool_accuracy.high) == (0, 0)


def test_documents_of_one_task_are_no_independent_evidence() -> None:
    one = (
        [(n, "search", None, 0.0) for n in range(4)],
        [(n, "search", PICTURE if n < 2 else None, 0.0) for n in range(4)],
    )
    many = [[row for row in side for _ in range(10)] for side in one]
    few, lots = compare(evaluation(*one[0]), evaluation(*one[1])), compare(evaluation(*many[0]), evaluation(*many[1]))
    assert few.tool_accuracy == lots.tool_accuracy


def test_the_worlds_faults_are_left_out() -> None:
    side = evaluation((0, "search", PICTURE, 1.0), (1, "search", DOWN, 1.0))
    assert side.tools.accuracy == 1


def test_nothing_to_compare() -> None:
    result = compare(evaluation((0, "search", PICTURE, None)), evaluation((0, "search", PICTURE, 1.0)))
    assert result.reward is None
    assert result.rewards == (None, None)


def tasks() -> list[Task]:
    kinds: list[tuple[str, ...]] = [("search",)] * 12 + [("code",)] * 6 + [("diffusion", "edit")] * 3 + [()] * 3
    return [Task(f"Question {n}.", tools=kind, id=str(n)) for n, kind in enumerate(kinds)]


def test_any_stretch_has_the_mixture_of_the_whole() -> None:
    order = interleaved(tasks(), seed=3)
    assert sorted(task.id or "" for task in order) == sorted(task.id or "" for task in tasks())
    for start in (0, 8, 16):
        assert Counter(task.tools for task in order[start : start + 8])[("search",)] in (3, 4, 5)
    assert interleaved(tasks(), seed=3) == order != interleaved(tasks(), seed=4)


def test_every_need_is_picked_about_equally_often() -> None:
    chosen = pick(tasks(), 8, seed=0)
    needs = Counter(tool for task in chosen for tool in task.tools or ("",))
    assert needs.keys() == {"search", "code", "diffusion", "edit", ""}
    assert max(needs.values()) - min(needs.values()) <= 1
    assert pick(tasks(), 8, seed=0) == chosen
    assert len(pick(tasks(), 100, seed=0)) == 24


def test_figures_of_nothing_are_none() -> None:
    figures = summary([rollout(0, "search", None, None)])
    assert figures["reward"] is None
    assert figures["parsed"] is None
    assert figures["tool_accuracy_by_tool"] == {"search": 0.0}


def test_a_summary_tells_what_tools_took_where_it_is_asked_to() -> None:
    slow = Picture(PICTURE.image, PICTURE.provenance, 2.5, queued=0.5)
    rollouts = evaluation((0, "search", slow, 1.0), (1, "search", FAILED, 1.0), (2, "code", DOWN, None)).rollouts
    plain, timed = summary(rollouts), summary(rollouts, tool_times=True)
    assert {key: timed[key] for key in timed.keys() - plain.keys()} == {
        "tool/code/calls": 1,
        "tool/code/failed/unavailable": 1,
        "tool/search/calls": 2,
        "tool/search/failed/empty": 1,
        "tool/search/p50_s": 2.5,
        "tool/search/p90_s": 2.5,
        "tool/search/p99_s": 2.5,
        "tool/search/queue_p50_s": 0.5,
        "tool/search/queue_p90_s": 0.5,
        "tool/search/queue_p99_s": 0.5,
    }


def needing(*counts: tuple[tuple[str, ...], int]) -> list[Task]:
    return [Task(f"{tools} {n}.", tools=tools, id=f"{tools} {n}") for tools, count in counts for n in range(count)]


def test_an_even_mix_has_every_kind_as_often_and_no_task_before_its_time() -> None:
    tasks = needing((("search",), 30), (("code", "search"), 6), ((), 3))
    line = by_turns(tasks, 7, range(36))
    for start in range(0, 36, 3):
        assert {task.tools for task in line[start : start + 3]} == {("search",), ("code", "search"), ()}
    for tools, count in ((("search",), 12), (("code", "search"), 6), ((), 3)):
        mine = [task.id for task in line if task.tools == tools]
        assert all(len(set(mine[start : start + count])) == count for start in range(0, len(mine), count))
    assert line == [*by_turns(tasks, 7, range(5)), *by_turns(tasks, 7, range(5, 36))]
    assert line != by_turns(tasks, 8, range(36))


def test_the_mix_that_a_step_takes() -> None:
    tasks = needing((("search",), 30), (("code", "search"), 6))
    as_they_are = Counter(task.tools for task in tasks_from(tasks, 0, 0, 12))
    assert as_they_are == {("search",): 10, ("code", "search"): 2}
    even = tasks_from(tasks, 0, 4, 12, "even")
    assert Counter(task.tools for task in even) == {("search",): 6, ("code", "search"): 6}
    assert even == [*tasks_from(tasks, 0, 4, 5, "even"), *tasks_from(tasks, 0, 9, 7, "even")]

from __future__ import annotations

import json

import pytest

from llmi_env.errors import ConfigError
from llmi_env.rewards import bootstrap_interval, paired_bootstrap, tool_accuracy, tool_accuracy_difference
from llmi_env.task import Task
from tests.rewards.making import document, figure, picture

SEARCH = Task("owls", tools=("search",))
BOTH = Task("owls and numbers", tools=("search", "code"))


def test_missing_calls_count_and_tools_weigh_the_same() -> None:
    result = tool_accuracy(
        [
            (SEARCH, document("a", figure("search", picture()))),
            (SEARCH, document("a")),
            (SEARCH, document("a", figure("code", picture()))),
            (BOTH, document("a", figure("search", picture()), figure("code", "raised"))),
            (BOTH, document("a", figure("search", "empty"), figure("search", picture()), figure("code", picture()))),
        ]
    )
    assert result.tools["search"].accuracy == 3 / 5
    assert result.tools["code"].accuracy == 1 / 2
    assert result.accuracy == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert (result.tools["search"].missing, result.tools["code"].failed, result.tools["code"].calls) == (2, 1, 3)
    json.dumps(result.to_json())


def test_the_worlds_faults_are_left_out() -> None:
    result = tool_accuracy(
        [
            (SEARCH, document("a", figure("search", "unavailable"))),
            (SEARCH, document("a", figure("search", "timeout"), figure("search", picture()))),
            (SEARCH, document("a", figure("search", "bad_params"))),
        ]
    )
    assert (result.tools["search"].left_out, result.tools["search"].missing) == (1, 1)
    assert result.accuracy == 0.5


def test_the_papers_two_definitions() -> None:
    result = tool_accuracy(
        [(SEARCH, document(figure("search", picture()), figure("code", "raised"), figure(outcome="malformed")))]
    )
    assert result.succeeded_of_well_formed == 1 / 2
    assert result.succeeded_of_all == 1 / 3


def test_nothing_required_is_no_accuracy() -> None:
    result = tool_accuracy([(Task("owls"), document("a"))])
    assert (result.accuracy, result.succeeded_of_all, result.documents) == (None, None, 1)


def test_difference_is_paired_and_repeatable() -> None:
    good, bad = document("a", figure("search", picture())), document("a")
    tasks = [Task(f"owls {i}", tools=("search",)) for i in range(16)]
    before = [(task, good if i % 4 == 0 else bad) for i, task in enumerate(tasks)]
    after = [(task, good if i % 4 != 3 else bad) for i, task in enumerate(tasks)]
    difference = tool_accuracy_difference(before, after, seed=3)
    assert difference.mean == 0.5
    assert difference.distinguishable
    assert difference == tool_accuracy_difference(before, after, seed=3)
    same = tool_accuracy_difference(before, before)
    assert (same.mean, same.low, same.high, same.distinguishable) == (0, 0, 0, False)
    with pytest.raises(ConfigError, match="same tasks"):
        tool_accuracy_difference(before, after[::-1])
    with pytest.raises(ConfigError, match="none of the tasks"):
        tool_accuracy_difference([(Task("a"), bad)], [(Task("a"), bad)])


def test_documents_of_one_task_are_drawn_together() -> None:
    good, bad = document("a", figure("search", picture())), document("a")
    tasks = [Task(f"owls {i}", tools=("search",)) for i in range(8)]
    once = [(task, good if i % 2 else bad) for i, task in enumerate(tasks)]
    start = [(task, bad) for task in tasks]
    one, four = tool_accuracy_difference(start, once), tool_accuracy_difference(start * 4, once * 4)
    assert four == one  # the same tasks written four times alike tell no more than once


def test_paired_bootstrap() -> None:
    up = paired_bootstrap([0.1, 0.4, 0.2, None] * 5, [0.3, 0.5, 0.5, 0.9] * 5, seed=1)
    assert up.mean == pytest.approx(0.2)
    assert 0 < up.low < 0.2 < up.high < 0.3
    assert up.pairs == 15
    assert up.distinguishable
    noise = paired_bootstrap([0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0])
    assert not noise.distinguishable
    assert "not yet distinguishable" in str(noise)
    for before, after in (([], []), ([1.0], [None]), ([1.0], [1.0, 2.0]), ([float("nan")], [1.0])):
        with pytest.raises(ConfigError):
            paired_bootstrap(before, after)
    with pytest.raises(ConfigError):
        bootstrap_interval(lambda weights: weights.sum(1), 0, 0)

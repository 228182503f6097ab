from __future__ import annotations

import numpy as np
import pytest

from llmi_env import Task, load_tasks
from llmi_env.errors import ConfigError
from llmi_env.task_order import GroupOrder, Stream, TaskOrder

TASKS = load_tasks([Task(f"Question {number}?", id=str(number)) for number in range(7)])


def taken(order: Stream, n: int, seed: int = 0) -> list[tuple[int, str]]:
    rng = np.random.default_rng(seed)
    drawn = [order.next(rng) for _ in range(n)]
    return [(one.epoch, str(one.task.id)) for one in drawn]


def test_sequential() -> None:
    assert taken(TaskOrder(TASKS, "sequential"), 9)[5:] == [(0, "5"), (0, "6"), (1, "0"), (1, "1")]


def test_each_epoch_is_shuffled_anew_and_whole() -> None:
    drawn = taken(TaskOrder(TASKS, "shuffled", seed=1), 14)
    assert sorted(drawn) == [(epoch, str(number)) for epoch in range(2) for number in range(7)]
    assert [name for _, name in drawn[:7]] != [name for _, name in drawn[7:]]
    assert drawn == taken(TaskOrder(TASKS, "shuffled", seed=1), 14, seed=9)
    assert drawn != taken(TaskOrder(TASKS, "shuffled", seed=2), 14)


@pytest.mark.parametrize("order", ["shuffled", "sequential"])
def test_shards_meet_every_task_once_an_epoch(order: str) -> None:
    shards = [taken(TaskOrder(TASKS, order, 3, (i, 3)), 7) for i in range(3)]  # type: ignore[arg-type]
    assert sorted(drawn for shard in shards for drawn in shard) == sorted(
        (e, str(n)) for e in range(3) for n in range(7)
    )


def test_shards_at_random_are_parts_of_the_set() -> None:
    shards = [{name for _, name in taken(TaskOrder(TASKS, "random", 0, (i, 2)), 200)} for i in range(2)]
    assert shards == [{"0", "2", "4", "6"}, {"1", "3", "5"}]


def test_a_task_named_by_the_caller_is_not_missed_in_the_epoch() -> None:
    order, rng = TaskOrder(TASKS, "sequential"), np.random.default_rng(0)
    order.next(rng)
    order.skip(rng)
    assert order.next(rng).task.id == "1"


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0), (0, 8)])
def test_shards_that_do_not_exist(shard: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="shard"):
        TaskOrder(TASKS, "random", 0, shard)


def test_a_group_forgets_what_all_have_had() -> None:
    group = GroupOrder(TaskOrder(TASKS, "sequential"))
    fast, slow = group.member(), group.member()
    assert taken(fast, 5) == taken(slow, 5)
    assert taken(fast, 2) == [(0, "5"), (0, "6")]
    group.restart(1)
    assert taken(slow, 1) == [(0, "0")]

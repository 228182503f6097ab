"""A document in the making, driven by text: what starts when, and what is left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from llmi_env.document import Document, Text
from llmi_env.episode import Limits, StopReason
from llmi_env.errors import EpisodeOver
from llmi_env.ledger import Ledger
from llmi_env.making import NOT_SCORED, Making, Rollout, together
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.task import Task
from llmi_env.world.in_process import InProcessWorld
from tests.chat_streams import CALL, EDIT, TEXT

OWLS = Task("Write about owls.", id="owls")


def make(
    world: InProcessWorld, *texts: str, pace: float = 0.0, reward: HybridReward | None = None, **options: Any
) -> Rollout:
    async def run() -> Rollout:
        async with Making(OWLS, world, **options) as making:
            for text in texts:
                if making.done:
                    break
                making.write(text)
                await asyncio.sleep(pace)
            making.end()
            return await making.finish(reward)

    return asyncio.run(run())


def test_a_document_of_text(make_world: Callable[..., InProcessWorld]) -> None:
    rollout = make(make_world(), *TEXT, EDIT, seed=5, group=3)
    assert rollout.document.to_source() == TEXT + EDIT
    assert [figure.picture is not None for figure in rollout.document.figures] == [True, True]
    assert (rollout.seed, rollout.group, rollout.stop) == (5, 3, StopReason.END)
    assert rollout.ledger == Ledger()
    assert rollout.report is NOT_SCORED
    assert rollout.reward is None
    assert 0 <= rollout.times.written <= rollout.times.landed


def test_it_is_the_same_however_the_text_is_cut(make_world: Callable[..., InProcessWorld]) -> None:
    world = make_world(search={"latency": 0.01, "jitter": 1.0})
    assert make(world, TEXT, EDIT, seed=1) == make(world, *(TEXT + EDIT), seed=1)


def test_calls_start_while_it_is_written(make_world: Callable[..., InProcessWorld]) -> None:
    rollout = make(make_world(search={"latency": 0.2}), CALL, *"Owls hunt at night.", pace=0.02)
    assert rollout.times.landed - rollout.times.written < 0.1


def test_judges_are_asked_where_there_is_a_reward(make_world: Callable[..., InProcessWorld]) -> None:
    rollout = make(make_world(), TEXT, reward=HybridReward.preset("llmi"))
    assert rollout.reward is not None
    assert rollout.times.judged >= rollout.times.landed


def test_limits_end_it(make_world: Callable[..., InProcessWorld]) -> None:
    rollout = make(make_world(), "Owls. ", CALL, CALL, "more", limits=Limits(pictures=1))
    assert rollout.stop is StopReason.PICTURES
    assert len(rollout.document.figures) == 1

    async def run() -> None:
        async with Making(OWLS, make_world(), limits=Limits(characters=3)) as making:
            making.write("Owls.")
            assert making.done
            assert making.episode.document == Document((Text("Owl"),))
            with pytest.raises(EpisodeOver):
                making.write("more")
            making.end(StopReason.LENGTH)
            assert (await making.finish()).stop is StopReason.CHARACTERS

    asyncio.run(run())


def test_a_call_that_cannot_be_read_is_found_by_edits(make_world: Callable[..., InProcessWorld]) -> None:
    rollout = make(make_world(), "<imgen>nothing</imgen>", EDIT)
    assert [figure.failure and figure.failure.kind for figure in rollout.document.figures] == [
        "malformed",
        "bad_params",
    ]


def test_what_is_dropped_leaves_no_call_behind(make_world: Callable[..., InProcessWorld]) -> None:
    async def write() -> None:
        async with Making(OWLS, make_world(search={"latency": 60.0})) as making:
            making.write(TEXT)
            await asyncio.sleep(0)
            raise KeyError

    async def run() -> set[Any]:
        with pytest.raises(KeyError):
            await write()
        return asyncio.all_tasks() - {asyncio.current_task()}

    start = time.perf_counter()
    assert not asyncio.run(run())
    assert time.perf_counter() - start < 10


def test_together_ends_with_the_first_error() -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("waits")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError

    async def gives(value: int) -> int:
        return value

    async def run() -> None:
        assert await together([gives(1), gives(2)]) == [1, 2]
        with pytest.raises(KeyError):
            await together([waits(), fails()])
        assert ended == ["waits"]

    asyncio.run(run())

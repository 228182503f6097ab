from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from llmi_env.calls import BUILTIN, Call
from llmi_env.document import Failure, Outcome, Picture
from llmi_env.episode import CallRequest, Episode
from llmi_env.errors import NothingFound, WorldError
from llmi_env.task import Task
from llmi_env.testing import SimulatedTool, simulated_world
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.runtime import CallScheduler


def search(index: int, query: str = "owl") -> CallRequest:
    return CallRequest(index, Call("search", "", {"query": query}), seed=index)


def edit(index: int, of: int) -> CallRequest:
    return CallRequest(index, Call("edit", "", {"img_index": of, "prompt": "blur"}), seed=index, depends_on=of)


def world_with(**tools: SimulatedTool) -> InProcessWorld:
    return InProcessWorld(tools)


def test_outcomes_come_in_the_order_in_which_they_land() -> None:
    world = world_with(search=SimulatedTool("search", 0.01), diffusion=SimulatedTool("diffusion", 0.15))

    async def scenario() -> list[int]:
        async with CallScheduler(world) as calls:
            calls.start(CallRequest(0, Call("diffusion", "", {"prompt": "x"}), seed=0))
            calls.start(search(1))
            return [index async for index, _ in calls.completed()]

    assert asyncio.run(scenario()) == [1, 0]


def test_an_edit_waits_only_for_its_figure() -> None:
    slow, fast = SimulatedTool("diffusion", 0.3), SimulatedTool("search", 0.02)
    world = world_with(diffusion=slow, search=fast, edit=SimulatedTool("edit"))

    async def scenario() -> list[int]:
        async with CallScheduler(world) as calls:
            calls.start(CallRequest(0, Call("diffusion", "", {"prompt": "x"}), seed=0))
            calls.start(search(1))
            calls.start(edit(2, of=1))
            calls.start(edit(3, of=2))
            assert calls.pending == {0, 1, 2, 3}
            return [index async for index, _ in calls.completed()]

    assert asyncio.run(scenario()) == [1, 2, 3, 0]


def test_a_tool_that_sees_its_earlier_pictures_waits_for_them() -> None:
    tools = {**BUILTIN, "search": replace(BUILTIN["search"], sees_earlier=True)}
    episode = Episode(Task("Two owls."), tools=tools)
    requests = episode.write(
        "".join(
            f"<imgen>{Call(tool, '', params).to_json()}</imgen>"
            for tool, params in (
                ("search", {"query": "owl"}),
                ("diffusion", {"prompt": "owl"}),
                ("search", {"query": "owls"}),
                ("search", {"query": "nothing"}),
                ("search", {"query": "owl again"}),
            )
        )
    )
    assert [request.earlier for request in requests] == [(), (), (0,), (0, 2), (0, 2, 3)]
    given: dict[str, list[str]] = {}

    class Search(SimulatedTool):
        async def __call__(self, params: Any, context: Any) -> Picture:
            given[params["query"]] = [picture.digest for picture in context.pictures]
            if params["query"] == "nothing":
                raise NothingFound("nothing")
            return await super().__call__(params, context)

    async def scenario() -> dict[int, Outcome]:
        async with CallScheduler(
            world_with(search=Search("search", 0.02), diffusion=SimulatedTool("diffusion"))
        ) as calls:
            for request in requests:
                calls.start(request)
            return await calls.wait_all()

    outcomes = asyncio.run(scenario())
    first, second = (outcomes[index].digest for index in (0, 2) if isinstance(outcomes[index], Picture))
    assert given == {"owl": [], "owls": [first], "nothing": [first, second], "owl again": [first, second]}


def test_a_chain_gets_the_pictures_it_points_at() -> None:
    seen: list[Sequence[Picture]] = []

    class Watching(SimulatedTool):
        async def __call__(self, params: Any, context: Any) -> Picture:
            seen.append(context.pictures)
            return await super().__call__(params, context)

    async def scenario() -> dict[int, Outcome]:
        calls = CallScheduler(world_with(search=SimulatedTool("search"), edit=Watching("edit")))
        calls.start(search(0))
        calls.start(edit(1, of=0))
        return await calls.wait_all()

    outcomes = asyncio.run(scenario())
    assert list(seen[0]) == [outcomes[0]]


@pytest.mark.parametrize(
    ("failure", "kind", "fault"), [("empty", "bad_params", "policy"), ("unavailable", "unavailable", "world")]
)
def test_an_edit_of_a_figure_that_failed(failure: str, kind: str, fault: str) -> None:
    world = world_with(search=SimulatedTool("search", failure_rate=1, failure=failure), edit=SimulatedTool("edit"))

    async def scenario() -> dict[int, Outcome]:
        calls = CallScheduler(world)
        calls.start(search(0))
        calls.start(edit(1, of=0))
        return await calls.wait_all()

    outcome = asyncio.run(scenario())[1]
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.fault) == (kind, fault)


def test_an_edit_of_a_figure_that_was_never_a_call_is_the_policys() -> None:
    episode = Episode(Task("owls"))
    text = '<imgen>nonsense</imgen><imgen>{"source": "edit", "description": "d", "params": {"img_index": 0, "prompt": "blur"}}'
    requests = [*episode.write(text + "</imgen>"), *episode.end()]

    async def scenario() -> None:
        async with CallScheduler(simulated_world()) as calls:
            for request in requests:
                calls.start(request)
            async for index, outcome in calls.completed():
                episode.deliver(index, outcome)

    asyncio.run(scenario())
    assert episode.done
    failure = episode.document.figures[1].failure
    assert failure is not None
    assert (failure.kind, failure.fault) == ("bad_params", "policy")


def test_an_outcome_from_elsewhere_can_be_pointed_at() -> None:
    async def scenario() -> Outcome:
        calls = CallScheduler(simulated_world())
        calls.settle(0, Failure.of("search", "timeout", "late"))
        calls.start(edit(1, of=0))
        return await calls.wait_for(1)

    outcome = asyncio.run(scenario())
    assert isinstance(outcome, Failure)
    assert outcome.fault == "world"


def test_calls_started_later_are_completed_by_the_next_round() -> None:
    async def scenario() -> list[list[int]]:
        calls = CallScheduler(simulated_world())
        rounds = []
        for index in (0, 1):
            calls.start(search(index, str(index)))
            rounds.append([landed async for landed, _ in calls.completed()])
        calls.start(search(2, "2"))
        await calls.wait_for(2)
        assert calls.take_landed() == []
        rounds.append([landed async for landed, _ in calls.completed()])
        return rounds

    assert asyncio.run(scenario()) == [[0], [1], []]


def test_leaving_the_block_cancels_what_runs() -> None:
    tool = SimulatedTool("search", 30)

    async def scenario() -> float:
        start = time.monotonic()
        async with CallScheduler(world_with(search=tool)) as calls:
            calls.start(search(0))
            await asyncio.sleep(0.01)
        assert calls.pending == frozenset()
        return time.monotonic() - start

    assert asyncio.run(scenario()) < 5


def test_the_same_figure_is_not_started_twice() -> None:
    async def scenario() -> None:
        async with CallScheduler(simulated_world()) as calls:
            calls.start(search(0))
            with pytest.raises(ValueError, match="figure 0"):
                calls.start(search(0))

    asyncio.run(scenario())


def test_a_world_out_of_reach_is_told() -> None:
    class Nowhere(InProcessWorld):
        async def run(self, *args: Any, **kwargs: Any) -> Outcome:
            raise WorldError("no World answers")

    async def scenario() -> None:
        async with CallScheduler(Nowhere()) as calls:
            calls.start(search(0))
            await calls.wait_all()

    with pytest.raises(WorldError):
        asyncio.run(scenario())


def test_a_thousand_episodes_at_once_take_as_long_as_one() -> None:
    world = simulated_world(tools={"search": {"latency": 0.2, "size": 8}}, concurrency={"search": 10_000})

    async def episode(number: int) -> int:
        async with CallScheduler(world) as calls:
            calls.start(search(0, str(number)))
            return len(await calls.wait_all())

    async def scenario() -> float:
        await world.run(Call("search", "", {"query": "first"}))
        start = time.monotonic()
        assert sum(await asyncio.gather(*(episode(number) for number in range(1000)))) == 1000
        return time.monotonic() - start

    assert asyncio.run(scenario()) < 10

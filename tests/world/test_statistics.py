"""What tools take: percentiles in bounded memory, counts of a World's calls, and the figures that documents tell."""

from __future__ import annotations

import asyncio
import pickle
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Figure, Outcome, Picture, Provenance, Text
from llmi_env.errors import NothingFound, ToolUnavailable
from llmi_env.testing import SimulatedTool, simulated_world
from llmi_env.tools.base import SEARCH, ToolContext
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.statistics import Durations, ToolFigures, delivered, tool_metrics


def search(query: str = "owl") -> Call:
    return Call("search", "an owl", {"query": query})


class TestDurations:
    def test_percentiles_are_those_of_all_values_to_one_percent(self) -> None:
        dice = random.Random(3)
        values = [dice.lognormvariate(0, 2) for _ in range(5000)]
        durations = Durations()
        for value in values:
            durations.add(value)
        wanted = np.percentile(values, [50, 90, 99], method="inverted_cdf")
        assert durations.percentiles() == pytest.approx(tuple(wanted), rel=0.0101)

    def test_before_the_first_there_is_none_and_one_is_all_of_them(self) -> None:
        durations = Durations()
        assert durations.percentiles() is None
        durations.add(0.25)
        assert durations.percentiles() == pytest.approx((0.25,) * 3, rel=0.01)

    def test_a_hundred_values_have_the_right_ranks(self) -> None:
        durations = Durations()
        for value in range(1, 101):
            durations.add(value)
        assert durations.percentiles() == pytest.approx((50, 90, 99), rel=0.01)

    def test_memory_is_bounded_and_nothing_is_too_short_or_too_long(self) -> None:
        durations = Durations()
        for exponent in np.linspace(-12, 12, 20_000):
            durations.add(10.0**exponent)
        for value in (0.0, -1.0, float("inf")):
            durations.add(value)
        assert len(pickle.dumps(durations)) < 20_000
        assert durations.percentiles() == pytest.approx((1.0, 1e6, 1e6), rel=0.02)

    def test_the_order_of_values_does_not_matter(self) -> None:
        values = [0.1 * at for at in range(50)]
        forth, back = Durations(), Durations()
        for one, other in zip(values, reversed(values), strict=True):
            forth.add(one)
            back.add(other)
        assert forth.percentiles() == back.percentiles()


class Scripted:
    """A tool that does what each query says: `fail` is the world's fault, `nothing` the policy's, `slow` waits to be let go."""

    spec = SEARCH

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.failed: set[str] = set()

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        query = params["query"]
        if query == "nothing":
            raise NothingFound("nothing")
        if query.startswith("fail") or (query.startswith("once") and query not in self.failed):
            self.failed.add(query)
            raise ToolUnavailable("down")
        if query.startswith("slow"):
            await self.go.wait()
        await asyncio.sleep(0.05)
        return Picture(Image.new("RGB", (8, 8)), Provenance("test"))

    async def aclose(self) -> None:
        pass


def test_a_world_counts_what_passes() -> None:
    async def scenario() -> list[ToolFigures]:
        tool = Scripted()
        config = WorldConfig(tools={}, judges=[], attempts=2, retry_wait=0, concurrency={"search": 2})
        world = InProcessWorld({"search": tool, "code": SimulatedTool("code")}, config=config)
        assert set(world.figures()) == {"search", "code"}
        empty = world.figures()["search"]
        for query in ("owl", "owl", "nothing", "nothing", "once", "fail"):
            await world.run(search(query))
        await asyncio.gather(*(world.run(search("bee")) for _ in range(4)))
        await world.run(Call("search", "", {"query": 3}))
        await world.run(Call("serch", "", {"query": "x"}))
        slow = [asyncio.create_task(world.run(search(f"slow {at}"))) for at in range(3)]
        while world.figures()["search"].waiting < 1:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.05)
        during = world.figures()["search"]
        tool.go.set()
        await asyncio.gather(*slow)
        await world.aclose()
        assert set(world.figures()) == {"search", "code"}
        assert world.figures()["code"] == empty
        return [empty, during, world.figures()["search"]]

    empty, during, after = asyncio.run(scenario())
    assert empty == ToolFigures(0, 0, 0, 0, {}, 0, 0, None, None)
    assert (during.running, during.waiting) == (2, 1)
    assert (after.running, after.waiting) == (0, 0)
    assert after.calls == 14
    assert after.cached == 2  # owl, and nothing, which would come again
    assert after.shared == 3
    assert after.retries == 2  # once, fail
    assert after.failures == {"bad_params": 1, "empty": 2, "unavailable": 1}
    assert after.seconds is not None
    assert after.queue_seconds is not None
    assert 0.04 < after.seconds[0] < 2
    assert after.queue_seconds[0] < after.queue_seconds[2]
    assert after.queue_seconds[2] > 0.04  # who was third


def test_figures_go_on_over_loops_and_start_anew_in_a_copy() -> None:
    world = simulated_world()
    asyncio.run(world.run(search("one")))
    asyncio.run(world.run(search("two")))
    assert world.figures()["search"].calls == 2
    copy = pickle.loads(pickle.dumps(world))
    assert copy.figures()["search"].calls == 0


def test_a_loop_that_died_leaves_nobody_running() -> None:
    world = InProcessWorld({"search": SimulatedTool(latency=20)})

    async def left() -> None:
        task = asyncio.ensure_future(world.run(search()))
        await asyncio.sleep(0.02)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    loop = asyncio.new_event_loop()
    loop.run_until_complete(left())
    assert world.figures()["search"].running == 1
    assert asyncio.run(world.run(Call("search", "", {}))).kind == "bad_params"  # type: ignore[union-attr]
    assert world.figures()["search"].running == 0
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert world.figures()["search"].running == 0


# ----------------------------------------------------------------------------------------------------------------- documents


def figure(outcome: Outcome | None, tool: str = "search") -> Figure:
    return Figure("{}", Call(tool, "", {}), outcome)


def taking(seconds: float) -> Picture:
    return Picture(Image.new("RGB", (2, 2)), Provenance("test"), seconds, queued=seconds / 10)


DOCUMENTS = (
    Document((Text("Owls."), *(figure(taking(float(at))) for at in range(1, 101)))),
    Document(
        (
            figure(Failure.of("search", "empty", "nothing")),
            figure(Failure.of("search", "timeout", "late")),
            figure(Failure.of("search", "timeout", "late")),
            figure(Failure.of("code", "raised", "NameError"), "code"),
            figure(Failure.of("<script>", "unknown_tool", "no such tool"), "<script>"),
            figure(None, "edit"),
            Figure("not a call", None, Failure("malformed", "policy", "unreadable")),
        )
    ),
)


def test_documents_tell_what_each_tool_took() -> None:
    told = delivered(DOCUMENTS)
    assert list(told) == ["code", "search"]
    assert (told["search"].calls, told["search"].seconds) == (103, (50.0, 90.0, 99.0))
    assert told["search"].queue_seconds == (5.0, 9.0, 9.9)
    assert told["search"].failures == {"empty": 1, "timeout": 2}
    assert (told["code"].calls, told["code"].seconds, told["code"].failures) == (1, None, {"raised": 1})
    assert delivered([]) == {}


def test_the_names_of_metrics_are_flat_and_stable() -> None:
    assert tool_metrics(DOCUMENTS) == {
        "tool/code/calls": 1,
        "tool/code/failed/raised": 1,
        "tool/search/calls": 103,
        "tool/search/p50_s": 50.0,
        "tool/search/p90_s": 90.0,
        "tool/search/p99_s": 99.0,
        "tool/search/queue_p50_s": 5.0,
        "tool/search/queue_p90_s": 9.0,
        "tool/search/queue_p99_s": 9.9,
        "tool/search/failed/empty": 1,
        "tool/search/failed/timeout": 2,
    }

"""Rates and places of a tool: never more calls than allowed in any stretch of time, in the order asked, whoever leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llmi_env.calls import SEARCH, Call, ToolSpec
from llmi_env.document import Failure, Picture, Provenance
from llmi_env.errors import ConfigError, ToolUnavailable
from llmi_env.testing import SimulatedTool
from llmi_env.tools.base import ToolContext
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.limits import Queue, Rate

BUSY = 0.15
"""Seconds that may pass on a busy machine between the start of a call and the tool's own look at the clock."""


class Timed:
    """A tool that writes down when it was called, fails as it is told to, and otherwise takes `latency` seconds."""

    spec: ToolSpec = SEARCH

    def __init__(self, *errors: Exception, latency: float = 0.0) -> None:
        self.errors, self.latency = list(errors), latency
        self.times: list[float] = []
        self.queries: list[str] = []

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        self.times.append(time.monotonic())
        self.queries.append(params["query"])
        if self.errors:
            raise self.errors.pop(0)
        await asyncio.sleep(self.latency)
        return Picture(Image.new("RGB", (8, 8)), Provenance("test"))

    async def aclose(self) -> None:
        pass


class Busy(ToolUnavailable):
    """What a tool of the web raises on a 429."""

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("too many requests")
        self.retry_after = retry_after


def world(tool: Any, **limits: Any) -> InProcessWorld:
    return InProcessWorld({"search": tool}, config=WorldConfig(tools={}, judges=[], **limits))


def search(query: str = "owl") -> Call:
    return Call("search", "an owl", {"query": query})


# --------------------------------------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize(
    ("told", "calls", "seconds"),
    [
        ("10/s", 10, 1.0),
        ("60/min", 60, 60.0),
        (" 5 / 2 s ", 5, 2.0),
        ("1/0.5s", 1, 0.5),
        ("200/day", 200, 86400.0),
        ([7, 2.5], 7, 2.5),
    ],
)
def test_rates_are_read(told: Any, calls: int, seconds: float) -> None:
    assert Rate.parse(told) == Rate(calls, seconds)


@pytest.mark.parametrize(
    "told", ["", "10", "10/parsec", "0/s", "1.5/s", "-1/s", "1/0s", [0, 1], [1, 0], [1.5, 1], [1], [1, 2, 3]]
)
def test_what_is_no_rate_is_told(told: Any) -> None:
    with pytest.raises(ConfigError, match="10/s"):
        Rate.parse(told)


def test_a_configuration_names_the_tool_whose_rate_is_wrong() -> None:
    with pytest.raises(ConfigError, match=r"rates.*'search'.*'often'"):
        WorldConfig.parse({"rates": {"search": "often"}})
    config = WorldConfig.parse({"rates": {"search": ["20/min", "200/day"], "diffusion": [5, 60], "code": "1/s"}})
    assert config.tool_rates("search") == (Rate(20, 60.0), Rate(200, 86400.0))
    assert config.tool_rates("diffusion") == (Rate(5, 60.0),)
    assert config.tool_rates("edit") == ()
    assert WorldConfig.parse(config.model_dump(mode="json")).tool_rates("diffusion") == (Rate(5, 60.0),)


class Virtual:
    """A clock that moves only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.Lock, self.Semaphore = asyncio.Lock, asyncio.Semaphore

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(
    rates=st.lists(st.builds(Rate, st.integers(1, 6), st.floats(0.1, 10)), max_size=3),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 5)), min_size=1, max_size=40),
)
def test_no_stretch_of_time_has_more_calls_than_the_rates(rates: list[Rate], pauses: list[float]) -> None:
    clock = Virtual()

    async def begin() -> list[float]:
        queue, times = Queue(1, rates), []
        for pause in pauses:
            clock.now += pause
            asked = clock.now
            await queue.begin()
            times.append(clock.now)
            earlier = [[*times[:-1]][-rate.calls] + rate.seconds for rate in rates if len(times) > rate.calls]
            assert clock.now == pytest.approx(max([asked, *earlier]))  # and no later than it must be
        return times

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmi_env.world.limits.time", clock)
        patch.setattr("llmi_env.world.limits.asyncio", clock)
        times = asyncio.run(begin())
    for rate in rates:
        for earlier, later in zip(times, times[rate.calls :], strict=False):
            assert later - earlier >= rate.seconds - 1e-9


@pytest.mark.parametrize("calls", [1, 4])
def test_calls_of_a_world_begin_no_faster_than_the_rate_and_in_their_order(calls: int) -> None:
    tool = Timed()

    async def many() -> None:
        # More places than calls: the rate alone holds them back.
        limited = world(tool, concurrency={"search": 50}, rates={"search": [calls, 0.2]})
        await asyncio.gather(*(limited.run(search(str(at))) for at in range(3 * calls)))

    asyncio.run(many())
    assert tool.queries == [str(at) for at in range(3 * calls)]
    assert 0.4 - BUSY <= tool.times[-1] - tool.times[0] < 2
    assert tool.times[calls] - tool.times[calls - 1] >= 0.2 - BUSY


def test_the_first_calls_of_a_rate_need_not_wait_and_other_tools_never_do() -> None:
    async def first() -> float:
        limited = InProcessWorld(
            {"search": Timed(), "code": SimulatedTool("code")},
            config=WorldConfig(tools={}, judges=[], rates={"search": "5/min"}, concurrency={"search": 9}),
        )
        start = time.monotonic()
        await asyncio.gather(*(limited.run(search(str(at))) for at in range(5)))
        waiting = asyncio.create_task(limited.run(search("late")))
        await asyncio.gather(*(limited.run(Call("code", "", {"code": str(at)})) for at in range(8)))
        waiting.cancel()
        return time.monotonic() - start

    assert asyncio.run(first()) < 2


def test_waiting_for_the_rate_is_queueing_and_not_charged_to_the_call() -> None:
    async def four() -> tuple[list[Any], Any]:
        limited = world(Timed(latency=0.05), deadline=1.0, rates={"search": [1, 0.4]}, concurrency={"search": 9})
        outcomes = await asyncio.gather(*(limited.run(search(str(at))) for at in range(4)))
        return outcomes, limited.figures()["search"]

    outcomes, figures = asyncio.run(four())
    assert all(isinstance(outcome, Picture) for outcome in outcomes)
    assert all(outcome.seconds < 1.0 for outcome in outcomes)
    assert figures.queue_seconds is not None
    assert 1.1 < figures.queue_seconds[2] < 2


def test_cached_and_shared_calls_take_nothing_of_the_rate() -> None:
    async def many() -> float:
        limited = world(Timed(latency=0.02), rates={"search": "2/min"})
        start = time.monotonic()
        await asyncio.gather(*(limited.run(search()) for _ in range(10)))
        for _ in range(10):
            await limited.run(search())
        await limited.run(search("cat"))
        return time.monotonic() - start

    assert asyncio.run(many()) < 5


# -------------------------------------------------------------------------------------------------------------------- retries


def test_a_further_try_takes_of_the_rate_too() -> None:
    tool = Timed(ToolUnavailable("down"), ToolUnavailable("down"))
    outcome = asyncio.run(world(tool, rates={"search": [1, 0.2]}, deadline=0.5).run(search()))
    assert isinstance(outcome, Picture)
    assert tool.times[2] - tool.times[0] >= 0.4 - BUSY


def test_retry_after_is_heeded_by_the_call_and_by_the_others_of_its_tool() -> None:
    tool = Timed(Busy(0.3))

    async def two() -> list[Any]:
        limited = world(tool)
        first = asyncio.create_task(limited.run(search("one")))
        await asyncio.sleep(0.05)
        return [await limited.run(search("two")), await first]

    assert all(isinstance(outcome, Picture) for outcome in asyncio.run(two()))
    assert len(tool.times) == 3
    assert min(tool.times[1:]) - tool.times[0] >= 0.3


@pytest.mark.parametrize(
    ("asked", "limits"), [(2.0, {"deadline": 1.0}), (2.0, {"longest_wait": 1.0}), (float("inf"), {})], ids=str
)
def test_who_is_asked_to_wait_too_long_gives_up_at_once(asked: float, limits: dict[str, float]) -> None:
    tool = Timed(Busy(asked))
    start = time.monotonic()
    outcome = asyncio.run(world(tool, **limits).run(search()))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.fault, outcome.message) == ("unavailable", "world", "too many requests")
    assert len(tool.times) == 1
    assert time.monotonic() - start < 1.9


@pytest.mark.parametrize("asked", [None, float("nan"), -3, "soon", 0])
def test_a_retry_after_that_says_nothing_is_none(asked: Any) -> None:
    tool = Timed(Busy(asked))
    assert isinstance(asyncio.run(world(tool).run(search())), Picture)
    assert tool.times[1] - tool.times[0] < 2


def test_the_waits_between_tries_are_configured() -> None:
    tool = Timed(*(ToolUnavailable("down") for _ in range(30)))
    start = time.monotonic()
    asyncio.run(world(tool, attempts=31, retry_wait=0.1, longest_wait=0.01).run(search()))
    assert len(tool.times) == 31
    assert time.monotonic() - start < 2


# ------------------------------------------------------------------------------------------------------------ who leaves


def test_who_leaves_the_queue_takes_nothing_of_the_rate_along() -> None:
    queue = Queue(1, [Rate(1, 0.2)])

    async def leave() -> float:
        await queue.begin()
        start = time.monotonic()
        waiting = [asyncio.create_task(queue.begin()) for _ in range(20)]
        await asyncio.sleep(0.02)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await queue.begin()
        return time.monotonic() - start

    assert 0.2 - BUSY < asyncio.run(leave()) < 2


def test_who_leaves_while_it_waits_for_a_place_leaves_it_to_the_next() -> None:
    tool = Timed(latency=0.3)

    async def leave() -> tuple[Any, Any]:
        limited = world(tool, concurrency={"search": 1})
        running = asyncio.create_task(limited.run(search("running")))
        dropped = [asyncio.create_task(limited.run(search(f"dropped {at}"))) for at in range(10)]
        await asyncio.sleep(0.02)
        last = asyncio.create_task(limited.run(search("last")))
        while limited.figures()["search"].waiting < 11:
            await asyncio.sleep(0.002)
        for task in dropped:
            task.cancel()
        outcomes = await asyncio.gather(running, last)
        return outcomes, limited.figures()["search"]

    outcomes, figures = asyncio.run(leave())
    assert all(isinstance(outcome, Picture) for outcome in outcomes)
    assert tool.queries == ["running", "last"]
    assert (figures.running, figures.waiting) == (0, 0)


@pytest.mark.parametrize("when", ["running", "between tries"])
def test_a_dropped_call_gives_its_place_back(when: str) -> None:
    tool = Timed(*([Busy(20)] if when == "between tries" else []), latency=20)

    async def drop() -> tuple[float, Any]:
        limited = world(tool, concurrency={"search": 1}, longest_wait=25)
        dropped = asyncio.create_task(limited.run(search("dropped")))
        while not tool.times:
            await asyncio.sleep(0.005)
        dropped.cancel()
        await asyncio.gather(dropped, return_exceptions=True)
        tool.latency = 0
        start = time.monotonic()
        if when == "running":
            await limited.run(search("next"))
        figures = limited.figures()["search"]
        await limited.aclose()
        return time.monotonic() - start, figures

    seconds, figures = asyncio.run(drop())
    assert seconds < 1
    assert (figures.running, figures.waiting, figures.retries) == (0, 0, int(when != "running"))

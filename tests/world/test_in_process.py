"""A World in this process and its tools: what a call comes to, tries, sharing, limits."""

from __future__ import annotations

import asyncio
import io
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llmi_env.calls import SEARCH, Call, ToolSpec
from llmi_env.document import Failure, Picture, Provenance
from llmi_env.errors import AssetError, ConfigError, MissingExtra, ToolUnavailable
from llmi_env.testing import SimulatedTool, simulated_config, simulated_world
from llmi_env.tools.base import ToolContext
from llmi_env.world.cache import OutcomeCache
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.pictures import normalise
from llmi_env.world.protocol import World


def search(query: str = "owl") -> Call:
    return Call("search", "an owl", {"query": query})


class Drawing:
    """A tool that returns, or raises, what it is given."""

    spec: ToolSpec = SEARCH

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.calls = 0

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        self.calls += 1
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, BaseException):
            raise result
        return result  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        pass


def picture(size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Picture:
    return Picture(Image.new(mode, size), Provenance("test"))


def run_once(tool: Any, **limits: Any) -> Any:
    world = InProcessWorld({"search": tool}, config=WorldConfig(tools={}, judges=[], **limits))
    return asyncio.run(world.run(search()))


def test_a_call_gives_a_picture_and_says_how_long_it_took() -> None:
    world = simulated_world(tools={"search": {"latency": 0.02}})
    assert isinstance(world, World)
    outcome = asyncio.run(world.run(search(), seed=3))
    assert isinstance(outcome, Picture)
    assert outcome.provenance.seed == 3
    assert outcome.seconds >= 0.02


def test_same_seed_same_picture_other_seed_another() -> None:
    async def three() -> list[Any]:
        return [await simulated_world(cache_mb=0).run(search(), seed=seed) for seed in (1, 1, 2)]

    first, again, other = asyncio.run(three())
    assert first == again != other


def read_late(cut: int | None = None) -> Picture:
    """A picture as `Image.open` gives it: its pixels are still in the file, of which `cut` bytes are there."""
    file = io.BytesIO()
    Image.effect_noise((40, 40), 90).convert("RGB").save(file, format="PNG")
    return Picture(Image.open(io.BytesIO(file.getvalue()[:cut])), Provenance("test"))


@pytest.mark.parametrize(
    ("made", "said"),
    [(read_late(cut=2000), "truncated"), (picture((0, 5)), "0x5 pixels"), (picture((5, 0)), "5x0 pixels")],
)
def test_a_picture_that_cannot_be_shown_is_the_worlds_fault(made: Picture, said: str, tmp_path: Path) -> None:
    for kept in (True, False):
        outcome = run_once(
            Drawing(made), call_cache=str(tmp_path / "calls.sqlite"), call_cached={"search": kept}, attempts=1
        )
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.fault) == ("unavailable", "world")
        assert said in outcome.message


def test_a_picture_that_is_read_late_leaves_whole() -> None:
    outcome = run_once(Drawing(made := read_late()))
    assert type(outcome.image) is Image.Image
    assert outcome.image.tobytes() == made.image.tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F"])
def test_pictures_leave_as_rgb(mode: str) -> None:
    outcome = run_once(Drawing(picture((8, 8), mode)))
    assert outcome.image.mode == "RGB"


def test_pictures_leave_no_larger_than_allowed() -> None:
    assert run_once(Drawing(picture((3000, 1500)))).image.size == (1024, 512)
    assert run_once(Drawing(picture((2, 4000)))).image.size == (1, 1024)


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert np.asarray(normalise(clear, 64)).min() == 255


def test_only_the_worlds_faults_are_tried_again() -> None:
    flaky = SimulatedTool(fail_first=2)
    assert isinstance(run_once(flaky), Picture)
    assert flaky.executions == 3

    down = SimulatedTool(failure_rate=1)
    outcome = run_once(down, attempts=2)
    assert (outcome.kind, outcome.fault, down.executions) == ("unavailable", "world", 2)

    empty = SimulatedTool(failure_rate=1, failure="empty")
    outcome = run_once(empty)
    assert (outcome.kind, outcome.fault, empty.executions) == ("empty", "policy", 1)


def test_an_unexpected_exception_is_the_worlds_fault() -> None:
    tool = Drawing(ConnectionError("no route"), picture())
    assert isinstance(run_once(tool), Picture)
    outcome = run_once(Drawing(KeyError("x")), attempts=1)
    assert (outcome.kind, outcome.fault) == ("unavailable", "world")


def test_a_defect_is_not_tried_again() -> None:
    tool = Drawing("not a picture")
    outcome = run_once(tool)
    assert (outcome.kind, outcome.fault, tool.calls) == ("unavailable", "world", 1)
    assert "str" in outcome.message


def test_deadline_bounds_all_tries_together() -> None:
    start = time.monotonic()
    outcome = run_once(SimulatedTool(latency=30), deadline=0.1)
    assert (outcome.kind, outcome.fault) == ("timeout", "world")
    outcome = run_once(SimulatedTool(failure_rate=1), deadline=0.3, attempts=1000)
    assert outcome.fault == "world"
    assert time.monotonic() - start < 5


def test_a_missing_extra_is_told_to_the_caller() -> None:
    with pytest.raises(MissingExtra):
        run_once(Drawing(MissingExtra("diffusion", "offline")))
    assert run_once(Drawing(AssetError("gone"))).kind == "unavailable"


def test_unknown_tool_and_bad_params_are_the_policys() -> None:
    world = simulated_world(tools={"search": {}, "edit": {}})

    async def outcomes() -> list[Any]:
        return [
            await world.run(Call("serch", "", {"query": "x"})),
            await world.run(Call("search", "", {"prompt": "x"})),
            await world.run(Call("search", "", {"query": 3})),
            await world.run(Call("edit", "", {"img_index": 0, "prompt": "x"})),
        ]

    found = asyncio.run(outcomes())
    assert [failure.kind for failure in found] == ["unknown_tool", "bad_params", "bad_params", "bad_params"]
    assert {failure.fault for failure in found} == {"policy"}
    assert "did you mean 'search'" in found[0].message


def test_duplicates_in_flight_share_one_execution_and_later_ones_the_cache() -> None:
    tool = SimulatedTool(latency=0.05)
    world = InProcessWorld({"search": tool})

    async def many() -> list[Any]:
        together = await asyncio.gather(*(world.run(search()) for _ in range(20)), world.run(search("cat")))
        return [*together, await world.run(search())]

    outcomes = asyncio.run(many())
    assert tool.executions == 2
    assert len({outcome.digest for outcome in outcomes}) == 2


def test_the_worlds_failures_are_not_kept() -> None:
    tool = SimulatedTool(fail_first=1)
    world = InProcessWorld({"search": tool}, config=WorldConfig(tools={}, judges=[], attempts=1))

    async def twice() -> list[Any]:
        return [await world.run(search()), await world.run(search())]

    failed, worked = asyncio.run(twice())
    assert isinstance(failed, Failure)
    assert isinstance(worked, Picture)


def test_one_waiter_that_leaves_does_not_take_the_others_along() -> None:
    tool = SimulatedTool(latency=0.1)
    world = InProcessWorld({"search": tool})

    async def scenario() -> Any:
        first = asyncio.create_task(world.run(search()))
        second = asyncio.create_task(world.run(search()))
        await asyncio.sleep(0.02)
        first.cancel()
        return await second

    assert isinstance(asyncio.run(scenario()), Picture)
    assert tool.executions == 1


def test_the_last_waiter_that_leaves_cancels_and_a_newcomer_starts_again() -> None:
    tool = SimulatedTool(latency=0.1)
    world = InProcessWorld({"search": tool})

    async def scenario() -> Any:
        first = asyncio.create_task(world.run(search()))
        await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.sleep(0)
        return await world.run(search())

    assert isinstance(asyncio.run(scenario()), Picture)
    assert tool.executions == 2


def test_closing_answers_those_who_wait() -> None:
    world = InProcessWorld({"search": SimulatedTool(latency=30)})

    async def scenario() -> Any:
        waiting = asyncio.create_task(world.run(search()))
        await asyncio.sleep(0.02)
        await world.aclose()
        await world.aclose()
        return await waiting

    assert asyncio.run(scenario()).kind == "unavailable"


def test_concurrency_is_limited_for_each_tool() -> None:
    world = simulated_world(tools={"search": {"latency": 0.05}, "code": {"latency": 0.05}}, concurrency={"search": 2})

    async def scenario() -> float:
        start = time.monotonic()
        codes = [world.run(Call("code", "", {"code": str(i)})) for i in range(3)]
        await asyncio.gather(*(world.run(search(str(i))) for i in range(6)), *codes)
        return time.monotonic() - start

    assert 0.15 <= asyncio.run(scenario()) < 2


def test_the_cache_is_bounded_and_drops_what_was_used_longest_ago() -> None:
    cache = OutcomeCache(max_bytes=3 * 8 * 8 * 2)
    for name in ("a", "b"):
        cache.put(name, picture())
    cache.get("a")
    cache.put("c", picture())
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert len(cache) == 2
    cache.put("d", Failure.of("code", "limit", "too slow", "time"))
    assert cache.get("d") is None


def test_a_world_pickles_and_serves_loop_after_loop() -> None:
    world = simulated_world()
    first = asyncio.run(world.run(search()))
    copy = pickle.loads(pickle.dumps(world))
    assert asyncio.run(copy.run(search())) == first == asyncio.run(world.run(search()))


def test_a_tool_that_cannot_be_made_says_why() -> None:
    config = WorldConfig(tools={"search": {"use": "llmi_env.testing:SimulatedTool", "latancy": 1}}, judges=[])
    with pytest.raises(ConfigError, match="latancy"):
        asyncio.run(InProcessWorld.from_config(config).run(search()))


def test_names_given_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="search"):
        InProcessWorld({"search": SimulatedTool()}, config=simulated_config())


class SlowToLoad(SimulatedTool):
    """Takes longer to load than a call may take; the first load fails."""

    loads = 0

    async def warm(self) -> None:
        type(self).loads += 1
        if self.loads == 1:
            raise ToolUnavailable("the weights are still being copied")
        await asyncio.sleep(0.4)


def test_loading_a_tool_is_not_charged_to_a_call_and_may_be_tried_again() -> None:
    SlowToLoad.loads = 0
    use = f"{SlowToLoad.__module__}:{SlowToLoad.__name__}"
    config = WorldConfig(tools={"search": {"use": use, "name": "search"}}, judges=[], deadline=0.3)

    async def twice() -> list[Any]:
        world = InProcessWorld.from_config(config)
        return [await world.run(search("one")), await world.run(search("two")), await world.run(search("three"))]

    first, second, third = asyncio.run(twice())
    assert isinstance(first, Failure)
    assert (first.kind, first.fault, first.message) == ("unavailable", "world", "the weights are still being copied")
    assert isinstance(second, Picture)
    assert isinstance(third, Picture)
    assert SlowToLoad.loads == 2

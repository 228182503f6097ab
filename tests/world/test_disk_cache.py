"""Outcomes on disk: found again by whoever asks the same, bounded, shared by processes, and harmless whatever somebody writes into the file."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from llmi_env.calls import EDIT, SEARCH, Call, ToolSpec
from llmi_env.document import Failure, Outcome, Picture, Provenance
from llmi_env.errors import NothingFound, ToolUnavailable
from llmi_env.tools.base import ToolContext
from llmi_env.world.config import WorldConfig
from llmi_env.world.disk_cache import VARIABLE, CallCache, tool_identity
from llmi_env.world.in_process import InProcessWorld


class Paid:
    """A tool that costs: what it gives differs from call to call, and it counts them."""

    cacheable = True
    calls: ClassVar[list[str]] = []  # of all instances, as those of a configuration are out of reach

    def __init__(self, gives: str = "picture", spec: ToolSpec = SEARCH) -> None:
        self.gives, self.spec = gives, spec

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        self.calls.append(params["query"] if "query" in params else params["prompt"])
        if self.gives == "nothing":
            raise NothingFound("nothing found")
        if self.gives == "outage":
            raise ToolUnavailable("down")
        shade = len(self.calls) % 256
        seen = Provenance(
            "paid", "Öwl", "a \ud800 caption\x00", "http://x/y", "A. B.", "CC-BY-4.0", context.seed, '{"bars": 3}'
        )
        return Picture(Image.new("RGB", (40, 30), (shade, shade, 200)), seen)

    async def aclose(self) -> None:
        pass


class PaidEdit(Paid):
    def __init__(self, gives: str = "picture") -> None:
        super().__init__(gives, EDIT)


class Free(Paid):
    cacheable = False


@pytest.fixture(autouse=True)
def _counted_anew() -> None:
    Paid.calls.clear()


def world(path: Path | None, tool: str = "Paid", limits: Mapping[str, Any] = {}, **options: Any) -> InProcessWorld:
    tools = {
        "search": {"use": f"{__name__}:{tool}", **options},
        "edit": {"use": f"{__name__}:PaidEdit"},
    }
    return InProcessWorld.from_config(
        WorldConfig(tools=tools, judges=[], call_cache=None if path is None else str(path), **limits)
    )


def search(query: str = "owl", description: str = "an owl") -> Call:
    return Call("search", description, {"query": query})


def run(world: InProcessWorld, call: Call | None = None, pictures: tuple[Picture, ...] = (), seed: int = 7) -> Outcome:
    async def once() -> Outcome:
        outcome = await world.run(call or search(), pictures, seed=seed)
        await world.aclose()
        return outcome

    return asyncio.run(once())


def test_a_call_is_paid_for_once_whoever_asks(tmp_path: Path) -> None:
    path = tmp_path / "new" / "calls.sqlite"
    first, again = run(world(path)), run(world(path))
    assert len(Paid.calls) == 1
    assert first == again
    assert isinstance(first, Picture)
    assert isinstance(again, Picture)
    assert first.png == again.png
    assert again.seconds == first.seconds
    run(world(None))
    assert len(Paid.calls) == 2


def test_what_the_policy_got_wrong_is_kept_and_outages_are_not(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    first, again = (run(world(path, gives="nothing")) for _ in range(2))
    assert first == again == Failure.of("search", "empty", "nothing found")
    assert len(Paid.calls) == 1
    for _ in range(2):
        outcome = run(world(path, gives="outage", limits={"attempts": 1}))
        assert isinstance(outcome, Failure)
        assert outcome.fault == "world"
    assert len(Paid.calls) == 3


def test_a_time_limit_is_not_kept(tmp_path: Path) -> None:
    cache = CallCache(tmp_path / "calls.sqlite")
    asyncio.run(cache.put("k", Failure.of("code", "limit", "too slow", "time")))
    assert asyncio.run(cache.get("k")) is None
    asyncio.run(cache.put("k", Failure.of("code", "limit", "too large", "pixels")))
    assert asyncio.run(cache.get("k")) == Failure.of("code", "limit", "too large", "pixels")


def test_the_key_is_all_that_can_move_the_outcome(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    grey, blue = (Picture(Image.new("RGB", (9, 9), colour), Provenance("test")) for colour in ("grey", "blue"))
    edit = Call("edit", "", {"img_index": 0, "prompt": "sepia"})
    asked: list[tuple[InProcessWorld, Call, tuple[Picture, ...], int]] = [
        (world(path), search(), (), 7),
        (world(path), search(), (), 8),
        (world(path), search("bee"), (), 7),
        (world(path), search(description="a barn owl"), (), 7),
        (world(path, limits={"max_side": 512}), search(), (), 7),
        (world(path, "Free", limits={"call_cached": {"search": True}}), search(), (), 7),
        (world(path, gives="nothing"), search(), (), 7),
        (world(path), edit, (grey,), 7),
        (world(path), edit, (blue,), 7),
        (world(path), edit, (replace(grey, provenance=Provenance("test", licence="CC0-1.0")),), 7),
        (world(path), replace(edit, params={"img_index": 1, "prompt": "sepia"}), (grey,), 7),
    ]
    outcomes = [run(*one) for one in asked]
    assert len(Paid.calls) == len(asked)
    assert [run(*one) for one in asked] == outcomes
    assert len(Paid.calls) == len(asked)
    # Limits that cannot move it are no part of the key.
    assert run(world(path, limits={"deadline": 5, "rates": {"search": "1/s"}, "attempts": 1})) == outcomes[0]
    assert len(Paid.calls) == len(asked)


def test_what_a_tool_says_of_itself_is_part_of_the_key() -> None:
    tool = Paid()
    assert tool_identity(tool, "paid", {}) != tool_identity(tool, "paid", {"model": "b"})
    assert tool_identity(tool, "paid", {}) != tool_identity(Free(), "paid", {})
    assert tool_identity(tool, None, {}) is None
    before = tool_identity(tool, "paid", {})
    tool.fingerprint = "model/2"  # type: ignore[attr-defined]
    assert None is not tool_identity(tool, None, {}) != before
    assert before != tool_identity(tool, "paid", {}) != tool_identity(tool, None, {})


def test_an_upgrade_makes_anew_what_declares_no_version_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Paid()
    before = tool_identity(tool, "paid", {})
    tool.fingerprint = "model/2"  # type: ignore[attr-defined]
    declared = tool_identity(tool, "paid", {})
    monkeypatch.setattr("llmi_env.world.disk_cache.PACKAGE", "99")
    assert tool_identity(tool, "paid", {}) == declared
    assert tool_identity(Paid(), "paid", {}) != before


def test_tools_say_whether_their_calls_are_kept_and_the_configuration_has_the_last_word(tmp_path: Path) -> None:
    for number, (tool, said, calls) in enumerate(
        [("Free", {}, 2), ("Free", {"search": True}, 1), ("Paid", {"search": False}, 2), ("Paid", {"edit": False}, 1)]
    ):
        Paid.calls.clear()
        for _ in range(2):
            run(world(tmp_path / str(number), tool, limits={"call_cached": said}))
        assert len(Paid.calls) == calls


def test_an_object_is_kept_only_where_it_tells_what_it_is(tmp_path: Path) -> None:
    for fingerprint, calls in (("", 2), ("paid/1", 1)):
        Paid.calls.clear()
        for _ in range(2):
            tool = Paid()
            tool.fingerprint = fingerprint  # type: ignore[attr-defined]
            config = WorldConfig(tools={}, judges=[], call_cache=str(tmp_path / "calls.sqlite"))
            run(InProcessWorld({"search": tool}, config=config))
        assert len(Paid.calls) == calls


def test_tools_of_the_offline_world_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMI_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv(VARIABLE)
    use = {"use": "llmi_env.testing:SimulatedTool", "name": "search"}
    run(InProcessWorld.from_config(WorldConfig(tools={"search": use}, judges=[])))
    assert list(tmp_path.iterdir()) == []
    run(InProcessWorld.from_config(WorldConfig(tools={"search": {"use": f"{__name__}:Paid"}}, judges=[])))
    assert [path.name for path in tmp_path.iterdir()] == ["calls.sqlite"]


def test_hits_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def four() -> tuple[Any, Any]:
        first, second = world(tmp_path / "calls.sqlite"), world(tmp_path / "calls.sqlite")
        await first.run(search())
        for query in ("owl", "owl", "bee"):
            await second.run(search(query))
        await second.aclose()
        return first.figures()["search"], second.figures()["search"]

    with caplog.at_level(logging.INFO):
        first, second = asyncio.run(four())
    assert (first.calls, first.cached) == (1, 0)
    assert (second.calls, second.cached) == (3, 2)
    assert "1 calls found, 1 not" in caplog.text


# ----------------------------------------------------------------------------------------------------------- many processes

HAMMER = """
import asyncio, random, sys
from pathlib import Path
from PIL import Image
from llmi_env.document import Picture, Provenance
from llmi_env.world.disk_cache import CallCache

path, me, bound = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
cache, dice = CallCache(path, bound), random.Random(me)
noise = random.Random(0).randbytes(60 * 60 * 3)

def made(number):
    image = Image.frombytes("RGB", (60, 60), noise)
    image.putpixel((0, 0), (number, number, number))
    return Picture(image, Provenance("test", seed=number))

async def main():
    found, largest = 0, 0
    for _ in range(120):
        number = dice.randrange(200)
        kept = await cache.get(f"call {number}")
        if kept is None:
            await cache.put(f"call {number}", made(number))
        else:
            found += 1
            assert kept == made(number), number
        largest = max(largest, path.stat().st_size)
    print(found, largest)

asyncio.run(main())
"""


@pytest.mark.parametrize("processes", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_many_processes_hammer_one_file(processes: int, tmp_path: Path) -> None:
    path, bound = tmp_path / "calls.sqlite", 1_000_000  # holds some 90 of the 200
    hammers = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, str(path), str(me), str(bound)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(processes)
    ]
    ended = [hammer.communicate() for hammer in hammers]
    assert [error for _, error in ended] == [""] * processes  # neither a lock nor anything else was warned of
    assert [hammer.returncode for hammer in hammers] == [0] * processes
    told = [tuple(map(int, out.split())) for out, _ in ended]
    assert sum(found for found, _ in told) > 10 * processes
    assert max(largest for _, largest in told) <= bound + 16_384
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    cache = CallCache(path, max_bytes=300_000)
    noise = os.urandom(60 * 60 * 3)

    async def fill() -> set[int]:
        for number in range(26):  # some 23 have room
            picture = Picture(Image.frombytes("RGB", (60, 60), noise), Provenance("test", seed=number))
            await cache.put(str(number), picture)
            if number == 10:
                with sqlite3.connect(path) as file:
                    file.execute("UPDATE calls SET put = put - 3600")
                await cache.get("0")
        return {number for number in range(26) if await cache.get(str(number)) is not None}

    kept = asyncio.run(fill())
    assert path.stat().st_size <= 300_000 + 8_192
    assert {0, *range(11, 26)} <= kept
    assert not {1, 2, 3} & kept


def test_what_is_larger_than_the_file_may_be_is_not_kept(tmp_path: Path) -> None:
    cache = CallCache(tmp_path / "calls.sqlite", max_bytes=100_000)
    large = Picture(Image.frombytes("RGB", (300, 300), os.urandom(270_000)), Provenance("test"))

    async def put() -> list[bool]:
        await cache.put("small", Failure.of("search", "empty", "nothing"))
        await cache.put("large", large)
        return [await cache.get(key) is not None for key in ("small", "large")]

    assert asyncio.run(put()) == [True, False]


KILLED = """
import asyncio, sys
from pathlib import Path
from PIL import Image
from llmi_env.document import Picture, Provenance
from llmi_env.world.disk_cache import CallCache
cache = CallCache(Path(sys.argv[1]))
async def main():
    for number in range(1_000_000):
        await cache.put(str(number), Picture(Image.new("RGB", (200, 200)), Provenance("test", seed=number)))
        print(number, flush=True)
asyncio.run(main())
"""


def test_a_kill_leaves_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if line == "20\n":
            break
    writer.kill()
    writer.communicate()
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = asyncio.run(CallCache(path).get("20"))
    assert isinstance(kept, Picture)
    assert kept.provenance.seed == 20


# ------------------------------------------------------------------------------------------------------------ who leaves


def test_a_dropped_call_writes_nothing_or_all_of_it(tmp_path: Path) -> None:
    """Cancelled at many moments, while it looks, runs and keeps: what is on the disk afterwards is an outcome."""
    path = tmp_path / "calls.sqlite"

    class Slow(Paid):
        fingerprint = "slow"

        async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
            await asyncio.sleep(0.002)
            return await super().__call__(params, context)

    async def drop() -> list[Any]:
        config = WorldConfig(tools={}, judges=[], call_cache=str(path), concurrency={"search": 1})
        dropping = InProcessWorld({"search": Slow()}, config=config)
        for number in range(40):
            task = asyncio.create_task(dropping.run(search(str(number))))
            await asyncio.sleep(0.0004 * number)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.1)  # for threads that still write
        kept = [await dropping.run(search(str(number))) for number in range(40)]
        figures = dropping.figures()["search"]
        await dropping.aclose()
        assert (figures.running, figures.waiting) == (0, 0)
        return kept

    assert all(isinstance(outcome, Picture) for outcome in asyncio.run(drop()))
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert file.execute("SELECT count(*) FROM calls").fetchone() == (40,)


# ------------------------------------------------------------------------------------------------------------------ options


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def path_of(option: str | None) -> Path | None:
        return CallCache.from_option(option, 1).path

    monkeypatch.setenv("LLMI_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv(VARIABLE)
    assert path_of("default") == tmp_path / "calls.sqlite"
    assert path_of("off") is None
    assert path_of(None) is None
    assert path_of(str(tmp_path / "mine")) == tmp_path / "mine"
    monkeypatch.setenv(VARIABLE, "off")
    assert path_of("default") is None


def test_a_kept_call_needs_no_turn(tmp_path: Path) -> None:
    class Blocked(Paid):
        fingerprint = "blocked"

        async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
            if params["query"] == "slow":
                await asyncio.sleep(30)
            return await super().__call__(params, context)

    config = WorldConfig(tools={}, judges=[], call_cache=str(tmp_path / "calls.sqlite"), concurrency={"search": 1})
    run(InProcessWorld({"search": Blocked()}, config=config))

    async def beside_a_slow_one() -> Outcome:
        slow = InProcessWorld({"search": Blocked()}, config=config)
        waiting = asyncio.create_task(slow.run(search("slow")))
        while not slow.figures()["search"].running:
            await asyncio.sleep(0.005)
        kept = await asyncio.wait_for(slow.run(search(), seed=7), 10)
        waiting.cancel()
        return kept

    assert isinstance(asyncio.run(beside_a_slow_one()), Picture)
    assert Paid.calls == ["owl"]

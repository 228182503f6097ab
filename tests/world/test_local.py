from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Picture, Provenance
from llmi_env.errors import WorldError
from llmi_env.task import Task
from llmi_env.testing import JUDGED_TERMS, SimulatedTool, simulated_config
from llmi_env.world.config import WorldConfig
from llmi_env.world.local import LocalWorld, runtime_dir
from llmi_env.world.portal import portal


def search(query: str = "owl") -> Call:
    return Call("search", "an owl", {"query": query})


def config_with(log: Path | None = None, linger: float = 0.3, **options: Any) -> WorldConfig:
    if log is not None:
        options["log"] = str(log)
    return simulated_config(tools={"search": options}, linger=linger)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def until(true: Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


async def _visit(world: LocalWorld, query: str) -> tuple[int, str]:
    outcome = await world.run(search(query))
    assert isinstance(outcome, Picture), outcome
    return (await world.health()).pid, outcome.digest


def _child(world: LocalWorld, number: int, results: Any, leave: Any) -> None:
    found = portal().call(_visit(world, f"owl {number % 2}"), timeout=60)
    results.put((number, *found, "torch" in sys.modules))
    leave.wait(60)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_many_processes_share_one_helper_that_ends_with_the_last(runtime: Path, tmp_path: Path, method: Any) -> None:
    log = tmp_path / "calls"
    world = LocalWorld(config_with(log, latency=0.05))
    if method == "fork":
        portal().call(world.health())  # as `AsyncVectorEnv` does: the parent has used it before it forks
    context = multiprocessing.get_context(method)
    results, leave = context.Queue(), context.Event()
    children = [context.Process(target=_child, args=(world, number, results, leave)) for number in range(4)]
    for child in children:
        child.start()
    found = [results.get(timeout=60) for _ in children]
    helpers = {pid for _, pid, _, _ in found}
    assert len(helpers) == 1
    inherited = method == "fork" and "torch" in sys.modules  # other tests of this process may have imported it
    assert inherited or not any(torch for *_, torch in found)
    assert len({digest for _, _, digest, _ in found}) == 2
    executed = log.read_text().splitlines()
    assert len(executed) == 2, "the same call from several processes is carried out once"
    (helper,) = helpers
    leave.set()
    for child in children:
        child.join(20)
        assert child.exitcode == 0
    if method == "fork":
        assert alive(helper), "the parent is still a client"
        portal().call(world.aclose())
    assert until(lambda: not alive(helper))
    assert not list(runtime.glob("*.sock"))


def test_clients_that_are_killed_do_not_keep_the_helper(runtime: Path) -> None:
    world = LocalWorld(config_with())
    context = multiprocessing.get_context("spawn")
    results, leave = context.Queue(), context.Event()
    child = context.Process(target=_child, args=(world, 0, results, leave))
    child.start()
    _, helper, _, _ = results.get(timeout=60)
    assert alive(helper)
    child.kill()
    child.join(20)
    assert until(lambda: not alive(helper))


def test_killed_in_mid_call_it_is_started_again_and_the_call_with_it(runtime: Path, tmp_path: Path) -> None:
    log = tmp_path / "calls"

    async def scenario() -> tuple[Any, int, int]:
        world = LocalWorld(config_with(log, latency=0.5))
        first = (await world.health()).pid
        call = asyncio.create_task(world.run(search()))
        while not log.exists():
            await asyncio.sleep(0.02)
        os.kill(first, signal.SIGKILL)
        outcome = await call
        second = (await world.health()).pid
        await world.aclose()
        return outcome, first, second

    outcome, first, second = asyncio.run(scenario())
    assert isinstance(outcome, Picture)
    assert first != second
    assert [int(line.split()[0]) for line in log.read_text().splitlines()] == [first, second]
    assert until(lambda: not alive(second))


def test_a_tool_that_takes_the_helper_down_once_costs_nothing(runtime: Path, tmp_path: Path) -> None:
    async def scenario() -> Any:
        world = LocalWorld(config_with(die_once=str(tmp_path / "died")))
        try:
            calls = [world.run(search(str(number))) for number in range(5)]
            return [await asyncio.gather(*calls), await world.judge(Document(), Task("owls"))]
        finally:
            await world.aclose()

    outcomes, judgments = asyncio.run(scenario())
    assert [type(outcome) for outcome in outcomes] == [Picture] * 5
    assert tuple(judgments) == JUDGED_TERMS


@pytest.mark.slow
def test_a_call_that_takes_every_helper_down_is_a_failure(runtime: Path, tmp_path: Path) -> None:
    async def scenario() -> Any:
        world = LocalWorld(config_with(die_once="/nowhere/at/all", latency=0.0), attempts=2)
        try:
            return await world.run(search())
        finally:
            await world.aclose()

    outcome = asyncio.run(scenario())
    assert isinstance(outcome, Failure)
    assert outcome.fault == "world"


def test_another_loop_and_a_copy_use_the_same_helper(runtime: Path) -> None:
    world = LocalWorld(config_with())
    first = asyncio.run(world.health()).pid
    assert asyncio.run(world.health()).pid == first
    copy = pickle.loads(pickle.dumps(world))
    assert asyncio.run(copy.health()).pid == first
    world.close()
    assert asyncio.run(copy.health()).pid == first
    other = LocalWorld(config_with(latency=0.001))
    assert asyncio.run(other.health()).pid != first
    for each in (copy, other):
        each.close()
    assert until(lambda: not alive(first))


@pytest.mark.slow
def test_used_again_after_its_helper_has_ended_it_starts_another(runtime: Path) -> None:
    world = LocalWorld(config_with(linger=0.0))
    first = asyncio.run(world.health()).pid
    world.close()
    assert until(lambda: not alive(first))
    assert asyncio.run(world.health()).pid != first
    world.close()


@pytest.mark.slow
def test_a_terminated_client_process_leaves_nothing_behind(runtime: Path) -> None:
    script = (
        "import asyncio; from tests.world.test_local import config_with; from llmi_env.world.local import LocalWorld; import sys\n"
        "world = LocalWorld(config_with()); print(asyncio.run(world.health()).pid, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env=dict(os.environ)
    )
    pid, torch = done.stdout.split()
    assert torch == "False"
    assert until(lambda: not alive(int(pid)))


def test_a_socket_left_by_a_killed_helper_is_no_obstacle(runtime: Path) -> None:
    world = LocalWorld(config_with())
    first = asyncio.run(world.health()).pid
    os.kill(first, signal.SIGKILL)
    assert until(lambda: not alive(first))
    assert list(runtime.glob("*.sock"))
    assert isinstance(asyncio.run(world.run(search())), Picture)
    world.close()


def test_only_its_user_can_enter(runtime: Path) -> None:
    runtime.chmod(0o755)
    world = LocalWorld(WorldConfig(tools={}, judges=[], linger=0))
    asyncio.run(world.health())
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    (log,) = runtime.glob("*.log")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    world.close()


class SlowToClose(SimulatedTool):
    """A tool that holds up the end of its helper for a moment; what it can read from standard input is its picture's title."""

    async def __call__(self, params: Any, context: Any) -> Picture:
        made = await super().__call__(params, context)
        return replace(made, provenance=Provenance("slow", title=os.read(0, 100).decode()))

    async def aclose(self) -> None:
        await asyncio.sleep(0.5)


def test_who_comes_just_as_the_helper_ends_gets_another_one(runtime: Path) -> None:
    config = WorldConfig(tools={"search": {"use": f"{__name__}:SlowToClose"}}, judges=[], linger=0)
    first, second = LocalWorld(config), LocalWorld(config)
    asyncio.run(first.run(search()))
    (log,) = runtime.glob("*.log")
    first.close()
    assert until(lambda: "no client is left" in log.read_text())
    outcome = asyncio.run(second.run(search()))
    assert isinstance(outcome, Picture), outcome
    assert log.read_text().count("listening") == 2
    assert outcome.provenance.title == "", "the configuration is not for tools to read"
    second.close()


def test_a_helper_that_cannot_start_says_why(runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(WorldError, match=r"exit code 3.*it is broken"):
        asyncio.run(LocalWorld(config_with()).run(search()))


def test_a_path_too_long_for_a_socket_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMI_RUNTIME_DIR", str(tmp_path / ("x" * 120)))
    with pytest.raises(WorldError, match="LLMI_RUNTIME_DIR to a short path"):
        runtime_dir()


def test_a_folder_of_somebody_else_is_not_used(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime / "real").mkdir()
    (runtime / "link").symlink_to(runtime / "real")
    monkeypatch.setenv("LLMI_RUNTIME_DIR", str(runtime / "link"))
    with pytest.raises(WorldError, match="not a folder of this user"):
        runtime_dir()

"""`llmi serve` as a command: a process of its own, asked over TCP, ended by a signal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import httpx
import pytest
from typer.testing import CliRunner

from llmi_env.calls import Call
from llmi_env.cli import app
from llmi_env.document import Picture
from llmi_env.errors import ConfigError
from llmi_env.serving import WorldServer, serve
from llmi_env.world import wire
from llmi_env.world.http import HttpWorld
from tests.processes import heed_interrupts

SLOW_SEARCH = "services: {tools: {search: {use: 'llmi_env.testing:SimulatedTool', latency: %s}}, judges: []}"


class Served:
    """`llmi serve` in a process of its own."""

    def __init__(self, *options: str, config: str = "rules", **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llmi_env.cli", "serve", config, "--port", str(port), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
            preexec_fn=heed_interrupts,
        )

    def __enter__(self) -> Served:
        end = time.monotonic() + 60
        while True:
            try:
                httpx.get(self.address + "/alive")
                return self
            except httpx.TransportError:
                assert self.process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ended(self) -> tuple[int, str]:
        """Exit code and all that it said."""
        said, _ = self.process.communicate(timeout=30)
        return self.process.returncode, said


@pytest.fixture
def slow_search(tmp_path: Path) -> Callable[[float], str]:
    """Makes configurations whose search takes so many seconds."""

    def write(seconds: float) -> str:
        path = tmp_path / f"search-{seconds}.yaml"
        path.write_text(SLOW_SEARCH % seconds, encoding="utf-8")
        return str(path)

    return write


def owl(number: int) -> Call:
    return Call("search", "an owl", {"query": f"owl {number}"})


def test_a_world_is_served_to_the_environments_of_another_process_until_it_is_told_to_end(tmp_path: Path) -> None:
    config = tmp_path / "words.yaml"
    services: dict[str, Any] = {"tools": {"search": {"semantic": False}, "edit": {}}, "judges": []}
    config.write_text(json.dumps({"services": services}), encoding="utf-8")
    with Served("--warm", config=str(config)) as world:
        end = time.monotonic() + 60
        while httpx.get(world.address + "/ready").status_code == 503 and time.monotonic() < end:
            time.sleep(0.2)
        options: dict[str, Any] = {"world": world.address, "services": services, "action_mode": "document"}
        env = gym.make("llmi_env:LLMI-v0", config="rules", **options)
        env.reset(seed=1)
        call = '{"source": "search", "description": "an owl", "params": {"query": "owl"}}'
        _, _, terminated, _, info = env.step(f"Owls see at night.\n\n<imgen>{call}</imgen>\n")
        env.close()
        world.process.send_signal(signal.SIGTERM)
        code, said = world.ended()
    assert terminated, info
    (figure,) = info["document"].figures
    assert isinstance(figure.outcome, Picture)
    assert code == 0
    assert f"serving on {world.address}; Ctrl-C ends it" in said
    assert "ready: tool search, tool edit" in said
    assert "stopped; nothing was in flight any more" in said
    assert "Traceback" not in said


def test_it_finishes_what_it_has_begun_and_takes_nothing_new(slow_search: Callable[[float], str]) -> None:
    async def ask(world: Served) -> tuple[list[object], httpx.Response]:
        remote, calls = HttpWorld(world.address, attempts=1), []
        await remote.health()
        async with httpx.AsyncClient(base_url=world.address) as client:
            calls = [asyncio.create_task(remote.run(owl(number))) for number in range(4)]
            while 'in_flight{route="/run"} 4.0' not in (await client.get("/metrics")).text:
                await asyncio.sleep(0.05)
            world.process.send_signal(signal.SIGTERM)
            while (late := await client.get("/terms")).status_code == 200:
                await asyncio.sleep(0.05)
            return list(await asyncio.gather(*calls)), late

    with Served(config=slow_search(2.0)) as world:
        outcomes, late = asyncio.run(ask(world))
        code, said = world.ended()
    assert {type(outcome) for outcome in outcomes} == {Picture}
    assert (late.status_code, late.headers["retry-after"]) == (503, "2")
    assert code == 0
    assert "stopping: 4 in flight may take 30 seconds to finish; Ctrl-C again ends it at once" in said
    assert "stopped; nothing was in flight any more" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(("again", "code"), [(False, 0), (True, -signal.SIGINT)])
def test_it_does_not_wait_for_ever(slow_search: Callable[[float], str], again: bool, code: int) -> None:
    async def ask(world: Served) -> tuple[object, float]:
        async with httpx.AsyncClient(base_url=world.address, timeout=60) as client:
            body = wire.RunRequest(call=wire.CallMessage.of(owl(1)), pictures=[], seed=1).encode()
            call = asyncio.create_task(client.post("/run", content=body))
            while 'in_flight{route="/run"} 1.0' not in (await client.get("/metrics")).text:
                await asyncio.sleep(0.05)
            begun = time.monotonic()
            world.process.send_signal(signal.SIGINT)
            if again:
                while (await client.get("/terms")).status_code == 200:
                    await asyncio.sleep(0.05)
                world.process.send_signal(signal.SIGINT)
            (answer,) = await asyncio.gather(call, return_exceptions=True)
            return answer, time.monotonic() - begun

    with Served("--grace", "60" if again else "0.3", config=slow_search(50)) as world:
        answer, seconds = asyncio.run(ask(world))
        found, said = world.ended()
    assert found == code
    assert seconds < 10
    assert "Traceback" not in said
    if again:
        assert isinstance(answer, httpx.TransportError)
    else:
        assert isinstance(answer, httpx.Response)
        assert answer.status_code == 503
        assert answer.json() == {"error": "WorldError", "args": ["this World stopped before the request was done"]}
        assert "stopped; 1 in flight were cut off" in said


@pytest.mark.slow
def test_tokens_of_a_file_are_heeded_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("s3cret-a\ns3cret-b\n", encoding="utf-8")
    with Served("--tokens", str(file), LLMI_TOKEN="s3cret-c") as world:
        statuses = [
            httpx.get(world.address + "/health", headers={"authorization": f"Bearer {token}"}).status_code
            for token in ("s3cret-a", "s3cret-b", "s3cret-c", "s3cret-d")
        ]
        command = Path(f"/proc/{world.process.pid}/cmdline")
        shown = command.read_text() if command.exists() else ""
        world.process.send_signal(signal.SIGTERM)
        code, said = world.ended()
    assert statuses == [200, 200, 200, 401]
    assert code == 0
    assert "for clients with one of its 3 tokens in LLMI_TOKEN" in said
    assert "s3cret" not in said + shown


def test_the_help_shows_every_option_and_its_example() -> None:
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    for word in (
        "--warm",
        "--grace",
        "--tokens",
        "--max-in-flight",
        "--max-body",
        "services.judges='[embedded]'",
        "/docs",
    ):
        assert word in shown


def test_a_port_that_is_taken_is_told() -> None:
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"nothing can be served on 0.0.0.0:{port}: the port is taken"):
            serve("rules", [], "0.0.0.0", port, said.append)
    assert [line for line in said if "serving" in line or "reaches" in line] == []


@pytest.mark.parametrize(
    ("host", "port", "why"),
    [
        ("nohost.invalid", 0, "there is no host 'nohost.invalid'"),
        ("192.0.2.1", 0, "that is no address of this machine"),
        ("127.0.0.1", 70_000, "a port is a number up to 65535"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_told(host: str, port: int, why: str) -> None:
    said: list[str] = []
    with pytest.raises(ConfigError, match=f"nothing can be served on {host}:{port}: {why}"):
        serve("rules", [], host, port, said.append)
    assert [line for line in said if "serving" in line] == []


def test_what_is_listened_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(server: WorldServer, counter: int) -> bool:
        return True

    monkeypatch.setattr(WorldServer, "on_tick", at_once)
    said: list[str] = []
    serve("rules", [], "0.0.0.0", 0, said.append)
    (serving,) = (line for line in said if "serving" in line)
    assert re.fullmatch(r"serving on http://0\.0\.0\.0:[1-9]\d+; Ctrl-C ends it", serving)
    assert any("warning: whoever reaches" in line for line in said)


def test_a_configuration_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match="no env preset 'oflfine', did you mean 'offline'"):
        serve("oflfine", [], "127.0.0.1", 8100, print)

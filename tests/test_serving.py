"""`llmi serve` as a command: a process of its own, asked over TCP, ended by a signal."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time

import pytest

from llmi_env.calls import Call
from llmi_env.document import Picture
from llmi_env.errors import ConfigError, WorldError
from llmi_env.serving import serve
from llmi_env.world.http import HttpWorld

OWL = Call("search", "an owl", {"query": "owl"})


def test_a_world_is_served_until_it_is_told_to_end() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llmi_env.cli", "serve", "rules", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            outcome = asyncio.run(_ask(f"http://127.0.0.1:{port}"))
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert isinstance(outcome, Picture)
    assert f"serving on http://127.0.0.1:{port}" in said
    assert "Traceback" not in said


async def _ask(address: str) -> object:
    end = time.monotonic() + 60
    while True:
        try:
            return await HttpWorld(address).run(OWL)
        except WorldError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.2)


def test_a_port_that_is_taken_is_told() -> None:
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"nothing can be served on 0.0.0.0:{port}"):
            serve("rules", [], "0.0.0.0", port, said.append)
    assert any("warning: whoever reaches" in line for line in said)


def test_a_configuration_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match="no env preset 'oflfine', did you mean 'offline'"):
        serve("oflfine", [], "127.0.0.1", 8100, print)

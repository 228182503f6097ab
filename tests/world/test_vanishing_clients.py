"""Many clients at a time, a third of which hang up in the middle or never come to an end: what is left of them afterwards."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from llmi_env.document import Document, Picture, Text
from llmi_env.serving import WorldServer
from llmi_env.task import Task
from llmi_env.testing import simulated_world
from llmi_env.world.http import HttpWorld
from llmi_env.world.protocol import Unscored
from llmi_env.world.service import create_app
from llmi_env.world.service_limits import Limits
from tests.world.asking import message, owl, until


async def stand_still(port: int, sent: bytes) -> str:
    """A client that sends this and then waits for the service to lose patience."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    return answer[:12].decode()


async def drip(port: int, begin: bytes, drop: bytes) -> None:
    """A client that sends one drop after another and never comes to an end."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(begin)
    try:
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.1)
    except ConnectionError:
        writer.close()


async def hang_up(port: int, sent: bytes, abort: bool) -> None:
    """A client that goes while the service is at work."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await writer.drain()
    await asyncio.sleep(0.2)
    if abort:
        writer.transport.abort()
    else:
        writer.close()


async def storm(clients: int) -> dict[str, Any]:
    """Clients at a server of the same loop, a third of which behave badly; what is left of it all afterwards."""
    world = simulated_world(
        tools={"search": {"latency": 0.5, "jitter": 0.5}}, judge={"latency": 0.3, "concurrency": 500},
        concurrency={"search": 500},
    )  # fmt: skip
    app = create_app(world=world, limits=Limits(1000, 1000, max_body=10_000_000, client_seconds=1.0))
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    server = WorldServer(app, grace=5, client_seconds=1.0)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    remote = HttpWorld(f"http://127.0.0.1:{port}")
    await remote.run(owl(-1))
    await remote.judge(Document(), Task("owls"))
    await remote.aclose()
    await until(lambda: not server.server_state.connections)
    gc.collect()  # what earlier tests left is not to be counted
    before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

    whole, post = message(7), b"POST /run HTTP/1.1\r\nHost: w\r\nContent-Length: "
    bad = [
        lambda n: hang_up(
            port, post + b"%d\r\n\r\n" % len(message(10_000 + n)) + message(10_000 + n), abort=bool(n % 2)
        ),
        lambda n: hang_up(port, post + b"100000\r\n\r\n" + whole, abort=bool(n % 2)),
        lambda n: stand_still(port, post + b"100000\r\n\r\n" + whole),
        lambda n: stand_still(port, b"POST /run HTTP/1.1\r\nHost: w\r\nContent-Le"),
        lambda n: stand_still(port, b""),
        lambda n: drip(port, post + b"100000\r\n\r\n", b" "),
        lambda n: drip(port, b"POST /run HTTP/1.1\r\nHost: w\r\n", b"x: y\r\n"),
    ]

    async def good(number: int) -> Any:
        if number % 4 == 0:
            return await remote.judge(Document((Text(f"Owls {number}."),)), Task("owls"))
        return await remote.run(owl(number))

    behaving = [asyncio.create_task(good(number)) for number in range(2 * clients // 3)]
    vanishing = [asyncio.create_task(bad[number % len(bad)](number)) for number in range(clients // 3)]
    answers = await asyncio.wait_for(asyncio.gather(*behaving), 60)
    ends = await asyncio.wait_for(asyncio.gather(*vanishing), 60)
    await remote.aclose()
    await until(lambda: not server.server_state.connections)
    await asyncio.sleep(0.1)
    found = {
        "answers": answers,
        "ends": [end for end in ends if end is not None],
        "in flight": app.state.admission.in_flight,
        "tools": world.figures()["search"],
        "growth": (len(os.listdir("/proc/self/fd")) - before[0], len(asyncio.all_tasks()) - before[1]),
    }
    server.stop()
    await asyncio.wait_for(serving, 20)
    return found


def check(found: dict[str, Any], clients: int) -> None:
    outcomes = [answer for answer in found["answers"] if not isinstance(answer, dict)]
    judged = [answer for answer in found["answers"] if isinstance(answer, dict)]
    assert len(outcomes) + len(judged) == 2 * clients // 3
    assert {type(outcome) for outcome in outcomes} == {Picture}
    assert not any(isinstance(judgment, Unscored) for answer in judged for judgment in answer.values())
    assert set(found["ends"]) <= {"HTTP/1.1 408", ""}  # a body that did not come, and what was never a request
    assert "HTTP/1.1 408" in found["ends"]
    assert found["in flight"] == 0
    assert (found["tools"].running, found["tools"].waiting) == (0, 0)
    descriptors, tasks = found["growth"]
    assert descriptors <= 0
    assert tasks <= 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted by Linux")
def test_clients_that_vanish_leave_nothing_and_harm_nobody() -> None:
    check(asyncio.run(storm(90)), 90)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted by Linux")
def test_hundreds_of_clients_that_vanish_leave_nothing_and_harm_nobody() -> None:
    check(asyncio.run(storm(600)), 600)

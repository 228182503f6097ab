"""Asking a service of simulators by hand, behind the server of `llmi serve`."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from llmi_env.calls import Call
from llmi_env.document import Picture
from llmi_env.serving import WorldServer
from llmi_env.testing import simulated_config
from llmi_env.world import wire
from llmi_env.world.service import create_app
from llmi_env.world.service_limits import Keys, Limits


def owl(number: int = 0) -> Call:
    return Call("search", "an owl", {"query": f"owl {number}"})


def message(number: int = 0, pictures: tuple[Picture, ...] = ()) -> bytes:
    images = [wire.PictureMessage.of(picture) for picture in pictures]
    return wire.RunRequest(call=wire.CallMessage.of(owl(number)), pictures=images, seed=1).encode()


@contextmanager
def serving(app: FastAPI, client_seconds: float = 30.0, path: Path | None = None) -> Iterator[str]:
    """The application behind the server of `llmi serve`, in a thread, on a port or the Unix socket `path`; gives the address."""
    if path is None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    else:
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        address = f"unix:{path}"
    server = WorldServer(app, grace=0, client_seconds=client_seconds)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        yield address
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def simulated(limits: Limits | None = None, latency: float = 0.0, keys: Keys | None = None, **judge: Any) -> FastAPI:
    return create_app(
        simulated_config(tools={"search": {"latency": latency}}, judge=judge, concurrency={"search": 1000}),
        limits=limits,
        keys=keys,
    )


async def until(true: Callable[[], object]) -> None:
    """Wait for something to come true."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)

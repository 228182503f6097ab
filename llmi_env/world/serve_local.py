"""The helper process of `LocalWorld`: `python -m llmi_env.world.serve_local --socket PATH --identity ID`, its configuration on standard input.

It serves one World on a Unix socket and ends by itself once nobody has held a lease for a while. A lock that the kernel releases with
the process makes sure that one socket has one helper, however the last one ended; one that comes while another ends waits for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import filelock
import uvicorn

from llmi_env.world.config import WorldConfig
from llmi_env.world.service import Leases, create_app

__all__ = ["main"]

_log = logging.getLogger(__name__)
_FIRST_CLIENT = 60.0
"""Seconds to wait for the first client; it is the one that started this process."""
_LOOK_EVERY = 0.25
_OTHER_ENDS = 600.0
"""Seconds to wait for a helper that is ending: a tool's thread may be at work. Whoever started this process gives up, and ends it, earlier."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the last client is gone."""
    parser = argparse.ArgumentParser(prog="python -m llmi_env.world.serve_local", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="path of the Unix socket")
    parser.add_argument("--identity", required=True, help="what clients must ask for")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    allow_many_clients()
    config = WorldConfig.model_validate_json(sys.stdin.buffer.read())
    _close_input()
    try:
        with filelock.FileLock(options.socket.with_suffix(".serve"), timeout=_OTHER_ENDS):
            asyncio.run(_serve(config, options.socket, options.identity))
    except filelock.Timeout:
        _log.error("another helper holds %s", options.socket)
        return 1
    return 0


def _close_input() -> None:
    """Have nothing on standard input: the processes that tools start inherit it, and the configuration is none of their business."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)


def allow_many_clients() -> None:
    """Raise the soft limit of open files to the hard one: a call in flight holds a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(config: WorldConfig, path: Path, identity: str) -> None:
    leases = Leases(identity)
    app = create_app(config, leases=leases)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # left by a helper that was killed: the lock says that none is alive
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(1024)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="on")
    )
    watch = asyncio.create_task(_end_when_alone(server, leases, config.linger))
    _log.info("listening")
    try:
        await server.serve(sockets=[listener])
    finally:
        watch.cancel()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    _log.info("ended")


async def _end_when_alone(server: uvicorn.Server, leases: Leases, linger: float) -> None:
    while leases.given == 0 and leases.idle_for() < _FIRST_CLIENT:
        await asyncio.sleep(_LOOK_EVERY)
    while leases.idle_for() <= linger:
        await asyncio.sleep(_LOOK_EVERY)
    leases.closing = True  # no await between the last look and this line: from here on no lease is given
    server.should_exit = True
    _log.info("no client is left")


if __name__ == "__main__":
    sys.exit(main())

"""`llmi serve`: the World of a configuration, for other processes and machines.

The server is uvicorn's, with two things added. It stops in three steps: new work is answered with 503, work in flight may finish for as long as
`grace` says, what is left then is cut off, which its client is told. And it closes connections on which nothing happens: clients that
never send a request, send it drop by drop, or do not fetch the answer.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from llmi_env.config import load_config
from llmi_env.errors import ConfigError
from llmi_env.world.http import TOKEN
from llmi_env.world.readiness import Readiness
from llmi_env.world.serve_local import allow_many_clients
from llmi_env.world.service import create_app
from llmi_env.world.service_limits import Admission, Keys, Limits

__all__ = ["WorldServer", "serve"]

_IDLE = 20
"""Seconds that a connection is kept for the client's next request; clients of ours let go after 5."""
_LAST_BYTES = 2
"""Seconds that clients have, at the very end, to fetch the last answers."""
_LAST_THREADS = 10.0
"""Seconds after which the process ends although a thread still computes, or a tool will not close."""


class WorldServer(uvicorn.Server):
    """Serves an application of `create_app` until SIGTERM or Ctrl-C; a second Ctrl-C ends the process at once.

    Args:
        app: the application.
        config: of uvicorn, without an application.
        grace: seconds that work in flight may take to finish once the end is asked for.
        client_seconds: how long a connection may stand open with nothing being carried out for it.
        say: is told of the end.
        begun: is told the port that is listened on, once it is.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        grace: float = 30.0,
        client_seconds: float = 30.0,
        say: Callable[[str], None] = lambda _: None,
        begun: Callable[[int], None] = lambda _: None,
        **config: Any,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                ws="none",
                timeout_keep_alive=max(1, min(_IDLE, int(client_seconds))),
                timeout_graceful_shutdown=_LAST_BYTES + 1,
                **config,
            )
        )
        self._admission: Admission = app.state.admission
        self._readiness: Readiness = app.state.readiness
        self._said_ready: str | None = None
        self._grace, self._client_seconds, self._say, self._begun = grace, client_seconds, say, begun
        self._asked = self._signalled = False
        self._until: float | None = None
        self._idle: dict[Any, tuple[object, float]] = {}

    def stop(self) -> None:
        """Ask for the end, as SIGTERM does, of the server alone and not of the process."""
        self._asked = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Heed a signal. What is set here is looked at ten times a second."""
        if self._asked and sig == signal.SIGINT:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._asked = self._signalled = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._begun(next((at.getsockname()[1] for server in self.servers for at in server.sockets), 0))

    async def on_tick(self, counter: int) -> bool:
        """Whether the time has come to close everything."""
        if counter % 10 == 0:
            self._close_idle()
        if (told := self._readiness.told) not in (None, self._said_ready):
            self._said_ready = told
            self._say(str(told))
        ended = await super().on_tick(counter)
        return self._may_end() if self._asked else ended

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close everything; work in flight is over by now, or cut off."""
        if self._signalled:
            _end_within(_LAST_THREADS)
        asyncio.get_running_loop().call_later(_LAST_BYTES, self._abort, lambda _: True)
        await super().shutdown(sockets)

    def _may_end(self) -> bool:
        admission = self._admission
        if self._until is None:
            self._until = time.monotonic() + self._grace
            admission.stop()
            if admission.in_flight:
                self._say(
                    f"stopping: {admission.in_flight} in flight may take {self._grace:g} seconds to finish; Ctrl-C again ends it at once"
                )
        if admission.in_flight and time.monotonic() < self._until:
            return False
        cut = admission.give_up()
        self._say(f"stopped; {cut} in flight were cut off" if cut else "stopped; nothing was in flight any more")
        return True

    def _close_idle(self) -> None:
        now, found = time.monotonic(), {}
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is None or cycle.response_complete:
                before, since = self._idle.get(connection, (cycle, now))
                found[connection] = (cycle, since if before is cycle else now)
        self._idle = found
        self._abort(lambda connection: now - found.get(connection, (None, now))[1] > self._client_seconds)

    def _abort(self, which: Callable[[Any], bool]) -> None:
        for connection in list(self.server_state.connections):
            if which(connection) and (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()


def serve(
    config: str,
    overrides: Sequence[str],
    host: str,
    port: int,
    say: Callable[[str], None],
    *,
    limits: Limits | None = None,
    tokens: Path | None = None,
    open_metrics: bool = False,
    warm: bool = False,
    grace: float = 30.0,
) -> None:
    """Serve the tools and judges of an environment's configuration until Ctrl-C or SIGTERM.

    Args:
        config: a preset of `envs_configs`, or the path of a YAML file; what it says under `services` is served.
        overrides: `"services.judges=[embedded]"` and the like.
        host: address to listen on.
        port: of TCP; 0 takes one that is free.
        say: is told what is served, and where.
        limits: how much is taken on at a time; without limits by default.
        tokens: file with the tokens that are accepted, besides those of the environment.
        open_metrics: show `/metrics` also to those who have no token.
        warm: make tools and judges at once, not on first use.
        grace: seconds that work in flight may take to finish at the end.

    Raises:
        ConfigError: a configuration or tokens that cannot be read, or an address that cannot be listened on.
    """
    services = load_config(config, overrides).services
    keys, limits = Keys.read(os.environ, tokens), limits or Limits()
    judges = [use for use, _ in services.judge_uses()]
    say(f"tools: {', '.join(services.tools) or 'none'}; judges: {', '.join(judges) or 'none'}")
    name = f"[{host}]" if ":" in host else host
    whom = (
        f", for clients with {'its token' if len(keys) == 1 else f'one of its {len(keys)} tokens'} in {TOKEN}"
        if keys
        else ""
    )

    def begun(port: int) -> None:
        say(f"serving on http://{name}:{port}{whom}; Ctrl-C ends it")
        if not keys and not _loopback(host):
            say(
                f"warning: whoever reaches {name}:{port} can run code in the sandbox of this World; set {TOKEN} here and on the clients"
            )

    allow_many_clients()
    server = WorldServer(
        create_app(services, keys=keys, limits=limits, warm=warm, open_metrics=open_metrics),
        grace=grace,
        client_seconds=limits.client_seconds or 30.0,
        say=say,
        begun=begun,
        host=host,
        port=port,
    )
    try:
        server.run()
    except (SystemExit, OverflowError) as error:  # the first is uvicorn's way to say that it could not start
        raise ConfigError(f"nothing can be served on {name}:{port}: {_why_not(error, host)}") from error


def _why_not(error: BaseException, host: str) -> str:
    """Why an address cannot be listened on, and what to do."""
    if isinstance(error, OverflowError):
        return "a port is a number up to 65535"
    cause = error.__context__
    if isinstance(cause, socket.gaierror):
        return f"there is no host {host!r}; take an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all that it has"
    known = {
        errno.EADDRINUSE: "the port is taken; take another one by --port",
        errno.EADDRNOTAVAIL: "that is no address of this machine; 0.0.0.0 stands for all that it has",
        errno.EACCES: "this user may not listen there; ports from 1024 on are for everyone",
    }
    told = str(cause) if isinstance(cause, OSError) else "its application could not start"
    return known.get(getattr(cause, "errno", None) or 0, told)


def _end_within(seconds: float) -> None:
    """Have the process end then, even where a thread that nobody can stop would keep it: all answers are given."""

    def end() -> None:
        time.sleep(seconds)
        sys.stdout.flush()
        logging.shutdown()
        os._exit(0)

    threading.Thread(target=end, name="end", daemon=True).start()


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The in-process World behind HTTP: what `llmi serve` and the local helper process run.

    POST /run      `wire.RunRequest`   -> `wire.RunReply`
    POST /judge    `wire.JudgeRequest` -> `wire.JudgeReply`
    GET  /terms                        -> `wire.Terms`
    GET  /health                       -> `wire.Health`
    GET  /alive    for health checks: needs no token and tells nothing
    GET  /lease    (helper process) an answer that never ends: while it is open, the process stays

What a call or a judge does wrong is part of a 200. A set-up that cannot work (a missing extra, a bad option) is a 424 with the
error by name, a message that cannot be read a 422, a request without the token where one is asked for a 401. A client that hangs up
cancels its call. Nothing is encrypted: beyond this machine, a private network or a proxy that speaks TLS.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from llmi_env.errors import LLMIError
from llmi_env.world import wire
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld

T = TypeVar("T")
_LARGE = 50_000


class Leases:
    """How many clients hold on to this process, and since when none does.

    Args:
        identity: what a client must ask for; the config and versions it was started for.
    """

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.held = 0
        self.given = 0
        self.closing = False
        self.idle_since = time.monotonic()

    async def hold(self, gone: Awaitable[None]) -> AsyncIterator[bytes]:
        """Body of a lease: one line, then nothing until the client is `gone`."""
        if self.closing:
            return
        self.held += 1
        self.given += 1
        try:
            yield b"leased\n"
            await gone
        finally:
            self.held -= 1
            self.idle_since = time.monotonic()

    def idle_for(self) -> float:
        """Seconds since the last client went, 0 while there is one."""
        return 0.0 if self.held else time.monotonic() - self.idle_since


class _ClientGone(Exception):
    pass


def create_app(
    config: WorldConfig | None = None,
    *,
    world: InProcessWorld | None = None,
    leases: Leases | None = None,
    token: str | None = None,
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        config: what the World is made of; the offline default where nothing is given.
        world: a World that is already made, in place of `config`.
        leases: count clients (the helper process does).
        token: what clients must send as `Authorization: Bearer TOKEN`; none by default.
    """
    served = world or InProcessWorld.from_config(config)
    requests = 0

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await served.aclose()

    async def admit(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if (
            token is not None
            and request.url.path != "/alive"
            and not secrets.compare_digest(given.encode(), token.encode())
        ):
            raise HTTPException(401, "this World asks for a token")

    app = FastAPI(title="LLMI World", version=wire.VERSION, lifespan=lifespan, dependencies=[Depends(admit)])

    @app.exception_handler(ValueError)
    async def unreadable(_: Request, error: ValueError) -> Response:
        reply = LLMIError(f"the message cannot be read: {error}")
        return Response(wire.ErrorReply.of(reply).encode(), 422, media_type="application/json")

    @app.exception_handler(LLMIError)
    async def broken_setup(_: Request, error: LLMIError) -> Response:
        return Response(wire.ErrorReply.of(error).encode(), 424, media_type="application/json")

    @app.exception_handler(_ClientGone)
    async def gone(_: Request, __: _ClientGone) -> Response:
        return Response(status_code=499)

    @app.post("/run")
    async def run(request: Request) -> Response:
        nonlocal requests
        requests += 1
        body = await request.body()

        def read() -> tuple[wire.RunRequest, tuple[Any, ...]]:
            message = wire.RunRequest.model_validate_json(body)
            return message, tuple(picture.value() for picture in message.pictures)

        message, pictures = await _off_loop(read, len(body))
        work = served.run(message.call.value(), pictures, seed=message.seed, deadline=message.deadline)
        outcome = await _unless_gone(request, work)
        reply = await asyncio.to_thread(lambda: wire.RunReply(outcome=wire.outcome_message(outcome)).encode())
        return Response(reply, media_type="application/json")

    @app.post("/judge")
    async def judge(request: Request) -> Response:
        nonlocal requests
        requests += 1
        body = await request.body()

        def read() -> tuple[Any, Any]:
            message = wire.JudgeRequest.model_validate_json(body)
            return message.document.value(), message.task.value()

        document, task = await _off_loop(read, len(body))
        judgments = await _unless_gone(request, served.judge(document, task))
        return Response(wire.JudgeReply.of(judgments).encode(), media_type="application/json")

    @app.get("/terms")
    async def terms() -> Response:
        found = wire.Terms.of(await served.about_judges())
        return Response(found.encode(), media_type="application/json")

    @app.get("/alive")
    async def alive() -> Response:
        return Response("alive\n", media_type="text/plain")

    @app.get("/health")
    async def health() -> Response:
        found = wire.Health(
            version=wire.VERSION,
            protocol=wire.PROTOCOL,
            config=served.config.digest(),
            tools=list(served.tool_names),
            requests=requests,
            clients=leases.held if leases is not None else None,
            pid=os.getpid(),
        )
        return Response(found.encode(), media_type="application/json")

    if leases is not None:

        @app.get("/lease")
        async def lease(request: Request) -> Response:
            if leases.closing:
                return Response("closing", 503)
            return StreamingResponse(leases.hold(_hung_up(request)), headers={"llmi-identity": leases.identity})

    return app


async def _off_loop(read: Any, size: int) -> Any:
    return await asyncio.to_thread(read) if size > _LARGE else read()


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, and cancel it when the client hangs up first."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise _ClientGone
        return working.result()
    finally:
        for task in (working, watching):
            task.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

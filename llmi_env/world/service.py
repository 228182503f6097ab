"""The in-process World behind HTTP: what `llmi serve` and the local helper process run.

    POST /run      `wire.RunRequest`   -> `wire.RunReply`
    POST /judge    `wire.JudgeRequest` -> `wire.JudgeReply`
    GET  /terms                        -> `wire.Terms`
    GET  /health                       -> `wire.Health`
    GET  /alive    for health checks: needs no token and tells nothing
    GET  /ready                        -> `readiness.Ready`
    GET  /metrics  for Prometheus
    GET  /lease    (helper process) an answer that never ends: while it is open, the process stays

What a call or a judge does wrong is part of a 200. Every other status has a `wire.ErrorReply`: a set-up that cannot work (a missing
extra, a bad option) is a 424 with the error by name, a message that cannot be read a 422; who is not let in at all, and with which status, is
up to the gate (`llmi_env.world.service_limits`). A client that hangs up cancels its call. Nothing is encrypted: beyond this machine, a
private network or a proxy that speaks TLS.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException

from llmi_env.calls import Call
from llmi_env.document import Document, Picture
from llmi_env.errors import LLMIError, WorldError
from llmi_env.task import Task
from llmi_env.world import openapi, wire
from llmi_env.world.config import WorldConfig
from llmi_env.world.deciding import digest_of
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.metrics import CONTENT_TYPE, Metrics
from llmi_env.world.readiness import Readiness, Ready
from llmi_env.world.service_limits import Admission, Gate, Keys, Limits

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
    keys: Keys | None = None,
    limits: Limits | None = None,
    warm: bool = False,
    open_metrics: bool = False,
) -> FastAPI:
    """The service as an ASGI application; its `state` has `admission` (who is inside) and `readiness`.

    Args:
        config: what the World is made of; the offline default where nothing is given.
        world: a World that is already made, in place of `config`.
        leases: count clients (the helper process does).
        keys: the tokens of which clients must send one, as `Authorization: Bearer TOKEN`; none by default.
        limits: how much it takes on; without limits by default.
        warm: make tools and judges at the start, not on first use.
        open_metrics: show `/metrics` also to those who have no token.
    """
    served = world or InProcessWorld.from_config(config)
    limits, keys = limits or Limits(), keys or Keys()
    admission, readiness = Admission(limits), Readiness(served)
    requests = 0

    def state() -> dict[str, bool]:
        return {"ready": readiness.ready and not admission.stopping, "stopping": admission.stopping}

    metrics = Metrics(admission.by_route, state, served.figures)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if warm:
            readiness.begin()
        yield
        await readiness.aclose()
        await served.aclose()

    app = FastAPI(
        title="LLMI World", version=wire.VERSION, description=openapi.ABOUT, lifespan=lifespan,
        redoc_url=None, swagger_ui_oauth2_redirect_url=None,
    )  # fmt: skip
    app.state.admission, app.state.readiness = admission, readiness
    app.add_middleware(Gate, admission=admission, keys=keys, metrics=metrics, open_metrics=open_metrics)
    openapi.install(app, keys=bool(keys))
    _answer_errors(app)

    @app.post(
        "/run",
        summary="Carry out one call of a tool",
        **openapi.operation(wire.RunReply, wire.RunRequest, openapi.WORK),
    )
    async def run(request: Request) -> Response:
        """The same call with the same seed gives the same picture. A client that hangs up cancels it."""
        nonlocal requests
        requests += 1
        body = await request.body()

        def read() -> tuple[wire.RunRequest, Call, tuple[Picture, ...]]:
            message = wire.RunRequest.model_validate_json(body)
            limits.check_pictures(message.pictures)
            return message, message.call.value(), tuple(picture.value() for picture in message.pictures)

        message, call, pictures = await _read(read, body)
        work = served.run(call, pictures, seed=message.seed, deadline=message.deadline)
        outcome = await _unless_gone(request, work)
        return _json(await asyncio.to_thread(lambda: wire.RunReply(outcome=wire.outcome_message(outcome)).encode()))

    @app.post(
        "/judge", summary="Judge a document", **openapi.operation(wire.JudgeReply, wire.JudgeRequest, openapi.WORK)
    )
    async def judge(request: Request) -> Response:
        """One judgment for each term that `GET /terms` names. A client that hangs up cancels it."""
        nonlocal requests
        requests += 1
        body = await request.body()

        def read() -> tuple[Document, Task]:
            message = wire.JudgeRequest.model_validate_json(body)
            limits.check_pictures(_pictures(message))
            return message.document.value(), message.task.value()

        document, task = await _read(read, body)
        judgments = await _unless_gone(request, served.judge(document, task))
        return _json(wire.JudgeReply.of(judgments).encode())

    @app.get("/terms", summary="What the judges score", **openapi.operation(wire.Terms, statuses=(401, 424, 500, 503)))
    async def terms() -> Response:
        """Makes the judges, where that was not done before."""
        return _json(wire.Terms.of(await served.about_judges()).encode())

    @app.get("/alive", summary="Whether the process answers", response_class=PlainTextResponse)
    async def alive() -> Response:
        """Needs no token and tells nothing."""
        return Response("alive\n", media_type="text/plain")

    @app.get("/ready", summary="Whether tools and judges are made and warm", **openapi.readiness())
    async def ready(request: Request) -> Response:
        """503 until they are, and once the service stops. Asking has them made. Names and reasons are for those who have the token."""
        if not admission.stopping:
            await readiness.settle()
        known = not keys or request.scope["llmi.holder"] is not None
        found = Ready(**state(), parts=readiness.parts if known else {})
        answer = _json(found.model_dump_json().encode(), 200 if found.ready else 503)
        if not found.ready:
            answer.headers["retry-after"] = "2"
        return answer

    @app.get(
        "/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse, responses=openapi.errors(401)
    )
    async def figures() -> Response:
        """In its text format, version 0.0.4."""
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})

    @app.get("/health", summary="What is served", **openapi.operation(wire.Health, statuses=(401,)))
    async def health() -> Response:
        """Version, protocol, tools, a digest of what decides answers; clients compare `protocol` with their own before anything else."""
        found = wire.Health(
            version=wire.VERSION,
            protocol=wire.PROTOCOL,
            config=digest_of(await served.deciding()),
            tools=list(served.tool_names),
            requests=requests,
            clients=leases.held if leases is not None else None,
            pid=os.getpid(),
        )
        return _json(found.encode())

    if leases is not None:

        @app.get("/lease", include_in_schema=False)
        async def lease(request: Request) -> Response:
            if leases.closing:
                return Response("closing", 503)
            return StreamingResponse(leases.hold(_hung_up(request)), headers={"llmi-identity": leases.identity})

    return app


def _answer_errors(app: FastAPI) -> None:
    """Give every error that leaves a route its status, and an `ErrorReply` as its body."""

    def reply(error: LLMIError, status: int, headers: Mapping[str, str] | None = None) -> Response:
        return Response(wire.ErrorReply.of(error).encode(), status, headers, "application/json")

    async def unreadable(_: Request, error: Exception) -> Response:
        return reply(LLMIError(f"the message cannot be read: {error}"), 422)

    @app.exception_handler(LLMIError)
    async def broken_setup(_: Request, error: LLMIError) -> Response:
        return reply(error, 424)

    @app.exception_handler(HTTPException)
    async def nothing_there(_: Request, error: HTTPException) -> Response:
        return reply(WorldError(error.detail), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> Response:
        return reply(WorldError(f"a defect of the service, told in its log ({type(error).__name__})"), 500)

    @app.exception_handler(_ClientGone)
    async def gone(_: Request, __: _ClientGone) -> Response:
        return Response(status_code=499)

    app.add_exception_handler(ValueError, unreadable)
    app.add_exception_handler(RecursionError, unreadable)  # nested too deep


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _pictures(message: wire.JudgeRequest) -> Iterator[wire.PictureMessage]:
    yield from message.task.images
    for block in message.document.blocks:
        if isinstance(block, wire.FigureMessage) and isinstance(block.outcome, wire.PictureMessage):
            yield block.outcome


async def _read(read: Callable[[], T], body: bytes) -> T:
    """What `read` makes of a body, in a thread where that may take long.

    Raises:
        ValueError: it cannot be read, whatever it was that went wrong.
    """
    try:
        return await asyncio.to_thread(read) if len(body) > _LARGE or b'"png"' in body else read()
    except Exception as error:  # decoders of pictures and numbers have more ways to fail than they tell
        if isinstance(error, ValueError) and not isinstance(error, LLMIError):
            raise
        raise ValueError(f"{type(error).__name__}: {error}") from error


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

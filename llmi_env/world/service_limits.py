"""What stands before the service's routes: who may ask, how many at a time, how large and how slow a request may be, and the end.

`Gate` is the outermost part of the application and the only one that turns requests away. Whoever is turned away is told so before the
body is read, with an `ErrorReply`; 429 and 503 say by `Retry-After` when to come again. What the gate lets in holds a place until it is
answered, so that memory is bounded by places times the largest body. The counts live in `Admission`, which the server and the metrics read.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmi_env.errors import ConfigError, WorldError
from llmi_env.world import wire
from llmi_env.world.metrics import Metrics

ROUTES = ("/run", "/judge", "/terms", "/health", "/alive", "/ready", "/metrics", "/lease", "/docs", "/openapi.json")
"""Paths that metrics tell apart; all others are `other`, however many a stranger makes up."""
WORK = ("/run", "/judge", "/terms")
"""Paths that are closed while the service stops."""
OPEN = ("/alive", "/ready", "/docs", "/openapi.json")
"""Paths that need no token: health checks have none, and the description of the interface is public."""
_GONE = 499
_DRAINED = 4
"""A body of up to so many times the limit is let run into the void, so that whoever writes it all before he reads gets to read the answer."""
_DRAINED_ANYWAY = 25_000_000
"""In place of the limit, in bytes, where there is none."""
_LINGER = 2.0
"""Seconds for which this is done where the connection is to be closed: closed earlier, it would take the answer with it."""


@dataclass(frozen=True)
class Limits:
    """How much the service takes on; `None` is no limit.

    Attributes:
        max_in_flight: calls carried out or waiting for their turn.
        max_judging: documents judged or waiting for it; apart, because judging is slow and must not keep calls out.
        max_per_client: calls, and documents, of one client: of one token, or one address where there are no tokens.
        max_body: bytes of a request's body.
        max_pixels: pixels of all pictures of a request: a small PNG may unfold to many.
        max_pictures: pictures of a request.
        client_seconds: how long a client may take to send its body.
    """

    max_in_flight: int | None = None
    max_judging: int | None = None
    max_per_client: int | None = None
    max_body: int | None = None
    max_pixels: int | None = None
    max_pictures: int | None = None
    client_seconds: float | None = None

    def places(self, route: str) -> int | None:
        """How many requests of a route are let in at a time."""
        return {"/run": self.max_in_flight, "/judge": self.max_judging}.get(route)

    def check_pictures(self, pictures: Iterable[wire.PictureMessage]) -> None:
        """Raise `ValueError` where the pictures of a message are too many, or unfold to too much; nothing is unfolded for it."""
        given = list(pictures)
        if self.max_pictures is not None and len(given) > self.max_pictures:
            raise ValueError(f"it has {len(given)} pictures, {self.max_pictures} are allowed")
        if self.max_pixels is not None and (total := sum(one.pixels() for one in given)) > self.max_pixels:
            raise ValueError(f"its pictures have {total} pixels together, {self.max_pixels} are allowed")


class Keys:
    """The tokens that a service accepts, of which it keeps only digests; without any it accepts everybody.

    Args:
        tokens: printable ASCII without blanks, as an HTTP header carries them.

    Raises:
        ConfigError: a token that no header could carry; it says which one by its place, never by its text.
    """

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        given = tuple(tokens)
        for place, token in enumerate(given, 1):
            if not token.isascii() or not token.isprintable() or not token or " " in token:
                raise ConfigError(f"token {place} of {len(given)} is not printable ASCII without blanks")
        self._digests = tuple(dict.fromkeys(_digest(token.encode()) for token in given))

    @classmethod
    def read(cls, environment: Mapping[str, str], file: Path | None = None) -> Keys:
        """Tokens of `LLMI_TOKEN` (one), `LLMI_TOKENS` (several, blanks between) and a file (one a line; those that begin with `#` are remarks).

        Raises:
            ConfigError: the file cannot be read, or there is none in it.
        """
        found = [token] if (token := environment.get("LLMI_TOKEN", "").strip()) else []
        found += environment.get("LLMI_TOKENS", "").split()
        if file is not None:
            try:
                lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no text"
                raise ConfigError(f"the tokens in {file} cannot be read: {reason}") from None
            listed = [line for line in lines if line and not line.startswith("#")]
            if not listed:
                raise ConfigError(f"there is no token in {file}: write one a line")
            found += listed
        return cls(found)

    def __len__(self) -> int:
        return len(self._digests)

    def holder(self, header: str) -> str | None:
        """A name for whoever sent this `Authorization` header, or `None` where it holds none of the tokens.

        As long for a right token as for a wrong one, whichever it is: all are compared, by digests of one length.
        """
        scheme, _, token = header.partition(" ")
        given, holder = _digest(token.strip().encode()), None
        for place, digest in enumerate(self._digests, 1):
            if secrets.compare_digest(given, digest) and scheme.lower() == "bearer":
                holder = f"token {place}"
        return holder


class Admission:
    """Who is inside, and whether anybody else may come in. Belongs to one event loop.

    Args:
        limits: how much the service takes on.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.stopping = False
        """Whether no new work is taken on."""
        self.given_up = 0
        """How many requests were cut off because the service could wait no longer."""
        self._inside: dict[asyncio.Task[Any], str] = {}
        self._by_route: Counter[str] = Counter()
        self._by_client: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, float] = {}
        self._cut: set[asyncio.Task[Any]] = set()

    @property
    def in_flight(self) -> int:
        """Requests for work that are inside."""
        return sum(self._by_route[route] for route in WORK)

    def by_route(self) -> dict[str, int]:
        """Requests inside, for each route of work."""
        return {route: self._by_route[route] for route in WORK}

    def full(self, route: str, client: str) -> str | None:
        """Why there is no place for another request: `busy`, `client_busy`, or `None` where there is one."""
        places, each = self.limits.places(route), self.limits.max_per_client
        if places is not None and self._by_route[route] >= places:
            return "busy"
        if places is not None and each is not None and self._by_client[route, client] >= each:
            return "client_busy"
        return None

    def retry_after(self, route: str) -> int:
        """Seconds after which a place may be free: what one request takes of late, from 1 to 30."""
        return max(1, min(30, math.ceil(self._seconds.get(route, 1.0))))

    def stop(self) -> None:
        """Take on no new work."""
        self.stopping = True

    def give_up(self) -> int:
        """Cut off all work that is inside, and say how much that was: it is answered with 503."""
        self.stopping = True
        cut = [task for task, route in self._inside.items() if route in WORK and task not in self._cut]
        self._cut.update(cut)
        self.given_up += len(cut)
        for task in cut:
            task.cancel()
        return len(cut)

    def was_cut(self, task: asyncio.Task[Any]) -> bool:
        """Whether `give_up` cancelled this one, as against its server."""
        return task in self._cut

    def enter(self, task: asyncio.Task[Any], route: str, client: str) -> None:
        """Take a place."""
        self._inside[task] = route
        self._by_route[route] += 1
        self._by_client[route, client] += 1

    def leave(self, task: asyncio.Task[Any], route: str, client: str, seconds: float | None) -> None:
        """Give the place back; `seconds` is how long an answered request took."""
        del self._inside[task]
        self._cut.discard(task)
        self._by_route[route] -= 1
        self._by_client[route, client] -= 1
        if not self._by_client[route, client]:
            del self._by_client[route, client]
        if seconds is not None:
            self._seconds[route] = 0.9 * self._seconds.get(route, seconds) + 0.1 * seconds


class _TooLarge(Exception):
    pass


class _TooSlow(Exception):
    pass


class Gate:
    """ASGI middleware that lets requests in, or not.

    Args:
        app: the routes.
        admission: the places.
        keys: the tokens.
        metrics: is told of every request.
        open_metrics: whether `/metrics` needs no token.
    """

    def __init__(
        self, app: ASGIApp, *, admission: Admission, keys: Keys, metrics: Metrics, open_metrics: bool = False
    ) -> None:
        self._app, self._admission, self._keys, self._metrics = app, admission, keys, metrics
        self._open = (*OPEN, "/metrics") if open_metrics else OPEN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        route = scope["path"] if scope["path"] in ROUTES else "other"
        scope["llmi.holder"] = holder = self._keys.holder(headers.get("authorization", ""))
        client = holder or (scope.get("client") or ("?",))[0]
        visit = _Visit(scope, headers, receive, send, self._admission.limits)
        refusal = self._refusal(route, visit, client)
        if refusal is not None:
            await self._refuse(visit, route, *refusal)
            self._metrics.answered(route, visit.status)
            return
        await self._let_in(visit, route, client)

    def _refusal(self, route: str, visit: _Visit, client: str) -> tuple[int, str] | None:
        """Status and reason, where this request is not let in."""
        admission = self._admission
        if self._keys and visit.scope["llmi.holder"] is None and route not in self._open:
            return 401, "unauthorised"
        if route in WORK and admission.stopping:
            return 503, "stopping"
        if visit.length is not None and visit.length > (admission.limits.max_body or math.inf):
            return 413, "too_large"
        full = admission.full(route, client) if visit.scope["method"] == "POST" else None
        return None if full is None else (429, full)

    async def _let_in(self, visit: _Visit, route: str, client: str) -> None:
        task = asyncio.current_task()
        assert task is not None  # ASGI is coroutines
        self._admission.enter(task, route, client)
        begun = time.monotonic()
        try:
            await self._app(visit.scope, visit.receive, visit.send)
        except ClientDisconnect:
            pass
        except _TooLarge:
            await self._refuse(visit, route, 413, "too_large")
        except _TooSlow:
            await self._refuse(visit, route, 408, "too_slow")
        except asyncio.CancelledError:
            if not self._admission.was_cut(task) or visit.status != _GONE:
                raise
            task.uncancel()
            await self._refuse(visit, route, 503, "given_up")
        except Exception:
            visit.status = 500  # answered, and logged, outside of here
            raise
        finally:
            seconds = time.monotonic() - begun
            self._admission.leave(task, route, client, seconds if visit.status == 200 else None)
            self._metrics.answered(route, visit.status, seconds, visit.received, visit.sent)

    async def _refuse(self, visit: _Visit, route: str, status: int, reason: str) -> None:
        self._metrics.rejected(route, reason)
        headers = {"content-type": "application/json"}
        if status == 401:
            headers["www-authenticate"] = "Bearer"
        elif status == 429:
            headers["retry-after"] = str(self._admission.retry_after(route))
        elif status == 503:
            headers |= {"retry-after": "2", "connection": "close"}  # where there are others, the next one goes there
        if status == 408 or not visit.will_end():
            headers["connection"] = "close"
        body = wire.ErrorReply.of(WorldError(_SAID[reason])).encode()
        coded = [(name.encode(), value.encode()) for name, value in headers.items()]
        coded.append((b"content-length", str(len(body)).encode()))
        await visit.send({"type": "http.response.start", "status": status, "headers": coded})
        await visit.send({"type": "http.response.body", "body": body, "more_body": True})
        if "connection" in headers and status != 408:
            await visit.linger()
        await visit.send({"type": "http.response.body", "body": b""})


_SAID = {
    "unauthorised": "this World asks for a token: send it as `Authorization: Bearer TOKEN`",
    "stopping": "this World is stopping and takes nothing on",
    "given_up": "this World stopped before the request was done",
    "too_large": "the body is larger than this World takes (`llmi serve --max-body`)",
    "too_slow": "the body did not arrive in time (`llmi serve --client-seconds`)",
    "busy": "this World has its hands full: come again later (`llmi serve --max-in-flight`, `--max-judging`)",
    "client_busy": "this client has as many requests here as one may have: come again later (`llmi serve --max-per-client`)",
}


class _Visit:
    """One request on its way through: what has come, what was answered, and the limits on its body."""

    def __init__(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send, limits: Limits) -> None:
        self.scope, self._receive, self._send, self._limits = scope, receive, send, limits
        told = headers.get("content-length", "0")[:20]
        self.length = int(told) if told.isdecimal() and "transfer-encoding" not in headers else None
        """Bytes of the body, as announced; `None` where they are not."""
        self._drained = _DRAINED * (limits.max_body or _DRAINED_ANYWAY)
        self.status = _GONE
        self.received = self.sent = 0
        self._whole = False
        loop = asyncio.get_running_loop()
        self._until = None if limits.client_seconds is None else loop.time() + limits.client_seconds

    def will_end(self) -> bool:
        """Whether what may still come of the body is little enough to be let run into the void."""
        return self._whole or (self.length is not None and self.length <= self._drained)

    async def receive(self) -> Message:
        """The next piece of the body, within the limits; after it, whatever comes."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise _TooSlow from None
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._limits.max_body is not None and self.received > self._limits.max_body:
                raise _TooLarge
        return message

    async def linger(self) -> None:
        """Let what still comes of the body run into the void, within limits."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while not self._whole and self.received <= self._drained:
                    message = await self._receive()
                    self.received += len(message.get("body", b""))
                    self._whole = not message.get("more_body", False)

    async def send(self, message: Message) -> None:
        """Pass the answer on, and note it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))
        await self._send(message)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()

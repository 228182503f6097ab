"""Clients of a World that runs elsewhere: over TCP, or over a Unix socket of the same machine.

A client holds nothing but an address until it is used. Its connections belong to one process and one event loop: in a forked
child, on another loop and after unpickling they are made anew. Lost connections are tried again, since a call is fixed by its seed and
may safely run twice. A World that has its hands full says when to come again, and is asked again then; one that was there and is not just
now may be starting again, and is waited for as long. What stays lost is a `Failure` or `Unscored`, never a low score.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpx
from pydantic import ValidationError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    retry_if_not_exception_type,
    wait_random_exponential,
)

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Outcome, Picture
from llmi_env.errors import ConfigError, LLMIError, WorldError
from llmi_env.judges.making import tell_stand_ins
from llmi_env.services.retry_after import retry_after
from llmi_env.task import Task
from llmi_env.world import wire
from llmi_env.world.lines import Line
from llmi_env.world.protocol import AboutJudge, Deciding, Judgments, Unscored

__all__ = ["ConnectionLost", "HttpWorld", "RemoteWorld"]

_log = logging.getLogger(__name__)
TOKEN = "LLMI_TOKEN"
"""Environment variable with the token of a World that asks for one."""
_CONNECTIONS = {"/judge": 256}
_CONNECTIONS_OTHERWISE = 512
_BACKOFF = wait_random_exponential(multiplier=0.2, max=3.0)
_PASSING = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
"""Errors of the client that may not come again."""
_BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_SHORTEST = 0.2
"""Seconds before which a busy service is not asked again, whatever it says."""
_TELL_AFTER = 8.0
"""Seconds without an answer after which the log says what is waited for, and for which it does not say again that a service is busy."""
_TELL_AWAY = 30.0
"""Seconds for which the log does not say again that a service is away."""

_abandoned: list[Any] = []
"""Connections of a parent process, kept from being collected: closing them here would touch the parent's selector."""


class ConnectionLost(Exception):
    """The connection broke, or the service is not there (inside this package only: it ends as a `Failure`)."""


class Rejected(ConnectionLost):
    """The service answered that it cannot take this message; the same one would be turned away again."""


class Busy(ConnectionLost):
    """The service asks to come again later.

    Attributes:
        seconds: after how long.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Away(ConnectionLost):
    """Nobody listens where the service was before: it may be starting again."""


class RemoteWorld:
    """What every client shares: messages, retries, and handles for each process and loop.

    Judgments have connections of their own, 256 of them, so that hundreds of documents that wait for a slow judge hold up no call.

    Args:
        url: base address of the service.
        uds: Unix socket to use in place of TCP.
        attempts: how often a call is tried when the connection is lost.
        patience: seconds to wait for an answer, which includes waiting for a turn in the service; before that, as many seconds for a
            service that has its hands full, or is away, to take the call on (a call's own deadline, where it is shorter).
    """

    _pid: int
    _tell_busy_from: float
    _tell_away_from: float
    _judges: tuple[AboutJudge, ...] | None
    _lines: dict[tuple[asyncio.AbstractEventLoop, str], Line]

    def __init__(self, url: str, uds: str | None = None, *, attempts: int = 4, patience: float = 600.0) -> None:
        self.url, self.uds = url, uds
        self.attempts, self.patience = attempts, patience
        self._forget()

    # ------------------------------------------------------------------------------------------------------------ World

    async def run(
        self, call: Call, pictures: Sequence[Picture] = (), *, seed: int = 0, deadline: float | None = None
    ) -> Outcome:
        """Carry out one call; see `World.run`.

        Raises:
            WorldError: the service was never reached.
            ConfigError, MissingExtra, AssetError: its set-up cannot work.
        """
        given = tuple(pictures)

        def encode() -> bytes:
            images = [wire.PictureMessage.of(picture) for picture in given]
            return wire.RunRequest(
                call=wire.CallMessage.of(call), pictures=images, seed=seed, deadline=deadline
            ).encode()

        body = await asyncio.to_thread(encode) if given else encode()
        try:
            answer = await self._ask("POST", "/run", body, deadline)
            reply = wire.RunReply.model_validate_json(answer)
            return await asyncio.to_thread(reply.outcome.value)
        except httpx.TimeoutException:
            return Failure.of(call.tool, "timeout", self._too_late)
        except (ConnectionLost, ValueError) as error:
            return Failure.of(call.tool, "unavailable", _reason(error))

    async def judge(self, document: Document, task: Task) -> Judgments:
        """Judge a document; see `World.judge`.

        Raises:
            WorldError: the service was never reached.
            ConfigError, MissingExtra, AssetError: its set-up cannot work.
        """
        terms = await self.terms()

        def encode() -> bytes:
            return wire.JudgeRequest(
                document=wire.DocumentMessage.of(document), task=wire.TaskMessage.of(task)
            ).encode()

        try:
            answer = await self._ask("POST", "/judge", await asyncio.to_thread(encode))
            return wire.JudgeReply.model_validate_json(answer).value()
        except httpx.TimeoutException:
            reason = self._too_late
        except (ConnectionLost, ValueError) as error:
            reason = _reason(error)
        return dict.fromkeys(terms, Unscored(reason))

    async def terms(self) -> tuple[str, ...]:
        """Every term that the World's judges score.

        Raises:
            WorldError: the service cannot be reached and has never told.
            ConfigError, MissingExtra, AssetError: one of its judges cannot be made.
        """
        return tuple(dict.fromkeys(term for judge in await self.about_judges() for term in judge.terms))

    async def about_judges(self) -> tuple[AboutJudge, ...]:
        """Name, identity and terms of each of the World's judges; raises as `terms` does."""
        if self._judges is None:
            try:
                self._judges = wire.Terms.model_validate_json(await self._ask("GET", "/terms")).value()
            except (ConnectionLost, httpx.TimeoutException, ValidationError) as error:
                raise WorldError(f"the World at {self._place} does not tell what it judges: {error}") from error
            tell_stand_ins([(judge.name, judge.terms) for judge in self._judges])  # the service's own log is elsewhere
        return self._judges

    async def health(self) -> wire.Health:
        """What the service says of itself.

        Raises:
            WorldError: it cannot be reached, or is not a World that this version understands.
        """
        try:
            health = wire.Health.model_validate_json(await self._ask("GET", "/health"))
        except (ConnectionLost, httpx.TimeoutException) as error:
            hint = f"Set {TOKEN} to the token of that World." if "answered 401" in str(error) else self._remedy
            raise WorldError(f"no World answers at {self._place}: {error}. {hint}") from error
        except ValidationError as error:
            raise WorldError(f"what answers at {self._place} is not a World") from error
        if health.protocol != wire.PROTOCOL:
            raise WorldError(
                f"the World at {self._place} speaks protocol {health.protocol} (llmi-env {health.version}), this client "
                f"{wire.PROTOCOL}: use the same version on both sides"
            )
        return health

    async def aclose(self) -> None:
        """Close the connections of the running loop; may be called twice, and a later call connects again."""
        self._check_process()
        loop = asyncio.get_running_loop()
        for line in [self._lines.pop(key) for key in list(self._lines) if key[0] is loop]:
            await line.aclose()

    # ------------------------------------------------------------------------------------------------------------ inside

    @property
    def _place(self) -> str:
        return self.uds or self.url

    @property
    def _remedy(self) -> str:
        return "Start one with `llmi serve`, or use world='local'."

    @property
    def _too_late(self) -> str:
        return f"the World did not answer within {self.patience:g} seconds"

    async def _ready(self, path: str) -> None:
        """Make sure that the service is there before it is asked for `path`; raises `ConnectionLost` to be tried again."""

    def _lost(self, error: httpx.RequestError) -> ConnectionLost:
        """What is raised where a request met `error`."""
        _log.info("connection to %s lost (%s)", self._place, type(error).__name__)
        return ConnectionLost(f"{type(error).__name__} {error}".strip())

    async def _ask(self, method: str, path: str, body: bytes = b"", deadline: float | None = None) -> bytes:
        until = time.monotonic() + min(self.patience, deadline or self.patience)
        lost = 0

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            # Those who are told the same time may not all come back at it.
            return error.seconds * random.uniform(1.0, 1.5) if isinstance(error, Busy) else _BACKOFF(state)

        def enough(state: RetryCallState) -> bool:
            nonlocal lost
            if state.outcome is not None and isinstance(state.outcome.exception(), Busy | Away):
                return time.monotonic() + state.upcoming_sleep > until
            lost += 1
            return lost >= self.attempts

        async for attempt in AsyncRetrying(
            stop=enough,
            wait=pause,
            retry=retry_if_exception_type(ConnectionLost) & retry_if_not_exception_type(Rejected),
            reraise=True,
        ):
            with attempt:
                await self._ready(path)
                return await self._ask_once(method, path, body)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _ask_once(self, method: str, path: str, body: bytes) -> bytes:
        reminder = asyncio.get_running_loop().call_later(_TELL_AFTER, self._tell_wait, path)
        line = self._line(path if path in _CONNECTIONS else "")
        try:
            answer = await line.request(method, path, body)
        except (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout):
            raise
        except httpx.RequestError as error:  # a broken connection, or an answer that cannot be unpacked
            raise self._lost(error) from error
        finally:
            reminder.cancel()
        if answer.status_code == httpx.codes.OK:
            return answer.content
        if answer.status_code == httpx.codes.FAILED_DEPENDENCY:
            raise wire.ErrorReply.model_validate_json(answer.content).value()
        said = f"the service answered {answer.status_code}: {answer.text[:300]}"
        if answer.status_code in _BUSY and (told := retry_after(answer.headers)) is not None:
            later = max(told, _SHORTEST)
            self._tell_busy(later)
            raise Busy(said, later)
        kind = Rejected if answer.is_client_error and answer.status_code not in _PASSING else ConnectionLost
        raise kind(said)

    def _tell_wait(self, path: str) -> None:
        _log.info("still waiting for %s at %s: the first use of a tool or judge loads its models", path, self._place)

    def _tell_busy(self, seconds: float) -> None:
        if (now := time.monotonic()) >= self._tell_busy_from:
            self._tell_busy_from = now + _TELL_AFTER
            _log.info("the World at %s has its hands full and asked to come again in %g s", self._place, seconds)

    def _line(self, kind: str) -> Line:
        """Connections for requests of one kind: a path of `_CONNECTIONS`, or all others together."""
        self._check_process()
        loop = asyncio.get_running_loop()
        line = self._lines.get((loop, kind))
        if line is None:
            # those of closed loops cannot be closed any more, only dropped
            self._lines = {key: kept for key, kept in self._lines.items() if not key[0].is_closed()}
            line = self._lines[loop, kind] = Line(self._client, _CONNECTIONS.get(kind, _CONNECTIONS_OTHERWISE))
        return line

    def _client(self, connections: int) -> httpx.AsyncClient:
        token = None if self.uds else os.environ.get(TOKEN)
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"} if token else None,
            transport=httpx.AsyncHTTPTransport(uds=self.uds, limits=limits),
            timeout=httpx.Timeout(self.patience, connect=10.0),
            trust_env=False,
        )

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            _abandoned.append(self._lines)
            self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._judges = None
        self._lines = {}
        self._tell_busy_from = self._tell_away_from = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_pid", "_judges", "_lines")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


class HttpWorld(RemoteWorld):
    """A client of `llmi serve`; where that asks for a token, it is taken from the environment variable `LLMI_TOKEN`.

    Args:
        url: base address, e.g. `http://127.0.0.1:8000`, or `unix:/path/of/socket`.
        uds: Unix socket in place of TCP.
        attempts: how often a call is tried when the connection is lost.
        patience: seconds to wait for an answer, and for a service that was there to be there again.
        tools: what the service must have at least, as the policy was told.

    Before its first call it asks the service who it is. It raises `WorldError` if there is none, and `ConfigError` if it lacks a tool.
    """

    _met: bool

    def __init__(
        self,
        url: str = "http://localhost",
        uds: str | None = None,
        *,
        attempts: int = 4,
        patience: float = 600.0,
        tools: Iterable[str] = (),
    ) -> None:
        if url.startswith("unix:"):
            url, uds = "http://localhost", "/" + url.removeprefix("unix:").lstrip("/")
        super().__init__(url, uds, attempts=attempts, patience=patience)
        self.tools = tuple(tools)

    async def meet(self) -> None:
        """Ask the service who it is, where that is not known yet; every call does this first.

        Raises:
            WorldError: as `health`.
            ConfigError: it lacks a tool.
        """
        if self._met:
            return
        there = (await self.health()).tools
        if lacking := [name for name in self.tools if name not in there]:
            raise ConfigError(
                f"the World at {self._place} has no {', '.join(lacking)}: its tools are {', '.join(there) or 'none'}, and the policy is "
                f"offered {', '.join(self.tools)}. Serve the same configuration there with `llmi serve`, or change services.tools"
            )
        self._met = True

    async def deciding(self) -> Deciding:
        """What decides the answers: what the service says of its configuration; raises as `health` does."""
        return {"service": {"service": (await self.health()).config}}

    def _forget(self) -> None:
        super()._forget()
        self._met = False

    async def _ready(self, path: str) -> None:
        if path != "/health":
            await self.meet()

    def _lost(self, error: httpx.RequestError) -> ConnectionLost:
        lost = super()._lost(error)
        if not self._met or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return lost
        if (now := time.monotonic()) >= self._tell_away_from:
            self._tell_away_from = now + _TELL_AWAY
            _log.warning("nobody listens at %s any more; waiting up to %g s for it", self._place, self.patience)
        return Away(str(lost))


def _reason(error: ConnectionLost | ValueError) -> str:
    """Why there is no answer; an error of ours that is a `ValueError` too is none of these, and is raised again."""
    if isinstance(error, LLMIError):
        raise error
    if isinstance(error, Busy):
        return f"the World has its hands full and asked to come again in {error.seconds:g} seconds, too late for this: {error}"
    if isinstance(error, ConnectionLost):
        return f"the connection to the World was lost: {error}"
    return f"the World's answer cannot be read: {error}"

"""A chat completion that streams: one request as a coroutine, its text handed on as it comes, whatever goes wrong as one exception.

The protocol is that of OpenAI's `POST /chat/completions` with `stream: true`, as vLLM, SGLang, llama.cpp and most gateways speak it:
server-sent events whose data are JSON chunks, then `[DONE]`. Servers differ: some do not know the fields `seed` or `stream_options`, or know
the length of a reply by one of its two names only (told apart by what they say, and remembered); some answer with the whole completion at
once; some never close. One request is one try: who repeats it begins anew with what it wrote (see `StreamFailed.again`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from llmi_env.services.answers import bounded_client
from llmi_env.services.chat_reply import Reply, ReplyReader, StreamFailed, message_in
from llmi_env.services.connections import place, tls_context
from llmi_env.services.event_stream import EventStream
from llmi_env.services.keys import Key, hidden_in_logs
from llmi_env.services.refusals import Rest, refusal

__all__ = ["ChatStream"]

_log = logging.getLogger(__name__)

_MOST_BYTES = 128_000_000
_FAREWELL = 5.0
"""Seconds that a server may take from the last word to the end of the stream: the tokens used come in between."""


class _Refused(StreamFailed):
    """Raised when the server did not take the request as it was: perhaps it does in another form."""


class ChatStream:
    """A connection, made on first use and made again in another process or event loop.

    Args:
        base_url: address of the API, e.g. `http://127.0.0.1:8000/v1`.
        key: gives the key, for each request anew; "" where none is sent.
        timeout: seconds that a whole reply may take.
        idle: seconds in which something must come.
    """

    def __init__(self, base_url: str, key: Callable[[], str], *, timeout: float, idle: float) -> None:
        self.base_url = base_url
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._key, self._timeout, self._idle = key, timeout, idle
        self._left_out: set[str] = set()
        self._renamed = False
        self._forget()

    async def ask(self, fields: Mapping[str, Any], take: Callable[[str], bool]) -> Reply:
        """Send one request and hand its text on.

        Args:
            fields: of the request, but for `stream`; those that are `None` are left out.
            take: is given each piece of text; when it answers false, the rest is not wanted and the request ends there.

        Raises:
            StreamFailed: whatever went wrong on the way.
            ConfigError: a key is needed and not there.
        """
        while True:
            body = self._body(fields)
            try:
                return await self._once(body, take)
            except _Refused as refused:
                if not self._adapt(body, refused.reason):
                    raise
                _log.info("%s: asking again in another form: %s", self.base_url, refused.reason)

    async def aclose(self) -> None:
        """Close the connection; another request opens it again."""
        client, here = self._client, self._place == place()
        self._forget()
        if client is not None and here:
            await client.aclose()

    def _forget(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._place: tuple[int, object] | None = None
        self._rest = Rest()

    # ----------------------------------------------------------------------------------------------------------- request

    def _body(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        body = {"stream_options": {"include_usage": True}, **fields, "stream": True}
        body = {name: value for name, value in body.items() if name not in self._left_out and value is not None}
        if self._renamed and "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
        return body

    def _adapt(self, body: Mapping[str, Any], reason: str) -> bool:
        """Whether the request may be taken in another form, which is remembered."""
        if "max_tokens" in body and "max_completion_tokens" in reason:
            self._renamed = True
            return True
        for name in ("stream_options", "seed"):
            if name in body and re.search(rf"\b{name}\b", reason):
                self._left_out.add(name)
                return True
        return False

    async def _here(self) -> httpx.AsyncClient:
        if self._client is None or self._place != place():
            await asyncio.to_thread(tls_context)  # it takes its time, and is at hand from then on
        if self._client is None or self._place != place():  # another request may have made it meanwhile
            self._forget()
            self._place = place()
            self._client = bounded_client(httpx.Timeout(self._idle, connect=min(self._idle, 30.0), pool=None))
        return self._client

    async def _once(self, body: Mapping[str, Any], take: Callable[[str], bool]) -> Reply:
        client, key = await self._here(), Key(self._key())
        reader = ReplyReader(key, take)
        await self._rest.over()
        headers = {"content-type": "application/json", "accept": "text/event-stream, application/json"}
        if key:
            headers["authorization"] = f"Bearer {key.reveal()}"
        content = json.dumps(body, allow_nan=False).encode()
        failed: StreamFailed | None = None
        wanted = True
        with hidden_in_logs(key):
            try:
                async with asyncio.timeout(self._timeout) as deadline:
                    async with client.stream("POST", self._url, content=content, headers=headers) as response:
                        wanted = await self._read(response, reader, key, deadline)
            except StreamFailed as error:
                failed = error
            except (TimeoutError, httpx.RequestError) as error:
                if not reader.reply.finish:  # else all is said, and only the farewell did not come
                    failed = self._broken(error, reader)
            except httpx.InvalidURL as error:
                failed = StreamFailed(f"{self.base_url}: {error}", hopeless=True)
        # raised out here: the error of httpx, which holds the request and with it the key, is not even its context
        try:
            if failed is not None:
                raise failed
            return reader.conclude() if wanted else reader.reply
        except StreamFailed as error:
            error.reply, error.__context__ = reader.reply, None
            raise

    # ------------------------------------------------------------------------------------------------------------- reply

    async def _read(self, response: httpx.Response, reader: ReplyReader, key: Key, deadline: asyncio.Timeout) -> bool:
        """Read the answer; whether all of it was wanted."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not response.is_success:
            raise self._status(response, await response.aread(), key)
        if kind.endswith("json"):
            data = await _bytes(response)
            return reader.read(data.decode("utf-8", "replace"))
        return await self._follow(response, reader, kind, deadline)

    async def _follow(
        self, response: httpx.Response, reader: ReplyReader, kind: str, deadline: asyncio.Timeout
    ) -> bool:
        stream, clock = EventStream(), asyncio.get_running_loop().time
        beginning, received, events = b"", 0, 0
        async for chunk in response.aiter_bytes():
            beginning, received = beginning or chunk[:2000], received + len(chunk)
            if received > _MOST_BYTES:
                raise StreamFailed(f"a reply of more than {_MOST_BYTES // 1_000_000} MB{reader.reply.so_far}")
            for data in _cut(stream, chunk):
                if data == "[DONE]":
                    return True
                events += 1
                if not reader.read(data):
                    return False
            if reader.reply.finish:
                deadline.reschedule(min(deadline.when() or clock(), clock() + _FAREWELL))
        for data in stream.close():
            if data == "[DONE]":
                return True
            events += 1
            if not reader.read(data):
                return False
        if not events:
            said = reader.said(beginning.decode("utf-8", "backslashreplace"))
            raise StreamFailed(f"{self.base_url} sent no events but {kind or 'something else'}: {said}", again=True)
        return True

    def _broken(self, error: Exception, reader: ReplyReader) -> StreamFailed:
        so_far = reader.reply.so_far
        if isinstance(error, TimeoutError):
            return StreamFailed(f"no whole reply in {self._timeout:g} seconds{so_far}", again=True)
        if isinstance(error, httpx.ReadTimeout):
            return StreamFailed(f"nothing came for {self._idle:g} seconds{so_far}", again=True)
        said = reader.said(f"{type(error).__name__}: {error}")
        unreached = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)
        what = "cannot be reached" if unreached else f"broke off{so_far}"
        return StreamFailed(f"{self.base_url} {what} ({said})", again=True, unreached=unreached)

    def _status(self, response: httpx.Response, body: bytes, key: Key) -> StreamFailed:
        said = body.decode("utf-8", "backslashreplace")
        code = None
        try:
            data = json.loads(said)
        except (ValueError, RecursionError):
            pass  # a gateway's own page, which is told as it is
        else:
            said = message_in(data)
            inner = data.get("error", data) if isinstance(data, dict) else None
            code = inner.get("code") if isinstance(inner, dict) else None
        found = refusal(response.status_code, response.headers, said, key=key, base_url=self.base_url, code=code)
        self._rest.wish(found.wait)
        kind = _Refused if found.malformed else StreamFailed
        return kind(found.reason, again=found.again, hopeless=found.hopeless, rested=found.wait > 0)


def _cut(stream: EventStream, chunk: bytes) -> list[str]:
    try:
        return stream.feed(chunk)
    except ValueError as error:
        raise StreamFailed(str(error)) from None


async def _bytes(response: httpx.Response) -> bytes:
    """The body, or as much of it as is let in."""
    data = bytearray()
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > _MOST_BYTES:
            break
    return bytes(data)

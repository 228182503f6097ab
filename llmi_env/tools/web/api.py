"""Asking a service on the web for JSON: one request at a time, everything that can go wrong as an error that says what to do.

A request is bounded in time and size. Redirects are followed on the same host only: with a key in the address or a header, another host would
get it. Whatever goes wrong between here and the service is the world's fault, a mistake of the set-up included: never the policy's.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from llmi_env.errors import ToolTimeout, ToolUnavailable
from llmi_env.services.connections import place, tls_context
from llmi_env.services.keys import Key, KeySource, hidden_in_logs
from llmi_env.services.retry_after import retry_after
from llmi_env.tools.web.fetching import user_agent
from llmi_env.tools.web.hits import plain

__all__ = ["ApiRequest", "ApiUnavailable", "JsonAnswer", "JsonApi", "said_in"]

_MOST_BYTES = 4_000_000
_MOST_REDIRECTS = 3
_MOST_REASON = 200
_TITLE = re.compile(r"<title>([^<]{1,100})", re.IGNORECASE)


@dataclass(frozen=True)
class ApiRequest:
    """What is asked, without the key.

    Attributes:
        url: address, with a query of its own or none.
        method: `GET` or `POST`.
        params: more of the query.
        headers: headers besides those that every request has.
        body: JSON that is posted, or `None`.
        key_header: header that carries the key, where there is one.
        key_prefix: what stands before it there, e.g. `"Bearer "`.
        key_param: field of the query that carries the key in place of a header.
    """

    url: str
    method: str = "GET"
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    key_header: str = ""
    key_prefix: str = ""
    key_param: str = ""


@dataclass(frozen=True)
class JsonAnswer:
    """What came.

    Attributes:
        data: the JSON, the key taken out.
        url: address that was asked, without its query.
        retry_after: seconds that the service asks to wait, which some say in an answer that is a success for HTTP.
    """

    data: Any
    url: str
    retry_after: float | None = None


class ApiUnavailable(ToolUnavailable):
    """Raised when a service does not do what it was asked.

    Attributes:
        retry_after: seconds to wait before another try, where the service says so.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after)
        self.message, self.retry_after = message, retry_after

    def __str__(self) -> str:
        return self.message


class JsonApi:
    """A connection to one service, made on first use and made again in another process or event loop.

    Args:
        service: its name in messages.
        key: where its key is read from, at each request.
        seconds: what one request may take, whatever of it is slow.
        contact: mail address or web page of whoever runs this, for the User-Agent.
    """

    def __init__(self, service: str, key: KeySource, *, seconds: float = 10.0, contact: str = "") -> None:
        self.service = service
        self.key = key
        self.seconds = seconds
        self.contact = contact
        self._forget()

    async def ask(self, request: ApiRequest) -> JsonAnswer:
        """Send a request and read the answer.

        Raises:
            ApiUnavailable: the service cannot be reached, refuses, or answers with something else than JSON.
            ToolTimeout: it took too long.
            ConfigError: a key is needed and not there.
        """
        key = self.key.read(f"web search: {self.service}")
        with hidden_in_logs(key):
            problem: Exception
            try:
                async with asyncio.timeout(self.seconds):
                    return await self._ask(request, key)
            except (ToolUnavailable, ToolTimeout):
                raise
            except TimeoutError:
                problem = ToolTimeout(f"{self.service} did not answer within {self.seconds:g} seconds")
            except (httpx.TransportError, httpx.InvalidURL, zlib.error) as error:
                said = _one_line(key.hide(f"{type(error).__name__}: {error}"))
                problem = ApiUnavailable(f"{self.service} cannot be reached or broke off ({said})")
        # raised out here: the error of httpx, which holds the request and with it the key, is not even its context
        raise problem

    async def aclose(self) -> None:
        """Close the connection; another request opens it again."""
        client, here = self._client, self._place == place()
        self._forget()
        if client is not None and here:
            await client.aclose()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None, "_place": None}

    def _forget(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._place: tuple[int, object] | None = None

    async def _here(self) -> httpx.AsyncClient:
        tls = await asyncio.to_thread(tls_context)  # reads the authorities' certificates, once in a process
        if self._client is None or self._place != place():
            # no cookies: an answer depends on nothing that was asked before; and one time limit, that of `ask`
            jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
            self._client = httpx.AsyncClient(verify=tls, follow_redirects=False, timeout=None, cookies=jar)
            self._place = place()
        return self._client

    async def _ask(self, request: ApiRequest, key: Key) -> JsonAnswer:
        client = await self._here()
        sent = self._built(client, request, key)
        for _ in range(_MOST_REDIRECTS + 1):
            async with _streamed(client, sent) as response:
                if response.next_request is None:
                    body = await self._body(response)
                    return self._read(response, body, key, str(sent.url.copy_with(query=None, userinfo=None)))
                sent = self._followed(sent, response, response.next_request, key)
        raise ApiUnavailable(f"{self.service} redirects more than {_MOST_REDIRECTS} times: check the option url")

    def _built(self, client: httpx.AsyncClient, request: ApiRequest, key: Key) -> httpx.Request:
        url = httpx.URL(request.url)
        params = dict(request.params)
        headers = {
            "user-agent": user_agent(self.contact, f"httpx/{httpx.__version__}"),
            "accept": "application/json",
            "accept-encoding": "gzip",
            **{name.lower(): value for name, value in request.headers.items()},
        }
        if key and request.key_param:
            params[request.key_param] = key.reveal()
        elif key and request.key_header:
            headers[request.key_header.lower()] = request.key_prefix + key.reveal()
        return client.build_request(
            request.method, url.copy_merge_params(params) if params else url, headers=headers, json=request.body
        )

    def _followed(
        self, sent: httpx.Request, response: httpx.Response, following: httpx.Request, key: Key
    ) -> httpx.Request:
        """The request that a redirect asks for: to the same host, never from https to http."""
        here, there = sent.url, following.url
        secured = (here.scheme, there.scheme) == ("http", "https") and here.port is there.port is None
        same = here.host == there.host and (secured or (here.scheme, here.port) == (there.scheme, there.port))
        if not same or there.userinfo:
            raise ApiUnavailable(
                f"{self.service} redirects to another place ({_one_line(key.hide(_origin(there)))}), where no key is sent: give that "
                "address as the option url if you trust it"
            )
        if following.method != sent.method:
            raise ApiUnavailable(
                f"{self.service} answers HTTP {response.status_code} to a {sent.method}, which would lose its body: check the option url"
            )
        return following

    async def _body(self, response: httpx.Response) -> bytes:
        """The body, unpacked here: an unpacker that does not know the limit would fill the memory before it is reached."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", ""):
            raise ApiUnavailable(
                f"{self.service} answers in an encoding that was not asked for ({_one_line(encoding)})"
            )
        unpacker = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += unpacker.decompress(chunk, _MOST_BYTES + 1 - len(body)) if unpacker else chunk
            if len(body) > _MOST_BYTES:
                raise ApiUnavailable(f"{self.service} answers with more than {_MOST_BYTES // 1_000_000} MB")
        return bytes(body)

    def _read(self, response: httpx.Response, body: bytes, key: Key, url: str) -> JsonAnswer:
        wait = retry_after(response.headers)
        data, unreadable = _parsed(body, key)
        if response.status_code != 200:
            raise self._refusal(response, unreadable or said_in(data), wait)
        if unreadable:
            raise ApiUnavailable(f"{self.service} answers with {unreadable} where JSON is needed: check the option url")
        return JsonAnswer(data, key.hide(url), wait)

    def _refusal(self, response: httpx.Response, said: str, wait: float | None) -> ApiUnavailable:
        status = response.status_code
        message = f"{self.service}: HTTP {status}{f' ({said})' if said else ''}"
        if status in (401, 403):
            message += (
                f"; check the key in {self.key.named}" if self.key else "; it may need a key (option api_key_env)"
            )
        elif status == 429:
            message += "; it wants fewer requests" + (f", and none for {wait:.0f} s" if wait is not None else "")
        elif status < 500:
            message += "; check the options of the search tool"
        return ApiUnavailable(message, wait if status in (429, 503) else None)


@asynccontextmanager
async def _streamed(client: httpx.AsyncClient, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    response = await client.send(request, stream=True)
    try:
        yield response
    finally:
        await response.aclose()


def _parsed(body: bytes, key: Key) -> tuple[Any, str]:
    """The JSON without the key, and in place of it what came instead."""
    try:
        return key.hide_in(json.loads(body)), ""
    except (ValueError, RecursionError):
        text = key.hide(body[:65_536].decode("utf-8", "replace")).strip()
    if not text:
        return None, "an empty body"
    if text.startswith("<"):
        title = _TITLE.search(text)
        return None, f"a page of HTML{f' ({_one_line(title[1])})' if title else ''}"
    return None, f"no readable JSON ({_one_line(text)})"


def said_in(data: Any) -> str:
    """The message in the JSON of an error, in the places where services put it."""
    if isinstance(data, str):
        return _one_line(data)
    if isinstance(data, list):
        return said_in(data[0]) if data else ""
    if not isinstance(data, Mapping):
        return ""
    for name in ("detail", "message", "info", "errors", "error", "reason", "code"):
        if data.get(name) and (said := said_in(data[name])):
            return said
    return ""


def _one_line(text: str) -> str:
    return plain(text, _MOST_REASON)


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.host}" + ("" if url.port is None else f":{url.port}")

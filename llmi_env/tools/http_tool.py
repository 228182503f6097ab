"""A tool behind an HTTP endpoint: a service of one's own becomes a tool by configuration alone.

One call is one POST of JSON::

    {"params": {"tex": "E = mc^2"}, "description": "the energy of a mass", "seed": 7, "pictures": ["iVBORw0KGgo..."]}

`pictures` are those that the call points at, as PNG in base64: one where the tool has a param `img_index`, none otherwise. The answer is a
picture (PNG, JPEG, WebP, GIF, BMP), or JSON::

    {"picture": "iVBORw0KGgo...",
     "provenance": {"title": "", "caption": "", "source": "", "author": "", "licence": "", "seed": 7},
     "attachment": {"media_type": "audio/wav", "data": "UklGRg..."}}

of which the picture alone is needed. What the policy did wrong is a 400 or 422 with `{"error": "what to do"}`: 400 stands for params that
cannot be carried out, 422 for a refusal, and `"kind": "empty"` beside it for nothing found. Whatever else is not a 200 is the world's fault;
429 and 503 may say `Retry-After`. The answer is hostile: its size is bounded, the picture is decoded as one from the web is, texts become
plain lines.

In a configuration::

    tools:
      formula:
        use: http
        url: http://127.0.0.1:8600/formula
        purpose: sets a mathematical formula
        params: {tex: "the formula in TeX, without dollar signs"}
        example: {tex: "e^{i\\\\pi} + 1 = 0"}
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llmi_env.attachment import Attachment
from llmi_env.document import Picture, Provenance
from llmi_env.errors import BadParams, NothingFound, Refused, ToolError, ToolTimeout
from llmi_env.services.connections import place, tls_context
from llmi_env.services.keys import Key, hidden_in_logs
from llmi_env.services.openai_access import checked_url, find_key
from llmi_env.services.options import ServiceOptions
from llmi_env.services.retry_after import retry_after
from llmi_env.tools.base import ParamSpec, ToolContext, ToolSpec
from llmi_env.tools.web.api import ApiUnavailable
from llmi_env.tools.web.decoding import NotAPicture, decode_picture
from llmi_env.tools.web.fetching import user_agent
from llmi_env.tools.web.hits import plain, spdx

__all__ = ["HttpParam", "HttpTool", "HttpToolOptions"]

_TYPES: dict[str, type[str] | type[int]] = {"str": str, "int": int}
_FAULTS: dict[str, type[ToolError]] = {"bad_params": BadParams, "refused": Refused, "empty": NothingFound}
_MOST_TEXT = 300


class HttpParam(BaseModel):
    """A parameter of the tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    meaning: str = Field(min_length=1, max_length=_MOST_TEXT)
    """What it means, in the words shown to the policy."""

    type: Literal["str", "int"] = "str"
    """Its JSON type."""


class HttpToolOptions(ServiceOptions):
    """Where the tool is, and what the policy is told of it."""

    what: ClassVar[str] = "http tool"

    url: str
    """Address that calls are posted to."""

    purpose: str = Field(min_length=1, max_length=_MOST_TEXT)
    """What the tool is for, in one line that is shown to the policy."""

    params: dict[str, HttpParam] = Field(min_length=1)
    """Each parameter with its meaning, or with `{meaning: ..., type: int}`. One named `img_index` points at a picture, which is then sent."""

    example: dict[str, str | int] = Field(default_factory=dict)
    """Params of an example call; exactly those of the tool."""

    name: str = Field(default="http", min_length=1, max_length=60)
    """Name of the tool where it is made as an object; a configuration names it by its key."""

    api_key_env: str | None = None
    """Name of the environment variable that holds a key, which is sent as `Authorization: Bearer`; never the key itself. Empty: none is sent.
    Needed for an address on the internet, where a key is usual."""

    timeout: float = Field(default=60.0, gt=0)
    """Seconds that one request may take; the deadline of the call bounds it too."""

    max_mb: int = Field(default=20, ge=1)
    """Size of an answer at most, in MB."""

    cacheable: bool = False
    """Whether the World may keep its pictures on disk: the same params, description, pictures and seed must give the same picture."""

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        return checked_url(url)

    @field_validator("params", mode="before")
    @classmethod
    def _meanings(cls, params: object) -> object:
        if not isinstance(params, Mapping):
            return params
        return {name: {"meaning": told} if isinstance(told, str) else told for name, told in params.items()}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for name in self.params:
            if not name.isidentifier():
                raise ValueError(f"a param has a plain name such as 'query', not {name!r:.60}")
        if "img_index" in self.params and self.params["img_index"].type != "int":
            raise ValueError("img_index counts pictures: its type is int")
        if self.example and {name: type(value).__name__ for name, value in self.example.items()} != {
            name: param.type for name, param in self.params.items()
        }:
            raise ValueError(f"the example has exactly the params {', '.join(self.params)}, each of its type")
        return self

    def spec(self, name: str) -> ToolSpec:
        """What the policy is told of the tool, which calls call `name`."""
        params = tuple(ParamSpec(key, _TYPES[param.type], param.meaning) for key, param in self.params.items())
        return ToolSpec(name, self.purpose, params, dict(self.example))


class _Provenance(BaseModel):
    title: str = ""
    caption: str = ""
    source: str = ""
    author: str = ""
    licence: str = ""
    seed: int | None = None


class _Attachment(BaseModel):
    media_type: str
    data: str


class _Answer(BaseModel):
    picture: str
    provenance: _Provenance = Field(default_factory=_Provenance)
    attachment: _Attachment | None = None


class HttpTool:
    """Carries out calls by posting them to an address; see the module for the form of question and answer.

    Args:
        options: see `HttpToolOptions`; `url`, `purpose` and `params` are needed.

    Raises:
        ConfigError: an option that cannot be used; on warming and the first call also where a key is needed and not there.
    """

    _client: httpx.AsyncClient | None
    _key: Key
    _place: tuple[int, object] | None

    def __init__(self, **options: Any) -> None:
        self.options = HttpToolOptions.parse(options)
        self.cacheable = self.options.cacheable
        self._forget()

    @classmethod
    def spec_of(cls, name: str, options: Mapping[str, Any]) -> ToolSpec:
        """The spec of a tool that is configured with `options`, without making it.

        Raises:
            ConfigError: an option that cannot be used.
        """
        return HttpToolOptions.parse(options).spec(name)

    @property
    def spec(self) -> ToolSpec:
        """What the policy is told."""
        return self.options.spec(self.options.name)

    async def warm(self) -> None:
        """Read the key; the service itself is not asked."""
        await self._here()

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Post the call, and read the picture.

        Raises:
            BadParams, Refused, NothingFound: the service says so.
            ToolTimeout: it took too long.
            ToolUnavailable: whatever else went wrong; `retry_after` says how many seconds to wait where the service did.
        """
        started = time.monotonic()
        client, key = await self._here()
        seconds = min(context.deadline, self.options.timeout)
        problem: ToolError
        with hidden_in_logs(key):
            try:
                async with asyncio.timeout(seconds):
                    question = await asyncio.to_thread(_question, params, context)
                    body = await self._post(client, key, question)
                    return await asyncio.to_thread(self._read, body, context, started)
            except ToolError as error:
                problem = error
            except TimeoutError:
                problem = ToolTimeout(f"{self._place_named} did not answer within {seconds:g} seconds")
            except (httpx.TransportError, httpx.InvalidURL) as error:
                said = plain(key.hide(f"{type(error).__name__}: {error}"), _MOST_TEXT)
                problem = ApiUnavailable(f"{self._place_named} cannot be reached or broke off ({said})")
        # raised out here: the error of httpx, which holds the request and with it the key, is not even its context
        problem.__context__ = None
        raise problem

    async def aclose(self) -> None:
        """Close the connection; another call opens it again."""
        client, here = self._client, self._place == place()
        self._forget()
        if client is not None and here:
            await client.aclose()

    @property
    def _place_named(self) -> str:
        return f"the tool at {self.options.url}"

    async def _here(self) -> tuple[httpx.AsyncClient, Key]:
        if self._client is None or self._place != place():
            made = await asyncio.to_thread(self._made)
            if self._client is None or self._place != place():  # another call may have made it meanwhile
                self._client, self._key = made
                self._place = place()
        return self._client, self._key

    def _made(self) -> tuple[httpx.AsyncClient, Key]:
        options = self.options
        key = Key(find_key(options.api_key_env, options.url, file=options.api_key_file, what="http tool"))
        # no cookies: an answer depends on nothing that was asked before; and one time limit, that of the call
        jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        return httpx.AsyncClient(verify=tls_context(), follow_redirects=False, timeout=None, cookies=jar), key

    async def _post(self, client: httpx.AsyncClient, key: Key, question: bytes) -> bytes:
        headers = {
            "user-agent": user_agent("", f"httpx/{httpx.__version__}"),
            "content-type": "application/json",
            "accept": "image/*, application/json",
            "accept-encoding": "identity",
        }
        if key:
            headers["authorization"] = f"Bearer {key.reveal()}"
        most = self.options.max_mb * 1_000_000
        async with client.stream("POST", self.options.url, content=question, headers=headers) as response:
            if response.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
                raise ApiUnavailable(f"{self._place_named} answers in an encoding that was not asked for")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > most:
                    raise ApiUnavailable(
                        f"{self._place_named} answers with more than {self.options.max_mb} MB; max_mb bounds it"
                    )
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response, bytes(body), key)
        return bytes(body)

    def _refusal(self, response: httpx.Response, body: bytes, key: Key) -> ToolError:
        status, told = response.status_code, _told(body)
        said = plain(key.hide(told.get("error", "")), _MOST_TEXT) if isinstance(told.get("error"), str) else ""
        if status in (400, 422) and said:
            fault = _FAULTS.get(str(told.get("kind")), BadParams if status == 400 else Refused)
            return fault(said)
        said = said or plain(key.hide(json.dumps(told) if told else body[:2000].decode("utf-8", "replace")), 200)
        message = f"{self._place_named}: HTTP {status}{f' ({said})' if said else ''}"
        if status in (401, 403):
            message += "; check the key (option api_key_env)"
        elif 300 <= status < 400:
            message += "; give the address that it points to as url, if you trust it"
        elif status in (400, 422):
            message += '; a fault of the policy is told by a JSON object with "error"'
        elif status in (404, 405):
            message += "; check the option url"
        return ApiUnavailable(message, retry_after(response.headers) if status in (429, 503) else None)

    def _read(self, body: bytes, context: ToolContext, started: float) -> Picture:
        """The picture in an answer; takes long, for a thread."""
        answer, data = _Answer(picture=""), body
        if body[:64].lstrip()[:1] == b"{":  # which no picture begins with, whatever the service calls it
            try:
                answer = _Answer.model_validate_json(body)
                data = base64.b64decode(answer.picture.partition(",")[2] or answer.picture, validate=True)
            except (ValidationError, binascii.Error) as error:
                first = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
                why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else "picture: no base64"
                raise ApiUnavailable(f"{self._place_named} answers with other JSON than is needed ({why})") from None
        told = answer.provenance
        provenance = Provenance(
            backend=f"http:{urlsplit(self.options.url).netloc}",
            title=plain(told.title, 200),
            caption=plain(told.caption, 500) or plain(context.description, 500),
            source=plain(told.source, 2000),
            author=plain(told.author, 200),
            licence=spdx(plain(told.licence, 200)),
            seed=told.seed,
        )
        try:
            image = decode_picture(data)
        except NotAPicture as error:
            raise ApiUnavailable(f"{self._place_named} sent no picture that can be let in: {error.reason}") from None
        return Picture(image, provenance, time.monotonic() - started, self._sound(answer.attachment))

    def _sound(self, told: _Attachment | None) -> Attachment | None:
        if told is None:
            return None
        try:
            return Attachment(told.media_type, base64.b64decode(told.data, validate=True))
        except ValueError as error:  # of base64, too
            said = plain(str(error), _MOST_TEXT)
            raise ApiUnavailable(f"{self._place_named} sent an attachment that cannot be let in: {said}") from None

    def __getstate__(self) -> dict[str, Any]:
        return {"options": self.options, "cacheable": self.cacheable}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._client, self._key, self._place = None, Key(), None


def _question(params: Mapping[str, Any], context: ToolContext) -> bytes:
    pictures = [base64.b64encode(picture.png).decode("ascii") for picture in context.pictures]
    asked = {"params": dict(params), "description": context.description, "seed": context.seed, "pictures": pictures}
    try:
        return json.dumps(asked).encode()
    except ValueError:
        raise BadParams("a number among the params has too many digits") from None


def _told(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, an empty one where there is none."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}

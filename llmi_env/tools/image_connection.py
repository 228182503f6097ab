"""The connection to a server of pictures: one request as a coroutine, everything that can go wrong as a typed error, no key in any of them.

The official client does the talking, asked for single tries (`max_retries=0`): the World tries again, and knows how long to wait. Answers are
read piece by piece, which bounds their size, and decoded in a thread, since they take megabytes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import urljoin

from PIL import Image
from pydantic import BaseModel, ValidationError

from llmi_env.errors import NothingFound, Refused, ToolError, ToolTimeout, ToolUnavailable, require
from llmi_env.services.answers import bounded_client
from llmi_env.services.connections import place
from llmi_env.services.keys import Key, hidden_in_logs
from llmi_env.services.openai_access import find_key, is_hosted, message_of
from llmi_env.services.refusals import quoted
from llmi_env.services.retry_after import retry_after
from llmi_env.tools.web.addresses import AddressRefused, parse_url
from llmi_env.tools.web.api import ApiUnavailable
from llmi_env.tools.web.decoding import NotAPicture, decode_picture
from llmi_env.tools.web.fetching import FetchFailed, FetchLimits, PictureFetcher

__all__ = ["ImageConnection"]

T = TypeVar("T")
_REFUSING = (
    "contentpolicy",
    "moderationblocked",
    "contentfilter",
    "sensitivecontent",
    "riskdetection",
    "safetyviolation",
)
"""Parts of the codes by which servers refuse content: `content_policy_violation` and `moderation_blocked` (OpenAI), `contentFilter` (Azure),
`InputTextSensitiveContentDetected`, `OutputImageRiskDetection` and their like (Seedream)."""


class _Problem(BaseModel):
    code: str | int | None = None
    message: str | None = None


class _Item(BaseModel):
    b64_json: str | None = None
    url: str | None = None
    error: _Problem | None = None


class _Answer(BaseModel):
    data: list[_Item] | None = None
    error: _Problem | None = None


class ImageConnection:
    """A connection to one server, made on first use and made again in another process or event loop.

    Args:
        what: who asks, for messages.
        model: name of the model, for messages.
        url: address of the API.
        api_key_env: variable that holds the key; see `find_key`.
        api_key_file: file that holds it.
        api_version: version of Azure's API, or `None` for any other server.
        timeout: seconds that one request may take, the picture's download included.
        max_bytes: size of an answer at most.
    """

    def __init__(
        self,
        *,
        what: str,
        model: str,
        url: str,
        api_key_env: str | None,
        api_key_file: str | None,
        api_version: str | None,
        timeout: float,
        max_bytes: int,
    ) -> None:
        self._what, self._model, self._url, self._api_version = what, model, url, api_version
        self._api_key_env, self._api_key_file = api_key_env, api_key_file
        self._timeout, self._max_bytes = timeout, max_bytes
        self._forget()

    async def open(self) -> None:
        """Read the key and load the client.

        Raises:
            ConfigError: a key is needed and not there.
            MissingExtra: the client is not installed.
        """
        await self._here()

    async def ask(self, method: Literal["generate", "edit"], fields: Mapping[str, Any], seconds: float) -> Image.Image:
        """Send one request, and wait for its picture: RGB, without metadata.

        Args:
            method: of the client's `images`.
            fields: its keywords.
            seconds: what it may take at most.

        Raises:
            Refused: the server's content policy.
            NothingFound: no picture in the answer.
            ToolTimeout: it took too long.
            ToolUnavailable: whatever else went wrong on the way.
            ConfigError: a key is needed and not there.
        """
        client = await self._here()
        seconds = min(seconds, self._timeout)
        problem: ToolError
        with hidden_in_logs(self._key):
            try:
                async with asyncio.timeout(seconds):
                    found = await self._send(client, method, fields)
                    return found if isinstance(found, Image.Image) else await self._fetched(found)
            except ToolError as error:
                problem = error
            except TimeoutError:
                problem = ToolTimeout(f"{self._what}: no picture from {self._url} within {seconds:g} seconds")
        # raised out here: the client's own error, which holds the request and with it the key, is not even its context
        problem.__context__ = None
        raise problem

    async def aclose(self) -> None:
        """Close the connection; another request opens it again."""
        client, fetchers, here = self._client, list(self._fetchers.values()), self._place == place()
        self._forget()
        if client is not None and here:
            await client.close()
            for fetcher in fetchers:
                await fetcher.aclose()

    @staticmethod
    async def in_thread(work: Callable[..., T], *args: Any) -> T:
        """`work` off the event loop: pictures take long to pack and unpack."""
        return await asyncio.to_thread(work, *args)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None, "_place": None, "_key": None, "_fetchers": {}}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._client: Any = None
        self._place: tuple[int, object] | None = None
        self._key = Key()
        self._fetchers: dict[bool, PictureFetcher] = {}

    async def _here(self) -> Any:
        if self._client is None or self._place != place():
            openai = await asyncio.to_thread(require, "openai", "an OpenAI-compatible image server", "judges")
        if self._client is None or self._place != place():  # another request may have made it meanwhile
            self._forget()
            azure = self._api_version is not None
            self._key = Key(
                find_key(self._api_key_env, self._url, azure=azure, file=self._api_key_file, what=self._what)
            )
            http = bounded_client(self._timeout)  # of ours: `hidden_in_logs` knows what it logs
            key = self._key.reveal() or "none"
            common = {"api_key": key, "timeout": self._timeout, "max_retries": 0, "http_client": http}
            if azure:
                self._client = openai.AsyncAzureOpenAI(
                    azure_endpoint=self._url, api_version=self._api_version, **common
                )
            else:
                self._client = openai.AsyncOpenAI(base_url=self._url, **common)
            self._place = place()
        return self._client

    async def _send(self, client: Any, method: str, fields: Mapping[str, Any]) -> Image.Image | str:
        """The picture, or the address where it is."""
        import openai

        problem: Exception
        try:
            async with getattr(client.images.with_streaming_response, method)(**fields) as response:
                data = bytearray()
                async for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > self._max_bytes:
                        raise ToolUnavailable(
                            f"{self._what}: an answer of more than {self._max_bytes // 1_000_000} MB; max_mb bounds it"
                        )
            return await asyncio.to_thread(self._read, bytes(data))
        except (ToolError, TimeoutError):
            raise
        except openai.APIStatusError as error:
            problem = self._status(error)
        except openai.APITimeoutError:
            problem = TimeoutError()
        except Exception as error:  # of the transport; their types belong to the client's HTTP library
            cause = error.__cause__ or error
            said = self._quoted(f"{type(cause).__name__}: {cause}")
            problem = ToolUnavailable(f"{self._what}: {self._url} cannot be reached or broke off ({said})")
        raise problem

    def _status(self, error: Any) -> ToolError:
        status, headers = int(error.status_code), error.response.headers
        said = self._quoted(message_of(error))
        if 400 <= status < 500 and _refuses(getattr(error, "code", None)):
            return self._refusal(said)
        message = f"{self._what}: HTTP {status} from {self._url}: {said}"
        if status in (401, 403):
            message += f"; {self._about_key()}"
        elif status == 404:
            message += f"; check the model {self._model!r} and the url"
        elif status in (400, 422):
            message += "; check the options of the tool"
        elif 300 <= status < 400:
            message += "; give the address that it points to as url, if you trust it"
        return ApiUnavailable(message, retry_after(headers))

    def _about_key(self) -> str:
        if self._api_key_file:
            return "check the key in the file that api_key_file names"
        if not self._key:
            return "no key was sent: name the environment variable that holds one as api_key_env"
        default = "OPENAI_API_KEY" if self._api_version is None else "AZURE_OPENAI_API_KEY"
        return f"check the key in {self._api_key_env or default} (option api_key_env)"

    def _refusal(self, said: str) -> Refused:
        return Refused(f"the image server's content policy refused this ({said}); ask for something else")

    def _read(self, data: bytes) -> Image.Image | str:
        """The picture in an answer, or its address; takes long, for a thread."""
        try:
            answer = _Answer.model_validate_json(data)
        except ValidationError:
            begins = self._quoted(data[:2000].decode("utf-8", "backslashreplace"))
            raise ToolUnavailable(f"{self._what}: {self._url} answered with no list of pictures but {begins}") from None
        items = answer.data or []
        for problem in (answer.error, *(item.error for item in items)):
            if problem is not None:
                said = self._quoted(problem.message or str(problem.code))
                if _refuses(problem.code):
                    raise self._refusal(said)
                raise ToolUnavailable(f"{self._what}: {self._url} failed: {said}")
        if not items:
            raise NothingFound(f"{self._what}: {self._url} sent no picture")
        if len(items) > 1:
            raise ToolUnavailable(
                f"{self._what}: {self._url} sent {len(items)} pictures where one was asked for; look for fields such as `n` in extra_body"
            )
        text, address = items[0].b64_json, items[0].url
        if not text and address and not address.startswith("data:"):
            return urljoin(f"{self._url.rstrip('/')}/", address)
        if not (text := text or address):
            raise NothingFound(f"{self._what}: {self._url} sent an entry without a picture")
        if text.startswith("data:"):
            text = text.partition(",")[2]
        try:
            return decode_picture(base64.b64decode(text, validate=True))
        except binascii.Error:
            raise ToolUnavailable(f"{self._what}: {self._url} sent a picture that is no base64") from None
        except NotAPicture as error:
            raise ToolUnavailable(f"{self._what}: {self._url} sent no picture that can be let in: {error}") from None

    async def _fetched(self, address: str) -> Image.Image:
        # The server's own pictures are at its own address, however private; whatever else it names must be public.
        try:
            own = not is_hosted(self._url) and parse_url(address).origin == parse_url(self._url).origin
            if own not in self._fetchers:
                limits = FetchLimits(bytes=self._max_bytes, seconds=self._timeout)
                self._fetchers[own] = PictureFetcher(limits, origin=self._url if own else None)
            return await self._fetchers[own].fetch(address)
        except (AddressRefused, FetchFailed) as error:
            said = self._quoted(str(error.reason))
            raise ToolUnavailable(
                f"{self._what}: the picture that {self._url} names cannot be fetched ({said})"
            ) from None

    def _quoted(self, text: str) -> str:
        """The start of what others say, without the key."""
        return quoted(self._key.hide(text))


def _refuses(code: object) -> bool:
    plain = str(code).replace("_", "").lower()
    return any(part in plain for part in _REFUSING)

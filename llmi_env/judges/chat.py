"""The connection to an OpenAI-compatible server: one request at a time as a coroutine, everything that can go wrong as one exception.

The official client does the talking. It is asked for single tries only (`max_retries=0`): its own retries (read in version 3.54) know
nothing of a body that breaks off while it is read piece by piece, which bounds its size here; they wait a `Retry-After` out without
jitter, so that all waiting requests come back in the same moment; and those of a request that fails cannot be counted. Tries are
repeated by whoever asks (`Chat.tries`), who can also repeat a reply that cannot be read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, RetryCallState

from llmi_env.errors import require
from llmi_env.judges.openai_options import JudgeOptions
from llmi_env.services import asking
from llmi_env.services.answers import bounded_client
from llmi_env.services.asking import NoReply
from llmi_env.services.chat_options import cost_of
from llmi_env.services.connections import place
from llmi_env.services.keys import Key, hidden_in_logs
from llmi_env.services.openai_access import OPENAI_URL, message_of
from llmi_env.services.refusals import Rest, quoted, refusal

_log = logging.getLogger(__name__)
_MOST_BYTES = 4_000_000


@dataclass
class Usage:
    """What a judge has used so far.

    Attributes:
        requests: requests sent, those tried again included.
        retries: requests among them that were tried again.
        failures: scorings that were given up.
        prompt_tokens: tokens of requests, as the server counts them.
        completion_tokens: tokens of replies, those of unreadable ones included.
        prompt_price: price of a million prompt tokens, or `None`.
        completion_price: price of a million tokens of replies, or `None`.
    """

    requests: int = 0
    retries: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_price: float | None = None
    completion_price: float | None = None

    @property
    def cost(self) -> float | None:
        """In the currency of the prices; `None` where they were not given."""
        return cost_of(self.prompt_tokens, self.completion_tokens, self.prompt_price, self.completion_price)

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", cost {self.cost:.4f}"
        return (
            f"{self.requests} requests ({self.retries} retries, {self.failures} failures), {self.prompt_tokens} + "
            f"{self.completion_tokens} tokens{cost}"
        )


@dataclass
class Spent:
    """What a part of the work has used: the requests made within `counting`.

    Attributes:
        requests: requests sent, those tried again included.
        prompt_tokens: tokens of requests, as the server counts them.
        completion_tokens: tokens of replies.
        cost: in the currency of the prices; `None` as soon as one request has no price.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = 0.0


_counts: ContextVar[tuple[Spent, ...]] = ContextVar("_counts", default=())


@contextmanager
def counting() -> Iterator[Spent]:
    """Count what is requested within the block, by whichever judge, also in coroutines that are started there.

    Requests of other coroutines are not counted, even where they share the judge, its connection and its `usage`.
    """
    spent = Spent()
    token = _counts.set((*_counts.get(), spent))
    try:
        yield spent
    finally:
        _counts.reset(token)


def not_counted() -> None:
    """Say that requests are made elsewhere, e.g. in another process: the cost of the block is not known."""
    for spent in _counts.get():
        spent.cost = None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: Any = None


class Chat:
    """A connection, made on first use and made again in another process or event loop.

    Args:
        options: where to, and within which limits.
    """

    def __init__(self, options: JudgeOptions) -> None:
        self.options = options
        self.usage = Usage(prompt_price=options.prompt_price, completion_price=options.completion_price)
        self._forget()

    async def ask(
        self, messages: Sequence[Mapping[str, Any]], form: Mapping[str, Any] | None, seed: int | None = None
    ) -> str:
        """Send one request, when its turn has come, and wait for the text of the reply.

        Args:
            messages: system and user message.
            form: the field `response_format`, or `None` to leave it out.
            seed: of sampling.

        Raises:
            NoReply: whatever went wrong on the way.
            ConfigError: a key is needed and not there.
            MissingExtra: the client is not installed.
        """
        client = await self._here()
        body = self._body(messages, form, seed)
        async with self._slots:
            await self._rest.over()
            self.usage.requests += 1
            for spent in _counts.get():
                spent.requests += 1
            try:
                with hidden_in_logs(self._key):
                    async with asyncio.timeout(self.options.timeout):
                        data = await self._send(client, body)
            except TimeoutError:
                raise NoReply(f"no answer within {self.options.timeout:g} seconds", again=True) from None
        return self._text(data)

    def tries(self, *, in_doubt: bool = False) -> AsyncRetrying:
        """Calls what asks by this connection again where that may help, within the limits; see `llmi_env.services.asking.tries`."""
        return asking.tries(self.options.retries, self._note, in_doubt=in_doubt)

    async def aclose(self) -> None:
        """Close the connection; another request opens it again."""
        client, here = self._client, self._place == place()
        self._forget()
        if client is not None and here:
            await client.close()

    def _note(self, state: RetryCallState) -> None:
        self.usage.retries += 1
        _log.info("%s: try %d: %s", self.options.model, state.attempt_number, asking.failure(state))

    def _forget(self) -> None:
        self._client: Any = None
        self._place: tuple[int, object] | None = None
        self._key = Key()
        self._rest = Rest()

    def __getstate__(self) -> dict[str, Any]:
        return {"options": self.options, "usage": self.usage}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    async def _here(self) -> Any:
        if self._client is None or self._place != place():
            openai = await asyncio.to_thread(require, "openai", "an OpenAI-compatible judge", "judges")
        if self._client is None or self._place != place():  # another request may have made it meanwhile
            self._forget()
            self._place = place()
            self._key = Key(self.options.key())
            self._slots = asyncio.Semaphore(self.options.concurrency)
            http = bounded_client(self.options.timeout)
            common = {
                "api_key": self._key.reveal() or "none",
                "timeout": self.options.timeout,
                "max_retries": 0,
                "http_client": http,
            }
            if self.options.api_version is not None:
                self._client = openai.AsyncAzureOpenAI(
                    azure_endpoint=self.options.base_url, api_version=self.options.api_version, **common
                )
            else:
                self._client = openai.AsyncOpenAI(base_url=self.options.base_url, **common)
        return self._client

    def _body(
        self, messages: Sequence[Mapping[str, Any]], form: Mapping[str, Any] | None, seed: int | None
    ) -> dict[str, Any]:
        options = self.options
        # OpenAI's newer models know only the newer name; other servers know the older one for certain.
        newer = options.base_url == OPENAI_URL or options.api_version is not None
        # Beside the fields that the client knows, where it would take them apart in search of what to rename: there is nothing, and with
        # pictures it took half of the processor's time of a request.
        apart = {"messages": list(messages), "response_format": form}
        fields: dict[str, Any] = {
            "model": options.model,
            "messages": [],
            "temperature": options.temperature,
            "seed": seed,
            "max_completion_tokens" if newer else "max_tokens": options.max_tokens,
            "extra_body": {name: value for name, value in apart.items() if value is not None} | options.extra_body,
        }
        return {name: value for name, value in fields.items() if value is not None}

    async def _send(self, client: Any, body: Mapping[str, Any]) -> bytes:
        import openai

        try:
            async with client.chat.completions.with_streaming_response.create(**body) as response:
                data = b""
                async for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > _MOST_BYTES:
                        raise NoReply(f"an answer of more than {_MOST_BYTES // 1_000_000} MB: {self._start(data)}")
                return data
        except (NoReply, TimeoutError):
            raise
        except openai.APIStatusError as error:
            raise self._status(error) from None
        except openai.APITimeoutError:
            raise TimeoutError from None
        except Exception as error:  # of the transport; their types belong to the client's HTTP library
            cause = error.__cause__ or error
            said = self._key.hide(f"{type(cause).__name__}: {cause}")
            raise NoReply(f"{self.options.base_url} cannot be reached or broke off ({said})", again=True) from None

    def _status(self, error: Any) -> NoReply:
        found = refusal(
            error.status_code,
            error.response.headers,
            message_of(error),
            key=self._key,
            base_url=self.options.base_url,
            code=getattr(error, "code", None),
            model=self.options.model,
            variable=self.options.api_key_env,
        )
        self._rest.wish(found.wait)
        return NoReply(found.reason, again=found.again, refused=found.malformed, rested=found.wait > 0)

    def _text(self, data: bytes) -> str:
        try:
            completion = _Completion.model_validate_json(data)
            choice = completion.choices[0]
        except (ValidationError, IndexError):
            raise NoReply(f"no chat completion but {self._start(data)}", again=True) from None
        self._count(completion.usage)
        if choice.message.refusal:
            raise NoReply(f"the judge refused: {quoted(self._key.hide(choice.message.refusal))}")
        if choice.finish_reason == "content_filter":
            raise NoReply("the server's content filter withheld the reply")
        if choice.finish_reason == "length":
            raise NoReply(
                f"the reply was cut after max_tokens={self.options.max_tokens}: give more, or ask for less thinking"
            )
        if not choice.message.content:
            raise NoReply("an empty reply", again=True)
        return choice.message.content

    def _count(self, usage: Any) -> None:
        told = usage if isinstance(usage, dict) else {}
        prompt, completion = (
            tokens if isinstance(tokens := told.get(name), int) and tokens > 0 else 0
            for name in ("prompt_tokens", "completion_tokens")
        )
        self.usage.prompt_tokens += prompt
        self.usage.completion_tokens += completion
        cost = self.options.cost(prompt, completion)
        for spent in _counts.get():
            spent.prompt_tokens += prompt
            spent.completion_tokens += completion
            spent.cost = None if spent.cost is None or cost is None else spent.cost + cost

    def _start(self, data: bytes) -> str:
        return quoted(self._key.hide(data[:2000].decode("utf-8", "backslashreplace")))

"""Asking a chat service one question until it answers: what is sent, in which form the reply is asked for, when another try helps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from llmi_env.services.sending import DataUrls, Shown

__all__ = ["FORMS", "NoReply", "failure", "messages", "response_format", "tries"]

FORMS = ("json_schema", "json_object", "off")
"""How a reply's form can be asked for, the strictest first."""


class NoReply(Exception):
    """Raised when a request brought nothing that can be used.

    Attributes:
        reason: what happened, for people; the key never stands in it.
        again: whether another try may help.
        refused: whether the server did not take the request as it was: perhaps it takes another form.
        rested: whether the server said how long to wait; the connection then waits by itself.
    """

    def __init__(self, reason: str, *, again: bool = False, refused: bool = False, rested: bool = False) -> None:
        super().__init__(reason, again, refused, rested)
        self.reason, self.again, self.refused, self.rested = reason, again, refused, rested

    def __str__(self) -> str:
        return self.reason


def tries(retries: int, note: Callable[[RetryCallState], None], *, in_doubt: bool = False) -> AsyncRetrying:
    """Calls a coroutine function again while it raises a `NoReply` after which that may help; raises the last one.

    Args:
        retries: how often again at most.
        note: is told before each further try.
        in_doubt: whether another form of the request is left: what was not taken as it was is then not tried again as it is.
    """
    return AsyncRetrying(
        stop=stop_after_attempt(retries + 1),
        wait=_pause,
        retry=retry_if_exception(partial(_helps, in_doubt)),
        before_sleep=note,
        reraise=True,
    )


def failure(state: RetryCallState) -> BaseException | None:
    """What the last try raised."""
    return state.outcome.exception() if state.outcome is not None else None


async def messages(system: str, parts: Sequence[str | Shown], urls: DataUrls) -> list[dict[str, Any]]:
    """The system message and the user's, texts and pictures in order.

    Pictures are encoded in a thread. A text without any goes as such: servers of language models do not all take a list of parts.
    """
    texts = [part for part in parts if isinstance(part, str)]
    content: str | list[dict[str, Any]]
    if len(texts) == len(parts):
        content = "".join(texts)
    elif all(isinstance(part, str) or urls.ready(part) for part in parts):
        content = _content(parts, urls)
    else:
        content = await asyncio.to_thread(_content, parts, urls)
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def response_format(form: str, name: str, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The field of that name, by one of `FORMS`; `None` leaves it out."""
    if form == "json_schema":
        return {"type": form, "json_schema": {"name": name, "strict": True, "schema": schema}}
    return None if form == "off" else {"type": form}


def _content(parts: Sequence[str | Shown], urls: DataUrls) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": urls.of(part)}}
        for part in parts
    ]


def _helps(in_doubt: bool, error: BaseException) -> bool:
    return isinstance(error, NoReply) and error.again and not (in_doubt and error.refused)


_backoff = wait_random_exponential(multiplier=0.5, max=8.0)


def _pause(state: RetryCallState) -> float:
    error = failure(state)
    # An unreadable reply is no sign of overload, and a server's own waiting time is kept by the connection.
    if isinstance(error, NoReply) and (error.rested or error.refused):
        return 0.0
    return _backoff(state)

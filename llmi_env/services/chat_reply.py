"""What a streamed chat completion says, event by event: text, why it ended, tokens used, errors. Pure: no connection, no clock.

Chunks are read as OpenAI documents them ("Chat completion chunk object") with what other servers put beside: thoughts as `reasoning_content` or
`reasoning` (vLLM, SGLang, DeepSeek, OpenRouter), which are no part of the text, errors as events, ends of other names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from llmi_env.services.keys import Key
from llmi_env.services.refusals import TRANSIENT, quoted

__all__ = ["Reply", "ReplyReader", "StreamFailed", "message_in"]

_CUT = frozenset({"length", "max_tokens", "model_length"})
_BROKEN = frozenset({"error", "abort", "insufficient_system_resource"})
_CALLING = frozenset({"tool_calls", "function_call"})


@dataclass
class Reply:
    """What one request has brought so far.

    Attributes:
        pieces: events with text in them, thoughts included: about as many as tokens.
        finish: why the server says that it ended; "" where it has not.
        prompt_tokens: as the server counts them; `None` where it does not.
        completion_tokens: likewise, thoughts included.
    """

    pieces: int = 0
    finish: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def cut(self) -> bool:
        """Whether it ended at its limit of tokens."""
        return self.finish in _CUT

    @property
    def so_far(self) -> str:
        """How much there is, as the end of a message."""
        return f" after {self.pieces} pieces of text" if self.pieces else " before any text"


class StreamFailed(Exception):
    """Raised when a request did not bring a whole reply. What was handed on of it is worth nothing.

    Attributes:
        reason: what happened, for people; the key never stands in it.
        again: whether another try may help.
        hopeless: whether no other request can fare better: no such model, a wrong key, no money left.
        rested: whether the server said how long to wait; the connection then waits by itself.
        unreached: whether there was no connection at all.
        reply: what had come until then.
    """

    def __init__(
        self,
        reason: str,
        *,
        again: bool = False,
        hopeless: bool = False,
        rested: bool = False,
        unreached: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.again, self.hopeless, self.rested, self.unreached = reason, again, hopeless, rested, unreached
        self.reply = Reply()


class _Delta(BaseModel):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(BaseModel):
    index: int = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(BaseModel):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    object: Any = None
    message: Any = None


class ReplyReader:
    """Reads one reply.

    Args:
        key: of the request, which no message shows.
        take: is given each piece of text; when it answers false, the rest is not wanted.
    """

    def __init__(self, key: Key, take: Callable[[str], bool]) -> None:
        self.reply = Reply()
        self._key, self._take = key, take

    def read(self, data: str) -> bool:
        """Take the data of one event, or a whole completion in its place.

        Returns:
            Whether more is wanted.

        Raises:
            StreamFailed: it is none, or it tells of an error or a refusal.
        """
        try:
            chunk = _Chunk.model_validate_json(data)
        except ValidationError:
            raise StreamFailed(f"no chunk of a completion but {self.said(data)}", again=True) from None
        if chunk.error is not None or chunk.object == "error":
            raise self._told(chunk)
        self._count(chunk.usage)
        for choice in chunk.choices or ():
            if choice.index != 0:
                continue
            self.reply.finish = choice.finish_reason or self.reply.finish
            delta = choice.delta or choice.message or _Delta()
            if delta.refusal:
                raise StreamFailed(f"the model refused: {self.said(delta.refusal)}")
            self.reply.pieces += bool(delta.content or delta.reasoning_content or delta.reasoning)
            if delta.content and not self._take(delta.content):
                return False
        return True

    def conclude(self) -> Reply:
        """The reply, at the end of the stream.

        Raises:
            StreamFailed: it is not whole.
        """
        finish = self.reply.finish
        if not finish:
            raise StreamFailed(f"the stream broke off{self.reply.so_far}", again=True)
        if finish == "content_filter":
            raise StreamFailed("the server's content filter withheld the rest")
        if finish in _BROKEN:
            raise StreamFailed(f"the server gave up ({finish}){self.reply.so_far}", again=True)
        if finish in _CALLING:
            raise StreamFailed(
                "the server took calls out of the text as tool calls of its own, though none were offered: switch its tool parser off"
            )
        return self.reply

    def said(self, text: str) -> str:
        """The start of what the server says, without the key."""
        return quoted(self._key.hide(text))

    def _count(self, usage: Any) -> None:
        for name in ("prompt_tokens", "completion_tokens"):
            tokens = usage.get(name) if isinstance(usage, dict) else None
            if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0:
                setattr(self.reply, name, tokens)

    def _told(self, chunk: _Chunk) -> StreamFailed:
        """An error that came as an event, after the status had said that all is well."""
        code = chunk.error.get("code") if isinstance(chunk.error, dict) else None
        said = self.said(message_in({"error": chunk.message if chunk.error is None else chunk.error}))
        lasting = isinstance(code, int) and 400 <= code < 500 and code not in TRANSIENT
        return StreamFailed(f"the server failed while it wrote: {said}", again=not lasting)


def message_in(data: Any) -> str:
    """What a body of JSON says of an error."""
    inner = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(inner, dict):
        inner = inner.get("message") or inner.get("detail") or inner
    return inner if isinstance(inner, str) else json.dumps(inner)

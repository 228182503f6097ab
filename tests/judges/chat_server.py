"""A local server with the OpenAI-compatible endpoint that answers as told: well, badly, or not at all."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

Answer = Callable[[asyncio.StreamWriter, dict[str, Any]], Awaitable[None]]


class ChatServer:
    """Serves on the running event loop; request number i gets answer number i, those after the last one the last.

    Attributes:
        requests: bodies of the requests so far.
        headers: their headers, names in lower case.
        paths: their paths.
        most_at_once: requests that were open at the same time, at most.
    """

    def __init__(self, *answers: Answer) -> None:
        self._answers = answers
        self._open = 0
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.most_at_once = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:] if line}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            self.headers.append(headers)
            self.paths.append(head[0].split()[1])
            self.requests.append(body)
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
            try:
                await self._answers[min(len(self.requests), len(self._answers)) - 1](writer, body)
                await writer.drain()
            finally:
                self._open -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def raw(status: int, body: bytes, headers: Mapping[str, str] | None = None, length: int | None = None) -> Answer:
    """Any answer; `length` may promise more than comes."""

    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        lines = {"content-type": "application/json", **(headers or {}), "connection": "close"}
        lines["content-length"] = str(len(body) if length is None else length)
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body)

    return answer


def failing(status: int, message: str = "no", headers: Mapping[str, str] | None = None, **more: str) -> Answer:
    return raw(status, json.dumps({"error": {"message": message, **more}}).encode(), headers)


def completion(content: Any, finish: str = "stop", **message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def saying(content: Any, finish: str = "stop", **message: Any) -> Answer:
    """A good completion of this text; `$KEY` in it stands for the key that the request asks to copy."""

    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        text = content.replace("$KEY", key_of(request)) if isinstance(content, str) else content
        await raw(200, completion(text, finish, **message))(writer, request)

    return answer


def scoring(**scores: float) -> Answer:
    """A judge as it should be: every term that the request asks for gets its score, 4 where none is given."""

    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        asked = re.findall(r'"(\w+)": N', text_of(request))
        verdict = {"rationale": "as told", **{term: scores.get(term, 4) for term in asked}}
        if key_of(request):
            verdict["key"] = key_of(request)
        await raw(200, completion(json.dumps(verdict)))(writer, request)

    return answer


async def hanging(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
    await asyncio.sleep(3600)


async def dripping(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
    """Sends something every now and then, so that no time-out of a single read ever strikes."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def resetting(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def after(seconds: float, answer: Answer) -> Answer:
    async def later(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        await asyncio.sleep(seconds)
        await answer(writer, request)

    return later


def schema_refused(then: Answer, status: int = 400, forms: tuple[str, ...] = ("json_schema",)) -> Answer:
    """A server that does not know some values of `response_format`."""

    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        form = request.get("response_format", {}).get("type")
        await (failing(status, f"response_format {form} is not supported") if form in forms else then)(writer, request)

    return answer


def text_of(request: Mapping[str, Any]) -> str:
    """The user's message without its pictures."""
    content = request["messages"][1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def key_of(request: Mapping[str, Any]) -> str:
    found = re.findall(r'"key": "([0-9a-f]+)"', text_of(request))
    return found[-1] if found else ""

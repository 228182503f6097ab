"""Answers of a server that streams chat completions: well, badly, or without end. For `tests.judges.chat_server.ChatServer`.

The form is that of OpenAI's reference, "Chat completion chunk object" and "Streaming": server-sent events whose data are chunks, the last of
them with an empty list of choices and the tokens used where `stream_options.include_usage` asks for it, then `data: [DONE]`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from tests.judges.chat_server import Answer

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
CALL = '<imgen>{"source": "search", "description": "an owl", "params": {"query": "owl"}}</imgen>'
EDIT = '<imgen>{"source": "edit", "description": "grey", "params": {"img_index": 0, "prompt": "grayscale"}}</imgen>'
TEXT = f"Owls hunt at night.\n\n{CALL}\n\nThey hear well."


def event(data: Any) -> bytes:
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def chunk(content: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    delta = delta if content is None else {"content": content, **delta}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": None,
    }


def usage(prompt: int, completion: int) -> dict[str, Any]:
    told = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": told}


def events(*data: Any, pace: float = 0.0, whole: bool = True) -> Answer:
    """These events, one HTTP chunk each; `whole` ends the body as HTTP wants it, else the connection is cut."""

    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        writer.write(HEAD)
        for one in data:
            send(writer, one if isinstance(one, bytes) else event(one))
            await writer.drain()
            await asyncio.sleep(pace)
        if whole:
            writer.write(b"0\r\n\r\n")

    return answer


def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def pieces(text: str, size: int = 4) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def saying(
    text: str, finish: str = "stop", told: bool = True, pace: float = 0.0, thoughts: Sequence[str] = ()
) -> Answer:
    """A model that writes this text in pieces of four characters."""
    said = [
        chunk(role="assistant"),
        *(chunk(reasoning_content=thought) for thought in thoughts),
        *map(chunk, pieces(text)),
    ]
    end = [usage(100, len(pieces(text)) + len(thoughts))] if told else []
    return events(*said, chunk(finish=finish), *end, "[DONE]", pace=pace)


def breaking_off(text: str, whole: bool = False) -> Answer:
    """A stream that ends in the middle."""
    return events(*map(chunk, pieces(text)), whole=whole)


def silent_after(*data: Any) -> Answer:
    """A stream that says no more and does not end."""

    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        await events(*data, whole=False)(writer, request)
        await asyncio.sleep(3600)

    return answer


def endless(data: bytes, pause: float = 0.002) -> Answer:
    """A stream that sends the same again and again."""

    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        writer.write(HEAD)
        while True:
            send(writer, data)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer

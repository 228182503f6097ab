"""What OpenAI's client is given to speak through: errors have an end, and nothing comes packed."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib

import httpx
import pytest

from llmi_env.services.answers import bounded_client
from tests.tools.web.raw_server import raw, response


def asked(url: str) -> httpx.Response:
    async def once() -> httpx.Response:
        async with bounded_client(5) as client:
            return await client.get(url)

    return asyncio.run(once())


@pytest.mark.parametrize("status", ["500 Oh", "404 No", "302 There"])
def test_an_error_ends_after_its_beginning(status: str) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status}\r\nLocation: /other\r\n\r\n".encode())
        while True:
            connection.sendall(b"x" * 100_000)

    with raw(endless) as server:
        answer = asked(server.url)
        assert (answer.status_code, len(answer.content), answer.text[:3]) == (int(status[:3]), 65_536, "xxx")
        assert server.finished.wait(5), "the connection is closed"
    assert len(server.requests) == 1


def test_a_short_error_is_whole() -> None:
    with raw(response(b'{"error": "no"}', status="400 Bad")) as server:
        assert asked(server.url).json() == {"error": "no"}


def test_a_success_is_whole() -> None:
    with raw(response(b"y" * 300_000)) as server:
        assert len(asked(server.url).content) == 300_000
    assert b"accept-encoding: identity" in server.requests[0].lower()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_nothing_is_unpacked(encoding: str) -> None:
    bomb = gzip.compress(bytes(50_000_000)) if encoding == "gzip" else zlib.compress(bytes(50_000_000))
    with raw(response(bomb, f"Content-Encoding: {encoding}")) as server, pytest.raises(httpx.DecodingError):
        asked(server.url)
    with raw(response(bomb, f"Content-Encoding: {encoding}", status="500 Oh")) as server:
        assert asked(server.url).content == bomb[:65_536]

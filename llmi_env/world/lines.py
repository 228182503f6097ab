"""Many connections to one service: what a client sends its requests over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

__all__ = ["Line"]

_BATCH = 32


class Line:
    """Connections of one kind, in batches: an httpx client looks through all of its own for each of them whenever anything happens to one.

    Args:
        make: makes a client of so many connections.
        connections: how many there are at most; further requests take turns.
    """

    def __init__(self, make: Callable[[int], httpx.AsyncClient], connections: int) -> None:
        self._make, self._turn = make, asyncio.Semaphore(connections)
        self._batches: list[tuple[httpx.AsyncClient, asyncio.Semaphore]] = []

    async def request(self, method: str, path: str, body: bytes) -> httpx.Response:
        """Send a request over the first batch that has a connection to spare."""
        async with self._turn:
            client, places = next((batch for batch in self._batches if not batch[1].locked()), (None, None))
            if client is None or places is None:
                client, places = self._make(_BATCH), asyncio.Semaphore(_BATCH)
                self._batches.append((client, places))
            async with places:
                return await client.request(method, path, content=body, headers={"content-type": "application/json"})

    async def aclose(self) -> None:
        """Close them all."""
        for client, _ in self._batches:
            await client.aclose()

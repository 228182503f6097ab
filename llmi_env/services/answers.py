"""The HTTP client for OpenAI-compatible servers, ours and the one below OpenAI's own, which bounds what a server may answer with.

HTTPX unpacks whatever comes packed, and OpenAI's client reads the body of an error to its end before it raises. So bodies of errors end here
after their beginning, where the message is, and only what was asked for is let in: plain bytes. The body of a success is the caller's to count.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from llmi_env.services.connections import tls_context

__all__ = ["bounded_client"]

_MOST_OF_AN_ERROR = 65_536
"""Bytes of an error's body that are read."""


def bounded_client(timeout: float | httpx.Timeout) -> httpx.AsyncClient:
    """A client whose errors have an end. Takes some 60 ms the first time: see `tls_context`.

    Redirects are not followed: they would take the key elsewhere. How many requests there are at a time is the caller's to bound.

    Args:
        timeout: seconds in which something must come.
    """
    return httpx.AsyncClient(
        verify=tls_context(),
        follow_redirects=False,
        timeout=timeout,
        limits=httpx.Limits(max_connections=None),
        headers={"accept-encoding": "identity"},
        event_hooks={"response": [_bound]},
    )


async def _bound(response: httpx.Response) -> None:
    packed = response.headers.pop("content-encoding", "identity").strip().lower() not in ("identity", "")
    if not response.is_success:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Beginning(response.stream)
    elif packed:
        raise httpx.DecodingError("the answer is packed, which was not asked for", request=response.request)


class _Beginning(httpx.AsyncByteStream):
    """The beginning of a body, as if it were all of it."""

    def __init__(self, whole: httpx.AsyncByteStream) -> None:
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = _MOST_OF_AN_ERROR
        async for chunk in self._whole:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._whole.aclose()

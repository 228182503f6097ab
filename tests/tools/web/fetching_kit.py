"""Fetching in one line, and pictures to be fetched."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from PIL import Image

from llmi_env.tools.web.fetching import FetchFailed, FetchLimits, PictureFetcher

HERE = ("127.0.0.0/8",)
LIMITS = FetchLimits(seconds=8)


def png(colour: str = "red", size: tuple[int, int] = (20, 10)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def noise() -> bytes:
    """A picture of some 40 KB, so that it can be cut."""
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(buffer, "PNG")
    return buffer.getvalue()


def fetch(url: str, limits: FetchLimits = LIMITS, private: Collection[str] = HERE, **options: Any) -> Image.Image:
    async def one() -> Image.Image:
        fetcher = PictureFetcher(limits, private=private, **options)
        try:
            return await fetcher.fetch(url)
        finally:
            await fetcher.aclose()

    return asyncio.run(one())


def failure(url: str, limits: FetchLimits = LIMITS, private: Collection[str] = HERE, **options: Any) -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        fetch(url, limits, private, **options)
    return caught.value


def resolver(**answers: Sequence[str]) -> Callable[[str, int], Any]:
    """Answers for host names, whose dots are written as underscores here."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers[host.replace(".", "_")]

    return resolve


def redirects() -> FastAPI:
    app = FastAPI()

    @app.get("/hop/{left}")
    def hop(left: int, request: Request) -> Response:
        assert "cookie" not in request.headers
        assert "referer" not in request.headers
        if left == 0:
            return Response(png("lime"), media_type="image/png")
        moved = (301, 302, 303, 307, 308)[left % 5]
        return Response(
            status_code=moved, headers={"location": f"../hop/{left - 1}", "set-cookie": "session=1; path=/"}
        )

    @app.get("/to")
    def to(place: str) -> Response:
        return Response(status_code=302, headers={"location": place})

    @app.get("/nowhere")
    def nowhere() -> Response:
        return Response(status_code=302)

    @app.get("/status/{status}")
    def status(status: int) -> Response:
        return Response(status_code=status)

    return app

"""The search tool against the local web, one call at a time."""

from __future__ import annotations

import asyncio
from typing import Any

from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Outcome, Picture
from llmi_env.tools import make_tool
from llmi_env.tools.base import Tool, ToolContext, Warming
from llmi_env.tools.web.search import WebSearchTool
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from tests.tools.web import services
from tests.tools.web.services import Reply, Web, as_json, picture

NOT_A_PICTURE = Reply(200, b"an icon, once", {"Content-Type": "image/png"})
PAGE = Reply(200, b"<html>sign in</html>", {"Content-Type": "image/png"})
BUSY = Reply(503)


def tool(web: Web, **options: Any) -> WebSearchTool:
    options = {"provider": "searxng", "url": web.url, "private": ["127.0.0.1"], **options}
    made = make_tool("web-search", **options)
    assert isinstance(made, WebSearchTool)
    assert isinstance(made, Tool)
    assert isinstance(made, Warming)
    return made


def search(made: WebSearchTool, query: str = "lighthouse", context: ToolContext | None = None) -> Picture:
    async def once() -> Picture:
        try:
            return await made({"query": query}, context or ToolContext())
        finally:
            await made.aclose()
            await made.aclose()

    return asyncio.run(once())


def found(web: Web, *hits: str | Reply) -> list[str]:
    """Let the service find these: addresses, or what is at one."""
    urls = []
    for number, hit in enumerate(hits):
        if isinstance(hit, Reply):
            web.answers[f"/hit-{number}"] = hit
            hit = f"{web.url}/hit-{number}"
        urls.append(hit)
    web.answers["/search"] = as_json(services.searxng(*urls))
    return urls


def same(one: Image.Image, look: int) -> bool:
    return one.tobytes() == picture(look).tobytes()


def run(web: Web, key: str = "", **options: Any) -> Outcome:
    """One call by way of the World, tried once."""
    options = {"use": "web-search", "provider": "searxng", "url": web.url, "private": ["127.0.0.1"], **options}

    async def once() -> Outcome:
        world = InProcessWorld.from_config(WorldConfig(tools={"search": options}, judges=[], attempts=1))
        try:
            return await world.run(Call("search", "a lighthouse", {"query": "lighthouse"}))
        finally:
            await world.aclose()

    return asyncio.run(once())

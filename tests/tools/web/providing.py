"""Search services against the local web, one question at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from llmi_env.services.keys import KeySource
from llmi_env.tools.web.api import JsonApi
from llmi_env.tools.web.hits import Hit, Wish
from llmi_env.tools.web.providers import PROVIDERS, Provider
from tests.tools.web import services
from tests.tools.web.services import Web

KEY = "k3y-0f-th3/t3st+abc"
PHOTOS = {
    "params": {"words": "{query}", "n": "{hits}", "lang": "{language}"},
    "key_header": "X-API-Key",
    "results": "data.photos",
    "picture": "sizes.0.src",
    "title": "alt",
    "author": "who.name",
    "licence": "terms",
    "width": "sizes.0.w",
    "height": "sizes.0.h",
}
FORMS: dict[str, Callable[..., dict[str, Any]]] = {
    "wikimedia": services.commons,
    "openverse": services.openverse,
    "serpapi": services.serpapi,
    "bing": services.bing,
    "searxng": services.searxng,
    "endpoint": services.photos,
}


def provider(name: str, web: Web) -> Provider:
    made = PROVIDERS.make(name, {"url": f"{web.url}/search", **(PHOTOS if name == "endpoint" else {})})
    assert isinstance(made, Provider)
    return made


def ask(made: Provider, wish: Wish | None = None, seconds: float = 5.0, env: str = "TEST_KEY") -> list[Hit]:
    async def once() -> list[Hit]:
        api = JsonApi("the service", KeySource(env=env), seconds=seconds, contact="me@example.org")
        try:
            return made.hits(await api.ask(made.request(wish or Wish("barn owl", 3))))
        finally:
            await api.aclose()

    return asyncio.run(once())

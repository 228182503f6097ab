"""SearXNG, a search engine of one's own that asks many others.

`GET /search?format=json&categories=images`: https://docs.searxng.org/dev/search_api.html; an image result:
https://docs.searxng.org/dev/result_types/main/image.html. An instance gives JSON only where `search.formats` in its settings.yml has `json`;
else it answers 403.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmi_env.tools.web.api import ApiRequest, ApiUnavailable, JsonAnswer
from llmi_env.tools.web.hits import Hit, Wish, plain
from llmi_env.tools.web.providers import Abilities, entries, fields, readable

__all__ = ["SearXng"]

# `!engine`, `:language`, `<seconds` and `!!`, which sends the asker elsewhere: https://docs.searxng.org/user/search-syntax.html
_ORDERS = re.compile(r"(?:^|(?<=\s))[!:?<]+")
_SIZE = re.compile(r"(\d{1,6})\s*[x×*]\s*(\d{1,6})")


class SearXng:
    """An instance of SearXNG.

    Args:
        url: its address, with or without `/search`.
    """

    can = Abilities(safe=True, language=True)

    def __init__(self, url: str = "") -> None:
        self._url = url if url.rstrip("/").endswith("/search") else f"{url.rstrip('/')}/search"

    def request(self, wish: Wish) -> ApiRequest:
        """The first page of images; how many that are, the instance decides."""
        params = {
            "q": " ".join(_ORDERS.sub("", wish.words).split()),
            "format": "json",
            "categories": "images",
            "safesearch": "2" if wish.safe else "0",
        }
        if wish.language:
            params["language"] = wish.language
        return ApiRequest(self._url, params=params, key_header="Authorization", key_prefix="Bearer ")

    def hits(self, answer: JsonAnswer) -> list[Hit]:
        """Results in their order; none, while engines did not respond, is not the same as nothing found."""
        data = fields(answer)
        results = entries(answer, data.get("results"), "results")
        silent = data.get("unresponsive_engines")
        if not results and isinstance(silent, list) and silent:
            names = ", ".join(plain(_first(engine), 40) for engine in silent[:5])
            raise ApiUnavailable(f"{answer.url} found nothing, and engines did not respond: {names}")
        return readable(answer, results, lambda result: _hit(answer.url, result))


def _first(engine: Any) -> Any:
    """The name of an engine, which comes as a pair of name and reason."""
    return engine[0] if isinstance(engine, list) and engine else engine


def _hit(base: str, result: Mapping[str, Any]) -> Hit:
    size = _SIZE.search(plain(result.get("resolution"), 60))
    whole = result.get("img_src")
    return Hit.of(
        base,
        picture=whole or result.get("thumbnail_src"),
        page=result.get("url"),
        width=size[1] if size and whole else None,
        height=size[2] if size and whole else None,
        title=result.get("title"),
        caption=result.get("content"),
        author=result.get("author"),
    )

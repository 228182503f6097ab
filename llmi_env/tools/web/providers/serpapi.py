"""Google Images by SerpAPI.

`GET /search?engine=google_images`: https://serpapi.com/google-images-api; errors: https://serpapi.com/api-status-and-error-codes. The key goes
into the address, as its documentation has it. What Google found says nothing of licences and authors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmi_env.tools.web.api import ApiRequest, ApiUnavailable, JsonAnswer
from llmi_env.tools.web.hits import Hit, Wish, field, plain
from llmi_env.tools.web.providers import Abilities, entries, fields, readable

__all__ = ["SerpApi"]

_LICENCES = {"reusable": "f", "commercial": "fmc"}
_NONE_FOUND = "hasn't returned any results"
"""Part of the `error` of a search that went well and found nothing: "Google hasn't returned any results for this query."."""


class SerpApi:
    """SerpAPI's Google Images.

    Args:
        url: another address of it.
    """

    can = Abilities(
        own_url="https://serpapi.com/search.json",
        key_env="SERPAPI_API_KEY",
        needs_key=True,
        safe=True,
        language=True,
        licences=frozenset({"any", "reusable", "commercial"}),
        most=100,
    )

    def __init__(self, url: str = "") -> None:
        self._url = url or self.can.own_url

    def request(self, wish: Wish) -> ApiRequest:
        """The first page, which is about a hundred results: their number cannot be chosen."""
        params = {
            "engine": "google_images",
            "q": wish.words,
            "ijn": "0",
            "safe": "active" if wish.safe else "off",
        }
        if wish.language:
            params["hl"] = wish.language
        if wish.licences in _LICENCES:
            params["licenses"] = _LICENCES[wish.licences]
        return ApiRequest(self._url, params=params, key_param="api_key")

    def hits(self, answer: JsonAnswer) -> list[Hit]:
        """Results in their order. A search without results is a success with an `error` that says so."""
        data = fields(answer)
        status = field(data.get("search_metadata"), "status")
        if status not in (None, "Success"):
            said = plain(data.get("error") or status, 200)
            raise ApiUnavailable(f"{answer.url} could not search ({said})", answer.retry_after)
        listed = data.get("images_results")
        if listed is None and _NONE_FOUND in plain(data.get("error"), 200):
            return []
        results = entries(answer, listed, "images_results")
        return readable(answer, results, lambda result: _hit(answer.url, result))


def _hit(base: str, result: Mapping[str, Any]) -> Hit:
    original = result.get("original")
    return Hit.of(
        base,
        picture=original or result.get("thumbnail"),  # some results have no more than the small one
        page=result.get("link"),
        width=result.get("original_width") if original else None,
        height=result.get("original_height") if original else None,
        title=result.get("title"),
    )

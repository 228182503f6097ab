"""Endpoints of the form of Bing's Image Search API v7, which Microsoft itself has retired; others serve the same form.

`GET .../images/search`: https://learn.microsoft.com/en-us/bing/search-apis/bing-image-search/reference/query-parameters; its answer and errors:
https://learn.microsoft.com/en-us/bing/search-apis/bing-image-search/reference/response-objects and `.../error-codes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmi_env.tools.web.api import ApiRequest, ApiUnavailable, JsonAnswer, said_in
from llmi_env.tools.web.hits import Hit, Wish
from llmi_env.tools.web.providers import Abilities, entries, fields, readable

__all__ = ["BingStyle"]

_LICENCES = {"reusable": "Share", "commercial": "ModifyCommercially"}


class BingStyle:
    """An endpoint of Bing's form.

    Args:
        url: its address, up to `/images/search`.
    """

    can = Abilities(
        needs_key=True,
        safe=True,
        language=True,
        licences=frozenset({"any", "reusable", "commercial"}),
        most=150,
    )

    def __init__(self, url: str = "") -> None:
        self._url = url

    def request(self, wish: Wish) -> ApiRequest:
        """One request; the key goes into `Ocp-Apim-Subscription-Key`."""
        params = {"q": wish.words, "count": str(wish.hits), "safeSearch": "Strict" if wish.safe else "Off"}
        if wish.language:
            params["setLang"] = wish.language
        if wish.licences in _LICENCES:
            params["license"] = _LICENCES[wish.licences]
        return ApiRequest(self._url, params=params, key_header="Ocp-Apim-Subscription-Key")

    def hits(self, answer: JsonAnswer) -> list[Hit]:
        """Images in their order."""
        data = fields(answer)
        if data.get("_type") == "ErrorResponse":
            raise ApiUnavailable(f"{answer.url} answers with an error ({said_in(data)})", answer.retry_after)
        return readable(answer, entries(answer, data.get("value"), "value"), lambda image: _hit(answer.url, image))


def _hit(base: str, image: Mapping[str, Any]) -> Hit:
    return Hit.of(
        base,
        picture=image.get("contentUrl"),
        page=image.get("hostPageUrl"),
        width=image.get("width"),
        height=image.get("height"),
        title=image.get("name"),
    )

"""Openverse: openly licensed pictures of many collections; no key, though one raises its limits.

`GET /v1/images/`: https://api.openverse.org/v1/#tag/images/operation/images_search. Without a token at most 20 results come at once, and few
requests are taken (https://docs.openverse.org/api/reference/authentication_and_throttling.html). The key is an access token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmi_env.tools.web.api import ApiRequest, JsonAnswer
from llmi_env.tools.web.hits import Hit, Wish, plain
from llmi_env.tools.web.providers import Abilities, entries, fields, readable

__all__ = ["Openverse"]


class Openverse:
    """Openverse.

    Args:
        url: address of another instance's `/v1/images/`.
    """

    can = Abilities(
        own_url="https://api.openverse.org/v1/images/",
        safe=True,
        licences=frozenset({"any", "reusable", "commercial"}),
        most=20,
    )

    def __init__(self, url: str = "") -> None:
        self._url = url or self.can.own_url

    def request(self, wish: Wish) -> ApiRequest:
        """One page of results; all licences are open, some not for everything."""
        params = {"q": wish.words, "page_size": str(wish.hits)}
        if not wish.safe:
            params["mature"] = "true"
        if wish.licences == "commercial":
            params["license_type"] = "commercial,modification"
        return ApiRequest(self._url, params=params, key_header="Authorization", key_prefix="Bearer ")

    def hits(self, answer: JsonAnswer) -> list[Hit]:
        """Results in their order."""
        results = entries(answer, fields(answer).get("results"), "results")
        return readable(answer, results, lambda result: _hit(answer.url, result))


def _hit(base: str, result: Mapping[str, Any]) -> Hit:
    return Hit.of(
        base,
        picture=result.get("url"),
        page=result.get("foreign_landing_url"),
        width=result.get("width"),
        height=result.get("height"),
        title=result.get("title"),
        author=result.get("creator"),
        licence=_licence(plain(result.get("license"), 50), plain(result.get("license_version"), 25)),
    )


def _licence(code: str, version: str) -> str:
    """Openverse's code as a name: `by-sa` and `4.0` are CC BY-SA 4.0."""
    if code in ("pdm", "cc0", ""):
        return code
    return f"CC {code} {version}".strip() if code.startswith("by") else f"{code} {version}".strip()

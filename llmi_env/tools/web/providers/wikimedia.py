"""Wikimedia Commons by the API of MediaWiki; free licences only, no key.

A search among files (`generator=search`, namespace 6) with the properties of each (`prop=imageinfo`):
https://www.mediawiki.org/wiki/API:Search, https://www.mediawiki.org/wiki/API:Imageinfo. Metadata (`extmetadata`) are HTML. The picture that is
taken is a reduced one, of a width that the servers keep (https://www.mediawiki.org/wiki/Manual:$wgThumbnailSteps); it also makes PNG of SVG and
TIFF. Another wiki of this kind is named by the address of its `api.php`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmi_env.tools.web.api import ApiRequest, ApiUnavailable, JsonAnswer
from llmi_env.tools.web.hits import Hit, Wish, field, plain
from llmi_env.tools.web.providers import Abilities, entries, fields, readable

__all__ = ["Wikimedia"]

_WIDTH = "1280"
_PICTURES = frozenset({"BITMAP", "DRAWING"})
_METADATA = "Artist|Credit|ImageDescription|LicenseShortName|UsageTerms"
# Signs that mean something to CirrusSearch, regular expressions (`insource:/x/`) among them: https://www.mediawiki.org/wiki/Help:CirrusSearch
_OPERATORS = re.compile(r"[\"~*?!|:\\/\[\]{}()^<>=]|(?:^|(?<=\s))-+")


class Wikimedia:
    """Wikimedia Commons.

    Args:
        url: address of another wiki's `api.php`.
    """

    can = Abilities(
        own_url="https://commons.wikimedia.org/w/api.php",
        language=True,
        licences=frozenset({"any", "reusable", "commercial"}),  # Commons takes no other files
    )

    def __init__(self, url: str = "") -> None:
        self._url = url or self.can.own_url

    def request(self, wish: Wish) -> ApiRequest:
        """One request for files and their properties."""
        words = " ".join(_OPERATORS.sub(" ", wish.words).split())
        params = {
            "action": "query",
            "format": "json",
            "formatversion": "2",
            "generator": "search",
            "gsrsearch": f"filetype:bitmap|drawing {words}",
            "gsrnamespace": "6",
            "gsrlimit": str(wish.hits),
            "prop": "imageinfo",
            "iiprop": "url|size|mime|mediatype|extmetadata",
            "iiurlwidth": _WIDTH,
            "iiextmetadatafilter": _METADATA,
        }
        if wish.language:
            params |= {"iiextmetadatalanguage": wish.language, "uselang": wish.language}
        return ApiRequest(self._url, params=params, key_header="Authorization", key_prefix="Bearer ")

    def hits(self, answer: JsonAnswer) -> list[Hit]:
        """Pages in the order of `index`: the API lists them in another one."""
        data = fields(answer)
        if "error" in data:
            said = plain(field(data["error"], "info", "code"), 200)
            raise ApiUnavailable(f"{answer.url} answers with an error ({said})", answer.retry_after)
        pages = field(data.get("query"), "pages")
        if pages is None and "batchcomplete" in data and isinstance(data.get("query", {}), Mapping):  # nothing found
            return []
        pages = entries(answer, pages, "query.pages")
        files = [page for page in pages if not isinstance(page, Mapping) or _shows_something(page)]
        files.sort(key=_rank)
        return readable(answer, files, lambda page: _hit(answer.url, page))


def _rank(page: Any) -> float:
    index = field(page, "index")
    return index if isinstance(index, int) else float("inf")


def _info(page: Mapping[str, Any]) -> Mapping[str, Any]:
    listed = page.get("imageinfo")
    first = listed[0] if isinstance(listed, list) and listed else None
    return first if isinstance(first, Mapping) else {}


def _shows_something(page: Mapping[str, Any]) -> bool:
    """Whether a file is a picture: documents and sounds may come in spite of `filetype`, and are no fault of the answer."""
    return plain(_info(page).get("mediatype", "BITMAP"), 20) in _PICTURES


def _hit(base: str, page: Mapping[str, Any]) -> Hit:
    info = _info(page)
    metadata = info.get("extmetadata")

    def said(*names: str) -> Any:
        return next((value for name in names if (value := field(field(metadata, name), "value"))), None)

    return Hit.of(
        base,
        picture=field(info, "thumburl", "url"),
        page=info.get("descriptionurl"),
        width=field(info, "thumbwidth", "width"),
        height=field(info, "thumbheight", "height"),
        title=_without_ending(page.get("title")),
        caption=said("ImageDescription"),
        author=said("Artist", "Credit"),
        licence=said("LicenseShortName", "UsageTerms"),
    )


def _without_ending(title: Any) -> str:
    """`File:Barn owl.jpg` as a title."""
    name = title.partition(":")[2] if isinstance(title, str) else ""
    return re.sub(r"\.\w{2,5}$", "", name)

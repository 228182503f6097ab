"""Any HTTP endpoint that answers with JSON, described in the configuration.

A description says how a query is written into the request, and where in the answer the results and their fields stand::

    search:
      use: web-search
      provider: endpoint
      url: https://api.example.org/v1/search
      api_key_env: EXAMPLE_KEY
      provider_options:
        params: {query: "{query}", per_page: "{hits}", locale: "{language}"}
        key_header: Authorization
        key_prefix: "Bearer "
        results: photos
        picture: src.large
        title: alt
        author: photographer
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmi_env.errors import ConfigError
from llmi_env.services.keys import looks_secret, without_secrets
from llmi_env.services.options import parse_options
from llmi_env.tools.web.api import ApiRequest, ApiUnavailable, JsonAnswer
from llmi_env.tools.web.hits import Hit, Wish
from llmi_env.tools.web.providers import Abilities, entries, readable

__all__ = ["Description", "Endpoint"]

_PLACE = re.compile(r"\{(query|hits|language)\}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

Path = str | tuple[str | int, ...]
"""Where a value stands: names and numbers joined by dots, e.g. `urls.0.large`, or as a list where a name has a dot in it."""


class Description(BaseModel):
    """How an endpoint is asked and read. In `params`, `headers`, `body` and behind the `?` of the URL, `{query}`, `{hits}` and `{language}` are
    filled in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["GET", "POST"] = "GET"
    """How it is asked."""

    params: dict[str, str] = Field(default_factory=dict)
    """Fields of the query in the address."""

    headers: dict[str, str] = Field(default_factory=dict)
    """Headers besides the usual ones; the key's is not among them."""

    body: Any = None
    """JSON that is posted."""

    key_header: str = ""
    """Header that carries the key."""

    key_prefix: str = ""
    """What stands before the key in the header, e.g. `"Bearer "`."""

    key_param: str = ""
    """Field of the query that carries the key, where no header does."""

    results: Path = "results"
    """Where the list of results stands; empty where the answer itself is the list."""

    picture: Path = Field(min_length=1)
    """Where the address of the picture stands in a result."""

    title: Path = ""
    """Where its title stands, if anywhere."""

    caption: Path = ""
    """Where it is said what is seen in it, if anywhere."""

    page: Path = ""
    """Where the address of its page stands, if anywhere."""

    author: Path = ""
    """Where its author stands, if anywhere."""

    licence: Path = ""
    """Where its licence stands, if anywhere."""

    width: Path = ""
    """Where its width in pixels stands, if anywhere."""

    height: Path = ""
    """Where its height in pixels stands, if anywhere."""

    @field_validator("params", "headers")
    @classmethod
    def _no_secrets(cls, named: dict[str, str]) -> dict[str, str]:
        for name in named:
            if looks_secret(name):
                raise ValueError(
                    f"{name!r} looks like a key, which would be written into reports: name its variable as api_key_env, and the field as "
                    "key_header or key_param"
                )
        return named

    @field_validator("body")
    @classmethod
    def _no_secrets_inside(cls, body: Any) -> Any:
        return without_secrets(body)

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or not value.isascii() or not value.isprintable() or _PLACE.search(value):
                raise ValueError(f"the header {name!r} is no header of ASCII characters, or has a place to fill in")
        return headers

    @model_validator(mode="after")
    def _agree(self) -> Description:
        if self.key_header and self.key_param:
            raise ValueError("the key goes into key_header or into key_param, not both")
        if self.key_header and not _HEADER.fullmatch(self.key_header):
            raise ValueError("key_header is no name of a header")
        if self.body is not None and self.method != "POST":
            raise ValueError("a body needs method: POST")
        return self


class Endpoint:
    """An endpoint by its description.

    Args:
        url: its address.
        **description: see `Description`; `picture` is needed, and `{query}` somewhere.

    Raises:
        ConfigError: names what cannot be.
    """

    def __init__(self, url: str = "", **description: Any) -> None:
        self._how = parse_options(Description, description, "search provider 'endpoint'")
        self._url = url
        head, _, query = url.partition("?")
        filled = _places([query, self._how.params, self._how.body])
        if _PLACE.search(head):
            raise ConfigError("search provider 'endpoint': in url, places to fill in stand behind the `?`")
        if "query" not in filled:
            raise ConfigError(
                "search provider 'endpoint': no {query} in params, body or behind the ? of url: nothing would be asked"
            )
        keyed = bool(self._how.key_header or self._how.key_param)
        self.can = Abilities(takes_key=keyed, needs_key=keyed, language="language" in filled, most=100)

    def request(self, wish: Wish) -> ApiRequest:
        """The request, every place in it filled in."""
        how = self._how
        values = {"query": wish.words, "hits": str(wish.hits), "language": wish.language or ""}
        head, mark, query = self._url.partition("?")
        return ApiRequest(
            head + mark + _PLACE.sub(lambda place: quote(values[place[1]], safe=""), query),
            method=how.method,
            params=_filled(how.params, values),
            headers=how.headers,
            body=_filled(how.body, values, posted=True),
            key_header=how.key_header,
            key_prefix=how.key_prefix,
            key_param=how.key_param,
        )

    def hits(self, answer: JsonAnswer) -> list[Hit]:
        """Results in their order."""
        how = self._how
        listed = _at(answer.data, how.results)
        if listed is None and how.results:
            raise ApiUnavailable(f"{answer.url}: there is no {how.results!r} in the answer: check `results`")
        names = ("picture", "page", "width", "height", "title", "caption", "author", "licence")

        def read(result: Mapping[str, Any]) -> Hit:
            return Hit.of(answer.url, **{name: _at(result, path) for name in names if (path := getattr(how, name))})

        return readable(answer, entries(answer, listed, str(how.results or "the answer")), read)


def _filled(template: Any, values: Mapping[str, str], posted: bool = False) -> Any:
    """A template with every place filled in; in JSON that is posted, a text that is nothing but `{hits}` becomes a number."""
    if isinstance(template, str):
        if posted and template == "{hits}":
            return int(values["hits"])
        return _PLACE.sub(lambda place: values[place[1]], template)
    if isinstance(template, Mapping):
        return {name: _filled(item, values, posted) for name, item in template.items()}
    if isinstance(template, list):
        return [_filled(item, values, posted) for item in template]
    return template


def _places(template: Any) -> set[str]:
    """Names of all places to fill in."""
    if isinstance(template, str):
        return set(_PLACE.findall(template))
    inner = template.values() if isinstance(template, Mapping) else template if isinstance(template, list) else ()
    return {name for item in inner for name in _places(item)}


def _at(value: Any, path: Path) -> Any:
    """What stands at a path, or `None`."""
    steps: Any = path.split(".") if isinstance(path, str) and path else path
    for step in steps:
        if isinstance(value, Mapping):
            value = value.get(str(step))
        elif isinstance(value, list) and str(step).isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value

"""Search services: what to ask them, and how to read what they answer. Nothing here does I/O.

A provider is a class that is made of the address to ask (`url`; empty stands for the service's own) and has three things: what it can do
(`can`), the request for a wish, and the hits of an answer. One of your own is named by its import path, `provider: "module:Class"`, or by an
entry point of the group `llmi_env.search_providers`; most services need none, but a description (see `endpoint`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from llmi_env.registry import Registry
from llmi_env.tools.web.api import ApiRequest, ApiUnavailable, JsonAnswer, said_in
from llmi_env.tools.web.hits import Hit, Licences, Wish

__all__ = ["PROVIDERS", "Abilities", "Provider", "entries", "fields", "readable"]

PROVIDERS = Registry(
    what="search provider",
    group="llmi_env.search_providers",
    builtin={
        "wikimedia": "llmi_env.tools.web.providers.wikimedia:Wikimedia",
        "openverse": "llmi_env.tools.web.providers.openverse:Openverse",
        "serpapi": "llmi_env.tools.web.providers.serpapi:SerpApi",
        "bing": "llmi_env.tools.web.providers.bing:BingStyle",
        "searxng": "llmi_env.tools.web.providers.searxng:SearXng",
        "endpoint": "llmi_env.tools.web.providers.endpoint:Endpoint",
    },
)
"""Every provider that can be named in a configuration."""


@dataclass(frozen=True)
class Abilities:
    """What a service can be asked for: options beyond that are an error, not a surprise.

    Attributes:
        own_url: its address; empty where one must be given.
        key_env: environment variable that its key is read from where no other is named; empty where it wants no key by itself.
        takes_key: whether it is known where a key goes.
        needs_key: whether it refuses requests without a key.
        safe: whether it can leave out explicit pictures.
        language: whether it takes a language.
        licences: which choices of licences it knows.
        most: hits of one request at most.
    """

    own_url: str = ""
    key_env: str = ""
    takes_key: bool = True
    needs_key: bool = False
    safe: bool = False
    language: bool = False
    licences: frozenset[Licences] = frozenset({"any"})
    most: int = 50


@runtime_checkable
class Provider(Protocol):
    """How one service is asked and read."""

    @property
    def can(self) -> Abilities:
        """What the service can be asked for."""
        ...

    def request(self, wish: Wish) -> ApiRequest:
        """What to ask; the key is added on the way."""
        ...

    def hits(self, answer: JsonAnswer) -> list[Hit]:
        """The hits of an answer, best first, those without a usable picture left out.

        Raises:
            ApiUnavailable: the answer is an error, or not of the documented form.
        """
        ...


def entries(answer: JsonAnswer, value: Any, name: str) -> list[Any]:
    """The list of results, checked. One that is missing does not mean that nothing was found: a service that says so sends an empty one.

    Args:
        answer: where it comes from.
        value: what stands in its place.
        name: its name, for the message.

    Raises:
        ApiUnavailable: it is not there, or no list; tells what the service says instead.
    """
    if value is None:
        said = said_in(answer.data)
        raise ApiUnavailable(f"{answer.url} answers without {name}{f' ({said})' if said else ''}", answer.retry_after)
    if not isinstance(value, list):
        raise ApiUnavailable(f"{answer.url}: {name} is {_kind(value)} where a list of results is needed")
    return value


def readable(answer: JsonAnswer, results: list[Any], read: Callable[[Mapping[str, Any]], Hit]) -> list[Hit]:
    """The hits among results.

    Raises:
        ApiUnavailable: there are results, and none of them has the address of a picture: another form than is documented.
    """
    found = [read(result) for result in results if isinstance(result, Mapping)]
    hits = [hit for hit in found if hit.picture]
    if results and not hits:
        raise ApiUnavailable(f"{answer.url}: none of {len(results)} results has the address of a picture")
    return hits


def fields(answer: JsonAnswer) -> Mapping[str, Any]:
    """The answer as a mapping.

    Raises:
        ApiUnavailable: it is something else.
    """
    if not isinstance(answer.data, Mapping):
        raise ApiUnavailable(f"{answer.url} answers with {_kind(answer.data)} where an object is needed")
    return answer.data


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")

"""The search tool on the web: a query to the first good picture that a search service finds.

One call goes: query, cleaned -> one request to the service (see `providers`, `api`) -> hits in rank order -> downloads side by side (see
`fetching`) -> the best-ranked picture that is good and new (see `choosing`). Which of them lands first does not matter, and `seed` is not used:
the result depends on the query and on what the web holds. In a configuration::

    tools:
      search: {use: web-search, provider: wikimedia}
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qsl, urlsplit

from PIL import Image
from pydantic import Field, field_validator

from llmi_env.document import Picture
from llmi_env.errors import BadParams, ConfigError, MissingExtra, NothingFound, ToolError, ToolUnavailable
from llmi_env.services.connections import place
from llmi_env.services.keys import KeySource, looks_secret
from llmi_env.services.options import ServiceOptions
from llmi_env.tools.base import SEARCH, ToolContext, ToolSpec
from llmi_env.tools.web.addresses import AddressRules
from llmi_env.tools.web.api import JsonApi
from llmi_env.tools.web.choosing import Head, Miss, Ranker, best_fitting, fingerprint, looked_at, looks_like_any
from llmi_env.tools.web.fetching import FetchFailed, FetchLimits, PictureFetcher
from llmi_env.tools.web.hits import Hit, Licences, Wish
from llmi_env.tools.web.providers import PROVIDERS, Abilities, Provider

__all__ = ["Fetcher", "WebSearchOptions", "WebSearchTool"]

_log = logging.getLogger(__name__)

MAX_QUERY = 200
"""Characters of a query that are sent: Openverse reads no more, Commons refuses more than 300."""


class Fetcher(Protocol):
    """What downloads pictures: `PictureFetcher`, or a test's own."""

    async def fetch(self, url: str) -> Image.Image:
        """The picture, in RGB. Raises `FetchFailed`."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


class WebSearchOptions(ServiceOptions):
    """What a search on the web is made of."""

    what: ClassVar[str] = "web search"

    provider: str = "wikimedia"
    """Which service: `wikimedia`, `openverse`, `serpapi`, `bing`, `searxng`, `endpoint`, a plugin, or `"module:Class"`."""

    url: str = ""
    """Address of the service; needed for `bing`, `searxng` and `endpoint`, the others know their own."""

    provider_options: dict[str, Any] = Field(default_factory=dict)
    """Options of the provider itself; for `endpoint`, its description."""

    api_key_env: str | None = None
    """Name of the environment variable that holds the key, never the key itself. Without it `SERPAPI_API_KEY` is used for SerpAPI, and no key
    is sent anywhere else. Empty: send none."""

    safe: bool | None = None
    """Leave out explicit pictures; by default wherever the service can."""

    language: str | None = Field(default=None, pattern=r"^[a-z]{2,3}(-[A-Za-z]{2,4})?$")
    """Language of the search, e.g. `en`, where the service takes one."""

    licences: Licences = "any"
    """`reusable` asks for pictures that may be shared, `commercial` for those that may be shared and changed, commercially too. A filter of the
    service, not a promise."""

    hits: int = Field(default=10, ge=1, le=150)
    """How many hits are looked at, at most."""

    parallel: int = Field(default=4, ge=1, le=16)
    """Pictures of one call that are downloaded at the same time."""

    seconds: float = Field(default=10.0, gt=0)
    """Seconds that the request to the service may take, whatever of it is slow."""

    picture_seconds: float = Field(default=15.0, gt=0)
    """Seconds that one picture may take."""

    picture_mb: float = Field(default=20.0, gt=0)
    """Size of a picture's file at most, in MB."""

    picture_megapixels: float = Field(default=40.0, gt=0)
    """Pixels of a picture at most, in millions."""

    min_side: int = Field(default=64, ge=1)
    """Pixels of a picture's shorter side at least."""

    distinct: bool = True
    """Skip pictures that look like an earlier figure of the document; needs the extra `web`."""

    rerank: bool = False
    """Look at all hits and prefer those that fit the query clearly better; needs the extra `offline`."""

    contact: str = Field(default="", max_length=200, pattern=r"^[\x21-\x27\x2a-\x7e ]*$")
    """Mail address or web page of whoever runs this, which Wikimedia asks for; it goes into the User-Agent."""

    private: tuple[str, ...] = ()
    """Host names and address ranges outside the public internet that pictures may come from, e.g. of your own picture server."""

    @field_validator("private")
    @classmethod
    def _are_addresses(cls, private: tuple[str, ...]) -> tuple[str, ...]:
        AddressRules(private)  # says what is no host and no range
        return private

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        if not url:
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                "an address such as https://search.example.org/api is needed"
            )  # it may be a key: not repeated
        named = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        if parts.username or parts.password or any(map(looks_secret, named)):
            raise ValueError("a key in the address would be written into reports: name its variable as api_key_env")
        return url


class WebSearchTool:
    """A query to the best-ranked good picture of a search service.

    Args:
        ranker: how well a picture fits a text, for `rerank`; the embedded judge's head for pictures and texts by default.
        **options: see `WebSearchOptions`.

    Attributes:
        cacheable: the World may keep what was found for later runs: searches cost money or are rationed.

    Raises:
        ConfigError: an option that cannot be used, or that the provider does not have.
        MissingExtra, AssetError: what `distinct` or `rerank` stand on is not installed.
    """

    cacheable = True

    def __init__(self, ranker: Ranker | None = None, **options: Any) -> None:
        self.options = WebSearchOptions.parse(options)
        self.provider = _provider(self.options)
        self._api = JsonApi(
            f"{self.options.provider} search",
            _key_source(self.options, self.provider.can),
            seconds=self.options.seconds,
            contact=self.options.contact,
        )
        if self.options.distinct and importlib.util.find_spec("imagehash") is None:
            raise MissingExtra("telling pictures that look alike (option distinct)", "web", "imagehash")
        self._ranker = ranker
        if self.options.rerank and ranker is None:
            self._ranker = Head()
        if self.options.provider == "wikimedia" and not self.options.contact:
            _log.warning(
                "Wikimedia asks whoever uses its services for a way to be reached: give one as the option contact"
            )
        self._fetcher: Fetcher | None = None
        self._place: tuple[int, object] | None = None

    @staticmethod
    def check_options(**options: Any) -> None:
        """Raise `ConfigError` for options that cannot be. Needs no key, and imports no provider that does not ship."""
        wanted = WebSearchOptions.parse({name: value for name, value in options.items() if name != "ranker"})
        PROVIDERS.check(wanted.provider)
        if wanted.provider in PROVIDERS.builtin:
            _key_source(wanted, _provider(wanted).can)

    @property
    def spec(self) -> ToolSpec:
        """`search {query: str}`."""
        return self.spec_of("search", {"distinct": self.options.distinct})

    @staticmethod
    def spec_of(name: str, options: Mapping[str, Any]) -> ToolSpec:
        """The spec that goes with a configuration: with `distinct`, a call sees the pictures of those before it in the document."""
        return replace(SEARCH, name=name, sees_earlier=bool(options.get("distinct", True)))

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """The best-ranked good picture for `params["query"]` that looks like none of `context.pictures`.

        Raises:
            BadParams: the query is empty.
            NothingFound: the service found nothing, or nothing that can be used.
            ToolUnavailable: service or pictures cannot be reached; `retry_after` says for how long, where the service does.
            ToolTimeout: the service did not answer in time.
            ConfigError: its key is not set.
        """
        words = _cleaned(str(params["query"]))
        hits = await self._hits(words)
        earlier = context.pictures if self.options.distinct else ()
        seen = await asyncio.to_thread(lambda: [fingerprint(picture.image) for picture in earlier]) if earlier else []
        ranker = self._ranker if self.options.rerank else None
        found = await looked_at(
            hits, partial(self._look, seen=seen), self.options.parallel, everything=ranker is not None
        )
        good = [picture for picture in found if isinstance(picture, Picture)]
        if not good:
            raise _failure(words, [miss for miss in found if isinstance(miss, Miss)])
        return await asyncio.to_thread(best_fitting, good, words, ranker) if ranker is not None else good[0]

    async def warm(self) -> None:
        """Say at once where a key is missing, and load what `rerank` needs."""
        self._api.key.read(f"web search: {self._api.service}")
        load = getattr(self._ranker, "load", None)
        if self.options.rerank and load is not None:
            await asyncio.to_thread(load)

    async def aclose(self) -> None:
        """Close connections; another call opens them again."""
        fetcher, here = self._fetcher, self._place == place()
        self._fetcher = self._place = None
        await self._api.aclose()
        if fetcher is not None and here:
            await fetcher.aclose()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fetcher": None, "_place": None}

    async def _hits(self, words: str) -> list[Hit]:
        """What the service found, each picture once, in its order."""
        options = self.options
        safe = options.safe is not False
        wish = Wish(words, options.hits, safe, options.language, options.licences)
        answer = await self._api.ask(self.provider.request(wish))
        found: dict[str, Hit] = {}
        for hit in self.provider.hits(answer):
            found.setdefault(hit.picture, hit)
        if not found:
            raise NothingFound(f"no picture found for {words!r}; name the main subject in two or three words")
        return list(found.values())[: options.hits]

    async def _look(self, hit: Hit, seen: Sequence[Any]) -> Picture | Miss:
        """Download one picture and look whether it will do."""
        least = self.options.min_side
        if min(hit.width or least, hit.height or least) < least:
            return Miss(f"smaller than {least} pixels", "hit")
        try:
            image = await self._downloads().fetch(hit.picture)
        except FetchFailed as failed:
            return Miss(failed.reason, failed.fault)
        if min(image.size) < least:
            return Miss(f"smaller than {least} pixels", "picture")
        alike: bool = await asyncio.to_thread(looks_like_any, image, seen)
        if alike:
            return Miss("looks like an earlier figure", "picture")
        return Picture(image, hit.provenance(f"web:{self.options.provider}"))

    def _downloads(self) -> Fetcher:
        """The fetcher of this process and event loop."""
        if self._fetcher is None or self._place != place():
            options = self.options
            limits = FetchLimits(
                bytes=int(options.picture_mb * 1_000_000),
                pixels=int(options.picture_megapixels * 1_000_000),
                seconds=options.picture_seconds,
            )
            self._fetcher, self._place = (
                PictureFetcher(limits, private=options.private, contact=options.contact),
                place(),
            )
        return self._fetcher


def _cleaned(query: str) -> str:
    """A query as it is sent: one line, cut between words.

    Raises:
        BadParams: there is nothing to look for in it.
    """
    text = " ".join("".join(char if char.isprintable() else " " for char in query).split())
    if len(text) > MAX_QUERY:
        text = text[: MAX_QUERY + 1].rpartition(" ")[0] or text[:MAX_QUERY]
    if not any(char.isalnum() for char in text):
        raise BadParams(f"the query {text!r} names nothing to look for" if text else "the query is empty")
    return text


def _failure(words: str, misses: Sequence[Miss]) -> ToolError:
    """What to raise where no hit was good: among those that only the network kept away, one might have been.

    It is the policy's fault where the pictures are what they are. What could not be fetched may be there tomorrow, so that this does not last.
    """
    counted = Counter(miss.reason for miss in misses).most_common(3)
    reasons = ", ".join(f"{count} x {reason}" for reason, count in counted)
    message = f"none of {len(misses)} pictures found for {words!r} can be used: {reasons}"
    asked = {miss.why for miss in misses} - {"hit"}
    if asked == {"page"}:
        return ToolUnavailable(f"{message}; does the network want a log-in?")
    if "world" in asked:
        return ToolUnavailable(message)
    nothing = NothingFound(message)
    nothing.lasting = asked <= {"picture"}
    return nothing


def _provider(options: WebSearchOptions) -> Provider:
    """The provider that options name, checked against what it can do."""
    made: object = PROVIDERS.make(options.provider, {**options.provider_options, "url": options.url})
    if not isinstance(made, Provider):
        raise ConfigError(
            f"search provider {options.provider!r}: {type(made).__name__} needs `can`, `request` and `hits`"
        )
    can, name = made.can, f"web search by {options.provider}"
    if not options.url and not can.own_url:
        raise ConfigError(f"{name}: the option url is needed: the address of the service")
    if options.hits > can.most:
        raise ConfigError(f"{name}: at most {can.most} hits come at once, not {options.hits}")
    if options.safe and not can.safe:
        raise ConfigError(
            f"{name}: it cannot leave out explicit pictures: take out the option safe, or another provider"
        )
    if options.language and not can.language:
        raise ConfigError(f"{name}: it takes no language")
    if options.licences not in can.licences:
        raise ConfigError(f"{name}: it cannot tell licences ({options.licences})")
    return made


def _key_source(options: WebSearchOptions, can: Abilities) -> KeySource:
    """Where the key is read from. By itself only a service at its own address gets one."""
    name, name_it = options.api_key_env, f"web search by {options.provider}"
    if name is None and not options.api_key_file:
        if can.key_env and not options.url:
            name = can.key_env
        elif can.needs_key:
            raise ConfigError(
                f"{name_it}: name the environment variable that holds the key as api_key_env ('' if the service wants none)"
            )
    if (name or options.api_key_file) and not can.takes_key:
        raise ConfigError(f"{name_it}: say where the key goes: key_header or key_param in provider_options")
    return KeySource(env=name or "", file=options.api_key_file or "")

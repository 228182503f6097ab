"""The search tool on the web, against services and pictures on this machine: who wins, whose fault a failure is, and that no key shows."""

from __future__ import annotations

import asyncio
import io
import logging
import pickle
import re
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from PIL import Image

from llmi_env import tools
from llmi_env.calls import Call
from llmi_env.config import load_config
from llmi_env.document import Document, Failure, Figure, Outcome, Picture, Provenance, Text
from llmi_env.episode import StopReason
from llmi_env.errors import BadParams, ConfigError, LLMIError, MissingExtra, NothingFound, ToolTimeout, ToolUnavailable
from llmi_env.ledger import Ledger, Owner
from llmi_env.report import write_document_page, write_report
from llmi_env.rewards import HybridReward
from llmi_env.rollout import Rollout
from llmi_env.store import read_episodes, write_episodes
from llmi_env.task import Task
from llmi_env.tools import make_tool
from llmi_env.tools.base import Tool, ToolContext, Warming
from llmi_env.tools.web.choosing import NEAR, Head, best_fitting, fingerprint
from llmi_env.tools.web.providers import PROVIDERS
from llmi_env.tools.web.search import WebSearchOptions, WebSearchTool
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from tests.tools.web import services
from tests.tools.web.services import Asked, Reply, Web, as_json, html, picture

pytest.importorskip("imagehash", reason="imagehash (extra 'web') is not installed")

KEY = "k3y-0f-th3/t3st+abc"
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


# ------------------------------------------------------------------------------------------------------------- who wins


def test_the_best_ranked_good_picture_wins_whatever_lands_first(web: Web) -> None:
    found(web, web.picture("slow", 1, wait=0.3), web.picture("quick", 2), web.picture("quicker", 3))
    for seed in (1, 2):
        assert same(search(tool(web), context=ToolContext(seed=seed)).image, 1)
    assert {"/quick", "/quicker"} <= set(web.paths())


def test_bad_ones_are_skipped_in_rank_order(web: Web) -> None:
    broken = Reply(200, services.png(9)[:200])
    missing = f"{web.url}/missing"
    found(web, NOT_A_PICTURE, missing, broken, web.picture("fourth", 4, wait=0.1), web.picture("fifth", 5))
    assert same(search(tool(web)).image, 4)


def test_downloads_run_side_by_side_within_the_bound_and_no_more_than_needed(web: Web) -> None:
    late = [Reply(404, wait=0.2) for _ in range(6)]
    found(web, *late, web.picture("seventh", 7), *(web.picture(f"later-{number}", 8) for number in range(6)))
    assert same(search(tool(web, parallel=3, hits=20)).image, 7)
    assert web.most_at_once == 3
    assert "/later-3" not in web.paths()


def test_what_cannot_win_any_more_is_given_up(web: Web) -> None:
    found(web, web.picture("first", 1), web.picture("second", 2, wait=20), Reply(404, wait=20))
    start = time.monotonic()
    assert same(search(tool(web)).image, 1)
    assert time.monotonic() - start < 10


def test_the_same_address_is_looked_at_once(web: Web) -> None:
    url = found(web, NOT_A_PICTURE)[0]
    good = web.picture("good", 1)
    web.answers["/search"] = as_json(services.searxng(url, url, good, url))
    assert same(search(tool(web)).image, 1)
    assert web.paths().count("/hit-0") == 1


def test_only_as_many_hits_as_asked_for(web: Web) -> None:
    found(web, NOT_A_PICTURE, NOT_A_PICTURE, web.picture("good", 1))
    with pytest.raises(NothingFound, match="none of 2 pictures"):
        search(tool(web, hits=2))


def test_small_pictures_are_skipped(web: Web) -> None:
    answer = services.searxng(web.picture("said", 1), web.picture("seen", 2, size=(90, 20)), web.picture("good", 3))
    answer["results"][0]["resolution"] = "16 x 16"
    for result in answer["results"][1:]:
        result["resolution"] = ""
    web.answers["/search"] = as_json(answer)
    assert same(search(tool(web)).image, 3)
    assert "/said" not in web.paths()


def test_a_dropped_call_drops_its_downloads(web: Web) -> None:
    found(web, *[Reply(200, services.png(1), wait=20) for _ in range(4)])

    async def dropped() -> None:
        made = tool(web)
        call = asyncio.ensure_future(made({"query": "lighthouse"}, ToolContext()))
        while len(web.asked) < 5:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
        await made.aclose()

    start = time.monotonic()
    asyncio.run(dropped())
    assert time.monotonic() - start < 10


# -------------------------------------------------------------------------------------------------------- what is kept


def test_title_author_licence_and_page_are_kept(web: Web) -> None:
    web.answers["/w/api.php"] = as_json(services.commons(web.picture("1", 1)))
    got = search(tool(web, provider="wikimedia", url=f"{web.url}/w/api.php", contact="me@example.org"))
    assert got.image.mode == "RGB"
    assert got.provenance == Provenance(
        "web:wikimedia",
        title="Barn owl 1",
        caption="A barn owl in flight",
        source="https://commons.wikimedia.org/wiki/File:Barn_owl_1.jpg",
        author="Ann & Bob",
        licence="CC-BY-SA-4.0",
    )


def test_without_a_page_the_pictures_address_is_kept(web: Web) -> None:
    web.answers["/photos"] = as_json({"results": [{"u": web.picture("1", 1)}]})
    how = {"picture": "u", "params": {"q": "{query}"}}
    got = search(tool(web, provider="endpoint", url=f"{web.url}/photos", provider_options=how))
    assert got.provenance == Provenance("web:endpoint", source=f"{web.url}/1")


def test_wikimedia_is_told_whom_to_reach(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    tool(web, provider="wikimedia")
    assert "give one as the option contact" in caplog.text
    caplog.clear()
    tool(web, provider="wikimedia", contact="https://example.org/about")
    assert not caplog.records


# --------------------------------------------------------------------------------------------------------- nothing let in


def test_hits_outside_the_public_internet_are_skipped(web: Web) -> None:
    try:
        inside = Web(host="127.0.0.2")
    except OSError:
        pytest.skip("this system has no second loopback address")
    with inside:
        secret = inside.picture("secret", 9)
        web.answers["/moved"] = Reply(302, b"", {"Location": secret})
        hits = [
            secret,
            f"{web.url}/moved",
            secret.replace("127.0.0.2", "2130706434"),
            secret.replace("127.0.0.2", "[::ffff:127.0.0.2]"),
            "http://169.254.169.254/latest/meta-data/iam",
            "http://10.0.0.1/a.png",
            "http://[fe80::1]/a.png",
            "file:///etc/passwd",
        ]
        found(web, *hits, web.picture("good", 3))
        assert same(search(tool(web)).image, 3)
        found(web, *(hit for hit in hits if not hit.endswith("/moved")))
        with pytest.raises(NothingFound, match="none of 6 pictures found"):
            search(tool(web))
        found(web, *hits)
        with pytest.raises(ToolUnavailable, match="none of 7 pictures found"):
            search(tool(web))
        assert inside.asked == []


def test_limits_of_a_picture_are_kept(web: Web) -> None:
    big = web.picture("big", 1, size=(600, 500))
    found(web, big, web.picture("good", 2))
    assert same(search(tool(web, picture_megapixels=0.2)).image, 2)
    size = len(services.png(1, size=(600, 500)))
    assert same(search(tool(web, picture_mb=(size - 1) / 1e6)).image, 2)
    found(web, Reply(200, b"\x89PNG\r\n", length=10**6, dripping=True), web.picture("good", 2))
    assert same(search(tool(web, picture_seconds=1.5)).image, 2)


# ---------------------------------------------------------------------------------------------------------- whose fault


def test_nothing_found_is_the_policys(web: Web) -> None:
    found(web)
    with pytest.raises(NothingFound, match="no picture found for 'lighthouse'; name the main subject"):
        search(tool(web))


def test_bad_pictures_only_are_the_policys(web: Web) -> None:
    found(web, NOT_A_PICTURE, Reply(404), NOT_A_PICTURE)
    with pytest.raises(
        NothingFound, match=r"none of 3 pictures found for 'lighthouse' can be used: 2 x .*, 1 x the server answers 404"
    ):
        search(tool(web))


@pytest.mark.parametrize("hits", [[BUSY, BUSY], [NOT_A_PICTURE, BUSY], [PAGE, BUSY]])
def test_a_picture_that_the_network_kept_away_might_have_been_good(web: Web, hits: list[Reply]) -> None:
    found(web, *hits)
    with pytest.raises(ToolUnavailable, match="the server answers 503"):
        search(tool(web))


def test_pages_in_place_of_all_pictures_are_those_of_a_portal(web: Web) -> None:
    answer = services.searxng(*found(web, PAGE, PAGE, web.picture("tiny", 1)))
    answer["results"][2]["resolution"] = "16 x 16"
    web.answers["/search"] = as_json(answer)
    with pytest.raises(ToolUnavailable, match=r"2 x it is a web page .*does the network want a log-in"):
        search(tool(web))
    found(web, PAGE, PAGE, Reply(404))
    with pytest.raises(NothingFound):
        search(tool(web))


@pytest.mark.parametrize("status", [401, 402, 403, 407, 451])
def test_whoever_keeps_us_out_is_the_worlds(web: Web, status: int) -> None:
    found(web, Reply(status), Reply(status))
    failure = run(web)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.fault) == ("unavailable", "world")


@pytest.mark.parametrize(
    ("hits", "kept"),
    [([NOT_A_PICTURE, Reply(404)], False), ([PAGE, Reply(404)], False), ([], True), ([Reply(200, services.png(1, size=(20, 20)))], True)],
)  # fmt: skip
def test_nothing_that_could_not_be_fetched_is_kept(web: Web, tmp_path: Path, hits: list[Reply], kept: bool) -> None:
    config = WorldConfig(
        tools={"search": {"use": "web-search", "provider": "searxng", "url": web.url, "private": ["127.0.0.1"]}},
        judges=[],
        attempts=1,
        call_cache=str(tmp_path / "calls.sqlite"),
    )

    async def calls() -> list[Outcome]:
        outcomes = []
        for _ in range(2):  # two Worlds in turn: what the first keeps, the second finds on disk
            world = InProcessWorld.from_config(config)
            outcomes += [await world.run(Call("search", "a lighthouse", {"query": "lighthouse"})) for _ in range(2)]
            await world.aclose()
        return outcomes

    found(web, *hits)
    outcomes = asyncio.run(calls())
    assert {(outcome.kind, outcome.fault) for outcome in outcomes if isinstance(outcome, Failure)} == {
        ("empty", "policy")
    }
    assert len(outcomes) == 4
    assert web.paths().count("/search") == (1 if kept else 4)


def test_slow_services_time_out(web: Web) -> None:
    web.answers["/search"] = Reply(200, b"{", length=10**6, dripping=True)
    with pytest.raises(ToolTimeout, match=r"searxng search did not answer within 0\.2 seconds"):
        search(tool(web, seconds=0.2))


def test_a_service_that_wants_rest_says_for_how_long(web: Web) -> None:
    web.answers["/search"] = as_json({}, 429, Retry_After="3")
    with pytest.raises(ToolUnavailable) as caught:
        search(tool(web))
    assert getattr(caught.value, "retry_after", None) == 3.0


@pytest.mark.parametrize("query", ["", "  ", "!?…", "\x00\n", "—"])
def test_a_query_that_asks_for_nothing_is_the_policys(web: Web, query: str) -> None:
    with pytest.raises(BadParams):
        search(tool(web), query)
    assert web.asked == []


def test_long_queries_are_cut_between_words(web: Web) -> None:
    found(web, web.picture("1", 1))
    search(tool(web), "a lighthouse\nby the\tsea " * 30)
    search(tool(web), "x" * 1000)
    sent = [asked.params["q"] for asked in web.asked if asked.path == "/search"]
    assert sent[0].startswith("a lighthouse by the sea a lighthouse")
    assert 180 < len(sent[0]) <= 200
    assert sent[0].split()[-1] in ("a", "lighthouse", "by", "the", "sea")
    assert sent[1] == "x" * 200


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


def test_through_the_world(web: Web) -> None:
    found(web, web.picture("1", 1))
    outcome = run(web)
    assert isinstance(outcome, Picture)
    assert outcome.provenance.backend == "web:searxng"
    for answer, kind, fault in [
        (as_json(services.searxng()), "empty", "policy"),
        (as_json({}, 400), "unavailable", "world"),
        (as_json({}, 403), "unavailable", "world"),
        (html(), "unavailable", "world"),
    ]:
        web.answers["/search"] = answer
        failure = run(web)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.fault) == (kind, fault)


def test_from_a_script(web: Web) -> None:
    found(web, web.picture("1", 1))
    outcome = tools.run("web-search", {"query": "a lighthouse"}, provider="searxng", url=web.url, private=["127.0.0.1"])
    assert isinstance(outcome, Picture)
    assert same(outcome.image, 1)


def test_a_missing_key_is_told_at_once(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match="NO_SUCH_KEY is not set where the World runs"):
        run(web, api_key_env="NO_SUCH_KEY")
    assert web.asked == []


# ------------------------------------------------------------------------------------------------ earlier figures, fit


def test_what_looks_like_an_earlier_figure_is_skipped(web: Web) -> None:
    found(web, web.picture("seen", 1), web.picture("new", 2))
    buffer = io.BytesIO()
    picture(1).resize((100, 75)).convert("L").save(buffer, "JPEG", quality=40)
    earlier = Picture(Image.open(buffer).convert("RGB"), Provenance("corpus"))
    context = ToolContext(pictures=(Picture(picture(7), Provenance("corpus")), earlier))
    assert same(search(tool(web), context=context).image, 2)
    assert same(search(tool(web, distinct=False), context=context).image, 1)
    everything = ToolContext(pictures=(earlier, Picture(picture(2), Provenance("corpus"))))
    with pytest.raises(NothingFound, match="2 x looks like an earlier figure"):
        search(tool(web), context=everything)


def test_pictures_that_differ_are_far_apart() -> None:
    hashes = [fingerprint(picture(look)) for look in range(20)]
    assert min(one - other for number, one in enumerate(hashes) for other in hashes[:number]) > NEAR


def test_distinct_needs_its_extra(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"option distinct.*llmi-env\[web\]"):
        WebSearchTool(provider="openverse")
    WebSearchTool(provider="openverse", distinct=False)


def ranker(**fits: float) -> Callable[[Picture, str], float]:
    def rank(one: Picture, text: str) -> float:
        assert text == "lighthouse"
        return fits[one.provenance.title.replace("Lighthouse ", "hit")]

    return rank


def test_re_ranking_prefers_a_clearly_better_fit(web: Web) -> None:
    found(web, web.picture("a", 1), NOT_A_PICTURE, web.picture("b", 2), web.picture("c", 3))
    made = WebSearchTool(
        ranker=ranker(hit0=0.1, hit2=0.55, hit3=0.6),
        rerank=True,
        provider="searxng",
        url=web.url,
        private=("127.0.0.1",),
    )
    assert same(search(made).image, 2)  # as good as the best, and ranked higher
    close = WebSearchTool(
        ranker=ranker(hit0=0.55, hit2=0.56, hit3=0.6),
        rerank=True,
        provider="searxng",
        url=web.url,
        private=("127.0.0.1",),
    )
    assert same(search(close).image, 1)


@pytest.mark.slow
def test_re_ranking_by_the_real_head() -> None:
    from llmi_env.embeddings import available
    from llmi_env.tools import corpus

    if not available():
        pytest.skip("the embedding model is not installed")
    entries = {entry.id: entry for entry in corpus.bundled().entries}
    shown = ["goldfish", "taj-mahal-agra", "leaning-tower-of-pisa"]
    pictures = [
        Picture(corpus.bundled().open(entries[name]).convert("RGB"), Provenance("x", title=name)) for name in shown
    ]
    head = pickle.loads(pickle.dumps(Head()))
    head.load()
    assert best_fitting(pictures, "a goldfish in an aquarium", head).provenance.title == "goldfish"
    assert best_fitting(pictures, "the Taj Mahal", head).provenance.title == "taj-mahal-agra"


# --------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"provider": "wikipedia"}, "no search provider 'wikipedia', did you mean 'wikimedia'"),
        ({"provder": "bing"}, "no option 'provder', did you mean 'provider'"),
        ({"api_key": "s3cret"}, "no option 'api_key'.*keys do not belong into configurations"),
        ({"token": "s3cret"}, "keys do not belong into configurations"),
        ({"api_key_env": "s3cret-value"}, "the name of an environment variable in capitals is needed, not the key itself"),
        ({"url": "https://me:s3cret@a.example/"}, "a key in the address would be written into reports"),
        ({"url": "https://a.example/?api_key=s3cret"}, "a key in the address would be written into reports"),
        ({"url": "s3cret"}, "an address such as"),
        ({"provider": "bing", "api_key_env": ""}, "the option url is needed"),
        ({"provider": "searxng"}, "the option url is needed"),
        ({"provider": "bing", "url": "https://a.example/"}, "name the environment variable that holds the key"),
        ({"provider": "serpapi", "url": "https://a.example/"}, "name the environment variable that holds the key"),
        ({"provider": "serpapi", "api_key_env": "A", "api_key_file": "b"}, "not in both"),
        ({"safe": True}, "cannot leave out explicit pictures"),
        ({"provider": "openverse", "language": "en"}, "takes no language"),
        ({"provider": "openverse", "hits": 30}, "at most 20 hits"),
        ({"provider": "searxng", "url": "https://a.example", "licences": "reusable"}, "cannot tell licences"),
        ({"provider": "wikimedia", "provider_options": {"a": 1}}, "no option 'a'"),
        ({"hits": 0}, "'hits'"),
        ({"language": "German"}, "'language'"),
        ({"contact": "me\r\nX: y"}, "'contact'"),
        ({"private": ["http://127.0.0.1/"]}, "neither a host name"),
        ({"provider": "pathlib:Path"}, "search provider"),
        (
            {"provider": "endpoint", "url": "https://a.example/?q={query}", "provider_options": {"picture": "u"}, "api_key_env": "A"},
            "say where the key goes",
        ),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        make_tool("web-search", **options)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_it_pickles_and_serves_another_loop(web: Web) -> None:
    found(web, web.picture("1", 1))
    made = tool(web)
    for again in (made, made, pickle.loads(pickle.dumps(made))):
        assert same(asyncio.run(again({"query": "x"}, ToolContext())).image, 1)


def test_a_provider_of_ones_own(web: Web) -> None:
    web.answers["/mine"] = as_json([web.picture("1", 1)])
    got = search(tool(web, provider=f"{__name__}:Mine", url=f"{web.url}/mine"))
    assert got.provenance.backend == f"web:{__name__}:Mine"


class Mine:
    from llmi_env.tools.web.providers import Abilities

    can = Abilities()

    def __init__(self, url: str) -> None:
        self._url = url

    def request(self, wish: Any) -> Any:
        from llmi_env.tools.web.api import ApiRequest

        return ApiRequest(self._url, params={"q": wish.words})

    def hits(self, answer: Any) -> Any:
        from llmi_env.tools.web.hits import Hit

        return [Hit(url) for url in answer.data]


# ------------------------------------------------------------------------------------------------------------------ keys


def leaks(asked: Asked) -> str:
    return (
        asked.params.get("api_key") or asked.headers.get("authorization") or asked.headers["ocp-apim-subscription-key"]
    )


def echo(status: int, form: Callable[[str], bytes], **headers: str) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        key = leaks(asked).removeprefix("Bearer ")
        assert key == KEY
        return Reply(
            status,
            form(key),
            {name.replace("_", "-"): value.format(key=quote(key, safe="")) for name, value in headers.items()},
        )

    return answer


def titled(web: Web) -> Callable[[str], bytes]:
    def form(key: str) -> bytes:
        answer = services.serpapi(f"{web.url}/good", f"{web.url}/good?k={quote(key)}")
        for result in answer["images_results"]:
            result |= {"title": f"for {key}", "link": f"https://a.example/?api_key={quote(key, safe='')}"}
        return as_json(answer).body

    return form


LEAKS: dict[str, Callable[[Web], Callable[[Asked], Reply]]] = {
    "an error": lambda web: echo(401, lambda key: as_json({"error": f"Invalid API key: {key}."}).body),
    "an error in an address": lambda web: echo(400, lambda key: as_json({"error": f"bad: /s?api_key={quote(key, safe='')}&q"}).body),
    "a page": lambda web: echo(500, lambda key: f"<html><title>{key}</title></html>".encode()),
    "a success that is none": lambda web: echo(200, lambda key: f"you sent {key}".encode()),
    "a redirect": lambda web: echo(302, lambda key: b"", Location="https://elsewhere.example/{key}?api_key={key}"),
    "a redirect's host": lambda web: echo(302, lambda key: b"", Location="https://{key}.example/"),
    "a redirect on the same host": lambda web: echo(307, lambda key: b"", Location="/search?api_key={key}"),
    "a broken redirect": lambda web: echo(302, lambda key: b"", Location="http://{key}:{key}/"),
    "headers": lambda web: echo(429, lambda key: b"{}", X_Echo="{key}", Retry_After="1", Set_Cookie="k={key}"),
    "a body that breaks off": lambda web: echo(200, lambda key: f'{{"a": "{key}"'.encode(), X_Echo="{key}"),
    "results": lambda web: echo(200, titled(web)),
}  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS)
def test_a_key_shows_nowhere(
    web: Web, leak: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow (extra 'train') is not installed")
    monkeypatch.setenv("TEST_KEY", KEY)
    caplog.set_level(1)
    for name in ("httpx", "httpcore", "asyncio", "llmi_env"):
        logging.getLogger(name).setLevel(1)
    web.picture("good", 1)
    web.answers["/search"] = LEAKS[leak](web)
    options = {"provider": "serpapi", "url": f"{web.url}/search", "api_key_env": "TEST_KEY"}

    outcome = run(web, **options)
    shown = [repr(outcome), repr(outcome.provenance) if isinstance(outcome, Picture) else outcome.message]
    shown += _as_error(tool(web, **options))
    shown += _as_episode(outcome, tmp_path)
    assert web.asked[0].params["api_key"] == KEY  # it was there to leak
    assert any(record.name == "httpx" for record in caplog.records)
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    shown += [caplog.text, *(f"{record.msg!r} {record.args!r}" for record in caplog.records)]
    for form in (KEY, quote(KEY), quote(KEY, safe=""), KEY.replace("/", "\\/")):
        assert [text for text in shown if form.lower() in text.lower()] == []
    assert isinstance(outcome, Picture) == (leak == "results")


def _as_error(made: WebSearchTool) -> list[str]:
    """Everything that an error and a tool show of themselves, what led to the error included."""
    shown = [repr(made), repr(vars(made)), repr(made.options), str(pickle.dumps(made))]
    try:
        search(made)
    except LLMIError as error:
        shown += [*traceback.format_exception(error), str(pickle.dumps(error)), repr(error.args)]
        before: BaseException | None = error
        while before is not None:
            shown += [str(before), repr(vars(before))]
            before = before.__cause__ or before.__context__
    return shown


def _as_episode(outcome: Outcome, folder: Path) -> list[str]:
    """What is stored of an episode with this outcome, and what a report shows of it."""
    call = Call("search", "a lighthouse", {"query": "lighthouse"})
    document = Document((Text("A lighthouse. "), Figure(call.to_json(), call, outcome)))
    task = Task("Write about lighthouses.", tools=("search",), image_count=1, id="t")
    ledger = Ledger()
    ledger.add([1], Owner.PROMPT)
    ledger.add([2], Owner.POLICY, [-0.1])
    report = HybridReward.preset("llmi").score(document, task)
    rollout = Rollout(task, 1, 0, ledger, document, StopReason.END, report)
    for name in ("before", "after"):
        write_episodes(folder, name, [rollout], phase=name)
    (folder / "metrics.jsonl").write_text("")
    write_report(folder)
    write_document_page(folder / "page.html", task.question, document)
    stored = [f"{columns} {back}" for columns, back in read_episodes(folder)]
    files = [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert "lighthouse" in stored[0]
    return stored + files


def test_a_key_in_a_header_shows_nowhere(
    web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    caplog.set_level(1)
    web.answers["/search"] = echo(400, lambda key: as_json({"message": f"who is {key}?"}).body, X_Echo="{key}")
    for options in (
        {"provider": "bing"},
        {"provider": "openverse"},
        {
            "provider": "endpoint",
            "provider_options": {"picture": "u", "params": {"q": "{query}"}, "key_param": "api_key"},
        },
    ):
        made = tool(web, **{"url": f"{web.url}/search", "api_key_env": "TEST_KEY", **options})
        with pytest.raises(ToolUnavailable, match=r"who is \[key\]\?") as caught:
            search(made)
        assert KEY not in f"{caught.value!r} {traceback.format_exception(caught.value)} {caplog.text}"


# ------------------------------------------------------------------------------------------------------------------ docs

DOCUMENT = Path(__file__).parents[3] / "docs" / "web-search.md"


def snippets() -> list[Mapping[str, Any]]:
    text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


@pytest.mark.skipif(not DOCUMENT.exists(), reason="docs are not shipped with the package")
class TestDocument:
    def test_every_provider_has_an_example_that_can_be_made(self) -> None:
        shown = set()
        for snippet in snippets():
            use, options = load_config({"tasks": "train", **snippet}).services.tool_use("search")
            made = make_tool(use, **options)
            assert isinstance(made, WebSearchTool)
            shown.add(made.options.provider)
        assert shown == set(PROVIDERS.builtin)

    def test_every_option_is_named(self) -> None:
        text = DOCUMENT.read_text(encoding="utf-8")
        assert [name for name in WebSearchOptions.model_fields if f"`{name}`" not in text] == []
        assert "never run against the real service" in text

"""The search tool on the web, against services and pictures on this machine: who wins, what is let in, and which options there are."""

from __future__ import annotations

import asyncio
import io
import pickle
import re
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from llmi_env.config import load_config
from llmi_env.document import Picture, Provenance
from llmi_env.errors import ConfigError, MissingExtra, NothingFound, ToolUnavailable
from llmi_env.tools import make_tool
from llmi_env.tools.base import ToolContext
from llmi_env.tools.web.choosing import NEAR, Head, best_fitting, fingerprint
from llmi_env.tools.web.providers import PROVIDERS
from llmi_env.tools.web.search import WebSearchOptions, WebSearchTool
from tests.tools.web import services
from tests.tools.web.searching import NOT_A_PICTURE, found, same, search, tool
from tests.tools.web.services import Reply, Web, as_json, picture

pytest.importorskip("imagehash", reason="imagehash (extra 'web') is not installed")


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

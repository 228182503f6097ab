"""Whose fault it is where a search on the web brings no picture, and what of that is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmi_env import tools
from llmi_env.calls import Call
from llmi_env.document import Failure, Outcome, Picture
from llmi_env.errors import BadParams, ConfigError, NothingFound, ToolTimeout, ToolUnavailable
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from tests.tools.web import services
from tests.tools.web.searching import BUSY, NOT_A_PICTURE, PAGE, found, run, same, search, tool
from tests.tools.web.services import Reply, Web, as_json, html

pytest.importorskip("imagehash", reason="imagehash (extra 'web') is not installed")


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

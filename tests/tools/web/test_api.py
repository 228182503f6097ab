"""Asking for JSON: statuses, bodies, redirects, time, and what no message may repeat."""

from __future__ import annotations

import asyncio
import gzip
import json
import pickle
import socket
import time
from email.utils import formatdate
from typing import Any

import pytest

from llmi_env.errors import ToolTimeout
from llmi_env.services.keys import KeySource
from llmi_env.tools.web.api import ApiRequest, ApiUnavailable, JsonAnswer, JsonApi
from llmi_env.tools.web.providers import PROVIDERS
from tests.tools.web.providing import KEY, ask
from tests.tools.web.services import Answer, Reply, Web, as_json, html


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


# ------------------------------------------------------------------------------------------------------- the connection itself


def fetch(web: Web, answer: Answer, seconds: float = 5.0, env: str = "TEST_KEY", **more: Any) -> JsonAnswer:
    web.answers["/search"] = answer

    async def once() -> JsonAnswer:
        api = JsonApi("the service", KeySource(env=env), seconds=seconds)
        try:
            return await api.ask(ApiRequest(f"{web.url}/search", key_param="api_key", **more))
        finally:
            await api.aclose()

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (as_json({}, 400), "HTTP 400; check the options of the search tool"),
        (as_json({}, 404), "HTTP 404; check the options"),
        (as_json({}, 401), "HTTP 401; check the key in the environment variable TEST_KEY"),
        (as_json({}, 403), "HTTP 403; check the key in the environment variable TEST_KEY"),
        (as_json({}, 429), "HTTP 429; it wants fewer requests"),
        (as_json({"message": "boom"}, 500), r"HTTP 500 \(boom\)$"),
        (html(503), r"HTTP 503 \(a page of HTML \(Just a moment\.\.\.\)\)$"),
        (html(), r"answers with a page of HTML \(Just a moment\.\.\.\) where JSON is needed: check the option url"),
        (Reply(200, b'{"results": [{"url": "ht'), "no readable JSON"),
        (Reply(200, b""), "an empty body"),
        (Reply(200, b'{"a": 1}', length=5000), "broke off"),
        (Reply(200, b"[" * 100_000), "no readable JSON"),
        (Reply(200, b"\xff\xfe\xfa"), "no readable JSON"),
        (Reply(200, b" " * 4_000_001), "more than 4 MB"),
        (Reply(200, gzip.compress(b" " * 40_000_000), {"Content-Encoding": "gzip"}), "more than 4 MB"),
        (Reply(200, b"not gzip", {"Content-Encoding": "gzip"}), "broke off"),
        (Reply(200, b"{}", {"Content-Encoding": "gzip, gzip"}), "an encoding that was not asked for"),
        (Reply(302, b"", {"Location": "http://elsewhere.example/search?api_key=1"}), r"another place \(http://elsewhere\.example\)"),
        (Reply(307, b"", {"Location": "/search"}), "redirects more than 3 times"),
        (Reply(302, b"", {"Location": "http://broken:x/"}), "broke off .*Invalid URL in location"),
        (Reply(304, b""), "HTTP 304"),
    ],
)  # fmt: skip
def test_whatever_comes_is_an_error_that_says_what_to_do(web: Web, answer: Reply, told: str) -> None:
    with pytest.raises(ApiUnavailable, match=told):
        fetch(web, answer)


@pytest.mark.parametrize(
    ("wait", "seconds"), [("12", 12.0), ("0", 0.0), ("soon", None), ("-4", None), ("nan", None), ("inf", None)]
)
def test_how_long_to_wait_is_kept(web: Web, wait: str, seconds: float | None) -> None:
    with pytest.raises(ApiUnavailable) as caught:
        fetch(web, as_json({}, 429, Retry_After=wait))
    assert caught.value.retry_after == seconds
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.retry_after) == (str(caught.value), seconds)


def test_how_long_to_wait_may_be_a_date(web: Web) -> None:
    with pytest.raises(ApiUnavailable) as caught:
        fetch(web, as_json({}, 503, Retry_After=formatdate(time.time() + 60, usegmt=True)))
    assert caught.value.retry_after is not None
    assert 50 < caught.value.retry_after <= 60


@pytest.mark.parametrize("answer", [Reply(200, b"{}", wait=30), Reply(200, b'{"a": ', length=10**6, dripping=True)])
def test_slow_answers_are_given_up(web: Web, answer: Reply) -> None:
    start = time.monotonic()
    with pytest.raises(ToolTimeout, match=r"the service did not answer within 0\.3 seconds"):
        fetch(web, answer, seconds=0.3)
    assert time.monotonic() - start < 10


def test_a_service_that_is_not_there(web: Web) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    made = PROVIDERS.make("openverse", {"url": f"http://127.0.0.1:{port}/"})
    with pytest.raises(ApiUnavailable, match="cannot be reached"):
        ask(made)


def test_answers_may_be_packed_and_redirected_on_the_same_host(web: Web) -> None:
    web.answers["/there"] = Reply(200, gzip.compress(b'{"a": [1]}'), {"Content-Encoding": "gzip", "Set-Cookie": "a=b"})
    answer = fetch(
        web, lambda asked: Reply(308, b"", {"Location": f"/there?api_key={asked.params['api_key']}"[:7] + "x=1"})
    )
    assert answer.data == {"a": [1]}
    assert web.asked[1].params == {"x": "1"}
    assert answer.url == f"{web.url}/there"


def test_no_key_follows_to_another_host(web: Web) -> None:
    with Web(search=as_json({"results": []})) as other:
        for status in (301, 302, 303, 307, 308):
            to = {"Location": f"{other.url}/search"}  # another port is another host
            with pytest.raises(ApiUnavailable, match="where no key is sent"):
                fetch(web, Reply(status, b"", to))
        assert other.asked == []


def test_a_post_is_repeated_whole_or_not_at_all(web: Web) -> None:
    web.answers["/there"] = as_json([])
    fetch(web, Reply(307, b"", {"Location": "/there"}), method="POST", body={"q": 1})
    assert (web.asked[1].method, json.loads(web.asked[1].body)) == ("POST", {"q": 1})
    with pytest.raises(ApiUnavailable, match="would lose its body"):
        fetch(web, Reply(302, b"", {"Location": "/there"}), method="POST", body={"q": 1})


def test_no_answer_depends_on_the_one_before(web: Web) -> None:
    web.answers["/search"] = as_json({}, Set_Cookie="session=1; Path=/")

    async def twice() -> None:
        api = JsonApi("the service", KeySource())
        for _ in range(2):
            await api.ask(ApiRequest(f"{web.url}/search"))
        await api.aclose()

    asyncio.run(twice())
    assert ["cookie" in asked.headers for asked in web.asked] == [False, False]


def test_a_connection_serves_another_loop_and_a_pickle(web: Web) -> None:
    web.answers["/search"] = as_json([1])
    api = JsonApi("the service", KeySource(env="TEST_KEY"))
    request = ApiRequest(f"{web.url}/search", key_param="api_key")
    for made in (api, api, pickle.loads(pickle.dumps(api))):
        assert asyncio.run(made.ask(request)).data == [1]
    assert KEY.encode() not in pickle.dumps(api)


def test_without_a_key_a_refusal_says_how_to_give_one(web: Web) -> None:
    with pytest.raises(ApiUnavailable, match=r"it may need a key \(option api_key_env\)"):
        fetch(web, as_json({}, 401), env="")

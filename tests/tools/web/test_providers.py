"""Every search service against a local server of its documented form: what it is asked, what is read, and everything that goes wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmi_env.errors import ConfigError, ToolUnavailable, classify
from llmi_env.tools.web.api import ApiUnavailable
from llmi_env.tools.web.hits import Hit, Wish
from llmi_env.tools.web.providers import PROVIDERS
from tests.tools.web import services
from tests.tools.web.providing import FORMS, KEY, ask, provider
from tests.tools.web.services import Web, as_json


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


# ------------------------------------------------------------------------------------------------- requests as documented


def asked(name: str, web: Web, wish: Wish) -> services.Asked:
    web.answers["/search"] = as_json(FORMS[name]())
    ask(provider(name, web), wish)
    request = web.asked[0]
    assert request.path == "/search"
    assert request.headers["user-agent"].startswith("LLMI/")
    assert "(me@example.org)" in request.headers["user-agent"]
    assert request.headers["accept"] == "application/json"
    assert "cookie" not in request.headers
    return request


def test_what_commons_is_asked(web: Web) -> None:
    request = asked("wikimedia", web, Wish("barn owl", 7, language="de"))
    assert request.params == {
        "action": "query",
        "format": "json",
        "formatversion": "2",
        "generator": "search",
        "gsrsearch": "filetype:bitmap|drawing barn owl",
        "gsrnamespace": "6",
        "gsrlimit": "7",
        "prop": "imageinfo",
        "iiprop": "url|size|mime|mediatype|extmetadata",
        "iiurlwidth": "1280",
        "iiextmetadatafilter": "Artist|Credit|ImageDescription|LicenseShortName|UsageTerms",
        "iiextmetadatalanguage": "de",
        "uselang": "de",
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_what_openverse_is_asked(web: Web) -> None:
    request = asked("openverse", web, Wish("barn owl", 7, licences="commercial"))
    assert request.params == {"q": "barn owl", "page_size": "7", "license_type": "commercial,modification"}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    web.asked.clear()
    assert asked("openverse", web, Wish("barn owl", 7, safe=False)).params["mature"] == "true"


def test_what_serpapi_is_asked(web: Web) -> None:
    request = asked("serpapi", web, Wish("barn owl", 7, language="fr", licences="reusable"))
    assert request.params == {
        "engine": "google_images",
        "q": "barn owl",
        "ijn": "0",
        "safe": "active",
        "hl": "fr",
        "licenses": "f",
        "api_key": KEY,
    }
    assert KEY not in str(request.headers)


def test_what_an_endpoint_of_bings_form_is_asked(web: Web) -> None:
    request = asked("bing", web, Wish("barn owl", 7, safe=False, language="en", licences="commercial"))
    assert request.params == {
        "q": "barn owl",
        "count": "7",
        "safeSearch": "Off",
        "setLang": "en",
        "license": "ModifyCommercially",
    }
    assert request.headers["ocp-apim-subscription-key"] == KEY


def test_what_searxng_is_asked(web: Web) -> None:
    request = asked("searxng", web, Wish("barn owl", 7, language="en"))
    assert request.params == {
        "q": "barn owl",
        "format": "json",
        "categories": "images",
        "safesearch": "2",
        "language": "en",
    }


def test_what_a_described_endpoint_is_asked(web: Web) -> None:
    request = asked("endpoint", web, Wish("barn owl", 7, language="en"))
    assert request.params == {"words": "barn owl", "n": "7", "lang": "en"}
    assert request.headers["x-api-key"] == KEY


def test_a_described_endpoint_can_be_posted_to(web: Web) -> None:
    web.answers["/search"] = as_json([{"u": f"{web.url}/a.png"}])
    how = {
        "method": "POST",
        "body": {"q": "{query}", "n": "{hits}", "deep": ["{language}", 5]},
        "results": "",
        "picture": "u",
    }
    made = PROVIDERS.make("endpoint", {"url": f"{web.url}/search?fixed=1&again={{query}}", "key_param": "token", **how})
    words = 'owls "{hits}" & more'
    assert [hit.picture for hit in ask(made, Wish(words, 3))] == [f"{web.url}/a.png"]
    assert json.loads(web.asked[0].body) == {"q": words, "n": 3, "deep": ["", 5]}
    assert web.asked[0].params == {"fixed": "1", "again": words, "token": KEY}


@pytest.mark.parametrize(
    ("name", "words", "sent"),
    [
        ("wikimedia", 'insource:/a.*b/ -cat "owl" ~barn!', "filetype:bitmap|drawing insource a. b cat owl barn"),
        ("wikimedia", "blue-green sea", "filetype:bitmap|drawing blue-green sea"),
        ("searxng", "!!g owl !images :fr <3 what!", "g owl images fr 3 what!"),
    ],
)
def test_a_query_gives_no_orders(web: Web, name: str, words: str, sent: str) -> None:
    params = asked(name, web, Wish(words)).params
    assert params["gsrsearch" if name == "wikimedia" else "q"] == sent


# ---------------------------------------------------------------------------------------------------- answers as documented


def test_what_is_read_from_commons(web: Web) -> None:
    web.answers["/search"] = as_json(services.commons(f"{web.url}/1", f"{web.url}/2"))
    first, second = ask(provider("wikimedia", web))
    assert first == Hit(
        f"{web.url}/1",
        title="Barn owl 1",
        caption="A barn owl in flight",
        page="https://commons.wikimedia.org/wiki/File:Barn_owl_1.jpg",
        author="Ann & Bob",
        licence="CC-BY-SA-4.0",
        width=1280,
        height=960,
    )
    assert second.picture == f"{web.url}/2"  # though the pages came in the order of their ids


def test_documents_and_sounds_of_commons_are_passed_over(web: Web) -> None:
    answer = services.commons(f"{web.url}/1")
    answer["query"]["pages"][0]["imageinfo"][0]["mediatype"] = "OFFICE"
    web.answers["/search"] = as_json(answer)
    assert ask(provider("wikimedia", web)) == []


def test_commons_errors_are_successes_for_http(web: Web) -> None:
    error = {"error": {"code": "ratelimited", "info": "You've exceeded your rate limit.", "docref": "See ..."}}
    web.answers["/search"] = as_json(error, Retry_After="7")
    with pytest.raises(ApiUnavailable, match="exceeded your rate limit") as caught:
        ask(provider("wikimedia", web))
    assert caught.value.retry_after == 7


def test_what_is_read_from_openverse(web: Web) -> None:
    web.answers["/search"] = as_json(services.openverse(f"{web.url}/1"))
    assert ask(provider("openverse", web)) == [
        Hit(
            f"{web.url}/1",
            title="Tree Bark Photo 0",
            page="https://stocksnap.io/photo/0",
            author="Tim Sullivan",
            licence="CC-BY-SA-2.0",
            width=6016,
            height=4016,
        )
    ]


@pytest.mark.parametrize(
    ("code", "version", "licence"),
    [
        ("by-nc-nd", "4.0", "CC-BY-NC-ND-4.0"),
        ("cc0", "1.0", "CC0-1.0"),
        ("pdm", "1.0", "LicenseRef-public-domain"),
        ("sampling+", "1.0", "sampling+ 1.0"),
        (None, None, ""),
    ],
)
def test_openverse_names_licences_by_codes(web: Web, code: str | None, version: str | None, licence: str) -> None:
    answer = services.openverse(f"{web.url}/1")
    answer["results"][0] |= {"license": code, "license_version": version}
    web.answers["/search"] = as_json(answer)
    assert ask(provider("openverse", web))[0].licence == licence


def test_what_is_read_from_serpapi(web: Web) -> None:
    web.answers["/search"] = as_json(services.serpapi(f"{web.url}/1"))
    assert ask(provider("serpapi", web)) == [
        Hit(
            f"{web.url}/1",
            title="Coffee & more 1 - Wikipedia",
            page="https://en.wikipedia.org/wiki/Coffee1",
            width=1200,
            height=900,
        )
    ]


def test_serpapi_tells_none_from_failed(web: Web) -> None:
    web.answers["/search"] = as_json(services.serpapi())
    assert ask(provider("serpapi", web)) == []
    failed = {"search_metadata": {"status": "Error"}, "error": "We couldn't get valid results for this search."}
    web.answers["/search"] = as_json(failed)
    with pytest.raises(ApiUnavailable, match="couldn't get valid results"):
        ask(provider("serpapi", web))


def test_the_small_picture_is_better_than_none(web: Web) -> None:
    answer = services.serpapi(f"{web.url}/1")
    del answer["images_results"][0]["original"]
    web.answers["/search"] = as_json(answer)
    (hit,) = ask(provider("serpapi", web))
    assert (hit.picture, hit.width) == ("https://serpapi.com/searches/6/images/1.jpeg", None)


def test_what_is_read_from_bings_form(web: Web) -> None:
    web.answers["/search"] = as_json(services.bing(f"{web.url}/1"))
    assert ask(provider("bing", web)) == [
        Hit(f"{web.url}/1", title="Mount Rainier 0", page="https://www.nps.gov/mora/0", width=1600, height=1200)
    ]
    error = {
        "_type": "ErrorResponse",
        "errors": [{"code": "InvalidRequest", "message": "Required parameter is missing."}],
    }
    web.answers["/search"] = as_json(error)
    with pytest.raises(ApiUnavailable, match="Required parameter"):
        ask(provider("bing", web))


def test_what_is_read_from_searxng(web: Web) -> None:
    web.answers["/search"] = as_json(services.searxng("//cdn.example.org/1.jpg"))
    assert ask(provider("searxng", web)) == [
        Hit(
            "http://cdn.example.org/1.jpg",
            title="Lighthouse 0",
            caption="A lighthouse on a rock",
            page="https://www.flickr.com/photos/0",
            author="Keeper",
            width=1024,
            height=768,
        )
    ]


def test_searxng_tells_nothing_found_from_nobody_asked(web: Web) -> None:
    web.answers["/search"] = as_json(services.searxng())
    assert ask(provider("searxng", web)) == []
    web.answers["/search"] = as_json(services.searxng(silent=("google images", "qwant")))
    with pytest.raises(ApiUnavailable, match="engines did not respond: google images, qwant"):
        ask(provider("searxng", web))


def test_what_is_read_from_a_described_endpoint(web: Web) -> None:
    web.answers["/search"] = as_json(services.photos(f"{web.url}/1"))
    assert ask(provider("endpoint", web)) == [
        Hit(f"{web.url}/1", title="A lake 0", author="Eve", licence="CC0-1.0", width=900, height=600)
    ]
    web.answers["/search"] = as_json({"photos": []})
    with pytest.raises(ApiUnavailable, match=r"no 'data\.photos' in the answer"):
        ask(provider("endpoint", web))


# ---------------------------------------------------------------------------------------------------- what else may come


@pytest.mark.parametrize("name", FORMS)
def test_answers_of_another_form_are_the_worlds_fault(web: Web, name: str) -> None:
    good = FORMS[name](f"{web.url}/1")
    wrong: list[Any] = [[], 5, "text", None, True]
    wrong += [
        _with_results(name, good, value) for value in ("text", {"a": 1}, 7, [1, None, "x"], [{"nothing": "here"}])
    ]
    for data in wrong:
        web.answers["/search"] = as_json(data)
        with pytest.raises(ToolUnavailable):
            ask(provider(name, web))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({}, "without"),
        ({"message": "API rate limit exceeded for this IP"}, "API rate limit exceeded"),
        ({"error": {"code": "InternalServerError", "message": "oops"}}, "oops|InternalServerError"),
        ({"batchcomplete": True, "query": "down"}, "without"),
    ],
)
@pytest.mark.parametrize("name", FORMS)
def test_an_answer_without_results_is_not_nothing_found(web: Web, name: str, answer: Any, told: str) -> None:
    web.answers["/search"] = as_json(answer, Retry_After="5")
    with pytest.raises(ApiUnavailable, match="no 'data.photos'" if name == "endpoint" else told) as caught:
        ask(provider(name, web))
    assert caught.value.retry_after == (None if name == "endpoint" else 5)


@pytest.mark.parametrize("name", FORMS)
def test_nothing_found_is_told_as_each_service_documents_it(web: Web, name: str) -> None:
    web.answers["/search"] = as_json(FORMS[name]())
    assert ask(provider(name, web)) == []


@pytest.mark.parametrize("name", FORMS)
def test_results_that_cannot_be_used_are_left_out(web: Web, name: str) -> None:
    good = FORMS[name](f"{web.url}/1")
    results = _results(name, good)
    junk = [None, 3, [], {}, json.loads(json.dumps(results[0]).replace(f"{web.url}/1", "javascript:alert(1)"))]
    web.answers["/search"] = as_json(_with_results(name, good, [*junk, *results, *junk]))
    assert f"{web.url}/1" in [hit.picture for hit in ask(provider(name, web))]


@pytest.mark.parametrize("name", FORMS)
def test_fields_of_other_types_are_empty(web: Web, name: str) -> None:
    def spoilt(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoilt(item) for key, item in value.items()}
        if isinstance(value, list):
            return [spoilt(item) for item in value]
        return value if isinstance(value, str) and value.startswith(web.url) else {"another": ["type"]}

    good = FORMS[name](f"{web.url}/1")
    web.answers["/search"] = as_json(_with_results(name, good, [spoilt(_results(name, good)[0])]))
    if name == "wikimedia":  # its media type says nothing, so it is no picture
        assert ask(provider(name, web)) == []
        return
    (hit,) = ask(provider(name, web))
    assert hit == Hit(f"{web.url}/1", page=hit.page)


def _results(name: str, answer: dict[str, Any]) -> Any:
    places = {
        "wikimedia": ("query", "pages"),
        "serpapi": ("images_results",),
        "bing": ("value",),
        "endpoint": ("data", "photos"),
    }
    for step in places.get(name, ("results",)):
        answer = answer[step]
    return answer


def _with_results(name: str, answer: dict[str, Any], results: Any) -> Any:
    return json.loads(json.dumps(answer).replace(json.dumps(_results(name, answer)), json.dumps(results)))


@pytest.mark.parametrize(
    ("name", "status", "body", "told"),
    [
        ("openverse", 400, {"error": "InputError", "detail": "Invalid input given for fields."}, "Invalid input"),
        ("openverse", 401, {"detail": "page_size must be 20 or less"}, "page_size must"),
        (
            "serpapi",
            401,
            {"error": "Invalid API key. Your API key should be here: https://serpapi.com"},
            "Invalid API key",
        ),
        ("serpapi", 429, {"error": "Your account has run out of searches."}, "run out of searches"),
        ("bing", 400, {"_type": "ErrorResponse", "errors": [{"code": "InvalidRequest", "message": "q?"}]}, "q?"),
        ("bing", 401, {"error": {"code": "401", "message": "Access denied"}}, "Access denied"),
        (
            "wikimedia",
            500,
            {"error": {"code": "internal_api_error", "info": "[id] Caught exception"}},
            "Caught exception",
        ),
        ("searxng", 403, None, "403"),
        ("endpoint", 404, {"message": "no such route"}, "no such route"),
    ],
)
def test_what_services_say_is_passed_on(web: Web, name: str, status: int, body: Any, told: str) -> None:
    web.answers["/search"] = as_json(body, status)
    with pytest.raises(ApiUnavailable) as caught:
        ask(provider(name, web))
    assert told in str(caught.value)
    assert f"HTTP {status}" in str(caught.value)
    assert classify(caught.value)[0] == "unavailable"


# ------------------------------------------------------------------------------------------------------- descriptions


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({}, "'picture'"),
        ({"picture": "u", "pictrue": "x"}, "no option 'pictrue', did you mean 'picture'"),
        ({"picture": "u"}, r"no \{query\}"),
        ({"picture": "u", "url": "https://x.example/{query}"}, r"behind the `\?`"),
        ({"picture": "u", "body": {"q": "{query}"}}, "needs method: POST"),
        ({"picture": "u", "params": {"q": "{query}", "api_key": "s3cret"}}, "'api_key' looks like a key"),
        ({"picture": "u", "params": {"q": "{query}"}, "headers": {"X-Token": "s3cret"}}, "'X-Token' looks like a key"),
        (
            {"picture": "u", "method": "POST", "body": {"q": "{query}", "api_key": "s3cret"}},
            "'api_key' looks like a key",
        ),
        (
            {"picture": "u", "method": "POST", "body": [{"q": "{query}", "who": {"authToken": "s3cret"}}]},
            "'authToken' looks like a key",
        ),
        ({"picture": "u", "params": {"q": "{query}"}, "headers": {"X-A": "a\r\nb"}}, "no header of ASCII"),
        ({"picture": "u", "params": {"q": "{query}"}, "key_header": "a b"}, "no name of a header"),
        ({"picture": "u", "params": {"q": "{query}"}, "key_header": "a", "key_param": "b"}, "not both"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(how: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        PROVIDERS.make("endpoint", {"url": "https://x.example/", **how})
    assert "s3cret" not in str(caught.value)

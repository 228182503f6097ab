"""Keys are read where the configuration says and show nowhere."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import pickle
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llmi_env.errors import ConfigError
from llmi_env.services.keys import HIDDEN, Key, KeySource, hidden_in_logs, looks_secret, without_secrets


def test_a_key_does_not_show() -> None:
    key = Key("s3cret-value")
    assert "s3cret" not in f"{key} {key!r} {[key]} {KeySource('VARIABLE')!r}"
    assert key.reveal() == "s3cret-value"
    assert key
    assert not Key()
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40), st.text(max_size=20))
def test_a_key_is_hidden_however_it_is_written(secret: str, around: str) -> None:
    assume(secret not in around)
    in_an_address = quote(secret, safe="")
    small = re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), in_an_address)
    for written in (secret, in_an_address, small, json.dumps(secret)[1:-1], html.escape(secret)):
        assert Key(secret).hide(f"{around} {written} {around}") == f"{around} {HIDDEN} {around}"


def test_data_is_hidden_through_and_through() -> None:
    key = Key("9876543210")
    data = {"9876543210": ["a 9876543210", {"deep": "x9876543210y"}, 9876543210, 5, None, True]}
    assert key.hide_in(data) == {HIDDEN: [f"a {HIDDEN}", {"deep": f"x{HIDDEN}y"}, HIDDEN, 5, None, True]}
    assert Key().hide_in(data) is data


def test_a_key_is_read_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTURES_KEY", " abc123 \n")
    assert KeySource(env="PICTURES_KEY").read("pictures").reveal() == "abc123"
    monkeypatch.delenv("PICTURES_KEY")
    with pytest.raises(ConfigError, match="the environment variable PICTURES_KEY is not set where the World runs"):
        KeySource(env="PICTURES_KEY").read("pictures")
    assert not KeySource().read("pictures")


def test_a_key_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("abc123\n")
    assert KeySource(file=str(file)).read("pictures").reveal() == "abc123"
    for content, told in [
        ("", "is empty"),
        ("x" * 5000, "is too long"),
        ("two words", "holds no key"),
        ("kéy", "holds no key"),
    ]:
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=told) as caught:
            KeySource(file=str(file)).read("pictures")
        assert content == "" or content not in str(caught.value)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        KeySource(file=str(file)).read("pictures")


def test_a_key_in_the_place_of_its_file_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match=r"api_key_file cannot be read \(FileNotFoundError\)") as caught:
        KeySource(file="s3cret-value").read("pictures")
    assert "s3cret" not in str(caught.value)


def test_a_header_cannot_be_smuggled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTURES_KEY", "abc\r\nX-Evil: 1")
    with pytest.raises(ConfigError, match="holds no key"):
        KeySource(env="PICTURES_KEY").read("pictures")


def test_logs_of_the_http_library_are_cleaned_for_this_request_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    libraries = [logging.getLogger("httpx"), logging.getLogger("httpcore.http11")]

    async def request(key: Key, other: str) -> None:
        with hidden_in_logs(key):
            await asyncio.sleep(0)
            for library in libraries:
                library.info("GET %s %s", f"/search?k={key.reveal()}", other)
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(request(Key("first-key"), "second-key"), request(Key("second-key"), "plain"))

    asyncio.run(both())
    assert caplog.messages.count(f"GET /search?k={HIDDEN} second-key") == 2
    assert caplog.messages.count(f"GET /search?k={HIDDEN} plain") == 2
    libraries[0].info("GET %s", "first-key")
    assert caplog.messages[-1] == "GET first-key"  # nothing is held any longer


@pytest.mark.parametrize(
    "name",
    ["key", "X-API-Key", "api_key", "apikey", "accessToken", "Ocp-Apim-Subscription-Key", "Authorization", "Cookie"],
)
def test_names_of_secrets(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "data", [{"api_key": "s3cret"}, {"a": [{"Authorization": "s3cret"}]}, [{"x": {"password": "s3cret"}}]]
)
def test_a_key_among_data_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="looks like a key") as caught:
        without_secrets(data)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [{"max_tokens": 9}, {"key": ""}, {"token": None}, {"a": ["token"]}, ["password"], "key", None, {}]
)
def test_other_data_are_left_alone(data: object) -> None:
    assert without_secrets(data) == data


@pytest.mark.parametrize("name", ["q", "keywords", "Accept", "monkey", "per_page", "author", "turnkey"])
def test_names_of_other_things(name: str) -> None:
    assert not looks_secret(name)

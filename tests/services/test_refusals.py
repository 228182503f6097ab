"""What statuses of failure mean, and that a busy server is left alone by all. How clients tell of them is in their own tests."""

from __future__ import annotations

import asyncio
import time

import pytest

from llmi_env.services.keys import Key
from llmi_env.services.refusals import Refusal, Rest, quoted, refusal


def refused(status: int, said: str = "no", code: str = "", **headers: str) -> Refusal:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal(status, named, said, key=Key("s3cret"), base_url="http://writer/v1", code=code)


@pytest.mark.parametrize(
    ("found", "again", "wait"),
    [
        (refused(500), True, 0.0),
        (refused(503, retry_after="7"), True, 7.0),
        (refused(429, retry_after_ms="250"), True, 0.25),
        (refused(429, retry_after="0"), True, 0.0),
        (refused(429, retry_after="61"), False, 0.0),
        (refused(429, code="insufficient_quota", retry_after="7"), False, 0.0),
        (refused(408), True, 0.0),
        (refused(400, retry_after="7"), False, 0.0),
        (refused(401), False, 0.0),
        (refused(400, x_should_retry="true"), True, 0.0),
        (refused(500, x_should_retry="false", retry_after="7"), False, 0.0),
    ],
)
def test_when_to_ask_again(found: Refusal, again: bool, wait: float) -> None:
    assert (found.again, found.wait) == (again, wait)


def test_what_a_refusal_is_about() -> None:
    assert [status for status in range(300, 600) if refused(status).malformed] == [400, 422]
    assert [status for status in range(300, 600) if refused(status).hopeless] == [401, 402, 404]
    assert refused(429, code="insufficient_quota").hopeless


def test_the_key_shows_nowhere() -> None:
    assert refused(400, "s3cret is wrong").reason == "HTTP 400: '[key] is wrong'"
    assert "points to 'https://x/?key=[key]'" in refused(307, location="https://x/?key=s3cret").reason


def test_a_server_is_left_alone_as_long_as_it_wishes_at_the_longest() -> None:
    rest = Rest()
    rest.wish(0.1)
    rest.wish(0.02)
    start = time.monotonic()
    asyncio.run(rest.over())
    assert time.monotonic() - start + 0.01 >= 0.1
    start = time.monotonic()
    asyncio.run(rest.over())
    assert time.monotonic() - start < 0.1


def test_what_others_say_is_quoted_from_its_beginning() -> None:
    assert quoted("short\n") == r"'short\n'"
    assert quoted("x" * 300) == f"'{'x' * 200}' (and 100 characters more)"

"""Fetching from servers that lie, dawdle, redirect and never end. All of them are real servers on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmi_env.tools.web.fetching import FetchLimits
from tests.serving import served
from tests.tools.web.fetching_kit import HERE, failure, fetch, noise, png, redirects, resolver
from tests.tools.web.raw_server import raw, response

# What works


def test_a_picture_is_fetched_and_nothing_but_the_request_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine pictures.example login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with raw(response(png(), "Set-Cookie: a=b")) as server:
        for _ in range(2):
            image = fetch(
                f"http://pictures.example:{server.port}/owl.png?w=20#top",
                resolve=resolver(pictures_example=["127.0.0.1"]),
            )
            assert (image.mode, image.size, image.getpixel((3, 3)), image.info) == ("RGB", (20, 10), (255, 0, 0), {})
    assert server.requests[0] == server.requests[1], "no cookie comes back"
    lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /owl.png?w=20 HTTP/1.1"
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    assert headers["host"] == f"pictures.example:{server.port}"
    assert "llmi" in headers["user-agent"]
    assert headers["accept-encoding"] == "identity"
    assert sorted(headers) == ["accept", "accept-encoding", "connection", "host", "user-agent"]


def test_the_first_address_that_answers_is_taken() -> None:
    with raw(response(png())) as server:
        url = f"http://pictures.example:{server.port}/"
        assert fetch(url, resolve=resolver(pictures_example=["127.0.0.9", "127.0.0.1"])).size == (20, 10)


def test_an_address_of_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with raw(response(png()), host="::1") as server:
        assert fetch(f"http://[::1]:{server.port}/", private=["::1"]).size == (20, 10)
        assert failure(f"http://[::1]:{server.port}/", private=HERE).fault == "source"
    assert f"Host: [::1]:{server.port}".encode() in server.requests[0]
    assert len(server.requests) == 1


def test_a_chunked_body_and_one_without_a_length() -> None:
    body = noise()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for answer in (chunked, b"HTTP/1.0 200 OK\r\n\r\n" + body):
        with raw(answer) as server:
            assert fetch(server.url).size == (200, 200)


def test_the_system_s_resolver_is_asked_by_default() -> None:
    with raw(response(png())) as server:
        assert fetch(f"http://localhost:{server.port}/", private=["localhost"]).size == (20, 10)
        assert "localhost has a loopback address" in failure(f"http://localhost:{server.port}/", private=()).reason
    assert len(server.requests) == 1


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{}/",
        "http://[::ffff:127.0.0.1]:{}/",
        "http://2130706433:{}/",
        "http://127.1:{}/",
        "http://pictures.example:{}/",
    ],
)
def test_without_leave_nothing_private_is_asked(url: str) -> None:
    with raw(response(png())) as server:
        failed = failure(url.format(server.port), private=(), resolve=resolver(pictures_example=["127.0.0.1"]))
    assert failed.fault == ("world" if "example" in url else "source")
    assert server.connections == 0


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "169.254.169.254", "100.100.100.200", "198.18.0.7", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "0.0.0.0"],
)
def test_a_name_for_a_private_address_is_refused_and_may_be_the_resolvers_doing(address: str) -> None:
    failed = failure("http://pictures.example/", resolve=resolver(pictures_example=["1.1.1.1", address]))
    assert failed.fault == "world"
    assert "pictures.example has a" in failed.reason


def test_a_resolver_that_changes_its_answer_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: an address that may be asked while it is checked, one that may not when it is used."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.3"]

    def none(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a second look-up")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    with (
        raw(response(png("lime")), host="127.0.0.2") as good,
        raw(response(png("red")), host="127.0.0.3", port=good.port) as inner,
    ):
        url = f"http://pictures.example:{good.port}/"
        image = fetch(url, private=["127.0.0.2"], resolve=rebinding)
        assert image.getpixel((0, 0)) == (0, 255, 0)
        assert asked == ["pictures.example"], "looked up once"
        failed = failure(url, private=["127.0.0.2"], resolve=rebinding)
        assert (failed.fault, "loopback" in failed.reason) == ("world", True)
    assert (len(good.requests), inner.connections) == (1, 0)


def test_a_name_that_is_rebound_between_redirects_is_checked_again() -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.3"]

    again = response(b"", "Location: /again", status="302 Found")
    with raw(again, host="127.0.0.2") as good, raw(response(png()), host="127.0.0.3", port=good.port) as inner:
        failed = failure(f"http://pictures.example:{good.port}/", private=["127.0.0.2"], resolve=rebinding)
    assert (failed.fault, len(asked), len(good.requests), inner.connections) == ("world", 2, 1, 0)


def test_a_name_that_cannot_be_looked_up_is_the_world_s_fault() -> None:
    failed = failure("http://pictures.invalid/", resolve=resolver())
    assert (failed.fault, failed.reason) == ("world", "the host pictures.invalid cannot be looked up")
    failed = failure("http://" + "a" * 63 + ".invalid/", FetchLimits(seconds=2))
    assert failed.fault == "world"


# Redirects


def test_redirects_are_followed_as_far_as_allowed() -> None:
    with served(redirects()) as at:
        assert fetch(f"{at}/hop/4").getpixel((0, 0)) == (0, 255, 0)
        failed = failure(f"{at}/hop/5")
        assert (failed.fault, failed.reason) == ("source", "it redirects more than 4 times")
        assert failure(f"{at}/hop/1", FetchLimits(redirects=0)).fault == "source"


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("http://127.0.0.3:{}/", "a loopback address"),
        ("//inner.example:{}/", "a loopback address"),
        ("http://169.254.169.254/latest/meta-data/", "metadata"),
        ("http://[::ffff:7f00:3]:{}/", "a loopback address"),
        ("http://0x7f000003:{}/", "unusual notation"),
        ("http://user:secret@127.0.0.3:{}/", "a user name"),
        ("file:///etc/passwd", "not one of http"),
        ("gopher://127.0.0.3:{}/_GET", "not one of http"),
        ("http:\\\\127.0.0.3:{}/", "a backslash"),
    ],
)
def test_a_redirect_into_private_space_is_refused(place: str, reason: str) -> None:
    with raw(response(png()), host="127.0.0.3") as inner, served(redirects()) as at:
        place = place.format(inner.port).replace(":", "%3A").replace("\\", "%5C").replace("/", "%2F")
        failed = failure(f"{at}/to?place={place}", private=["127.0.0.1"], resolve=resolver(inner_example=["127.0.0.3"]))
    assert failed.fault == ("world" if "address" in reason or "metadata" in reason else "source")
    assert reason in failed.reason
    assert "secret" not in failed.reason
    assert inner.connections == 0


def test_a_redirect_to_nowhere() -> None:
    with served(redirects()) as at:
        assert failure(f"{at}/nowhere").reason == "it redirects to nowhere"


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (404, "source"),
        (410, "source"),
        (204, "source"),
        (304, "world"),
        (401, "world"),
        (402, "world"),
        (403, "world"),
        (407, "world"),
        (418, "world"),
        (429, "world"),
        (451, "world"),
        (500, "world"),
        (503, "world"),
    ],
)
def test_whose_fault_a_status_is(status: int, fault: str) -> None:
    with served(redirects()) as at:
        failed = failure(f"{at}/status/{status}")
    assert (failed.fault, failed.reason) == (fault, f"the server answers {status}")

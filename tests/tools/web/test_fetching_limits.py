"""Fetching from servers that dawdle and never end, and what a fetch may take and leave behind: time, bytes, connections, threads."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import pickle
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from llmi_env.errors import ConfigError, LLMIError
from llmi_env.tools.web import fetching
from llmi_env.tools.web.fetching import DECODERS, FetchFailed, FetchLimits, PictureFetcher
from tests.serving import served
from tests.tools.web.fetching_kit import HERE, failure, fetch, noise, png, redirects, resolver
from tests.tools.web.raw_server import Raw, raw, response, until_closed

# Time


def drip(connection: socket.socket) -> None:
    connection.sendall(response(b"", length=5000) + noise()[:100])
    while True:
        time.sleep(0.05)
        connection.sendall(b"\0")


def drip_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        time.sleep(0.05)
        connection.sendall(b"X-A: b\r\n")


def drip_continues(connection: socket.socket) -> None:
    while True:
        time.sleep(0.05)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("slow", [drip, drip_headers, drip_continues, until_closed])
def test_a_server_that_dawdles_is_left_in_time(slow: Callable[[socket.socket], None]) -> None:
    with raw(slow) as server:
        started = time.perf_counter()
        failed = failure(server.url, FetchLimits(seconds=0.4))
        assert time.perf_counter() - started < 5
        assert (failed.fault, failed.reason) == ("world", "it took longer than 0.4 s")
        assert server.finished.wait(5), "the connection is closed"


def test_all_redirects_share_one_time() -> None:
    def slow(connection: socket.socket) -> None:
        time.sleep(0.2)
        connection.sendall(response(b"", "Location: /", status="302 Found"))

    with raw(slow) as server:
        assert failure(server.url, FetchLimits(seconds=0.5, redirects=100)).reason == "it took longer than 0.5 s"
    assert len(server.requests) <= 4


def test_a_resolver_that_hangs_is_left_in_time() -> None:
    async def hangs(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    assert (
        failure("http://pictures.example/", FetchLimits(seconds=0.2), resolve=hangs).reason
        == "it took longer than 0.2 s"
    )


def test_waiting_for_a_turn_is_not_counted() -> None:
    def slow(connection: socket.socket) -> None:
        time.sleep(0.25)
        connection.sendall(response(png()))

    async def many(url: str) -> list[Image.Image]:
        fetcher = PictureFetcher(FetchLimits(seconds=2), private=HERE, concurrency=1)
        return await asyncio.gather(*(fetcher.fetch(url) for _ in range(9)))

    with raw(slow) as server:
        assert len(asyncio.run(many(server.url))) == 9


# Bodies


@pytest.mark.parametrize(
    ("answer", "fault", "reason"),
    [
        (lambda: response(noise()[:9000], length=20_000), "world", "cut short"),
        (lambda: response(noise(), length=9000), "source", "its PNG data end too early"),
        (lambda: response(noise()[:9000]), "source", "its PNG data end too early"),
        (
            lambda: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + noise()[:0xFFF] + b"\r\n",
            "world",
            "cut short",
        ),
        (lambda: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "world", "not HTTP"),
        (lambda: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n", "world", "not HTTP"),
        (lambda: b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "world", "not HTTP"),
        (lambda: b"220 mail.example ESMTP\r\n", "world", "not HTTP"),
        (lambda: b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"b" * 200_000, "world", "not HTTP"),
        (lambda: b"", "world", "cut short"),
        (lambda: response(b""), "source", "it is empty"),
        (
            lambda: response(b"<!DOCTYPE html><title>Not found</title>", "Content-Type: image/png"),
            "page",
            "a web page",
        ),
        (
            lambda: response(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "Content-Type: image/svg+xml"),
            "source",
            "an SVG drawing",
        ),
        (lambda: response(b"quota exceeded", "Content-Type: image/jpeg"), "source", "it is text"),
        (lambda: response(png("red", (100, 100))[:33] + bytes(100)), "source", "PNG data"),
    ],
)
def test_what_is_no_whole_picture_is_told(answer: Callable[[], bytes], fault: str, reason: str) -> None:
    with raw(answer()) as server:
        failed = failure(server.url)
    assert (failed.fault, reason in failed.reason) == (fault, True), failed.reason


def test_the_type_is_read_off_the_bytes_whatever_the_server_says() -> None:
    for declared in (
        "Content-Type: text/html",
        "Content-Type: image/svg+xml",
        "Content-Encoding: gzip",
        "Content-Encoding: br",
    ):
        with raw(response(png(), declared)) as server:
            assert fetch(server.url).size == (20, 10)


def endless(start: bytes) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"%x\r\n%b\r\n" % (len(start), start))
        while True:
            connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    return send


def test_a_body_without_end_is_left_at_the_limit() -> None:
    with raw(endless(noise())) as server:
        failed = failure(server.url, FetchLimits(bytes=300_000))
        assert (failed.fault, failed.reason) == ("source", "it is larger than 300000 bytes")
        assert server.finished.wait(5)


def test_what_begins_as_no_picture_is_not_read_on() -> None:
    with raw(endless(b"<html>" + b" " * 2000)) as server:
        assert "a web page" in failure(server.url, FetchLimits(bytes=2**40)).reason
        assert server.finished.wait(5)


def test_a_declared_length_above_the_limit_is_not_waited_for() -> None:
    def send(connection: socket.socket) -> None:
        connection.sendall(response(b"", length=10**12))
        until_closed(connection)

    with raw(send) as server:
        started = time.perf_counter()
        assert failure(server.url).reason == "it is larger than 12000000 bytes"
        assert time.perf_counter() - started < 5


def test_a_packed_body_is_never_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000), 1)
    with raw(response(bomb, "Content-Encoding: gzip", "Content-Type: image/png")) as server:
        failed = failure(server.url)
    assert (failed.fault, failed.reason) == ("source", "it is compressed with gzip")


def test_too_many_pixels_are_refused() -> None:
    with raw(response(png(size=(100, 100)))) as server:
        assert "100 x 100 pixels, more than 9999" in failure(server.url, FetchLimits(pixels=9999)).reason
        assert fetch(server.url, FetchLimits(pixels=10_000)).size == (100, 100)


# The network


def test_a_server_that_is_not_there() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    failed = failure(f"http://127.0.0.1:{port}/")
    assert failed.fault == "world"
    assert failed.reason.startswith("the server cannot be reached")


def test_proxies_of_the_environment_are_not_used_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with raw(response(png("red"))) as proxy, raw(response(png("lime"))) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert fetch(server.url).getpixel((0, 0)) == (0, 255, 0)
        failed = failure(f"http://127.0.0.4:{server.port}/")
    assert failed.reason == "the server cannot be reached, and proxies are not used for pictures"
    assert proxy.connections == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for `pictures.example` and its key, fresh."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=pictures.example"
    command += " -addext subjectAltName=DNS:pictures.example -keyout key.pem -out certificate.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


def test_names_are_kept_for_tls_though_the_address_is_dialled(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    named: list[str | None] = []
    context.sni_callback = lambda connection, name, made: named.append(name)
    answers = resolver(pictures_example=["127.0.0.1"], other_example=["127.0.0.1"])
    with raw(response(png()), tls=context) as server:
        failed = failure(f"https://pictures.example:{server.port}/", resolve=answers)
        assert (failed.fault, failed.reason) == ("world", "the server's certificate is not trusted")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert fetch(f"https://pictures.example:{server.port}/owl.png", resolve=answers).size == (20, 10)
        failed = failure(f"https://other.example:{server.port}/", resolve=answers)
        assert failed.reason == "the server's certificate is not trusted"
        # What speaks no TLS is no server of HTTPS.
        assert failure(f"https://127.0.0.1:{server.port}/").reason == "the server's certificate is not trusted"
    assert named == ["pictures.example", "pictures.example", "other.example", None]
    assert len(server.requests) == 1


def test_a_server_that_speaks_no_tls() -> None:
    with served(redirects()) as at:
        failed = failure(at.replace("http:", "https:") + "/hop/0")
    assert (failed.fault, failed.reason.startswith("the server cannot be reached")) == ("world", True)


# Turns, threads, cancellation


def test_no_more_fetches_at_once_than_allowed() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def count(connection: socket.socket) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        connection.sendall(response(png()))

    async def many(url: str) -> None:
        fetcher = PictureFetcher(private=HERE, concurrency=3)
        await asyncio.gather(*(fetcher.fetch(url) for _ in range(12)))
        await fetcher.aclose()

    with raw(count) as server:
        asyncio.run(many(server.url))
    assert most == 3


def test_decoding_is_off_the_event_loop_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    running, most, lock = 0, 0, threading.Lock()

    def slow(data: bytes, *, pixels: int) -> Image.Image:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threads.add(threading.current_thread().name)
        time.sleep(0.05)
        with lock:
            running -= 1
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(fetching, "decode_picture", slow)

    async def many(url: str) -> None:
        fetcher = PictureFetcher(private=HERE)
        await asyncio.gather(*(fetcher.fetch(url) for _ in range(10)))
        await fetcher.aclose()

    with raw(response(png())) as server:
        asyncio.run(many(server.url))
    assert most == DECODERS == len(threads)
    assert all(name.startswith("llmi-decoding") for name in threads)


def sockets_open() -> int:
    gone = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            gone.append(str(entry.readlink()).startswith("socket:"))
    return sum(gone)


def half_a_body(connection: socket.socket) -> None:
    connection.sendall(response(noise()[:5000], length=40_000))
    until_closed(connection)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
@pytest.mark.parametrize("phase", ["looking up", "handshake", "headers", "body"])
@pytest.mark.parametrize("how", ["cancelled", "out of time"])
def test_a_fetch_that_is_dropped_leaves_nothing_behind(phase: str, how: str) -> None:
    hung = asyncio.Event()

    async def resolve(host: str, port: int) -> Sequence[str]:
        if phase == "looking up":
            hung.set()
            await asyncio.sleep(60)
        return ["127.0.0.1"]

    async def dropped(server: Raw, good: Raw) -> None:
        fetcher = PictureFetcher(
            FetchLimits(seconds=0.3 if how == "out of time" else 15), private=HERE, resolve=resolve, concurrency=1
        )
        before, others = sockets_open(), asyncio.all_tasks()
        scheme = "https" if phase == "handshake" else "http"
        task = asyncio.ensure_future(fetcher.fetch(f"{scheme}://pictures.example:{server.port}/"))
        if how == "cancelled":
            while not (hung.is_set() or server.connections):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(FetchFailed, match="longer than"):
                await task
        await asyncio.to_thread(server.finished.wait, 0 if phase == "looking up" else 5)
        assert phase == "looking up" or server.finished.is_set(), "the server sees the end"
        while sockets_open() > before:
            await asyncio.sleep(0.01)
        assert (await fetcher.fetch(good.url)).size == (20, 10), "its turn is free again"
        await fetcher.aclose()
        assert asyncio.all_tasks() == others

    with raw(until_closed if phase == "headers" else half_a_body) as server, raw(response(png())) as good:
        asyncio.run(asyncio.wait_for(dropped(server, good), 10))


def test_after_closing_it_can_be_used_again() -> None:
    async def twice(url: str) -> None:
        fetcher = PictureFetcher(private=HERE)
        for _ in range(2):
            assert (await fetcher.fetch(url)).size == (20, 10)
            await fetcher.aclose()
        await fetcher.aclose()
        for _ in range(200):
            if not any(thread.name.startswith("llmi-decoding") for thread in threading.enumerate()):
                return
            await asyncio.sleep(0.01)
        pytest.fail("threads are left")

    with raw(response(png())) as server:
        asyncio.run(twice(server.url))


# Errors


def test_a_failure_travels_and_tells_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = "sk-0123456789"
    with served(redirects()) as at:
        for place in ("status/404", "nowhere", "to"):
            failed = failure(f"{at}/{place}?key={key}&place=http://127.0.0.9:1/?{key}")
            copy = pickle.loads(pickle.dumps(failed))
            assert isinstance(copy, FetchFailed)
            assert isinstance(copy, LLMIError)
            assert (copy.reason, copy.fault, str(copy)) == (failed.reason, failed.fault, failed.reason)
            assert key not in repr(failed) + str(failed)
    assert key not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("llmi_env"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FetchLimits(bytes=0), "bytes must be above 0"),
        (lambda: FetchLimits(pixels=-1), "pixels must be above 0"),
        (lambda: FetchLimits(seconds=0), "seconds must be above 0"),
        (lambda: FetchLimits(redirects=-1), "redirects must be 0 or more"),
        (lambda: PictureFetcher(concurrency=0), "concurrency must be 1 or more"),
        (lambda: PictureFetcher(private=["http://pictures.lan"]), "neither a host name"),
    ],
)
def test_limits_that_let_nothing_through_are_the_caller_s_mistake(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()

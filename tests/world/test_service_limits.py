from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Picture, Provenance, Text
from llmi_env.errors import ConfigError
from llmi_env.task import Task
from llmi_env.testing import simulated_config
from llmi_env.world import service_limits, wire
from llmi_env.world.http import HttpWorld
from llmi_env.world.protocol import Unscored
from llmi_env.world.service import create_app
from llmi_env.world.service_limits import Admission, Keys, Limits
from tests.pngs import chunk
from tests.world.asking import message, owl, serving, simulated, until


def raw(address: str, sent: bytes) -> bytes:
    """What the service answers to these bytes, until it hangs up or says no more."""
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(sent)
        answer = b""
        while b"}" not in answer and (piece := connection.recv(65536)):
            answer += piece
        return answer


# ------------------------------------------------------------------------------------------------------------------- bodies


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent() -> None:
    with serving(simulated(Limits(max_body=1000))) as address:
        answer = raw(address, b"POST /run HTTP/1.1\r\nHost: w\r\nContent-Length: 1000000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    assert b"--max-body" in answer


def test_a_body_that_grows_too_large_is_refused_where_it_does() -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 300_000_000:
            sent += 100_000
            yield b" " * 100_000

    with serving(simulated(Limits(max_body=1_000_000))) as address, httpx.Client() as client:
        try:
            assert client.post(address + "/run", content=endless()).status_code == 413
        except (
            httpx.TransportError
        ):  # the answer may be lost with the connection: whoever writes for ever does not read
            pass
        page = client.get(address + "/metrics").text
    assert sent < 100_000_000
    assert 'llmi_requests_rejected_total{reason="too_large",route="/run"} 1.0' in page


def test_a_client_of_ours_is_told_that_its_body_is_too_large_at_once() -> None:
    noise = Picture(Image.effect_noise((1200, 1200), 90), Provenance("test"))
    with serving(simulated(Limits(max_body=1_000_000))) as address:
        start = time.monotonic()
        outcome = asyncio.run(HttpWorld(address).run(Call("edit", "", {"img_index": 0, "prompt": "blur"}), [noise]))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.fault) == ("unavailable", "world")
    assert "413" in outcome.message
    assert "larger than this World takes" in outcome.message
    assert time.monotonic() - start < 10


def test_small_pictures_that_unfold_to_large_ones_are_not_read() -> None:
    black = Picture(Image.new("1", (3000, 3000)), Provenance("test"))
    body = message(pictures=(black, black))
    assert len(body) < 20_000
    document = wire.JudgeRequest(
        document=wire.DocumentMessage(blocks=[]), task=wire.TaskMessage.of(Task("owls", images=(black, black)))
    )
    with serving(simulated(Limits(max_pixels=10_000_000))) as address:
        answers = [
            httpx.post(address + "/run", content=body),
            httpx.post(address + "/judge", content=document.encode()),
        ]
    for answer in answers:
        assert answer.status_code == 422
        assert "18000000 pixels" in answer.text


def header(side: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))


def png_with(headers: bytes, side: int = 3000) -> bytes:
    """A black square of `side` pixels with these chunks before its data."""
    data = zlib.compress((b"\0" * (1 + side // 8)) * side, 9)
    return b"\x89PNG\r\n\x1a\n" + headers + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "headers",
    [
        header(1) + header(3000),
        chunk(b"tEXt", b"a\0b") + header(1) + header(3000),
        header(1) + header(2) + header(3000),
    ],
    ids=["a small one first", "a text first", "several"],
)
def test_a_picture_with_several_headers_is_as_large_as_the_one_that_counts(headers: bytes) -> None:
    message = wire.PictureMessage(png=png_with(headers), backend="x")
    assert len(message.png) < 10_000
    assert message.value().image.size == (3000, 3000)
    with pytest.raises(ValueError, match="18000000 pixels together, 10000000 are allowed"):
        Limits(max_pixels=10_000_000).check_pictures([message, message])
    Limits(max_pixels=18_000_000).check_pictures([message, message])


def test_more_pictures_than_are_allowed_are_not_looked_at() -> None:
    dot = Picture(Image.new("1", (1, 1)), Provenance("test"))
    with serving(simulated(Limits(max_pixels=1_000, max_pictures=3))) as address:
        assert httpx.post(address + "/run", content=message(pictures=(dot,) * 3)).status_code == 200
        answer = httpx.post(address + "/run", content=message(pictures=(dot,) * 4))
        nonsense = wire.RunRequest.model_construct(
            call=wire.CallMessage.of(owl()), pictures=[wire.PictureMessage(png=b"x", backend="x")], seed=1
        )
        broken = httpx.post(address + "/run", content=nonsense.encode())
    assert (answer.status_code, broken.status_code) == (422, 422)
    assert "it has 4 pictures, 3 are allowed" in answer.text
    assert "not a readable PNG" in broken.text


def test_a_body_that_comes_too_slowly_is_given_up() -> None:
    with serving(simulated(Limits(client_seconds=0.3)), client_seconds=0.3) as address:
        start = time.monotonic()
        answer = raw(address, b'POST /run HTTP/1.1\r\nHost: w\r\nContent-Length: 1000\r\n\r\n{"call":')
        assert 0.2 < time.monotonic() - start < 5
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer


# ------------------------------------------------------------------------------------------------------------------- places


def test_above_the_limit_calls_are_told_to_come_again_and_documents_have_places_of_their_own() -> None:
    app = simulated(Limits(max_in_flight=2, max_judging=1), latency=0.6, concurrency=8)
    admission: Admission = app.state.admission
    document = wire.JudgeRequest(
        document=wire.DocumentMessage.of(Document((Text("Owls."),))), task=wire.TaskMessage.of(Task("owls"))
    ).encode()

    async def ask(address: str) -> None:
        async with httpx.AsyncClient(base_url=address) as client:
            running = [asyncio.create_task(client.post("/run", content=message(n))) for n in range(2)]
            await until(lambda: admission.in_flight == 2)
            refused = await client.post("/run", content=message(3))
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 30
            assert "--max-in-flight" in refused.json()["args"][0]
            assert (await client.post("/judge", content=document)).status_code == 200
            assert (await client.get("/health")).status_code == 200
            assert [answer.status_code for answer in await asyncio.gather(*running)] == [200, 200]
            assert (await client.post("/run", content=message(3))).status_code == 200

    with serving(app) as address:
        asyncio.run(ask(address))
    assert admission.in_flight == 0


def test_one_client_cannot_take_all_places() -> None:
    app = simulated(Limits(max_in_flight=10, max_per_client=2), latency=0.4, keys=Keys(["a1", "b2"]))

    async def ask(address: str) -> list[list[int]]:
        async with httpx.AsyncClient(base_url=address) as client:

            async def post(token: str, number: int) -> int:
                headers = {"authorization": f"Bearer {token}"}
                return (await client.post("/run", content=message(number), headers=headers)).status_code

            greedy = [asyncio.create_task(post("a1", n)) for n in range(5)]
            await until(lambda: app.state.admission.in_flight == 2)
            modest = [asyncio.create_task(post("b2", n)) for n in range(2)]
            return [sorted(await asyncio.gather(*asked)) for asked in (greedy, modest)]

    with serving(app) as address:
        assert asyncio.run(ask(address)) == [[200, 200, 429, 429, 429], [200, 200]]


def test_how_long_to_wait_follows_what_requests_take() -> None:
    async def look() -> list[int]:
        admission, task = Admission(Limits()), asyncio.current_task()
        assert task is not None
        told = [admission.retry_after("/run")]
        for seconds in (0.01, 7.3, 500.0, 500.0):
            admission.enter(task, "/run", "me")
            admission.leave(task, "/run", "me", seconds)
            told.append(admission.retry_after("/run"))
        return told

    assert asyncio.run(look()) == [1, 1, 1, 30, 30]


# ------------------------------------------------------------------------------------------------------------------- tokens


def test_tokens_come_from_the_environment_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# of the trainers\n\n  a#1  \nb2\na#1\n", encoding="utf-8")
    keys = Keys.read({"LLMI_TOKEN": "c3", "LLMI_TOKENS": " d4 e5\n"}, file)
    assert len(keys) == 5
    holders = [keys.holder(f"Bearer {token}") for token in ("c3", "d4", "e5", "a#1", "b2")]
    assert holders == ["token 1", "token 2", "token 3", "token 4", "token 5"]
    assert keys.holder("bearer b2") == "token 5"
    for wrong in ("", "b2", "Bearer", "Bearer ", "Bearer b", "Bearer b22", "Basic b2", "Bearer B2", "Bearer ÿ"):
        assert keys.holder(wrong) is None
    assert len(Keys.read({})) == len(Keys.read({"LLMI_TOKEN": ""})) == 0


def test_tokens_that_cannot_be_used_are_told_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Keys.read({}, tmp_path / "none")
    (tmp_path / "empty").write_text("# nobody\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no token in .*empty: write one a line"):
        Keys.read({}, tmp_path / "empty")
    for secret in ("s3cr et", "s3crét", "s3cr\x7fet"):
        with pytest.raises(ConfigError, match="token 2 of 2 is not printable") as caught:
            Keys(["fine", secret])
        assert "s3cr" not in str(caught.value)
    assert "fine" not in f"{Keys(['fine'])!r} {vars(Keys(['fine']))}"


def test_every_token_is_compared_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    honest = service_limits.secrets.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return honest(one, other)

    monkeypatch.setattr(service_limits.secrets, "compare_digest", counting)
    keys = Keys(["first", "the-second-and-longest", "3"])
    for given in ("first", "3", "wrong", ""):
        compared.clear()
        keys.holder(f"Bearer {given}")
        assert compared == [(32, 32)] * 3


def test_a_token_stands_in_no_answer_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    paths = ("/health", "/ready", "/terms", "/metrics", "/nothing", "/docs", "/openapi.json", "/run")
    answers = ""
    with serving(simulated(keys=Keys(["s3cret-token"]))) as address:
        for token in ("s3cret-token", "s3cret-tokem"):
            for path in paths:
                answer = httpx.get(address + path, headers={"authorization": f"Bearer {token}"})
                answers += f"{answer.status_code} {answer.headers} {answer.text}"
            answers += httpx.post(address + "/run", content=b"{", headers={"authorization": f"Bearer {token}"}).text
        refused = httpx.get(address + "/health")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "s3cret" not in answers + caplog.text + refused.text


def test_strangers_learn_only_whether_it_is_alive_and_ready() -> None:
    with serving(simulated(keys=Keys(["sesame"]))) as address, httpx.Client(base_url=address) as client:
        assert client.get("/alive").text == "alive\n"
        assert client.get("/ready").json() == {"ready": True, "stopping": False, "parts": {}}
        for path in ("/health", "/terms", "/metrics", "/run", "/nothing"):
            assert client.get(path).status_code == 401
        client.headers["authorization"] = "Bearer sesame"
        parts = client.get("/ready").json()["parts"]
        assert parts == {"tool search": "ready", "judge llmi_env.testing:SimulatedJudge": "ready"}


# ---------------------------------------------------------------------------------------------------------- readiness, the end


def test_ready_says_by_name_what_is_missing(tmp_path: Path) -> None:
    tools = {"search": {}, "edit": {"failure": "no such kind", "no_such_option": 1}}
    with serving(create_app(simulated_config(tools=tools))) as address:
        answer = httpx.get(address + "/ready")
        alive = httpx.get(address + "/alive")
    assert (answer.status_code, alive.status_code) == (503, 200)
    assert answer.headers["retry-after"] == "2"
    told = answer.json()
    assert told["ready"] is False
    assert told["parts"]["tool search"] == "ready"
    assert told["parts"]["tool edit"].startswith("ConfigError: ")
    assert "no_such_option" in told["parts"]["tool edit"]


def test_warm_loads_everything_before_anybody_asks() -> None:
    app = create_app(simulated_config(), warm=True)
    with serving(app):
        asyncio.run(until(lambda: app.state.readiness.ready))
    assert app.state.readiness.told.startswith("ready: tool search, tool diffusion")


def test_a_service_that_stops_takes_nothing_on_and_still_tells_of_itself() -> None:
    app = simulated()
    with serving(app) as address, httpx.Client(base_url=address) as client:
        assert client.post("/run", content=message()).status_code == 200
        app.state.admission.stop()
        for answer in (client.post("/run", content=message()), client.post("/judge"), client.get("/terms")):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "2"
            assert answer.headers["connection"] == "close"
            assert "stopping" in answer.json()["args"][0]
        for _ in range(10):  # an answer that is given before the body has come is not lost with the connection
            assert client.post("/run", content=b" " * 1_000_000).status_code == 503
        assert client.get("/alive").status_code == client.get("/health").status_code == 200
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()["stopping"]) == (503, True)
        assert "llmi_stopping 1.0" in client.get("/metrics").text


def test_work_that_is_cut_off_is_told_to_its_client() -> None:
    app = simulated(latency=60, concurrency=8)

    async def ask(address: str) -> tuple[httpx.Response, Any]:
        async with httpx.AsyncClient(base_url=address) as client:
            plain = asyncio.create_task(client.post("/run", content=message(1)))
            _, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
            writer.write(b"POST /judge HTTP/1.1\r\nHost: w\r\nContent-Length: 10\r\n\r\n{")
            world = HttpWorld(address)
            await world.health()
            world.patience = 1.0  # for the service to take it on again; its connections were made with more
            ours = asyncio.create_task(world.run(owl(2)))
            await until(lambda: app.state.admission.in_flight == 3)
            assert app.state.admission.give_up() == 3
            answers = await plain, await ours
            writer.close()
            return answers

    with serving(app) as address:
        plain, outcome = asyncio.run(ask(address))
    assert plain.status_code == 503
    assert "stopped before the request was done" in plain.json()["args"][0]
    assert (outcome.kind, outcome.fault) == ("unavailable", "world")
    assert app.state.admission.given_up == 3
    assert app.state.admission.in_flight == 0


# --------------------------------------------------------------------------------------------------------------- the client


def test_a_client_waits_as_it_is_told_and_gets_its_answers() -> None:
    with serving(simulated(Limits(max_in_flight=2), latency=0.1)) as address:

        async def many() -> list[Any]:
            world = HttpWorld(address, attempts=1)
            return await asyncio.gather(*(world.run(owl(number)) for number in range(6)))

        assert [type(outcome) for outcome in asyncio.run(many())] == [Picture] * 6
        page = httpx.get(address + "/metrics").text
    assert 'reason="busy",route="/run"' in page


def busy(told: str, status: int = 429, times: int = 1000) -> tuple[FastAPI, list[float]]:
    """A World that refuses its first `times` calls and documents, and the moments at which it was asked."""
    app, asked = create_app(simulated_config()), []

    @app.middleware("http")
    async def refuse(request: Any, go_on: Any) -> Any:
        if request.url.path not in ("/run", "/judge"):
            return await go_on(request)
        asked.append(time.monotonic())
        return Response("busy", status, {"retry-after": told}) if len(asked) <= times else await go_on(request)

    return app, asked


@pytest.mark.parametrize(("told", "status"), [("0", 429), ("Wed, 21 Oct 2015 07:28:00 GMT", 503)])
def test_a_time_to_wait_may_be_a_number_or_a_date(told: str, status: int) -> None:
    app, asked = busy(told, status, times=2)
    with serving(app) as address:
        assert isinstance(asyncio.run(HttpWorld(address, attempts=1).run(owl())), Picture)
    assert len(asked) == 3
    assert all(later - earlier >= 0.2 for earlier, later in itertools.pairwise(asked))


def test_it_waits_no_longer_than_the_calls_deadline() -> None:
    app, asked = busy("1")
    with serving(app) as address:

        async def ask() -> tuple[Any, float, Any]:
            world = HttpWorld(address)
            await world.terms()
            world.patience = 0.9
            begun = time.monotonic()
            outcome = await HttpWorld(address, patience=600).run(owl(), deadline=2.5)
            between = time.monotonic()
            return outcome, between - begun, await world.judge(Document(), Task("owls"))

        outcome, seconds, judgments = asyncio.run(ask())
    assert (outcome.kind, outcome.fault) == ("unavailable", "world")
    assert "the World has its hands full and asked to come again in 1 seconds" in outcome.message
    assert seconds < 5
    # the call at once and after 1 to 1.5 seconds each; the document once, since it would have had to wait too long
    assert len(asked) in (3, 4)
    assert {type(judgment) for judgment in judgments.values()} == {Unscored}
    assert all("hands full" in judgment.reason for judgment in judgments.values())


def test_a_refusal_that_tells_no_time_counts_as_a_lost_connection() -> None:
    for told in ("", "soon"):
        app, asked = busy(told)
        with serving(app) as address:
            outcome = asyncio.run(HttpWorld(address, attempts=2).run(owl()))
        assert isinstance(outcome, Failure)
        assert "the service answered 429" in outcome.message
        assert len(asked) == 2

"""Streams of chat completions from servers of every manner: each test talks to a real one over a socket."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from llmi_env.services.chat_reply import Reply, StreamFailed
from llmi_env.services.chat_stream import ChatStream
from tests.chat_streams import breaking_off, chunk, endless, event, events, saying, silent_after, usage
from tests.judges.chat_server import Answer, ChatServer, completion, failing, raw, resetting
from tests.serving import served

KEY = "sk-s3cret"


def ask(
    *answers: Answer,
    wanted: int | None = None,
    times: int = 1,
    timeout: float = 20.0,
    idle: float = 10.0,
    **fields: Any,
) -> tuple[list[str], Reply | StreamFailed, ChatServer]:
    """What came of the last of some requests."""

    async def run() -> tuple[list[str], Reply | StreamFailed, ChatServer]:
        async with ChatServer(*answers) as server:
            stream = ChatStream(server.base_url, lambda: KEY, timeout=timeout, idle=idle)
            texts: list[str] = []

            def take(text: str) -> bool:
                texts.append(text)
                return wanted is None or len(texts) < wanted

            came: Reply | StreamFailed = Reply()
            for _ in range(times):
                texts.clear()
                try:
                    came = await stream.ask({"model": "m", "messages": [], "max_tokens": 9, "seed": 7, **fields}, take)
                except StreamFailed as failed:
                    came = failed
            await stream.aclose()
            return texts, came, server

    return asyncio.run(run())


def test_text_comes_in_pieces_with_the_tokens_used() -> None:
    texts, reply, server = ask(saying("Owls hunt at night.", thoughts=["well", "then"]))
    assert texts == ["Owls", " hun", "t at", " nig", "ht."]
    assert reply == Reply(pieces=7, finish="stop", prompt_tokens=100, completion_tokens=7)
    assert server.paths == ["/v1/chat/completions"]
    assert server.requests[0]["stream"] is True
    assert server.requests[0]["stream_options"] == {"include_usage": True}
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["accept-encoding"] == "identity"


def test_pieces_come_while_the_rest_is_written() -> None:
    moments: list[float] = []

    async def run() -> float:
        async with ChatServer(saying("x" * 40, pace=0.03)) as server:
            stream = ChatStream(server.base_url, str, timeout=20, idle=20)
            await stream.ask({"model": "m"}, lambda text: moments.append(time.perf_counter()) is None)
            await stream.aclose()
            return time.perf_counter()

    end = asyncio.run(run())
    assert end - moments[0] > 0.25


def test_what_is_not_wanted_ends_the_request() -> None:
    texts, reply, _ = ask(endless(event(chunk("more"))), wanted=3)
    assert texts == ["more"] * 3
    assert reply == Reply(pieces=3)


def test_a_limit_of_tokens_is_told() -> None:
    _, reply, _ = ask(saying("Owls", finish="length"))
    assert isinstance(reply, Reply)
    assert reply.cut


@pytest.mark.parametrize("end", [(), ("[DONE]",)])
def test_a_server_that_counts_nothing(end: tuple[str, ...]) -> None:
    _, reply, _ = ask(events(chunk("Owls"), chunk(finish="stop"), *end))
    assert reply == Reply(pieces=1, finish="stop")


def test_a_server_that_does_not_stream_at_all() -> None:
    texts, reply, _ = ask(raw(200, completion("The whole document.")))
    assert texts == ["The whole document."]
    assert reply == Reply(1, "stop", 100, 10)


@pytest.mark.parametrize(
    ("answer", "again", "said"),
    [
        (failing(500, "out of memory"), True, "HTTP 500: 'out of memory'"),
        (raw(502, b"<html>Bad Gateway</html>"), True, "HTTP 502: '<html>Bad Gateway</html>'"),
        (failing(503, headers={"x-should-retry": "false"}), False, "HTTP 503"),
        (failing(400, "context length exceeded"), False, "HTTP 400: 'context length exceeded'"),
        (failing(403, "flagged"), False, "check the key"),
        (raw(301, b"", {"location": "https://elsewhere/v1"}), False, "it points to 'https://elsewhere/v1'"),
        (failing(429, "slow down", {"retry-after": "900"}), False, "asks to wait 900 s"),
        (raw(200, b"<html><title>Log in</title>", {"content-type": "text/html"}), True, "sent no events but text/html: '<html><title>Log in"),
        (raw(200, b"", {"content-type": "text/event-stream"}), True, "sent no events"),
        (raw(200, b'{"choices": []}'), True, "broke off before any text"),
        (raw(200, b"[1, 2"), True, "no chunk of a completion but '[1, 2'"),
        (events(chunk("Owls"), "not json"), True, "no chunk of a completion but 'not json'"),
        (events(chunk("Owls"), {"error": {"message": "CUDA error", "code": 500}}), True, "failed while it wrote: 'CUDA error'"),
        (events(chunk("Owls"), {"error": {"message": "too long", "code": 400}}), False, "'too long'"),
        (events({"object": "error", "message": "no such model"}), True, "'no such model'"),
        (events(chunk("Ow"), chunk("ls"), whole=True), True, "the stream broke off after 2 pieces"),
        (breaking_off("Owls hunt"), True, "broke off after 3 pieces"),
        (resetting, True, "broke off before any text"),
        (events(chunk("Owls"), chunk(finish="content_filter"), "[DONE]"), False, "content filter"),
        (events(chunk(refusal="I cannot write about owls.")), False, "the model refused: 'I cannot"),
        (events(chunk(finish="tool_calls"), "[DONE]"), False, "switch its tool parser off"),
        (events(chunk("Owls"), chunk(finish="abort"), "[DONE]"), True, "gave up (abort)"),
    ],
)  # fmt: skip
def test_whatever_goes_wrong_is_told(answer: Answer, again: bool, said: str) -> None:
    _, failed, _ = ask(answer)
    assert isinstance(failed, StreamFailed), failed
    assert said in failed.reason
    assert failed.again is again
    assert not failed.hopeless
    assert not failed.unreached
    assert failed.__context__ is None


@pytest.mark.parametrize(
    "answer",
    [failing(401, "bad key"), failing(402, "no money"), failing(404, "no such model"), failing(429, "quota", code="insufficient_quota")],
)  # fmt: skip
def test_what_no_request_can_mend_is_hopeless(answer: Answer) -> None:
    _, failed, _ = ask(answer)
    assert isinstance(failed, StreamFailed)
    assert failed.hopeless
    assert not failed.again


def test_nobody_there() -> None:
    async def run() -> StreamFailed:
        stream = ChatStream("http://127.0.0.1:9/v1", str, timeout=5, idle=5)
        with pytest.raises(StreamFailed, match="cannot be reached") as caught:
            await stream.ask({"model": "m"}, lambda text: True)
        await stream.aclose()
        return caught.value

    failed = asyncio.run(run())
    assert failed.unreached
    assert failed.again


def test_a_busy_server_is_left_alone_as_long_as_it_asks() -> None:
    start = time.perf_counter()
    _, failed, _ = ask(failing(429, "slow down", {"retry-after": "0.3"}))
    assert isinstance(failed, StreamFailed)
    assert failed.again
    assert failed.rested
    texts, _, _ = ask(failing(429, "slow down", {"retry-after": "0.3"}), saying("Owls"), times=2)
    assert texts == ["Owls"]
    assert time.perf_counter() - start > 0.3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (endless(b": still here\n\n"), "no whole reply in 0.3 seconds before any text"),
        (endless(event(chunk("Owls. "))), "no whole reply in 0.3 seconds after"),
        (silent_after(chunk("Owls")), "no whole reply in 0.3 seconds after 1 pieces"),
    ],
)
def test_a_server_that_never_ends(answer: Answer, said: str) -> None:
    _, failed, _ = ask(answer, timeout=0.3)
    assert isinstance(failed, StreamFailed)
    assert said in failed.reason
    assert failed.again


def test_a_server_that_falls_silent() -> None:
    _, failed, _ = ask(silent_after(chunk("Owls")), idle=0.2)
    assert isinstance(failed, StreamFailed)
    assert "nothing came for 0.2 seconds after 1 pieces" in failed.reason


def test_a_document_is_whole_though_the_farewell_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmi_env.services.chat_stream._FAREWELL", 0.1)
    start = time.perf_counter()
    texts, reply, _ = ask(silent_after(chunk("Owls"), chunk(finish="stop")))
    assert (texts, reply) == (["Owls"], Reply(1, "stop"))
    _, reply, _ = ask(events(chunk("Owls"), chunk(finish="stop"), whole=False))
    assert reply == Reply(1, "stop")
    _, withheld, _ = ask(silent_after(chunk("Owls"), chunk(finish="content_filter")))
    assert isinstance(withheld, StreamFailed)
    assert time.perf_counter() - start < 5


def test_a_flood_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmi_env.services.chat_stream._MOST_BYTES", 100_000)
    _, failed, _ = ask(endless(b"data: " + json.dumps(chunk(reasoning_content="x" * 9000)).encode() + b"\n\n", 0))
    assert isinstance(failed, StreamFailed)
    assert "more than 0 MB" in failed.reason
    _, failed, _ = ask(endless(b"x" * 50_000, 0))
    assert isinstance(failed, StreamFailed)


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_nothing_is_unpacked(kind: str) -> None:
    packed = gzip.compress(event(chunk("Owls")) + bytes(50_000_000))
    texts, failed, _ = ask(raw(200, packed, {"content-type": kind, "content-encoding": "gzip"}))
    assert texts == []
    assert isinstance(failed, StreamFailed)
    assert "the answer is packed, which was not asked for" in failed.reason
    _, failed, _ = ask(raw(500, packed, {"content-encoding": "gzip"}))
    assert isinstance(failed, StreamFailed)
    assert "HTTP 500" in failed.reason


def choosy(name: str, then: Answer, status: int = 400) -> Answer:
    """A server that does not know a field; it says so as vLLM and OpenAI do."""

    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        unknown = failing(status, f"Extra inputs are not permitted: '{name}'")
        await (unknown if name in request else then)(writer, request)

    return answer


def test_fields_that_a_server_does_not_know_are_left_out_from_then_on() -> None:
    picky = choosy("seed", choosy("stream_options", saying("Owls", told=False), status=422))
    texts, reply, server = ask(picky, times=2)
    assert texts == ["Owls"]
    assert isinstance(reply, Reply)
    assert ["seed" in request for request in server.requests] == [True, False, False, False]
    assert ["stream_options" in request for request in server.requests] == [True, True, False, False]


def test_the_other_name_of_a_length() -> None:
    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        newer = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        await (failing(400, newer) if "max_tokens" in request else saying("Owls"))(writer, request)

    texts, _, server = ask(answer)
    assert texts == ["Owls"]
    assert server.requests[-1]["max_completion_tokens"] == 9


def test_the_key_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers = failing(401, f"{KEY} is wrong"), failing(500, KEY), events({"error": KEY}), raw(200, KEY.encode())
    for answer in (*answers, raw(302, b"", {"location": f"https://elsewhere/?key={KEY}"})):
        _, failed, _ = ask(answer)
        assert isinstance(failed, StreamFailed)
        assert "[key]" in failed.reason
        assert KEY not in failed.reason
    assert KEY not in caplog.text


def test_it_works_in_another_event_loop_too() -> None:
    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> StreamingResponse:
        assert (await request.json())["stream"]
        said = [event(chunk("Owls")), event(chunk(finish="stop")), event(usage(3, 1)), event("[DONE]")]
        return StreamingResponse(iter(said), media_type="text/event-stream")

    with served(app) as address:
        stream = ChatStream(f"{address}/v1/", str, timeout=20, idle=20)
        replies = [asyncio.run(stream.ask({"model": "m"}, lambda text: True)) for _ in range(2)]
    assert replies == [Reply(1, "stop", 3, 1)] * 2

"""The judge's connection: limits, counts, event loops, and that its key shows nowhere."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from llmi_env.errors import ConfigError
from llmi_env.judges.openai_judge import OpenAIJudge
from llmi_env.world.protocol import Scored, Unscored
from tests.judges.chat_server import Answer, ChatServer, after, completion, failing, raw, saying, scoring
from tests.judges.openai_judged import GOOD, TASK, document, judged


def test_nobody_listens() -> None:
    judge = OpenAIJudge(model="m", base_url="http://127.0.0.1:9/v1", terms=["text_quality"], retries=1)
    found = asyncio.run(judge(document(), TASK))
    assert isinstance(found["text_quality"], Unscored)
    assert "cannot be reached" in found["text_quality"].reason
    assert judge.usage.requests == 2


def test_requests_tokens_and_cost_are_counted() -> None:
    prices = {"prompt_price": 2.0, "completion_price": 10.0}
    _, judge, _ = judged(failing(503), saying("?"), saying(GOOD), structured="json_schema", **prices)
    usage = judge.usage
    assert (usage.requests, usage.retries, usage.failures) == (3, 2, 0)
    assert (usage.prompt_tokens, usage.completion_tokens) == (200, 20)
    assert usage.cost == pytest.approx((200 * 2 + 20 * 10) / 1e6)
    assert judged(saying(GOOD))[1].usage.cost is None


def test_a_server_that_asks_to_wait_is_left_alone_by_all() -> None:
    async def both() -> ChatServer:
        waiting = failing(429, headers={"retry-after": "0.3"})
        async with ChatServer(waiting, scoring()) as server:
            judge = OpenAIJudge(model="m", base_url=server.base_url, terms=["text_quality"], structured="json_schema")
            first = asyncio.create_task(judge(document(), TASK))
            while judge._chat._rest.until == 0.0:  # the first answer has come
                await asyncio.sleep(0.01)
            second = asyncio.create_task(judge(document(text="Bees."), TASK))
            await asyncio.sleep(0.1)
            seen = len(server.requests)
            answers = await asyncio.gather(first, second)
            await judge.aclose()
            assert all(isinstance(answer["text_quality"], Scored) for answer in answers)
            assert seen == 1
            return server

    assert len(asyncio.run(both()).requests) == 3


def test_no_more_requests_at_once_than_allowed() -> None:
    async def many() -> int:
        async with ChatServer(after(0.02, scoring())) as server:
            judge = OpenAIJudge(model="m", base_url=server.base_url, concurrency=3, structured="json_schema")
            await asyncio.gather(*(judge(document(text=f"Owls {at}."), TASK) for at in range(9)))
            await judge.aclose()
            return server.most_at_once

    assert asyncio.run(many()) == 3


def test_an_error_without_end_is_bounded() -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 400 Bad\r\ncontent-type: text/plain\r\n\r\n")
        while True:
            writer.write(b"no " * 30_000)
            await writer.drain()
            sent += 1

    found, _, _ = judged(endless, structured="json_object", retries=0)
    assert "HTTP 400: 'no no no " in found["text_quality"].reason
    assert sent < 200


def test_azure_is_spoken_to_in_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    found, _, server = judged(saying(GOOD), api_version="2026-01-01")
    assert found["text_quality"].score == 4
    assert server.headers[0]["api-key"] == "azure-key"
    assert server.paths[0].endswith("/openai/deployments/m/chat/completions?api-version=2026-01-01")
    assert server.requests[0]["max_completion_tokens"] == 1024


def test_one_judge_in_two_event_loops_and_after_pickling() -> None:
    async def serve(judge_of: Callable[[str], OpenAIJudge]) -> tuple[OpenAIJudge, Any]:
        async with ChatServer(scoring()) as server:
            judge = judge_of(server.base_url)
            return judge, await judge(document(), TASK)

    judge, first = asyncio.run(serve(lambda url: OpenAIJudge(model="m", base_url=url)))

    async def again() -> Any:  # the same object, another loop, and a server at its old address
        port = int(judge.options.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
        server = ChatServer(scoring())
        server._tasks = set()
        server._server = await asyncio.start_server(server._serve, "127.0.0.1", port)
        try:
            copy = pickle.loads(pickle.dumps(judge))
            return await judge(document(), TASK), await copy(document(), TASK)
        finally:
            await judge.aclose()
            server._server.close()

    assert asyncio.run(again()) == (first, first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "environment variable OPENAI_API_KEY is not set"),
        ({"base_url": "https://x.openai.azure.com", "api_version": "2026-01-01"}, "AZURE_OPENAI_API_KEY is not set"),
        ({"base_url": "https://gateway.example.com/v1"}, "name the environment variable .* as api_key_env"),
        ({"base_url": "http://127.0.0.1:9/v1", "api_key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
    ],
)
def test_a_missing_key_is_told_at_the_first_use(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "NO_SUCH_KEY"):
        monkeypatch.delenv(name, raising=False)
    judge = OpenAIJudge(model="m", **options)
    with pytest.raises(ConfigError, match=message):
        asyncio.run(judge(document(), TASK))


def test_a_key_is_sent_where_it_belongs_and_told_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    caplog.set_level(logging.INFO)
    echo = failing(401, "Incorrect API key: sk-secret")
    found, judge, server = judged(echo, api_key_env="JUDGE_KEY")
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    assert "Incorrect API key: [key]'; check the key in JUDGE_KEY" in found["text_quality"].reason
    for told in (found["text_quality"].reason, caplog.text, judge.fingerprint, repr(judge.options), str(judge.usage)):
        assert "sk-" not in told
    assert b"sk-" not in pickle.dumps(judge)
    _, _, server = judged(saying(GOOD))
    assert "sk-" not in json.dumps(server.headers)  # the key for OpenAI is nobody else's


@pytest.mark.parametrize(
    "echo",
    [
        raw(200, b"<html>sk-secret</html>"),
        raw(200, b"sk-secret " * 500_000),
        saying(None, refusal="not for sk-secret"),
        raw(302, b"", {"location": "http://127.0.0.1:9/?key=sk-secret"}),
    ],
    ids=["no completion", "huge", "refusal", "elsewhere"],
)
def test_a_key_that_comes_back_is_not_repeated(echo: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    found, _, _ = judged(echo, api_key_env="JUDGE_KEY", structured="json_schema", retries=0)
    assert "[key]" in found["text_quality"].reason
    assert "sk-" not in found["text_quality"].reason


def test_a_key_that_comes_back_in_a_header_is_not_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    caplog.set_level(1)
    for name in ("openai", "httpx", "httpcore", "asyncio"):
        caplog.set_level(1, logger=name)
    echo = {"x-request-id": "sk-secret", "x-echo": "Bearer sk-secret"}
    judged(failing(503, headers=echo), raw(200, completion(GOOD), echo), api_key_env="JUDGE_KEY")
    assert any(record.name == "openai._base_client" for record in caplog.records)
    assert "sk-secret" not in caplog.text

"""Documents from endpoints: each test lets a real server on this machine write, well or badly, and a simulated World illustrate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from llmi_env.calls import BUILTIN, Call
from llmi_env.document import Document, Outcome, Picture, Provenance
from llmi_env.episode import Limits, StopReason
from llmi_env.errors import ConfigError, WorldError
from llmi_env.evaluate.benchmark import Item
from llmi_env.evaluate.sources.base import Done, NotWritten, Order, Source, SourceError, Writing, Written
from llmi_env.evaluate.sources.endpoint_source import EndpointSource
from llmi_env.policies.base import Sampling
from llmi_env.policies.endpoint import EndpointOptions
from llmi_env.task import Task
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments, World
from tests.chat_streams import (
    CALL,
    TEXT,
    breaking_off,
    chunk,
    endless,
    event,
    events,
    pieces,
    saying,
    silent_after,
    usage,
)
from tests.judges.chat_server import Answer, ChatServer, failing, raw

OWLS, BEES = Item(Task("Write about owls.", id="owls")), Item(Task("Write about bees.", id="bees"))
WRITING = Writing(Limits(), BUILTIN, "compact", "none", 500, Sampling(0.7))
HALF = TEXT[: TEXT.index("params")]
Came = dict[tuple[str, int], Written | NotWritten]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmi_env.evaluate.sources.endpoint_source._backoff", lambda state: 0.0)


def order(item: Item = OWLS, sample: int = 0) -> Order:
    return Order(item, sample, 100 + sample)


def write(
    world: World,
    answers: Sequence[Answer],
    orders: Sequence[Order] = (order(),),
    *,
    writing: Writing = WRITING,
    concurrency: int = 16,
    then: Callable[[EndpointSource, ChatServer, Done], Awaitable[None]] | None = None,
    **options: Any,
) -> tuple[Came, ChatServer]:
    """What a server with these answers brings for some orders."""

    async def run() -> tuple[Came, ChatServer]:
        async with ChatServer(*answers) as server:
            plain = {"model": "m", "base_url": server.base_url, "retries": 2, **options}
            source = EndpointSource("openai:m", EndpointOptions.parse(plain), world, writing, concurrency)
            assert isinstance(source, Source)
            came: Came = {}

            def done(order: Order, found: Written | NotWritten) -> None:
                assert (order.item.id, order.sample) not in came
                came[order.item.id, order.sample] = found

            try:
                await (source.write(orders, done) if then is None else then(source, server, done))
                assert not {task for task in asyncio.all_tasks() if "figure" in task.get_name()}
            finally:
                await source.aclose()
            return came, server

    return asyncio.run(run())


def only(came: Came) -> Written:
    (found,) = came.values()
    assert isinstance(found, Written), found
    return found


def reason(came: Came) -> str:
    (found,) = came.values()
    assert isinstance(found, NotWritten), found
    return found.reason


def test_documents_of_a_server(world: InProcessWorld) -> None:
    orders = [order(item, sample) for item in (OWLS, BEES) for sample in range(2)]
    came, server = write(world, [saying(TEXT)], orders)
    assert set(came) == {("owls", 0), ("owls", 1), ("bees", 0), ("bees", 1)}
    found = came["bees", 1]
    assert isinstance(found, Written)
    assert found.rollout.document.to_source() == TEXT
    assert found.rollout.document.pictures
    assert (found.rollout.task, found.rollout.seed, found.rollout.stop) == (BEES.task, 101, StopReason.END)
    assert (found.tokens, found.prompt_tokens, found.cost, found.counted) == (len(pieces(TEXT)), 100, None, True)
    assert len(found.rollout.ledger) == 0
    assert found.seconds >= found.rollout.times.landed > 0
    assert sorted(request["seed"] for request in server.requests) == [100, 100, 101, 101]
    assert {request["temperature"] for request in server.requests} == {0.7}
    assert {request["max_tokens"] for request in server.requests} == {500}


def test_the_same_seed_gives_the_same_document(make_world: Callable[..., InProcessWorld]) -> None:
    world = make_world(search={"latency": 0.01, "jitter": 1.0})
    first, again = (only(write(world, [saying(TEXT)])[0]).rollout for _ in range(2))
    assert first == again


def test_calls_start_while_the_server_writes(make_world: Callable[..., InProcessWorld]) -> None:
    world = make_world(search={"latency": 0.3})
    came, _ = write(world, [saying(CALL + "They hear well. " * 4, pace=0.015)])
    times = only(came).rollout.times
    assert times.written > 0.35
    assert times.landed - times.written < 0.25


def test_a_document_is_brought_while_others_are_written(world: InProcessWorld) -> None:
    async def then(source: EndpointSource, server: ChatServer, done: Done) -> None:
        moments: dict[str, float] = {}

        def note(order: Order, found: Written | NotWritten) -> None:
            moments[order.item.id] = time.perf_counter()
            done(order, found)

        await source.write([order(OWLS), order(BEES)], note)
        assert abs(moments["owls"] - moments["bees"]) > 0.2

    write(world, [saying(TEXT), saying(TEXT, pace=0.01)], then=then)


def test_a_model_that_sees_is_sent_the_pictures_of_the_task(world: InProcessWorld) -> None:
    owl = Picture(Image.new("RGB", (40, 30), "brown"), Provenance("input", caption="an owl"))
    item = Item(Task("Write about this owl.", (owl,), id="this owl"))
    edit = '<imgen>{"source": "edit", "description": "grey", "params": {"img_index": 0, "prompt": "grayscale"}}</imgen>'
    came, server = write(world, [saying(edit)], [order(item)], sees=True)
    assert server.requests[0]["messages"][1]["content"][0]["type"] == "image_url"
    assert only(came).rollout.document.pictures
    _, server = write(world, [saying(edit)], [order(item)])
    assert server.requests[0]["messages"][1]["content"] == "[picture 0: an owl]\nWrite about this owl."


def test_its_own_prompt(world: InProcessWorld) -> None:
    _, server = write(world, [saying(TEXT)], prompt="full")
    assert "Sources:" in server.requests[0]["messages"][0]["content"]


# ------------------------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    "bad",
    [
        failing(500),
        failing(503, "loading", {"retry-after": "0.1"}),
        failing(429, "slow down", {"retry-after": "0.1"}),
        raw(200, b"<html>Log in", {"content-type": "text/html"}),
        breaking_off(HALF),
        events(chunk("Owls"), {"error": {"message": "CUDA error"}}),
        saying("  \n"),
    ],
)
def test_a_document_is_begun_anew_where_a_try_fails(world: InProcessWorld, bad: Answer) -> None:
    came, server = write(world, [bad, saying(TEXT)])
    assert only(came).rollout.document.to_source() == TEXT
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]


def test_a_stream_that_breaks_in_the_middle_leaves_nothing_behind(make_world: Callable[..., InProcessWorld]) -> None:
    world = make_world(search={"latency": 0.2})
    came, _ = write(world, [breaking_off(TEXT + HALF), saying(TEXT)], prompt_price=10.0, completion_price=100.0)
    found = only(came)
    assert found.rollout == only(write(world, [saying(TEXT)])[0]).rollout
    tokens = len(pieces(TEXT + HALF)) + len(pieces(TEXT))
    assert (found.tokens, found.prompt_tokens, found.counted) == (tokens, 200, False)
    assert found.cost == pytest.approx((200 * 10 + tokens * 100) / 1_000_000)


@pytest.mark.parametrize(
    ("answer", "tries", "said"),
    [
        (failing(500, "out of memory"), 3, "out of memory"),
        (failing(429, "slow down", {"retry-after": "0.05"}), 3, "slow down"),
        (failing(400, "prompt too long"), 1, "prompt too long"),
        (raw(200, b"<html>Log in", {"content-type": "text/html"}), 3, "no events but text/html"),
        (breaking_off(HALF), 3, "broke off"),
        (silent_after(chunk("Owls")), 3, "no whole reply in 0.2 seconds"),
        (endless(b": still here\n\n"), 3, "no whole reply in 0.2 seconds"),
        (events(chunk("Owls"), chunk(finish="content_filter")), 1, "content filter"),
        (events(chunk(finish="stop"), "[DONE]"), 3, "wrote nothing"),
        (saying("", finish="length", thoughts=["hm"]), 1, "thoughts filled max_tokens=500"),
        (saying("<think>hm", finish="length"), 1, "thoughts filled max_tokens=500"),
    ],
)
def test_what_cannot_be_had_is_missing_and_never_empty(
    world: InProcessWorld, answer: Answer, tries: int, said: str
) -> None:
    came, server = write(world, [answer], timeout=0.2)
    assert said in reason(came)
    assert len(server.requests) == tries


def test_one_that_fails_leaves_the_others_alone(world: InProcessWorld) -> None:
    async def answer(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        bees = "bees" in request["messages"][1]["content"]
        await (failing(400, "no bees") if bees else saying(TEXT))(writer, request)

    came, _ = write(world, [answer], [order(BEES), order(OWLS)])
    assert isinstance(came["owls", 0], Written)
    assert came["bees", 0] == NotWritten("HTTP 400: 'no bees'", seconds=came["bees", 0].seconds)


def test_what_was_spent_in_vain_is_told(world: InProcessWorld) -> None:
    cut = events(chunk("Owls"), chunk(finish="content_filter"), usage(100, 5), "[DONE]")
    (found,) = write(world, [cut], prompt_price=10.0, completion_price=100.0)[0].values()
    assert isinstance(found, NotWritten)
    assert (found.tokens, found.prompt_tokens) == (5, 100)
    assert found.cost == pytest.approx(0.0015)


@pytest.mark.parametrize("answer", [failing(401, "bad key"), failing(404, "no such model")])
def test_where_nothing_can_be_written_it_says_so_at_once(world: InProcessWorld, answer: Answer) -> None:
    with pytest.raises(SourceError, match="openai:m: HTTP 40"):
        write(world, [answer], [order(sample=sample) for sample in range(40)], concurrency=2)


def test_nobody_there(world: InProcessWorld) -> None:
    with pytest.raises(SourceError, match="cannot be reached"):
        write(world, [], base_url="http://127.0.0.1:9/v1")


def test_a_server_that_goes_away_costs_the_documents_that_were_left(world: InProcessWorld) -> None:
    async def then(source: EndpointSource, server: ChatServer, done: Done) -> None:
        await source.write([order()], done)
        server._server.close()
        await server._server.wait_closed()
        await source.write([order(BEES)], done)

    came, _ = write(world, [saying(TEXT)], then=then)
    assert isinstance(came["owls", 0], Written)
    found = came["bees", 0]
    assert isinstance(found, NotWritten)
    assert "cannot be reached" in found.reason


class Gone:
    """A World that cannot be reached."""

    async def run(self, call: Call, pictures: Sequence[Picture] = (), *, seed: int = 0) -> Outcome:
        raise WorldError("gone")

    async def judge(self, document: Document, task: Task) -> Judgments:
        raise WorldError("gone")

    async def aclose(self) -> None:
        return None


def test_a_world_that_is_gone_ends_everything() -> None:
    with pytest.raises(WorldError, match="gone"):
        write(Gone(), [saying(TEXT), endless(event(chunk("more ")))], [order(OWLS), order(BEES)])


def test_whoever_is_told_may_fail(world: InProcessWorld) -> None:
    async def then(source: EndpointSource, server: ChatServer, done: Done) -> None:
        def fails(order: Order, found: Written | NotWritten) -> None:
            raise OSError("disk full")

        await source.write([order()], fails)

    with pytest.raises(OSError, match="disk full"):
        write(world, [saying(TEXT)], then=then)


# -------------------------------------------------------------------------------------------------------------------- limits


def test_limits_end_a_document_and_the_request(world: InProcessWorld) -> None:
    came, _ = write(world, [endless(event(chunk("Owls. ")))], writing=replace(WRITING, limits=Limits(characters=50)))
    found = only(came)
    assert found.rollout.stop is StopReason.CHARACTERS
    assert len(found.rollout.document.text) == 50
    assert (found.tokens, found.prompt_tokens, found.cost, found.counted) == (9, 0, None, False)


def test_a_reply_at_its_limit_of_tokens(world: InProcessWorld) -> None:
    rollout = only(write(world, [saying(HALF, finish="length")])[0]).rollout
    assert rollout.stop is StopReason.LENGTH
    (figure,) = rollout.document.figures
    assert figure.failure is not None
    assert figure.failure.kind == "malformed"


def test_a_server_that_counts_nothing(world: InProcessWorld) -> None:
    found = only(write(world, [saying(TEXT, told=False)], prompt_price=1.0, completion_price=1.0)[0])
    assert (found.tokens, found.prompt_tokens, found.counted) == (len(pieces(TEXT)), 0, False)
    assert found.cost is None


def test_no_more_are_written_at_a_time_than_was_said(world: InProcessWorld) -> None:
    async def then(source: EndpointSource, server: ChatServer, done: Done) -> None:
        both = ([order(item, sample) for sample in range(5)] for item in (OWLS, BEES))
        await asyncio.gather(*(source.write(orders, done) for orders in both))

    came, server = write(world, [saying(TEXT, pace=0.002)], concurrency=3, then=then)
    assert len(came) == 10
    assert server.most_at_once == 3


def test_it_can_be_cancelled(make_world: Callable[..., InProcessWorld]) -> None:
    async def then(source: EndpointSource, server: ChatServer, done: Done) -> None:
        writing = asyncio.create_task(source.write([order(OWLS), order(BEES)], done))
        while len(server.requests) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

    start = time.perf_counter()
    came, _ = write(make_world(search={"latency": 60.0}), [saying(TEXT), endless(event(chunk("x")))], then=then)
    assert came == {}
    assert time.perf_counter() - start < 10


def test_the_policy_cannot_be_shown_its_pictures(world: InProcessWorld) -> None:
    with pytest.raises(ConfigError, match="feedback=none"):
        write(world, [], writing=replace(WRITING, feedback="text"))


def test_the_identity_is_plain_and_moves_with_what_is_written(world: InProcessWorld) -> None:
    options = EndpointOptions.parse({"model": "m", "base_url": "http://writer/v1"})

    def identity(options: EndpointOptions = options, **changed: Any) -> Any:
        return EndpointSource("openai:m", options, world, replace(WRITING, **changed)).identity

    assert identity() == identity()
    assert identity()["policy"] == "openai:m"
    others = [
        identity(sampling=Sampling(1.0)),
        identity(max_tokens=3),
        identity(limits=Limits(calls=1)),
        identity(prompt="full"),
        identity(tools={}),
        identity(options.model_copy(update={"model": "other"})),
        identity(options.model_copy(update={"prompt": "full"})),
    ]
    assert all(other != identity() for other in others)

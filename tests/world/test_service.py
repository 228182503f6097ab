from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.errors import ConfigError, MissingExtra, WorldError
from llmi_env.task import Task
from llmi_env.testing import JUDGED_TERMS, SimulatedTool, simulated_config, simulated_world
from llmi_env.world import connect, wire
from llmi_env.world.config import WorldConfig
from llmi_env.world.deciding import digest_of
from llmi_env.world.http import HttpWorld
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Scored, TellingWorld, Unscored
from llmi_env.world.service import create_app
from llmi_env.world.service_limits import Keys
from tests.serving import served
from tests.world.asking import serving

OWL = Call("search", "an owl", {"query": "owl"})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(create_app(simulated_config())) as address:
        yield address


def test_a_client_sees_what_the_world_in_process_shows(url: str) -> None:
    async def both() -> None:
        here, there = simulated_world(), HttpWorld(url)
        assert isinstance(there, TellingWorld)
        owl = await here.run(OWL, seed=5)
        assert isinstance(owl, Picture)
        assert await there.run(OWL, seed=5) == owl
        blurred = Call("edit", "", {"img_index": 0, "prompt": "blur"})
        assert await there.run(blurred, [owl], seed=6) == await here.run(blurred, [owl], seed=6)
        document = Document((Text("Owls."), Figure("{}", OWL, owl)))
        task = Task("Write about owls", images=(owl,))
        assert await there.judge(document, task) == await here.judge(document, task)
        assert await there.terms() == JUDGED_TERMS
        (judge,) = await there.about_judges()
        assert (judge,) == await here.about_judges()
        assert judge.name == judge.identity == "llmi_env.testing:SimulatedJudge"
        assert judge.terms == JUDGED_TERMS
        await there.aclose()
        await there.aclose()
        assert await there.run(OWL, seed=5) == owl

    asyncio.run(both())


def test_health_says_what_is_served(url: str) -> None:
    health = asyncio.run(HttpWorld(url).health())
    assert health.tools == ["search", "diffusion", "code", "edit"]
    assert health.config == digest_of(asyncio.run(simulated_world(deadline=5.0).deciding()))
    assert health.config != digest_of(asyncio.run(simulated_world(max_side=32).deciding()))


def test_failures_travel_as_values(url: str) -> None:
    outcome = asyncio.run(HttpWorld(url).run(Call("serch", "", {})))
    assert isinstance(outcome, Failure)
    assert outcome.kind == "unknown_tool"


def test_large_documents_get_through(url: str) -> None:
    noise = Image.effect_noise((1024, 1024), 90).convert("RGB")
    figures = tuple(Figure("{}", OWL, Picture(noise, Provenance("test"))) for _ in range(8))
    judgments = asyncio.run(HttpWorld(url).judge(Document(figures), Task("owls")))
    assert all(isinstance(judgment, Scored) for judgment in judgments.values())


def test_a_client_serves_loop_after_loop(url: str) -> None:
    world = HttpWorld(url)
    assert [type(asyncio.run(world.run(OWL))) for _ in range(3)] == [Picture] * 3


def test_a_setup_that_cannot_work_is_told_to_the_client() -> None:
    class Broken(SimulatedTool):
        async def __call__(self, params: Any, context: Any) -> Picture:
            raise MissingExtra("drawing", "offline", "torch")

    app = create_app(world=InProcessWorld({"search": Broken()}))
    with served(app) as address, pytest.raises(MissingExtra, match=r"llmi-env\[offline\]"):
        asyncio.run(HttpWorld(address).run(OWL))


def test_a_client_that_hangs_up_cancels_its_call() -> None:
    begun, cancelled = threading.Event(), threading.Event()

    class Slow(SimulatedTool):
        async def __call__(self, params: Any, context: Any) -> Picture:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            raise AssertionError

    async def drop(address: str) -> None:
        task = asyncio.create_task(HttpWorld(address).run(OWL))
        assert await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with served(create_app(world=InProcessWorld({"search": Slow()}))) as address:
        asyncio.run(drop(address))
        assert cancelled.wait(60)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1", b'{"call": 3}', b"\xff\xfe"])
@pytest.mark.parametrize("path", ["/run", "/judge"])
def test_messages_that_cannot_be_read_are_answered(url: str, path: str, body: bytes) -> None:
    answer = httpx.post(url + path, content=body)
    assert answer.status_code == 422
    assert "cannot be read" in answer.json()["args"][0]


def test_a_picture_that_the_service_turns_away_is_a_failure_at_once(url: str) -> None:
    huge = Picture(Image.new("1", (5000, 5000)), Provenance("test"))
    start = time.monotonic()
    outcome = asyncio.run(HttpWorld(url).run(Call("edit", "", {"img_index": 0, "prompt": "blur"}), [huge]))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.fault) == ("unavailable", "world")
    assert "too large" in outcome.message
    assert time.monotonic() - start < 5


def test_a_defect_of_the_service_is_told_by_its_kind_alone() -> None:
    class Defective(InProcessWorld):
        async def run(self, *args: Any, **options: Any) -> Any:
            raise KeyError("an inner secret")

    body = wire.RunRequest(call=wire.CallMessage.of(OWL), pictures=[], seed=1).encode()
    with served(create_app(world=Defective())) as address:
        answer = httpx.post(address + "/run", content=body)
        figures = httpx.get(address + "/metrics").text
    assert answer.status_code == 500
    assert answer.json() == {
        "error": "WorldError",
        "args": ["a defect of the service, told in its log (KeyError)"],
    }
    assert 'llmi_requests_total{route="/run",status="500"} 1.0' in figures


def test_nobody_there_at_the_start_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(WorldError, match="llmi serve"):
        asyncio.run(HttpWorld("http://127.0.0.1:9", attempts=2).run(OWL))
    with pytest.raises(WorldError, match="llmi serve"):
        asyncio.run(HttpWorld(uds="/nowhere/x.sock", attempts=2).judge(Document(), Task("owls")))


def test_a_token_is_asked_for_and_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(create_app(simulated_config(), keys=Keys(["sesame"]))) as address:
        for wrong in (None, "sesam"):
            monkeypatch.delenv("LLMI_TOKEN", raising=False)
            if wrong:
                monkeypatch.setenv("LLMI_TOKEN", wrong)
            with pytest.raises(WorldError, match="Set LLMI_TOKEN to the token of that World"):
                asyncio.run(HttpWorld(address).run(OWL))
        monkeypatch.setenv("LLMI_TOKEN", "sesame")
        assert isinstance(asyncio.run(HttpWorld(address).run(OWL)), Picture)


def test_something_else_at_the_address_is_an_error() -> None:
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "fine"}

    with served(app) as address, pytest.raises(WorldError, match="not a World"):
        asyncio.run(HttpWorld(address).run(OWL))


def test_lost_later_it_is_a_failure_and_unscored() -> None:
    async def meet(world: HttpWorld) -> None:
        await world.run(OWL)
        await world.terms()

    with served(create_app(simulated_config())) as address:
        world = HttpWorld(address, attempts=2)
        asyncio.run(meet(world))
    world.patience = 0.5

    async def afterwards() -> tuple[Any, Any]:
        return await world.run(OWL), await world.judge(Document(), Task("owls"))

    outcome, judgments = asyncio.run(afterwards())
    assert (outcome.kind, outcome.fault) == ("unavailable", "world")
    assert {type(judgment) for judgment in judgments.values()} == {Unscored}
    assert tuple(judgments) == JUDGED_TERMS


def test_a_service_that_starts_again_loses_no_call(runtime: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = HttpWorld(f"unix:{runtime}/world", attempts=1)
    with serving(create_app(simulated_config()), path=runtime / "world"):
        assert isinstance(asyncio.run(world.run(OWL)), Picture)

    async def meanwhile() -> list[Any]:
        asked = [
            asyncio.ensure_future(world.run(OWL, seed=1)),
            asyncio.ensure_future(world.judge(Document(), Task("owls"))),
        ]
        await asyncio.sleep(1.0)
        assert not any(future.done() for future in asked)
        with serving(create_app(simulated_config()), path=runtime / "world"):
            answers = await asyncio.gather(*asked)
            await world.aclose()
        return list(answers)

    outcome, judgments = asyncio.run(meanwhile())
    assert isinstance(outcome, Picture), outcome
    assert all(isinstance(judgment, Scored) for judgment in judgments.values())
    assert [record.levelname for record in caplog.records if "nobody listens at" in record.getMessage()] == ["WARNING"]


def test_a_service_that_lacks_a_tool_is_told_before_the_first_call() -> None:
    few = simulated_config(tools={"search": {}, "code": {}})
    said = (
        r"has no diffusion, edit: its tools are search, code, and the policy is offered search, diffusion, code, edit\."
    )
    with served(create_app(few)) as address:
        for work in (
            lambda world: world.run(OWL),
            lambda world: world.judge(Document(), Task("owls")),
            lambda w: w.terms(),
        ):
            with pytest.raises(ConfigError, match=said):
                asyncio.run(work(connect(address, simulated_config())))
        assert asyncio.run(HttpWorld(address).health()).requests == 0
        assert isinstance(asyncio.run(connect(address, simulated_config(tools={"search": {}})).run(OWL)), Picture)


def test_a_passing_outage_is_tried_again() -> None:
    refused: list[int] = []
    app = create_app(simulated_config())

    @app.middleware("http")
    async def flaky(request: Any, go_on: Any) -> Any:
        if request.url.path == "/run" and len(refused) < 2:
            refused.append(1)
            return Response("busy", 503)
        return await go_on(request)

    with served(app) as address:
        assert isinstance(asyncio.run(HttpWorld(address).run(OWL)), Picture)
    assert len(refused) == 2


def test_patience_ends_in_a_timeout() -> None:
    with served(create_app(simulated_config(tools={"search": {"latency": 30}}))) as address:

        async def hurried() -> Any:
            world = HttpWorld(address, patience=5)
            await world.health()
            world.patience = 0.2
            await world.aclose()
            return await world.run(OWL)

        outcome = asyncio.run(hurried())
    assert (outcome.kind, outcome.fault) == ("timeout", "world")


def test_a_unix_socket_does_as_well(tmp_path: Path) -> None:
    assert HttpWorld(f"unix:{tmp_path}/s").uds == f"{tmp_path}/s"
    assert HttpWorld(f"unix://{tmp_path}/s").uds == f"{tmp_path}/s"


def test_judges_that_cannot_be_made_are_told() -> None:
    config = WorldConfig(tools={}, judges=[{"use": "llmi_env.testing:SimulatedJudge", "no_such": 1}])
    with served(create_app(config)) as address, pytest.raises(ValueError, match="no_such"):
        asyncio.run(HttpWorld(address).judge(Document(), Task("owls")))


def test_documents_that_wait_for_a_judge_hold_up_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmi_env.world.http._CONNECTIONS", {"/judge": 2})
    monkeypatch.setattr("llmi_env.world.http._CONNECTIONS_OTHERWISE", 2)
    busy = simulated_world(tools={"search": {}}, judge={"latency": 1000.0, "concurrency": 1})

    async def call_beside_judgments(address: str) -> tuple[int, object]:
        world = HttpWorld(address)
        judging = [asyncio.create_task(world.judge(Document((Text(str(n)),)), Task("owls"))) for n in range(8)]
        await asyncio.sleep(0.1)
        outcome = await world.run(OWL)
        pending = sum(not task.done() for task in judging)
        for task in judging:
            task.cancel()
        await asyncio.gather(*judging, return_exceptions=True)
        await world.aclose()
        return pending, outcome

    with served(create_app(world=busy)) as address:
        pending, outcome = asyncio.run(asyncio.wait_for(call_beside_judgments(address), 30))
    assert pending == 8
    assert isinstance(outcome, Picture)

"""The judges of a World in this process: what one of them cannot do, how many documents they take, and the loading of their models."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from llmi_env.document import Document, Text
from llmi_env.errors import ConfigError, MissingExtra, WorldError
from llmi_env.task import Task
from llmi_env.testing import JUDGED_TERMS, SimulatedJudge, simulated_world
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments, Scored, Unscored

DOCUMENT, TASK = Document((Text("An owl."),)), Task("Write about owls")


def test_judges_are_merged_and_an_exception_leaves_only_its_terms_unscored() -> None:
    judges = [
        SimulatedJudge(["text_quality"], score=4),
        SimulatedJudge(["image_quality"], failure_rate=1, raises=True),
        SimulatedJudge(["call_quality"], latency=30),
    ]
    world = InProcessWorld(judges=judges, config=WorldConfig(tools={}, judges=[], judge_deadline=0.1))
    judgments = asyncio.run(world.judge(DOCUMENT, TASK))
    assert judgments["text_quality"] == Scored(4, "simulated")
    assert isinstance(judgments["image_quality"], Unscored)
    assert "outage" in judgments["image_quality"].reason
    assert isinstance(judgments["call_quality"], Unscored)


def test_the_first_judge_with_a_score_gives_it() -> None:
    judges = [
        SimulatedJudge(["text_quality"], failure_rate=1),
        SimulatedJudge(["text_quality"], score=3),
        SimulatedJudge(["text_quality"], score=5),
    ]
    judgments = asyncio.run(InProcessWorld(judges=judges).judge(DOCUMENT, TASK))
    assert judgments["text_quality"] == Scored(3, "simulated")


def test_terms_are_known_before_anything_is_judged() -> None:
    assert asyncio.run(simulated_world().terms()) == JUDGED_TERMS


class Judging:
    """A judge that says how many documents it takes at once, and counts how many there were."""

    terms = ("quality",)

    def __init__(self, concurrency: int | None = None, error: Exception | None = None) -> None:
        self.concurrency, self.error = concurrency, error
        self.running = self.most = 0

    async def __call__(self, document: Document, task: Task) -> dict[str, Scored]:
        if self.error is not None:
            raise self.error
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        return {"quality": Scored(3)}

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(("own", "most"), [(None, 2), (5, 5)])
def test_a_judge_may_say_how_many_documents_it_takes_at_once(own: int | None, most: int) -> None:
    judge = Judging(own)

    async def many() -> None:
        world = InProcessWorld(judges=[judge], config=WorldConfig(tools={}, judges=[], judge_concurrency=2))
        await asyncio.gather(*(world.judge(Document((Text(f"{at}"),)), Task("q")) for at in range(10)))

    asyncio.run(many())
    assert judge.most == most


def test_a_judge_loads_its_models_once_and_not_within_its_deadline() -> None:
    class SlowToLoad(Judging):
        loads = 0

        def prepare(self) -> None:
            self.loads += 1
            time.sleep(0.4)

    judge = SlowToLoad()

    async def many() -> list[Any]:
        world = InProcessWorld(judges=[judge], config=WorldConfig(tools={}, judges=[], judge_deadline=0.3))
        return await asyncio.gather(*(world.judge(Document((Text(f"{at}"),)), Task("q")) for at in range(3)))

    assert [judged["quality"].score for judged in asyncio.run(many())] == [3, 3, 3]
    assert judge.loads == 1


class Loading(Judging):
    """A judge whose models take as long as it is told, or until they are let go."""

    def __init__(self, *does: Any) -> None:
        super().__init__()
        self.does, self.loads = list(does), 0
        self.go = threading.Event()

    def prepare(self) -> None:
        self.loads += 1
        does = self.does.pop(0) if self.does else None
        if isinstance(does, BaseException):
            raise does
        if does == "hang":
            self.go.wait(60)


def test_models_that_are_never_loaded_leave_documents_unscored_and_hold_up_nobody() -> None:
    judge, other = Loading("hang"), SimulatedJudge(["wit"], score=4)
    config = WorldConfig(tools={}, judges=[], judge_prepare_deadline=0.3)

    async def three() -> tuple[list[Any], float, Any]:
        world = InProcessWorld(judges=[judge, other], config=config)
        first = await asyncio.gather(*(world.judge(Document((Text(f"{at}"),)), Task("q")) for at in range(2)))
        start = time.monotonic()
        first.append(await world.judge(Document((Text("later"),)), Task("q")))
        waited = time.monotonic() - start
        judge.go.set()
        await asyncio.sleep(0.1)
        return first, waited, await world.judge(Document((Text("at last"),)), Task("q"))

    early, waited, late = asyncio.run(three())
    for judged in early:
        assert judged["quality"] == Unscored("the judge has not loaded its models within 0.3 seconds")
        assert judged["wit"].score == 4
    assert waited < 0.2  # the wait is counted from the beginning of the loading
    assert judge.loads == 1
    assert late["quality"].score == 3


def test_models_that_failed_to_load_are_loaded_again() -> None:
    judge = Loading(OSError("disk full"), SystemExit(3))

    async def three() -> list[Any]:
        world = InProcessWorld(judges=[judge])
        return [await world.judge(Document((Text(f"{at}"),)), Task("q")) for at in range(3)]

    first, second, third = (judged["quality"] for judged in asyncio.run(three()))
    assert first == Unscored("OSError: disk full")
    assert "wanted to end the process" in second.reason
    assert third.score == 3
    for error in (ConfigError("no such model"), MissingExtra("a judge", "judges")):
        with pytest.raises(type(error)):
            asyncio.run(InProcessWorld(judges=[Loading(error)]).judge(Document((Text("x"),)), Task("q")))


class NeverMade(Judging):
    def __init__(self) -> None:
        time.sleep(5)
        super().__init__()


def test_a_judge_that_is_never_made_is_an_error() -> None:
    use = f"{__name__}:NeverMade"
    world = InProcessWorld.from_config(WorldConfig(tools={}, judges=[use], judge_prepare_deadline=0.2))
    start = time.monotonic()
    with pytest.raises(WorldError, match=r"NeverMade' was not made within 0\.2 seconds"):
        asyncio.run(world.judge(DOCUMENT, TASK))
    assert time.monotonic() - start < 3


def test_a_judge_that_is_set_up_wrongly_is_an_error() -> None:
    for error in (ConfigError("no key"), MissingExtra("a judge", "judges")):
        world = InProcessWorld(judges=[Judging(error=error)])
        with pytest.raises(type(error)):
            asyncio.run(world.judge(Document((Text("x"),)), Task("q")))


def test_a_judge_says_how_many_documents_it_takes(caplog: pytest.LogCaptureFixture) -> None:
    class Counting(SimulatedJudge):
        at_work = most = 0

        async def __call__(self, document: Document, task: Task) -> Judgments:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            try:
                return await super().__call__(document, task)
            finally:
                self.at_work -= 1

    async def judge_many(*judges: SimulatedJudge) -> None:
        world = InProcessWorld(judges=judges)
        await asyncio.gather(*(world.judge(Document((Text(str(n)),)), TASK) for n in range(40)))

    remote, silent = Counting(latency=0.005, concurrency=32), Counting(latency=0.005)
    with caplog.at_level("INFO"):
        asyncio.run(judge_many(remote, silent))
    assert (remote.most, silent.most) == (32, 2)
    told = [record.message for record in caplog.records if "further ones wait" in record.message]
    assert len(told) == 1
    assert "takes 2 documents" in told[0]

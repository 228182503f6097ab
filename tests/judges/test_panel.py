from __future__ import annotations

import asyncio
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from llmi_env.document import Document, Text
from llmi_env.errors import ConfigError
from llmi_env.judges.panel import PanelJudge
from llmi_env.task import Task
from llmi_env.testing import SimulatedJudge
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments, Scored, Unscored

TASK = Task("Say when owls hunt.")
DOCUMENT = Document((Text("At night."),))


class Member:
    """Gives one score, or fails as told."""

    def __init__(
        self, score: Any = 3.0, name: str = "", terms: tuple[str, ...] = ("quality",), latency: float = 0
    ) -> None:
        self.score, self.name, self.terms, self.latency = score, name, terms, latency
        self.fingerprint = name
        self.asked = 0
        self.closed = False

    async def __call__(self, document: Document, task: Task) -> Judgments:
        self.asked += 1
        await asyncio.sleep(self.latency)
        if isinstance(self.score, Exception):
            raise self.score
        given = self.score if isinstance(self.score, Unscored) else Scored(self.score, "so", self.name)
        return dict.fromkeys(self.terms, given)

    async def aclose(self) -> None:
        self.closed = True


def quality(*members: Any, **options: Any) -> Any:
    return asyncio.run(PanelJudge(members, **options)(DOCUMENT, TASK))["quality"]


@pytest.mark.parametrize(("combine", "score"), [("mean", 3.0), ("median", 2.0)])
def test_votes_are_combined_and_kept(combine: str, score: float) -> None:
    found = quality(Member(2, "a"), Member(5, "b"), Member(2, "c"), combine=combine)
    assert (found.score, found.votes) == (score, (2, 5, 2))
    assert found.judge == f"{combine}(a, b, c)"
    assert "3 of 3 judges, 3 apart" in found.rationale
    assert "b: 5 so" in found.rationale


@pytest.mark.parametrize(
    "failing", [Unscored("down"), RuntimeError("down"), 7], ids=["unscored", "raises", "beyond the scale"]
)
def test_one_that_fails_does_not_count_as_a_low_score(failing: Any) -> None:
    found = quality(Member(4, "a"), Member(failing), Member(5, "c"))
    assert (found.score, found.votes, found.judge) == (4.5, (4, 5), "mean(a, c)")


def test_a_quorum_is_needed() -> None:
    down = Unscored("down")
    found = quality(Member(4), Member(down), Member(down))
    assert found == Unscored("1 of 3 judges have a score, 2 are needed: down; down")
    assert quality(Member(4), Member(down), Member(down), quorum=1).score == 4
    assert isinstance(quality(Member(4), Member(down), quorum=2), Unscored)


def test_one_that_hangs_does_not_hold_up_the_others() -> None:
    found = quality(Member(4), Member(1, latency=60), Member(5), deadline=0.1)
    assert found.votes == (4, 5)


def test_a_term_is_voted_on_by_those_that_know_it() -> None:
    panel = PanelJudge([Member(2, terms=("quality", "spelling")), Member(4)])
    assert panel.terms == ("quality", "spelling")
    found = asyncio.run(panel(DOCUMENT, TASK))
    assert {term: judgment.score for term, judgment in found.items() if isinstance(judgment, Scored)} == {
        "quality": 3,
        "spelling": 2,
    }


def test_in_a_configuration() -> None:
    simulated = {"use": "llmi_env.testing:SimulatedJudge", "terms": ["quality"]}
    members = [{**simulated, "score": 2.0}, {**simulated, "score": 3.0}]
    config = WorldConfig(tools={}, judges=[{"use": "panel", "judges": members, "combine": "median"}])
    found = asyncio.run(InProcessWorld.from_config(config).judge(DOCUMENT, TASK))
    said = "2 of 2 judges, 1 apart\na judge: 2 simulated\na judge: 3 simulated"
    assert found["quality"] == Scored(2.5, said, "median(?, ?)", (2, 3))


def test_scores_of_members_are_kept_each_by_itself(tmp_path: Path) -> None:
    down = Member(Unscored("down"), "b")
    up = [Member(4, "a"), Member(2, "c")]

    def ask() -> Any:
        config = WorldConfig(tools={}, judges=[], judge_cache=str(tmp_path / "scores.sqlite"))
        panel = PanelJudge([up[0], down, up[1]])
        return asyncio.run(InProcessWorld(judges=[panel], config=config).judge(DOCUMENT, TASK))["quality"]

    assert ask().votes == (4, 2)
    down.score = 3.0
    assert ask().votes == (4, 3, 2)
    assert [member.asked for member in (up[0], down, up[1])] == [1, 2, 1]


def test_it_pickles_and_closes_its_members() -> None:
    panel = PanelJudge([SimulatedJudge(), SimulatedJudge(seed=1)])
    first = asyncio.run(panel(DOCUMENT, TASK))
    assert asyncio.run(pickle.loads(pickle.dumps(panel))(DOCUMENT, TASK)) == first
    members = [Member(), Member()]
    asyncio.run(PanelJudge(members).aclose())
    assert all(member.closed for member in members)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"judges": []}, "at least one judge", id="none"),
        pytest.param({"judges": "embedded"}, "at least one judge", id="text"),
        pytest.param({"judges": ["embeded"]}, "did you mean 'embedded'", id="unknown"),
        pytest.param({"judges": [{"model": "m"}]}, "needs `use`", id="no use"),
        pytest.param({"judges": [object()]}, "object is not a judge", id="no judge"),
        pytest.param(
            {"judges": [{"use": "openai", "model": "m", "sample": 2}]},
            "did you mean 'samples'",
            id="bad option of a member",
        ),
        pytest.param({"judges": [Member(1, "a"), Member(2, "a")]}, "the same judge twice", id="twice"),
        pytest.param({"judges": [Member()], "combine": "maximum"}, "no way to combine 'maximum'", id="combine"),
        pytest.param({"judges": [Member(), Member()], "quorum": 3}, r"lies in 1\.\.2", id="quorum"),
        pytest.param({"judges": [Member()], "deadline": 0}, "`deadline` .* above 0", id="deadline"),
        pytest.param(
            {"judges": [Member()], "prepare_deadline": 0}, "`prepare_deadline` .* above 0", id="prepare deadline"
        ),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PanelJudge(**options)


class Unruly:
    """Misbehaves in a way that ends processes or waits for ever."""

    terms = ("text_quality",)

    def __init__(self, how: str) -> None:
        self.how = how
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    async def __call__(self, document: Document, task: Task) -> dict[str, Scored]:
        if self.how == "exits":
            raise SystemExit(3)
        if self.how == "cancels":
            raise asyncio.CancelledError
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if self.how == "gives in":
                    raise

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("how", ["exits", "cancels", "gives in"])
def test_an_unruly_member_costs_its_own_vote_only(how: str) -> None:
    good = [SimulatedJudge(["text_quality"], score=score) for score in (3.0, 4.0)]
    panel = PanelJudge([*good, Unruly(how)], deadline=0.2)
    judged = asyncio.run(panel(Document((Text("Owls."),)), Task("q")))["text_quality"]
    assert isinstance(judged, Scored)
    assert judged.votes == (3.0, 4.0)


def test_members_load_their_models_beforehand() -> None:
    member = Unruly("exits")
    PanelJudge([member, SimulatedJudge(["text_quality"])]).prepare()
    assert member.prepared == 1


class Heavy(Member):
    """Loads for a while, for ever or in vain."""

    def __init__(self, score: float, does: str = "") -> None:
        super().__init__(score, f"heavy {score}")
        self.does = does

    def prepare(self) -> None:
        if self.does == "hangs":
            time.sleep(5)
        if self.does == "fails":
            raise OSError("no weights")


def test_a_member_whose_models_are_not_there_has_no_vote() -> None:
    panel = PanelJudge([Heavy(2), Heavy(3), Heavy(5, "hangs"), Heavy(1, "fails")], quorum=2, prepare_deadline=0.3)
    config = WorldConfig(tools={}, judges=[], judge_prepare_deadline=3, judge_cache=None)

    async def judged() -> Any:
        return (await InProcessWorld(judges=[panel], config=config).judge(DOCUMENT, TASK))["quality"]

    start = time.monotonic()
    assert asyncio.run(judged()).votes == (2, 3)
    assert time.monotonic() - start < 2
    strict = PanelJudge([Heavy(2), Heavy(5, "hangs")], quorum=2, prepare_deadline=0.1)
    found = asyncio.run(strict(DOCUMENT, TASK))["quality"]
    assert isinstance(found, Unscored)
    assert "Heavy: the judge has not loaded its models within 0.1 seconds" in found.reason

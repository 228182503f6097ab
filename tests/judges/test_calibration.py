"""Calibration counts what a judge says of pairs: known judges have known accuracies."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping

import pytest

from llmi_env.document import Document, Text
from llmi_env.errors import ConfigError
from llmi_env.judges.calibration import Calibrating, Share, wilson
from llmi_env.judges.calibration_pairs import Pair
from llmi_env.judges.calibration_table import to_markdown
from llmi_env.judges.corruptions import CORRUPTIONS
from llmi_env.task import Task
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgment, Judgments, Scored, Unscored

LEAD_IN, VAGUE = (next(c for c in CORRUPTIONS if c.name == name) for name in ("lead-in", "vague calls"))
TERMS = ("text_quality", "call_quality")


def pairs(count: int) -> list[Pair]:
    """Alternately of two corruptions; the worse document says so."""
    return [
        Pair(
            (LEAD_IN, VAGUE)[number % 2],
            Task("Write.", id=str(number)),
            Document((Text(f"good {number}"),)),
            Document((Text(f"bad {number}"),)),
        )
        for number in range(count)
    ]


class FakeJudge:
    """Scores by a function of the document's text."""

    def __init__(self, score: Callable[[str, str], Judgment], terms: tuple[str, ...] = TERMS) -> None:
        self.terms = terms
        self.asked: list[str] = []
        self._score = score

    async def __call__(self, document: Document, task: Task) -> Judgments:
        self.asked.append(document.text)
        return {term: self._score(document.text, term) for term in self.terms}

    async def aclose(self) -> None:
        pass


def calibrating(judge: FakeJudge, count: int) -> Calibrating:
    world = InProcessWorld(WorldConfig(tools={}, judges=[]), judges=[judge])
    return Calibrating("fake", world, judge.terms, pairs(count))


def by_chance(text: str, term: str) -> Judgment:
    return Scored(1 + int(hashlib.sha256(f"{text}{term}".encode()).hexdigest(), 16) % 401 / 100)


def test_a_judge_that_knows_is_always_right() -> None:
    found = asyncio.run(calibrating(FakeJudge(lambda text, _: Scored(5 if "good" in text else 1)), 40).run())
    assert found.total == Share(higher=40, ties=0, lower=0, unscored=0)
    assert found.total.accuracy == 1.0
    assert found.by_term["text_quality"] == Share(20, 0, 0, 0)
    assert set(found.by_corruption) == {"lead-in", "vague calls"}
    assert set(found.by_corruption["lead-in"]) == {"total", "text_quality"}
    assert found.total.verdict == "told apart"


def test_a_judge_that_guesses_is_near_chance_and_one_that_errs_is_inverted() -> None:
    guessed = asyncio.run(calibrating(FakeJudge(by_chance), 400).run()).total
    assert guessed.accuracy == pytest.approx(0.5, abs=0.07)
    assert guessed.verdict == "near chance"
    inverted = asyncio.run(calibrating(FakeJudge(lambda text, _: Scored(1 if "good" in text else 5)), 40).run()).total
    assert (inverted.accuracy, inverted.verdict) == (0.0, "inverted")


def test_equal_scores_are_half_right() -> None:
    found = asyncio.run(calibrating(FakeJudge(lambda *_: Scored(3)), 10).run())
    assert found.total == Share(0, 10, 0, 0)
    assert found.total.accuracy == 0.5


def test_what_is_unscored_is_left_out_and_counted_with_its_reason() -> None:
    def score(text: str, term: str) -> Judgment:
        if term == "call_quality" and text == "bad 3":
            return Unscored("the judge was out")
        return Scored(5 if "good" in text else 1)

    found = asyncio.run(calibrating(FakeJudge(score), 8).run())
    assert found.by_term["call_quality"] == Share(3, 0, 0, 1)
    assert found.by_term["text_quality"] == Share(4, 0, 0, 0)
    assert found.total == Share(7, 0, 0, 1)  # the mean needs every term
    assert found.reasons == {"the judge was out": 1}


def test_the_total_weighs_terms_as_the_reward_does() -> None:
    def score(text: str, term: str) -> Judgment:  # right about the text, wrong by less about the calls
        good = "good" in text
        return Scored((4 if good else 2) if term == "text_quality" else (2 if good else 3))

    found = asyncio.run(calibrating(FakeJudge(score), 4).run())
    assert sum(found.weights.values()) == pytest.approx(1)
    assert found.by_term["call_quality"].accuracy == 0.0
    assert found.total.accuracy == 1.0


def test_a_judge_is_shown_only_what_concerns_its_terms_and_each_document_once() -> None:
    judge = FakeJudge(lambda *_: Scored(3), terms=("call_quality",))
    one = calibrating(judge, 10)
    assert asyncio.run(one.run()).pairs == (5, 5)
    assert sorted(judge.asked) == sorted({*judge.asked})
    assert len(judge.asked) == 10
    with pytest.raises(ConfigError, match="the judge scores novelty"):
        calibrating(FakeJudge(lambda *_: Scored(3), terms=("novelty",)), 4)


def test_what_is_judged_by_then_can_be_counted_after_an_interrupt() -> None:
    one = calibrating(FakeJudge(lambda text, _: Scored(5 if "good" in text else 1)), 10)

    def stop(done: int, _: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(one.run(stop))
    partial = one.result()
    assert 3 <= partial.pairs[0] <= 5
    assert partial.total.accuracy == 1.0
    assert asyncio.run(one.run()).pairs == (10, 10)  # and gone on with


def test_a_result_is_plain_data_and_a_table_that_names_what_is_near_chance() -> None:
    found = asyncio.run(
        calibrating(FakeJudge(lambda text, t: Scored(5 if "good" in text and t == "text_quality" else 1)), 40).run()
    )
    data: Mapping[str, object] = json.loads(json.dumps(found.to_json()))
    assert data["pairs"] == [40, 40]
    text = "\n".join(to_markdown(found))
    assert "| lead-in | text_quality | 20 | 100.0% |" in text
    assert "Near chance or inverted: vague calls (call_quality)." in text


def test_the_interval_is_wilsons() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(1.0, 20)[1] == 1.0
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)

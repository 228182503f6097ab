"""What decides between documents: rewards, judges, pairs; and what happens where they fail."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmi_env.document import Document, Text
from llmi_env.episode import StopReason
from llmi_env.judges.openai_judge import OpenAIJudge
from llmi_env.ledger import Ledger
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.preset import Preset
from llmi_env.rewards.report import RewardReport, TermReport
from llmi_env.rollout import NOT_SCORED, Rollout
from llmi_env.scaling import AskedPairs, Budget, Candidate, Plan, Spent, Terms, pairs_for
from llmi_env.scaling.pairs import by_terms, tournament
from llmi_env.task import Task
from llmi_env.world.config import WorldConfig
from llmi_env.world.protocol import Unscored
from tests.judges.chat_server import Answer, ChatServer, failing, scoring, text_of
from tests.scaling.kit import WordJudge, call, scaled, texts, world

OWL = call("search", "owl")


def test_by_judges_alone_rules_do_not_count() -> None:
    script = texts(f"good good good {OWL}{call('search', 'nothing')}", f"good {OWL}")
    place = world(WordJudge({"owl 0": 4.0}))
    found = scaled(script, place, stages="2,select=judge", reward=_reward())
    assert found.number == 0
    assert found.value == pytest.approx((3 / 4 + 3 / 4) / 2)
    by_reward = scaled(script, world(WordJudge({"owl 0": 4.0})), stages="2,select", reward=_reward())
    assert by_reward.number == 1


def _reward() -> HybridReward:
    terms = {"text_quality": {"weight": 0.1}, "text_image_relevance": {"weight": 0.1}, "call_success": {"weight": 0.8}}
    return HybridReward(Preset.parse({"name": "kit", "version": 1, "terms": terms}, "kit"))


def report(**values: float | None) -> RewardReport:
    return RewardReport(None, {name: TermReport(0.5, value, value) for name, value in values.items()})


def test_terms_decide_a_pair_by_their_weight() -> None:
    assert by_terms(report(a=1.0, b=0.2), report(a=0.5, b=0.2)) == 0.75
    assert by_terms(report(a=1.0, b=0.2), report(a=1.0, b=0.2)) == 0.5
    assert by_terms(report(a=0.1, b=None), report(a=0.9, b=0.9)) == 0.0, "what has no score on one side counts for none"
    assert isinstance(by_terms(report(a=None), report(a=1.0)), Unscored)


def test_a_tournament_by_terms_stands_missing_scores() -> None:
    class Half(WordJudge):
        """Never scores pictures."""

        async def __call__(self, document, task):  # type: ignore[no-untyped-def]
            return {**await super().__call__(document, task), "text_image_relevance": Unscored("no eyes")}

    found = scaled(texts("Owls.", "good good owls.", "good owls."), world(Half()), stages="3,select=tournament")
    assert found.number == 1
    assert found.value is None


@given(strengths=st.lists(st.integers(0, 9), min_size=1, max_size=9, unique=True), everyone=st.booleans())
def test_the_strongest_wins_every_tournament(strengths: list[int], everyone: bool) -> None:
    played: list[tuple[int, int]] = []

    async def play(games: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], float]:
        played.extend(games)
        return {game: float(strengths[game[0]] > strengths[game[1]]) for game in games}

    winner = asyncio.run(tournament(range(len(strengths)), play, everyone))
    count = len(strengths)
    assert strengths[winner] == max(strengths)
    assert len(played) == (count * (count - 1) // 2 if everyone else count - 1)


def test_ties_and_games_not_played_go_to_the_earlier_one() -> None:
    async def none(games: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], float]:
        return {}

    for everyone in (True, False):
        assert asyncio.run(tournament([4, 2, 7], none, everyone)) == 4


class Pairs:
    """Prefers the longer text; counts its pairs."""

    calls = 2
    reads_reports = False

    def __init__(self, fails: bool = False) -> None:
        self.asked: list[tuple[int, int]] = []
        self._fails = fails

    async def __call__(self, first: Candidate, second: Candidate, task: Task) -> float | Unscored:
        self.asked.append((first.number, second.number))
        if self._fails:
            return Unscored("down")
        return float(len(first.document.text) > len(second.document.text))


def test_few_documents_meet_all_others_and_many_are_knocked_out() -> None:
    few, many = Pairs(), Pairs()
    script = texts(*(f"Owls{'!' * n}" for n in (1, 5, 2, 3, 4, 6)))
    assert scaled(script, stages="4,select=tournament", pairs=few).number == 1
    assert len(few.asked) == 6
    judge = WordJudge()
    found = scaled(
        texts(*(f"Owls{'!' * n}" for n in (1, 5, 2, 3, 4, 6))), world(judge), stages="6,select=tournament", pairs=many
    )
    assert found.number == 5
    assert len(many.asked) == 5
    assert found.spent.judge_calls == 2 * 5 + 1, "and the chosen one is judged for its report"
    assert len(judge.asked) == 1


def test_a_tournament_is_bounded_by_the_budget() -> None:
    pairs = Pairs()
    script = texts("Owls!", "Owls!!", "Owls!!!", "Owls!!!!")
    found = scaled(script, stages="4,select=tournament", pairs=pairs, budget=Budget(judge_calls=5))
    assert found.spent.judge_calls <= 5
    assert len(pairs.asked) == 2
    assert found.stopped == "select: the judge calls are spent (4 of 5)"


def test_pairs_that_cannot_be_compared_are_told() -> None:
    found = scaled(texts("Owls!", "Owls!!"), stages="2,select=tournament", pairs=Pairs(fails=True))
    assert found.number == 0
    assert found.reasons == ("documents 0 and 1 could not be compared: down",)


def test_pairs_decide_later_stages_too() -> None:
    pairs = Pairs()
    found = scaled(texts(f"Owls. {OWL}", "Owls! and owls! <imgen>"), stages="1,polish=1,select=tournament", pairs=pairs)
    assert found.chosen.stage == "polish"
    assert found.chosen.verdict == "better: preferred by 100%"


def test_the_judge_of_a_configuration_compares_pairs_where_it_sees_pictures() -> None:
    pytest.importorskip("openai")
    text = {"use": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
    seeing = {**text, "terms": ["text_image_relevance"]}
    assert isinstance(pairs_for(WorldConfig(tools={}, judges=["embedded", text])), Terms)
    assert isinstance(pairs_for(WorldConfig(tools={}, judges=["embedded", seeing])), AskedPairs)


def asked_pair(say: Answer, first: str, second: str) -> tuple[float | Unscored, list[dict[str, Any]]]:
    async def run() -> tuple[float | Unscored, list[dict[str, Any]]]:
        async with ChatServer(say) as server:
            pairs = AskedPairs(OpenAIJudge(model="m", base_url=server.base_url, retries=0))
            one, other = (scaled_candidate(text) for text in (first, second))
            try:
                return await pairs(one, other, Task("Write about owls.")), server.requests
            finally:
                await pairs.aclose()

    return asyncio.run(run())


def scaled_candidate(text: str) -> Candidate:
    rollout = Rollout(Task("Owls."), 0, 0, Ledger(), Document((Text(text),)), StopReason.END, NOT_SCORED)
    return Candidate(0, "sample", rollout, Spent())


async def honest(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
    """Prefers the side that says "good"."""
    said = text_of(request)
    mark = re.findall(r"=== ([0-9a-f]{16}) ===", said)[-1]
    below = said.split(f"=== {mark} ===")[1]
    await scoring(below_is_better=2 if "good" in below else 0)(writer, request)


@pytest.mark.parametrize(("first", "second", "share"), [("good owls", "owls", 1.0), ("owls", "good owls", 0.0)])
def test_a_model_is_asked_in_both_orders(first: str, second: str, share: float) -> None:
    answer, requests = asked_pair(honest, first, second)
    assert answer == share
    assert len(requests) == AskedPairs.calls == 2
    marks = {re.findall(r"=== ([0-9a-f]{16}) ===", text_of(request))[-1] for request in requests}
    assert len(marks) == 2, "a mark is new each time, so that no document can hold it"


def test_a_model_that_likes_one_place_better_decides_nothing() -> None:
    answer, _ = asked_pair(scoring(below_is_better=2), "good owls", "owls")
    assert answer == 0.5


def test_one_order_that_failed_leaves_the_other() -> None:
    async def first_only(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        if "good" in text_of(request).split("===")[-1]:
            await honest(writer, request)
        else:
            await failing(401)(writer, request)

    answer, _ = asked_pair(first_only, "good owls", "owls")
    assert answer == 1.0
    assert isinstance(asked_pair(failing(401), "good owls", "owls")[0], Unscored)


def test_a_gain_that_is_too_small_is_none() -> None:
    script = texts(f"good. {OWL}", "good good. <imgen>")
    assert scaled(script, stages=Plan(1, ("polish",), gain=0.5, rewrites=1)).number == 0
    assert (
        scaled(texts(f"good. {OWL}", "good good. <imgen>"), stages=Plan(1, ("polish",), gain=0.4, rewrites=1)).number
        == 1
    )

"""Calibration counts what a judge says of pairs: known judges have known accuracies."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmi_env.cli import app
from llmi_env.document import Document, Text
from llmi_env.errors import ConfigError
from llmi_env.judges.calibration import session
from llmi_env.judges.calibration.counting import Calibrating, Share, wilson
from llmi_env.judges.calibration.pairs import Pair, calibration_pairs, held_out
from llmi_env.judges.calibration.table import check, section, write
from llmi_env.judges.corruptions import CORRUPTIONS
from llmi_env.rescoring import judge_config, judgments_name
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


def right(text: str, term: str) -> Judgment:
    return Scored(5 if "good" in text else 1)


class Knowing(FakeJudge):
    """Always right."""

    def __init__(self, terms: tuple[str, ...] = TERMS) -> None:
        super().__init__(right, tuple(terms))


class Interrupting(FakeJudge):
    """Somebody presses Ctrl-C while it judges the eighth document."""

    concurrency = 1

    def __init__(self) -> None:
        super().__init__(right)

    async def __call__(self, document: Document, task: Task) -> Judgments:
        if len(self.asked) == 7:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)
        return await super().__call__(document, task)


def calibrating(judge: FakeJudge, count: int) -> Calibrating:
    world = InProcessWorld(WorldConfig(tools={}, judges=[]), judges=[judge])
    return Calibrating("fake", world, judge.terms, pairs(count))


def by_chance(text: str, term: str) -> Judgment:
    return Scored(1 + int(hashlib.sha256(f"{text}{term}".encode()).hexdigest(), 16) % 401 / 100)


def test_a_judge_that_knows_is_always_right() -> None:
    found = asyncio.run(calibrating(FakeJudge(right), 40).run())
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


def test_what_is_judged_by_then_can_be_counted_and_gone_on_with() -> None:
    one = calibrating(FakeJudge(right), 10)

    async def interrupted() -> None:
        running = asyncio.create_task(one.run(lambda done, _: done < 9 or running.cancel()))
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    partial = one.result()
    assert 3 <= partial.pairs[0] <= 5
    assert partial.total.accuracy == 1.0
    assert asyncio.run(one.run()).pairs == (10, 10)


def test_ctrl_c_ends_a_session_with_what_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def made(*_: object) -> list[Pair]:
        return pairs(10)

    monkeypatch.setattr(session, "calibration_pairs", made)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        services = WorldConfig(tools={}, judges=[{"use": "tests.judges.test_calibration:Interrupting"}])
        found, finished = session.calibrate("it", services, 10)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not finished
    assert found is not None
    assert 0 < found.pairs[0] < 10


def test_a_result_is_plain_data_and_a_table_that_names_what_is_near_chance() -> None:
    found = asyncio.run(
        calibrating(FakeJudge(lambda text, t: Scored(5 if "good" in text and t == "text_quality" else 1)), 40).run()
    )
    data: Mapping[str, object] = json.loads(json.dumps(found.to_json()))
    assert data["pairs"] == [40, 40]
    text = section(found)
    assert "| lead-in | text_quality | 20 | 100.0% |" in text
    assert "Near chance or inverted: vague calls (call_quality)." in text


def test_the_interval_is_wilsons() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(1.0, 20)[1] == 1.0
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_a_file_keeps_what_it_holds_of_other_judges(tmp_path: Path) -> None:
    knowing = asyncio.run(calibrating(FakeJudge(right), 8).run())
    guessing = replace(asyncio.run(calibrating(FakeJudge(by_chance), 8).run()), judge="guess")
    for path in (tmp_path / "new" / "found.md", tmp_path / "found.json"):
        for found in (knowing, guessing, replace(knowing, documents=7)):
            write(found, path)
    kept = json.loads((tmp_path / "found.json").read_text())
    assert list(kept) == ["fake", "guess"]
    assert kept["fake"]["documents"] == 7
    headings = [line for line in (tmp_path / "new" / "found.md").read_text().splitlines() if line.startswith("#")]
    assert headings == ["# Judges: good document against worse one", "## fake", "## guess"]


def test_a_file_that_cannot_hold_the_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"written as \.md or \.json"):
        check(tmp_path / "found.txt")
    (tmp_path / "found.json").write_text("[1]")
    with pytest.raises(ConfigError, match="holds no calibrations"):
        check(tmp_path / "found.json")


@pytest.mark.slow
def test_the_set_is_made_of_held_out_demonstrations_and_is_the_same_each_time() -> None:
    made = asyncio.run(calibration_pairs(len(CORRUPTIONS)))
    assert made == asyncio.run(calibration_pairs(len(CORRUPTIONS)))
    assert {pair.corruption.name for pair in made} == {corruption.name for corruption in CORRUPTIONS}
    for pair in made:
        assert all(held_out(part) for part in str(pair.task.id).split("+"))
        assert pair.better != pair.worse
        assert all(figure.picture is not None for figure in pair.better.figures)
    redrawn = next(pair for pair in made if pair.corruption.redraw)
    old, new = redrawn.better.pictures, redrawn.worse.pictures
    assert any(before.digest != after.digest for before, after in zip(old, new, strict=True))


def test_the_command_calibrates_a_judge_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def made(count: int, *_: object) -> list[Pair]:
        return pairs(count)

    monkeypatch.setattr(session, "calibration_pairs", made)
    judge = '{"use": "tests.judges.test_calibration:Knowing", "terms": ["text_quality"]}'
    arguments = ["judge", "calibrate", "--judge", judge, "--pairs", "40", "--out", str(tmp_path / "found.md")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "100.0%" in result.output
    assert "no corruption is near chance" in result.output
    assert "20 of 20 pairs" in (tmp_path / "found.md").read_text(encoding="utf-8")


def test_options_of_a_judge_may_be_json() -> None:
    config = judge_config('{"judges": [{"use": "embedded"}], "judge_deadline": 5}')
    assert (config.judge_uses(), config.judge_deadline, config.tools) == ([("embedded", {})], 5.0, {})
    assert judgments_name('{"use": "embedded", "terms": ["call_quality"]}') == "embedded"
    with pytest.raises(ConfigError, match="not JSON"):
        judge_config('{"use": embedded}')

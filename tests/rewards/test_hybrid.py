from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llmi_env.document import Document, Figure, Text
from llmi_env.errors import ConfigError
from llmi_env.rewards import HybridReward, Preset, RewardReport, preset_names
from llmi_env.rewards.facts import Facts
from llmi_env.task import Task
from llmi_env.world.protocol import Scored, Unscored
from tests.rewards.making import JUDGED, document, figure, flat, judged, picture

FREE = Task("Tell me about owls.")
ONE = Task("Tell me about owls, with a photo.", image_count=1, tools=("search",))
PAPER, VL, LLMI = (HybridReward.preset(name) for name in ("paper", "paper-vl", "llmi"))
FULL = dict.fromkeys(JUDGED, 5.0) | {"image_count": 1.0}


def test_presets_that_ship() -> None:
    assert preset_names() == ("llmi", "paper", "paper-vl", "rules")
    assert pickle.loads(pickle.dumps(LLMI)).spec == LLMI.spec


# ------------------------------------------------------------------------------------------------------------------- paper


@pytest.mark.parametrize(
    ("reward", "scores", "total"),
    [
        (PAPER, FULL, 1.0),
        (PAPER, dict.fromkeys(FULL, 1.0) | {"image_count": 0.0}, 0.0),
        (PAPER, FULL | {"text_quality": 3.0}, 0.825),
        (PAPER, FULL | {"text_quality": 1.0}, 0.65),
        (PAPER, FULL | {"call_quality": 1.0}, 0.85),
        (PAPER, FULL | {"image_count": 0.0}, 0.5),
        (PAPER, FULL | {"image_count": 0.5}, 0.75),
        (VL, FULL | {"text_quality": 1.0}, 0.625),
        (VL, FULL | {"call_quality": 1.0}, 0.875),
        (VL, FULL | {"image_quality": 1.0}, 0.9),
    ],
)
def test_paper_combination(reward: HybridReward, scores: dict[str, float], total: float) -> None:
    assert reward.combine(scores) == total


@given(st.fixed_dictionaries({name: st.floats(1, 5) for name in JUDGED} | {"image_count": st.floats(0, 1)}))
def test_paper_is_the_published_formula(scores: dict[str, float]) -> None:
    def published(text: float, calls: float) -> float:
        llm = ((text * scores["text_quality"] + calls * scores["call_quality"]) / 2 - 1) / 4
        mllm = (sum(scores[n] for n in ("image_quality", "task_relevance", "text_image_relevance")) / 3 - 1) / 4
        return 0.2 * scores["image_count"] + 0.3 * mllm * scores["image_count"] + 0.5 * llm

    assert PAPER.combine(scores) == pytest.approx(published(1.4, 0.6))
    assert VL.combine(scores) == pytest.approx(published(1.5, 0.5))


def test_the_defect_of_the_paper_and_its_mending() -> None:
    """With a free count the paper pays for leaving pictures out; `llmi` does not."""
    bare = document("Owls hunt at night.")
    illustrated = document("Owls hunt at night. ", figure(outcome=picture()), "They hear well.")
    plain = judged(text_quality=3, call_quality=5)
    rich = judged(text_quality=4, call_quality=4, image_quality=3.5, task_relevance=3.5, text_image_relevance=3.5)
    assert PAPER.score(bare, FREE, plain).total == 0.825
    assert PAPER.score(illustrated, FREE, rich).total == 0.7625
    lazy, honest = LLMI.score(bare, FREE, plain).total, LLMI.score(illustrated, FREE, rich).total
    assert lazy is not None
    assert honest is not None
    assert honest > lazy + 0.3


def test_paper_special_cases_replace_the_judges_scores() -> None:
    low = judged(**dict.fromkeys(JUDGED, 2.0))
    none = PAPER.score(document("words"), FREE, low)
    assert [none.terms[n].raw for n in JUDGED] == [2, 2, 5, 5, 5]
    many = PAPER.score(document("w", *(figure(outcome=picture(i)) for i in range(11))), FREE, low)
    assert [many.terms[n].raw for n in JUDGED] == [2, 2, 1, 1, 1]
    ten = PAPER.score(document("w", *(figure(outcome=picture(i)) for i in range(10))), FREE, low)
    assert [ten.terms[n].raw for n in JUDGED] == [2, 2, 2, 2, 2]
    only = PAPER.score(document(figure(outcome=picture()), " \n"), FREE, low)
    assert [only.terms[n].raw for n in JUDGED] == [1, 2, 2, 2, 2]


def test_paper_counts_only_pictures_that_came_and_exact_is_for_evaluation() -> None:
    two = Task("q", image_count=2)
    half = document("w", figure(outcome=picture()), figure(outcome="empty"))
    assert PAPER.score(half, two, judged()).terms["image_count"].raw == 0.5
    assert HybridReward.preset("paper", exact=True).score(half, two, judged()).terms["image_count"].raw == 0


def test_tool_use_is_reported_by_paper_and_not_rewarded() -> None:
    report = PAPER.score(document("w", figure(outcome="empty")), ONE, judged())
    assert report.terms["tool_use"].raw == 0.5
    assert report.terms["tool_use"].weight == 0
    plugin = Task("q", tools=("map", "code"))
    assert PAPER.score(document("w"), plugin, judged()).terms["tool_use"].raw == 0


# ---------------------------------------------------------------------------------------------------------------- unscored


@pytest.mark.parametrize("reward", [PAPER, VL, LLMI])
@pytest.mark.parametrize("term", JUDGED)
def test_a_judge_that_does_not_answer_is_not_a_low_score(reward: HybridReward, term: str) -> None:
    good = document("Owls hunt. ", figure(outcome=picture()))
    report = reward.score(good, ONE, judged() | {term: Unscored("the judge was down")})
    assert report.total is None
    assert not report.scored
    assert report.unscored == (f"{term}: the judge was down",)
    assert report.terms[term].value is None
    assert report.terms[term].unscored == "the judge was down"
    absent = {name: judgment for name, judgment in judged().items() if name != term}
    assert reward.score(good, ONE, absent).total is None


def test_a_special_case_needs_no_judge() -> None:
    down = {name: Unscored("down") for name in ("image_quality", "task_relevance", "text_image_relevance")}
    assert PAPER.score(document("words"), FREE, judged() | down).total is not None


def test_the_worlds_faults_do_not_cost() -> None:
    two = Task("q", image_count=2, tools=("search",))
    whole = document("Owls. ", figure(outcome=picture(1)), figure(outcome=picture(2)))
    owed = document("Owls. ", figure(outcome=picture(1)), figure(outcome="timeout"))
    assert LLMI.score(owed, two, judged()).total == LLMI.score(whole, two, judged()).total
    failed = document("Owls. ", figure(outcome=picture(1)), figure(outcome="empty"))
    lower, full = LLMI.score(failed, two, judged()).total, LLMI.score(whole, two, judged()).total
    assert lower is not None
    assert full is not None
    assert lower < full
    nothing_left = LLMI.score(document("Owls. ", figure(outcome="unavailable")), ONE, judged())
    assert nothing_left.total is None
    assert "no fault of the policy" in nothing_left.unscored[-1]
    pending = document("Owls. ", Figure("{}", figure().call))
    assert LLMI.score(pending, ONE, judged()).total is None


# -------------------------------------------------------------------------------------------------------------------- llmi


def test_llmi_credits_each_step_toward_an_illustrated_document() -> None:
    """The ladder that a weak policy climbs: every step earns more than the one before, all else equal."""
    ladder = [
        document("Owls hunt at night."),
        document("Owls hunt at night.", figure(outcome="malformed")),
        document("Owls hunt at night.", figure("serch", "unknown_tool")),
        document("Owls hunt at night.", figure("code", "raised")),
        document("Owls hunt at night.", figure("search", "empty")),
        document("Owls hunt at night.", figure("search", picture())),
    ]
    totals = [LLMI.score(step, ONE, judged()).total for step in ladder]
    assert all(total is not None for total in totals)
    assert totals == sorted(totals, key=lambda total: total or 0)
    assert len(set(totals)) == len(totals)


def test_llmi_parts_choice_from_success() -> None:
    """The right tool that failed earns more than the wrong one that brought a picture, which earns what a failed one does."""
    right, wrong, failed = (
        LLMI.score(document("Owls hunt at night.", shown), ONE, judged())
        for shown in (figure("search", "empty"), figure("code", picture()), figure("code", "raised"))
    )
    assert right.total is not None
    assert wrong.total is not None
    assert right.total > wrong.total == failed.total
    assert (right.terms["tool_choice"].raw, right.terms["call_success"].raw) == (1, 0)
    assert (wrong.terms["tool_choice"].raw, wrong.terms["call_success"].raw) == (0, 1)
    assert right.terms["call_validity"].raw == wrong.terms["call_validity"].raw == 1


def test_llmi_wants_nothing_where_nothing_is_wanted() -> None:
    none = Task("Tell me about owls, without pictures.", image_count="none")
    assert LLMI.score(document("Owls."), none, judged(text_quality=5)).total == 1
    with_one = LLMI.score(document("Owls.", figure(outcome=picture())), none, judged()).total
    with_failed = LLMI.score(document("Owls.", figure(outcome="empty")), none, judged()).total
    assert with_one is not None
    assert with_failed is not None
    assert with_one < 0.5
    assert with_failed < 0.6


def test_llmi_does_not_count_blank_or_repeated_pictures() -> None:
    two = Task("q", image_count=2, tools=("search",))
    for second, count in ((picture(1), 0.25), (flat(), 0.5), (picture(2, side=8), 0.5)):
        report = LLMI.score(document("w", figure(outcome=picture(1)), figure(outcome=second)), two, judged())
        assert report.terms["image_count"].raw == count  # what is asked for again is worse than what is left out
        assert report.counts["pictures"] == 2


def test_llmi_gates_everything_by_readable_text() -> None:
    shown = document("x", figure(outcome=picture()))
    assert LLMI.score(shown, ONE, judged(text_quality=1)).total == 0
    assert LLMI.score(document(figure(outcome=picture())), ONE, judged()).total == 0


def test_tool_choice_of_a_free_task_follows_the_judge_of_calls() -> None:
    some = Task("q", image_count="at_least_one")
    values = [
        LLMI.score(document("w", figure(outcome=picture())), some, judged(call_quality=score)).terms["tool_choice"].raw
        for score in (1.0, 3.0, 5.0)
    ]
    assert values == [0, 0.5, 1]
    down = LLMI.score(document("w", figure(outcome=picture())), some, judged() | {"call_quality": Unscored("down")})
    assert down.terms["tool_choice"].value is None
    assert any(reason.startswith("tool_choice: needs call_quality") for reason in down.unscored)


def test_rules_need_no_judge() -> None:
    rules = HybridReward.preset("rules")
    assert rules.judged_terms == ()
    assert rules.score(document("w", figure(outcome=picture())), ONE).total == 1
    assert rules.score(document("w"), ONE).total == 0
    assert rules.score(document("w"), FREE).total == pytest.approx(0.18125)
    assert rules.score(document("w", figure("code", picture())), ONE).total == pytest.approx(0.1)


_outcomes = st.one_of(
    st.builds(picture, st.integers(0, 3)),
    st.just(flat()),
    st.sampled_from(["malformed", "unknown_tool", "bad_params", "raised", "limit", "empty", "refused", "timeout"]),
)
_blocks = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=20).map(Text),
        st.builds(figure, st.sampled_from(["search", "diffusion", "code", "edit", "map"]), _outcomes),
    ),
    max_size=14,
)
_tasks = st.builds(
    Task,
    st.just("q"),
    image_count=st.one_of(st.sampled_from(["any", "none", "at_least_one"]), st.integers(0, 12)),
    tools=st.lists(st.sampled_from(["search", "diffusion", "code", "edit"]), unique=True).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(_blocks, _tasks, st.fixed_dictionaries({name: st.floats(1, 5).map(Scored) for name in JUDGED}))
def test_every_reward_lies_in_the_unit_interval_and_survives_json(
    blocks: list[Text | Figure], task: Task, judgments: dict[str, Scored]
) -> None:
    for name in preset_names():
        report = HybridReward.preset(name).score(Document(tuple(blocks)), task, judgments, {"judge": "test/1"})
        assert report.total is None or 0 <= report.total <= 1
        assert (report.total is None) == bool(report.unscored)
        assert all(0 <= value <= 1 for value in report.values.values())
        stored = RewardReport.from_json(json.loads(json.dumps(report.to_json())))
        assert stored == report
        again = HybridReward.preset(name).score_facts(Facts.from_json(stored.facts), task, stored.judgments)
        assert (again.total, again.terms) == (report.total, report.terms)
        assert pickle.loads(pickle.dumps(report)) == report
        assert report.versions["judge"] == "test/1"


# ---------------------------------------------------------------------------------------------------------------- presets


def test_unknown_presets_and_terms_say_what_was_meant() -> None:
    with pytest.raises(ConfigError, match="did you mean 'paper'"):
        HybridReward.preset("papr")
    with pytest.raises(ConfigError, match="did you mean 'text_quality'"):
        PAPER.combine(FULL | {"text_qality": 3})
    with pytest.raises(ConfigError, match="no score for text_quality"):
        PAPER.combine({name: score for name, score in FULL.items() if name != "text_quality"})
    for bad in ({"text_quality": 0.5}, {"text_quality": 5.1}, {"image_count": 2}, {"text_quality": float("nan")}):
        with pytest.raises(ConfigError, match="a score in"):
            PAPER.combine(FULL | bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"terms": {"text_quality": {"weight": 0.5}}}, "add up to 0.5"),
        ({"terms": {"text_quality": {"wieght": 1}}}, "did you mean 'weight'"),
        (
            {"terms": {"text_quality": {"weight": 1, "gates": [{"term": "img_count"}]}}},
            "no term 'img_count' to gate by",
        ),
        ({"special": [{"when": "no_text", "terms": ["text_qality"], "score": 1}]}, "did you mean 'text_quality'"),
        ({"special": [{"when": "never", "terms": ["text_quality"], "score": 1}]}, "special.0.when"),
        ({"special": [{"when": "more_pictures_than", "terms": ["text_quality"], "score": 1}]}, "`limit`"),
        ({"special": [{"when": "no_text", "terms": ["text_quality"], "score": 9}]}, "less than or equal to 5"),
        ({"counting": {"free_choice": "calls"}}, "no judged term 'calls'"),
        ({"verson": 1}, "did you mean 'version'"),
    ],
)
def test_bad_presets_name_file_and_key(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "version": 1, "terms": {"text_quality": {"weight": 1}}} | change))
    with pytest.raises(ConfigError, match=r"mine\.yaml") as caught:
        HybridReward.from_file(path)
    assert message in str(caught.value)


def test_a_preset_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "version": 3, "terms": {"wit": {"weight": 1}}}))
    report = HybridReward.from_file(path).score(document("w"), FREE, {"wit": Scored(3)})
    assert (report.total, report.versions) == (0.5, {"reward": "mine/3"})
    for content in ("- a\n", ": :\n"):
        path.write_text(content)
        with pytest.raises(ConfigError):
            HybridReward.from_file(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        HybridReward.from_file(tmp_path / "missing.yaml")


def test_terms_can_be_switched_off_and_reweighted() -> None:
    text_only = PAPER.reweighted(**dict.fromkeys([n for n in PAPER.terms if n != "text_quality"], 0))
    assert text_only.combine({"text_quality": 3}) == 0.5
    assert sum(term.weight for term in PAPER.reweighted(image_quality=0.5).spec.terms.values()) == pytest.approx(1)
    with pytest.raises(ConfigError, match="did you mean"):
        PAPER.reweighted(image_qualty=0)
    with pytest.raises(ConfigError, match="number >= 0"):
        PAPER.reweighted(image_quality=-1)
    with pytest.raises(ConfigError, match="every weight is 0"):
        PAPER.reweighted(**dict.fromkeys(PAPER.terms, 0))


@pytest.mark.parametrize("name", preset_names())
def test_every_term_of_a_shipped_preset_says_what_it_is_for(name: str) -> None:
    assert all(term.why for term in Preset.bundled(name).terms.values())

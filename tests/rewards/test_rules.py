from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmi_env.errors import ConfigError
from llmi_env.rewards import call_success, call_validity, image_count, plain_text, tool_choice, tool_use, wanted_code


@pytest.mark.parametrize(
    ("found", "wanted", "score"),
    [
        (0, -1, 1), (1, -1, 0), (0, 0, 1), (7, 0, 1), (0, 99, 0), (1, 99, 1), (12, 99, 1),
        (3, 3, 1), (1, 4, 0.25), (0, 3, 0), (2, 3, 2 / 3), (4, 3, 0.7), (5, 3, 0.4), (6, 3, 0.1), (7, 3, 0), (30, 3, 0),
        (0, "none", 1), (2, "none", 0), (0, "any", 1), (0, "at_least_one", 0), (2, "at_least_one", 1),
    ],
)  # fmt: skip
def test_image_count_in_training(found: int, wanted: int | str, score: float) -> None:
    assert image_count(found, wanted) == score


@pytest.mark.parametrize(
    ("found", "wanted", "score"),
    [(3, 3, 1), (2, 3, 0), (4, 3, 0), (0, -1, 1), (1, -1, 0), (0, 0, 1), (9, 0, 1), (0, 99, 0), (2, 99, 1)],
)
def test_image_count_in_evaluation_is_one_or_zero(found: int, wanted: int, score: float) -> None:
    assert image_count(found, wanted, exact=True) == score


@pytest.mark.parametrize(("found", "wanted"), [(-1, 0), (1, -2), (True, 1), (1.0, 1), (1, 1.5), (1, True), (1, "some")])
def test_image_count_refuses_what_is_no_count(found: int, wanted: int) -> None:
    with pytest.raises(ConfigError):
        image_count(found, wanted)


def test_image_count_suggests_the_word_that_was_meant() -> None:
    with pytest.raises(ConfigError, match="did you mean 'at_least_one'"):
        image_count(1, "at_least_on")


def test_a_task_that_asks_for_no_picture_is_not_free() -> None:
    assert [wanted_code(count) for count in ("none", "any", "at_least_one", 0, 4)] == [-1, 0, 99, -1, 4]


@given(st.integers(0, 60), st.integers(-1, 99), st.booleans())
def test_image_count_lies_in_the_unit_interval(found: int, wanted: int, exact: bool) -> None:
    assert 0 <= image_count(found, wanted, exact) <= 1


@pytest.mark.parametrize(
    ("required", "attempted", "succeeded", "score"),
    [
        (set(), {"code"}, {"code"}, 0),
        ({"code"}, set(), set(), 0),
        ({"code"}, {"code"}, set(), 0.5),
        ({"code"}, {"code"}, {"code"}, 1),
        ({"code", "diffusion"}, {"code"}, {"code"}, 0.8),
        ({"code", "edit", "search", "diffusion"}, {"edit", "search"}, {"search"}, 0.35),
        ({"search"}, {"code"}, {"code"}, 0),
        (["search", "search"], ["search"], ["search"], 1),
    ],
)
def test_tool_use(required: set[str], attempted: set[str], succeeded: set[str], score: float) -> None:
    assert tool_use(required, attempted, succeeded) == score


def test_tool_use_refuses_strings_and_unknown_tools() -> None:
    with pytest.raises(ConfigError, match="set of names"):
        tool_use("code", set(), set())
    with pytest.raises(ConfigError, match="did you mean 'search'"):
        tool_use({"serch"}, set(), set())
    assert tool_use({"map"}, {"map"}, set(), {"map": 2.0}) == 0.5


def test_tool_choice_credits_the_choice_and_takes_off_extra_calls() -> None:
    assert tool_choice({"search"}, ["search"], 1, 1) == 1
    assert tool_choice({"search"}, ["code"], 1, 1) == 0
    assert tool_choice({"search", "code"}, ["search"], 1, 2) == 0.5
    assert tool_choice({"search"}, ["search"] * 8, 8, 1) == pytest.approx(1 / 8)
    assert tool_choice({"search"}, ["search"], 3, 3) == pytest.approx(1 / 3)  # two more could not be read
    with pytest.raises(ConfigError):
        tool_choice(set(), [], 0, 1)


def test_calling_several_tools_earns_no_more_than_guessing_one() -> None:
    tools = ["search", "diffusion", "code", "edit"]
    for called in range(1, 5):
        earned = [tool_choice({needed}, tools[:called], called, 1) for needed in tools]
        assert sum(earned) / len(earned) == pytest.approx(1 / 4)


def test_validity_climbs_a_ladder_whatever_the_calls_brought() -> None:
    scores = [call_validity([rung]) for rung in ("malformed", "unknown_tool", "failed")]
    assert scores == sorted(scores)
    assert call_validity(["failed"]) == call_validity(["succeeded"]) == 1
    assert call_validity([]) == 0
    assert call_validity(["malformed"], owed=1) == pytest.approx(0.6)  # what the world failed was valid
    with pytest.raises(ConfigError, match="did you mean 'failed'"):
        call_validity(["fail"])


def test_success_is_of_valid_calls_and_the_worlds_faults_are_left_out() -> None:
    assert call_success(["succeeded", "failed"]) == 0.5
    assert call_success(["succeeded", "malformed", "bad_params"]) == 1
    assert call_success(["malformed"]) == call_success([]) == 0
    assert call_success(["malformed"], owed=1) == call_success([], owed=2) == 1
    assert call_success(["failed"], owed=3) == 0
    with pytest.raises(ConfigError, match="did you mean 'failed'"):
        call_success(["fail"])


def test_one_call_where_three_pictures_are_wanted_is_a_third() -> None:
    assert tool_choice({"search"}, ["search"], 1, 3, wanted=3) == pytest.approx(1 / 3)
    assert call_validity(["succeeded"], wanted=3) == call_success(["succeeded"], wanted=3) == pytest.approx(1 / 3)
    assert tool_choice({"search"}, ["search"] * 3, 3, 3, wanted=3) == call_validity(["failed"] * 3, wanted=3) == 1
    assert call_success(["succeeded"], owed=2, wanted=3) == 1  # two that the world failed were asked for
    assert call_success(["succeeded", "malformed", "succeeded"], wanted=3) == 1  # the third was, and cost its validity
    assert call_success([], owed=1, wanted=2) == 0
    assert call_validity(["succeeded"] * 4, wanted=3) == 1  # too many is the count's to punish


def test_each_kind_of_slip_takes_most_of_the_text() -> None:
    assert [plain_text(slips) for slips in ((), ("a",), ("a", "a"), ("a", "b"))] == [1, 0.3, 0.3, pytest.approx(0.09)]

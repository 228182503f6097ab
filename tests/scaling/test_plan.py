"""What the command line says of scaling, and what it may not."""

from __future__ import annotations

import pytest

from llmi_env.errors import ConfigError
from llmi_env.scaling import STAGES, Budget, Plan


def test_a_number_alone_goes_through_all_stages() -> None:
    plan = Plan.parse("4")
    assert (plan.samples, plan.stages, plan.select) == (4, STAGES, "reward")


def test_stages_and_their_options() -> None:
    plan = Plan.parse("8, validate, select=tournament, enhance=2, polish=1, enough=none, gain=0.05, wave=2")
    assert plan.stages == STAGES
    assert (plan.select, plan.variants, plan.rewrites, plan.wave) == ("tournament", 2, 1, 2)
    assert (plan.enough, plan.gain) == (None, 0.05)
    assert Plan.from_json(plan.to_json()) == plan


def test_stages_stand_in_their_order_whatever_the_order_given() -> None:
    assert Plan.parse("2,polish,validate").stages == ("sample", "validate", "polish")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "begins with the number"),
        ("many", "begins with the number"),
        ("0", "samples is a whole number of at least 1"),
        ("4,polsh", "did you mean 'polish'"),
        ("4,select=luck", "nothing is selected by 'luck'"),
        ("4,enhance=x", "enhance is a number, not 'x'"),
        ("4,enhance=0", r"variants \(enhance=N\) is a whole number"),
        ("4,sample=3", "sample takes no value"),
        ("4,validate=3", "validate takes no value"),
        ("4,select=reward,select=judge", "select is given twice"),
        (
            "4,enhence=3",
            "did you mean 'enhance'. Known: enhance, enough, gain, polish, rounds, select, tools_told, wave",
        ),
        ("4,samples=3", "no option 'samples'"),
        ("4,enough=2", "enough is a value from 0 to 1"),
        ("4,tools_told=yes", "true or false"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Plan.parse(text)


def test_a_budget_is_read() -> None:
    assert Budget.parse("documents=8,tool_calls=40, seconds=1.5") == Budget(8, 40, None, None, 1.5)
    assert Budget(**Budget(judge_calls=3).to_json()) == Budget(judge_calls=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("documents", "not NAME=NUMBER: how many. As in documents=8"),
        ("", "nothing is bounded"),
        ("dokuments=3", "did you mean 'documents'"),
        ("documents=3,documents=4", "given twice"),
        ("documents=1.5", "documents is a whole number"),
        ("tokens=-1", "at least 0"),
        ("documents=0", "leaves no document"),
        ("seconds=nan", "seconds is a number"),
    ],
)
def test_a_budget_that_cannot_be_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Budget.parse(text)

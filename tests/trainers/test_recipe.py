from __future__ import annotations

import pytest

from llmi_env.errors import ConfigError
from trainers.recipe import Recipe, check_unchanged, load_recipe


def test_the_quickstart_and_changes_to_it() -> None:
    recipe = load_recipe("quickstart", ["steps=3", "env.reward=paper", "env.services.judge_concurrency=1"])
    assert recipe.rollouts == 16
    assert recipe.max_tokens <= 112
    assert (recipe.steps, recipe.env.reward, recipe.env.services.judge_concurrency) == (3, "paper", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stps=3", "no option 'stps', did you mean 'steps'"),
        ("env.rewad=paper", "did you mean 'reward'"),
        ("samples=1", "grpo compares documents of one task"),
        ("minibatches=9", "cannot share out the 4 groups"),
        ("algorithm=ppo2", "algorithm"),
        ("dynamic_sampling.max_batches=1", "max_batches"),
        ("algorithm=ppo dynamic_sampling.max_batches=2", "leave it out"),
        ("algorithm=ppo learn_from=2", "leave it out"),
        ("learn_from=9", "learn_from=9 of samples=4"),
        ("algorithm=ppo negative_weight=0.5", "leave it out"),
        ("negative_weight=-1", "negative_weight"),
        ("learn_from=1", "learn_from"),
    ],
)
def test_what_does_not_fit_is_named(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("quickstart", change.split())


def test_an_unknown_recipe() -> None:
    with pytest.raises(ConfigError, match="did you mean 'quickstart'"):
        load_recipe("quikstart")


def test_only_the_number_of_steps_may_change() -> None:
    stored = load_recipe("quickstart", ["steps=8"]).to_yaml()
    check_unchanged(stored, load_recipe("quickstart", ["steps=12"]))
    with pytest.raises(ConfigError, match="steps: 8 then, 4 now"):
        check_unchanged(stored, load_recipe("quickstart", ["steps=4"]))
    check_unchanged(stored, load_recipe("quickstart", ["steps=4"]), done=4)
    with pytest.raises(ConfigError, match="steps: 8 then, 4 now"):
        check_unchanged(stored, load_recipe("quickstart", ["steps=4"]), done=5)
    with pytest.raises(ConfigError, match=r"env\.reward: 'llmi' then, 'paper' now"):
        check_unchanged(stored, load_recipe("quickstart", ["steps=12", "env.reward=paper"]))


def test_the_rate_rises_holds_and_falls() -> None:
    constant = load_recipe("quickstart", ["lr=1e-3", "lr_warmup=4", "steps=10"])
    assert isinstance(constant, Recipe)
    assert [constant.lr_at(step) for step in (1, 4, 5, 10)] == pytest.approx([2e-4, 8e-4, 1e-3, 1e-3])
    cosine = constant.model_copy(update={"lr_schedule": "cosine", "lr_min_ratio": 0.1, "steps": 15})
    assert [cosine.lr_at(step) for step in (4, 5, 10, 15)] == pytest.approx([8e-4, 1e-3, 5.5e-4, 1e-4])
    assert cosine.model_copy(update={"steps": 1}).lr_at(1) == pytest.approx(2e-4)

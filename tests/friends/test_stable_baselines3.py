from __future__ import annotations

import warnings
from typing import Any

import pytest

from tests.friends.owls import LENGTH, earned, owl_tokens

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed: make friends")

from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env


def test_its_checker_has_not_a_single_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(owl_tokens(), warn=True)


def test_of_pictures_in_one_array_it_only_says_that_the_default_policy_flattens_them() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(owl_tokens(pictures=True), warn=True)
    assert ["unconventional shape" in str(one.message) for one in said] == [True]


class Documents(BaseCallback):
    """Collects what each finished document was, and what it earned."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[list[int]] = []
        self.found: list[tuple[list[int], float]] = []

    def _on_step(self) -> bool:
        if not self.actions:
            self.actions = [[] for _ in self.locals["dones"]]
        for actions, token, done, reward in zip(
            self.actions, self.locals["actions"], self.locals["dones"], self.locals["rewards"], strict=True
        ):
            actions.append(int(token))
            if done:
                self.found.append((actions.copy(), float(reward)))
                actions.clear()
        return True


@pytest.mark.parametrize(("algorithm", "options"), [(PPO, {"n_epochs": 1, "batch_size": 16}), (A2C, {})])
def test_an_algorithm_trains_on_the_rewards_of_the_environment(algorithm: Any, options: dict[str, Any]) -> None:
    seen = Documents()
    envs = make_vec_env(owl_tokens, n_envs=2, seed=0)
    model = algorithm("MultiInputPolicy", envs, n_steps=16, device="cpu", seed=0, **options)
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(64, callback=seen)
    assert len(seen.found) >= 4
    assert all(reward == pytest.approx(earned(tokens), abs=1e-6) for tokens, reward in seen.found)
    assert {reward > 0 for _, reward in seen.found} == {True}
    assert any((old != new).any() for old, new in zip(before, model.policy.parameters(), strict=True))
    assert envs.observation_space["tokens"].shape == (LENGTH,)
    assert len(model.ep_info_buffer) == len(seen.found)

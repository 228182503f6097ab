from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from llmi_env.errors import ConfigError, UnscoredEpisode
from llmi_env.observing import Event
from llmi_env.task import Task
from llmi_env.world.in_process import InProcessWorld
from llmi_env.wrappers import CallLimit, DropUnscored, FullContext, RewardVector, StepLimit
from tests.streams import SEARCH
from tests.wrappers.conftest import Make
from tests.wrappers.writing import steps

TEXT = f"Owls hunt at night. {SEARCH}"
MakeWorld = Callable[..., InProcessWorld]


class TestRewardVector:
    def test_the_last_info_has_every_term_in_order(self, make: Make) -> None:
        env = RewardVector(make(action_mode="chunk"))
        env.reset(options={"task": "owls"})
        made = steps(env, TEXT)
        vector, report = made[-1][4]["reward_terms"], made[-1][4]["report"]
        assert "reward_terms" not in made[0][4]
        assert env.reward_terms == tuple(report.terms)
        assert vector.dtype == np.float32
        assert vector == pytest.approx([report.terms[name].value for name in env.reward_terms])
        assert float(vector @ env.reward_weights) == pytest.approx(made[-1][1], abs=1e-6)
        assert env.reward_space is None

    def test_terms_without_a_score_are_nan(self, make: Make, make_world: MakeWorld) -> None:
        env = RewardVector(make(action_mode="document", world=make_world(judge={"failure_rate": 1.0})))
        env.reset(options={"task": "owls"})
        _, _, _, truncated, info = env.step(TEXT)
        missing = [
            name for name, value in zip(env.reward_terms, info["reward_terms"], strict=True) if math.isnan(value)
        ]
        assert truncated
        assert missing == [name for name, term in info["report"].terms.items() if term.value is None]
        assert len(missing) > 0

    def test_as_reward_it_has_a_space(self, make: Make) -> None:
        env = RewardVector(make(action_mode="chunk"), as_reward=True)
        env.reset(options={"task": "owls"})
        first, last = steps(env, TEXT)
        assert env.reward_space is not None
        assert not first[1].any()
        assert first[1] in env.reward_space
        assert last[1] in env.reward_space
        assert last[1].tolist() == last[4]["reward_terms"].tolist()


class TestDropUnscored:
    def test_the_task_begins_again_inside_of_a_step(self, make: Make, make_world: MakeWorld) -> None:
        env = DropUnscored(
            make(action_mode="chunk", world=make_world(search={"failure": "unavailable", "fail_first": 3}))
        )
        prompt, _ = env.reset(options={"task": "owls"})
        observation, reward, terminated, truncated, info = steps(env, TEXT)[-1]
        assert (reward, terminated, truncated) == (0.0, False, False)
        assert (observation["event"], observation["text"]) == (Event.PROMPT, prompt["text"])
        assert info["task_id"] == "owls"
        assert info["dropped"]
        assert "unscored" not in info
        _, reward, terminated, _, info = steps(env, "Owls hunt at night.")[-1]
        assert terminated
        assert reward == info["report"].total

    @pytest.mark.filterwarnings("ignore:.*The reward is a NaN value")
    def test_a_nan_is_dropped_too(self, make: Make, make_world: MakeWorld) -> None:
        env = DropUnscored(make(action_mode="document", unscored="nan", world=make_world(judge={"failure_rate": 1.0})))
        env.reset(options={"task": "owls"})
        assert env.step(TEXT)[1:4] == (0.0, False, False)

    def test_it_gives_up_after_so_many_in_a_row(self, make: Make, make_world: MakeWorld) -> None:
        env = DropUnscored(make(action_mode="document", world=make_world(judge={"failure_rate": 1.0})), retries=2)
        for _ in range(2):  # a reset begins a new row
            env.reset(options={"task": "owls"})
            assert "dropped" in env.step(TEXT)[4]
            assert "dropped" in env.step(TEXT)[4]
            with pytest.raises(UnscoredEpisode, match="task owls: 3 documents in a row"):
                env.step(TEXT)

    def test_wrappers_above_and_beneath_begin_again_as_well(self, make: Make, make_world: MakeWorld) -> None:
        world = make_world(judge={"failure_rate": 1.0})
        limited = StepLimit(CallLimit(make(action_mode="chunk", world=world), 1), 2)
        env = FullContext(DropUnscored(limited))
        prompt = env.reset(options={"task": "owls"})[0]["text"]
        env.step("One. ")
        assert env.step("Two.")[0]["text"] == prompt
        assert env.step("Three. ")[0]["text"] == prompt + "Three. "
        assert env.base.episode is not None
        assert env.base.episode.limits.calls == 1
        assert "dropped" in env.step("Four.")[4]

    def test_there_is_nothing_to_drop_where_errors_are_asked_for(self, make: Make) -> None:
        with pytest.raises(ConfigError, match="unscored='raise'"):
            DropUnscored(make(unscored="raise"))

    def test_a_task_of_the_callers_own_comes_again(self, make: Make, make_world: MakeWorld) -> None:
        env = DropUnscored(make(action_mode="document", world=make_world(judge={"failure_rate": 1.0})))
        env.reset(options={"task": Task("Write about moths.", id="moths")})
        assert env.step(TEXT)[4]["task_id"] == "moths"

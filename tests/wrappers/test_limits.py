from __future__ import annotations

import gymnasium as gym
import pytest
from gymnasium.wrappers import TimeLimit

from llmi_env.errors import ConfigError, EpisodeOver
from llmi_env.observing import Event
from llmi_env.wrappers import CallLimit, FullContext, StepLimit, TokenHistory
from tests.streams import DIFFUSION, SEARCH
from tests.wrappers.conftest import Make
from tests.wrappers.writing import steps

TEXT = f"Owls hunt at night. {SEARCH}"


class TestStepLimit:
    def test_it_ends_the_document_and_scores_it(self, make: Make) -> None:
        env = StepLimit(make(), len(TEXT))
        env.reset(options={"task": "owls"})
        made = steps(env, TEXT + " And more.")
        observation, reward, terminated, truncated, info = made[-1]
        assert len(made) == len(TEXT)
        assert (terminated, truncated, info["stop"]) == (True, False, "steps")
        assert observation["event"] == Event.END
        assert info["document"].to_source() == TEXT
        assert reward == info["report"].total > 0
        with pytest.raises(EpisodeOver, match="steps"):
            env.step(65)

    def test_gymnasiums_time_limit_gives_no_score(self, make: Make) -> None:
        env = TimeLimit(make(), len(TEXT))
        env.reset(options={"task": "owls"})
        made = steps(env, TEXT + " And more.")
        assert len(made) == len(TEXT)
        assert made[-1][1:] == (0.0, False, True, {})

    def test_a_document_that_ends_by_itself_is_left_alone(self, make: Make) -> None:
        env = StepLimit(make(action_mode="chunk"), 2)
        for _ in range(2):  # the count begins again with each document
            env.reset(options={"task": "owls"})
            assert steps(env, TEXT)[-1][4]["stop"] == "end"

    def test_the_last_step_shows_what_its_call_brought(self, make: Make) -> None:
        env = StepLimit(make(action_mode="chunk", feedback="image", tokenizer="byte"), 1)
        env.reset(options={"task": "owls"})
        observation, _, terminated, _, _ = env.step(f"{DIFFUSION} <imgen>never closed")
        assert terminated
        assert "[picture 0: 64x64" in observation["text"]
        assert "[picture 1 failed: malformed" in observation["text"]
        assert bytes(observation["tokens"].tolist()).decode() == observation["text"]
        assert len(observation["images"]) == 1
        assert observation in env.observation_space

    def test_wrappers_above_see_the_end(self, make: Make) -> None:
        env = FullContext(StepLimit(make(), 3))
        prompt = env.reset(options={"task": "owls"})[0]["text"]
        observation, _, terminated, _, _ = steps(env, "Owls")[-1]
        assert terminated
        assert observation["text"] == prompt + "Owl"

    def test_beneath_it_there_is_nothing_but_what_gym_make_gives(self, make: Make) -> None:
        with pytest.raises(ConfigError, match=r"StepLimit belongs beneath TokenHistory.*TokenHistory\(StepLimit\(env"):
            StepLimit(TokenHistory(make(), 4), 8)
        with pytest.raises(ConfigError, match="n must be a number >= 1, not 0"):
            StepLimit(make(), 0)


class TestCallLimit:
    @pytest.mark.parametrize("n", [0, 1])
    def test_one_call_more_ends_the_document(self, make: Make, n: int) -> None:
        env = CallLimit(make(action_mode="chunk"), n)
        env.reset(options={"task": "owls"})
        _, _, terminated, _, info = env.step(f"Owls. {SEARCH}{DIFFUSION} The end.")
        assert (terminated, info["stop"]) == (True, "calls")
        assert len(info["document"].figures) == n
        assert info["report"].scored

    def test_it_lowers_the_limit_only_and_may_be_moved(self, make: Make) -> None:
        env = CallLimit(make(action_mode="chunk", limits={"calls": 2}), 1)
        for n, left in ((1, 1), (2, 2), (9, 2)):
            env.n = n
            env.reset(options={"task": "owls"})
            assert env.base.episode is not None
            assert env.base.episode.limits.calls == left

    def test_both_limits_go_together(self, make: Make) -> None:
        env = StepLimit(CallLimit(make(action_mode="chunk"), 1), 5)
        env.reset(options={"task": "owls"})
        assert env.step(SEARCH * 2)[4]["stop"] == "calls"


def test_other_environments_are_refused() -> None:
    with pytest.raises(ConfigError, match="StepLimit wraps LLMI-v0, not"):
        StepLimit(gym.make("CartPole-v1"), 3)

"""A document that no judge scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from llmi_env import Document, LLMIEnv, Task
from llmi_env.errors import EpisodeOver, UnscoredEpisode
from llmi_env.rewards import HybridReward
from llmi_env.testing import SimulatedTool
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments, Scored, Unscored
from tests.env.kit import MakeWorld, Step
from tests.streams import SEARCH


class FlakyJudge:
    """Scores nothing the first `n` times."""

    def __init__(self, n: int) -> None:
        self.left, self.asked = n, 0

    @property
    def terms(self) -> tuple[str, ...]:
        return HybridReward.preset("llmi").judged_terms

    async def __call__(self, document: Document, task: Task) -> Judgments:
        self.asked += 1
        self.left -= 1
        return dict.fromkeys(self.terms, Unscored("overloaded") if self.left >= 0 else Scored(4.0))

    async def aclose(self) -> None:
        pass


class TestUnscored:
    def end(self, make: Callable[..., LLMIEnv], judge: FlakyJudge, **options: Any) -> Step:
        world = InProcessWorld({"search": SimulatedTool("search")}, [judge])
        env = make(action_mode="document", world=world, **options)
        env.reset(options={"task": "owls"})
        try:
            return env.step(f"Owls hunt at night. {SEARCH}")
        finally:
            with pytest.raises(EpisodeOver):
                env.step("more")

    def test_a_judge_is_asked_once_more(self, make: Callable[..., LLMIEnv]) -> None:
        judge = FlakyJudge(1)
        _, reward, terminated, truncated, info = self.end(make, judge)
        assert (terminated, truncated, judge.asked) == (True, False, 2)
        assert reward > 0
        assert "unscored" not in info

    def test_then_the_episode_is_truncated(self, make: Callable[..., LLMIEnv]) -> None:
        _, reward, terminated, truncated, info = self.end(make, FlakyJudge(9))
        assert (reward, terminated, truncated) == (0.0, False, True)
        assert any("overloaded" in reason for reason in info["unscored"])
        assert info["report"].total is None

    def test_nan(self, make: Callable[..., LLMIEnv]) -> None:
        _, reward, terminated, truncated, _ = self.end(make, FlakyJudge(1), unscored="nan")
        assert math.isnan(reward)
        assert (terminated, truncated) == (True, False)

    def test_raise(self, make: Callable[..., LLMIEnv]) -> None:
        with pytest.raises(UnscoredEpisode, match=r"owls.*overloaded"):
            self.end(make, FlakyJudge(1), unscored="raise")

    def test_the_worlds_fault_is_no_low_score(self, make: Callable[..., LLMIEnv], make_world: MakeWorld) -> None:
        env = make(action_mode="document", world=make_world(search={"failure_rate": 1.0}))
        env.reset(options={"task": "owls"})
        _, reward, terminated, truncated, info = env.step(f"Owls hunt at night. {SEARCH}")
        assert (reward, terminated, truncated) == (0.0, False, True)
        assert "no fault of the policy" in info["unscored"][0]

    def test_rules_alone_ask_no_judge(self, make: Callable[..., LLMIEnv]) -> None:
        judge = FlakyJudge(9)
        _, reward, terminated, _, _ = self.end(make, judge, reward="rules")
        assert (terminated, judge.asked) == (True, 0)
        assert reward > 0

"""Where calls go: a World of the caller's, a shared one, the one that ships, one that nobody answers from."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from llmi_env import END, LLMIEnv, Task
from llmi_env.document import Picture
from llmi_env.errors import EpisodeOver, WorldError
from llmi_env.testing import SimulatedTool, simulated_config
from llmi_env.world.in_process import InProcessWorld
from tests.streams import SEARCH


class TestWorlds:
    def test_a_world_of_the_callers_stays_open(self, make: Callable[..., LLMIEnv]) -> None:
        tool = SimulatedTool("search")
        env = make(action_mode="document", world=InProcessWorld({"search": tool}), reward="rules")
        env.reset()
        env.step(SEARCH)
        env.close()
        assert not tool.closed

    def test_environments_of_a_process_share_the_world_they_open(self, tasks: list[Task]) -> None:
        from llmi_env.world_source import _pool

        options: Mapping[str, Any] = {"tasks": tasks, "services": simulated_config(), "world": "in_process"}
        envs = [LLMIEnv("rules", action_mode="document", **options) for _ in range(3)]
        for env in envs:
            env.reset()
            env.step(SEARCH)
        assert [users for _, users in _pool._open.values()] == [3]
        for env in envs:
            env.close()
        assert not _pool._open

    def test_reset_cancels_what_is_in_flight(self, make: Callable[..., LLMIEnv]) -> None:
        class Endless(SimulatedTool):
            started = cancelled = False

            async def __call__(self, params: Any, context: Any) -> Picture:
                self.started = True
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    self.cancelled = True
                    raise
                raise AssertionError

        def wait_for(what: str) -> None:
            deadline = time.monotonic() + 10
            while not getattr(tool, what) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert getattr(tool, what)

        tool = Endless("search")
        env = make(action_mode="chunk", world=InProcessWorld({"search": tool}), reward="rules")
        env.reset()
        env.step(SEARCH)
        wait_for("started")
        env.reset()
        wait_for("cancelled")

    def test_nobody_answers(self, tasks: list[Task]) -> None:
        env = LLMIEnv("rules", tasks=tasks, world="http://127.0.0.1:9", action_mode="document")
        env.reset()
        with pytest.raises(WorldError):
            env.step(SEARCH)
        with pytest.raises(EpisodeOver):
            env.step("more")
        env.close()


@pytest.mark.slow
def test_the_default_world_works_as_it_ships(local_runtime: Any) -> None:
    pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("LLMI-v0", action_mode="chunk").unwrapped
        check_env(env)
        env.reset(seed=0)
        chart = SEARCH.replace("search", "code").replace('"query": "owl"', '"code": "plt.bar([1, 2], [3, 4])"')
        env.step(f"The barn owl hunts at night, by ear. {SEARCH}")
        _, reward, terminated, truncated, info = env.step(f" It eats mice and voles. {chart}{END}")
        env.close()
    assert (terminated, truncated) == (True, False)
    assert 0 < reward <= 1
    assert len(info["document"].pictures) == 2
    assert all(term.raw is not None for term in info["report"].terms.values())

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from llmi_env import END, Event, Task
from llmi_env.errors import ActionError, ConcurrentUse, ConfigError, EpisodeOver, TaskError, UnscoredEpisode
from llmi_env.testing import SimulatedTool
from llmi_env.vector import LLMIVectorEnv
from llmi_env.world.in_process import InProcessWorld
from tests.streams import DIFFUSION, SEARCH

Make = Callable[..., LLMIVectorEnv]


@pytest.fixture
def make(tasks: list[Task], make_world: Callable[..., InProcessWorld]) -> Make:
    def made(num_envs: int = 3, **options: Any) -> LLMIVectorEnv:
        options = {"config": "rules", "tasks": tasks, "action_mode": "chunk", **options}
        options.setdefault("world", make_world())
        envs = gym.make_vec("LLMI-v0", num_envs=num_envs, **options)
        assert isinstance(envs, LLMIVectorEnv)
        return envs

    return made


class TestMaking:
    def test_gymnasium_takes_ours_by_default(self, make: Make) -> None:
        envs = make(4)
        assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
        assert envs.num_envs == 4
        observations, infos = envs.reset(seed=0)
        assert observations in envs.observation_space
        assert len(infos["task_id"]) == 4
        assert envs.action_space.sample() in envs.action_space
        assert envs.spec is not None
        assert envs.spec.id == "LLMI-v0"

    @pytest.mark.parametrize("mode", ["token", "chunk", "call", "document"])
    def test_sampled_actions_can_be_taken(self, make: Make, mode: str) -> None:
        envs = make(action_mode=mode)
        envs.action_space.seed(1)
        envs.reset(seed=0)
        for _ in range(12):
            observations, *_ = envs.step(envs.action_space.sample())
            assert observations in envs.observation_space
        envs.close()

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"num_envs": 0}, "1 or more"),
            ({"num_envs": True}, "1 or more"),
            ({"num_envs": 4, "group_size": 3}, "divides"),
            ({"autoreset_mode": "Nextstep"}, "did you mean 'NextStep'"),
            ({"acton_mode": "chunk"}, "did you mean 'action_mode'"),
        ],
    )
    def test_mistakes_are_told(self, make: Make, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            make(**options)

    def test_environments_share_tasks_reward_and_world(self, make: Make) -> None:
        envs = make(512)
        assert all(env.setting is envs.setting for env in envs.envs)

    def test_attributes_and_methods(self, make: Make) -> None:
        envs = make(2, render_mode="ansi")
        envs.reset(seed=7)
        envs.step(("Owls.", "Bees."))
        assert envs.np_random_seed == (7, 8)
        assert "Bees." in envs.render()[1]
        envs.set_attr("render_mode", ["ansi", "html"])
        assert envs.get_attr("render_mode") == ("ansi", "html")
        assert [result[4]["stop"] for result in envs.call("cut")] == ["steps", "steps"]

    def test_statistics_of_gymnasiums_wrapper(self, make: Make) -> None:
        envs = gym.wrappers.vector.RecordEpisodeStatistics(make(2))
        envs.reset(seed=0)
        envs.step(("Owls.", "Bees."))
        _, reward, terminated, _, infos = envs.step(("more", END))
        assert terminated.tolist() == [False, True]
        assert infos["episode"]["r"][1] == pytest.approx(reward[1])
        assert infos["episode"]["l"][1] == 2


class TestTasks:
    def test_seeds_and_tasks_for_each(self, make: Make, tasks: list[Task]) -> None:
        envs = make(3)
        _, infos = envs.reset(seed=[5, None, 5], options={"task": ["owls", tasks[1], "owls"]})
        assert list(infos["task_id"]) == ["owls", "bees", "owls"]
        _, infos = envs.reset(options={"task": "bees"})
        assert set(infos["task_id"]) == {"bees"}

    @pytest.mark.parametrize(
        "options",
        [
            {"tsk": "owls"},
            {"task": ["owls"]},
            {"reset_mask": [True, False, True]},
            {"reset_mask": np.zeros(3, bool)},
            {"reset_mask": np.ones(2, bool)},
        ],
        ids=str,
    )
    def test_options_that_cannot_be(self, make: Make, options: dict[str, Any]) -> None:
        envs = make(3)
        envs.reset(seed=0)
        with pytest.raises(ConfigError):
            envs.reset(options=options)
        with pytest.raises(TaskError):
            envs.reset(options={"task": "owl"})

    def test_a_group_writes_about_one_task(self, make: Make) -> None:
        envs = make(6, group_size=3, autoreset_mode="SameStep")
        seen = []
        _, infos = envs.reset(seed=1)
        for _ in range(8):
            seen.append(tuple(infos["task_id"]))
            assert infos["group"].tolist() == [0, 0, 0, 1, 1, 1]
            *_, infos = envs.step(["x" + END] * 6)
            assert infos["final_info"]["group"].tolist() == [0, 0, 0, 1, 1, 1]
        assert all(len({*ids[:3]}) == len({*ids[3:]}) == 1 for ids in seen)
        assert any(ids[0] != ids[3] for ids in seen)
        assert len(set(seen)) > 1
        _, infos = envs.reset(seed=1)
        assert tuple(infos["task_id"]) == seen[0]

    def test_members_of_a_group_may_end_at_different_times(self, make: Make) -> None:
        envs = make(2, group_size=2, autoreset_mode="SameStep", order="sequential")
        _, infos = envs.reset(seed=1)
        first = []
        for step in range(6):
            *_, infos = envs.step(("x" + END, "x" + (END if step % 2 else "")))
            first.append(infos["task_id"][0])
        assert first == ["bees", "mountains", "owls", "bees", "mountains", "owls"]
        assert infos["task_id"][1] == "owls"  # its third document: it is three behind, and has missed none

    @pytest.mark.parametrize("order", ["shuffled", "sequential"])
    def test_environments_share_out_an_epoch(self, make: Make, order: str) -> None:
        many = [Task(f"Question {number}?", id=f"q{number}") for number in range(12)]
        envs = make(4, tasks=many, order=order, order_seed=3, autoreset_mode="SameStep")
        _, infos = envs.reset(seed=0)
        seen = [(infos["epoch"][i], infos["task_id"][i]) for i in range(4)]
        for _ in range(5):
            *_, infos = envs.step(["x" + END] * 4)
            seen += [(infos["epoch"][i], infos["task_id"][i]) for i in range(4)]
        assert len(seen) == len(set(seen)) == 24
        assert {epoch for epoch, _ in seen} == {0, 1}

    def test_ranks_of_a_cluster_share_it_out_too(self, make: Make) -> None:
        many = [Task(f"Question {number}?", id=f"q{number}") for number in range(8)]
        seen: list[str] = []
        for rank in range(2):
            envs = make(2, tasks=many, order="shuffled", shard=(rank, 2), autoreset_mode="SameStep")
            _, infos = envs.reset()
            seen += list(infos["task_id"])
            *_, infos = envs.step(["x" + END] * 2)
            seen += list(infos["task_id"])
        assert sorted(seen) == [f"q{number}" for number in range(8)]


class TestActions:
    @pytest.mark.parametrize(
        "actions", [("a", "b"), "abc", None, 3, ("a", "b", "\0"), ("a", "b", 3), {"a": 1}], ids=repr
    )
    def test_a_bad_batch_leaves_every_environment_as_it_was(self, make: Make, actions: object) -> None:
        envs = make(3)
        envs.reset(seed=0)
        with pytest.raises(ActionError):
            envs.step(actions)
        *_, infos = envs.step([END] * 3)
        assert [document.text for document in infos["document"]] == ["", "", ""]

    def test_tokens_come_as_an_array(self, make: Make) -> None:
        envs = make(2, action_mode="token")
        observations, _ = envs.reset(seed=0)
        assert observations in envs.observation_space
        observations, reward, *_ = envs.step(np.array([65, 66]))
        assert observations in envs.observation_space
        assert reward.dtype == np.float64
        for wrong in (np.array([65, 257]), np.array([65.0, 66.0]), np.array([[65], [66]]), np.array([65])):
            with pytest.raises(ActionError):
                envs.step(wrong)
        envs.step([256, 256])
        assert [env.episode.document.text for env in envs.envs if env.episode] == ["A", "B"]

    def test_nobody_is_reset_when_autoreset_is_off(self, make: Make) -> None:
        envs = make(2, autoreset_mode="Disabled")
        envs.reset(seed=0)
        envs.step((END, "x"))
        with pytest.raises(EpisodeOver, match="call reset"):
            envs.step(("x", "x"))

    def test_one_without_a_score_does_not_lose_the_others(self, make: Make) -> None:
        broken = InProcessWorld({"search": SimulatedTool("search", failure_rate=1.0)})
        envs = make(2, world=broken, unscored="raise", action_mode="document", autoreset_mode="Disabled", reward="llmi")
        envs.reset(seed=0)
        with pytest.raises(UnscoredEpisode):
            envs.step((SEARCH, "Bees."))
        envs = make(2, world=broken, unscored="retry_then_truncate", action_mode="document", reward="llmi")
        envs.reset(seed=0)
        _, _, terminated, truncated, infos = envs.step((SEARCH, "Bees."))
        assert truncated.all()
        assert not terminated.any()
        assert all(infos["unscored"])

    def test_two_threads(self, make: Make) -> None:
        envs = make(2)
        envs.reset(seed=0)
        with envs._turn.take(), pytest.raises(ConcurrentUse, match="another"):
            envs.step(("a", "b"))
        envs.step(("a", "b"))


class TestSendAndReceive:
    def slow(self, make: Make, make_world: Callable[..., InProcessWorld], num_envs: int = 3) -> LLMIVectorEnv:
        world = make_world(search={"latency": 30.0})
        return make(num_envs, world=world, action_mode="document", autoreset_mode="SameStep")

    def test_the_slowest_holds_nobody_up(self, make: Make, make_world: Callable[..., InProcessWorld]) -> None:
        envs = self.slow(make, make_world)
        envs.reset(seed=0)
        envs.send(("a " + SEARCH, "b", "c " + DIFFUSION))
        done = 0
        while done < 20:
            observations, reward, terminated, _, infos = envs.recv()
            ids = infos["env_id"]
            assert 0 not in ids
            assert len(reward) == len(ids) == len(observations["text"]) == len(infos["final_info"]["stop"])
            assert terminated.all()
            assert observations["event"].tolist() == [Event.PROMPT] * len(ids)
            done += len(ids)
            envs.send(["x"] * len(ids), ids)
        with pytest.raises(ConcurrentUse, match=r"\[0\]"):
            envs.send(["x"], [0])
        with pytest.raises(ConcurrentUse):
            envs.step(["x"] * 3)
        envs.close()

    def test_nothing_is_lost_when_time_is_up(self, make: Make, make_world: Callable[..., InProcessWorld]) -> None:
        envs = make(2, world=make_world(search={"latency": 0.2}), action_mode="document")
        envs.reset(seed=0)
        envs.send(("Owls " + SEARCH, "Bees"))
        with pytest.raises(TimeoutError, match="1 of 2"):
            envs.recv(min_envs=2, timeout=0.01)
        *_, infos = envs.recv(min_envs=2, timeout=30)
        assert infos["env_id"].tolist() == [0, 1]
        assert [document.text for document in infos["document"]] == ["Owls ", "Bees"]

    def test_it_gives_what_step_gives(self, make: Make) -> None:
        documents = ["a " + SEARCH, "b", "c " + DIFFUSION]
        one, two = make(3, action_mode="document", reward="llmi"), make(3, action_mode="document", reward="llmi")
        one.reset(seed=4)
        two.reset(seed=4)
        _, reward, *_ = one.step(documents)
        found = {}
        for i in (2, 0, 1):
            two.send([documents[i]], [i])
        while len(found) < 3:
            _, rewards, *_, infos = two.recv()
            found.update(zip(infos["env_id"].tolist(), rewards.tolist(), strict=True))
        assert [found[i] for i in range(3)] == reward.tolist()

    def test_reset_gives_up_what_is_in_flight(self, make: Make, make_world: Callable[..., InProcessWorld]) -> None:
        envs = self.slow(make, make_world, 2)
        envs.reset(seed=0)
        envs.send((SEARCH, SEARCH))
        start = time.monotonic()
        envs.reset(seed=0)
        envs.send(("x", "y"))
        *_, infos = envs.recv(2)
        assert time.monotonic() - start < 25  # the calls of 30 s were cancelled
        assert [document.text for document in infos["final_info"]["document"]] == ["x", "y"]

    @pytest.mark.parametrize("ids", [[0, 0], [3], [-1], []], ids=str)
    def test_environments_that_do_not_exist(self, make: Make, ids: list[int]) -> None:
        envs = make(3)
        envs.reset(seed=0)
        with pytest.raises(ActionError):
            envs.send(["x"] * len(ids), ids)

    def test_waiting_for_what_was_not_sent(self, make: Make) -> None:
        envs = make(3)
        envs.reset(seed=0)
        with pytest.raises(ConfigError, match="waits for 1 to 0"):
            envs.recv()
        envs.send(["x"], [1])
        with pytest.raises(ConfigError, match="waits for 1 to 1"):
            envs.recv(min_envs=2)

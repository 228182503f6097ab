"""What users did to vector environments in a review, and what must come of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from llmi_env import END, Task
from llmi_env.errors import ActionError, ConcurrentUse, ConfigError, EpisodeOver, TaskError, UnscoredEpisode
from llmi_env.testing import SimulatedTool, simulated_config
from llmi_env.vector import LLMIVectorEnv
from llmi_env.world.in_process import InProcessWorld
from tests.streams import SEARCH


def make(num_envs: int, **options: Any) -> LLMIVectorEnv:
    tasks = [Task(f"Question {number}?", id=f"q{number}") for number in range(20)]
    options = {"config": "rules", "tasks": tasks, "action_mode": "chunk", "world": InProcessWorld({}), **options}
    envs = gym.make_vec("LLMI-v0", num_envs=num_envs, **options)
    assert isinstance(envs, LLMIVectorEnv)
    return envs


def test_a_group_that_is_reset_as_a_whole_has_one_task_again() -> None:
    envs = make(4, group_size=2)
    envs.reset(seed=1)
    for _ in range(4):  # environments 0 and 2 write many short documents
        envs.step(["x" + END, "y", "x" + END, "y"])
    _, infos = envs.reset()
    ids = list(infos["task_id"])
    assert ids[0] == ids[1]
    assert ids[2] == ids[3]
    _, infos = envs.reset(options={"reset_mask": np.array([True, True, False, False])})
    assert infos["task_id"][0] == infos["task_id"][1]
    envs.reset(options={"task": ["q1", None, None, None]})
    _, infos = envs.reset()
    assert infos["task_id"][0] == infos["task_id"][1]


@pytest.mark.parametrize("task", ["nope", 3, [None, None, "nope"]], ids=str)
def test_a_bad_option_leaves_all_documents_as_they_are(task: object) -> None:
    envs = make(3)
    envs.reset(seed=1)
    envs.step(["a", "b", "c"])
    with pytest.raises(TaskError, match=r"environment [02]: "):
        envs.reset(seed=5, options={"task": task})
    *_, infos = envs.step([END] * 3)
    assert [document.text for document in infos["document"]] == ["a", "b", "c"]


def test_what_was_given_up_is_not_kept(make_world: Callable[..., InProcessWorld]) -> None:
    envs = make(3, world=make_world(search={"latency": 60.0}))
    for seed in range(5):
        envs.reset(seed=seed)
        envs.send([SEARCH + END] * 3)
        envs.reset(options={"reset_mask": np.array([True, False, False])})
    assert envs._ready.qsize() == 0
    assert len(envs._flights) == 2
    envs.close()


def test_closed_and_opened_again_it_lets_its_world_go() -> None:
    from llmi_env.world_source import _pool

    before = dict(_pool._open)
    envs = make(2, world="in_process", services=simulated_config(), reward="llmi")
    for _ in range(2):
        envs.reset(seed=0)
        envs.step([SEARCH + END] * 2)
        envs.close()
    assert dict(_pool._open) == before


def test_an_environment_that_ended_otherwise_is_reset_like_any_other() -> None:
    envs = make(2)
    envs.reset(seed=0)
    start = envs.call("state")
    envs.step(["a" + END, "b"])
    envs.envs[0].restore(start[0])
    *_, infos = envs.step(["hello" + END, "c"])
    assert infos["document"][0].text == "hello"
    envs.call("cut") if not envs.envs[0].ended else envs.envs[1].cut()
    _, reward, terminated, _, infos = envs.step(["x", "y"])
    assert not terminated.any()
    assert reward.tolist() == [0, 0]
    assert len(infos["task_id"]) == 2


@pytest.mark.parametrize("autoreset", ["NextStep", "SameStep"])
def test_after_an_error_the_others_go_on_and_it_is_reset(autoreset: str) -> None:
    broken = InProcessWorld({"search": SimulatedTool("search", failure_rate=1.0)})
    envs = make(3, world=broken, unscored="raise", autoreset_mode=autoreset)
    envs.reset(seed=0)
    with pytest.raises(UnscoredEpisode, match="environment 1: "):
        envs.step(["a" + END, SEARCH + END, "c" + END])
    _, _, terminated, _, infos = envs.recv(2)
    assert infos["env_id"].tolist() == [0, 2]
    assert terminated.all()
    _, _, terminated, _, _ = envs.step(["x"] * 3)
    assert not terminated.any()


def test_a_reward_is_not_lost_to_a_task_that_cannot_be_begun() -> None:
    tasks = [Task("Fine?", id="fine"), Task("Long? " * 3000, id="long")]
    envs = make(1, tasks=tasks, order="sequential", autoreset_mode="SameStep", limits={"observation_kib": 8})
    envs.reset(seed=0)
    _, reward, terminated, _, infos = envs.step(["x" + END])
    assert terminated[0]
    assert infos["final_info"]["report"][0].total == reward[0]
    with pytest.raises(TaskError, match="environment 0: task long"):
        envs.step(["x"])


def test_one_environment_meddled_with_in_flight(make_world: Callable[..., InProcessWorld]) -> None:
    envs = make(2, world=make_world(search={"latency": 0.3}), action_mode="document")
    envs.reset(seed=0)
    envs.send([SEARCH], [0])
    with pytest.raises(ConcurrentUse, match="not ended"):
        envs.envs[0].state()
    envs.reset(options={"reset_mask": np.array([True, False])})
    envs.send([SEARCH], [0])
    envs._flights[0].cancel()
    with pytest.raises(EpisodeOver, match="environment 0"):
        envs.recv()


@pytest.mark.parametrize("ids", [[0.7], ["0"], "0", [[0, 1]], [True, False], [None], None.__class__], ids=repr)
def test_what_names_no_environments(ids: Any) -> None:
    envs = make(3)
    envs.reset(seed=0)
    with pytest.raises(ActionError):
        envs.send(["x"], ids)


@pytest.mark.parametrize("count", ["1", 1.5, True, None], ids=repr)
def test_what_is_no_number_of_environments(count: Any) -> None:
    envs = make(3)
    envs.reset(seed=0)
    envs.send(["x"] * 3)
    with pytest.raises(ConfigError):
        envs.recv(count)


@pytest.mark.parametrize("seed", [True, 1.5, "1", [1, 2]], ids=repr)
def test_what_is_no_seed(seed: Any) -> None:
    with pytest.raises(ConfigError):
        make(3).reset(seed=seed)


def test_seeds_of_numpy_are_numbers() -> None:
    envs = make(2)
    envs.reset(seed=np.int64(4))
    assert envs.np_random_seed == (4, 5)


def test_tensors_are_actions_like_any_other() -> None:
    torch = pytest.importorskip("torch")
    envs = make(2, action_mode="token")
    envs.reset(seed=0)
    envs.step(torch.tensor([65, 66]))
    assert [env.episode.document.text for env in envs.envs if env.episode] == ["A", "B"]


def test_closing_in_the_middle_of_a_step_is_refused() -> None:
    envs = make(2)
    envs.reset(seed=0)
    with envs._turn.take(), pytest.raises(ConcurrentUse):
        envs.close()
    envs.close()


def test_it_is_not_copied() -> None:
    with pytest.raises(TypeError, match="state"):
        copy.deepcopy(make(2))

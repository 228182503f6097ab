"""Which task comes, and that the same seed gives the same."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from gymnasium.utils.env_checker import data_equivalence

from llmi_env import END, LLMIEnv, Task
from llmi_env.errors import ConfigError, TaskError
from llmi_env.tokenizers import ByteTokenizer
from tests.env.kit import MakeWorld
from tests.streams import CODE, SEARCH, edit


class TestSeeding:
    def trajectory(self, make: Callable[..., LLMIEnv], seed: int, **options: Any) -> list[Any]:
        env = make(action_mode="chunk", feedback="image", **options)
        found: list[Any] = [env.reset(seed=seed)]
        for _ in range(2):
            found += [env.step("Owls. " + SEARCH), env.step(CODE + END), env.reset()]
        return found

    def test_same_seed_and_actions_same_trajectory(self, make: Callable[..., LLMIEnv], make_world: MakeWorld) -> None:
        slow = make_world(search={"latency": 0.05, "jitter": 0.9}, judge={"latency": 0.02})
        one, two = self.trajectory(make, 5), self.trajectory(make, 5, world=slow)
        assert all(data_equivalence(a, b, exact=True) for a, b in zip(one, two, strict=True))
        assert not data_equivalence(one, self.trajectory(make, 6))

    def test_tasks_are_drawn_at_random(self, make: Callable[..., LLMIEnv]) -> None:
        env = make()
        env.reset(seed=0)
        assert {env.reset()[1]["task_id"] for _ in range(30)} == {"owls", "bees", "mountains"}

    def test_a_task_can_be_named_or_given(self, make: Callable[..., LLMIEnv]) -> None:
        env = make()
        assert env.reset(options={"task": "bees"})[1]["task_id"] == "bees"
        own = Task("Write about bats.")
        assert env.reset(options={"task": own})[1]["task"] is own

    def test_a_named_task_does_not_move_what_is_drawn_later(self, make: Callable[..., LLMIEnv]) -> None:
        env = make()

        def later(options: dict[str, Any] | None) -> list[Any]:
            env.reset(seed=4, options=options)
            return [env.reset()[1]["task_id"] for _ in range(10)]

        assert later(None) == later({"task": "bees"})

    def test_a_task_that_names_an_unknown_tool(self, make: Callable[..., LLMIEnv]) -> None:
        with pytest.raises(TaskError, match="unknown tool 'serch', did you mean 'search'"):
            make().reset(options={"task": Task("Owls", tools=("serch",))})

    def test_bundled_tasks_can_be_fulfilled(self) -> None:
        env = LLMIEnv("rules")
        assert env.tasks
        assert all(set(task.tools) <= set(env.tools) for task in env.tasks)

    @pytest.mark.parametrize("task", ["beees", 7, ("bees",)])
    def test_a_task_that_does_not_exist(self, make: Callable[..., LLMIEnv], task: Any) -> None:
        with pytest.raises(TaskError):
            make().reset(options={"task": task})

    def test_an_option_that_does_not_exist(self, make: Callable[..., LLMIEnv]) -> None:
        with pytest.raises(ConfigError, match="did you mean 'task'"):
            make().reset(options={"tasks": "bees"})

    def test_a_prompt_too_large_to_be_observed(self, make: Callable[..., LLMIEnv]) -> None:
        with pytest.raises(TaskError, match="observation_kib"):
            make().reset(options={"task": Task("owl " * 100_000)})

    def test_what_no_observation_can_carry_is_replaced(self, make: Callable[..., LLMIEnv]) -> None:
        env = make()
        observation, _ = env.reset(options={"task": Task("Owls\x00 and bats.")})
        assert "Owls\ufffd and bats." in observation["text"]
        assert observation in env.observation_space


class TestCopies:
    @pytest.mark.parametrize(
        "copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"]
    )
    @pytest.mark.parametrize("mode", ["token", "chunk"])
    def test_in_the_middle_with_calls_in_flight(
        self, make: Callable[..., LLMIEnv], make_world: MakeWorld, mode: str, copied: Callable[[LLMIEnv], LLMIEnv]
    ) -> None:
        env = make(action_mode=mode, world=make_world(search={"latency": 0.3}))
        env.reset(seed=1, options={"task": "owls"})
        head = f"Owls {SEARCH} 日"
        if mode == "chunk":
            env.step(head)
        else:
            for token in ByteTokenizer().encode(head)[:-1]:
                env.step(token)
        twin = copied(env)
        ends = []
        for one in (twin, env):
            if mode == "chunk":
                ends.append(one.step(edit(0) + END))
            else:
                for token in [*"日".encode()[-1:], *ByteTokenizer().encode(edit(0))]:
                    one.step(token)
                ends.append(one.step(256))
        assert data_equivalence(ends[0], ends[1], exact=True)
        assert len(ends[0][4]["document"].pictures) == 2

    def test_in_a_forked_child(self, make: Callable[..., LLMIEnv], make_world: MakeWorld) -> None:
        env = make(action_mode="chunk", world=make_world(search={"latency": 0.3}))
        env.reset(seed=1, options={"task": "owls"})
        env.step(f"Owls hunt at night. {SEARCH}")
        context = multiprocessing.get_context("fork")
        mine, theirs = context.Pipe()

        def finish() -> None:
            theirs.send(env.step(edit(0) + END)[1])

        child = context.Process(target=finish)
        child.start()
        reward = env.step(edit(0) + END)[1]
        assert mine.poll(30)
        assert mine.recv() == reward > 0
        child.join(10)

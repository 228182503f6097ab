from __future__ import annotations

import asyncio
import copy
import math
import multiprocessing
import pickle
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit
from PIL import Image

import llmi_env
from llmi_env import END, Document, Event, LLMIEnv, Task
from llmi_env.document import Picture, Provenance
from llmi_env.errors import (
    ActionError,
    ConfigError,
    EpisodeOver,
    MissingExtra,
    TaskError,
    UnscoredEpisode,
    WorldError,
)
from llmi_env.rewards import HybridReward
from llmi_env.testing import SimulatedTool, simulated_config
from llmi_env.tokenizers import ByteTokenizer, HFTokenizer
from llmi_env.transcript import Owner
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments, Scored, Unscored
from tests.streams import CODE, DIFFUSION, SEARCH, edit

MODES = ("token", "chunk", "document")
FEEDBACK = ("none", "text", "image")
TEXT = f"Owls hunt. {SEARCH} They see 日本. {edit(0)}{DIFFUSION} The end."
Step = tuple[dict[str, Any], float, bool, bool, dict[str, Any]]
MakeWorld = Callable[..., InProcessWorld]


@pytest.fixture
def make(tasks: list[Task], world: InProcessWorld) -> Callable[..., LLMIEnv]:
    def made(**options: Any) -> LLMIEnv:
        options = {"config": "rules", "tasks": tasks, "world": world, "reward": "llmi", **options}
        env = gym.make("LLMI-v0", **options).unwrapped
        assert isinstance(env, LLMIEnv)
        return env

    return made


def write(env: LLMIEnv, text: str) -> Step:
    """Write a whole document in the environment's own kind of action; the last step."""
    mode = env.config.action_mode
    if mode == "document":
        return env.step(text)
    if mode == "chunk":
        env.step(text[:20])
        return env.step(text[20:] + END)
    assert env.tokenizer is not None
    for token in env.tokenizer.encode(text):
        env.step(token)
    return env.step(min(env.tokenizer.eos_ids))


class TestRegistration:
    def test_there_is_no_limit_of_steps(self) -> None:
        assert gym.spec("LLMI-v0").max_episode_steps is None

    def test_the_public_names_are_there(self) -> None:
        names = llmi_env.__all__
        assert len(names) == len(set(names))
        assert all(getattr(llmi_env, name) is not None for name in names)
        assert set(names) <= set(dir(llmi_env))
        with pytest.raises(AttributeError, match="nothing_of_that_name"):
            _ = llmi_env.nothing_of_that_name

    def test_importing_it_needs_the_core_only(self) -> None:
        program = (
            "import sys, gymnasium as gym; env = gym.make('llmi_env:LLMI-v0', config='rules', tasks='train'); env.reset(seed=0); "
            "sys.exit(sorted({'torch', 'transformers', 'diffusers', 'matplotlib'} & set(sys.modules)) or 0)"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

    def test_a_spec_survives_json(self) -> None:
        env = gym.make("LLMI-v0", config="rules", action_mode="chunk", tasks="validation")
        assert env.spec is not None
        again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json())).unwrapped
        assert isinstance(again, LLMIEnv)
        assert again.config == env.unwrapped.config  # type: ignore[attr-defined]


@pytest.mark.parametrize("feedback", FEEDBACK)
@pytest.mark.parametrize("mode", MODES)
def test_gymnasiums_checker_has_not_a_single_warning(make: Callable[..., LLMIEnv], mode: str, feedback: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(action_mode=mode, feedback=feedback))
        check_env(make(action_mode=mode, feedback=feedback, tokenizer="byte"))


class TestEpisode:
    @pytest.mark.parametrize("feedback", FEEDBACK)
    def test_every_mode_writes_the_same_document_for_the_same_reward(
        self, make: Callable[..., LLMIEnv], feedback: str
    ) -> None:
        found = []
        for mode in MODES:
            env = make(action_mode=mode, feedback=feedback)
            env.reset(seed=3, options={"task": "owls"})
            _, reward, terminated, truncated, info = write(env, TEXT)
            assert (terminated, truncated, info["stop"]) == (True, False, "end")
            assert 0 < reward <= 1
            found.append((reward, info))
        assert all(data_equivalence(one, found[0]) for one in found)
        assert found[0][1]["document"].to_source() == TEXT

    def test_the_first_observation_is_the_prompt(self, make: Callable[..., LLMIEnv]) -> None:
        env = make()
        observation, info = env.reset(options={"task": "owls"})
        assert observation["event"] == Event.PROMPT
        assert "Write about owls." in observation["text"]
        assert "search" in observation["text"]
        assert observation["tokens"].tolist() == ByteTokenizer().chat(info["messages"])
        assert info["task_id"] == "owls"
        assert info["messages"][-1] == {"role": "user", "content": "Write about owls."}

    def test_without_a_tokenizer_there_are_no_tokens(self, make: Callable[..., LLMIEnv]) -> None:
        assert set(make(action_mode="chunk").reset()[0]) == {"text", "images", "event"}
        assert set(make(action_mode="chunk", tokenizer="byte").reset()[0]) == {"text", "images", "event", "tokens"}

    def test_tools_that_the_world_does_not_have_are_not_offered(self, tasks: list[Task]) -> None:
        world = InProcessWorld({"search": SimulatedTool("search")})
        env = LLMIEnv("rules", tasks=tasks, world=world, action_mode="document")
        assert "diffusion" not in env.reset()[0]["text"]
        (figure,) = env.step(DIFFUSION)[4]["document"].figures
        assert figure.failure.kind == "unknown_tool"

    def test_input_pictures_are_shown_scaled_down_and_can_be_edited(self, make: Callable[..., LLMIEnv]) -> None:
        large = Picture(Image.new("RGB", (900, 600), "blue"), Provenance("test", caption="a lake"))
        env = make(action_mode="document")
        observation, _ = env.reset(options={"task": Task("Make it grey.", images=(large,))})
        assert [image.shape for image in observation["images"]] == [(256, 384, 3)]
        assert "[picture 0: a lake]" in observation["text"]
        assert observation in env.observation_space
        (figure,) = env.step(edit(0))[4]["document"].figures
        assert figure.picture is not None

    def test_the_reward_is_zero_until_the_end(self, make: Callable[..., LLMIEnv]) -> None:
        env = make()
        env.reset(options={"task": "owls"})
        steps = [env.step(token) for token in ByteTokenizer().encode(TEXT)]
        assert all(step[1:] == (0.0, False, False, {}) for step in steps)
        assert all(step[0] in env.observation_space for step in steps)

    def test_the_last_info_tells_it_all(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(action_mode="document")
        env.reset(options={"task": "owls"})
        _, reward, _, _, info = env.step(SEARCH)
        assert set(info) == {"task_id", "stop", "document", "report", "tools"}
        assert isinstance(info["document"], Document)
        assert info["report"].total == reward
        assert set(info["report"].terms) == set(HybridReward.preset("llmi").terms)
        assert info["tools"].accuracy == 1.0

    @pytest.mark.parametrize(
        ("limits", "stop", "source"),
        [
            ({"characters": 12}, "characters", "Owls hunt. <"),
            ({"calls": 1}, "calls", f"Owls hunt. {SEARCH} They see 日本. "),
            ({"pictures": 1}, "pictures", f"Owls hunt. {SEARCH} They see 日本. "),
            ({"tokens": 4}, "length", "Owls"),
        ],
    )
    def test_limits_end_it_and_it_is_scored_as_it_stands(
        self, make: Callable[..., LLMIEnv], limits: dict[str, int], stop: str, source: str
    ) -> None:
        env = make(limits=limits)
        env.reset(options={"task": "owls"})
        for token in ByteTokenizer().encode(TEXT):
            _, _, terminated, truncated, info = env.step(token)
            if terminated:
                break
        assert (terminated, truncated, info["stop"]) == (True, False, stop)
        assert info["document"].to_source() == source
        assert info["report"].scored


class TestFeedback:
    def test_without_it_nothing_is_waited_for_or_seen(
        self, make: Callable[..., LLMIEnv], make_world: MakeWorld
    ) -> None:
        env = make(action_mode="chunk", world=make_world(search={"latency": 30.0}))
        env.reset()
        start = time.perf_counter()
        observation = env.step(SEARCH)[0]
        assert (observation["text"], observation["images"], observation["event"]) == ("", (), Event.NOTHING)
        env.reset()
        env.step(SEARCH)
        env.close()
        assert time.perf_counter() - start < 5

    def test_the_step_that_closes_the_call_returns_its_result(self, make: Callable[..., LLMIEnv]) -> None:
        for feedback, shown in (("text", 0), ("image", 1)):
            env = make(action_mode="chunk", feedback=feedback)
            env.reset()
            assert env.step(SEARCH[:-1])[0]["event"] == Event.NOTHING
            observation = env.step(SEARCH[-1] + " and")[0]
            assert observation["event"] == Event.RESULT
            assert observation["text"] == "\n[picture 0: 64x64, an owl]\n"
            assert len(observation["images"]) == shown
            assert env.step("so on")[0]["text"] == ""

    def test_several_results_come_in_the_order_written(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(action_mode="chunk", feedback="image")
        env.reset()
        observation = env.step(SEARCH + "<imgen>oops</imgen>" + edit(0))[0]
        assert [line[:10] for line in observation["text"].split("\n") if line] == [
            "[picture 0",
            "[picture 1",
            "[picture 2",
        ]
        assert (observation["event"], len(observation["images"])) == (Event.FAILURE, 2)

    def test_a_call_that_cannot_be_read_is_told_at_once(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(feedback="text")
        env.reset()
        events = [env.step(token)[0] for token in ByteTokenizer().encode("<imgen>oops</imgen>")]
        assert [event["event"] for event in events[:-1]] == [Event.NOTHING] * (len(events) - 1)
        assert events[-1]["event"] == Event.FAILURE
        assert "malformed" in events[-1]["text"]

    def test_a_result_in_the_last_step_is_still_told(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(action_mode="document", feedback="image")
        env.reset()
        observation = env.step(SEARCH)[0]
        assert (observation["event"], len(observation["images"])) == (Event.END, 1)

    def test_what_the_policy_is_told_stands_in_the_ledger(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(feedback="text")
        observation, _ = env.reset()
        seen = observation["tokens"].tolist()
        for token in [*ByteTokenizer().encode(f"a{SEARCH}b<imgen>oops</imgen>"), 256]:
            seen.append(token)
            seen += env.step(token)[0]["tokens"].tolist()
        assert env.transcript is not None
        ledger = env.transcript.ledger
        ledger.check()
        assert ledger.ids == seen
        assert Owner.TOOL in ledger.owners

    def test_a_hugging_face_tokenizer(self, make: Callable[..., LLMIEnv], bpe: Any) -> None:
        tokenizer = HFTokenizer(bpe)
        env = make(feedback="text", tokenizer=tokenizer)
        env.reset(options={"task": "owls"})
        assert env.action_space == gym.spaces.Discrete(tokenizer.vocab_size)
        info = write(env, TEXT)[4]
        assert info["document"].to_source() == TEXT


class TestActionsOutsideTheSpace:
    @pytest.mark.parametrize(
        "action", [257, -1, 2**70, 1.0, True, "a", None, [1], np.array([1, 2]), np.float64(1)], ids=repr
    )
    def test_tokens(self, make: Callable[..., LLMIEnv], action: object) -> None:
        env = make()
        env.reset(options={"task": "owls"})
        env.step(65)
        with pytest.raises(ActionError):
            env.step(action)
        env.step(np.int64(66))
        assert env.step(256)[4]["document"].text == "AB"
        assert env.transcript is not None
        assert env.transcript.ledger.n_policy == 3

    @pytest.mark.parametrize("mode", ["chunk", "document"])
    @pytest.mark.parametrize(
        "action", [b"a", None, 7, "a\x00", "\ud800", END + "a", END + END, "a" * 10**7], ids=lambda a: repr(a)[:12]
    )
    def test_texts(self, make: Callable[..., LLMIEnv], mode: str, action: object) -> None:
        env = make(action_mode=mode)
        env.reset(options={"task": "owls"})
        with pytest.raises(ActionError):
            env.step(action)
        assert env.step("fine" + END)[4]["document"].text == "fine"

    def test_an_error_says_what_is_wrong(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(action_mode="chunk")
        env.reset()
        with pytest.raises(ActionError, match="after END at character 1"):
            env.step(f"a{END}b")


class TestOver:
    @pytest.mark.parametrize("mode", MODES)
    def test_before_reset_after_the_end_and_after_close(self, make: Callable[..., LLMIEnv], mode: str) -> None:
        env = make(action_mode=mode)
        action = 65 if mode == "token" else "a"
        with pytest.raises(EpisodeOver, match="call reset first"):
            env.step(action)
        env.reset()
        write(env, "Owls.")
        with pytest.raises(EpisodeOver, match="has ended"):
            env.step(action)
        env.reset()
        env.close()
        env.close()
        with pytest.raises(EpisodeOver, match="closed"):
            env.step(action)
        env.reset()
        env.step(action)


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


class TestBadConfiguration:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"config": "rulez"}, "did you mean 'rules'"),
            ({"feedbak": "text"}, "did you mean 'feedback'"),
            ({"action_mode": "documnt"}, "cannot be 'documnt', did you mean 'document'"),
            ({"limits": {"calls": "5"}}, "limits.calls"),
            ({"render_mode": "human"}, "no render mode"),
            ({"reward": "papr"}, "did you mean 'paper'"),
            ({"tokenizer": 3}, "tokenizer"),
            ({"world": 3}, "world"),
            ({"reward": 3}, "reward"),
            ({"tasks": 3}, "tasks"),
        ],
    )
    def test_is_told(self, tasks: list[Task], world: InProcessWorld, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            LLMIEnv(**{"config": "rules", "tasks": tasks, "world": world, **options})

    def test_unknown_tasks(self) -> None:
        with pytest.raises(TaskError, match="did you mean 'train'"):
            LLMIEnv("rules", tasks="trian")

    def test_without_the_extra_the_default_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import importlib.util

        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "torch" else find(name, *a))
        with pytest.raises(MissingExtra, match=r"pip install 'llmi-env\[offline\]'") as raised:
            LLMIEnv("offline")
        assert raised.value.extra == "offline"
        LLMIEnv("rules")
        LLMIEnv("offline", world="http://127.0.0.1:8000")


class TestRender:
    def shown(self, make: Callable[..., LLMIEnv], mode: str | None, text: str) -> Any:
        env = make(action_mode="document", render_mode=mode)
        env.reset(options={"task": "owls"})
        env.step(text)
        return env.render()

    def test_ansi_keeps_the_terminal_safe(self, make: Callable[..., LLMIEnv]) -> None:
        shown = self.shown(make, "ansi", f"Owls \x1b[2J\x07 hunt. {SEARCH}<imgen>oops</imgen>")
        assert "\x1b[2J" not in shown
        assert "\x07" not in shown
        assert "search: an owl | 64x64" in shown
        assert "malformed" in shown
        assert "reward 0." in shown

    def test_html_escapes_what_the_policy_wrote(self, make: Callable[..., LLMIEnv]) -> None:
        evil = SEARCH.replace("an owl", "<script>alert(1)</script>")
        shown = self.shown(make, "html", f"<script>alert(2)</script> {evil}")
        assert "<script>" not in shown
        assert "&lt;script&gt;alert(2)" in shown
        assert 'src="data:image/png;base64,' in shown

    def test_frames_are_of_one_size_and_show_what_was_written_last(self, make: Callable[..., LLMIEnv]) -> None:
        frames = [
            self.shown(make, "rgb_array", text) for text in ("Owls.", "Owls. " * 3000, SEARCH, "w" * 3000, "日本 😀")
        ]
        assert {(frame.shape, str(frame.dtype)) for frame in frames} == {((720, 640, 3), "uint8")}
        assert len({frame.tobytes() for frame in frames}) == len(frames)

    def test_in_the_middle_and_without_a_mode(self, make: Callable[..., LLMIEnv]) -> None:
        env = make(render_mode="ansi", action_mode="chunk")
        with pytest.raises(EpisodeOver):
            env.render()
        env.reset()
        env.step("Half")
        assert "Half" in env.render()
        env = make()
        env.reset()
        with pytest.warns(UserWarning, match="render mode"):
            assert env.render() is None


class TestGymnasiumsWrappers:
    def test_statistics_and_time_limit(self, make: Callable[..., LLMIEnv]) -> None:
        env = RecordEpisodeStatistics(TimeLimit(make(action_mode="chunk"), 3))
        env.reset()
        for _ in range(3):
            _, _, terminated, truncated, info = env.step("Owls. ")
        assert (terminated, truncated) == (False, True)
        env.reset()
        _, reward, terminated, _, info = env.step("Owls." + END)
        assert terminated
        assert info["episode"]["r"] == pytest.approx(reward)


def _make_local() -> gym.Env[Any, Any]:
    return gym.make(
        "llmi_env:LLMI-v0",
        config="rules",
        tasks=[Task("Write about owls.", id="owls"), Task("Write about bees.", id="bees")],
        services=simulated_config(linger=1.0),
        reward="llmi",
        action_mode="chunk",
        feedback="image",
        tokenizer="byte",
    )


def _make_in_process() -> gym.Env[Any, Any]:
    env = _make_local().unwrapped
    assert isinstance(env, LLMIEnv)
    return gym.make(
        "llmi_env:LLMI-v0",
        config=env.config,
        tasks=[Task("Write about owls.", id="owls"), Task("Write about bees.", id="bees")],
        world="in_process",
    )


def test_gymnasiums_own_vectorisation_by_name(tasks: list[Task]) -> None:
    envs = gym.make_vec(
        "LLMI-v0",
        num_envs=2,
        vectorization_mode="sync",
        config="rules",
        tasks=tasks,
        world="in_process",
        services=simulated_config(),
        action_mode="document",
    )
    _, infos = envs.reset(seed=0)
    assert len(infos["task_id"]) == 2
    _, reward, terminated, _, infos = envs.step((SEARCH, "Owls."))
    envs.close()
    assert terminated.all()
    assert [report.total for report in infos["report"]] == reward.tolist()


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_autoreset_modes(autoreset: AutoresetMode) -> None:
    envs = gym.vector.SyncVectorEnv([_make_in_process] * 2, autoreset_mode=autoreset)
    envs.reset(seed=0)
    observations, reward, terminated, _, infos = envs.step(("Owls." + END, "Bees."))
    assert terminated.tolist() == [True, False]
    assert reward[0] > 0
    last = infos["final_info"] if autoreset is AutoresetMode.SAME_STEP else infos
    assert last["stop"][0] == "end"
    event = Event.PROMPT if autoreset is AutoresetMode.SAME_STEP else Event.END
    assert observations["event"].tolist() == [event, Event.NOTHING]
    if autoreset is AutoresetMode.DISABLED:
        observations, _ = envs.reset(options={"reset_mask": np.array([True, False])})
        assert observations["event"].tolist() == [Event.PROMPT, Event.NOTHING]
    else:
        observations, reward, *_ = envs.step(("more", "more"))
        wanted = Event.PROMPT if autoreset is AutoresetMode.NEXT_STEP else Event.NOTHING
        assert observations["event"].tolist() == [wanted, Event.NOTHING]
        assert reward.tolist() == [0.0, 0.0]
    envs.close()


def _run(envs: gym.vector.VectorEnv[Any, Any, Any]) -> list[Any]:
    found: list[Any] = [envs.reset(seed=3)]
    for actions in (("Owls. " + SEARCH, "Bees."), (" fly." + END, DIFFUSION), ("ignored", "more" + END)):
        found.append(envs.step(actions))
    envs.close()
    return found


@pytest.fixture(scope="module")
def one_process() -> list[Any]:
    return _run(gym.vector.SyncVectorEnv([_make_in_process] * 2))


@pytest.mark.parametrize(
    ("context", "shared_memory"),
    [
        ("fork", True),
        ("fork", False),
        pytest.param("spawn", True, marks=pytest.mark.slow),
        pytest.param("spawn", False, marks=pytest.mark.slow),
    ],
)
def test_vector_environments_give_the_trajectories_of_one_process(
    local_runtime: Any, one_process: list[Any], context: str, shared_memory: bool
) -> None:
    envs = gym.vector.AsyncVectorEnv([_make_local] * 2, context=context, shared_memory=shared_memory)
    for mine, theirs in zip(_run(envs), one_process, strict=True):
        assert data_equivalence(mine[0], theirs[0], exact=True)
        assert all(data_equivalence(a, b, exact=True) for a, b in zip(mine[1:-1], theirs[1:-1], strict=True))
        assert mine[-1].keys() == theirs[-1].keys()
        for key in mine[-1]:
            assert list(mine[-1][key]) == list(theirs[-1][key]), key

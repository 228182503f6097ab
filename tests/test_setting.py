"""Tools, judges and reward terms given to `gym.make` as Python objects."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import pytest
from PIL import Image

from llmi_env import Call, Document, LLMIEnv, ParamSpec, Task, ToolSpec
from llmi_env.document import Picture, Provenance
from llmi_env.errors import ConcurrentUse, ConfigError
from llmi_env.rewards import HybridReward, RewardTerm
from llmi_env.setting import Setting
from llmi_env.testing import SimulatedJudge, SimulatedTool, simulated_config, simulated_world
from llmi_env.tools.base import ToolContext
from tests.streams import SEARCH


class Stamp:
    """A user's own tool."""

    spec = ToolSpec("stamp", "stamps a word", (ParamSpec("word", str, "the word"),), {"word": "OK"})
    closed = False

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        return Picture(Image.new("RGB", (8, 8), (len(params["word"]), 0, 0)), Provenance("stamp", seed=context.seed))

    async def aclose(self) -> None:
        self.closed = True


STAMP = f"<imgen>{Call('stamp', 'a stamp', {'word': 'OK'}).to_json()}</imgen>"


def make(**options: Any) -> LLMIEnv:
    options = {
        "world": "in_process",
        "services": simulated_config(),
        "reward": "llmi",
        "tasks": [Task("Owls?")],
        **options,
    }
    env = gym.make("LLMI-v0", config="rules", action_mode="document", **options).unwrapped
    assert isinstance(env, LLMIEnv)
    return env


class TestTools:
    @pytest.mark.parametrize("tools", [[Stamp()], {"stamp": Stamp()}], ids=["list", "mapping"])
    def test_beside_those_of_the_configuration(self, tools: Any) -> None:
        env = make(tools=tools)
        assert "stamp" in env.reset(seed=0)[0]["text"]
        document = env.step(STAMP + SEARCH)[4]["document"]
        assert [picture.provenance.backend for picture in document.pictures] == ["stamp", "simulated"]

    def test_in_place_of_one_of_them(self) -> None:
        mine = SimulatedTool("search", size=10)
        env = make(tools=[mine])
        env.reset(seed=0)
        picture = env.step(SEARCH)[4]["document"].pictures[0]
        assert picture.image.size == (10, 10)
        assert mine.executions == 1
        assert "search" not in env.setting.source.services.tools  # nothing is made that nobody uses

    def test_over_a_world_of_the_callers(self) -> None:
        env = make(world=simulated_world(), tools=[Stamp()])
        env.reset(seed=0)
        assert len(env.step(STAMP + SEARCH)[4]["document"].pictures) == 2

    def test_a_task_may_ask_for_it(self) -> None:
        env = make(tools=[Stamp()], tasks=[Task("A stamp!", tools=("stamp",))], reward="rules")
        env.reset(seed=0)
        assert env.step("A stamp: " + STAMP)[4]["report"].values["tool_choice"] == 1

    def test_it_stays_the_callers_to_close(self) -> None:
        stamp = Stamp()
        env = make(tools=[stamp])
        env.reset(seed=0)
        env.step(STAMP)
        env.close()
        assert not stamp.closed
        env.reset(seed=0)
        assert len(env.step(STAMP)[4]["document"].pictures) == 1

    def test_copies_share_it(self) -> None:
        mine = SimulatedTool("search")
        env = make(tools=[mine])
        env.reset(seed=0)
        twin = copy.deepcopy(env)
        twin.step(SEARCH)
        env.step(SEARCH)
        assert mine.executions == 1  # the same call: one World

    def test_environments_of_a_vector_environment_share_it(self) -> None:
        mine = SimulatedTool("search")
        envs = gym.make_vec(
            "LLMI-v0",
            num_envs=3,
            config="rules",
            action_mode="document",
            tasks=[Task("Owls?")],
            tools=[mine],
            group_size=3,
        )
        envs.reset(seed=[1, 1, 1])
        *_, infos = envs.step([SEARCH] * 3)
        assert all(len(document.pictures) == 1 for document in infos["document"])
        assert mine.executions == 1


class TestJudges:
    def test_in_place_of_all_others(self) -> None:
        env = make(judges=[SimulatedJudge(score=5.0)])
        env.reset(seed=0)
        report = env.step("Owls.")[4]["report"]
        assert report.terms["text_quality"].raw == 5.0


class TestRewardTerms:
    def test_it_shares_the_total(self) -> None:
        brief = RewardTerm("brief", lambda document, task: float(len(document.to_source()) < 9), weight=0.25)
        plain = make(judges=[SimulatedJudge(score=5.0)])
        mine = make(judges=[SimulatedJudge(score=5.0)], reward_terms=[brief])
        rewards = []
        for env, text in ((plain, "Owls."), (mine, "Owls."), (plain, "Owls are birds."), (mine, "Owls are birds.")):
            env.reset(seed=0)
            rewards.append(env.step(text)[1])
        assert rewards[1] == pytest.approx(0.75 * rewards[0] + 0.25)
        assert rewards[3] == pytest.approx(0.75 * rewards[2])
        assert "brief/1" in mine.reward.version

    @pytest.mark.parametrize(
        ("score", "said"),
        [(lambda d, t: 1 / 0, "ZeroDivisionError"), (lambda d, t: 1.5, "0..1"), (lambda d, t: float("nan"), "0..1")],
        ids=["raises", "too large", "nan"],
    )
    def test_one_that_fails_gives_no_score(self, score: Any, said: str) -> None:
        env = make(judges=[SimulatedJudge()], reward_terms=[RewardTerm("mine", score, 0.2)])
        env.reset(seed=0)
        _, reward, terminated, truncated, info = env.step("Owls.")
        assert (reward, terminated, truncated) == (0.0, False, True)
        assert said in info["unscored"][0]

    def test_a_term_of_no_weight_is_reported_only(self) -> None:
        env = make(reward="rules", reward_terms=[RewardTerm("length", lambda d, t: 0.5, 0.0)])
        env.reset(seed=0)
        _, reward, _, _, info = env.step("Owls.")
        assert info["report"].values["length"] == 0.5
        plain = HybridReward.preset("rules").score(info["document"], Task("Owls?"))
        assert reward == plain.total

    def test_reweighted_and_extended(self) -> None:
        one = RewardTerm("one", lambda document, task: 1.0, 0.5)
        two = RewardTerm("two", lambda document, task: 1.0, 0.5)
        reward = HybridReward.preset("rules").extended([one]).extended([two])
        assert reward.score(Document(()), Task("Owls?")).terms["one"].weight == 0.25
        assert sum(term.weight for term in reward.spec.terms.values()) == pytest.approx(1)
        assert reward.reweighted(two=0).spec.terms["two"].weight == 0

    @pytest.mark.parametrize(
        "terms",
        [[("image_count", 0.1)], [("a", 0.7), ("b", 0.7)], [("no name", 0.1)], [("a", -0.1)], [("a", 2)]],
        ids=str,
    )
    def test_terms_that_cannot_be(self, terms: list[tuple[str, float]]) -> None:
        with pytest.raises(ConfigError):
            make(reward="rules", reward_terms=[RewardTerm(name, lambda d, t: 1.0, weight) for name, weight in terms])


@pytest.mark.parametrize(
    "options",
    [
        {"tools": [3]},
        {"tools": {"a": 3}},
        {"judges": [3]},
        {"reward_terms": [lambda d, t: 1.0]},
        {"reward": 3},
        {"world": 3},
    ],
    ids=["tool", "named tool", "judge", "reward term", "reward", "world"],
)
def test_objects_of_the_wrong_kind(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make(**options)


def test_a_setting_is_whole() -> None:
    setting = Setting.of("rules", tasks=[Task("Owls?")], action_mode="chunk")
    assert LLMIEnv(setting).reset(seed=0)[1]["task"].question == "Owls?"
    with pytest.raises(ConfigError, match="every option already"):
        LLMIEnv(setting, action_mode="token")


def test_a_second_thread_is_told_and_the_first_goes_on() -> None:
    env = make(tools=[SimulatedTool("search", latency=0.4)], judges=[SimulatedJudge()])
    env.reset(seed=0)
    found: list[Any] = []
    first = threading.Thread(target=lambda: found.append(env.step(SEARCH)))
    first.start()
    refused = 0
    while first.is_alive():
        for use in (lambda: env.step("x"), env.reset, env.state, env.cut):
            try:
                use()
            except ConcurrentUse:
                refused += 1
            except Exception:  # the first one may have ended by now
                pass
            else:
                break
        if refused >= 4:
            break
    first.join()
    assert refused >= 4
    assert len(found[0][4]["document"].pictures) == 1

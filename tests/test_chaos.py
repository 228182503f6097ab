"""Judges that fail, hang or babble in 30 % of calls: whatever they do, no document gets a reward that it would not have had without."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest
from fastapi import FastAPI, Response

from llmi_env.calls import Call
from llmi_env.comparison import Evaluation
from llmi_env.document import Document, Text
from llmi_env.errors import ConfigError, UnscoredEpisode
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.task import Task
from llmi_env.testing import JUDGED_TERMS, FlakyJudge, SimulatedJudge, SimulatedTool, simulated_config
from llmi_env.world import wire
from llmi_env.world.config import WorldConfig
from llmi_env.world.http import HttpWorld
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments, Scored, Unscored
from tests.serving import served

MODES = ("raise", "hang", "babble", "unscored", "mixed")
RATE = 0.3
REWARD = HybridReward.preset("llmi")
TASKS = [Task(f"Write about bird {n}.", id=f"bird-{n}", tools=("search",) if n % 2 else ()) for n in range(10)]
SEARCH = Call("search", "a bird", {"query": "bird"}).to_json()


def text_of(seed: int) -> str:
    return f"Bird {seed} sings." + (f"<imgen>{SEARCH}</imgen>" if seed % 3 else "") + " Then it sleeps."


def world_of(judge: Any, **limits: Any) -> InProcessWorld:
    """A World whose judges have no time to lose."""
    options = {"judge_deadline": 0.1, "judge_concurrency": 100} | limits
    return InProcessWorld(
        {"search": SimulatedTool("search", size=16)}, [judge], WorldConfig(tools={}, judges=[], **options)
    )


def roll(judge: Any) -> tuple[Rollout, ...]:
    policy = ScriptedPolicy(lambda prompt, seed: text_of(seed))
    return asyncio.run(run_rollouts(policy, world_of(judge), REWARD, TASKS, samples=4, max_tokens=500)).rollouts


@pytest.fixture(scope="module")
def healthy() -> tuple[Rollout, ...]:
    return roll(SimulatedJudge())


# ------------------------------------------------------------------------------------------------------------------- rollouts


@pytest.mark.parametrize("mode", MODES)
def test_a_rollout_has_its_true_reward_or_none(healthy: tuple[Rollout, ...], mode: Any) -> None:
    judge = FlakyJudge(SimulatedJudge(), RATE, mode)
    rollouts = roll(judge)
    lost = [rollout for rollout in rollouts if rollout.reward is None]
    for rollout, true in zip(rollouts, healthy, strict=True):
        assert rollout.document == true.document
        assert rollout.reward in (true.reward, None)
    assert all(rollout.report.unscored for rollout in lost)
    # Where only terms were lost that the document's kind fixes anyway, there is nothing missing.
    assert 0.1 * len(rollouts) < len(lost) <= judge.failures.total() < 0.5 * len(rollouts)


def test_mixed_misbehaves_in_every_way() -> None:
    judge = FlakyJudge(SimulatedJudge(), 1.0)
    assert {rollout.reward for rollout in roll(judge) if rollout.document.pictures} == {None}
    assert set(judge.failures) == {"raise", "hang", "babble", "unscored"}


@pytest.mark.parametrize("mode", MODES)
def test_advantages_are_those_of_the_groups_without_the_lost(healthy: tuple[Rollout, ...], mode: Any) -> None:
    torch = pytest.importorskip("torch")
    from trainers.losses import grpo_advantages

    rollouts = roll(FlakyJudge(SimulatedJudge(), RATE, mode))
    scored = [rollout.reward is not None for rollout in rollouts]
    returns = torch.tensor([math.nan if rollout.reward is None else rollout.reward for rollout in rollouts])
    advantages = grpo_advantages(returns, [rollout.group for rollout in rollouts], torch.tensor(scored))
    kept = [true for true, is_scored in zip(healthy, scored, strict=True) if is_scored]
    expected = grpo_advantages(torch.tensor([true.reward for true in kept]), [true.group for true in kept])
    assert advantages[torch.tensor(scored)].tolist() == expected.tolist()
    assert not advantages[~torch.tensor(scored)].any()


@pytest.mark.parametrize("mode", MODES)
def test_an_evaluation_is_the_mean_of_true_rewards(healthy: tuple[Rollout, ...], mode: Any) -> None:
    pytest.importorskip("torch")
    from trainers.evaluation import summary

    rollouts = roll(FlakyJudge(SimulatedJudge(), RATE, mode))
    kept = [true for true, rollout in zip(healthy, rollouts, strict=True) if rollout.reward is not None]
    figures = summary(rollouts)
    assert figures["reward"] == summary(kept)["reward"]
    assert figures["scored"] == len(kept)
    assert figures["unscored"] == len(rollouts) - len(kept) > 0
    assert Evaluation(rollouts).rewards == [
        mean([true.reward for true in kept if true.group == group]) for group in range(len(TASKS))
    ]


def mean(rewards: list[float | None]) -> float | None:
    numbers = [reward for reward in rewards if reward is not None]
    return sum(numbers) / len(numbers) if numbers else None


# ------------------------------------------------------------------------------------------------------------------- deadlines


class HangsAtOne(SimulatedJudge):
    """Never answers for a document that says so."""

    async def __call__(self, document: Document, task: Task) -> Judgments:
        if "hang" in document.text:
            await asyncio.Event().wait()
        return await super().__call__(document, task)


def test_who_hangs_holds_up_nobody_else() -> None:
    async def judge_all() -> tuple[bool, set[bool]]:
        world = world_of(HangsAtOne(), judge_deadline=1000.0, judge_concurrency=2)
        hanging = asyncio.create_task(world.judge(Document((Text("hang"),)), TASKS[0]))
        await asyncio.sleep(0)
        others = await asyncio.gather(*(world.judge(Document((Text(str(n)),)), TASKS[0]) for n in range(20)))
        still = not hanging.done()
        hanging.cancel()
        return still, {isinstance(judgment, Scored) for answer in others for judgment in answer.values()}

    assert asyncio.run(judge_all()) == (True, {True})


def test_who_waits_for_the_turn_of_one_that_hangs_is_judged_after_its_deadline() -> None:
    async def judge_both() -> list[Judgments]:
        world = world_of(HangsAtOne(), judge_deadline=0.05, judge_concurrency=1)
        return await asyncio.gather(*(world.judge(Document((Text(text),)), TASKS[0]) for text in ("hang", "other")))

    lost, kept = asyncio.run(judge_both())
    assert all(isinstance(judgment, Unscored) and "0.05 seconds" in judgment.reason for judgment in lost.values())
    assert all(isinstance(judgment, Scored) for judgment in kept.values())


# -------------------------------------------------------------------------------------------------------------- environments


def environment_options(judge: Any, **options: Any) -> dict[str, Any]:
    return {
        "config": "rules", "reward": "llmi", "tasks": TASKS, "world": world_of(judge), "action_mode": "document", **options
    }  # fmt: skip


def episodes(judge: Any, count: int = 20, **options: Any) -> Iterator[tuple[float, bool, bool, dict[str, Any]]]:
    env = gym.make("LLMI-v0", **environment_options(judge, **options))
    for number in range(count):
        env.reset(seed=number, options={"task": TASKS[number % len(TASKS)]})
        _, reward, terminated, truncated, info = env.step(text_of(number))
        yield float(reward), terminated, truncated, info
    env.close()


@pytest.fixture(scope="module")
def true_rewards() -> list[float]:
    return [reward for reward, *_ in episodes(SimulatedJudge())]


@pytest.mark.parametrize("mode", MODES)
def test_an_episode_has_its_true_reward_or_is_truncated(true_rewards: list[float], mode: Any) -> None:
    lost = 0
    for true, (reward, terminated, truncated, info) in zip(
        true_rewards, episodes(FlakyJudge(SimulatedJudge(), RATE, mode, lasting=True)), strict=True
    ):
        if "unscored" in info:
            assert (reward, terminated, truncated) == (0.0, False, True)
            assert info["report"].total is None
            lost += 1
        else:
            assert (reward, terminated, truncated) == (true, True, False)
    assert 0 < lost < len(true_rewards)


def test_asked_again_most_have_a_score(true_rewards: list[float]) -> None:
    lasting, passing = (
        [reward for reward, _, truncated, _ in episodes(FlakyJudge(SimulatedJudge(), RATE, "raise", lasting=lasting)) if not truncated]
        for lasting in (True, False)
    )  # fmt: skip
    assert len(lasting) < len(passing)
    assert not Counter(passing) - Counter(true_rewards)


def test_without_a_score_a_reward_is_nan_or_an_error_where_that_was_asked_for(true_rewards: list[float]) -> None:
    rewards = [reward for reward, *_ in episodes(FlakyJudge(SimulatedJudge(), RATE), unscored="nan")]
    assert any(map(math.isnan, rewards))
    assert all(math.isnan(reward) or reward == true for reward, true in zip(rewards, true_rewards, strict=True))
    with pytest.raises(UnscoredEpisode):
        list(episodes(FlakyJudge(SimulatedJudge(), RATE), unscored="raise"))


@pytest.mark.parametrize("mode", MODES)
def test_many_environments_at_a_time(true_rewards: list[float], mode: Any) -> None:
    judge = FlakyJudge(SimulatedJudge(), RATE, mode, lasting=True)
    count = len(true_rewards)
    envs = gym.make_vec("LLMI-v0", num_envs=count, **environment_options(judge))
    envs.reset(seed=0, options={"task": [TASKS[number % len(TASKS)] for number in range(count)]})
    _, rewards, terminated, truncated, _ = envs.step([text_of(number) for number in range(count)])
    envs.close()
    assert [float(reward) for reward, lost in zip(rewards, truncated, strict=True) if not lost] == [
        true for true, lost in zip(true_rewards, truncated, strict=True) if not lost
    ]
    assert 0 < truncated.sum() < count
    assert not (terminated & truncated).any()
    assert not rewards[truncated].any()


# ------------------------------------------------------------------------------------------------------------------- over HTTP

BROKEN = {
    "a page": "<html>502</html>",
    "nothing": "",
    "cut off": '{"judgments": {"text_quality": {"score": 5',
    "a text as score": '{"judgments": {"text_quality": {"score": "5", "text": ""}}}',
    "a truth value as score": '{"judgments": {"text_quality": {"score": true, "text": ""}}}',
    "NaN": '{"judgments": {"text_quality": {"score": NaN, "text": ""}}}',
    "out of range": '{"judgments": {"text_quality": {"score": 7, "text": ""}}}',
    "no score": '{"judgments": {"text_quality": {"text": ""}}}',
    "votes out of range": '{"judgments": {"text_quality": {"score": 3, "text": "", "votes": [9, -3]}}}',
    "no terms": '{"judgments": {}}',
    "a list": '{"judgments": [5, 5, 5, 5, 5]}',
    "plain numbers": '{"judgments": {"text_quality": 5}}',
    "something else": '{"scores": {"text_quality": 5}}',
}


def replying(status: int, body: str, headers: dict[str, str] | None = None) -> FastAPI:
    """A World that answers all questions for judgments with the same."""
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"version": "0", "protocol": wire.PROTOCOL, "config": "", "tools": [], "requests": 0, "pid": 1}

    @app.get("/terms")
    async def terms() -> dict[str, Any]:
        return {"judges": [{"name": "a", "identity": "a", "terms": list(JUDGED_TERMS)}]}

    @app.post("/judge")
    async def judge() -> Response:
        return Response(body, status, headers)

    return app


def score_over_http(app: FastAPI) -> Any:
    with served(app) as url:
        judgments = asyncio.run(HttpWorld(url, attempts=2).judge(Document((Text("Owls."),)), TASKS[0]))
    return REWARD.score(Document((Text("Owls."),)), TASKS[0], judgments)


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_of_a_service_is_no_score(body: str) -> None:
    report = score_over_http(replying(200, body))
    assert report.total is None
    assert report.terms["text_quality"].raw is None


@pytest.mark.parametrize(
    ("status", "headers"),
    [(200, {"content-encoding": "gzip"}), (500, {}), (302, {"location": "/"}), (401, {})],
    ids=str,
)
def test_neither_is_an_answer_that_is_none(status: int, headers: dict[str, str]) -> None:
    assert score_over_http(replying(status, "no", headers)).total is None


def test_a_service_with_a_flaky_judge() -> None:
    from llmi_env.world.service import create_app

    config = simulated_config(judge_deadline=0.1, judge_concurrency=100)
    flaky = {"use": "llmi_env.testing:FlakyJudge", "failure_rate": RATE, "lasting": True}
    documents = [Document((Text(text_of(n)),)) for n in range(40)]

    async def rewards(world: Any) -> list[float | None]:
        answers = await asyncio.gather(*(world.judge(document, TASKS[0]) for document in documents))
        await world.aclose()
        return [
            REWARD.score(document, TASKS[0], answer).total for document, answer in zip(documents, answers, strict=True)
        ]

    true = asyncio.run(rewards(InProcessWorld.from_config(config)))
    with served(create_app(config.model_copy(update={"judges": [flaky]}))) as url:
        found = asyncio.run(rewards(HttpWorld(url)))
    assert None not in true
    assert 0 < found.count(None) < len(found)
    assert all(reward in (expected, None) for reward, expected in zip(found, true, strict=True))


# ------------------------------------------------------------------------------------------------------------- the judge itself


def test_what_goes_wrong_is_fixed_by_the_seed() -> None:
    async def said(**options: Any) -> list[str]:
        judge = FlakyJudge(SimulatedJudge(), 0.5, "unscored", **options)
        answers = [await judge(Document((Text("Owls."),)), task) for task in TASKS for _ in range(2)]
        return ["".join("S" if isinstance(given, Scored) else "-" for given in answer.values()) for answer in answers]

    first, again, other = (asyncio.run(said(seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    lasting = asyncio.run(said(seed=1, lasting=True))
    assert lasting[::2] == lasting[1::2]
    assert first[::2] != first[1::2]


def test_it_wraps_any_judge_by_name() -> None:
    config = WorldConfig.parse(
        {"judges": [{"use": "llmi_env.testing:FlakyJudge", "judge": {"use": "llmi_env.testing:SimulatedJudge", "score": 4, "concurrency": 7}}]}
    )  # fmt: skip
    ((_, options),) = config.judge_uses()
    judge = FlakyJudge(**options, failure_rate=0)
    assert judge.concurrency == 7
    answer = asyncio.run(judge(Document((Text("Owls."),)), TASKS[0]))
    assert {given.score for given in answer.values() if isinstance(given, Scored)} == {4.0}


@pytest.mark.parametrize("options", [{"mode": "babel"}, {"failure_rate": 1.5}, {"judge": "embeded"}], ids=str)
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        FlakyJudge(**options)

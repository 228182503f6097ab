"""What is measured beside ours does the same work."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.baselines.after_batch import score_after_batch
from llmi_env.calls import Call
from llmi_env.document import Document
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import run_rollouts
from llmi_env.task import Task
from llmi_env.testing import SimulatedJudge, SimulatedTool, simulated_world
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments

TASKS = [Task(f"Write about bird {n}.", id=f"bird-{n}", tools=("search",)) for n in range(4)]
REWARD = HybridReward.preset("llmi")
FIND = Call("search", "a bird", {"query": "bird"}).to_json()
GREY = Call("edit", "a grey bird", {"img_index": 0, "prompt": "grayscale"}).to_json()
FORMS = ("Bird.", f"A bird: <imgen>{FIND}</imgen> and so on.", f"<imgen>{FIND}</imgen> Then <imgen>{GREY}</imgen>.",
         f"<imgen>{GREY}</imgen> <imgen>{{broken</imgen> <imgen>{FIND}</imgen>", f"<imgen>{FIND}")  # fmt: skip


def policy() -> ScriptedPolicy:
    return ScriptedPolicy(lambda prompt, seed: FORMS[seed % len(FORMS)])


def test_scoring_after_the_batch_gives_the_same_rollouts() -> None:
    options: dict[str, Any] = {"samples": 5, "seed": 3, "max_tokens": 400}
    ours = asyncio.run(run_rollouts(policy(), simulated_world(), REWARD, TASKS, **options)).rollouts
    theirs = asyncio.run(score_after_batch(policy(), simulated_world(), REWARD, TASKS, **options))
    assert theirs == ours
    assert len({rollout.seed % len(FORMS) for rollout in ours}) == len(FORMS)
    assert len({rollout.reward for rollout in ours}) > len(FORMS)


def test_it_scores_after_the_batch_with_so_many_threads() -> None:
    log: list[str] = []
    at_work: list[int] = []

    class LoggedTool(SimulatedTool):
        async def __call__(self, *given: Any) -> Any:
            log.append("tool")
            return await super().__call__(*given)

    class LoggedJudge(SimulatedJudge):
        async def __call__(self, document: Document, task: Task) -> Judgments:
            log.append("judge")
            at_work.append(at_work[-1] + 1 if at_work else 1)
            judgments = await super().__call__(document, task)
            at_work.append(at_work[-1] - 1)
            return judgments

    class LoggedPolicy(ScriptedPolicy):
        async def write(self, *given: Any) -> Any:
            stats = await super().write(*given)
            log.append("written")
            return stats

    world = InProcessWorld(
        {"search": LoggedTool("search"), "edit": LoggedTool("edit")}, [LoggedJudge(latency=0.01, concurrency=64)]
    )
    scripted = LoggedPolicy(lambda prompt, seed: FORMS[seed % 3])
    asyncio.run(score_after_batch(scripted, world, REWARD, TASKS, samples=4, max_tokens=400, threads=3))
    assert log == ["written", *["tool"] * log.count("tool"), *["judge"] * 16]
    assert max(at_work) == 3

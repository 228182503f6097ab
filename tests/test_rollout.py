"""Rollouts with a scripted policy and simulated tools and judges: what runs beside what, and what is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from llmi_env.calls import Call
from llmi_env.document import Document, Outcome, Picture
from llmi_env.episode import StopReason
from llmi_env.errors import ConfigError, WorldError
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Awaited, Rollout, RolloutBatch, rollout_seed, run_rollouts
from llmi_env.task import Task
from llmi_env.testing import SimulatedJudge, SimulatedTool
from llmi_env.tokenizers import ByteTokenizer
from llmi_env.transcript import Owner
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments

OWLS, BEES = Task("Write about owls.", id="owls", tools=("search",)), Task("Write about bees.", id="bees")
SEARCH = Call("search", "an owl", {"query": "owl"}).to_json()
EDIT = Call("edit", "a grey owl", {"img_index": 0, "prompt": "grayscale"}).to_json()
ILLUSTRATED = f"Owls hunt at night.\n<imgen>{SEARCH}</imgen>\nThey hear well. <imgen>{EDIT}</imgen>"
REWARD = HybridReward.preset("llmi")


def roll(
    world: Any, script: Any = ILLUSTRATED, tasks: Sequence[Task] = (OWLS,), pace: float = 0.0, **options: Any
) -> RolloutBatch:
    options = {"max_tokens": 2000} | options
    return asyncio.run(run_rollouts(ScriptedPolicy(script, pace=pace), world, REWARD, tasks, **options))


def test_a_rollout_holds_everything(make_world: Callable[..., InProcessWorld]) -> None:
    (rollout,) = roll(make_world()).rollouts
    assert rollout.document.to_source() == ILLUSTRATED
    assert [figure.picture is not None for figure in rollout.document.figures] == [True, True]
    assert rollout.stop is StopReason.END
    assert rollout.reward is not None
    assert 0 < rollout.reward <= 1
    rollout.ledger.check()
    assert bytes(rollout.ledger.response_ids[:-1]).decode() == ILLUSTRATED
    assert rollout.ledger.owners[-1] is Owner.POLICY
    assert 0 < rollout.times.written <= rollout.times.landed <= rollout.times.judged


def test_groups_samples_and_seeds(make_world: Callable[..., InProcessWorld]) -> None:
    batch = roll(make_world(), tasks=[OWLS, BEES], samples=3, seed=5)
    assert [(r.task.id, r.group) for r in batch.rollouts] == [("owls", 0)] * 3 + [("bees", 1)] * 3
    assert len({r.seed for r in batch.rollouts}) == 6
    assert batch.rollouts[4].seed == rollout_seed(5, BEES, 1)


def test_a_task_that_comes_twice_is_not_written_twice_alike(make_world: Callable[..., InProcessWorld]) -> None:
    batch = roll(make_world(), tasks=[OWLS, BEES, OWLS], samples=2, seed=5)
    assert len({r.seed for r in batch.rollouts}) == 6


def test_the_same_seed_gives_the_same_rollouts(make_world: Callable[..., InProcessWorld]) -> None:
    tools = {"search": {"latency": 0.01, "jitter": 1.0}}
    first = roll(make_world(**tools), tasks=[OWLS, BEES], samples=2, seed=1)
    again = roll(make_world(**tools), tasks=[OWLS, BEES], samples=2, seed=1)
    assert first.rollouts == again.rollouts
    other = roll(make_world(**tools), tasks=[OWLS, BEES], samples=2, seed=2)
    assert [r.document.pictures for r in other.rollouts] != [r.document.pictures for r in first.rollouts]


def test_calls_run_while_the_policy_writes_on(make_world: Callable[..., InProcessWorld]) -> None:
    world = make_world(search={"latency": 0.3}, edit={"latency": 0.0})
    text = f"<imgen>{SEARCH}</imgen>" + "x" * 300
    (rollout,) = roll(world, text, pace=0.001).rollouts
    assert rollout.times.written > 0.25
    assert rollout.times.landed - rollout.times.written < 0.2


def test_who_is_finished_is_judged_while_others_write(make_world: Callable[..., InProcessWorld]) -> None:
    world = make_world(judge={"latency": 0.1})
    short, long = "short", "l" * 400
    done: list[str] = []
    batch = roll(
        world,
        lambda prompt, seed: short if b"owls" in bytes(prompt) else long,
        tasks=[OWLS, BEES],
        pace=0.001,
        on_done=lambda rollout: done.append(str(rollout.task.id)),
    )
    assert done == ["owls", "bees"]
    assert batch.rollouts[0].times.judged < batch.rollouts[1].times.written


def test_the_time_until_all_are_judged_can_be_used(make_world: Callable[..., InProcessWorld]) -> None:
    world = make_world(judge={"latency": 0.4})
    seen: list[tuple[list[int], bool]] = []

    async def meanwhile(awaited: Awaited) -> None:
        seen.append(([len(ledger) for ledger in awaited.ledgers], awaited.pending))
        await asyncio.sleep(0.3)
        seen.append(([], awaited.pending))
        while awaited.pending:
            await asyncio.sleep(0.01)

    batch = roll(world, tasks=[OWLS, BEES], samples=2, meanwhile=meanwhile)
    assert seen == [([len(rollout.ledger) for rollout in batch.rollouts], True), ([], True)]
    assert 0.35 < batch.meanwhile < batch.seconds
    assert batch.after < 0.1


def test_each_judgment_is_known_when_it_is_there(make_world: Callable[..., InProcessWorld]) -> None:
    world = make_world(judge={"latency": 0.2, "concurrency": 1})
    seen: list[list[Rollout | None]] = []

    async def meanwhile(awaited: Awaited) -> None:
        while awaited.pending:
            await awaited.more()
            seen.append(list(awaited.rollouts))

    batch = roll(world, tasks=[OWLS], samples=3, meanwhile=meanwhile)
    assert [sum(rollout is not None for rollout in known) for known in seen] == [1, 2, 3]
    assert tuple(seen[-1]) == batch.rollouts
    assert batch.meanwhile < 0.1  # waiting for one more is waiting
    assert batch.after > 0.4


def test_what_is_done_meanwhile_may_take_longer_or_fail(make_world: Callable[..., InProcessWorld]) -> None:
    async def slow(awaited: Awaited) -> None:
        await asyncio.sleep(0.3)
        assert not awaited.pending
        await awaited.more()

    batch = roll(make_world(), meanwhile=slow)
    assert batch.meanwhile > 0.25
    assert batch.after < 0.1

    async def fails(awaited: Awaited) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        roll(make_world(judge={"latency": 60.0}), meanwhile=fails)


def test_calls_of_one_document_run_together(make_world: Callable[..., InProcessWorld]) -> None:
    calls = "".join(f"<imgen>{Call('search', 'x', {'query': str(n)}).to_json()}</imgen>" for n in range(4))
    start = time.perf_counter()
    roll(make_world(search={"latency": 0.3}), calls)
    assert time.perf_counter() - start < 1.0


def test_no_score_is_a_value(make_world: Callable[..., InProcessWorld]) -> None:
    (rollout,) = roll(make_world(judge={"failure_rate": 1.0, "raises": True})).rollouts
    assert rollout.reward is None
    assert any("simulated outage" in reason for reason in rollout.report.unscored)


def test_the_token_limit_ends_a_document(make_world: Callable[..., InProcessWorld]) -> None:
    (rollout,) = roll(make_world(), max_tokens=30).rollouts
    assert rollout.stop is StopReason.LENGTH
    assert rollout.ledger.n_policy == 30
    (figure,) = rollout.document.figures
    assert figure.failure is not None
    assert figure.failure.kind == "malformed"


def test_an_edit_of_a_failed_figure_fails_and_nobody_waits(make_world: Callable[..., InProcessWorld]) -> None:
    (rollout,) = roll(make_world(search={"failure_rate": 1.0, "failure": "empty"})).rollouts
    assert [figure.failure and figure.failure.kind for figure in rollout.document.figures] == ["empty", "bad_params"]


def test_an_edit_of_an_unreadable_call_fails_too(make_world: Callable[..., InProcessWorld]) -> None:
    (rollout,) = roll(make_world(), f"<imgen>nothing</imgen><imgen>{EDIT}</imgen>").rollouts
    assert [figure.failure and figure.failure.kind for figure in rollout.document.figures] == [
        "malformed",
        "bad_params",
    ]


def test_text_feedback_is_shown_and_not_owned_by_the_policy(make_world: Callable[..., InProcessWorld]) -> None:
    world = make_world(search={"latency": 0.05})
    (rollout,) = roll(world, feedback="text").rollouts
    ledger = rollout.ledger
    shown = bytes(i for i, owner in zip(ledger.ids, ledger.owners, strict=True) if owner is Owner.TOOL).decode()
    assert "[picture 0: 64x64, an owl]" in shown
    assert "[picture 1: 64x64, a grey owl]" in shown
    written = bytes(
        i for i, owner in zip(ledger.ids, ledger.owners, strict=True) if owner is Owner.POLICY and i < 256
    ).decode()
    assert written == ILLUSTRATED == rollout.document.to_source()
    at = bytes(ledger.response_ids[:-1]).decode().index("\n[picture 0")
    assert at == ILLUSTRATED.index("</imgen>") + len("</imgen>")


class Gone:
    """A World that cannot be reached."""

    async def run(self, call: Call, pictures: Sequence[Picture] = (), *, seed: int = 0) -> Outcome:
        raise WorldError("gone")

    async def judge(self, document: Document, task: Task) -> Judgments:
        raise WorldError("gone")

    async def aclose(self) -> None:
        return None


@pytest.mark.parametrize("feedback", ["none", "text"])
def test_a_world_that_is_gone_ends_everything_at_once(feedback: str) -> None:
    with pytest.raises(WorldError, match="gone"):
        roll(Gone(), feedback=feedback)


def test_a_policy_that_fails_leaves_no_call_behind() -> None:
    class Failing(ScriptedPolicy):
        async def write(self, rows: Any, sampling: Any) -> Any:
            for token in f"<imgen>{SEARCH}</imgen>".encode():
                rows[0].take(token, -1.0)
            await asyncio.sleep(0)
            raise RuntimeError("out of memory")

    async def run() -> set[Any]:
        world = InProcessWorld({"search": SimulatedTool(latency=30)}, [SimulatedJudge()])
        with pytest.raises(RuntimeError, match="out of memory"):
            await run_rollouts(Failing(""), world, REWARD, [OWLS])
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert not asyncio.run(run())


def test_nothing_to_do_and_bad_sizes(make_world: Callable[..., InProcessWorld]) -> None:
    assert roll(make_world(), tasks=[]).rollouts == ()
    for options in ({"samples": 0}, {"max_tokens": 0}):
        with pytest.raises(ConfigError, match="must be 1 or more"):
            roll(make_world(), **options)


def test_the_policy_is_asked_with_the_prompt_of_the_task(make_world: Callable[..., InProcessWorld]) -> None:
    seen: list[bytes] = []

    def script(prompt: Sequence[int], seed: int) -> str:
        seen.append(bytes(prompt))
        return "text"

    tools: Mapping[str, Any] = {}
    roll(make_world(), script, tools=tools)
    assert b"Write about owls." in seen[0]
    assert b"search" not in seen[0]
    assert isinstance(ScriptedPolicy("").tokenizer, ByteTokenizer)

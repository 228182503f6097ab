"""What is measured beside ours does the same work."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from benchmarks.baselines import waves
from benchmarks.baselines.after_batch import score_after_batch
from benchmarks.baselines.waves import write_then_illustrate
from benchmarks.tool_load import LATENCIES, ORDERS, Load, Words, bound, landings, makespan
from benchmarks.tool_runtime import crowd, measure
from benchmarks.tool_runtime_report import CAPACITIES, OURS, WAYS, Crowd, page
from llmi_env.calls import Call
from llmi_env.document import Document, Figure
from llmi_env.policies.scripted import ScriptedPolicy
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import run_rollouts
from llmi_env.task import Task
from llmi_env.testing import SimulatedJudge, SimulatedTool, simulated_world
from llmi_env.tokenizers import PieceTokenizer
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Judgments
from llmi_env.world.wire import DocumentMessage

TASKS = [Task(f"Write about bird {n}.", id=f"bird-{n}", tools=("search",)) for n in range(4)]
REWARD = HybridReward.preset("llmi")
FIND = Call("search", "a bird", {"query": "bird"}).to_json()
GREY = Call("edit", "a grey bird", {"img_index": 0, "prompt": "grayscale"}).to_json()


def edit_of(index: int) -> str:
    return Call("edit", "", {"img_index": index, "prompt": "blur"}).to_json()


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


# ------------------------------------------------------------------------------------------------------------------- waves

LOAD = Load(8, seed=4, faster=2_000, pace=2_000)
BROKEN = (
    "Nothing at all.",
    f"<imgen>{GREY}</imgen> <imgen>{{broken</imgen> <imgen>{FIND}</imgen> <imgen>{edit_of(1)}</imgen> <imgen>{edit_of(2)}</imgen> "
    f"<imgen>{edit_of(4)}</imgen>",
    f"<imgen>{FIND}</imgen> and <imgen>{edit_of(0)}",
    "<imgen>",
)


def written(*texts: str) -> ScriptedPolicy:
    left = iter(texts)
    return ScriptedPolicy(lambda prompt, seed: next(left), Words(texts))


def content(document: Document) -> bytes:
    """All of a document as it would be sent, but for the times of its pictures."""
    blocks = [
        replace(block, outcome=replace(block.picture, seconds=0.0, queued=0.0))
        if isinstance(block, Figure) and block.picture
        else block
        for block in document
    ]
    return DocumentMessage.of(Document(tuple(blocks))).encode()


@pytest.mark.parametrize(
    "texts", [LOAD.texts, BROKEN, *([FORMS[n]] for n in range(len(FORMS)))], ids=lambda texts: f"{len(texts)} texts"
)
def test_waves_give_the_same_documents_byte_for_byte(texts: Sequence[str]) -> None:
    tasks = [Task(f"Write about bird {n}.", id=f"bird-{n}") for n in range(len(texts))]
    options: dict[str, Any] = {"seed": 3, "max_tokens": 20_000}

    def world() -> InProcessWorld:
        failing = {"failure_rate": 0.2, "failure": "empty"}
        return simulated_world(tools=dict.fromkeys(LATENCIES, failing), attempts=1)

    ours = asyncio.run(run_rollouts(written(*texts), world(), REWARD, tasks, **options)).rollouts
    for at_once in ({}, {"documents": None, "calls": None}, {"documents": 1, "calls": 1}):
        theirs = asyncio.run(write_then_illustrate(written(*texts), world(), tasks, **options, **at_once))
        assert [content(one.document) for one in theirs] == [content(one.document) for one in ours]
    assert [one.document.to_source() for one in ours] == list(texts)


def test_waves_begin_after_writing_and_wait_for_the_slowest() -> None:
    events: list[str] = []

    class Logged(SimulatedTool):
        async def __call__(self, params: Any, context: Any) -> Any:
            events.append(f"{params.get('query') or params['prompt']} starts")
            made = await super().__call__(params, context)
            events.append(f"{params.get('query') or params['prompt']} ends")
            return made

    class Noting(ScriptedPolicy):
        async def write(self, *given: Any) -> Any:
            stats = await super().write(*given)
            events.append("written")
            return stats

    def text(number: int) -> str:
        finds = [Call("search", "", {"query": f"d{number} find-{n}"}).to_json() for n in range(10)]
        first = Call("edit", "", {"img_index": 0, "prompt": f"d{number} edit-first"}).to_json()
        last = Call("edit", "", {"img_index": 10, "prompt": f"d{number} edit-last"}).to_json()
        return "".join(f"<imgen>{call}</imgen>" for call in (*finds, first, last))

    tools = {name: Logged(name, latency=0.01, spread=1.0) for name in ("search", "edit")}
    world = InProcessWorld(tools, config=WorldConfig(tools={}, judges=[], concurrency={"search": 99, "edit": 99}))
    tasks = [Task(f"Write about bird {n}.", id=f"bird-{n}") for n in range(8)]
    left = map(text, range(8))
    policy = Noting(lambda prompt, seed: next(left), Words(map(text, range(8))))
    made = asyncio.run(write_then_illustrate(policy, world, tasks, max_tokens=20_000))
    assert events.pop(0) == "written"
    assert all(one.landed > one.written for one in made)
    begun, ended = ([e.split()[0] for e in events if e.endswith(end)] for end in ("find-0 starts", "edit-last ends"))
    places = [(events.index(f"{d} find-0 starts"), events.index(f"{d} edit-last ends")) for d in begun]
    assert len(begun) == len(ended) == 8
    assert max(sum(a <= at < b for a, b in places) for at in range(len(events))) == waves.DOCUMENTS
    for number in range(8):
        own = [event.removeprefix(f"d{number} ") for event in events if event.startswith(f"d{number} ")]
        running = itertools.accumulate(1 if event.endswith("starts") else -1 for event in own)
        assert max(running) == waves.CALLS
        barrier = own.index("edit-first starts")
        assert {event for event in own[:barrier] if event.endswith("ends")} == {f"find-{n} ends" for n in range(10)}
        assert own[barrier:] == ["edit-first starts", "edit-first ends", "edit-last starts", "edit-last ends"]


# ------------------------------------------------------------------------------------------------------------ bounds of a load


def test_the_critical_path_is_what_a_run_without_limits_takes() -> None:
    for seed in range(3):
        load = Load(10, seed)
        free = dict.fromkeys(LATENCIES, 10_000)
        assert makespan(load, free, ORDERS[0]) == pytest.approx(max(landings(load)))
        assert bound(load, free) == (pytest.approx(max(landings(load))), "critical path")
        kinds = {load.calls[call.source].tool for call in load.calls if call.source is not None}
        assert "edit" in kinds
        assert all(call.source is None or load.calls[call.source].document == call.document for call in load.calls)


def test_no_order_is_below_the_bound_and_one_place_is_never_idle() -> None:
    load = Load(6, seed=2)
    for places in ({"search": 8, "diffusion": 1, "edit": 2, "code": 2}, {"search": 1, "diffusion": 1, "edit": 1, "code": 1}):  # fmt: skip
        assert all(makespan(load, places, order) >= bound(load, places)[0] for order in ORDERS)
    searches = replace(load)
    searches.__dict__["_timed"] = ([replace(call, tool="search", source=None) for call in load.calls], load.ends)
    work = sum(call.latency for call in load.calls)
    alone = {"search": 1}
    assert bound(searches, alone) == (pytest.approx(work), "search / 1")
    assert all(
        work <= makespan(searches, alone, order) <= work + min(call.written for call in load.calls) + 1e-9
        for order in ORDERS
    )


def test_the_benchmark_measures_no_way_below_the_critical_path_and_writes_its_page() -> None:
    load = Load(4, seed=1, faster=200)
    assert load.tokenizer.encode(load.texts[0]) == PieceTokenizer(load.tokenizer.pieces).encode(load.texts[0])
    runs = {(way, n): [asyncio.run(measure(way, load, CAPACITIES[n]))] for way in WAYS for n in (0, 3)}
    for (_, number), (run,) in runs.items():
        # A clock read late, on a busy machine, makes a run look shorter: no more than that is allowed for.
        assert run.makespan > 0.8 * load.faster * bound(load, CAPACITIES[number])[0]
        assert len(run.waits) == 4
    runs |= {(way, n): runs[way, 3] for way in WAYS for n in (1, 2)}
    many = Crowd.of(json.loads(json.dumps(asdict(asyncio.run(crowd(Load(5, faster=200)))))))
    assert many.run.makespan > 0.8 * many.best
    text = page("python", load, load, runs, [many], (4,), range(2))
    critical = load.faster * max(landings(load))
    assert f"| critical path, computed | {critical:.1f} | 1 |" in text
    assert f"| ours | {runs[OURS, 0][0].makespan:.1f} | {runs[OURS, 0][0].makespan / critical:.3f} |" in text
    assert all(way in text for way in WAYS)
    assert "nan" not in text


def test_declared_latencies_are_log_normal_and_fixed_by_params_and_seed() -> None:
    tool, plain = SimulatedTool("search", latency=0.8, spread=0.5), SimulatedTool("search", latency=0.8)
    drawn = [tool.latency_of({"query": "owl"}, seed) for seed in range(4_000)]
    logarithms = [math.log(seconds / 0.8) for seconds in drawn]
    assert statistics.fmean(logarithms) == pytest.approx(0, abs=0.03)
    assert statistics.pstdev(logarithms) == pytest.approx(0.5, abs=0.03)
    assert tool.latency_of({"query": "owl"}, 7) == drawn[7]
    assert tool.latency_of({"query": "bee"}, 7) != drawn[7]
    assert plain.latency_of({"query": "owl"}, 7) == 0.8
    brief = SimulatedTool("search", latency=0.05, spread=0.5)
    took = asyncio.run(InProcessWorld({"search": brief}).run(Call("search", "", {"query": "owl"}), seed=7)).seconds  # type: ignore[union-attr]
    assert 0 < took - brief.latency_of({"query": "owl"}, 7) < 1

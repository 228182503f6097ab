"""Tools that run while documents are written, beside tools in waves afterwards and beside what is possible. Makes `results/tool_runtime.md`.

    python -m benchmarks.tool_runtime            # all of it, about 16 minutes, nearly all of them waiting
    python -m benchmarks.tool_runtime --quick    # few documents, everything forty times as fast, to see that it runs

A scripted policy writes documents of 1 to 12 calls at a declared pace, a part of the calls edits and edits of edits; simulated tools take
declared, log-normal times (`tool_load.py`). All ways write the same documents, with the same latencies, and begin with the first token.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.baselines import waves
from benchmarks.tool_load import Load, Words, bound, landings
from benchmarks.tool_runtime_report import ALL, CAPACITIES, FREE, OURS, WAYS, Crowd, Run, page
from llmi_env.policies.base import Row, Sampling, WriteStats
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import run_rollouts
from llmi_env.testing import simulated_world

OUT = Path(__file__).parent / "results" / "tool_runtime.md"
_LENGTH = 4_000
_TICK = 0.005


class PacedPolicy:
    """Writes the documents of a load at its pace; the tokens up to the end of a call are handed over in one go, when its last one is due."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._ids = [[*load.tokenizer.encode(text), load.tokenizer.eos_id] for text in load.texts]
        self._ends = frozenset(token for token, piece in enumerate(load.tokenizer.pieces) if ">" in piece)
        self.began = asyncio.Event()
        self.start = 0.0

    @property
    def tokenizer(self) -> Words:
        """The load's."""
        return self._load.tokenizer

    async def write(self, rows: Sequence[Row], sampling: Sampling) -> WriteStats:
        """Write all rows."""
        del sampling
        self.start = time.perf_counter()
        self.began.set()
        await asyncio.gather(*map(self._write, rows, self._ids))
        return WriteStats(tokens=sum(map(len, self._ids)), seconds=time.perf_counter() - self.start)

    async def _write(self, row: Row, ids: Sequence[int]) -> None:
        done = 0
        for count, token in enumerate(ids, start=1):
            if token in self._ends or count == len(ids):
                await asyncio.sleep(max(0.0, self.start + count / self._load.real_pace - time.perf_counter()))
                for one in ids[done:count]:
                    row.take(one, -1.0)
                done = count


@asynccontextmanager
async def lag_measured(began: asyncio.Event) -> AsyncIterator[list[float]]:
    """Collects how late a short timer is, in seconds, from `began` to the end of the block."""
    late: list[float] = []

    async def watch() -> None:
        await began.wait()
        while True:
            due = time.perf_counter() + _TICK
            await asyncio.sleep(_TICK)
            late.append(time.perf_counter() - due)

    watching = asyncio.create_task(watch())
    try:
        yield late
    finally:
        watching.cancel()


def quantiles(late: Sequence[float]) -> tuple[float, float, float]:
    """Median, 99th percentile and maximum, in ms."""
    ranked = sorted(late) or [0.0]
    return (1000 * statistics.median(ranked), 1000 * ranked[int(0.99 * (len(ranked) - 1))], 1000 * ranked[-1])


async def measure(way: str, load: Load, capacity: Mapping[str, int]) -> Run:
    """Write and illustrate all documents in one way."""
    world = simulated_world(tools=load.tools(), concurrency=dict(capacity), cache_mb=4_000)
    policy = PacedPolicy(load)
    options: dict[str, Any] = {"seed": load.seed, "max_tokens": _LENGTH}
    start = time.perf_counter()
    async with lag_measured(policy.began) as late:
        if way == OURS:
            batch = await run_rollouts(policy, world, HybridReward.preset("rules"), load.tasks, **options)
            times = [(one.times.written, one.times.landed) for one in batch.rollouts]
        else:
            options |= {"documents": None, "calls": None} if way == ALL else {}
            made = await waves.write_then_illustrate(policy, world, load.tasks, **options)
            times = [(one.written, one.landed) for one in made]
    await world.aclose()
    last = max(landed for _, landed in times) - (policy.start - start)
    waits = [load.faster * (landed - written) for written, landed in times]
    return Run(load.faster * last, waits, quantiles(late))


# ------------------------------------------------------------------------------------------------------------------- a crowd


async def crowd(load: Load) -> Crowd:
    """Write and illustrate all documents of `load` at once, with free capacity."""
    best = max(landings(load))  # and with it all that is computed once
    await measure(OURS, Load(20, seed=load.seed + 1, faster=40), FREE)  # imports and first uses
    with collections_watched() as pauses:
        before, cpu = _peak_kib(reset=True), time.process_time()
        run = await measure(OURS, load, FREE)
        used = time.process_time() - cpu
    return Crowd(
        run,
        load.faster * best,
        (_peak_kib() - before) / load.documents,
        1000 * used / load.documents,
        load.real_pace * statistics.fmean(load.ends),
        len(load.calls) / load.documents,
        load.pace,
        1000 * max(pauses, default=0.0),
    )


@contextmanager
def collections_watched() -> Iterator[list[float]]:
    """Collects how long each garbage collection takes, in seconds, for the length of the block."""
    pauses: list[float] = []
    begun = 0.0

    def watch(phase: str, _: Mapping[str, int]) -> None:
        nonlocal begun
        if phase == "start":
            begun = time.perf_counter()
        else:
            pauses.append(time.perf_counter() - begun)

    gc.callbacks.append(watch)
    try:
        yield pauses
    finally:
        gc.callbacks.remove(watch)


def _peak_kib(reset: bool = False) -> float:
    """Memory of this process at the highest since the last reset, in KiB."""
    if reset:
        with suppress(OSError):  # where that is forbidden, the highest so far stands
            Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few documents, forty times as fast; nothing is written")
    parser.add_argument("--documents", type=int, default=32, help="documents beside the other ways (default: 32)")
    parser.add_argument("--faster", type=float, default=10, help="what declared times are divided by (default: 10)")
    parser.add_argument("--faster-free", type=float, default=2, help="the same with free capacity (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts (default: 3)")
    parser.add_argument("--crowd", type=int, default=2_000, help="documents open at once (default: 2,000)")
    parser.add_argument("--crowd-pace", type=float, default=10, help="their tokens a second (default: 10)")
    parser.add_argument("--crowd-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.documents, options.rounds, options.crowd, options.crowd_pace = 8, 1, 50, 100
        options.faster = options.faster_free = 40
    if options.crowd_only:
        print(json.dumps(asdict(asyncio.run(crowd(Load(options.crowd, pace=options.crowd_pace))))))
        return
    free, load = (Load(options.documents, faster=faster) for faster in (options.faster_free, options.faster))
    console = Console(stderr=True)
    asyncio.run(measure(OURS, Load(8, seed=1, faster=100), FREE))  # imports and first uses
    runs: dict[tuple[str, int], list[Run]] = {}
    for _, (number, capacity), way in itertools.product(range(options.rounds), enumerate(CAPACITIES), WAYS):
        scaled = free if capacity is FREE else load
        run = asyncio.run(measure(way, scaled, capacity))
        runs.setdefault((way, number), []).append(run)
        ratio = run.makespan / (scaled.faster * bound(scaled, capacity)[0])
        console.print(
            f"{way}, {capacity}: {run.makespan:.1f} s ({ratio:.3f}), lag {run.lag[0]:.1f}..{run.lag[2]:.1f} ms"
        )
    command = [sys.executable, "-m", "benchmarks.tool_runtime", "--crowd-only"]
    command += ["--crowd", str(options.crowd), "--crowd-pace", str(options.crowd_pace)]
    crowds: list[Crowd] = []
    for _ in range(options.rounds):
        with console.status(f"{options.crowd} documents"):
            answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        crowds.append(many := Crowd.of(json.loads(answer.stdout)))
        console.print(f"{options.crowd} documents: {many.run.makespan:.1f} s, lag up to {many.run.lag[2]:.0f} ms")
    asked = " ".join(["python -m benchmarks.tool_runtime", *sys.argv[1:]])
    text = page(asked, free, load, runs, crowds, (8, 16, 32, 64), range(2 if options.quick else 10))
    print(text)
    if not options.quick:
        OUT.write_text(text, encoding="utf-8")
        console.print(f"written: {OUT}")


if __name__ == "__main__":
    main()

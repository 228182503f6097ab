"""Judging while documents are being written, beside judging after the batch. Makes `results/judging.md`.

    python -m benchmarks.judging            # all of it, about five minutes
    python -m benchmarks.judging --quick    # 32 episodes and a quick judge, to see that it runs

A scripted policy writes documents that end at declared times, spread evenly over the writing; every second one asks for a picture, every fourth
has it edited too. Tools and the judge are simulated with declared latencies; the judge takes `--slots` documents at the same time. What is
measured is the wall time from the first token to the last reward against what the judge's slots allow, and what an open episode costs in memory
and a judged one in CPU time, here and in the World's helper process. Each figure comes from a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.baselines.after_batch import THREADS, score_after_batch
from llmi_env.calls import Call
from llmi_env.policies.base import Row, Sampling, WriteStats
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import run_rollouts
from llmi_env.task import Task
from llmi_env.testing import simulated_config
from llmi_env.tokenizers import ByteTokenizer
from llmi_env.world import connect
from llmi_env.world.config import WorldConfig
from llmi_env.world.local import LocalWorld

OUT = Path(__file__).parent / "results" / "judging.md"
OURS = ("ours, in process", HELPER := "ours, through the helper process")
WAYS = (*OURS, BASELINE := f"after the batch, {THREADS} threads")
SAMPLES = 4
FIRST = 0.25
BURSTS = 8
TOOL = 0.2


@dataclass(frozen=True)
class Load:
    """What is declared.

    Attributes:
        episodes: documents, in groups of `SAMPLES`.
        slots: documents that the judge takes at the same time.
        latency: seconds of one judgment.
        writing: seconds in which the documents are written; the first ends after `FIRST`, the others evenly spread.
        judged: whether the reward asks the judge at all.
    """

    episodes: int
    slots: int
    latency: float
    writing: float
    judged: bool = True

    @property
    def bound(self) -> float:
        """Seconds that the judge's slots need for all documents."""
        return self.episodes * self.latency / self.slots

    @property
    def ends(self) -> list[float]:
        """When each document is written, in seconds; the order is not that of the rows."""
        step = (self.writing - FIRST) / max(1, self.episodes - 1)
        return [FIRST + step * ((number * 37) % self.episodes) for number in range(self.episodes)]

    def services(self) -> WorldConfig:
        """The World: quick tools for everybody, one slow judge."""
        tools = {name: {"latency": TOOL, "size": 128} for name in ("search", "edit")}
        judge = {"latency": self.latency, "concurrency": self.slots}
        return simulated_config(tools=tools, judge=judge, concurrency={"search": 256, "edit": 256}, linger=0.0)


class TimedPolicy:
    """Writes every row's document in a few bursts that end at its declared time."""

    def __init__(self, load: Load) -> None:
        self._ends = load.ends
        self._tokenizer = ByteTokenizer()

    @property
    def tokenizer(self) -> ByteTokenizer:
        """Bytes."""
        return self._tokenizer

    async def write(self, rows: Sequence[Row], sampling: Sampling) -> WriteStats:
        """Write all rows."""
        del sampling
        start = time.perf_counter()
        counts = await asyncio.gather(*(self._write(row, number, start) for number, row in enumerate(rows)))
        return WriteStats(tokens=sum(counts), seconds=time.perf_counter() - start)

    async def _write(self, row: Row, number: int, start: float) -> int:
        ids = [*self._tokenizer.encode(text_of(number)), min(self._tokenizer.eos_ids)]
        size = -(-len(ids) // BURSTS)
        for burst in range(BURSTS):
            due = start + self._ends[number] * (burst + 1) / BURSTS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            for token in ids[burst * size : (burst + 1) * size]:
                row.take(token, -1.0)
        return len(ids)


def text_of(number: int) -> str:
    """The document number `number`."""
    text = f"Bird number {number} sings at dawn. "
    if number % 2:
        call = Call("search", f"bird number {number}", {"query": f"bird {number}"})
        text += f"<imgen>{call.to_json()}</imgen>"
    if number % 4 == 3:
        text += f"<imgen>{Call('edit', 'the same in grey', {'img_index': 0, 'prompt': 'grayscale'}).to_json()}</imgen>"
    return text + " At night it sleeps."


@dataclass(frozen=True)
class Cell:
    """One way of judging one load.

    Attributes:
        wall_s: from the first token to the last reward.
        best_s: the same with slots that never idle while a finished document waits, given when the documents were finished.
        landing_s: longest wait for a document's pictures after its last token.
        cpu_ms: CPU time of this process for an episode, writing included.
        kib: memory that an episode adds to this process, at the highest.
        helper_cpu_ms: CPU time of the World's helper process for an episode; none where there is no helper.
        helper_kib: memory that an episode adds to it.
        rewards: of all episodes in their order.
    """

    wall_s: float
    best_s: float
    landing_s: float
    cpu_ms: float
    kib: float
    helper_cpu_ms: float | None
    helper_kib: float | None
    rewards: list[float | None]


def best(load: Load, finished: Sequence[float]) -> float:
    """When the last of the documents is judged, if no slot idles while one waits; `finished` says when each was, in seconds."""
    slots = [0.0] * load.slots
    for moment in sorted(finished):
        heapq.heappush(slots, max(moment, heapq.heappop(slots)) + load.latency)
    return max(slots)


def used(pid: int) -> tuple[float, float]:
    """CPU time of a process so far in ms, and its memory in KiB at the highest."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    (peak,) = (
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), float(peak)


async def measure(way: str, load: Load) -> Cell:
    """Write, illustrate and judge all documents in one way."""
    world = connect("local" if way == HELPER else "in_process", load.services())
    reward = HybridReward.preset("llmi" if load.judged else "rules")
    tasks = [
        Task(f"Write about birds, number {n}.", id=f"birds-{n}", tools=("search",))
        for n in range(load.episodes // SAMPLES)
    ]
    options: dict[str, Any] = {"samples": SAMPLES, "max_tokens": 1000}
    await run_rollouts(TimedPolicy(load), world, reward, tasks[:1], seed=1, **options)  # imports and connections
    pids = [os.getpid(), *([(await world.health()).pid] if isinstance(world, LocalWorld) else [])]
    before, start = [used(pid) for pid in pids], time.perf_counter()
    if way == BASELINE:
        rollouts = await score_after_batch(TimedPolicy(load), world, reward, tasks, **options)
    else:
        rollouts = (await run_rollouts(TimedPolicy(load), world, reward, tasks, **options)).rollouts
    wall = time.perf_counter() - start
    costs = [
        [(now - then) / load.episodes for now, then in zip(used(pid), earlier, strict=True)]
        for pid, earlier in zip(pids, before, strict=True)
    ]
    await world.aclose()
    here, helper = costs[0], costs[1] if len(costs) > 1 else [None, None]
    return Cell(
        wall,
        best(load, [rollout.times.landed for rollout in rollouts]),
        max(rollout.times.landed - rollout.times.written for rollout in rollouts),
        *(cost for cost in here if cost is not None),
        *helper,
        [rollout.reward for rollout in rollouts],
    )


def measured(way: str, load: Load) -> Cell:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.judging", "--cell", json.dumps([way, asdict(load)])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr}")
    return Cell(**json.loads(done.stdout.strip().splitlines()[-1]))


def report(load: Load, crowd: Load, cells: dict[tuple[str, Load], Cell]) -> str:
    """The results as Markdown."""
    unjudged = {way: cells[way, replace(load, judged=False)] for way in OURS}
    same = len({tuple(cells[way, load].rewards) for way in WAYS}) == 1
    lines = [
        "# Judging while documents are written",
        "",
        "Made by `python -m benchmarks.judging` (its text says what is done).",
        "",
        f"{os.cpu_count()} cores (load average {os.getloadavg()[2]:.1f} in the last quarter of an hour, this run included), "
        f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
        "",
        f"## {load.episodes} episodes, a judge of {load.latency:g} s and {load.slots} slots",
        "",
        f"The judge's slots need {load.bound:g} s for all of them. The documents are written over {load.writing:g} s, the first is there after "
        f"{FIRST:g} s; a call takes {TOOL:g} s.",
        "",
        "| way | wall time, s | times the slots' bound | times the best possible for these documents | judge at work |",
        "|---|---:|---:|---:|---:|",
    ]
    for way in WAYS:
        cell = cells[way, load]
        possible = "-" if way == BASELINE else f"{cell.wall_s / cell.best_s:.2f}"
        lines.append(
            f"| {way} | {cell.wall_s:.1f} | {cell.wall_s / load.bound:.2f} | {possible} | "
            f"{100 * load.bound / cell.wall_s:.0f} % |"
        )
    lines += [
        "",
        "The best possible begins to judge each document when its last picture is there and lets no slot idle while one waits. "
        f"The three ways give {'the same rewards' if same else 'DIFFERENT REWARDS'}.",
        "",
        f"## {crowd.episodes:,} open episodes in one process, the same judge",
        "",
        "| way | wall time, s | times the slots' bound | memory of an episode here, KiB | in the helper, KiB | longest wait for pictures, s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for way in OURS:
        cell = cells[way, crowd]
        helper = "-" if cell.helper_kib is None else f"{cell.helper_kib:.0f}"
        lines.append(
            f"| {way} | {cell.wall_s:.1f} | {cell.wall_s / crowd.bound:.2f} | {cell.kib:.0f} | {helper} | {cell.landing_s:.1f} |"
        )
    lines += [
        "",
        "Memory is that at the highest, with document, pictures, tokens and report of every episode. "
        "The longest wait is counted from a document's last token.",
        "",
        "## CPU time of an episode",
        "",
        "| way | episodes | here, ms | in the helper, ms | here without judging, ms | in the helper without judging, ms |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for way in OURS:
        for size in (load, crowd):
            pair = cells[way, size], unjudged[way]
            shown = [value for cell in pair for value in (cell.cpu_ms, cell.helper_cpu_ms)]
            lines.append(
                f"| {way} | {size.episodes:,} | " + " | ".join("-" if v is None else f"{v:.1f}" for v in shown) + " |"
            )
    lines += [
        "",
        "Writing (token by token), calls and drawing the simulated pictures are in it; "
        f"without judging ({load.episodes} episodes) the reward is of rules alone.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few episodes and a quick judge; nothing is written")
    parser.add_argument("--episodes", type=int, default=256, help="episodes (default: 256)")
    parser.add_argument("--crowd", type=int, default=1024, help="open episodes (default: 1,024)")
    parser.add_argument("--slots", type=int, default=32, help="documents that the judge takes at once (default: 32)")
    parser.add_argument("--latency", type=float, default=2.0, help="declared seconds of a judgment (default: 2)")
    parser.add_argument("--writing", type=float, default=8.0, help="seconds of writing (default: 8)")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        way, given = json.loads(arguments.cell)
        print(json.dumps(asdict(asyncio.run(measure(way, Load(**given))))))
        return
    load = Load(arguments.episodes, arguments.slots, arguments.latency, arguments.writing)
    crowd = replace(load, episodes=arguments.crowd)
    if arguments.quick:
        load, crowd = Load(32, 8, 0.2, 1.0), Load(64, 8, 0.2, 1.0)
    console = Console(stderr=True)
    cells: dict[tuple[str, Load], Cell] = {}
    plan = [(way, load) for way in WAYS] + [(way, one) for way in OURS for one in (crowd, replace(load, judged=False))]
    for way, one in plan:
        with console.status(f"{way}, {one.episodes} episodes"):
            cell = cells[way, one] = measured(way, one)
        console.print(
            f"{way}, {one.episodes} episodes: {cell.wall_s:.1f} s, bound {one.bound if one.judged else 0:.1f} s"
        )
    text = report(load, crowd, cells)
    print(text)
    if not arguments.quick:
        OUT.write_text(text, encoding="utf-8")
        console.print(f"written: {OUT}")


if __name__ == "__main__":
    main()

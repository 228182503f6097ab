"""What `tool_runtime.py` measured, as a page."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.baselines.waves import DOCUMENTS
from benchmarks.tool_load import LATENCIES, ORDERS, SPREAD, Load, bound, landings, makespan

OURS, SOME, ALL = "ours", f"waves, {DOCUMENTS} documents at a time", "waves, all documents at once"
WAYS = (OURS, SOME, ALL)
LIMITED = [{"search": 8, "diffusion": places, "edit": 2, "code": 2} for places in (1, 2, 4)]
FREE = dict.fromkeys(LATENCIES, 100_000)
CAPACITIES = [FREE, *LIMITED]
ALIKE = {"search": 8, "diffusion": 8, "edit": 8, "code": 2}
TARGET_FREE, TARGET_LIMITED = 1.05, 1.15


@dataclass(frozen=True)
class Run:
    """One run of one way, in declared seconds (the lag in real milliseconds).

    Attributes:
        makespan: from the first token to the last picture of all.
        waits: of each document from its last token to its last picture.
        lag: by how much a timer of the event loop is late, in ms: median, 99 of 100, and the worst.
    """

    makespan: float
    waits: list[float]
    lag: tuple[float, float, float]

    @property
    def wait(self) -> float:
        """Mean of the waits."""
        return statistics.fmean(self.waits)


@dataclass(frozen=True)
class Crowd:
    """Many documents open in one process.

    Attributes:
        run: as of any run.
        best: the critical path's makespan.
        kib: memory that a document adds to the process, at the highest.
        cpu_ms: CPU time of a document.
        tokens: mean length of a document.
        calls: mean number of calls.
        pace: tokens a second of each document.
        pause_ms: the longest garbage collection.
    """

    run: Run
    best: float
    kib: float
    cpu_ms: float
    tokens: float
    calls: float
    pace: float
    pause_ms: float

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Crowd:
        """From what another process printed."""
        return cls(**{**data, "run": Run(**data["run"])})


def page(
    asked: str,
    free: Load,
    load: Load,
    runs: Mapping[tuple[str, int], Sequence[Run]],
    crowds: Sequence[Crowd],
    sizes: Sequence[int],
    seeds: Sequence[int],
) -> str:
    """The results as Markdown; `runs` by way and number of the capacity, some rounds each; `free` is the same load with free capacity."""
    chosen = {key: sorted(found, key=lambda run: run.makespan)[len(found) // 2] for key, found in runs.items()}
    kinds = ", ".join(f"{sum(call.tool == name for call in load.calls)} {name}" for name in LATENCIES)
    latencies = ", ".join(f"{name} {latency:g} s" for name, latency in LATENCIES.items())
    least = [(free if capacity is FREE else load, capacity) for capacity in CAPACITIES]
    ratios = [
        chosen[OURS, number].makespan / (one.faster * bound(one, capacity)[0])
        for number, (one, capacity) in enumerate(least)
    ]
    wait = chosen[OURS, 0].wait / _least_wait(free)
    return "\n".join(
        [
            "# The tool runtime",
            "",
            f"Made by `{asked}` (its text says what is done).",
            "",
            f"{os.cpu_count()} cores (load average {os.getloadavg()[0]:.1f} in the last minute, this run included), {platform.machine()}, "
            f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
            "",
            f"{load.documents} documents with {len(load.calls)} calls ({kinds}), begun together, each written at {load.pace:g} tokens a "
            f"second. Declared latencies: {latencies}; log-normal, {SPREAD:g} in the logarithm, these are the medians. All seeds are "
            f"fixed. Everything runs {load.faster:g} times as fast ({free.faster:g} times with free capacity); times are given in declared "
            f"seconds. Each figure is that of the run with the median makespan of {len(runs[OURS, 0])}.",
            "",
            "| to reach | measured | reached |",
            "|---|---|---|",
            f"| free capacity: at most {TARGET_FREE} times the critical path | {ratios[0]:.3f} | {_yes(ratios[0] <= TARGET_FREE)} |",
            f"| the same for the wait after a document's last token, mean | {wait:.3f} | {_yes(wait <= TARGET_FREE)} |",
            f"| limited capacity: at most {TARGET_LIMITED} times the better of two lower bounds | {', '.join(f'{r:.3f}' for r in ratios[1:])} "
            f"| {_yes(max(ratios[1:]) <= TARGET_LIMITED)} |",
            "",
            *_free(free, chosen),
            "",
            *_limited(load, chosen),
            "",
            *_orders(sizes, seeds),
            "",
            *_crowd(crowds),
            "",
        ]
    )  # fmt: skip


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


def _least_wait(load: Load) -> float:
    """Mean declared seconds from a document's last token to its last picture on the critical path."""
    return load.faster * statistics.fmean(
        max(0.0, there - end) for there, end in zip(landings(load), load.ends, strict=True)
    )


def _free(load: Load, chosen: Mapping[tuple[str, int], Run]) -> list[str]:
    land = landings(load)
    path = load.faster * max(land)
    wait = _least_wait(load)
    lag = chosen[OURS, 0].lag
    rows = [
        f"| {way} | {run.makespan:.1f} | {run.makespan / path:.3f} | {run.wait:.2f} | {run.wait / wait:.3f} |"
        for way in WAYS
        for run in [chosen[way, 0]]
    ]
    return [
        "## Free capacity",
        "",
        "| way | first token to last picture of all, s | times the critical path | last token to last picture of a document, mean, s "
        "| times the critical path's |",
        "|---|---:|---:|---:|---:|",
        f"| critical path, computed | {path:.1f} | 1 | {wait:.2f} | 1 |",
        *rows,
        "",
        f"Timers of the event loop were late by {lag[0]:.1f} ms at the median, {lag[1]:.1f} ms in 99 of 100 cases and {lag[2]:.1f} ms at "
        f"worst (ours; in declared time {load.faster:g} times that). Every way gives the same documents and pictures, byte for byte "
        "(`tests/test_baselines.py`).",
    ]  # fmt: skip


def _limited(load: Load, chosen: Mapping[tuple[str, int], Run]) -> list[str]:
    rows = []
    for number, capacity in list(enumerate(CAPACITIES))[1:]:
        least, name = bound(load, capacity)
        times = [chosen[way, number].makespan for way in WAYS]
        times.insert(1, load.faster * makespan(load, capacity, ORDERS[0]))
        waits = [chosen[way, number].wait for way in WAYS]
        rows.append(
            f"| {capacity['diffusion']} | {load.faster * least:.1f} ({name}) | "
            + " | ".join(f"{one:.1f} ({one / (load.faster * least):.3f})" for one in times)
            + f" | {', '.join(f'{wait:.1f}' for wait in waits)} |"
        )
    return [
        "## Limited capacity",
        "",
        "Places: search 8, edit 2, code 2, and diffusion as in the first column. The bound is the larger of the critical path and the work of "
        "the busiest tool divided by its places. First token to last picture of all in seconds, and in brackets over the bound.",
        "",
        f"| diffusion | bound | ours | ours, computed | {SOME} | {ALL} | last token to last picture, mean, s: in this order |",
        "|---:|---|---:|---:|---:|---:|---:|",
        *rows,
    ]


def _orders(sizes: Sequence[int], seeds: Sequence[int]) -> list[str]:
    rows = []
    missed: list[str] = []
    medians: list[list[float]] = []
    for size in sizes:
        loads = [Load(size, seed) for seed in seeds]
        for capacity in (*LIMITED, ALIKE):
            places = f"{capacity['diffusion']}, {capacity['edit']}"
            cells = []
            medians.append([])
            for order in ORDERS:
                ratios = [makespan(load, capacity, order) / bound(load, capacity)[0] for load in loads]
                medians[-1].append(statistics.median(ratios))
                cells.append(f"{statistics.median(ratios):.2f}, {max(ratios):.2f}")
                if order == ORDERS[0] and max(ratios) > TARGET_LIMITED:
                    over = sum(ratio > TARGET_LIMITED for ratio in ratios)
                    missed.append(f"{size} documents with {places} places ({over} of {len(loads)} loads)")
            rows.append(f"| {size} | {places} | " + " | ".join(cells) + " |")
    return [
        "## Would another order do better?",
        "",
        "A place of a tool that becomes free takes the call that has waited longest (first come). It could take the call with the longest "
        "chain of edits behind it: as far as they are written, with declared latencies (known), or with all that will be written and the "
        f"latencies drawn (foreseen: nobody can). Computed for {len(seeds)} loads of each size, no policy and no machine in it: first token to "
        "last picture of all over the bound, median and worst.",
        "",
        "| documents | places of diffusion, edit | " + " | ".join(ORDERS) + " |",
        "|---:|---|" + "---:|" * len(ORDERS),
        *rows,
        "",
        f"First come misses {TARGET_LIMITED} here: {'; '.join(missed) or 'nowhere'}. Few documents, or places that are just enough, leave the "
        "places idle until a late edit has its picture: what would help is to know of edits before they are written, and how long each call "
        f"will take. Of medians, what is known gains at most {max(first - known for first, known, _ in medians):.2f}, what is foreseen "
        f"{max(first - foreseen for first, _, foreseen in medians):.2f}: the order stays first come.",
    ]  # fmt: skip


def _crowd(crowds: Sequence[Crowd]) -> list[str]:
    crowd = sorted(crowds, key=lambda many: many.run.makespan)[len(crowds) // 2]
    worst = ", ".join(f"{many.run.lag[2]:.0f}" for many in crowds)
    number, took, lag = len(crowd.run.waits), crowd.run.makespan, crowd.run.lag
    return [
        f"## {number:,} documents open in one process",
        "",
        f"In real time, free capacity, all begun at the same moment, {crowd.pace:g} tokens a second each ({crowd.pace * number:,.0f} in all); "
        f"{crowd.tokens:.0f} tokens and {crowd.calls:.1f} calls a document, pictures of 64 x 64 pixels. The ideal is the critical path.",
        "",
        "| | measured | ideal |",
        "|---|---:|---:|",
        f"| first token to last picture of all, s | {took:.1f} | {crowd.best:.1f} |",
        f"| documents a second | {number / took:.1f} | {number / crowd.best:.1f} |",
        f"| memory of a document, KiB | {crowd.kib:.0f} | |",
        f"| CPU time of a document, ms | {crowd.cpu_ms:.1f} | |",
        f"| lag of the event loop: median, 99 of 100, worst, ms | {lag[0]:.1f}, {lag[1]:.1f}, {lag[2]:.1f} | |",
        f"| the longest garbage collection, ms | {crowd.pause_ms:.1f} | |",
        "",
        "Memory is that at the highest, with document, pictures, tokens and report of every document. In the CPU time are the prompts, writing "
        "token by token, drawing the simulated pictures and the reward of rules. The lag is counted from the first token on; at worst it was "
        f"{worst} ms in the rounds.",
    ]  # fmt: skip

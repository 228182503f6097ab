"""What a chart costs in each sandbox of the code tool, beside a new Python process for each and no isolation at all.

    llmi tools build-image                       # once, for the tier `docker`
    python -m benchmarks.code_tool               # about five minutes on two idle cores; makes results/code_tool.md
    python -m benchmarks.code_tool --rounds 1 --print

The same twelve charts by every way, in turns and in a new order each time, so that whatever else the machine does falls on all of them: read
the ratios. CPU time is that of the host's side and of all processes on the other, forks included. The floor draws in one warm interpreter
without a fork, a limit or a check. A new process for each chart is how the paper's released code runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import track

from llmi_env.errors import ToolUnavailable
from llmi_env.tools.code.answers import picture_of
from llmi_env.tools.code.config import CodeConfig
from llmi_env.tools.code.tiers import AUTO, start
from llmi_env.tools.code.worker import Job, Runner

OUT = Path(__file__).parent / "results" / "code_tool.md"
FLOOR, NEW = "in process, no isolation", "a new process for each"
_CONSOLE = Console(stderr=True)

CHARTS = {
    "line": "plt.plot([1, 3, 2, 5]); plt.title('Growth'); plt.xlabel('year')",
    "bars": "plt.bar(list('abcde'), [3, 5, 2, 8, 4]); plt.ylabel('n')",
    "grouped bars": "pd.DataFrame({'a': [1, 2, 3], 'b': [3, 2, 1]}, index=list('xyz')).plot.bar()",
    "scatter": "plt.scatter(np.random.rand(200), np.random.rand(200), c=np.random.rand(200)); plt.colorbar()",
    "histogram": "sns.histplot(np.random.randn(500), kde=True)",
    "pie": "plt.pie([3, 4, 5], labels=['red', 'green', 'blue'], autopct='%1.0f%%')",
    "heat map": "sns.heatmap(np.random.rand(8, 8), annot=True)",
    "box plots": "sns.boxplot(pd.DataFrame(np.random.randn(50, 4), columns=list('abcd')))",
    "time series": "pd.Series(np.random.randn(300).cumsum(), pd.date_range('2024-01-01', periods=300)).plot()",
    "3-D": "X, Y = np.meshgrid(range(15), range(15)); plt.figure().add_subplot(projection='3d').plot_surface(X, Y, np.sin(X / 3) + Y / 5)",
    "four panels": "fig, axes = plt.subplots(2, 2, figsize=(8, 6)); [ax.plot(np.random.rand(30)) for ax in axes.flat]; fig.tight_layout()",
    "pair plot": "sns.pairplot(pd.DataFrame(np.random.rand(30, 3), columns=list('abc')))",
}


class Way(Protocol):
    """One way to draw a chart."""

    name: str

    def draw(self, code: str) -> tuple[float, float]:
        """Draw; returns CPU and wall seconds."""
        ...

    def close(self) -> None:
        """End what it started."""
        ...


@dataclass
class Sandboxed:
    """A tier with one worker, or `unsafe` for a new process each."""

    name: str
    tier: str
    cold: float = 0.0
    runner: Runner = field(init=False)

    def __post_init__(self) -> None:
        self.config = CodeConfig(sandbox=self.tier, workers=1, timeout=60)  # type: ignore[arg-type]
        began = time.perf_counter()
        self.runner = start(self.tier, self.config)
        self.draw(CHARTS["line"])
        self.cold = time.perf_counter() - began

    def draw(self, code: str) -> tuple[float, float]:
        """See `Way`."""
        before, began = self._cpu(), time.perf_counter()
        answer = self.runner.run(Job(code.encode(), 0))
        picture_of(answer, self.config)
        # The chart's own process is counted by the kernel when it ends; a new process is a child of ours.
        return self._cpu() - before + answer.end.get("cpu_ms", 0.0) / 1000, time.perf_counter() - began

    def close(self) -> None:
        """See `Way`."""
        self.runner.close()

    @property
    def memory(self) -> float:
        """MiB of the worker that are its own (PSS)."""
        lines = Path(f"/proc/{_interpreter(self.runner.pid)}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024

    def _cpu(self) -> float:
        times = os.times()
        if self.tier in AUTO:
            return time.process_time() + _cpu_of(_interpreter(self.runner.pid))
        return time.process_time() + times.children_user + times.children_system


_FLOOR = """
import json, sys, time
from llmi_env.tools.code.inside import drawing
drawing.warm_up(False)
import matplotlib.pyplot as plt
print("ready", flush=True)
for line in sys.stdin:
    began, cpu = time.perf_counter(), time.process_time()
    assert b'"ok"' in drawing.answer_to(json.loads(line).encode(), seed=0, dpi=100.0, max_pixels=4_000_000)[:20]
    spent = time.process_time() - cpu, time.perf_counter() - began
    plt.close("all")
    print(json.dumps(spent), flush=True)
"""


class Floor:
    """A warm interpreter that draws in itself."""

    name = FLOOR

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FLOOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._say("")

    def _say(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if line:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("the interpreter of the floor ended")
        return answer

    def draw(self, code: str) -> tuple[float, float]:
        """See `Way`."""
        cpu, wall = json.loads(self._say(json.dumps(code)))
        return cpu, wall

    def close(self) -> None:
        """See `Way`."""
        self._process.kill()
        self._process.wait()


# ---------------------------------------------------------------------------------------------------------------- processes


def _interpreter(pid: int) -> int:
    """The worker's interpreter: the process, or what its wrapper started."""
    waiting = [pid]
    while waiting:
        one = waiting.pop(0)
        words = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
        if not words[0].endswith(b"bwrap"):
            return one
        waiting += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
    raise SystemExit(f"process {pid}: no interpreter beneath it")


def _cpu_of(pid: int) -> float:
    """Seconds that a process has computed, without its children."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


# -------------------------------------------------------------------------------------------------------------------- measuring


def measure(ways: Sequence[Way], rounds: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """CPU and wall seconds by way and chart."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {way.name: {chart: [] for chart in CHARTS} for way in ways}
    order = random.Random(0)
    for _ in track(range(rounds), "drawing", console=_CONSOLE):
        for chart, code in CHARTS.items():
            for way in order.sample(list(ways), len(ways)):
                found[way.name][chart].append(way.draw(code))
    return found


def throughput(tier: str, workers: int, charts: int) -> float:
    """Charts a second with so many workers, each fed as soon as it is free."""
    config = CodeConfig(sandbox=tier, workers=workers, timeout=60)  # type: ignore[arg-type]
    runners = [start(tier, config) for _ in range(workers)]
    codes = [code.encode() for code in CHARTS.values()] * (charts // len(CHARTS))

    def work(share: int) -> None:
        for code in codes[share::workers]:
            picture_of(runners[share].run(Job(code, 0)), config)

    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(work, range(workers)))
    seconds = time.perf_counter() - began
    for runner in runners:
        runner.close()
    return len(codes) / seconds


def page(ways: Sequence[Way], found: dict[str, Any], rates: dict[str, list[float]], rounds: int) -> str:
    """The text of `code_tool.md`."""
    medians = {
        name: {chart: [statistics.median(x) for x in zip(*runs, strict=True)] for chart, runs in charts.items()}
        for name, charts in found.items()
    }
    total = {
        name: [sum(m[i] for m in charts.values()) / len(charts) for i in (0, 1)] for name, charts in medians.items()
    }
    floor = total[FLOOR][0]
    lines = [
        "# What a chart costs",
        "",
        f"Made by `python -m benchmarks.code_tool --rounds {rounds}` (its text says what is done): {os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}. "
        f"Means over twelve charts of the medians of {rounds} rounds.",
        "",
        "| way | CPU ms a chart | beside the floor | wall ms a chart | MiB a worker | cold start, s | charts/s with 1, 2, 4 workers |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for way in ways:
        cpu, wall = total[way.name]
        warm = isinstance(way, Sandboxed) and way.tier in AUTO
        memory = f"{way.memory:.0f}" if warm and isinstance(way, Sandboxed) else ""
        cold = f"{way.cold:.1f}" if isinstance(way, Sandboxed) and warm else ""
        rate = ", ".join(f"{x:.1f}" for x in rates.get(way.name, []))
        lines.append(
            f"| {way.name} | {1000 * cpu:.0f} | {cpu / floor:.2f} | {1000 * wall:.0f} | {memory} | {cold} | {rate} |"
        )
    names = [way.name for way in ways]
    lines += ["", "CPU ms by chart:", "", f"| chart | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for chart in CHARTS:
        lines.append(f"| {chart} | {' | '.join(f'{1000 * medians[name][chart][0]:.0f}' for name in names)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each chart is drawn by each way")
    parser.add_argument("--charts", type=int, default=48, help="charts for the rate with 1, 2 and 4 workers")
    parser.add_argument("--print", action="store_true", help="print the page, keep the file")
    options = parser.parse_args()
    ways: list[Way] = [Floor()]
    for tier in reversed(AUTO):
        try:
            ways.append(Sandboxed(tier, tier))
        except ToolUnavailable as error:
            _CONSOLE.print(f"left out: {error}", markup=False)
    ways.append(Sandboxed(NEW, "unsafe"))
    try:
        found = measure(ways, options.rounds)
        tiers = [way.tier for way in ways if isinstance(way, Sandboxed) and way.tier in AUTO]
        rates = {
            tier: [throughput(tier, count, options.charts) for count in (1, 2, 4)]
            for tier in track(tiers, "rates", console=_CONSOLE)
        }
        text = page(ways, found, rates, options.rounds)
    finally:
        for way in ways:
            way.close()
    if options.print:
        print(text)
    else:
        OUT.write_text(text, encoding="utf-8")
        print(OUT)


if __name__ == "__main__":
    main()

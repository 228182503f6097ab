"""Many environments at a time: ours beside Gymnasium's Sync and Async, with tools of a declared latency. Makes `results/vector_env.md`.

    python -m benchmarks.vector_env            # all of it, about ten minutes
    python -m benchmarks.vector_env --quick    # 1 and 8 environments, to see that it runs

Every environment writes one document after the other, in four chunks: text, a call, text, the end. The step that makes the call returns
its result, so it lasts as long as the tool: `--latency` seconds, give or take a half, declared and fixed by the call. What is
measured is how much of the time the tools of all environments are at work, what an environment costs in memory, and how long making them takes;
besides, plain token steps without any call. Each figure comes from a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from rich.console import Console
from rich.progress import Progress

from llmi_env import END, Task
from llmi_env.document import Picture
from llmi_env.testing import SimulatedTool, simulated_config
from llmi_env.tools.base import ToolContext

OUT = Path(__file__).parent / "results" / "vector_env.md"
KINDS = ("ours, send/recv", "ours, step", "Async", "Sync")
STEPS = 4
SLOW = 20.0


class DeclaredTool(SimulatedTool):
    """Takes the time that the query asks for: `"<seconds> <anything>"`."""

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        self.latency = float(str(params["query"]).split()[0])
        return await super().__call__(params, context)


def options() -> dict[str, Any]:
    """What all kinds are made of."""
    tools = {"search": {"size": 16}}
    services = simulated_config(tools=tools, concurrency={"search": 4096}, cache_mb=0)
    services.tools["search"]["use"] = "benchmarks.vector_env:DeclaredTool"
    return {
        "config": "rules",
        "tasks": [Task(f"Write about bird {number}.", id=f"bird-{number}") for number in range(64)],
        "world": "in_process",
        "services": services,
        "action_mode": "chunk",
        "feedback": "text",
        "limits": {"observation_kib": 4, "picture_kib": 4},
    }


def seconds_of(env: int, document: int, latency: float) -> float:
    """Declared time of the call in a document: half of the latency more or less."""
    return latency * (0.5 + random.Random(1000 * document + env).random())


def script(env: int, step: int, seconds: float) -> str:
    """The action of an environment in its step number `step`; a call takes `seconds`."""
    document, place = divmod(step, STEPS)
    if place == 1:
        body = {"source": "search", "description": "a bird", "params": {"query": f"{seconds:.3f} {env} {document}"}}
        return f"<imgen>{json.dumps(body)}</imgen>"
    return END if place == STEPS - 1 else f"Bird number {env} sings its song, {document} times over. "


def memory() -> float:
    """Memory of this process and its children in MB, pages that they share counted once."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    total = 0
    for pid in [str(os.getpid()), *children]:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def make(kind: str, n: int, **changes: Any) -> VectorEnv[Any, Any, Any]:
    """`n` environments, reset in the step that ends a document."""
    given = {**options(), **changes}
    if kind.startswith("ours"):
        return gym.make_vec("LLMI-v0", num_envs=n, autoreset_mode="SameStep", **given)

    def made() -> gym.Env[Any, Any]:
        return gym.make("LLMI-v0", disable_env_checker=True, **given)

    if kind == "Sync":
        return SyncVectorEnv([made] * n, autoreset_mode=AutoresetMode.SAME_STEP)
    return AsyncVectorEnv([made] * n, autoreset_mode=AutoresetMode.SAME_STEP, context="fork")


@dataclass(frozen=True)
class Cell:
    """One kind with one number of environments.

    Attributes:
        steps_per_s: steps of all environments together.
        at_work: share of the time in which an environment's tool was at work.
        kib: memory that one environment adds.
        making_s: from nothing to the first observation.
        tokens_per_s: token steps without any call, all environments together.
    """

    kind: str
    n: int
    steps_per_s: float
    at_work: float
    kib: float
    making_s: float
    tokens_per_s: float


class Writers:
    """Scripts of all environments, each at its own place."""

    def __init__(self, n: int, latency: float) -> None:
        self.at, self.latency, self.tool_seconds = [0] * n, latency, 0.0

    def write(self, ids: Iterable[int]) -> list[str]:
        """The next action of each."""
        actions = []
        for i in ids:
            seconds = seconds_of(i, self.at[i] // STEPS, self.latency)
            self.tool_seconds += seconds if self.at[i] % STEPS == 2 else 0.0  # the call has come back
            actions.append(script(i, self.at[i], seconds))
            self.at[i] += 1
        return actions


def measure(kind: str, n: int, latency: float, seconds: float) -> Cell:
    """Make, reset and step for about `seconds`, at least two documents each."""
    before, start = memory(), time.perf_counter()
    envs = make(kind, n)
    envs.reset(seed=0)
    made = time.perf_counter() - start
    writers = Writers(n, latency)
    envs.step(writers.write(range(n)))
    kib = (memory() - before) * 1024 / n
    total, start = 0, time.perf_counter()
    if kind == "ours, send/recv":
        envs.send(writers.write(range(n)))
        while True:
            *_, infos = envs.recv(timeout=60)
            total += len(infos["env_id"])
            if time.perf_counter() - start > seconds and total >= 2 * STEPS * n:
                break
            ids = infos["env_id"].tolist()
            envs.send(writers.write(ids), ids)
    else:
        while time.perf_counter() - start < seconds or writers.at[0] % STEPS != 1:
            envs.step(writers.write(range(n)))
            total += n
    spent = time.perf_counter() - start
    envs.close()
    return Cell(kind, n, total / spent, writers.tool_seconds / spent / n, kib, made, tokens(kind, n, seconds / 4))


def tokens(kind: str, n: int, seconds: float) -> float:
    """Token steps per second of all environments, plain text."""
    envs = make(kind, n, action_mode="token", feedback="none")
    envs.reset(seed=0)
    actions, ids = np.full(n, ord("a")), np.arange(n)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        if kind == "ours, send/recv":
            envs.send(actions, ids)
            envs.recv(n)
        else:
            envs.step(actions)
        steps += n
    spent = time.perf_counter() - start
    envs.close()
    return steps / spent


def slowest(n: int, latency: float) -> tuple[float, float, float]:
    """Environment 0 makes a call of `SLOW` seconds.

    Returns:
        Documents a second of the others while all are equally quick, the same beside the slow one, and seconds of a common step with it.
    """
    rates = []
    for slow in (False, True):
        envs = make("ours, send/recv", n)
        envs.reset(seed=0)
        writers, done, start = Writers(n, latency), 0, time.perf_counter()
        actions = writers.write(range(n))
        envs.send([script(0, 1, SLOW) if slow else actions[0], *actions[1:]])
        while time.perf_counter() - start < SLOW / 2:
            *_, infos = envs.recv(timeout=60)
            ids = infos["env_id"].tolist()
            done += sum(i > 0 and writers.at[i] % STEPS == 0 for i in ids)
            envs.send(writers.write(ids), ids)
        rates.append(done / (time.perf_counter() - start))
        envs.close()
    envs = make("ours, step", n)
    envs.reset(seed=0)
    actions, start = Writers(n, latency).write(range(n)), time.perf_counter()
    envs.step([script(0, 1, SLOW), *actions[1:]])
    blocked = time.perf_counter() - start
    envs.close()
    return rates[0], rates[1], blocked


def in_process_of_its_own(*arguments: str, limit: float) -> Any:
    """What a part of this module prints as JSON, or why it printed nothing."""
    command = [sys.executable, "-m", "benchmarks.vector_env", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"not done after {limit:.0f} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return f"failed: {lines[-1] if lines else f'exit {done.returncode}'}"
    return json.loads(done.stdout.strip().splitlines()[-1])


def report(cells: list[Cell], missing: dict[tuple[str, int], str], slow: Any, sizes: list[int], latency: float) -> str:
    """The results as Markdown."""
    found = {(cell.kind, cell.n): cell for cell in cells}

    def table(value: Callable[[Cell], str]) -> list[str]:
        rows = ["| environments | " + " | ".join(KINDS) + " |", "|---:" * (len(KINDS) + 1) + "|"]
        for n in sizes:
            row = [value(found[kind, n]) if (kind, n) in found else missing.get((kind, n), "-") for kind in KINDS]
            rows.append(f"| {n} | " + " | ".join(row) + " |")
        return rows

    lines = [
        "# Many environments at a time",
        "",
        "Made by `python -m benchmarks.vector_env` (its text says what is done). Tools are simulated: a call takes "
        f"{latency:g} s as declared, half of it more or less. One document is {STEPS} steps, one of which waits for its tool.",
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, Gymnasium {gym.__version__}, "
        f"{time.strftime('%Y-%m-%d')}.",
        "",
        "## Steps per second, all environments together",
        "",
        *table(lambda cell: f"{cell.steps_per_s:,.1f}"),
        "",
        "## Share of the time in which the tools of all environments are at work",
        "",
        *table(lambda cell: f"{100 * cell.at_work:.0f} %"),
        "",
        "A common step waits for the slowest of its calls, which is up to 1.5 times the mean; `send`/`recv` does not.",
        "",
        "## Token steps per second without a call, all environments together",
        "",
        *table(lambda cell: f"{cell.tokens_per_s:,.0f}"),
        "",
        "## Memory that one environment adds (KiB, shared pages counted once)",
        "",
        *table(lambda cell: f"{cell.kib:,.0f}"),
        "",
        "## Seconds to make them, first observation included",
        "",
        *table(lambda cell: f"{cell.making_s:.2f}"),
        "",
        "## The slowest holds nobody up",
        "",
    ]
    if isinstance(slow, list):
        alone, beside, blocked = slow
        lines.append(
            f"With 8 environments, the other seven finish {alone:.2f} documents a second when all are equally quick, and {beside:.2f} "
            f"beside one whose call takes {SLOW:g} s (`send`/`recv`). A common `step` of the same eight lasts {blocked:.1f} s."
        )
    else:
        lines.append(str(slow))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 and 8 environments only, nothing is written")
    parser.add_argument("--latency", type=float, default=1.0, help="declared seconds of a call (default: 1)")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds of stepping for each figure (default: 8)")
    parser.add_argument("--cell", nargs=2, metavar=("KIND", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--slowest", type=int, metavar="N", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        print(
            json.dumps(asdict(measure(arguments.cell[0], int(arguments.cell[1]), arguments.latency, arguments.seconds)))
        )
        return
    if arguments.slowest:
        print(json.dumps(slowest(arguments.slowest, arguments.latency)))
        return
    console = Console(stderr=True)
    sizes = [1, 8] if arguments.quick else [1, 8, 64, 512]
    cells: list[Cell] = []
    missing: dict[tuple[str, int], str] = {}
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(sizes) * len(KINDS))
        for n in sizes:
            for kind in KINDS:
                progress.update(bar, description=f"{kind}, {n} environments")
                if kind == "Sync" and n * arguments.latency > 120:
                    missing[kind, n] = f"not run: one document each lasts {n * arguments.latency:.0f} s"
                else:
                    given = ("--latency", str(arguments.latency), "--seconds", str(arguments.seconds))
                    got = in_process_of_its_own(*given, "--cell", kind, str(n), limit=300)
                    if isinstance(got, dict):
                        cells.append(Cell(**got))
                        progress.console.print(
                            f"{kind:16} {n:4}  {cells[-1].steps_per_s:9,.1f} steps/s  {cells[-1].kib:9,.0f} KiB each"
                        )
                    else:
                        missing[kind, n] = got
                        progress.console.print(f"{kind:16} {n:4}  {got}")
                progress.advance(bar)
        slow = in_process_of_its_own("--latency", str(arguments.latency), "--slowest", "8", limit=120)
    text = report(cells, missing, slow, sizes, arguments.latency)
    print(text)
    if not arguments.quick:
        OUT.write_text(text, encoding="utf-8")
        console.print(f"written: {OUT}")


if __name__ == "__main__":
    main()

"""How long an evaluation takes beside what its judge's slots allow. Makes `results/evaluation.md`.

    python -m benchmarks.evaluation            # all of it, about two minutes
    python -m benchmarks.evaluation --quick    # 6 items and a quick judge, to see that it runs

Thirty items in LLMI-Bench's format, ten criteria each, are judged criterion by criterion by a model behind an OpenAI-compatible server: a
process of its own that takes `--latency` seconds for each answer and gives `--slots` at a time. Documents of several paragraphs and pictures
come from a folder of finished ones, at once or one after the other as if they were being written. Measured is the wall time from the first
order to the last answer kept, against requests x latency / slots, against the best possible for documents that come at those times,
and against a bare client that sends one and the same request as often, which shows what the machine had to give at that time. Then a run is
killed (SIGKILL) half-way and resumed: the server says how many questions it answered in all.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import heapq
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI
from PIL import Image, ImageDraw
from rich.console import Console

from llmi_env.config import load_config
from llmi_env.evaluate.benchmarks.registry import find_benchmark
from llmi_env.evaluate.grading import open_grader
from llmi_env.evaluate.kept import EvaluationFolder
from llmi_env.evaluate.running import evaluate
from llmi_env.evaluate.sources.base import Done, Order, Source, Written, open_source
from llmi_env.testing import simulated_world

OUT = Path(__file__).parent / "results" / "evaluation.md"
CRITERIA = 10
PICTURES = 2
SIZE = (640, 480)


@dataclass(frozen=True)
class Load:
    """What is declared.

    Attributes:
        items: items, of ten criteria each.
        slots: answers that the judge gives at the same time.
        latency: seconds of one answer.
        pause: seconds between two documents; 0 brings all at once.
    """

    items: int
    slots: int
    latency: float
    pause: float = 0.0

    @property
    def requests(self) -> int:
        """Questions in all."""
        return self.items * CRITERIA

    @property
    def bound(self) -> float:
        """Seconds that the judge's slots need for all of them."""
        return self.requests * self.latency / self.slots


# ------------------------------------------------------------------------------------------------------------------- the judge


def serve(slots: int, latency: float, port: int) -> None:
    """The server: `POST /v1/chat/completions` as OpenAI documents it, for requests with a JSON schema; `GET /answered` counts."""
    app, turns, answered = FastAPI(), asyncio.Semaphore(slots), [0]
    last: dict[str, Any] = {}

    @app.get("/answered")
    async def count() -> int:
        return answered[0]

    @app.get("/last")
    async def last_request() -> dict[str, Any]:
        return last

    @app.post("/v1/chat/completions")
    async def complete(request: dict[str, Any]) -> dict[str, Any]:
        last.update(request)
        async with turns:
            await asyncio.sleep(latency)
        schema = request["response_format"]["json_schema"]["schema"]["properties"]
        digest = hashlib.sha256(request["messages"][0]["content"].encode()).digest()
        said = {
            name: "because" if "enum" not in kind else kind["enum"][digest[0] % len(kind["enum"])]
            for name, kind in schema.items()
        }
        answered[0] += 1
        message = {"role": "assistant", "content": json.dumps(said)}
        return {
            "id": "1",
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1500, "completion_tokens": 30, "total_tokens": 1530},
        }

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


class Judge:
    """The server in a process of its own, for the length of a block."""

    def __init__(self, load: Load) -> None:
        self._load = load

    def __enter__(self) -> Judge:
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = [str(self._load.slots), str(self._load.latency), str(port)]
        self._process = subprocess.Popen([sys.executable, "-m", "benchmarks.evaluation", "--serve", *options])
        self.url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                httpx.get(f"{self.url}/answered")
                return self
            except httpx.TransportError:
                time.sleep(0.1)
        raise SystemExit("the judge's server does not start")

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    @property
    def answered(self) -> int:
        """Questions that it has answered so far."""
        return int(httpx.get(f"{self.url}/answered").json())


# --------------------------------------------------------------------------------------------------------- items and documents


def make_files(folder: Path, load: Load) -> None:
    """A benchmark in LLMI-Bench's format and a document for each of its items."""
    rows, dice = [], np.random.default_rng(0)
    for number in range(load.items):
        criteria = {f"r{at + 1}": f"Bird number {number} is described: point {at + 1}." for at in range(CRITERIA)}
        rows.append({"prompt": f"Write an illustrated page about bird number {number}.", **criteria})
    (folder / "bench").mkdir(parents=True)
    (folder / "bench" / "text_only.json").write_text(json.dumps(rows))
    (folder / "documents").mkdir()
    items = find_benchmark("llmi-bench").load(folder / "bench")
    for number, item in enumerate(items):
        parts = []
        for at in range(PICTURES):
            name = f"{item.id}-{at}.png".replace("/", "_")
            _picture(dice, f"bird {number}, view {at}").save(folder / "documents" / name)
            parts.append(f"Bird number {number} sings at dawn, and at dusk. " * 12 + f"\n\n![view {at}]({name})\n")
        (folder / "documents" / f"{item.id.replace('/', '_')}.md").write_text("\n".join(parts))


def _picture(dice: np.random.Generator, label: str) -> Image.Image:
    """A drawing: flat shapes on a plain ground, and words."""
    image = Image.new("RGB", SIZE, tuple(int(value) for value in dice.integers(128, 256, 3)))
    draw = ImageDraw.Draw(image)
    for x, y, side, *colour in dice.integers(0, 256, (40, 6)).tolist():
        draw.ellipse((2 * x, y, 2 * x + side, y + side), fill=tuple(colour), outline="black")
    draw.text((30, 30), label, fill="black", font_size=40)
    return image


class Paced:
    """A source whose documents are handed on one after the other."""

    def __init__(self, inner: Source, pause: float) -> None:
        self.name, self.identity, self._inner, self._pause = inner.name, inner.identity, inner, pause
        self.came: list[float] = []

    async def write(self, orders: Sequence[Order], done: Done) -> None:
        """Bring all of them."""
        found: list[tuple[Order, Any]] = []
        await self._inner.write(orders, lambda *one: found.append(one))
        for order, written in found:
            await asyncio.sleep(self._pause)
            assert isinstance(written, Written), written
            self.came.append(time.perf_counter())
            done(order, written)

    async def aclose(self) -> None:
        """Close the source."""
        await self._inner.aclose()


# ------------------------------------------------------------------------------------------------------------------ measuring


@dataclass(frozen=True)
class Cell:
    """One evaluation.

    Attributes:
        wall_s: from the first order to the last answer kept.
        best_s: the same with slots that never idle while a question waits.
        cpu_s: CPU time of the evaluating process meanwhile.
        bare_s: wall time of a bare client that sends as many requests.
        requests: that it made.
        answers: of the folder, at the end.
    """

    wall_s: float
    best_s: float
    cpu_s: float
    bare_s: float
    requests: int
    answers: int


def best(load: Load, came: Sequence[float]) -> float:
    """When the last question is answered, if no slot idles while one waits; `came` says when each document was there, in seconds."""
    slots = [0.0] * load.slots
    for moment in sorted(came):
        for _ in range(CRITERIA):
            heapq.heappush(slots, max(moment, heapq.heappop(slots)) + load.latency)
    return max(slots)


async def measure(load: Load, files: Path, out: Path, url: str, resume: bool) -> Cell:
    """Evaluate what `make_files` made."""
    async with AsyncExitStack() as stack:
        config = load_config("offline")
        world = simulated_world()
        benchmark = find_benchmark("llmi-bench")
        items = benchmark.load(files / "bench")
        policy = f"documents:{files / 'documents'}"
        source = Paced(open_source(policy, world, config, max_tokens=1, temperature=0.0), load.pause)
        options = {"use": "openai", "model": "declared", "base_url": f"{url}/v1", "concurrency": load.slots}
        grader = await open_grader(json.dumps({**options, "prompt_price": 1.0, "completion_price": 4.0}), None)
        stack.push_async_callback(grader.aclose)
        told = {"judges": {"declared": dict(grader.identity)}, "policy": policy, "source": {}}
        warm = EvaluationFolder(out.with_name(f"{out.name}-warm-{int(resume)}"))
        with warm.begin(told, resume=False):  # imports, and the server's first steps
            await evaluate(benchmark, items[:1], source, {"declared": grader}, warm)
        before = grader.usage.requests
        source.came.clear()
        folder = EvaluationFolder(out)
        with folder.begin(told, resume=resume):
            start, cpu = time.perf_counter(), time.process_time()
            await evaluate(benchmark, items, source, {"declared": grader}, folder)
            wall, used = time.perf_counter() - start, time.process_time() - cpu
        came = [moment - start for moment in source.came] or [0.0]
        scores = folder.answers()["declared"]
        bare_s = 0.0 if resume else await bare(load, url)
        return Cell(
            wall, best(load, came), used, bare_s, grader.usage.requests - before, sum(map(len, scores.values()))
        )


async def bare(load: Load, url: str) -> float:
    """Seconds of a client that does nothing but send the last request again, as often and with as many slots."""
    limits = httpx.Limits(max_connections=load.slots, max_keepalive_connections=load.slots)
    async with httpx.AsyncClient(limits=limits, timeout=600) as client:
        body = (await client.get(f"{url}/last")).content
        headers = {"content-type": "application/json"}
        start = time.perf_counter()
        posts = (client.post(f"{url}/v1/chat/completions", content=body, headers=headers) for _ in range(load.requests))
        for answer in await asyncio.gather(*posts):
            answer.raise_for_status()
        return time.perf_counter() - start


def begun(load: Load, files: Path, out: Path, url: str, resume: bool = False) -> subprocess.Popen[str]:
    """`measure` in a process of its own."""
    given = json.dumps([asdict(load), str(files), str(out), url, resume])
    command = [sys.executable, "-m", "benchmarks.evaluation", "--cell", given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> Cell:
    """What it measured."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"an evaluation ended with status {process.returncode}")
    return Cell(**json.loads(said.strip().splitlines()[-1]))


def killed_and_resumed(load: Load, files: Path, out: Path) -> tuple[int, Cell, int]:
    """Kill a run half-way and go on: answers kept at the kill, the second run, and what the server answered in all."""
    with Judge(load) as judge:
        process = begun(load, files, out, judge.url)
        while judge.answered < CRITERIA + load.requests // 2:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = len(EvaluationFolder(out).answers_of("declared").lines)
        second = ended(begun(load, files, out, judge.url, resume=True))
        return kept, second, judge.answered - 2 * CRITERIA  # those were for warming up


# --------------------------------------------------------------------------------------------------------------------- report


def report(cells: dict[Load, Cell], load: Load, kill: tuple[int, Cell, int]) -> str:
    """The results as Markdown."""
    kept, second, answered = kill
    lines = [
        "# Evaluation against a judge of declared latency",
        "",
        "Made by `python -m benchmarks.evaluation` (its text says what is done).",
        "",
        f"{os.cpu_count()} cores (load average {os.getloadavg()[1]:.1f} in the last five minutes, this run included), {platform.machine()}, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
        "",
        f"{load.items} items x {CRITERIA} criteria = {load.requests} requests, {PICTURES} pictures of {SIZE[0]} x {SIZE[1]} in each; "
        f"a judge of {load.latency:g} s and {load.slots} slots needs {load.bound:.2f} s for all of them.",
        "",
        "| documents come | wall time, s | times the bound | times the best possible | bare client, s | CPU time, s | answers |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one, cell in cells.items():
        when = f"one each {one.pause:g} s" if one.pause else "at once"
        lines.append(
            f"| {when} | {cell.wall_s:.2f} | {cell.wall_s / one.bound:.3f} | {cell.wall_s / cell.best_s:.3f} | {cell.bare_s:.2f} | "
            f"{cell.cpu_s:.1f} | "
            f"{cell.answers} of {one.requests} |"
        )
    lines += [
        "",
        "The best possible asks each question as soon as its document is there and lets no slot idle while one waits. "
        "Wall time ends when the last answer is kept. The bare client sends one request again and again with the same slots, right "
        "after: how far it is from the bound is the machine's part.",
        "",
        "## Killed half-way",
        "",
        f"SIGKILL when {load.requests // 2} questions were answered, then the same again with resume. Kept at the kill: {kept} answers. "
        f"Asked by the second run: {second.requests}, after which {second.answers} of {load.requests} are there. Answered by the server in "
        f"all: {answered}, that is {answered - load.requests} more than a run without a kill: what was in flight, of "
        f"{load.slots} slots.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few items and a quick judge; nothing is written")
    for name, value, text in (
        ("items", 30, "items"), ("slots", 16, "answers at the same time"), ("latency", 1.0, "declared seconds of an answer"),
        ("pause", 0.3, "seconds between two documents"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"{text} (default: {value})")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(int(arguments.serve[0]), float(arguments.serve[1]), int(arguments.serve[2]))
        return
    if arguments.cell:
        given, files, out, url, resume = json.loads(arguments.cell)
        print(json.dumps(asdict(asyncio.run(measure(Load(**given), Path(files), Path(out), url, resume)))))
        return
    load = Load(arguments.items, arguments.slots, arguments.latency)
    if arguments.quick:
        load = Load(6, 4, 0.2)
    console = Console(stderr=True)
    cells: dict[Load, Cell] = {}
    with tempfile.TemporaryDirectory() as name:
        files = Path(name)
        make_files(files, load)
        for number, pause in enumerate((0.0, arguments.pause)):
            one = Load(load.items, load.slots, load.latency, pause)
            with console.status(f"documents {pause:g} s apart"), Judge(load) as judge:
                cells[one] = ended(begun(one, files, files / f"out-{number}", judge.url))
            console.print(f"documents {pause:g} s apart: {cells[one].wall_s:.2f} s, bound {one.bound:.2f} s")
        with console.status("killed and resumed"):
            kill = killed_and_resumed(load, files, files / "killed")
    text = report(cells, load, kill)
    print(text)
    if not arguments.quick:
        OUT.write_text(text, encoding="utf-8")
        console.print(f"written: {OUT}")


if __name__ == "__main__":
    main()

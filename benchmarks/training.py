"""How long a GRPO step takes: the local trainer beside TRL's and verl's. Makes `results/training.md`.

    make .venv-friends/.ready             # once: TRL in an environment of its own
    python -m benchmarks.training         # all of it; with --steps 3 it takes a quarter of an hour on two cores
    python -m benchmarks.training --steps 2 --rivals none --print   # less, to see that it runs

SmolLM2-135M-Instruct with a LoRA adapter; the same tasks, group size, length of documents, rank, learning rate and precision on both sides.
All documents have the same length: TRL is told to forbid eos, for us it is a token like any other. Each side is a process of its own, and they
take their steps in turns, so that whatever else the machine does falls on both: read the ratios, and the seconds as those of one machine.
verl goes its own way, so it is measured alone after them, with documents that may end: compare its tokens a second.

Then what a step waits: the same trainer with documents that end where they end, and tools and a judge that are simulated with declared
latencies; and again without latencies, which must give the same numbers to the last bit.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.rivals.training_work import Step, Work, heard
from llmi_env import prompting
from llmi_env.models import policy_path
from llmi_env.task_sets import load_tasks
from trainers.evaluation import interleaved

HERE = Path(__file__).parent
OUT = HERE / "results" / "training.md"
OURS = "local trainer"
FRIENDS = Path(".venv-friends/bin/python")
JUDGE, TOOL = 2.0, 1.0
VERL = "verl"
SIDES = {OURS: "local_training.py", "TRL": "trl_training.py", VERL: "verl_training.py"}
_CONSOLE = Console(stderr=True)


class Side:
    """A trainer in a process of its own."""

    def __init__(self, name: str, work: Work, folder: Path) -> None:
        self.name, self.steps = name, list[Step]()
        self._log = folder / "log"
        folder.mkdir(parents=True)
        replace(work, folder=str(folder)).write(folder / "work.json")
        python = str(FRIENDS.absolute()) if name == "TRL" else sys.executable
        # Threads that wait for each other sleep on both sides: spinning ones would take the other work's cores.
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
        paths = [str(HERE.parent), str(HERE / "rivals"), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [python, str(HERE / "rivals" / SIDES[name]), str(folder / "work.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
            env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )

    def step(self) -> Step:
        """Let it take its next step, and wait for it.

        Raises:
            SystemExit: it ended instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self.steps:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if (step := heard(line)) is not None:
                self.steps.append(step)
                _CONSOLE.print(f"[dim]{self.name}: step {len(self.steps)}, {step.total:.1f} s[/dim]")
                return step
        raise SystemExit(f"{self.name} ended early:\n{self._log.read_text()[-3000:]}")

    def close(self) -> None:
        """End it; verl, which does not wait for its turn, ends by itself and takes Ray with it."""
        if self.name != VERL:
            self._process.kill()
        self._process.wait()


@contextmanager
def sides(works: Sequence[tuple[str, Work]]) -> Iterator[list[Side]]:
    """Processes for some works, ended afterwards."""
    with tempfile.TemporaryDirectory() as name:
        started: list[Side] = []
        try:
            for number, (side, work) in enumerate(works):
                started.append(Side(side, work, Path(name) / str(number)))
                started[-1].step()  # the first one loads, compiles and fills caches
            yield started
        finally:
            for side_ in started:
                side_.close()


def in_turns(works: Sequence[tuple[str, Work]], steps: int) -> list[list[Step]]:
    """Measured steps of each work, one of each after the other."""
    with sides(works) as running:
        for _ in range(steps):
            for side in running:
                side.step()
        return [side.steps[1:] for side in running]


def make_work(folder: Path, options: argparse.Namespace) -> Work:
    """The work that all share."""
    tasks = interleaved(load_tasks("train"), 0)[: options.tasks]
    path = folder / "tasks.jsonl"
    rows = [{"id": t.id, "question": t.question, "tools": list(t.tools), "image_count": t.image_count} for t in tasks]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return Work(
        model=policy_path(),
        tasks=str(path),
        prompts=[[dict(message) for message in prompting.messages(task)] for task in tasks],
        samples=options.samples,
        tokens=options.tokens,
        fixed=True,
        steps=options.steps + 2,  # none of the measured ones is the last
        lora_rank=16,
        lr=1e-4,
        micro_batch=options.tasks * options.samples,
        seed=0,
        judge=0.0,
        tool=0.0,
        folder="",
    )


def middle(steps: Sequence[Step], field: str) -> float:
    """Median of a field."""
    return float(statistics.median(getattr(step, field) for step in steps))


def speed(steps: Sequence[Step]) -> float:
    """Tokens a second of sampling and update together."""
    return float(statistics.median(step.tokens / (step.sampling + step.update) for step in steps))


def compared(measured: dict[str, list[Step]]) -> list[str]:
    """The table of sides."""
    ours = measured[OURS]
    lines = [
        "| | sampling, s | update, s | waiting, s | whole step, s | tokens/s, sampling + update | memory, GB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, steps in measured.items():
        parts = " | ".join(f"{middle(steps, part):.1f}" for part in ("sampling", "update", "waiting", "total"))
        memory = max((step.memory for step in steps if step.memory is not None), default=None)
        lines.append(f"| {name} | {parts} | {speed(steps):.0f} | {'' if memory is None else f'{memory:.1f}'} |")
    for name, steps in measured.items():
        if name == VERL:
            lines += ["", f"Our tokens a second over verl's, medians: {speed(ours) / speed(steps):.1f} times."]
        if name in (OURS, VERL):
            continue
        # Pair by pair: the two steps of a pair had the machine in the same minutes.
        ratios = {
            what: statistics.median(part(theirs) / part(mine) for mine, theirs in zip(ours, steps, strict=True))
            for what, part in (
                ("sampling", lambda step: step.sampling),
                ("the update", lambda step: step.update),
                ("both", lambda step: step.sampling + step.update),
            )
        }
        said = ", ".join(f"{what} {ratio:.1f} times" for what, ratio in ratios.items())
        lines += ["", f"{name}'s time over ours, medians of pairs of steps: {said}."]
    errors = [step.logprob_error for step in ours if step.logprob_error is not None]
    if errors:
        lines += ["", f"Logprobs as sampled and as computed again in our update differ by {max(errors):.1g} at most."]
    return lines


def waits(quick: list[Step], slow: list[Step], fixed: list[Step]) -> list[str]:
    """The table of waiting."""
    same = [step.rewards for step in quick] == [step.rewards for step in slow]
    lines = ["| documents | whole step, s | waiting, s | share |", "|---|---:|---:|---:|"]
    for what, steps in (("end where they end", slow), ("all end with the same token", fixed)):
        share = statistics.median(step.waiting / step.total for step in steps)
        lines.append(
            f"| {what} | {middle(steps, 'total'):.1f} | {middle(steps, 'waiting'):.2f} | {100 * share:.1f} % |"
        )
    return [
        *lines,
        "",
        f"Reward, loss and gradient of all steps with and without latencies are {'the same' if same else 'DIFFERENT'}. The aim is a share of "
        f"less than 5 %: the {JUDGE + TOOL:g} s after the last token weigh the more, the shorter a step is.",
    ]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5, help="measured steps of each side; one more comes before")
    parser.add_argument("--tasks", type=int, default=4, help="tasks of a step")
    parser.add_argument("--samples", type=int, default=4, help="documents of a task")
    parser.add_argument("--tokens", type=int, default=112, help="tokens of a document")
    parser.add_argument("--rivals", default=f"TRL,{VERL}", help="by comma, or none")
    parser.add_argument("--only", choices=["speed", "waiting"], help="one half of it, printed")
    parser.add_argument("--print", action="store_true", help="print the results and write nothing")
    options = parser.parse_args()
    names = [OURS, *(name for name in options.rivals.split(",") if name != "none")]
    if unknown := set(names) - set(SIDES):
        parser.error(f"no rival {', '.join(sorted(unknown))}; there are: {', '.join(set(SIDES) - {OURS})}")
    if "TRL" in names and not FRIENDS.exists():
        parser.error(f"{FRIENDS} is missing: make .venv-friends/.ready, or leave TRL out of --rivals")
    if VERL in names and importlib.util.find_spec("verl") is None:
        parser.error("verl is not installed: pip install 'llmi-env[verl]', or leave it out of --rivals")
    lines = [
        "# A GRPO step of the local trainer beside TRL's and verl's",
        "",
        "Made by `python -m benchmarks.training` (its text says what is done).",
        "",
        f"SmolLM2-135M-Instruct in float32, LoRA of rank 16 on all linear layers, {options.tasks} tasks of {options.samples} documents of "
        f"{options.tokens} tokens, one optimiser step. Medians of {options.steps} steps.",
    ]
    with tempfile.TemporaryDirectory() as folder:
        work = make_work(Path(folder), options)
        if options.only != "waiting":
            turning = [name for name in names if name != VERL]
            measured = dict(zip(turning, in_turns([(name, work) for name in turning], options.steps), strict=True))
            if VERL in names:
                alone = replace(work, fixed=False, steps=options.steps + 1)
                (measured[VERL],) = in_turns([(VERL, alone)], options.steps)
            lines += [
                "",
                "## Speed",
                "",
                "One pass over all documents. Our update also computes the logged divergence from the start, which TRL does not log. verl's "
                "holds the logprobs that it computes again before it learns, and handing the weights to the sampler; its memory, of many "
                "processes, is not measured.",
                "",
                *compared(measured),
            ]
        if options.only != "speed":
            calling = {"model": "warm-start", "micro_batch": options.samples}
            quick, slow = replace(work, **calling), replace(work, judge=JUDGE, tool=TOOL, **calling)  # type: ignore[arg-type]
            runs = (replace(quick, fixed=False), replace(slow, fixed=False), slow)
            lines += [
                "",
                f"## Waiting for a judge of {JUDGE:g} s and tools of {TOOL:g} s",
                "",
                "The warm start, which writes calls, and one pass for each group. While the last judgments are awaited, the update begins: "
                "with logprobs under the reference, the gradients of the groups that are judged, and two forward passes of those that are "
                "not (`trainers/ahead.py`). Waiting is the rest.",
                "",
                *waits(*in_turns([(OURS, run) for run in runs], options.steps)),
            ]
    lines[4:4] = [
        f"{os.cpu_count()} cores (load average {os.getloadavg()[2]:.1f} in the last quarter of an hour, this run included), "
        f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}. Versions are those of `constraints/main.txt`, "
        "TRL's of `constraints/friends.txt`.",
        "",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if not options.print and options.only is None:
        OUT.write_text(text, encoding="utf-8")
        _CONSOLE.print(f"written: {OUT}")


if __name__ == "__main__":
    main()

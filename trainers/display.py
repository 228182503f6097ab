"""What a run shows while it goes: a bar for the work in hand where there is a terminal, one line for each step everywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Display:
    """Progress of a run.

    Args:
        console: where it goes; a new one on standard output, where nothing is given.
        steps: steps of the run.
    """

    def __init__(self, console: Console | None, steps: int) -> None:
        self.console = console or Console()
        self._steps = steps
        self._start = time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Show."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away; the lines stay."""
        self._progress.stop()

    def phase(self, name: str, total: int) -> None:
        """Begin a piece of work of `total` parts."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=total)

    def advance(self, parts: int = 1) -> None:
        """Some parts of it are done."""
        if self._task is not None:
            self._progress.advance(self._task, parts)

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, highlight=False)

    def evaluation(self, name: str, metrics: Mapping[str, Any]) -> None:
        """The line of an evaluation."""
        tools = ", ".join(f"{tool} {share(value)}" for tool, value in metrics["tool_accuracy_by_tool"].items())
        self.say(
            f"[bold]{name:>9}[/bold]  reward {number(metrics['reward'])}{lost(metrics)}"
            f"  tool accuracy {share(metrics['tool_accuracy'])} ({tools})"
            f"  calls read {share(metrics['parsed'])}  {clock(time.monotonic() - self._start)}"
        )

    def step(self, metrics: Mapping[str, Any]) -> None:
        """The line of a training step."""
        seconds = metrics["seconds"]
        self.say(
            f"step {metrics['step']:>3}/{self._steps}  reward {number(metrics['reward'])}{lost(metrics)}"
            f"  tool accuracy {share(metrics['tool_accuracy'])}  calls read {share(metrics['parsed'])}  kl {number(metrics['kl'])}"
            f"  clip {share(metrics['clip_fraction'])}  {metrics['tokens_per_second']:.0f} tok/s"
            f"  {seconds['total']:.0f} s (write {seconds['sampling']:.0f}, wait {seconds['waiting']:.0f},"
            f" learn {seconds['update']:.0f})  {clock(time.monotonic() - self._start)}"
        )


def lost(metrics: Mapping[str, Any]) -> str:
    """How many documents have no score and count for nothing; empty where all have one."""
    return f" ({metrics['unscored']} of {metrics['rollouts']} unscored)" if metrics["unscored"] else ""


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    return "  -  " if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    """Per cent, or a dash."""
    return "-" if value is None else f"{100 * value:.0f} %"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

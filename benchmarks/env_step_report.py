"""The page that `env_step.py` writes: ratios first, then microseconds, then what each side does and does not do."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

TARGET_US = 15.0
NO_GROWTH = 1.1
"""Last window over first, up to which we call it no growth: the machine itself moves that much."""

Nanoseconds = npt.NDArray[Any]

_CAN = {
    "llmi": (
        "Actions are tokens, chunks, calls or documents. Checks the action, reads calls wherever they are cut, `<think>` apart, keeps the "
        "limits, builds the document with its pictures; calls run on a thread of their own, all of one step at once, with deadline, "
        "retries, cache and classified failures; the reward looks at the pixels (blank and repeated pictures do not count)."
    ),
    "gem": (
        "No token steps: a tool reads a call only where one action holds it whole, and only the first one of an action (so the document "
        "in one step is an `Env` of the user's own, without the wrapper). Calls are plain functions, one after the other, without "
        "deadline or retries. The document is kept as the list of turns."
    ),
    "skyrl": (
        "No token steps: the environment's author parses each turn as a whole. Keeps the conversation as messages. Calls are plain "
        "functions, one after the other, without deadline or retries."
    ),
    "verifiers": (
        "No token steps, and no `step` at all: the library's rollout asks a client and the environment answers. Messages are checked by "
        "pydantic and the conversation is copied at each turn, so a turn grows with the conversation. 0.3.1 is the last version with this "
        "stack: in 0.4 a rollout is a program of its own that speaks HTTP to an interception server (read, not run): nothing to step."
    ),
}


@dataclass(frozen=True)
class Steps:
    """Nanoseconds of single steps, ours and the do-nothing environment's; `last` are ours that end a document."""

    name: str
    ours: Nanoseconds
    nothing: Nanoseconds
    last: Nanoseconds

    @property
    def over(self) -> float:
        """Median microseconds over doing nothing."""
        return float(np.median(self.ours) - np.median(self.nothing)) / 1000


@dataclass(frozen=True)
class Growth:
    """Median nanoseconds of the steps in each window of a long document."""

    name: str
    ours: Nanoseconds
    nothing: Nanoseconds

    @property
    def ratio(self) -> float:
        """Last window over first."""
        return float(self.ours[-1] / self.ours[0])


@dataclass(frozen=True)
class RivalTimes:
    """What a side said of itself, and for each kind of work the nanoseconds of each step of each episode."""

    about: Mapping[str, str]
    ns: Mapping[str, Sequence[Sequence[int]]]

    def episode(self, kind: str) -> float:
        """Median microseconds of all steps of an episode together."""
        return float(np.median([sum(steps) for steps in self.ns[kind]])) / 1000

    def chunk(self, positions: Sequence[int]) -> float:
        """Median microseconds of the steps at these places."""
        return float(np.median(np.array(self.ns["chunk"])[:, list(positions)])) / 1000


@dataclass(frozen=True)
class Compared:
    """The sides that did the same work, and why others did not.

    Attributes:
        times: by name, ours as `llmi`.
        wrong: what kept a rival from taking part.
        with_call: which chunks hold a call.
        chunks: how many chunks there are.
        characters: of the document.
    """

    times: Mapping[str, RivalTimes]
    wrong: Mapping[str, str]
    with_call: Sequence[int]
    chunks: int
    characters: int

    def table(self) -> dict[str, dict[str, float]]:
        """Microseconds by kind of work, then by side."""
        quiet = [index for index in range(self.chunks - 1) if index not in self.with_call]
        rows: dict[str, dict[str, float]] = {}
        for name, side in self.times.items():
            for row, value in (
                ("step of 64 tokens, no call in it", side.chunk(quiet)),
                ("step of 64 tokens with a call", side.chunk(self.with_call)),
                ("last step of these, which scores", side.chunk([self.chunks - 1])),
                (f"all {self.chunks} steps of a document", side.episode("chunk")),
                ("the document in one step", side.episode("document")),
                ("the same, each call takes 10 ms", side.episode("slow")),
            ):
                rows.setdefault(row, {})[name] = value
        return rows


def report(steps: Sequence[Steps], growth: Sequence[Growth], compared: Compared | None) -> str:
    """The whole page."""
    load = os.getloadavg()[0]
    lines = [
        "# How long a step takes",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, no GPU used, Python {platform.python_version()}, {platform.system()}; load "
        f"{load:.1f} at the end, this run included. Made by `python -m benchmarks.env_step`. All sides take turns within one run: the "
        "ratios hold where the microseconds move with the machine.",
        "",
        *_targets(steps, growth, compared),
        "",
        "## Beside an environment that does nothing",
        "",
        "The same spaces, the same wrappers, constant answers. Documents of 4,096 tokens with four calls, which run meanwhile "
        "(simulated tools, `feedback=none`). The last step waits for the pictures and scores the document.",
        "",
        "| step | ours / nothing | over it, median | ours: median | 90 % | 99 % | nothing: median | last step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in steps:
        median, p90, p99 = np.percentile(row.ours, (50, 90, 99)) / 1000
        nothing = float(np.median(row.nothing)) / 1000
        lines.append(
            f"| {row.name} | {median / nothing:.1f} | +{row.over:.1f} µs | {median:.1f} µs | {p90:.1f} | {p99:.1f} | "
            f"{nothing:.2f} µs | {np.median(row.last) / 1000:,.0f} µs |"
        )
    lines += [
        "",
        "## Growth",
        "",
        "Token steps of a document of 32,768 tokens with twelve calls: medians of eight windows of 4,096 steps.",
        "",
        "| tokenizer | last window / first | nothing: last / first | medians of the windows, µs |",
        "|---|---|---|---|",
    ]
    for grown in growth:
        windows = " ".join(f"{value / 1000:.2f}" for value in grown.ours)
        drift = grown.nothing[-1] / grown.nothing[0]
        lines.append(f"| {grown.name} | {grown.ratio:.2f} | {drift:.2f} | {windows} |")
    if compared is not None:
        lines += ["", *_rivals(compared)]
    return "\n".join([*lines, ""])


def _targets(steps: Sequence[Steps], growth: Sequence[Growth], compared: Compared | None) -> list[str]:
    worst = max((row for row in steps if row.name.startswith("token")), key=lambda row: row.over)
    most = max(growth, key=lambda grown: grown.ratio)
    lines = [
        "| to reach | measured | reached |",
        "|---|---|---|",
        f"| median token step at most {TARGET_US:.0f} µs over an environment that does nothing | +{worst.over:.1f} µs ({worst.name}) | "
        f"{_yes(worst.over <= TARGET_US)} |",
        f"| no growth over 32k tokens (last window / first at most {NO_GROWTH}) | {most.ratio:.2f} ({most.name}) | "
        f"{_yes(most.ratio <= NO_GROWTH)} |",
    ]
    if compared is not None:
        for row, values in compared.table().items():
            others = {name: value / values["llmi"] for name, value in values.items() if name != "llmi"}
            if others:
                nearest = min(others, key=lambda name: others[name])
                lines.append(
                    f"| at least as fast as every rival: {row} | {nearest} takes {_times(others[nearest])} our time | "
                    f"{_yes(others[nearest] >= 1)} |"
                )
    return lines


def _rivals(compared: Compared) -> list[str]:
    names = list(compared.times)
    rows = compared.table()
    lines = [
        "## Beside other libraries",
        "",
        f"The same document of {compared.characters:,} characters with {len(compared.with_call)} calls, as {compared.chunks} turns of "
        "about 64 tokens and as one action. Each side reads the calls, has them carried out by a tool that returns at once, shows the "
        "results, and ends with the same rule reward; they agree in reward, calls and results shown. Each runs in its own environment "
        "(`constraints/rival-*.txt`), in turns.",
        "",
    ]
    if len(names) > 1:
        lines += [
            "Their time over ours (above 1: ours is faster):",
            "",
            "| | " + " | ".join(compared.times[name].about["name"] for name in names[1:]) + " |",
            "|---|" + "---|" * (len(names) - 1),
        ]
        lines += [
            f"| {row} | " + " | ".join(_times(values[name] / values["llmi"]) for name in names[1:]) + " |"
            for row, values in rows.items()
        ]
        lines.append("")
    lines += [
        "| median µs | "
        + " | ".join(f"{s.about['name']} {s.about['version']}" for s in compared.times.values())
        + " |",
        "|---|" + "---|" * len(names),
    ]
    lines += [f"| {row} | " + " | ".join(f"{v:,.1f}" for v in values.values()) + " |" for row, values in rows.items()]
    quickest = {row: min(values, key=lambda name: values[name]) for row, values in rows.items()}
    if behind := [row for row, name in quickest.items() if name != "llmi"]:
        lines += ["", "Where another is quicker, what a step of ours takes more:", ""]
        lines += [
            f"- {row}: {rows[row]['llmi'] - rows[row][quickest[row]]:,.1f} µs more than {compared.times[quickest[row]].about['name']}"
            for row in behind
        ]
    lines += ["", "What each does and does not do:", ""]
    lines += [f"- **{compared.times[name].about['name']}**: {_CAN[name]}" for name in names]
    lines += [f"- **{name}** could not take part: {why}" for name, why in compared.wrong.items()]
    return lines


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:,.0f}x"


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"

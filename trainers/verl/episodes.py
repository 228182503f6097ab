"""What verl's workers leave in a run folder, as the metrics and episode files that every trainer of ours writes.

Workers keep each document in a file of its own, verl writes a line of metrics for each step. Once the line is there, the step's documents are
joined into one file, and the figures are computed from them in the same way as for the local trainer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmi_env.rollout import Rollout
from llmi_env.store import FOLDER, read_episodes, write_episodes

PARTS = "parts"
"""Folder under `episodes` of documents whose step has not ended."""


def part_name(split: str, step: int, index: int, sample: int) -> str:
    """Name of one document's file: number of the task in its split and of the sample."""
    return f"{PARTS}/{split}-{step:05d}-{index:06d}-{sample:03d}"


def join_parts(run_dir: Path, split: str, step: int, name: str, phase: str) -> list[Rollout]:
    """Join the documents of a step into `episodes/NAME.parquet`; returns them in order of task and sample."""
    paths = sorted((run_dir / FOLDER / PARTS).glob(f"{split}-{step:05d}-*.parquet"))
    groups: dict[str, int] = {}
    rollouts: list[Rollout] = []
    for path in paths:
        index = path.stem.split("-")[2]
        group = groups.setdefault(index, len(groups))
        rollouts += [replace(rollout, group=group) for _, rollout in read_episodes(path)]
    if rollouts:
        write_episodes(run_dir, name, rollouts, phase=phase, step=step)
    for path in paths:
        path.unlink()
    return rollouts


def drop_parts(run_dir: Path) -> None:
    """Remove documents of steps that were broken off: those steps are done again."""
    for path in (run_dir / FOLDER / PARTS).glob("*"):
        path.unlink()


def groups_without_baseline(rollouts: Sequence[Rollout], needed: int) -> int:
    """How many groups have fewer scores than an algorithm needs: two where they are compared, one with a critic."""
    scores: dict[int, int] = {}
    for rollout in rollouts:
        scores[rollout.group] = scores.get(rollout.group, 0) + (rollout.reward is not None)
    return sum(count < needed for count in scores.values())


class VerlLog:
    """Reads the lines that verl's file logger writes, as they come.

    Args:
        path: of the file; it may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def news(self) -> Iterator[tuple[int, Mapping[str, float]]]:
        """Steps and their figures since the last call; a half-written line waits for its end."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                entry = json.loads(line)
                yield int(entry["step"]), {name: v for name, v in entry["data"].items() if isinstance(v, int | float)}


def split_figures(data: Mapping[str, float]) -> tuple[dict[str, Any], bool, bool]:
    """verl's figures by name, and whether the line tells of training and of a validation."""
    trained = any(name.startswith("actor/") for name in data)
    validated = any(name.startswith(("val-core/", "val-aux/")) for name in data)
    return dict(data), trained, validated

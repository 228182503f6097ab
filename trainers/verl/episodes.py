"""What verl's workers leave in a run folder, as the metrics and episode files that every trainer of ours writes.

Workers keep each document before verl gets it, verl writes a line of metrics for each step. Once the line is there, the step's documents are
joined into one file, and the figures are computed from them in the same way as for the local trainer.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmi_env.rollout import Rollout
from llmi_env.store import FOLDER, join_episodes, read_episodes, write_episodes

PARTS = "parts"
"""Folder under `episodes` of documents whose step has not ended."""


@dataclass(frozen=True)
class Kept:
    """One document with its place: step, number of the task in its split, and of the sample."""

    rollout: Rollout
    split: str
    step: int
    index: int
    sample: int


class Keeper:
    """Keeps the documents of one worker process until their step ends.

    A file takes milliseconds, many documents end together: what comes while a file is being written shares the next one.

    Args:
        run_dir: the run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._waiting: list[tuple[Kept, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        (run_dir / FOLDER / PARTS).mkdir(parents=True, exist_ok=True)

    async def keep(self, document: Kept) -> None:
        """Return when the document is on disk.

        Raises:
            OSError: it cannot be written.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((document, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        await done

    async def _write_all(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(keep_parts, self._run_dir, [document for document, _ in taken])
            except Exception as error:
                for _, done in taken:
                    if not done.done():
                        done.set_exception(error)
            for _, done in taken:
                if not done.done():
                    done.set_result(None)


def keep_parts(run_dir: Path, documents: Sequence[Kept]) -> None:
    """Write documents, those of one split and step in a file of their own."""
    steps: dict[tuple[str, int], list[Kept]] = {}
    for document in documents:
        steps.setdefault((document.split, document.step), []).append(document)
    for (split, step), members in steps.items():
        rollouts = [replace(member.rollout, group=member.index) for member in members]
        name = f"{PARTS}/{split}-{step:05d}-{uuid.uuid4().hex}"
        write_episodes(run_dir, name, rollouts, sample=[member.sample for member in members])


def join_parts(run_dir: Path, split: str, step: int, name: str, phase: str) -> list[Rollout]:
    """Join the documents of a step into `episodes/NAME.parquet`.

    Returns:
        They in order of task and sample, without the pixels of their pictures: hundreds of documents would not fit into memory.
    """
    paths = sorted((run_dir / FOLDER / PARTS).glob(f"{split}-{step:05d}-*.parquet"))
    if not paths:
        return []
    joined = join_episodes(run_dir, name, paths, phase=phase, step=step)
    for path in paths:
        path.unlink()
    return [rollout for _, rollout in read_episodes(joined, pixels=False)]


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


def missing(rollouts: Sequence[Rollout], figures: Mapping[str, float], needed: int) -> dict[str, int]:
    """How many documents of a step have no score, how many were never finished, and how many groups are of no use.

    The sampler counts what verl lacks; among the kept documents those that ended with an error are not.

    Args:
        rollouts: kept documents of the step.
        figures: verl's of the step.
        needed: see `groups_without_baseline`.
    """
    unscored = sum(rollout.reward is None for rollout in rollouts)
    lacking = int(figures.get("llmi/unscored", unscored))
    groups = int(figures.get("llmi/groups_without_baseline", groups_without_baseline(rollouts, needed)))
    return {"unscored": max(lacking, unscored), "failed": max(0, lacking - unscored), "groups_without_baseline": groups}


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

"""The calibration set: pairs of a good document and a worse one of the same task.

The good ones are the demonstrations that ship, their calls carried out by the default World: written by hand, apart from any judge. Short
ones of independent tasks are also put together in twos, so that there are documents with several figures. The worse ones are made by the
declared corruptions (`llmi_env.judges.corruptions`). The same count and seed give the same pairs.

Demonstrations whose id has an odd SHA-256 are held out: no part of a judge that ships was made or tuned on them. The other half is for
tuning.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import pairwise
from typing import Literal

from llmi_env.document import Document, Figure, Text
from llmi_env.episode import Episode
from llmi_env.judges.corruptions import CORRUPTIONS, Corruption, Sample, with_figures
from llmi_env.judges.corruptions.making import document_of, tool_of
from llmi_env.task import Task
from llmi_env.task_sets import load_tasks
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import World

Half = Literal["held_out", "tuning"]
Advance = Callable[[int, int], None]
"""Told how much is done, and of how much."""

_TRIES = 40  # documents to borrow from before a corruption is given up


@dataclass(frozen=True)
class Pair:
    """Two documents of one task.

    Attributes:
        corruption: what was done to the worse one.
        task: of both.
        better: the good document.
        worse: the spoilt one.
    """

    corruption: Corruption
    task: Task
    better: Document
    worse: Document


def held_out(task_id: str) -> bool:
    """Whether the demonstration of that task is kept from the tuning of judges."""
    return int(hashlib.sha256(task_id.encode()).hexdigest(), 16) % 2 == 1


async def calibration_pairs(
    count: int, seed: int = 0, half: Half = "held_out", advance: Advance | None = None
) -> list[Pair]:
    """Make the pairs, in turns over the corruptions, so that any beginning of the list is balanced.

    Takes about half a minute on one core: the calls of some 130 demonstrations are carried out.

    Args:
        count: pairs to make; fewer come where the corruptions do not apply to more documents.
        seed: of the choice of documents and of the corruptions.
        half: which demonstrations.
        advance: told of each document whose calls are done.

    Raises:
        MissingExtra, AssetError: a tool cannot be made.
    """
    world = InProcessWorld.from_config(WorldConfig(judges=[]))
    try:
        singles = await _demonstrations(world, half, advance)
        samples = singles + _joined(singles)
        turns = [_spoilt(corruption, samples, seed) for corruption in CORRUPTIONS]
        pairs: list[Pair] = []
        while turns and len(pairs) < count:
            for turn in list(turns):
                pair = next(turn, None)
                if pair is None:
                    turns.remove(turn)
                    continue
                if pair.corruption.redraw:
                    pair = await _redrawn(pair, world)
                if pair is not None:
                    pairs.append(pair)
    finally:
        await world.aclose()
    return pairs[:count]


async def _demonstrations(world: World, half: Half, advance: Advance | None) -> list[Sample]:
    """Demonstrations with their calls carried out; those with a failed call are dropped."""
    tasks = load_tasks("train")
    lines = (resources.files("llmi_env") / "assets" / "demos" / "demos.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["task_id"] in tasks.ids]
    rows = [row for row in rows if held_out(row["task_id"]) == (half == "held_out")]
    samples = []
    for done, row in enumerate(rows):
        task = tasks.by_id(row["task_id"])
        document = await _carried_out(Episode(task), row["document"], world)
        if all(figure.picture is not None for figure in document.figures):
            samples.append(Sample(task, document))
        if advance is not None:
            advance(done + 1, len(rows))
    return samples


async def _carried_out(episode: Episode, text: str, world: World) -> Document:
    for request in episode.write(text) + episode.end():
        pictures = list(request.inputs)
        if request.depends_on is not None:
            earlier = episode.figure(request.depends_on).picture
            pictures = [earlier] if earlier is not None else []
        episode.deliver(request.index, await world.run(request.call, pictures, seed=request.seed))
    return episode.document


def _joined(samples: Sequence[Sample]) -> list[Sample]:
    """Neighbours put together, of those in which no call points at a picture: its number would be another."""
    alone = [
        sample
        for sample in samples
        if sample.document.figures
        and not sample.task.images
        and all(tool_of(figure) != "edit" for figure in sample.document.figures)
    ]
    return [_join(first, second) for first, second in list(pairwise(alone))[::2]]


def _join(first: Sample, second: Sample) -> Sample:
    document = document_of((*first.document.blocks, Text("\n\n"), *second.document.blocks))
    task = Task(
        f"{first.task.question}\n{second.task.question}",
        image_count=len(document.figures),
        tools=tuple(dict.fromkeys((*first.task.tools, *second.task.tools))),
        id=f"{first.task.id}+{second.task.id}",
    )
    return Sample(task, document)


def _spoilt(corruption: Corruption, samples: Sequence[Sample], seed: int) -> Iterator[Pair]:
    turn = random.Random(f"{seed}:{corruption.name}")
    for sample in turn.sample(samples, len(samples)):
        rng = random.Random(f"{seed}:{corruption.name}:{sample.task.id}")
        others = [other for other in samples if _unrelated(other, sample)]
        for other in rng.sample(others, min(_TRIES, len(others))):
            worse = corruption.spoil(sample, other, rng)
            if worse is not None and worse != sample.document:
                yield Pair(corruption, sample.task, sample.document, worse)
                break


def _unrelated(one: Sample, other: Sample) -> bool:
    """Whether neither is, or is part of, the other."""
    return set(str(one.task.id).split("+")).isdisjoint(str(other.task.id).split("+"))


async def _redrawn(pair: Pair, world: World) -> Pair | None:
    """The pair with those charts of the worse document drawn whose code was changed; `None` where one fails or an edit shows the old one."""
    if any(tool_of(figure) == "edit" for figure in pair.worse.figures):
        return None
    drawn: dict[int, Figure] = {}
    for index, (before, after) in enumerate(zip(pair.better.figures, pair.worse.figures, strict=True)):
        if after.call is not None and after.call != before.call:
            drawn[index] = replace(after, outcome=await world.run(after.call))
            if drawn[index].picture is None:
                return None
    return replace(pair, worse=with_figures(pair.worse, lambda index, figure: drawn.get(index, figure)))

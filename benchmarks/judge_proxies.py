"""Can the embedded judge tell a document from a worse one? Makes `benchmarks/results/judge_proxies.md`.

    .venv/bin/python -m benchmarks.judge_proxies

Takes the bundled demonstrations (written apart from the judge), has the default World carry out their calls, spoils each document in declared
ways (`judge_corruptions.py`) and counts how often the original scores strictly higher. Demonstrations whose id has an even SHA-256 were
looked at one by one while the proxies were made; only the others are counted (an early run over both halves showed totals of these too).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from benchmarks.judge_corruptions import CORRUPTIONS, Corruption, Sample
from llmi_env.document import Document
from llmi_env.embeddings import TextEmbedder
from llmi_env.episode import Episode
from llmi_env.judges.embedded import VERSION, EmbeddedJudge
from llmi_env.task_sets import load_tasks
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.protocol import Scored

OUT = Path(__file__).parent / "results" / "judge_proxies.md"
NEEDED = 0.70
_TRIES = 40


@dataclass(frozen=True)
class Row:
    """One corruption: pairs in which the original scored higher, and mean scores."""

    term: str
    corruption: str
    wins: int
    pairs: int
    original: float
    corrupted: float


def held_out(task_id: str) -> bool:
    return int(hashlib.sha256(task_id.encode()).hexdigest(), 16) % 2 == 1


async def demonstrations(limit: int | None = None) -> list[Sample]:
    """Held-out demonstrations with their calls carried out; those with a failed call are dropped."""
    tasks = load_tasks("train")
    lines = (resources.files("llmi_env") / "assets" / "demos" / "demos.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["task_id"] in tasks.ids and held_out(row["task_id"])]
    random.Random(0).shuffle(rows)
    world = InProcessWorld.from_config(WorldConfig(judges=[]))
    samples = []
    try:
        for row in rows[:limit]:
            task = tasks.by_id(row["task_id"])
            document = await carry_out(Episode(task), row["document"], world)
            if all(figure.picture is not None for figure in document.figures):
                samples.append(Sample(task, document))
    finally:
        await world.aclose()
    return samples


async def carry_out(episode: Episode, text: str, world: InProcessWorld) -> Document:
    for request in episode.write(text) + episode.end():
        pictures = list(request.inputs)
        if request.depends_on is not None:
            earlier = episode.figure(request.depends_on).picture
            pictures = [earlier] if earlier is not None else []
        episode.deliver(request.index, await world.run(request.call, pictures, seed=request.seed))
    return episode.document


def compare(samples: Sequence[Sample], judge: EmbeddedJudge, pairs: int) -> list[Row]:
    """At most `pairs` pairs for each term and corruption."""
    rows = []
    for term, corruptions in CORRUPTIONS.items():
        for name, corruption in corruptions.items():
            scores: list[tuple[float, float]] = []
            for index, sample in enumerate(samples):
                if len(scores) == pairs:
                    break
                worse = spoil(sample, samples, corruption, random.Random(f"{name}:{index}"))
                if worse is not None:
                    scores.append((_score(judge, sample, sample.document, term), _score(judge, sample, worse, term)))
            if scores:
                wins = sum(original > corrupted for original, corrupted in scores)
                means = [statistics.mean(column) for column in zip(*scores, strict=True)]
                rows.append(Row(term, name, wins, len(scores), *means))
    return rows


def spoil(sample: Sample, samples: Sequence[Sample], corruption: Corruption, rng: random.Random) -> Document | None:
    others = [other for other in samples if other is not sample]
    for other in rng.sample(others, min(_TRIES, len(others))):
        worse = corruption(sample, other, rng)
        if worse is not None and worse != sample.document:
            return worse
    return None


def _score(judge: EmbeddedJudge, sample: Sample, document: Document, term: str) -> float:
    judgment = judge.judge(document, sample.task)[term]
    assert isinstance(judgment, Scored)
    return judgment.score


def wilson(wins: int, pairs: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share."""
    share, spread = wins / pairs, z * z / pairs
    middle, half = share + spread / 2, z * math.sqrt(share * (1 - share) / pairs + spread / (4 * pairs))
    return (middle - half) / (1 + spread), (middle + half) / (1 + spread)


def milliseconds(samples: Sequence[Sample]) -> tuple[float, float]:
    """Median processor time for one document, its pictures measured anew: with its texts embedded for the first time, and again."""
    embedder = TextEmbedder()
    embedder(["load the model"])
    cold: list[float] = []
    warm: list[float] = []
    for sample in samples:
        for times in (cold, warm):
            judge = EmbeddedJudge(embed=embedder)
            judge.prepare()
            start = time.process_time()
            judge.judge(sample.document, sample.task)
            times.append(1000 * (time.process_time() - start))
    return statistics.median(cold), statistics.median(warm)


def table(rows: Sequence[Row], documents: int, times: tuple[float, float]) -> str:
    lines = [
        "# Embedded judge: original against corruption",
        "",
        f"Judge `{VERSION}`, {documents} held-out demonstrations, calls carried out by the default World. A pair counts when the original",
        "scores strictly higher. Made by `python -m benchmarks.judge_proxies`; the corruptions are declared in",
        "`benchmarks/judge_corruptions.py`.",
        "",
        f"| term | pairs | original higher | 95 % interval | in the `llmi` preset (at least {NEEDED:.0%}) |",
        "|---|---|---|---|---|",
    ]
    for term in CORRUPTIONS:
        own = [row for row in rows if row.term == term]
        wins, pairs = sum(row.wins for row in own), sum(row.pairs for row in own)
        if pairs:
            low, high = wilson(wins, pairs)
            verdict = "yes" if wins / pairs >= NEEDED else "no: left out"
            lines.append(f"| {term} | {pairs} | {wins / pairs:.1%} | {low:.1%} to {high:.1%} | {verdict} |")
    lines += [
        "",
        "| term | corruption | pairs | original higher | 95 % interval | mean original | mean corrupted |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = wilson(row.wins, row.pairs)
        lines.append(
            f"| {row.term} | {row.corruption} | {row.pairs} | {row.wins / row.pairs:.1%} | {low:.1%} to {high:.1%} | "
            f"{row.original:.2f} | {row.corrupted:.2f} |"
        )
    lines += [
        "",
        f"Processor time for one document: {times[0]:.1f} ms with its pictures measured and its texts embedded for the first time,",
        f"{times[1]:.1f} ms with the texts embedded before (medians over 40).",
        "",
        "What these proxies cannot see: whether a statement is true; whether the pixels show what a caption or prompt says (a drawing",
        "that failed, a chart whose colours mislead); style beyond repetition, order and lead-ins; languages other than English. The",
        "corruptions are plain ones: the shares above say that gross faults are told apart, not that fine differences between two honest",
        "documents are.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40, help="pairs for each corruption")
    parser.add_argument("--documents", type=int, help="at most so many demonstrations")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    samples = asyncio.run(demonstrations(options.documents))
    judge = EmbeddedJudge()
    rows = compare(samples, judge, options.pairs)
    times = milliseconds(samples[:40])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(table(rows, len(samples), times), encoding="utf-8")
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

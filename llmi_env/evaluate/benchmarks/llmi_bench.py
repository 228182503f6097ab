"""LLMI-Bench, of LLM-I (arXiv 2509.13642): does a document meet each of ten criteria that were written for its task?

What this rests on. The released evaluation (ByteDance-BandAI/LLM-I, `evaluation/eval_text_only.py` and `eval_mm.py`) reads two files,
`benchmark/text_only.json` and `benchmark/mm_input.json`: JSON arrays of objects with `prompt`, criteria `r1`..`r10` as texts and, in the second
one, `images`, a list of paths. A judge sees task, document and pictures and gives 0, 1 or 2 for one criterion at a time. A report gives the sum
beside the most there could be, leaving out criteria that were not judged.

What could not be verified. The two files are not in the public repository: their shape is that of the scripts that read them, the number of
items (30) and the scale of the headline (10) are those of the paper's figures. From which folder the paths of `images` count is not said: we
try the file's own folder and the one above.

Where we differ. A gap among the criteria is an error: the scripts close it, so that figures of `r3` would stand under `r2`. A picture that is
missing is an error: the scripts go on without it. A criterion that was not judged leaves the figure open (see `results`), not smaller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmi_env.document import Document
from llmi_env.evaluate.benchmark import Item, Measure, Question, Scores
from llmi_env.evaluate.benchmarks.items import MARK, Draft, Items, Shelf, load_items, placed
from llmi_env.evaluate.benchmarks.loading import Published, Row
from llmi_env.rewards.hybrid import HybridReward

PUBLISHED = Published(
    "llmi-bench",
    (("text_only.json", "benchmark/text_only.json"), ("mm_input.json", "benchmark/mm_input.json")),
    "they belong to LLM-I (github.com/ByteDance-BandAI/LLM-I); give the file or its folder by --data",
    roots=(".", ".."),
)
MOST = 10
"""A task has at most so many criteria."""

_CRITERION = re.compile(r"r\d+\Z")


class LLMIBench:
    """The protocol of LLMI-Bench: one request for each criterion."""

    name: str = "llmi-bench"
    version: str = "1"
    paper: str = "arXiv 2509.13642"
    headline: str = "score"
    needs_data: bool = True
    terms: HybridReward | None = None
    measures: Sequence[Measure] = (
        Measure("score", 0, 10, "points of all criteria (0, 1 or 2 each), of 10: what the paper reports"),
        Measure("met", 0, 1, "share of criteria that are met fully"),
    )

    def load(self, data: str | Path | None) -> Items:
        """Read the items from a file, a folder with one of the published files or both, or the hub.

        Raises:
            BenchmarkError: no such files, or one that is not as published.
        """
        return load_items(data, PUBLISHED, _draft)

    def questions(self, item: Item, document: Document) -> Sequence[Question]:
        """Each criterion by itself."""
        criteria: Mapping[str, str] = item.facts["criteria"]
        return [Question(name, {"met": text}, 0, 2) for name, text in criteria.items()]

    def measure(self, item: Item, document: Document, scores: Scores) -> Mapping[str, float]:
        """Points, and how many criteria are met."""
        points = [scores[f"{name}/met"] for name in item.facts["criteria"]]
        return {
            "score": 10 * sum(points) / (2 * len(points)),
            "met": sum(point == 2 for point in points) / len(points),
        }


def _draft(row: Row, shelf: Shelf) -> Draft:
    prompt = row.text("prompt")
    criteria = _criteria(row)
    names = row.items("images") if row.data.get("images") is not None else []
    pictures = [shelf.find(row, f"images[{at}]", name) for at, name in enumerate(names)]
    if (marks := prompt.count(MARK)) > len(pictures):
        raise row.error("images", f"a picture for each {MARK} in the prompt, {marks}", f"{len(pictures)} of them")
    return Draft(
        row,
        id=row.text("id", blank=True) or f"{shelf.file.stem}-{row.number}",
        source="llmi-bench",
        task=placed(prompt, pictures),
        kind="multimodal" if pictures else "text",
        facts={"criteria": criteria},
    )


def _criteria(row: Row) -> dict[str, str]:
    there = [name for name in row.data if _CRITERION.match(name)]
    wanted = [f"r{number}" for number in range(1, max(len(there), 1) + 1)]
    if strange := sorted(set(there) - {f"r{number}" for number in range(1, MOST + 1)}):
        raise row.error(strange[0], f"criteria from r1 to r{MOST}", "a field of that name")
    gaps = [name for name in wanted if name not in row.data]
    if gaps and there:
        found = ", ".join(sorted(there, key=lambda name: int(name[1:])))
        raise row.error(gaps[0], "criteria without gaps", f"missing beside {found}")
    return {name: row.text(name) for name in wanted}

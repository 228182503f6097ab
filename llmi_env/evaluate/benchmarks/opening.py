"""OpenING (arXiv 2411.18499): open-ended tasks of 56 kinds, scored by seven criteria, and compared with the published answer.

What this rests on, all of it published (LanceZPF/OpenING, read at ea0c506). Items: `OpenING-benchmark/test_data.jsonl`, one object a line with
`total_uid`, `meta_task_id`, `meta_task_name`, `subtask_id`, `subtask_name`, `data_id` and `conversations`: an object with `input` and one
with `output`, each a list of steps `{"text", "image"}`, image a path from the file's folder or null; a step's picture comes after its text.
Texts carry the marks `<BEGIN>` and `<image>`, which the judging scripts take out. Scores: `prompts/detailed_score_system.txt` has one request
give whole numbers from 0 to 10 for seven criteria; `summarize_GPT_scores.py` averages each and takes the mean of the seven. Comparison:
`prompts/judge_system.txt` knows four verdicts, A or B is better and a tie that leans to A or to B; `calculate_model_winrate.py` counts ties by
the leaning (FDT), as nothing, or as a half.

Where we differ. The arena pairs models at random; here the opponent is always the published answer, so that one model can be measured alone:
these win rates are no places in the published ranking. The two are not swapped: the opponent has a place of its own in the request, before the
document. The published GPT-4o and DALL-E baseline is told how many steps the published answer has; our writers are not (`facts["steps"]`).
The hub has no copy that we know of; where the published archives put the file was not verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from llmi_env.document import Document
from llmi_env.evaluate.benchmark import Item, Measure, Question, Scores
from llmi_env.evaluate.benchmarks.items import MARK, Draft, Items, Part, Shelf, as_given, load_items
from llmi_env.evaluate.benchmarks.loading import Published, Row
from llmi_env.judges.prompt import load_prompt
from llmi_env.rewards.hybrid import HybridReward

PUBLISHED = Published(
    "opening",
    (("test_data.jsonl", "OpenING-benchmark/test_data.jsonl", "OpenING-Benchmark/test_data.jsonl"),),
    "its place is github.com/LanceZPF/OpenING, which links the archives; unpack one and give the folder by --data",
)
CRITERIA = (
    "correctness",
    "image_text_coherency",
    "multi_step_consistency",
    "content_quality",
    "human_preference_alignment",
    "completeness",
    "content_richness",
)
_WORTH = {
    "win_fdt": (0.0, 0.0, 1.0, 1.0),
    "win_ties_half": (0.0, 0.5, 0.5, 1.0),
    "win_ties_none": (0.0, 0.0, 0.0, 1.0),
}
"""What each verdict, from "the published answer is better" to "the document is", is worth by the ways in which the paper counts ties."""


class OpenING:
    """The protocol of OpenING.

    Args:
        compare: ask also which is better, the document or the published answer: a second request for each document.
    """

    name: str = "opening"
    version: str = "1"
    paper: str = "arXiv 2411.18499"
    headline: str = "overall"
    needs_data: bool = True
    terms: HybridReward | None = None
    picture_fits: Sequence[str] = ("scores/image_text_coherency",)

    def __init__(self, compare: bool = True) -> None:
        self.compare = compare

    @property
    def measures(self) -> Sequence[Measure]:
        """The mean of the criteria, each of them, and win rates."""
        wins = [
            Measure("win_fdt", 0, 1, "wins over the published answer, ties going where they lean (FDT)"),
            Measure("win_ties_half", 0, 1, "wins over the published answer, a tie being half a win"),
            Measure("win_ties_none", 0, 1, "wins over the published answer, a tie being none"),
        ]
        return (
            Measure("overall", 0, 10, "mean of the seven criteria"),
            *(Measure(name, 0, 10, name.replace("_", " ")) for name in CRITERIA),
            *(wins if self.compare else ()),
        )

    def load(self, data: str | Path | None) -> Items:
        """Read the items from a file, or from the folder of the published one.

        Raises:
            BenchmarkError: no such file, or one that is not as published.
        """
        return load_items(data, PUBLISHED, _draft)

    def questions(self, item: Item, document: Document) -> Sequence[Question]:
        """The seven criteria at once; and a comparison, where there is an answer to compare with."""
        prompt = load_prompt("opening")
        asked = [Question("scores", prompt.terms, prompt.low, prompt.high, prompt="opening")]
        if self.compare and item.reference is not None:
            pair = load_prompt("opening_pair")
            other = {"the other answer": as_given(item.reference)}
            asked.append(Question("pair", pair.terms, pair.low, pair.high, prompt="opening_pair", given=other))
        return asked

    def measure(self, item: Item, document: Document, scores: Scores) -> Mapping[str, float]:
        """The criteria, their mean, and the comparison."""
        each = {name: scores[f"scores/{name}"] for name in CRITERIA}
        figures = {"overall": fmean(each.values()), **each}
        if self.compare and item.reference is not None:
            figures |= {name: _at(scores["pair/better"], worth) for name, worth in _WORTH.items()}
        return figures


def _at(verdict: float, worth: Sequence[float]) -> float:
    """What a verdict is worth; the mean of several samples may lie between two of them."""
    low = min(int(verdict), len(worth) - 2)
    return worth[low] + (verdict - low) * (worth[low + 1] - worth[low])


def _draft(row: Row, shelf: Shelf) -> Draft:
    id, turns = row.text("total_uid"), row.rows("conversations")
    if len(turns) != 2:
        raise row.error("conversations", "two objects, one with 'input' and one with 'output'", f"{len(turns)} of them")
    (task, _), (answer, steps) = _steps(turns[0], "input", shelf), _steps(turns[1], "output", shelf)
    return Draft(
        row,
        id=id,
        source="opening",
        task=task,
        kind=row.text("meta_task_name"),
        answer=answer,
        facts={"steps": steps, "subtask": row.text("subtask_name")},
    )


def _steps(turn: Row, name: str, shelf: Shelf) -> tuple[tuple[Part, ...], int]:
    """Words and pictures of a turn, and how many steps it has."""
    parts: list[Part] = []
    steps = turn.rows(name)
    for step in steps:
        if words := step.text("text", blank=True).replace("<BEGIN>", "").replace(MARK, "").strip():
            parts.append(words)
        if step.data.get("image") is not None:
            parts.append(shelf.find(step, "image", step.data["image"]))
    return tuple(parts), len(steps)

"""InterleavedBench and its metric InterleavedEval (arXiv 2406.14643): five aspects of a document, each from 0 to 5.

What this rests on. The hub's repository `mqliu/InterleavedBench` (it stands among the models) has `interleaved_bench.json` and, in
`zipped_images`, archives of pictures. Its readme shows an item: an object with `id`, `image` (paths of pictures, those of the task before those
of the published answer), `task_name` and `conversations`; code that reads the file (facebookresearch/MMRB2,
`benchmark/sources/interleavedeval.py`) says that it is one JSON array, that the first of the conversations has the task in `value`, that
`<image>` in it stands for the next picture, and that paths count from the folder where the archives were unpacked; they need not be.
The readme asks to leave out text quality and text-image coherence where the task is to edit a picture or to show given subjects: the published
script puts them to 0 there.

What could not be verified: the data file and the published script `src/interleavedeval_gpt4o.py` themselves. That the second of the
conversations is the published answer, with `<image>` in it or with its pictures left over, is the convention of the data sets whose shape
this is; tasks without a context are said to have none. Nor could be seen how tasks without text are named: we take for one what has a
published answer of pictures alone, or a `task_name` with `edit`, `subject` or `concept` in it (see `facts["wordless"]`). Nor whether one
request or five ask for the aspects: here each is asked by itself. Nor the scale itself, and what 0 stands for: here it is nothing of the
kind, which is known without a judge (no picture has no quality).

The average is over the aspects that count for the item. The paper's overall figure is the mean of five means over items; where some tasks have
no text the two differ a little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from llmi_env.document import Document
from llmi_env.evaluate.benchmark import Item, Measure, Question, Scores
from llmi_env.evaluate.benchmarks.items import MARK, Draft, Items, Shelf, load_items, placed
from llmi_env.evaluate.benchmarks.loading import Published, Row
from llmi_env.judges.prompt import load_prompt
from llmi_env.rewards.hybrid import HybridReward

PUBLISHED = Published(
    "interleaved-bench",
    (("interleaved_bench.json",),),
    "it is on the hub as mqliu/InterleavedBench: give that name or a folder by --data",
    roots=(".", "zipped_images"),
    patterns=("interleaved_bench.json", "zipped_images/*"),
)
ASPECTS = ("text_quality", "perceptual_quality", "image_coherence", "text_image_coherence", "helpfulness")
_OF_TEXT = {"text_quality", "text_image_coherence"}
_OF_PICTURES = {"perceptual_quality", "image_coherence", "text_image_coherence"}
_WORDLESS = re.compile("edit|subject|concept", re.IGNORECASE)


class InterleavedBench:
    """The protocol of InterleavedBench: one request for each aspect."""

    name: str = "interleaved-bench"
    version: str = "1"
    paper: str = "arXiv 2406.14643"
    headline: str = "average"
    needs_data: bool = True
    terms: HybridReward | None = None
    picture_fits: Sequence[str] = ("text_image_coherence/score",)
    measures: Sequence[Measure] = (
        Measure("average", 0, 5, "mean of the aspects that count for the task"),
        Measure("text_quality", 0, 5, "the writing by itself; not where the task is without words"),
        Measure("perceptual_quality", 0, 5, "the pictures by themselves"),
        Measure("image_coherence", 0, 5, "the pictures beside each other"),
        Measure("text_image_coherence", 0, 5, "words and pictures; not where the task is without words"),
        Measure("helpfulness", 0, 5, "the whole, as an answer to the task"),
    )

    def load(self, data: str | Path | None) -> Items:
        """Read the items from a file, a folder, or the hub.

        Raises:
            BenchmarkError: no such file, or one that is not as published.
        """
        return load_items(data, PUBLISHED, _draft)

    def questions(self, item: Item, document: Document) -> Sequence[Question]:
        """Each aspect that counts for the task and of which there is something in the document."""
        prompt = load_prompt("interleaved_bench")
        return [
            Question(aspect, {"score": prompt.terms[aspect]}, prompt.low, prompt.high, prompt="interleaved_bench")
            for aspect in _counting(item)
            if not _nothing_of(aspect, document)
        ]

    def measure(self, item: Item, document: Document, scores: Scores) -> Mapping[str, float]:
        """The aspects that count, and their mean."""
        each = {
            aspect: 0.0 if _nothing_of(aspect, document) else scores[f"{aspect}/score"] for aspect in _counting(item)
        }
        return {"average": fmean(each.values()), **each}


def _counting(item: Item) -> list[str]:
    return [aspect for aspect in ASPECTS if not (item.facts["wordless"] and aspect in _OF_TEXT)]


def _nothing_of(aspect: str, document: Document) -> bool:
    """Whether the document has nothing that the aspect could be about."""
    words, pictures = bool(document.text.strip()), bool(document.pictures)
    return (aspect in _OF_TEXT and not words) or (aspect in _OF_PICTURES and not pictures) or not (words or pictures)


def _draft(row: Row, shelf: Shelf) -> Draft:
    name, turns = row.text("task_name"), row.rows("conversations")
    if not turns:
        raise row.error("conversations", "a turn with the task", "an empty list")
    asked = turns[0].text("value")
    said = turns[1].text("value", blank=True) if len(turns) > 1 else ""
    pictures = [shelf.find(row, f"image[{at}]", value) for at, value in enumerate(_names(row))]
    marks = asked.count(MARK)
    if (all_marks := marks + said.count(MARK)) > len(pictures):
        raise row.error(
            "image", f"a picture for each {MARK} in the conversations, {all_marks}", f"{len(pictures)} of them"
        )
    answer = placed(said, pictures[marks:])
    only_pictures = bool(answer) and not any(isinstance(part, str) for part in answer)
    return Draft(
        row,
        id=row.text("id"),
        source="interleaved-bench",
        task=placed(asked.replace("<BEGIN>", ""), pictures[:marks]),
        kind=name,
        answer=answer,
        facts={"wordless": only_pictures or _WORDLESS.search(name) is not None},
    )


def _names(row: Row) -> list[object]:
    value = row.data.get("image")
    if value is None:
        return []
    return [value] if isinstance(value, str) else row.items("image")

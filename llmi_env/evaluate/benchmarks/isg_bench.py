"""ISG-Bench (arXiv 2411.17188): answers of a given structure, checked on four levels: structure, blocks, pictures, the whole.

What this rests on (Dongping-Chen/ISG: `readme.md`, `ISG-eval.py`, `calculate_performance.py`; the judges' scales from a public copy of its
`ISG_eval/get_judge_prompt.py`). Items: `ISG-Bench.jsonl`, one object a line with `id`, `Category`, `Query` and `Golden` (lists of
`{"type": "text" | "image", "content"}`, content of an image being its path) and `predict`, which holds what was derived from the query:
`block_qa.questions` of `{"subject", "object", "relation", "Question"}` and, for most categories, `image_qa` of
`{"image", "Question", "id", "Preliminary"}`, a list or an object that holds one. Blocks are called `<gen_text1>`, `<gen_img1>`,
`<query_text1>`, `<query_img1>` and so on, each kind counted from 1. The hub's copy is the data set `shuaishuaicdp/ISG-Bench`, pictures in
`images.zip`.

- Structure: 1 where texts and pictures follow each other exactly as in the golden answer, else 0.
- Blocks: the mean of one score from 1 to 10 for each question about two blocks; 1 where the structure is wrong, and nothing is asked.
- Pictures: the share of questions about single pictures answered with yes; 0 where the structure is wrong, and nothing is asked.
- Whole: one request beside the golden answer scores five sides of it and all in all, from 1 to 10; the last counts; 1 for an empty answer.

The published averages are means over the eight groups of categories (our `kind`), each group weighing the same.

Where we differ. A question about what a picture shows counts only where those that it presupposes (`Preliminary`) were answered with yes too:
so the published prompts define the field; the released script compares numbers with names there and answers all such questions with no. A call
that brought no picture is no block, nor is blank text. Questions that name a block which neither query nor golden answer has, or that are
about the query alone, are left out and counted in `facts["left_out"]`; so are prerequisites that no question before has. Yes-or-no answers to
the questions about blocks, which are published beside the scores but enter no figure, are not asked. Items without questions of a kind have no
figure there. The data file itself could not be read when this was written: its shape is that of the readme's example and of the scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from llmi_env.document import Block, Document, Figure, Picture, Text
from llmi_env.evaluate.benchmark import Item, Measure, Question, Scores
from llmi_env.evaluate.benchmarks.items import Draft, Items, Part, Shelf, as_given, load_items
from llmi_env.evaluate.benchmarks.loading import Published, Row
from llmi_env.judges.prompt import load_prompt
from llmi_env.rewards.hybrid import HybridReward

PUBLISHED = Published(
    "isg-bench",
    (("ISG-Bench.jsonl", "ISG_eval/ISG-Bench.jsonl"),),
    "it is on the hub as shuaishuaicdp/ISG-Bench: give that name or a folder by --data",
    patterns=("ISG-Bench.jsonl", "images.zip", "images/*"),
)
_GROUPS = {
    "Style Transfer": ("Art Style Transfer", "Scene Attribute Transfer", "Photo Variation", "Portrait Variation"),
    "Progressive": ("Animation Images", "Animation Text-Image", "Attribute Transfer"),
    "3D Scene": ("3D_object", "multi-Perspective Scene Generation"),
    "Image Decomposition": ("Realistic Object Detection", "Imaginary Object Detection"),
    "Image-Text Complementation": ("HowTo", "Scientific"),
    "Temporal Prediction": ("Prediction", "painting"),
    "Visual Story Telling": (
        "visual storytelling text-image",
        "visual storytelling image",
        "visual storytelling text",
    ),
    "VQA": ("Object_VQA", "Historical"),
}
_GROUP_OF = {category: group for group, categories in _GROUPS.items() for category in categories}


class BlockQuestion(NamedTuple):
    """A question about two blocks, by their names; at least one of them is of the answer."""

    subject: str
    object: str
    question: str


class ImageQuestion(NamedTuple):
    """A question about one picture of the answer; `needs` are places of earlier questions that must be answered with yes."""

    image: str
    question: str
    needs: tuple[int, ...] = ()


class ISGBench:
    """The protocol of ISG-Bench."""

    name: str = "isg-bench"
    version: str = "1"
    paper: str = "arXiv 2411.17188"
    headline: str = "holistic"
    needs_data: bool = True
    terms: HybridReward | None = None
    measures: Sequence[Measure] = (
        Measure("holistic", 1, 10, "the whole beside the golden answer, all in all"),
        Measure("structural", 0, 1, "texts and pictures follow each other as in the golden answer"),
        Measure("block", 1, 10, "mean over questions about two blocks; 1 where the structure is wrong"),
        Measure("image", 0, 1, "share of questions about single pictures that hold; 0 where the structure is wrong"),
    )

    def load(self, data: str | Path | None) -> Items:
        """Read the items from a file, a folder, or the hub.

        Raises:
            BenchmarkError: no such file, or one that is not as published.
        """
        return load_items(data, PUBLISHED, _draft)

    def questions(self, item: Item, document: Document) -> Sequence[Question]:
        """What is asked on the levels of blocks and pictures, where the structure is right, and on that of the whole."""
        assert item.reference is not None, "every item has a golden answer"
        blocks, asked = _blocks(document), []
        if _shape(blocks) == item.facts["structure"]:
            names = {**_named("gen", blocks), **item.facts["query"], **_pictures(item)}
            asked += [_about_two(at, question, names) for at, question in enumerate(item.facts["block"])]
            asked += [_about_one(at, question, names) for at, question in enumerate(item.facts["image"])]
        if blocks:
            whole = load_prompt("isg_holistic")
            golden = {"the golden answer": as_given(item.reference)}
            asked.append(Question("whole", whole.terms, whole.low, whole.high, prompt="isg_holistic", given=golden))
        return asked

    def measure(self, item: Item, document: Document, scores: Scores) -> Mapping[str, float]:
        """The four levels, as far as the item has questions of them."""
        blocks = _blocks(document)
        right = _shape(blocks) == item.facts["structure"]
        figures = {"holistic": scores["whole/overall_score"] if blocks else 1.0, "structural": float(right)}
        if count := len(item.facts["block"]):
            figures["block"] = fmean(scores[f"block-{at}/holds"] for at in range(count)) if right else 1.0
        if asked := item.facts["image"]:
            figures["image"] = _held(asked, scores) / len(asked) if right else 0.0
        return figures


def _held(asked: Sequence[ImageQuestion], scores: Scores) -> float:
    """How many questions hold: each is worth its answer, and not more than the least of what it presupposes."""
    worth: list[float] = []
    for at, question in enumerate(asked):
        worth.append(min([scores[f"image-{at}/yes"], *(worth[need] for need in question.needs)]))
    return sum(worth)


def _about_two(at: int, question: BlockQuestion, names: Mapping[str, Block | Picture | str]) -> Question:
    """One block is shown as the document, the other one as material: two texts would run into one, and the query's is no part of it."""
    shown, other = question.subject, question.object
    if not shown.startswith("<gen"):
        shown, other = other, shown
    part = names[shown]
    assert isinstance(part, Text | Figure)
    places = {shown: "the DOCUMENT", other: "the block under GIVEN"}
    first, second = places[question.subject], places[question.object]
    text = question.question.replace(question.subject, first).replace(question.object, second)
    prompt = load_prompt("isg_block")
    side = "answer" if other.startswith("<gen") else "task"
    return Question(
        f"block-{at}",
        {"holds": f"{text} (The first of the two is {first}, the second is {second}.)"},
        prompt.low,
        prompt.high,
        part=Document((part,)),
        prompt="isg_block",
        given={f"the {'second' if shown == question.subject else 'first'} block, of the {side}": [_bare(names[other])]},
    )


def _about_one(at: int, question: ImageQuestion, names: Mapping[str, Block | Picture | str]) -> Question:
    figure = names[question.image]
    assert isinstance(figure, Figure)
    prompt = load_prompt("isg_image")
    return Question(
        f"image-{at}",
        {"yes": question.question},
        prompt.low,
        prompt.high,
        part=Document((figure,)),
        prompt="isg_image",
    )


def _bare(block: Block | Picture | str) -> str | Picture:
    if isinstance(block, Figure):
        assert block.picture is not None, "only figures with a picture are blocks"
        return block.picture
    return block.text if isinstance(block, Text) else block


def _blocks(document: Document) -> tuple[Block, ...]:
    """The document's blocks as the benchmark counts them: text that is not blank, joined where it meets, and figures with a picture."""
    blocks: list[Block] = []
    for block in document:
        if isinstance(block, Figure):
            blocks += [block] * (block.picture is not None)
        elif block.text.strip():
            before = blocks.pop().text if blocks and isinstance(blocks[-1], Text) else ""  # type: ignore[union-attr]
            blocks.append(Text(before + block.text))
    return tuple(blocks)


def _shape(blocks: Sequence[Block]) -> tuple[str, ...]:
    return tuple("text" if isinstance(block, Text) else "image" for block in blocks)


def _named(side: str, blocks: Sequence[Block]) -> dict[str, Block]:
    counts = {"text": 0, "img": 0}
    named = {}
    for block in blocks:
        kind = "text" if isinstance(block, Text) else "img"
        counts[kind] += 1
        named[f"<{side}_{kind}{counts[kind]}>"] = block
    return named


def _pictures(item: Item) -> dict[str, Picture]:
    return {f"<query_img{at}>": picture for at, picture in enumerate(item.task.images, start=1)}


# ----------------------------------------------------------------------------------------------------------- loading


def _draft(row: Row, shelf: Shelf) -> Draft:
    query, golden = _parts(row, "Query", shelf), _parts(row, "Golden", shelf)
    if not golden:
        raise row.error("Golden", "a golden answer", "an empty one")
    shape: list[str] = []
    for part in golden:
        kind = "text" if isinstance(part, str) else "image"
        shape += [kind] * (kind == "image" or shape[-1:] != ["text"])
    texts = [part for part in query if isinstance(part, str)]
    names = {f"<gen_{kind}{at + 1}>" for kind, at in _counted(shape)}
    asked = {f"<query_text{at}>" for at in range(1, len(texts) + 1)}
    asked |= {f"<query_img{at}>" for at in range(1, len(query) - len(texts) + 1)}
    predict = row.row("predict")
    block, lost_blocks = _block_questions(predict.row("block_qa").rows("questions"), names, asked)
    image, lost_images = _image_questions(_image_rows(predict), names)
    category = row.text("Category")
    return Draft(
        row,
        id=row.text("id"),
        source="isg-bench",
        task=query,
        kind=_GROUP_OF.get(category, category),
        answer=golden,
        facts={
            "category": category,
            "structure": tuple(shape),
            "query": {f"<query_text{at}>": text for at, text in enumerate(texts, start=1)},
            "block": block,
            "image": image,
            "left_out": lost_blocks + lost_images,
        },
    )


def _parts(row: Row, name: str, shelf: Shelf) -> tuple[Part, ...]:
    parts: list[Part] = []
    for piece in row.rows(name):
        kind = piece.data.get("type")
        if kind == "image":
            parts.append(shelf.find(piece, "content", piece.data.get("content")))
        elif kind == "text":
            if text := piece.text("content", blank=True):
                parts.append(text)
        else:
            raise piece.error("type", "'text' or 'image'")
    return tuple(parts)


def _counted(shape: Sequence[str]) -> list[tuple[str, int]]:
    """Kind of each block, as in its name, and its place among those of its kind."""
    kinds = ["text" if kind == "text" else "img" for kind in shape]
    return [(kind, kinds[:at].count(kind)) for at, kind in enumerate(kinds)]


def _block_questions(rows: Sequence[Row], names: set[str], asked: set[str]) -> tuple[tuple[BlockQuestion, ...], int]:
    questions = []
    for row in rows:
        subject, thing, text = (str(row.data.get(name) or "") for name in ("subject", "object", "Question"))
        two = {subject, thing}
        if len(two) == 2 and two <= names | asked and two & names and text.strip():
            questions.append(BlockQuestion(subject, thing, row.text("Question")))
    return tuple(questions), len(rows) - len(questions)


def _image_rows(predict: Row) -> list[Row]:
    value = predict.data.get("image_qa")
    if value is None:
        return []
    if isinstance(value, dict):
        held: Any = next(iter(value), None)
        return [] if held is None else predict.row("image_qa").rows(held)
    return predict.rows("image_qa")


def _image_questions(rows: Sequence[Row], names: set[str]) -> tuple[tuple[ImageQuestion, ...], int]:
    questions: list[ImageQuestion] = []
    places: dict[str, int] = {}
    lost = 0
    for row in rows:
        image = row.text("image")
        if image not in names or "img" not in image:
            lost += 1
            continue
        needs = [places.get(repr(need)) for need in (row.items("Preliminary") if "Preliminary" in row.data else [])]
        lost += needs.count(None)
        questions.append(ImageQuestion(image, row.text("Question"), tuple(need for need in needs if need is not None)))
        places[repr(row.data.get("id"))] = len(questions) - 1
    return tuple(questions), lost

"""Declared corruptions of documents: each makes a document worse in one known way, so that a judge can be asked which is the better one.

Used by `benchmarks/judge_proxies.py` (the table) and by the tests of the embedded judge. A corruption returns `None` where it does not
apply.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from PIL import Image, ImageFilter

from llmi_env.calls import Call
from llmi_env.document import Block, Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.judges.relevance import FUNCTION_WORDS
from llmi_env.task import Task

PARAM = {"search": "query", "diffusion": "prompt", "code": "code", "edit": "prompt"}


@dataclass(frozen=True)
class Sample:
    """A good document and its task."""

    task: Task
    document: Document


Corruption = Callable[[Sample, Sample, random.Random], Document | None]
"""Takes the sample, another one to borrow from, and a source of randomness."""


# ----------------------------------------------------------------------------------------------------------------- samples


def make_call(tool: str, description: str, wish: str) -> Call:
    return Call(tool, description, {PARAM.get(tool, "prompt"): wish} | ({"img_index": 0} if tool == "edit" else {}))


def make_figure(tool: str, description: str, wish: str, picture: Picture | None) -> Figure:
    call = make_call(tool, description, wish)
    return Figure(call.to_json(), call, picture or Failure.of(tool, "empty", "nothing"))


def read_documents(path: Path, pictures: list[Image.Image]) -> list[Sample]:
    """Documents in the notation of `judge_documents.yaml`, pictures dealt out in turn."""
    samples, dealt = [], 0
    for row in yaml.safe_load(path.read_text(encoding="utf-8")):
        blocks: list[Block] = []
        for at, part in enumerate(re.split(r"\[\[(.+?)\]\]", row["body"])):
            if at % 2:
                tool, description, wish, caption = (field.strip() for field in part.split("|"))
                wish = wish.replace("; ", "\n") if tool == "code" else wish
                seen = Picture(pictures[dealt % len(pictures)], Provenance("test", caption=caption))
                dealt += 1
                blocks.append(make_figure(tool, description, wish, seen))
            elif part:
                blocks.append(Text(part))
        inputs = tuple(Picture(pictures[0], Provenance("input")) for _ in range(row.get("inputs", 0)))
        task = Task(row["question"], inputs, row.get("image_count", "any"), tuple(row["tools"]))
        samples.append(Sample(task, Document(tuple(blocks))))
    return samples


def with_text(document: Document, change: Callable[[str], str]) -> Document:
    """All text changed, figures left in place."""
    return Document(tuple(Text(change(b.text)) if isinstance(b, Text) else b for b in document))


def one_text(document: Document, text: str) -> Document:
    """The text replaced by one run in front of the figures."""
    return Document((Text(text), *document.figures))


def with_figures(document: Document, change: Callable[[int, Figure], Figure]) -> Document:
    """Each figure changed, by its index."""
    blocks: list[Block] = []
    index = 0
    for block in document:
        if isinstance(block, Figure):
            block = change(index, block)
            index += 1
        blocks.append(block)
    return Document(tuple(blocks))


# -------------------------------------------------------------------------------------------------------------------- text


def off_topic(sample: Sample, other: Sample, rng: random.Random) -> Document:
    return one_text(sample.document, other.document.text)


def shuffled_words(sample: Sample, other: Sample, rng: random.Random) -> Document:
    def shuffle(text: str) -> str:
        tokens = text.split()
        rng.shuffle(tokens)
        return " ".join(tokens) + " "

    return with_text(sample.document, shuffle)


def repeated_text(sample: Sample, other: Sample, rng: random.Random) -> Document:
    first = re.split(r"(?<=[.!?])\s", sample.document.text.strip())[0]
    return one_text(sample.document, " ".join([first] * 4))


def copied_question(sample: Sample, other: Sample, rng: random.Random) -> Document:
    return one_text(sample.document, sample.task.question + " " + sample.task.question)


def lead_in(sample: Sample, other: Sample, rng: random.Random) -> Document:
    """The answer announced, in front of everything."""
    opening = rng.choice(
        [
            "Sure! Here is the document you asked for. ",
            "Certainly! Below is an article with images. ",
            "Here is an image of it: ",
        ]
    )
    first, *rest = sample.document.blocks
    start = (Text(opening + first.text),) if isinstance(first, Text) else (Text(opening), first)
    return Document((*start, *rest))


def keywords_only(sample: Sample, other: Sample, rng: random.Random) -> Document:
    return with_text(
        sample.document, lambda text: " ".join(w for w in text.split() if w.lower().strip(".,") not in FUNCTION_WORDS)
    )


def cut_short(sample: Sample, other: Sample, rng: random.Random) -> Document:
    return one_text(sample.document, " ".join(sample.document.text.split()[:6]))


def letters_scrambled(sample: Sample, other: Sample, rng: random.Random) -> Document:
    def scramble(text: str) -> str:
        return " ".join("".join(rng.sample(word, len(word))) for word in text.split()) + " "

    return with_text(sample.document, scramble)


# ------------------------------------------------------------------------------------------------------------------- calls


def vague_call(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    def blur(_: int, figure: Figure) -> Figure:
        call = figure.call
        assert call is not None
        wish = {"code": "plt.plot([1, 2, 3])", "edit": "make it nicer"}.get(
            call.tool, rng.choice(["a nice picture", "image", "something relevant"])
        )
        return replace(figure, call=make_call(call.tool, "an image", wish))

    return with_figures(sample.document, blur) if sample.document.figures else None


def wrong_tool(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    def switch(_: int, figure: Figure) -> Figure:
        call = figure.call
        assert call is not None
        # What the call wants stays as described; only who is asked changes.
        tool = rng.choice([t for t in ("search", "diffusion", "code", "edit") if t != call.tool])
        wish = call.description
        if tool == "code":
            wish = f"plt.text(0.5, 0.5, {call.description!r})"
        return replace(figure, call=make_call(tool, call.description, wish))

    return with_figures(sample.document, switch) if sample.document.figures else None


def calls_of_another_document(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    mine, theirs = sample.document.figures, other.document.figures
    if not mine or not theirs:
        return None
    return with_figures(sample.document, lambda at, _: theirs[at % len(theirs)])


def announced_calls(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    blocks: list[Block] = []
    for block in sample.document:
        if isinstance(block, Figure):
            last = blocks.pop() if blocks and isinstance(blocks[-1], Text) else Text("")
            assert isinstance(last, Text)
            blocks.append(
                Text(last.text.rstrip() + " " + rng.choice(["Here is an image of it: ", "Below is a picture: "]))
            )
        blocks.append(block)
    return Document(tuple(blocks)) if sample.document.figures else None


def fenced_calls(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    blocks: list[Block] = []
    for block in sample.document:
        if isinstance(block, Figure):
            last = blocks.pop() if blocks and isinstance(blocks[-1], Text) else Text("")
            assert isinstance(last, Text)
            blocks += [Text(last.text.rstrip() + "\n```json\n"), block]
        elif isinstance(block, Text):
            blocks.append(Text("\n```\n" + block.text) if blocks and isinstance(blocks[-1], Figure) else block)
    return Document(tuple(blocks)) if sample.document.figures else None


def unreadable_calls(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    if not sample.document.figures:
        return None
    at = rng.randrange(len(sample.document.figures))
    broken = Figure("{oops", None, Failure.of("", "malformed", "not JSON"))
    return with_figures(sample.document, lambda index, figure: broken if index == at else figure)


# ---------------------------------------------------------------------------------------------------------------- pictures


def _repainted(change: Callable[[Image.Image, random.Random], Image.Image]) -> Corruption:
    def corrupt(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
        def repaint(_: int, figure: Figure) -> Figure:
            picture = figure.picture
            assert picture is not None
            return replace(figure, outcome=Picture(change(picture.image, rng), picture.provenance))

        if not sample.document.pictures or len(sample.document.pictures) != len(sample.document.figures):
            return None
        return with_figures(sample.document, repaint)

    return corrupt


blank = _repainted(lambda image, rng: Image.new("RGB", image.size, rng.choice(["white", "black", "gray"])))
tiny = _repainted(lambda image, rng: image.convert("RGB").resize((rng.randint(8, 20),) * 2))
blurred = _repainted(
    lambda image, rng: image.convert("RGB").filter(ImageFilter.GaussianBlur(max(image.size) / rng.uniform(25, 60)))
)
washed_out = _repainted(
    lambda image, rng: Image.blend(image.convert("RGB"), Image.new("RGB", image.size, "gray"), 0.93)
)
enlarged = _repainted(
    lambda image, rng: image.convert("RGB").resize((14, 14)).resize(image.size, Image.Resampling.BICUBIC)
)


def swapped_captions(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """What the search found is another picture, with that one's caption."""
    return _swap_pictures(sample, other, "search")


def _swap_pictures(sample: Sample, other: Sample, tool: str) -> Document | None:
    donors = [f.picture for f in other.document.figures if f.picture and f.call and f.call.tool == tool]
    if not donors or not any(f.call and f.call.tool == tool and f.picture for f in sample.document.figures):
        return None
    return with_figures(
        sample.document,
        lambda at, f: replace(f, outcome=donors[at % len(donors)]) if f.call and f.call.tool == tool else f,
    )


def _swap_results(tool: str) -> Corruption:
    """The tool was asked for something else and delivered it; the description stays."""

    def corrupt(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
        donors = [f for f in other.document.figures if f.call and f.call.tool == tool and f.picture]

        def swap(at: int, figure: Figure) -> Figure:
            call, donor = figure.call, donors[at % len(donors)]
            if call is None or donor.call is None or call.tool != tool:
                return figure
            wish = donor.call.params[PARAM[tool]]
            return replace(figure, call=replace(call, params={PARAM[tool]: wish}), outcome=donor.outcome)

        changed = with_figures(sample.document, swap) if donors else sample.document
        return changed if changed != sample.document else None

    return corrupt


swapped_prompts = _swap_results("diffusion")
swapped_code = _swap_results("code")


def wrong_numbers(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    def change(_: int, figure: Figure) -> Figure:
        call = figure.call
        if call is None or call.tool != "code":
            return figure
        code = re.sub(
            r"(?<![\w.])\d+(?:\.\d+)?",
            lambda m: str(round(float(m[0]) * rng.uniform(1.3, 3.7) + 3, 1)),
            call.params["code"],
        )
        return replace(figure, call=replace(call, params={"code": code}))

    told = len(re.findall(r"\d+", sample.task.question + sample.document.text))
    changed = with_figures(sample.document, change)
    return changed if told >= 4 and changed != sample.document else None


CORRUPTIONS: Mapping[str, Mapping[str, Corruption]] = {
    "text_quality": {
        "off-topic text": off_topic,
        "shuffled words": shuffled_words,
        "repeated text": repeated_text,
        "copied question": copied_question,
        "lead-in": lead_in,
        "keywords only": keywords_only,
        "cut short": cut_short,
        "scrambled letters": letters_scrambled,
    },
    "call_quality": {
        "vague calls": vague_call,
        "wrong tool": wrong_tool,
        "calls of another document": calls_of_another_document,
        "announced calls": announced_calls,
        "calls in fences": fenced_calls,
        "one unreadable call": unreadable_calls,
    },
    "image_quality": {
        "blank": blank,
        "tiny": tiny,
        "blurred": blurred,
        "washed out": washed_out,
        "enlarged from 14 pixels": enlarged,
    },
    "task_relevance": {
        "figures of another document": calls_of_another_document,
        "another picture found": swapped_captions,
        "another prompt drawn": swapped_prompts,
        "another chart plotted": swapped_code,
    },
    "text_image_relevance": {
        "figures of another document": calls_of_another_document,
        "another picture found": swapped_captions,
        "another prompt drawn": swapped_prompts,
        "another chart plotted": swapped_code,
        "wrong numbers plotted": wrong_numbers,
    },
}
"""By term. Corruptions of pixels alone that no proxy can see (another drawing for the same prompt) are not among them; the table says so."""

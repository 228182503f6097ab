"""Corruptions of the calls: what was asked for, of whom, and how the calls stand in the text. Pictures mostly stay."""

from __future__ import annotations

import random

from llmi_env.document import Block, Document, Failure, Figure, Text
from llmi_env.judges.corruptions.making import Sample, document_of, figure_of, make_call, tool_of, with_figures


def vague_calls(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """Calls that could stand in any document."""

    def blur(_: int, figure: Figure) -> Figure:
        tool = tool_of(figure)
        wish = {"code": "plt.plot([1, 2, 3])", "edit": "make it nicer"}.get(
            tool, rng.choice(["a nice picture", "image", "something relevant"])
        )
        return figure_of(make_call(tool, "an image", wish), figure.outcome)

    return with_figures(sample.document, blur) if sample.document.figures else None


def wrong_tool(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """What the calls want stays as described; another tool is asked."""

    def switch(_: int, figure: Figure) -> Figure:
        if figure.call is None:
            return figure
        tool = rng.choice([name for name in ("search", "diffusion", "code", "edit") if name != figure.call.tool])
        wish = figure.call.description
        if tool == "code":
            wish = f"plt.text(0.5, 0.5, {wish!r})"
        return figure_of(make_call(tool, figure.call.description, wish), figure.outcome)

    return with_figures(sample.document, switch) if sample.document.figures else None


def same_call_again(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """The last figure stands three times."""
    blocks: list[Block] = []
    figures = sample.document.figures
    for block in sample.document:
        blocks += [block] * (3 if figures and block is figures[-1] else 1)
    return Document(tuple(blocks)) if figures else None


def announced_calls(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """Each call after a phrase that announces it."""
    blocks: list[Block] = []
    for block in sample.document:
        if isinstance(block, Figure):
            blocks.append(Text(rng.choice([" Here is an image of it: ", " Below is a picture: "])))
        blocks.append(block)
    return document_of(blocks) if sample.document.figures else None


def calls_in_fences(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """Each call inside a code fence."""
    blocks: list[Block] = []
    for block in sample.document:
        blocks += [Text("\n```json\n"), block, Text("\n```\n")] if isinstance(block, Figure) else [block]
    return document_of(blocks) if sample.document.figures else None


def one_unreadable_call(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """One of the calls is no call any more."""
    if not sample.document.figures:
        return None
    at = rng.randrange(len(sample.document.figures))
    broken = Figure("{oops", None, Failure.of("", "malformed", "not JSON"))
    return with_figures(sample.document, lambda index, figure: broken if index == at else figure)


def calls_of_another_document(sample: Sample, other: Sample, rng: random.Random) -> Document | None:
    """Another document's calls with what they brought."""
    mine, theirs = sample.document.figures, other.document.figures
    if not mine or not theirs:
        return None
    return with_figures(sample.document, lambda at, _: theirs[at % len(theirs)])

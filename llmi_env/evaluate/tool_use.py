"""How well tools are used, in four parts that tell where it goes wrong.

1. *Right tool chosen*: of the tools that tasks require, counted document by document, how many does a call of the document name?
2. *Call valid*: of all calls, how many could be carried out as written?
3. *Call succeeded*: of the valid calls, how many brought a picture? Those that the world failed are left out.
4. *Picture fits*: of the pictures, how many stand in documents whose pictures a judge finds fitting (it scores a document's pictures together)?
   "Not judged" where nobody was asked.

Each part counts what the part before let through, so that one bad habit shows in one place. Beside them stand the figure by which we compare
policies (DESIGN 4.9: of the tools that a task requires, those with a valid call that brought a picture, averaged over tools) and that of the
LLM-I paper, calls that succeeded of those well-formed.

Pictures of finished documents that say of themselves that they were given are no calls; they count in the last part alone. Counts are kept for
each item; shares, intervals and differences are made of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict

from llmi_env.document import Document, Figure
from llmi_env.evaluate.benchmark import GIVEN
from llmi_env.evaluate.intervals import ratio_intervals, statistic_interval
from llmi_env.rewards.facts import is_valid, state_of
from llmi_env.rewards.tool_accuracy import ToolCounts, mean_share, tool_accuracy
from llmi_env.task import Task

PICTURE_FITS = "text_image_relevance"
"""The criterion that says whether pictures fit, where a benchmark does not name others."""

FITS_FROM = 0.75
"""How far up its scale a judge's score must be for pictures to count as fitting: 4 of 1..5, 2 of 0..2."""

UNREADABLE = "unreadable call"
NO_SUCH_TOOL = "no such tool"

PartName = Literal["chosen", "valid", "succeeded", "fits"]
PARTS: Mapping[PartName, tuple[str, str]] = {
    "chosen": ("right tool chosen", "required tools that a call names, of required tools"),
    "valid": ("call valid", "calls that could be carried out as written, of all calls"),
    "succeeded": ("call succeeded", "calls that brought a picture, of valid ones that the world did not fail"),
    "fits": ("picture fits", "pictures in documents whose pictures a judge finds fitting, of those judged"),
}
"""Title and unit of each part, in their order."""


@runtime_checkable
class NamesPictureFit(Protocol):
    """A benchmark that says which of its criteria tell whether pictures fit the text."""

    picture_fits: Collection[str]
    """Criteria, as `QUESTION/CRITERION` or `CRITERION`; where there are several, their mean counts."""


class ToolTally(BaseModel):
    """Counts of one tool over some documents.

    Attributes:
        needs: documents whose task requires the tool.
        chosen: those of them with a call that names it.
        met: those of them with a valid call to it that brought a picture.
        excused: those of them where only the world stood between a valid call and its picture.
        calls: calls that name it.
        valid: those of them that could be carried out as written.
        world: valid calls that the world failed.
        succeeded: calls that brought a picture.
        judged: pictures of it, or given ones, in documents whose pictures were judged.
        fits: those of them in documents whose pictures fit.
        unscored: pictures about whose document a judge was asked in vain.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    needs: int = 0
    chosen: int = 0
    met: int = 0
    excused: int = 0
    calls: int = 0
    valid: int = 0
    world: int = 0
    succeeded: int = 0
    judged: int = 0
    fits: int = 0
    unscored: int = 0

    def __add__(self, other: ToolTally) -> ToolTally:
        return ToolTally(**{name: value + getattr(other, name) for name, value in self})

    def part(self, part: PartName) -> tuple[int, int]:
        """What a part counts, and of how many."""
        match part:
            case "chosen":
                return self.chosen, self.needs
            case "valid":
                return self.valid, self.calls
            case "succeeded":
                return self.succeeded, self.valid - self.world
            case "fits":
                return self.fits, self.judged

    @property
    def required(self) -> tuple[int, int]:
        """Needs that were met, of those that could be."""
        return self.met, self.needs - self.excused


class Share(BaseModel):
    """A share of counts with its interval over items.

    Attributes:
        met: what is counted.
        of: of how many.
        left_out: how many more are neither: failed by the world, or without a judgment.
        low: lower end of the 95 % interval; `None` where too few items tell.
        high: upper end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    met: int
    of: int
    left_out: int = 0
    low: float | None = None
    high: float | None = None

    @property
    def value(self) -> float | None:
        """The share; `None` of nothing."""
        return self.met / self.of if self.of else None


class Part(BaseModel):
    """One of the four parts: over all tools, and by tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    total: Share
    tools: dict[str, Share]


class MacroShare(BaseModel):
    """A mean of shares over tools, each weighing the same; `None` where no tool has any."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float | None
    low: float | None = None
    high: float | None = None


class ToolUse(BaseModel):
    """How tools were used in a set of documents.

    Attributes:
        parts: the four parts, by `PARTS`.
        accuracy: needs met of those that could be, averaged over tools (DESIGN 4.9).
        required: the same by tool.
        succeeded_of_well_formed: the paper's tool accuracy: calls that brought a picture, of those that could be carried out as written.
        succeeded_of_all: the same of all calls.
        judged: whether anybody was asked if pictures fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: dict[PartName, Part]
    accuracy: MacroShare
    required: dict[str, Share]
    succeeded_of_well_formed: Share
    succeeded_of_all: Share
    judged: bool


Fit = float | Literal["unscored", "not asked"]
"""How far up its scale the judgment of a document's pictures is, or why there is none."""


def tally(task: Task, document: Document, fit: Fit) -> dict[str, ToolTally]:
    """Counts of one document, by tool."""
    outcomes = tool_accuracy([(task, document)]).tools
    figures: dict[str, list[Figure]] = {name: [] for name in outcomes}
    for figure in document.figures:
        figures.setdefault(_tool(figure), []).append(figure)
    found = {}
    for name, of in figures.items():
        met = outcomes.get(name, ToolCounts())
        calls = [figure for figure in of if name != GIVEN]
        valid = [figure for figure in calls if is_valid(figure)]
        pictures = sum(figure.picture is not None for figure in of)
        found[name] = ToolTally(
            needs=met.required,
            chosen=min(met.required, len(calls)),
            met=met.met,
            excused=met.left_out,
            calls=len(calls),
            valid=len(valid),
            world=sum(state_of(figure) == "world" for figure in valid),
            succeeded=sum(figure.picture is not None for figure in valid),
            judged=pictures if isinstance(fit, float) else 0,
            fits=pictures if isinstance(fit, float) and fit >= FITS_FROM else 0,
            unscored=pictures if fit == "unscored" else 0,
        )
    return found


def added(tallies: Iterable[Mapping[str, ToolTally]]) -> dict[str, ToolTally]:
    """Sums by tool."""
    total: dict[str, ToolTally] = {}
    for one in tallies:
        for name, counts in one.items():
            total[name] = total.get(name, ToolTally()) + counts
    return total


def summarise_tools(items: Sequence[Mapping[str, ToolTally]], seed: int = 0, *, judged: bool = True) -> ToolUse:
    """Shares with intervals of the counts of each item.

    Args:
        items: of each item, the counts by tool over all of its documents.
        seed: of the intervals.
        judged: whether anybody was asked if pictures fit.
    """
    tools = added(items)
    names = sorted(tools, key=lambda name: (name in (UNREADABLE, NO_SUCH_TOOL), name))
    whole = [sum(item.values(), ToolTally()) for item in items]
    rows = {"": whole, **{name: [item.get(name, ToolTally()) for item in items] for name in names}}
    counts: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for name, of in rows.items():
        for part in PARTS:
            counts[part, name] = [one.part(part) for one in of]
        counts["required", name] = [one.required for one in of]
    counts["well-formed", ""] = [(one.succeeded, one.valid) for one in whole]
    counts["all", ""] = [(one.succeeded, one.calls) for one in whole]
    table = np.array(list(counts.values()), dtype=np.float64).reshape(len(counts), len(items), 2)
    found = dict(zip(counts, ratio_intervals(table[..., 0].T, table[..., 1].T, (0, 1), seed), strict=True))

    def share(kind: str, name: str, left_out: int = 0) -> Share:
        met, of = (sum(column) for column in zip(*counts[kind, name], strict=True)) if items else (0, 0)
        low, high = found[kind, name] or (None, None)
        return Share(met=met, of=of, left_out=left_out, low=low, high=high)

    parts = {
        part: Part(
            total=share(part, "", _left_out(part, sum(whole, ToolTally()))),
            tools={
                name: share(part, name, _left_out(part, tools[name]))
                for name in names
                if tools[name].part(part)[1] or _left_out(part, tools[name])
            },
        )
        for part in PARTS
    }
    return ToolUse(
        parts=parts,
        accuracy=_macro(items, names, seed),
        required={name: share("required", name, tools[name].excused) for name in names if tools[name].needs},
        succeeded_of_well_formed=share("well-formed", ""),
        succeeded_of_all=share("all", ""),
        judged=judged,
    )


def _macro(items: Sequence[Mapping[str, ToolTally]], names: Sequence[str], seed: int) -> MacroShare:
    table = np.array([[item.get(name, ToolTally()).required for name in names] for item in items], np.float64)
    met_IK, counted_IK = np.moveaxis(table.reshape(len(items), len(names), 2), -1, 0)
    if not counted_IK.sum():
        return MacroShare(value=None)
    interval = statistic_interval(
        lambda weights_RI: mean_share(weights_RI @ met_IK, weights_RI @ counted_IK),
        len(items),
        int((counted_IK.sum(axis=1) > 0).sum()),
        (0, 1),
        seed,
    )
    low, high = interval or (None, None)
    return MacroShare(value=float(mean_share(met_IK.sum(axis=0), counted_IK.sum(axis=0))), low=low, high=high)


def _left_out(part: PartName, counts: ToolTally) -> int:
    return {"succeeded": counts.world, "fits": counts.unscored}.get(part, 0)


def _tool(figure: Figure) -> str:
    if figure.call is None:
        return UNREADABLE
    return NO_SUCH_TOOL if figure.failure is not None and figure.failure.kind == "unknown_tool" else figure.call.tool

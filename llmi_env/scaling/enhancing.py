"""The stage `enhance`: other pictures for the figures of a document, by the tool that each one came from.

A search brings its next hits, image models draw and edit from other seeds, a call that failed is mended: asked again where it was the world's
fault, written anew by the policy, told of the error, where it was its own. A chart that came is left alone: its program gives the same
again. What was changed further by a later edit is edited again. Which picture stays is for a judge to say, who sees the document with it in
its place, or for a picker, who sees picture and words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

from llmi_env.calls import Call, ToolSpec
from llmi_env.document import Document, Failure, Figure, Outcome, Picture, Text
from llmi_env.errors import WorldError
from llmi_env.ledger import Ledger
from llmi_env.rewards.likeness import alike, appearance
from llmi_env.rollout import NOT_SCORED, Rollout
from llmi_env.scaling.budget import Meter, Spent, goes_into
from llmi_env.scaling.checking import faults_of
from llmi_env.scaling.judging import Judging
from llmi_env.scaling.plan import Plan
from llmi_env.scaling.result import Candidate, Tried
from llmi_env.scaling.writing import Room, Writer, source_of
from llmi_env.seeds import derived_seed
from llmi_env.task import Task
from llmi_env.world.protocol import World

Rank = Callable[[Picture, str], float]
"""How well a picture fits a text, higher being better; called in a thread."""


@dataclass(frozen=True)
class Picker:
    """Chooses among pictures without a judge.

    Attributes:
        rank: how well a picture fits the words beside it.
        margin: how much better than the picture that is there another one must fit.
    """

    rank: Rank
    margin: float = 0.0

    @classmethod
    def looking(cls) -> Picker:
        """Goes by what the picture network and the text embeddings that ship make of picture and words.

        Raises:
            MissingExtra, AssetError: what it stands on is not installed.
        """
        from llmi_env.tools.web.choosing import MARGIN, Head

        return cls(Head(), MARGIN)


How = Literal["hits", "seeds", "once more", "mend", "nothing"]


@dataclass(frozen=True)
class _Errand:
    """What is to be tried for one figure: one thing for each seed."""

    document: Document
    index: int
    how: How
    seeds: Sequence[int]

    @property
    def figure(self) -> Figure:
        return self.document.figures[self.index]


@dataclass(frozen=True)
class _Variant:
    """Another outcome for a figure.

    Attributes:
        call: that brought it.
        raw: how the call is written.
        outcome: what came.
        note: what was tried.
        spent: what it took.
    """

    call: Call
    raw: str
    outcome: Picture
    note: str
    spent: Spent


class Enhancing:
    """Enhances documents of one task.

    Args:
        task: as judges and rules see it.
        world: carries out calls.
        writer: mends calls.
        plan: how much is tried.
        tools: specs of the tools at hand.
        meter: pays.
        tried: keeps every document.
        judging: says what is better.
        picker: chooses the picture in the judge's place.
        seed: of what is tried.
    """

    def __init__(
        self,
        task: Task,
        world: World,
        writer: Writer,
        plan: Plan,
        tools: Mapping[str, ToolSpec],
        meter: Meter,
        tried: Tried,
        judging: Judging,
        picker: Picker | None,
        seed: int,
    ) -> None:
        self._task, self._world, self._writer, self._plan, self._tools = task, world, writer, plan, tools
        self._meter, self._tried, self._judging, self._picker, self._seed = meter, tried, judging, picker, seed
        self._met: dict[tuple[int, str], list[Picture]] = {}  # what searches brought in earlier rounds

    async def enhance(self, number: int) -> tuple[int, str]:
        """Go through the figures of a candidate, several times where the plan says so and it helps.

        Returns:
            The best candidate by then, and why less was done than planned.
        """
        stopped = ""
        for round_ in range(self._plan.rounds):
            if self._judging.enough(number):
                return number, "it is enough"
            errands, stopped = self._errands(self._tried.now(number), round_)
            found = await self._meter.gather([self._variants(errand) for errand in errands])
            before, changed = number, set[int]()
            for errand, variants in zip(errands, found, strict=True):
                call = errand.document.figures[errand.index].call
                if call is not None and source_of(call, len(self._task.images)) in changed:
                    continue  # it was tried on a picture that is no longer there; the figure itself was made again
                chosen = await self._choose(number, errand.index, variants or [])
                if chosen != number:
                    changed.add(errand.index)
                    number = chosen
                if self._judging.enough(number):
                    return number, "it is enough"
            stopped = stopped or self._meter.exhausted()
            if number == before or stopped:
                break
        return number, stopped

    async def _choose(self, number: int, index: int, variants: Sequence[_Variant]) -> int:
        """The best of a candidate and what the variants make of it."""
        candidate = self._tried.now(number)
        others = [other.picture for at, other in enumerate(candidate.document.figures) if other.picture and at != index]
        made = [
            child
            for variant in variants
            if self._brought(variant.outcome, others, variant.note, Spent())  # an earlier figure may have it by now
            and (child := await self._with(candidate, index, variant)) is not None
        ]
        if not made:
            return number
        if self._picker is not None:
            return await self._picked(number, index, made, self._picker)
        return await self._judging.best_change(number, made)

    # ------------------------------------------------------------------------------------------------------------ variants

    def _errands(self, candidate: Candidate, round_: int) -> tuple[list[_Errand], str]:
        """What is to be tried for each figure, shared out in their order as far as the budget goes."""
        errands: list[_Errand] = []
        calls, tokens, stopped = self._meter.left("tool_calls"), self._meter.left("tokens"), ""
        each = self._writer.most.tokens
        for index, figure in enumerate(candidate.document.figures):
            how = self._how(figure)
            if how == "nothing":
                continue
            wanted = 1 if how == "once more" else self._plan.variants
            paid = int(min(wanted, calls, goes_into(tokens, each, wanted) if how == "mend" else wanted))
            if paid < wanted:
                stopped = stopped or ("the tool calls are spent" if calls < wanted else "the tokens are spent")
            if paid:
                seeds = [derived_seed(self._seed, "enhance", candidate.number, index, round_, at) for at in range(paid)]
                errands.append(_Errand(candidate.document, index, how, seeds))
                calls, tokens = calls - paid, tokens - (paid * each if how == "mend" else 0)
        return errands, self._meter.exhausted() or stopped

    def _how(self, figure: Figure) -> How:
        if figure.failure is not None and figure.failure.fault == "policy":
            return "mend"
        if figure.call is None or figure.outcome is None:
            return "nothing"
        if figure.failure is not None:
            return "once more"
        if figure.call.tool == "code":
            return "nothing"
        spec = self._tools.get(figure.call.tool)
        return "hits" if figure.call.tool == "search" or (spec is not None and spec.sees_earlier) else "seeds"

    async def _variants(self, errand: _Errand) -> list[_Variant]:
        match errand.how:
            case "mend":
                return await self._mended(errand)
            case "hits":
                return await self._next_hits(errand)
            case _:
                return await self._from_seeds(errand)

    async def _next_hits(self, errand: _Errand) -> list[_Variant]:
        """Pictures that the same query finds besides; each call is shown those that are there, so that it can bring another one."""
        figure, index = errand.figure, errand.index
        assert figure.call is not None
        assert figure.picture is not None
        others = [other.picture for at, other in enumerate(errand.document.figures) if other.picture and at != index]
        met = self._met.setdefault((index, figure.raw), [])
        seen, found = list(dict.fromkeys([*met, figure.picture, *others])), list[_Variant]()
        for hit in range(len(errand.seeds)):
            note = f"figure {index}: hit {max(1, len(met)) + hit + 1}"
            outcome, spent = await self._run(figure.call, seen, self._seed)
            if not self._brought(outcome, seen, note, spent):
                break
            assert isinstance(outcome, Picture)
            found.append(_Variant(figure.call, figure.raw, outcome, note, spent))
            seen.append(outcome)
        met += [one for one in (figure.picture, *(variant.outcome for variant in found)) if one not in met]
        return found

    async def _from_seeds(self, errand: _Errand) -> list[_Variant]:
        """The same call from other seeds: one first, and the rest side by side if that changed anything."""
        figure, found = errand.figure, list[_Variant]()
        assert figure.call is not None
        call, source = figure.call, self._source(errand.document, figure.call)
        if source is None and "img_index" in call.params:
            return []
        seen = [figure.picture] if figure.picture is not None else []
        for seeds in (errand.seeds[:1], errand.seeds[1:]):
            outcomes = await asyncio.gather(*(self._run(call, [source] if source else [], seed) for seed in seeds))
            for seed, (outcome, spent) in zip(seeds, outcomes, strict=True):
                note = f"figure {errand.index}: {call.tool} from seed {seed}"
                if self._brought(outcome, seen, note, spent):
                    assert isinstance(outcome, Picture)
                    found.append(_Variant(call, figure.raw, outcome, note, spent))
                    seen.append(outcome)
            if not found:
                break
        return found

    async def _mended(self, errand: _Errand) -> list[_Variant]:
        """The call written anew by the policy, told why it failed; a search that found nothing looks for its description first."""
        figure, index, seeds = errand.figure, errand.index, errand.seeds
        found: list[_Variant] = []
        if (call := _by_description(figure)) is not None:
            note = f"figure {index}: its description looked for"
            outcome, spent = await self._run(call, [], seeds[0])
            if self._brought(outcome, [], note, spent):
                found.append(_Variant(call, call.to_json(), outcome, note, spent))
            seeds = seeds[1:]
        most = self._writer.most.tokens
        for seed, mended in zip(
            seeds, await self._writer.mend(self._task, errand.document, index, seeds, Room(most, 1)), strict=True
        ):
            self._meter.add(mended.spent)
            note = f"figure {index}: mended from seed {seed}"
            if mended.call is None:
                self._tried.lose("enhance", note, mended.why, mended.spent)
                continue
            source = self._source(errand.document, mended.call)
            if source is None and "img_index" in mended.call.params:
                self._tried.lose("enhance", note, "it changes a figure that has no picture", mended.spent)
                continue
            if mended.outcome is None:
                outcome, spent = await self._run(mended.call, [source] if source else [], seed)
            else:
                outcome, spent = mended.outcome, Spent()
            if self._brought(outcome, [one.outcome for one in found], note, mended.spent + spent):
                found.append(_Variant(mended.call, mended.raw, outcome, note, mended.spent + spent))
        return found

    def _brought(self, outcome: Outcome, seen: Sequence[Picture], note: str, spent: Spent) -> TypeGuard[Picture]:
        """Whether a call brought a picture that is not there yet; notes why not."""
        if not isinstance(outcome, Picture):
            self._tried.lose("enhance", note, f"failed: {outcome.kind}: {outcome.message[:200]}", spent)
            return False
        look = appearance(outcome)
        if any(alike(look, appearance(other)) for other in seen):
            self._tried.lose("enhance", note, "the same picture again", spent)
            return False
        return True

    # ------------------------------------------------------------------------------------------------------------ documents

    async def _with(self, candidate: Candidate, index: int, variant: _Variant) -> int | None:
        """The candidate with another picture in the place of a figure, and what was made of that figure made again."""
        figures = list(candidate.document.figures)
        figures[index] = replace(
            figures[index], raw=variant.raw, call=variant.call, outcome=variant.outcome, closed=True
        )
        spent, changed = variant.spent, {index}
        for later in range(index + 1, len(figures)):
            call = figures[later].call
            source = source_of(call, len(self._task.images)) if call is not None else None
            if call is None or source not in changed:
                continue
            picture = figures[source].picture
            if picture is None:
                continue
            if why := self._meter.exhausted(tool_calls=1):
                self._tried.lose("enhance", variant.note, f"figure {later} cannot be made again: {why}", spent)
                return None
            outcome, took = await self._run(call, [picture], derived_seed(self._seed, "again", later))
            spent += took
            figures[later] = replace(figures[later], outcome=outcome)
            changed.add(later)
        document = with_figures(candidate.document, figures)
        made = self._tried.add(
            "enhance", changed_rollout(candidate.rollout, document), spent, candidate.number, variant.note
        )
        faults = faults_of(document, self._task, candidate.rollout.stop) if candidate.faults is not None else None
        self._tried.update(made.number, faults=faults)
        return made.number

    async def _picked(self, number: int, index: int, made: Sequence[int], picker: Picker) -> int:
        """The picture that the picker likes best, where it likes it better than the one that is there."""
        words = words_beside(self._tried.now(number).document, index)
        there = self._tried.now(number).document.figures[index].picture
        best, best_fit = number, await asyncio.to_thread(picker.rank, there, words) if there else float("-inf")
        for child in made:
            picture = self._tried.now(child).document.figures[index].picture
            assert picture is not None
            fit = await asyncio.to_thread(picker.rank, picture, words)
            won = fit > best_fit + picker.margin
            self._tried.update(child, verdict=f"{'picked' if won else 'not picked'}: {fit:.3f} against {best_fit:.3f}")
            if won:
                best, best_fit = child, fit
        return best

    def _source(self, document: Document, call: Call) -> Picture | None:
        """The picture that a call changes."""
        target = call.params.get("img_index")
        if not isinstance(target, int):
            return None
        inputs = self._task.images
        return inputs[target] if target < len(inputs) else document.figures[target - len(inputs)].picture

    async def _run(self, call: Call, pictures: Sequence[Picture], seed: int) -> tuple[Outcome, Spent]:
        """One call, counted."""
        spent = Spent(tool_calls=1)
        self._meter.add(spent)
        try:
            return await self._world.run(call, pictures, seed=seed), spent
        except WorldError as error:
            return Failure.of(call.tool, "unavailable", f"the World cannot be reached: {error}"), spent


def _by_description(figure: Figure) -> Call | None:
    """A search that found nothing, as a search for its own description."""
    call = figure.call
    if call is None or figure.failure is None or figure.failure.kind != "empty" or set(call.params) != {"query"}:
        return None
    words = call.description.strip()
    return Call(call.tool, words, {"query": words}) if words and words != call.params["query"] else None


def words_beside(document: Document, index: int) -> str:
    """What a figure is to show: its description, and the text before and after it."""
    blocks = document.blocks
    at = [place for place, block in enumerate(blocks) if isinstance(block, Figure)][index]
    figure = blocks[at]
    assert isinstance(figure, Figure)
    about = figure.call.description if figure.call is not None else ""
    beside = [blocks[place] for place in (at - 1, at + 1) if 0 <= place < len(blocks)]
    return " ".join([about, *(block.text.strip() for block in beside if isinstance(block, Text))]).strip()


def with_figures(document: Document, figures: Sequence[Figure]) -> Document:
    """The document with others in the place of its figures."""
    following = iter(figures)
    return Document(tuple(next(following) if isinstance(block, Figure) else block for block in document))


def changed_rollout(rollout: Rollout, document: Document) -> Rollout:
    """A rollout of a document that was changed: its tokens are no longer what the document says, nor is its report."""
    return replace(rollout, document=document, ledger=Ledger(), report=NOT_SCORED)

"""Which of two documents is the better one, and who wins among many.

`Terms` reads it off what judges said of each alone: the better one is that which scores higher on more of the reward. It costs nothing more,
and a term that has no score on one side counts for neither. `AskedPairs` shows both to a model, in both orders, since models like the first,
or the last, of two better.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import combinations
from typing import Protocol

from llmi_env.document import Block, Document, Text
from llmi_env.errors import ConfigError
from llmi_env.judges.openai_judge import OpenAIJudge
from llmi_env.rewards.report import RewardReport
from llmi_env.scaling.result import Candidate
from llmi_env.task import Task
from llmi_env.world.config import WorldConfig
from llmi_env.world.protocol import Unscored

_CRITERION = (
    "What stands between the marks is two documents, each a whole answer to the task: one above the line with the mark {mark}, one below "
    "it. The criterion is that the one below is the better answer: its text, the choice of its pictures, their quality and their fit to "
    "the text taken together. It is met fully where the one below is clearly better, in part where the two are about as good, and not "
    "where the one above is."
)


class PairJudge(Protocol):
    """Tells which of two documents is better."""

    calls: int
    """How many calls of judges one pair takes."""

    reads_reports: bool
    """Whether it goes by reports, so that each document must be judged alone before."""

    async def __call__(self, first: Candidate, second: Candidate, task: Task) -> float | Unscored:
        """How far the first is the better one, in [0, 1]; 0.5 where they are alike."""
        ...


class Terms:
    """Goes by the values of the reward's terms, each with its weight."""

    calls = 0
    reads_reports = True

    async def __call__(self, first: Candidate, second: Candidate, task: Task) -> float | Unscored:
        """The share of the weight on which the first is higher; what both are alike in counts half."""
        return by_terms(first.rollout.report, second.rollout.report)


def by_terms(first: RewardReport, second: RewardReport) -> float | Unscored:
    """See `Terms`."""
    won = total = 0.0
    for name, term in first.terms.items():
        other = second.terms.get(name)
        if other is None or term.value is None or other.value is None or not term.weight:
            continue
        total += term.weight
        won += term.weight * (1.0 if term.value > other.value else 0.5 if term.value == other.value else 0.0)
    return won / total if total else Unscored("no term has a score on both sides")


class AskedPairs:
    """Shows both documents to a model behind an OpenAI-compatible server; it must see pictures where documents have any.

    Args:
        judge: whose server, model and limits are used; its terms do not matter.
    """

    calls = 2
    reads_reports = False

    def __init__(self, judge: OpenAIJudge) -> None:
        self._judge = judge

    async def __call__(self, first: Candidate, second: Candidate, task: Task) -> float | Unscored:
        """The mean of both orders; what only one order answered counts alone."""
        answers = [
            await self._below(second.document, first.document, task),
            await self._below(first.document, second.document, task),
        ]
        if isinstance(answers[0], Unscored):
            return answers[1] if isinstance(answers[1], Unscored) else 1 - answers[1]
        return answers[0] if isinstance(answers[1], Unscored) else (answers[0] + 1 - answers[1]) / 2

    async def aclose(self) -> None:
        """Close the connection."""
        await self._judge.aclose()

    async def _below(self, above: Document, below: Document, task: Task) -> float | Unscored:
        """How far the document below is the better one."""
        mark = secrets.token_hex(8)  # new each time: a document cannot hold the line that parts it from the other
        joint = _joined(above, f"\n\n=== {mark} ===\n\n", below)
        answer = (await self._judge.rubric(joint, task, {"below_is_better": _CRITERION.format(mark=mark)}))[
            "below_is_better"
        ]
        return answer if isinstance(answer, Unscored) else answer.score / 2


def pairs_for(services: WorldConfig) -> PairJudge:
    """What compares documents in a World of this configuration: its first judge behind a server that sees pictures, else the terms."""
    for use, options in services.judge_uses():
        if use == "openai" and "text_image_relevance" in OpenAIJudge.check_options(**options):
            return AskedPairs(OpenAIJudge(**options))
    return Terms()


Together = Callable[[Sequence[tuple[int, int]]], Awaitable[Mapping[tuple[int, int], float]]]
"""Plays several pairs side by side; a pair that could not be played is left out."""


async def tournament(entrants: Sequence[int], play: Together, everyone: bool) -> int:
    """Who wins; a pair that was not played counts as a tie.

    Args:
        entrants: in the order in which ties are decided: the earlier one wins.
        play: plays pairs.
        everyone: whether all play against all, and the most points win; otherwise the loser of a pair is out.
    """
    if not entrants:
        raise ConfigError("a tournament needs somebody who takes part")
    if everyone:
        games = list(combinations(entrants, 2))
        played = await play(games)
        points = dict.fromkeys(entrants, 0.0)
        for first, second in games:
            won = played.get((first, second), 0.5)
            points[first] += won
            points[second] += 1 - won
        return max(entrants, key=lambda entrant: points[entrant])
    left = list(entrants)
    while len(left) > 1:
        games = list(zip(left[::2], left[1::2], strict=False))
        played = await play(games)
        out = {second if played.get((first, second), 0.5) >= 0.5 else first for first, second in games}
        left = [entrant for entrant in left if entrant not in out]
    return left[0]


def _joined(*parts: Document | str) -> Document:
    """Documents and texts one after the other, as one document."""
    blocks: list[Block] = []
    for part in parts:
        for block in [Text(part)] if isinstance(part, str) else part:
            if isinstance(block, Text) and blocks and isinstance(blocks[-1], Text):
                blocks[-1] = Text(blocks[-1].text + block.text)
            else:
                blocks.append(block)
    return Document(tuple(blocks))

"""What candidates are worth, and which is the best: the stage `select`, and the question of every later stage whether something is better.

A judge that fails leaves a candidate without a value. That is no low value: such a candidate is asked about once more, and then neither wins
nor loses by it. Where no candidate has a value, what all of them have a score for decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from llmi_env.document import Document
from llmi_env.errors import ConfigError, WorldError
from llmi_env.judges.cache import judgment_key
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.report import RewardReport
from llmi_env.rollout import NOT_SCORED
from llmi_env.scaling.budget import Meter, Spent
from llmi_env.scaling.pairs import PairJudge, Terms, by_terms, tournament
from llmi_env.scaling.plan import Plan
from llmi_env.scaling.result import Candidate, Tried
from llmi_env.task import Task
from llmi_env.world.protocol import Judgments, Unscored, World

FIT = "text_image_relevance"
"""The term that says how well pictures fit the text."""

_DUST = 1e-9
_ALL_AGAINST_ALL = 4


class Judging:
    """Values of the candidates of one scaling.

    Args:
        world: its judges are asked.
        reward: made of what they say.
        plan: what decides.
        task: as judges and rules see it.
        meter: pays.
        tried: the candidates.
        pairs: compares two documents, in tournaments.

    Raises:
        ConfigError: the plan selects by judges and the reward has no judged term.
    """

    def __init__(
        self,
        world: World,
        reward: HybridReward,
        plan: Plan,
        task: Task,
        meter: Meter,
        tried: Tried,
        pairs: PairJudge | None = None,
    ) -> None:
        if plan.select == "judge" and not reward.judged_terms:
            raise ConfigError(f"scaling: reward {reward.name!r} has no term that a judge scores: select by reward")
        self._world, self._reward, self._plan, self._task = world, reward, plan, task
        self._meter, self._tried = meter, tried
        self._pairs = (pairs or Terms()) if plan.select == "tournament" else None
        self._price = 1 if reward.judged_terms else 0
        self._reports: dict[str, RewardReport] = {}

    # ----------------------------------------------------------------------------------------------------------- one alone

    async def judge(self, numbers: Sequence[int]) -> str:
        """Judge those candidates that are not yet, as far as the budget goes; says why some are left out, or nothing.

        Equal documents are judged once. One that a judge left without a score is given to it once more.
        """
        wanted: dict[str, Document] = {}
        for candidate in self._tried.all_of(numbers):
            if (name := self._name(candidate.document)) not in self._reports:
                wanted.setdefault(name, candidate.document)
        stopped = await self._ask(wanted)
        again = {name: found for name, found in wanted.items() if _may_help(self._reports.get(name))}
        if again:
            await self._ask(again)
        for candidate in self._tried.all_of(numbers):
            report = self._reports.get(self._name(candidate.document))
            if report is not None:
                rollout = replace(candidate.rollout, report=report)
                self._tried.update(candidate.number, rollout=rollout, value=self._value(report))
        return stopped

    async def _ask(self, wanted: Mapping[str, Document]) -> str:
        names = list(wanted)
        paid = names[: self._meter.affordable(len(names), judge_calls=self._price)]
        self._meter.add(Spent(judge_calls=self._price * len(paid)))
        stopped = self._meter.exhausted(judge_calls=self._price) if len(paid) < len(names) else ""
        reports = await self._meter.gather([self._report(wanted[name]) for name in paid])
        for name, report in zip(paid, reports, strict=True):
            if report is None:
                stopped = stopped or self._meter.exhausted()
            elif name not in self._reports or report.scored:
                self._reports[name] = report
        return stopped

    async def _report(self, document: Document) -> RewardReport:
        judgments: Judgments = {}
        if self._price:
            try:
                judgments = await self._world.judge(document, self._task)
            except WorldError as error:
                judgments = dict.fromkeys(self._reward.judged_terms, Unscored(f"the World cannot be reached: {error}"))
        return self._reward.score(document, self._task, judgments)

    def _name(self, document: Document) -> str:
        """Names a document by all that judges see of it."""
        return judgment_key("", (), document, self._task)

    def _value(self, report: RewardReport) -> float | None:
        if self._plan.select != "judge":
            return report.total
        raw = [report.terms[name].raw for name in self._reward.judged_terms]
        known = [score for score in raw if score is not None]
        return sum((score - 1) / 4 for score in known) / len(known) if len(known) == len(raw) else None

    # ----------------------------------------------------------------------------------------------------------- the best

    async def best(self, numbers: Sequence[int]) -> tuple[int, str, list[str]]:
        """The best of some candidates, why less was done than planned, and what the user ought to know of the choice."""
        if self._pairs is not None:
            return await self._winner(numbers, self._pairs)
        stopped = await self.judge(numbers)
        candidates = self._tried.all_of(numbers)
        scored = [candidate for candidate in candidates if candidate.value is not None]
        reasons = self._missing(candidates) if len(scored) < len(candidates) else []
        if scored:
            chosen = max(scored, key=lambda candidate: candidate.value or 0.0)
        else:
            chosen = max(candidates, key=lambda candidate: _common(candidate, candidates))
        return chosen.number, stopped, reasons

    async def _winner(self, numbers: Sequence[int], pairs: PairJudge) -> tuple[int, str, list[str]]:
        stopped = await self.judge(numbers) if pairs.reads_reports else ""
        games = len(numbers) * (len(numbers) - 1) // 2
        cheap = not pairs.calls or (
            len(numbers) <= _ALL_AGAINST_ALL and self._meter.affordable(games, judge_calls=pairs.calls) == games
        )
        reasons: list[str] = []

        async def play(asked: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
            nonlocal stopped
            paid = asked[: self._meter.affordable(len(asked), judge_calls=pairs.calls)]
            self._meter.add(Spent(judge_calls=pairs.calls * len(paid)))
            if len(paid) < len(asked):
                stopped = stopped or self._meter.exhausted(judge_calls=pairs.calls)
            answers = await self._meter.gather(
                [pairs(self._tried.now(first), self._tried.now(second), self._task) for first, second in paid]
            )
            found: dict[tuple[int, int], float] = {}
            for game, answer in zip(paid, answers, strict=True):
                if isinstance(answer, Unscored):
                    reasons.append(f"documents {game[0]} and {game[1]} could not be compared: {answer.reason}")
                elif answer is not None:
                    found[game] = answer
            return found

        return await tournament(numbers, play, cheap), stopped, reasons

    async def best_change(self, number: int, made: Sequence[int]) -> int:
        """The best of a candidate and of what was made of it."""
        if self._pairs is None or self._pairs.reads_reports:
            await self.judge([number, *made])
        for child in made:
            if await self.better(child, number):
                number = child
        return number

    async def better(self, new: int, old: int) -> bool:
        """Whether judges prefer one candidate to another by what the plan wants as a gain; notes the verdict on the new one."""
        if self._pairs is not None and not self._pairs.reads_reports:
            return await self._wins(new, old, self._pairs)
        await self.judge([old, new])
        first, second = self._tried.now(new), self._tried.now(old)
        if self._pairs is not None:
            share = by_terms(first.rollout.report, second.rollout.report)
            if isinstance(share, float):
                return self._told(new, share > 0.5, f"ahead on {share:.0%} of the reward")
        if first.value is None or second.value is None:
            missing = first if first.value is None else second
            why = "; ".join(missing.rollout.report.unscored) or "not judged"
            # A judge that is down does not keep a document from being mended: that is for rules to see.
            return self._told(new, _mended(first, second), f"no score to compare by ({why})")
        won = first.value > second.value + max(self._plan.gain, _DUST)
        if not won and not self._plan.gain and abs(first.value - second.value) <= _DUST:
            won = (_fit(first) or 0.0) > (_fit(second) or 0.0) + _DUST
        return self._told(new, won, f"{first.value:.3f} against {second.value:.3f}")

    async def _wins(self, new: int, old: int, pairs: PairJudge) -> bool:
        first, second = self._tried.now(new), self._tried.now(old)
        why = self._meter.exhausted(judge_calls=pairs.calls)
        if not why:
            self._meter.add(Spent(judge_calls=pairs.calls))
            (share,) = await self._meter.gather([pairs(first, second, self._task)])
            if isinstance(share, float):
                return self._told(new, share > 0.5, f"preferred by {share:.0%}")
            why = share.reason if isinstance(share, Unscored) else self._meter.exhausted()
        return self._told(new, _mended(first, second), f"cannot be compared ({why})")

    def enough(self, number: int) -> bool:
        """Whether a candidate is worth so much that nothing more need be tried."""
        value = self._tried.now(number).value
        return self._plan.enough is not None and value is not None and value >= self._plan.enough

    def _told(self, number: int, won: bool, why: str) -> bool:
        self._tried.update(number, verdict=f"{'better' if won else 'not better'}: {why}")
        return won

    def _missing(self, candidates: Sequence[Candidate]) -> list[str]:
        missing = [candidate for candidate in candidates if candidate.value is None]
        whys = dict.fromkeys(
            reason
            for candidate in missing
            for reason in (
                candidate.rollout.report.unscored if candidate.rollout.report != NOT_SCORED else ("not judged",)
            )
        )
        return [f"{len(missing)} of {len(candidates)} documents have no score: {'; '.join(list(whys)[:3])}"]


def _mended(new: Candidate, old: Candidate) -> bool:
    return new.faults is not None and old.faults is not None and len(new.faults) < len(old.faults)


def _fit(candidate: Candidate) -> float | None:
    term = candidate.rollout.report.terms.get(FIT)
    return term.raw if term is not None else None


def _common(candidate: Candidate, all_of_them: Sequence[Candidate]) -> float:
    """The weighted values of the terms that every candidate has a score for."""
    reports = [other.rollout.report for other in all_of_them]
    terms = candidate.rollout.report.terms
    shared = [name for name in terms if all(report.values.get(name) is not None for report in reports)]
    return sum(terms[name].weight * (terms[name].value or 0.0) for name in shared)


def _may_help(report: RewardReport | None) -> bool:
    """Whether judging once more may bring a score: where a judge failed, and not where the document itself is at fault."""
    return report is not None and not report.scored and any(isinstance(j, Unscored) for j in report.judgments.values())

"""How well a judge tells a good document from a worse one.

A judge scores both documents of each pair of the calibration set (`pairs`). It is right where the good one has the higher
score; equal scores count as half right, as a guess would be. Three views are counted: each corruption on each term that it ought to lower,
each term over its corruptions, and the total, the mean over the judge's terms with the weights of the reward preset `llmi`.

A pair is left out of a view, and counted as unscored, where the judge gave no score that the view needs. Pairs whose corruption lowers no
term of the judge are never shown to it.

The intervals are Wilson's for a share of independent pairs. Ties make the count of right answers fractional, which the formula allows; pairs
share good documents, so the true intervals are somewhat wider.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any

from llmi_env.document import Document
from llmi_env.errors import ConfigError
from llmi_env.judges.calibration.pairs import Pair
from llmi_env.rewards.preset import RULE_TERMS, Preset
from llmi_env.task import Task
from llmi_env.world.protocol import Judgments, Scored, World

LEVEL = 0.95
PRESET = "llmi"
"""The preset whose weights make the total."""

_IN_FLIGHT = 32  # documents that wait for the judge's turn, so that it never waits for them


@dataclass(frozen=True)
class Share:
    """How often a judge was right.

    Attributes:
        higher: pairs in which the good document had the higher score.
        ties: pairs with equal scores.
        lower: pairs in which the worse document had the higher score.
        unscored: pairs left out because a score was missing.
    """

    higher: int
    ties: int
    lower: int
    unscored: int

    @property
    def pairs(self) -> int:
        """Pairs that count."""
        return self.higher + self.ties + self.lower

    @property
    def accuracy(self) -> float | None:
        """Share of right answers in [0, 1], ties as half; `None` without pairs."""
        return (self.higher + self.ties / 2) / self.pairs if self.pairs else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the accuracy."""
        return None if self.accuracy is None else wilson(self.accuracy, self.pairs)

    @property
    def verdict(self) -> str:
        """What the interval allows to say: `told apart`, `near chance`, `inverted`, or `no pairs`."""
        if self.interval is None:
            return "no pairs"
        low, high = self.interval
        return "told apart" if low > 0.5 else "inverted" if high < 0.5 else "near chance"

    def to_json(self) -> dict[str, Any]:
        """Plain data, what follows from the counts included."""
        return asdict(self) | {"accuracy": self.accuracy, "interval": self.interval, "verdict": self.verdict}


@dataclass(frozen=True)
class Calibration:
    """What was found about a judge.

    Attributes:
        judge: its name or options.
        judges: what its scores say of their origin: judge, model and version of the prompt.
        terms: the terms that it scores and corruptions lower.
        weights: of its terms in the total, adding up to 1.
        pairs: how many pairs of documents it was shown, of how many that concern its terms.
        total: the view of the weighted mean.
        by_term: the view of each term.
        by_corruption: the views of each corruption: of the weighted mean under `total`, then of each term that it lowers.
        documents: distinct documents judged.
        seconds: seconds of the clock per document, as many at the same time as its World lets the judge have.
        reasons: why scores were missing, with how often.
    """

    judge: str
    judges: tuple[str, ...]
    terms: tuple[str, ...]
    weights: Mapping[str, float]
    pairs: tuple[int, int]
    total: Share
    by_term: Mapping[str, Share]
    by_corruption: Mapping[str, Mapping[str, Share]]
    documents: int
    seconds: float | None
    reasons: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        plain = {name: value for name, value in vars(self).items() if name not in ("total", "by_term", "by_corruption")}
        return plain | {
            "total": self.total.to_json(),
            "by_term": {term: share.to_json() for term, share in self.by_term.items()},
            "by_corruption": {
                name: {view: share.to_json() for view, share in views.items()}
                for name, views in self.by_corruption.items()
            },
        }


class Calibrating:
    """A calibration under way: what is judged so far can be counted at any time.

    Args:
        judge: name of the judge for the report.
        world: whose judges are asked; one judge as a rule.
        terms: the terms that it scores.
        pairs: of the calibration set, in its order.

    Raises:
        ConfigError: no corruption lowers any of the terms.
    """

    def __init__(self, judge: str, world: World, terms: Sequence[str], pairs: Sequence[Pair]) -> None:
        lowered = {term for pair in pairs for term in pair.corruption.lowers}
        self.terms = tuple(term for term in terms if term in lowered)
        if not self.terms:
            raise ConfigError(
                f"calibration compares scores of {', '.join(sorted(lowered))}; the judge scores {', '.join(terms) or 'nothing'}"
            )
        self.pairs = [pair for pair in pairs if set(pair.corruption.lowers) & set(self.terms)]
        self.weights = _weights(self.terms)
        self._judge, self._world = judge, world
        self._judgments: dict[tuple[str, Document], Judgments] = {}
        self._seconds = 0.0

    async def run(self, advance: Callable[[int, int], None] | None = None) -> Calibration:
        """Have every document judged, each once, pair by pair; may be cancelled and called again.

        Args:
            advance: told how many documents are done, and of how many.
        """
        documents = [
            (pair.task, document)
            for pair in self.pairs
            for document in (pair.better, pair.worse)
            if (_key(pair.task), document) not in self._judgments
        ]
        todo = {(_key(task), document): task for task, document in documents}
        waiting, start = iter(list(todo.items())), time.perf_counter()
        done = 0

        async def work() -> None:
            nonlocal done
            for (key, document), task in waiting:
                self._judgments[key, document] = await self._world.judge(document, task)
                done += 1
                if advance is not None:
                    advance(done, len(todo))

        workers = [asyncio.create_task(work()) for _ in range(_IN_FLIGHT)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            self._seconds += time.perf_counter() - start
        return self.result()

    def result(self) -> Calibration:
        """What is known by now: pairs of which both documents are judged."""
        judged = [
            (pair, self._judgments[_key(pair.task), pair.better], self._judgments[_key(pair.task), pair.worse])
            for pair in self.pairs
            if {(_key(pair.task), pair.better), (_key(pair.task), pair.worse)} <= self._judgments.keys()
        ]
        by_corruption: dict[str, dict[str, Share]] = {}
        for name in dict.fromkeys(pair.corruption.name for pair in self.pairs):
            own = [row for row in judged if row[0].corruption.name == name]
            lowered = next(pair.corruption.lowers for pair in self.pairs if pair.corruption.name == name)
            views = {"total": _share((self._mean(a), self._mean(b)) for _, a, b in own)}
            views |= {
                term: _share((_score(a, term), _score(b, term)) for _, a, b in own)
                for term in self.terms
                if term in lowered
            }
            by_corruption[name] = views
        return Calibration(
            judge=self._judge,
            judges=tuple(sorted({j.judge for row in judged for found in row[1:] for j in _scored(found) if j.judge})),
            terms=self.terms,
            weights=self.weights,
            pairs=(len(judged), len(self.pairs)),
            total=_share((self._mean(a), self._mean(b)) for _, a, b in judged),
            by_term={
                term: _share(
                    (_score(a, term), _score(b, term)) for pair, a, b in judged if term in pair.corruption.lowers
                )
                for term in self.terms
            },
            by_corruption=by_corruption,
            documents=len(self._judgments),
            seconds=self._seconds / len(self._judgments) if self._judgments else None,
            reasons=_reasons(self._judgments.values(), self.terms),
        )

    def _mean(self, judgments: Judgments) -> float | None:
        scores = {term: _score(judgments, term) for term in self.terms}
        if any(score is None for score in scores.values()):
            return None
        return sum(self.weights[term] * score for term, score in scores.items() if score is not None)


def wilson(share: float, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a share (1927), in [0, 1].

    Args:
        share: observed, in [0, 1]; share times count need not be whole.
        count: observations, at least 1.
        level: coverage.

    >>> [round(end, 3) for end in wilson(0.9, 40)]
    [0.769, 0.96]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    spread = z * z / count
    middle, half = share + spread / 2, z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def _weights(terms: Sequence[str]) -> dict[str, float]:
    """Weights of the preset, of those terms that it has; equal ones where it has none of them."""
    preset = Preset.bundled(PRESET).terms
    raw = {term: preset[term].weight if term in preset and term not in RULE_TERMS else 0.0 for term in terms}
    total = sum(raw.values())
    return {term: weight / total if total else 1 / len(raw) for term, weight in raw.items()}


def _share(scores: Iterable[tuple[float | None, float | None]]) -> Share:
    counts = {"higher": 0, "ties": 0, "lower": 0, "unscored": 0}
    for better, worse in scores:
        if better is None or worse is None:
            counts["unscored"] += 1
        # The mean of scores in hundredths has no meaning below them, and rounding in the last bits is no preference.
        elif math.isclose(better, worse, abs_tol=1e-9):
            counts["ties"] += 1
        else:
            counts["higher" if better > worse else "lower"] += 1
    return Share(**counts)


def _scored(judgments: Judgments) -> list[Scored]:
    return [judgment for judgment in judgments.values() if isinstance(judgment, Scored)]


def _score(judgments: Judgments, term: str) -> float | None:
    judgment = judgments.get(term)
    return judgment.score if isinstance(judgment, Scored) else None


def _reasons(found: Iterable[Judgments], terms: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for judgments in found:
        for term in terms:
            judgment = judgments.get(term)
            if not isinstance(judgment, Scored):
                reason = judgment.reason if judgment is not None else "the judge left this term out"
                counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _key(task: Task) -> str:
    """Tells tasks apart: those of the calibration set have an id."""
    return f"{task.id}\0{task.question}"

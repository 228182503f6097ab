"""How far the judges of an evaluation agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from pydantic import BaseModel, ConfigDict

from llmi_env.judges.agreement import agreement

Point = tuple[str, int, str, str]
"""What a score is about: item, sample, question and criterion."""


class JudgesAgreement(BaseModel):
    """Two judges on what both of them scored.

    Attributes:
        first: name of a judge.
        second: name of another.
        criterion: under which name scores are put together; "" for all.
        pairs: scores that both gave.
        difference: mean of (second - first), as a share of the scale.
        kappa: Cohen's kappa with quadratic weights; `None` where both gave one and the same score to everything.
        spearman: correlation of the ranks; `None` where one of them gave the same score to everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str
    second: str
    criterion: str
    pairs: int
    difference: float | None
    kappa: float | None
    spearman: float | None


def agreements(shares: Mapping[str, Mapping[str, Mapping[Point, float]]]) -> list[JudgesAgreement]:
    """Agreement of each two judges, over everything and by criterion.

    Args:
        shares: of each judge and criterion, the scores given, each as a share of its scale.
    """
    found = []
    for first, second in combinations(shares, 2):
        criteria = [name for name in shares[first] if name in shares[second]]
        each = {name: _common(shares[first][name], shares[second][name]) for name in criteria}
        everything = [pair for pairs in each.values() for pair in pairs]
        for name, pairs in [("", everything), *(each.items() if len(each) > 1 else ())]:
            told = agreement([a for a, _ in pairs], [b for _, b in pairs])
            found.append(
                JudgesAgreement(
                    first=first,
                    second=second,
                    criterion=name,
                    pairs=told.pairs,
                    difference=told.mean_difference,
                    kappa=told.weighted_kappa,
                    spearman=told.spearman,
                )
            )
    return found


def _common(first: Mapping[Point, float], second: Mapping[Point, float]) -> Sequence[tuple[float, float]]:
    return [(share, second[point]) for point, share in first.items() if point in second]

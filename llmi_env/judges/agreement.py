"""How far two judges agree, over many judgments of the same documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Agreement:
    """Agreement of two judges. Plain data; a figure that the judgments cannot give is `None`, never 0.

    Attributes:
        pairs: how many documents both scored.
        mean_difference: mean of (second - first), in points of the scale: above 0 the second is the kinder one.
        weighted_kappa: Cohen's kappa with quadratic weights (Cohen 1968): 1 is identity, 0 what chance gives to two judges with these
            distributions of scores. It punishes a judge that is stricter throughout. `None` where both gave one and the same score
            to everything.
        spearman: correlation of the ranks, ties sharing theirs: whether they put documents in the same order, whatever their
            scales. `None` where one of them gave the same score to everything.
    """

    pairs: int
    mean_difference: float | None
    weighted_kappa: float | None
    spearman: float | None


def agreement(a: Sequence[float], b: Sequence[float]) -> Agreement:
    """Compare two judges' scores.

    Quadratic weights need no categories: the kappa of whole scores is `1 - mean (a_i - b_i)^2 / mean over all i, j of (a_i - b_j)^2`, and
    that formula is used for scores in hundredths too.

    Args:
        a: (N,) scores of the first judge.
        b: (N,) scores of the second, of the same documents in the same order.

    Raises:
        ValueError: the lengths differ, or a score is not a finite number.

    >>> agreement([1, 2, 3, 4], [1, 2, 3, 5])
    Agreement(pairs=4, mean_difference=0.25, weighted_kappa=0.929, spearman=1.0)
    """
    first_N, second_N = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first_N.ndim != 1 or first_N.shape != second_N.shape:
        raise ValueError(f"two lists of equal length are compared, not {first_N.shape} with {second_N.shape}")
    if not (np.isfinite(first_N).all() and np.isfinite(second_N).all()):
        raise ValueError("scores are finite numbers: leave out what one of the judges did not score")
    if not len(first_N):
        return Agreement(0, None, None, None)
    # the mean of (a_i - b_j)^2 over all pairs, without making them
    by_chance = first_N.var() + second_N.var() + (first_N.mean() - second_N.mean()) ** 2
    observed = ((first_N - second_N) ** 2).mean()
    return Agreement(
        pairs=len(first_N),
        mean_difference=_rounded((second_N - first_N).mean()),
        weighted_kappa=_rounded(1 - observed / by_chance) if by_chance > 0 else None,
        spearman=_correlation(pd.Series(first_N).rank().to_numpy(), pd.Series(second_N).rank().to_numpy()),
    )


def _correlation(first_N: np.ndarray, second_N: np.ndarray) -> float | None:
    if first_N.std() == 0 or second_N.std() == 0:
        return None
    return _rounded(np.corrcoef(first_N, second_N)[0, 1])


def _rounded(value: float) -> float:
    return round(float(value), 3)

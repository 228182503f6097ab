from __future__ import annotations

import numpy as np
import pytest

from llmi_env.judges.agreement import Agreement, agreement


def kappa_of_categories(a: list[int], b: list[int]) -> float:
    """Cohen's kappa with quadratic weights by the book: from the table of both judges' scores."""
    table = np.zeros((5, 5))
    for first, second in zip(a, b, strict=True):
        table[first - 1, second - 1] += 1
    table /= table.sum()
    weights = (np.arange(5)[:, None] - np.arange(5)[None]) ** 2
    return 1 - (weights * table).sum() / (weights * np.outer(table.sum(1), table.sum(0))).sum()


def test_it_is_cohens_kappa_for_whole_scores() -> None:
    dice = np.random.default_rng(0)
    a = [int(score) for score in dice.integers(1, 6, 60)]
    b = [int(np.clip(score + dice.integers(-1, 2), 1, 5)) for score in a]
    assert agreement(a, b).weighted_kappa == pytest.approx(kappa_of_categories(a, b), abs=6e-4)


def test_ranks_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy, which scikit-image brings, is not installed")
    a, b = [1, 2, 2, 4, 5, 3.5], [2, 1, 3, 3, 4.25, 5]
    assert agreement(a, b).spearman == pytest.approx(stats.spearmanr(a, b).statistic, abs=6e-4)


def test_a_stricter_judge_orders_alike_and_agrees_less() -> None:
    told = agreement([2, 3, 4, 5], [1, 2, 3, 4])
    assert (told.mean_difference, told.spearman) == (-1.0, 1.0)
    assert told.weighted_kappa is not None
    assert told.weighted_kappa < 0.8


def test_what_cannot_be_told_is_none() -> None:
    assert agreement([], []) == Agreement(0, None, None, None)
    assert agreement([3, 3], [3, 3]) == Agreement(2, 0.0, None, None)
    assert agreement([3, 3], [2, 4]).spearman is None


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1]), ([1, float("nan")], [1, 2]), ([[1]], [[2]])])
def test_lists_that_cannot_be_compared(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match=r"equal length|finite"):
        agreement(a, b)

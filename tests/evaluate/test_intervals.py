"""Intervals over items: they cover what they say, also where a plain bootstrap does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("scipy")

from llmi_env.errors import ConfigError
from llmi_env.evaluate.intervals import raised_level, ratio_intervals, statistic_interval

SIMULATIONS = 500
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def coverage(draw: Draw, truth: float, items: int, scale: tuple[float, float]) -> float:
    """How often the interval holds the mean that the items were drawn from: each column is an evaluation of its own."""
    values_IK = draw(np.random.default_rng(7), (items, SIMULATIONS))
    found = ratio_intervals(values_IK, np.ones_like(values_IK), scale, resamples=500)
    return float(np.mean([low <= truth <= high for low, high in filter(None, found)]))


@pytest.mark.parametrize(
    ("draw", "truth", "items", "scale"),
    [
        (lambda rng, shape: rng.beta(2, 5, shape), 2 / 7, 10, (0, 1)),
        (lambda rng, shape: rng.beta(2, 5, shape), 2 / 7, 30, (0, 1)),
        (lambda rng, shape: rng.beta(2, 5, shape), 2 / 7, 64, (0, 1)),
        (lambda rng, shape: rng.integers(0, 3, shape).astype(float), 1.0, 16, (0, 2)),
        (lambda rng, shape: (rng.random(shape) < 0.9).astype(float), 0.9, 30, (0, 1)),
        (lambda rng, shape: (rng.random(shape) < 0.97).astype(float), 0.97, 30, (0, 1)),  # often all equal
    ],
)
def test_ninety_five_of_a_hundred_intervals_hold_the_mean(
    draw: Draw, truth: float, items: int, scale: tuple[float, float]
) -> None:
    # Of 500 intervals that cover with 95 %, fewer than 0.92 would hold the mean once in a thousand times.
    assert coverage(draw, truth, items, scale) >= 0.92


def test_a_plain_percentile_bootstrap_would_cover_less() -> None:
    rng = np.random.default_rng(7)
    values_IK = rng.beta(2, 5, (10, SIMULATIONS))
    weights_RI = rng.multinomial(10, np.full(10, 0.1), size=500) / 10
    low, high = np.quantile(weights_RI @ values_IK, [0.025, 0.975], axis=0)
    plain = np.mean((low <= 2 / 7) & (high >= 2 / 7))
    assert plain < 0.90
    assert coverage(lambda rng, shape: rng.beta(2, 5, shape), 2 / 7, 10, (0, 1)) > plain + 0.02


def test_items_that_are_all_alike_still_leave_room() -> None:
    ones = np.ones((30, 1))
    ((low, high),) = filter(None, ratio_intervals(ones, ones, (0, 1)))
    # If one item in ten were otherwise, thirty alike would come in one case of twenty.
    assert low == pytest.approx(0.05 ** (1 / 30), abs=1e-3)
    assert high == 1.0


def test_items_that_a_figure_does_not_concern_do_not_count() -> None:
    values = np.array([[0.2, 0.2], [0.4, 0.4], [0.9, 0.0], [0.1, 0.0]])
    counted = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    whole, part = ratio_intervals(values, counted, [(0, 1), (0, 1)])
    assert whole is not None
    assert whole[1] > 0.4
    assert part == (0.2, 0.4)  # two items: all that is known is what they are


def test_shares_of_counts_weigh_items_by_their_counts() -> None:
    met, of = np.array([[0.0], [9.0], [9.0], [9.0]]), np.array([[1.0], [10.0], [10.0], [10.0]])
    ((low, high),) = filter(None, ratio_intervals(met, of, (0, 1)))
    assert 0.0 <= low < 0.87 < high <= 0.9


def test_fewer_than_two_items_tell_nothing() -> None:
    assert ratio_intervals(np.array([[0.5], [0.0]]), np.array([[1.0], [0.0]]), (0, 1)) == [None]
    assert ratio_intervals(np.empty((0, 1)), np.empty((0, 1)), (0, 1)) == [None]
    assert ratio_intervals(np.empty((3, 0)), np.empty((3, 0)), (0, 1)) == []
    assert statistic_interval(lambda weights: weights[:, 0], 3, 1, (0, 1)) is None


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(0).random((20, 3))
    once, again, other = (ratio_intervals(values, np.ones_like(values), (0, 1), seed) for seed in (1, 1, 2))
    assert once == again != other


def test_what_is_no_table_of_numbers_is_refused() -> None:
    with pytest.raises(ConfigError, match="one shape"):
        ratio_intervals(np.ones((3, 2)), np.ones((3, 1)), (0, 1))
    with pytest.raises(ConfigError, match="finite"):
        ratio_intervals(np.full((3, 1), np.nan), np.ones((3, 1)), (0, 1))
    with pytest.raises(ConfigError, match="two of them"):
        raised_level(1)


def test_a_statistic_that_all_draws_agree_on_leaves_room_too() -> None:
    assert statistic_interval(lambda weights: np.ones(len(weights)), 20, 20, (0, 1)) == (
        pytest.approx(0.05 ** (1 / 20), abs=1e-3),
        1.0,
    )

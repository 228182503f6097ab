"""Bars with intervals and bounds, as rows for the template of evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmi_env.evaluate import showing
from llmi_env.evaluate.figures import Estimate, Figure

MOST = 40
"""Criteria that are drawn; the rest are told."""

Bar = dict[str, Any]


def bar(name: str, estimate: Estimate, figure: Figure, *, second: bool = False, thin: bool = False) -> Bar:
    """One mean on its scale, in percent of the track."""
    value = showing.number(estimate.mean, figure)
    if estimate.low is not None:
        value += f" {showing.interval(estimate.low, estimate.high, figure)}"
    value += f", n {estimate.items}"
    if estimate.missing:
        value += f", {estimate.missing} of {estimate.documents} missing"
    return {
        "name": name,
        "second": second,
        "thin": thin,
        "fill": None if estimate.mean is None else _place(estimate.mean, figure),
        "within": _stretch(estimate.low, estimate.high, figure),
        "open": _stretch(*estimate.bounds, figure) if estimate.missing and estimate.bounds else None,
        "value": value,
    }


def by_kind(figure: Figure | None) -> list[Bar]:
    """A measure, kind by kind."""
    return [] if figure is None else [bar(kind or "no kind", one, figure) for kind, one in figure.kinds.items()]


def by_criterion(criteria: Mapping[str, Figure]) -> list[Bar]:
    """Each criterion, and below it each judge where there are several."""
    names = short_names(list(criteria))
    rows = []
    for name, figure in list(criteria.items())[:MOST]:
        rows.append(bar(names[name], figure.overall, figure))
        rows += [bar(judge, one, figure, thin=True) for judge, one in figure.judges.items()]
    return rows


def of_two(names: Sequence[str], estimates: Mapping[str, Sequence[tuple[Estimate, Figure]]]) -> list[Bar]:
    """Two sides of each figure that both have, the second below the first."""
    rows = []
    for name, sides in list(estimates.items())[:MOST]:
        for at, ((estimate, figure), side) in enumerate(zip(sides, names, strict=True)):
            rows.append(bar(name if at == 0 else f"… {side}", estimate, figure, second=at == 1, thin=at == 1))
    return rows


def short_names(names: Sequence[str]) -> dict[str, str]:
    """`QUESTION/CRITERION` without the half that tells nothing: the question where there is one, the criterion where each question has one.

    >>> short_names(["r1/met", "r2/met"]), short_names(["scores/style", "scores/facts"])
    ({'r1/met': 'r1', 'r2/met': 'r2'}, {'scores/style': 'style', 'scores/facts': 'facts'})
    """
    halves = [name.rsplit("/", 1) for name in names]
    questions, criteria = ({half[at] for half in halves} for at in (0, 1))
    if len(questions) == 1 and len(names) > 1:
        return {name: criterion for name, (_, criterion) in zip(names, halves, strict=True)}
    if len(criteria) == 1:
        return {name: question for name, (question, _) in zip(names, halves, strict=True)}
    return {name: name for name in names}


def _place(value: float, figure: Figure) -> float:
    return round(100 * (value - figure.low) / (figure.high - figure.low), 2)


def _stretch(low: float | None, high: float | None, figure: Figure) -> tuple[float, float] | None:
    if low is None or high is None:
        return None
    return _place(low, figure), round(_place(high, figure) - _place(low, figure), 2)

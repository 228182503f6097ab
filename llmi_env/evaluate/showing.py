"""Results in words: rows of tables, the same for the console and for pages."""

from __future__ import annotations

from collections.abc import Mapping

from llmi_env.evaluate.comparing import Change, Comparison
from llmi_env.evaluate.figures import Estimate, Figure, Range
from llmi_env.evaluate.results import Results
from llmi_env.evaluate.tool_use import PARTS, Share, ToolUse
from llmi_env.evaluate.totals import Seconds, Writing
from llmi_env.tables import Rows

NONE = "none"
"""Stands where there is no figure."""


def measure_rows(results: Results, *, what: bool = False) -> Rows:
    """Each measure with its interval, and with bounds where something is missing; `what` adds what it says."""
    rows: list[tuple[str, ...]] = [("measure", "scale", "mean", "95 % interval", "items", "missing", "bounds")]
    for name, figure in results.measures.items():
        rows.append((name, scale(figure), *estimate_cells(figure.overall, figure)))
    if what:
        said = ["what it says", *(figure.what for figure in results.measures.values())]
        return [(*row, text) for row, text in zip(rows, said, strict=True)]
    return rows


def counted(count: int, what: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def estimate_cells(estimate: Estimate, figure: Figure) -> tuple[str, str, str, str, str]:
    """Mean, interval, items with a value of those concerned, documents without one, bounds."""
    items = str(estimate.items) if estimate.items == estimate.of else f"{estimate.items} of {estimate.of}"
    missing = f"{estimate.missing} of {estimate.documents}" if estimate.missing else "0"
    bounds = interval(*estimate.bounds, figure) if estimate.missing and estimate.bounds else ""
    return number(estimate.mean, figure), interval(estimate.low, estimate.high, figure), items, missing, bounds


def kind_rows(figures: Mapping[str, Figure]) -> Rows:
    """Means of each kind of items, figure by figure."""
    kinds = list(dict.fromkeys(kind for figure in figures.values() for kind in figure.kinds))
    return _split_rows("kind", kinds, {name: (figure, figure.kinds) for name, figure in figures.items()})


def judge_rows(results: Results) -> Rows:
    """Means of each judge, measure by measure."""
    judges = list(dict.fromkeys(judge for figure in results.measures.values() for judge in figure.judges))
    return _split_rows("judge", judges, {name: (figure, figure.judges) for name, figure in results.measures.items()})


def _split_rows(what: str, names: list[str], figures: Mapping[str, tuple[Figure, Mapping[str, Estimate]]]) -> Rows:
    rows: list[tuple[str, ...]] = [(what, *figures)]
    for name in names:
        cells = [_short(found[name], figure) if name in found else "" for figure, found in figures.values()]
        rows.append((name or "no kind", *cells))
    return rows if names else rows[:1]


def _short(estimate: Estimate, figure: Figure) -> str:
    missing = f", {estimate.missing} missing" if estimate.missing else ""
    return f"{number(estimate.mean, figure)} (n {estimate.items}{missing})"


def tool_rows(tools: ToolUse) -> Rows:
    """Tool use in four parts, over all tools and by tool."""
    rows: list[tuple[str, ...]] = [("tool", *(title for title, _ in PARTS.values()))]
    names = list(dict.fromkeys(name for part in tools.parts.values() for name in part.tools))
    for name in ["", *names]:
        cells = []
        for key, part in tools.parts.items():
            share = part.tools.get(name) if name else part.total
            if key == "fits" and not tools.judged:
                cells.append("not judged")
            else:
                cells.append(share_cell(share, "the world's" if key == "succeeded" else "without a judgment"))
        rows.append((name or "all", *cells))
    return rows


def share_cell(share: Share | None, left_out: str = "left out") -> str:
    """A share with its counts and interval."""
    if share is None or not (share.of or share.left_out):
        return NONE
    rest = f", {share.left_out} {left_out}" if share.left_out else ""
    if share.value is None:
        return f"{NONE}: 0 of 0{rest}"
    within = f" [{share.low:.0%}, {share.high:.0%}]" if share.low is not None and share.high is not None else ""
    return f"{share.value:.0%}{within}: {share.met} of {share.of}{rest}"


def accuracy_rows(tools: ToolUse) -> Rows:
    """The two figures for all of it, with what they count."""
    rows = [("tool accuracy", "value", "what it counts")]
    value, low, high = tools.accuracy.value, tools.accuracy.low, tools.accuracy.high
    within = f" [{low:.0%}, {high:.0%}]" if low is not None and high is not None else ""
    rows.append(
        (
            "ours",
            NONE if value is None else f"{value:.0%}{within}",
            "required tools with a valid call that brought a picture, the world's faults left out, averaged over tools",
        )
    )
    rows.append(
        (
            "the paper's",
            share_cell(tools.succeeded_of_well_formed),
            "calls that brought a picture, of those well-formed",
        )
    )
    rows.append(("of all calls", share_cell(tools.succeeded_of_all), "the same, of all calls"))
    return rows


def totals_rows(results: Results) -> Rows:
    """Documents and answers: how many, tokens, cost and time."""
    writing = results.writing
    rows: list[tuple[str, ...]] = [
        ("", "wanted", "there", "requests", "tokens read", "tokens written", "cost", "seconds, 50 / 90 / 99 %", "seconds, added up"),
        (
            "documents", str(writing.wanted), str(writing.written), "", *_tokens(writing), cost(writing.cost), *_seconds(writing.seconds),
        ),
    ]  # fmt: skip
    for name, judge in results.judging.items():
        rows.append(
            (
                f"scores by {name}", str(judge.asked), str(judge.scored), f"{judge.requests:,}", f"{judge.prompt_tokens:,}",
                f"{judge.tokens:,}", cost(judge.cost), *_seconds(judge.seconds),
            )
        )  # fmt: skip
    return rows


def reasons(results: Results) -> list[str]:
    """Why documents and scores are missing: the most frequent reasons, and how many have others."""
    writing = results.writing
    told = _reasons("document missing", writing.reasons, writing.wanted - writing.written)
    for name, judge in results.judging.items():
        told += _reasons(f"{name} gave no score", judge.reasons, judge.asked - judge.scored)
    return told


def _reasons(what: str, reasons: Mapping[str, int], missing: int) -> list[str]:
    told = [f"{what} ({count}): {reason}" for reason, count in reasons.items()]
    rest = missing - sum(reasons.values())
    return [*told, f"{what} ({rest}): for other reasons"] if rest > 0 else told


def agreement_rows(results: Results) -> Rows:
    """How far each two judges agree."""
    rows: list[tuple[str, ...]] = [
        ("judges", "criterion", "both scored", "second - first, of the scale", "weighted kappa", "rank correlation")
    ]
    for one in results.agreements:
        figures = [
            "-" if value is None else number(value, signed=True) for value in (one.difference, one.kappa, one.spearman)
        ]
        rows.append((f"{one.first}, {one.second}", one.criterion or "all", str(one.pairs), *figures))
    return rows


# ---------------------------------------------------------------------------------------------------------------- comparisons


VERDICT = 4
"""Column of what a difference says, in the tables of changes."""

_CHANGES = ("", "before", "after", "difference", "verdict", "95 % interval", "p", "p, adjusted", "items")


def change_rows(comparison: Comparison, figures: Mapping[str, Figure]) -> Rows:
    """What differs in the measures; with bounds where something is missing."""
    changes = comparison.measures
    rows = [_CHANGES, *(_change(name, change, figures[name]) for name, change in changes.items())]
    if not any(change.bounds for change in changes.values()):
        return rows
    bounds = [
        "" if change.bounds is None else interval(*change.bounds, figures[name], signed=True)
        for name, change in changes.items()
    ]
    return [(*row, cell) for row, cell in zip(rows, ["bounds of the difference", *bounds], strict=True)]


def tool_change_rows(comparison: Comparison) -> Rows:
    """What differs in tool use."""
    titles: dict[str, str] = {part: title for part, (title, _) in PARTS.items()}
    titles |= {"accuracy": "tool accuracy, ours", "succeeded_of_well_formed": "tool accuracy, the paper's"}
    changes = comparison.tools
    return [_CHANGES, *(_change(title, changes[name], None) for name, title in titles.items() if name in changes)]


def _change(name: str, change: Change, figure: Figure | None) -> tuple[str, ...]:
    return (
        name,
        number(change.before, figure),
        number(change.after, figure),
        number(change.difference, figure, signed=True),
        change.verdict,
        interval(change.low, change.high, figure, signed=True),
        p_value(change.p),
        p_value(change.p_adjusted),
        str(change.items),
    )


# -------------------------------------------------------------------------------------------------------------------- numbers


def number(value: float | None, figure: Figure | None = None, *, signed: bool = False) -> str:
    """A value with as many digits as its scale deserves.

    >>> number(0.12345), number(None)
    ('0.123', 'none')
    """
    if value is None:
        return NONE
    digits = 3 if figure is None or figure.high - figure.low <= 1 else 2
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"


def interval(low: float | None, high: float | None, figure: Figure | None = None, *, signed: bool = False) -> str:
    """Two ends in brackets."""
    if low is None or high is None:
        return NONE
    return f"[{number(low, figure, signed=signed)}, {number(high, figure, signed=signed)}]"


def scale(figure: Figure) -> str:
    """From least to greatest."""
    return f"{figure.low:g} to {figure.high:g}"


def p_value(p: float | None) -> str:
    """A p value, two digits that matter.

    >>> p_value(0.0234), p_value(0.00004)
    ('0.023', '< 0.001')
    """
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.2f}" if p >= 0.1 else f"{p:.3f}"


def cost(value: float | None) -> str:
    """A cost, in whatever currency the prices were given."""
    return "not known" if value is None else f"{value:,.4g}" if value < 100 else f"{value:,.0f}"


def range_cell(found: Range, figure: Figure) -> str:
    """A value, or what it lies between."""
    return number(found.low, figure) if found.known else f"{number(found.low, figure)} to {number(found.high, figure)}"


def _tokens(writing: Writing) -> tuple[str, str]:
    """Read and written; of finished documents neither is known."""
    if not (writing.counted or writing.tokens or writing.prompt_tokens):
        return "not known", "not known"
    return f"{writing.prompt_tokens:,}", f"{writing.tokens:,}" + ("" if writing.counted else " (partly guessed)")


def _seconds(seconds: Seconds) -> tuple[str, str]:
    quantiles = NONE if seconds.quantiles is None else " / ".join(f"{value:.3g}" for value in seconds.quantiles)
    return quantiles, f"{seconds.total:,.1f}"

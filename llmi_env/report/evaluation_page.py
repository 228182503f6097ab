"""The pages of evaluations: `report.html` of one, and `compared-with-NAME.html` of two.

Figures come from `results.json`, documents with criteria and rationales from the folder. Every document is shown; where they are too many for
one page, they go on in further ones beside it. No more than one page is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmi_env.errors import ConfigError
from llmi_env.evaluate import showing
from llmi_env.evaluate.comparing import Change, compare_results
from llmi_env.evaluate.kept import EvaluationFolder
from llmi_env.evaluate.results import Results
from llmi_env.evaluate.tool_use import PARTS
from llmi_env.report import bars
from llmi_env.report.evaluation_documents import Side, stale, write_pages
from llmi_env.report.rendering import render_macro, safe
from llmi_env.tables import Rows, print_table

if TYPE_CHECKING:
    from rich.console import Console

_PARTS = "evaluation_parts.html.j2"
_LINES = 'thin line: 95 % interval · <i class="dashed"></i> bounds, where something is missing · the track is the whole scale'


def is_evaluation(path: Path) -> bool:
    """Whether a folder is that of an evaluation, and not of a training run, which has a `config.yaml` too."""
    return EvaluationFolder(path).exists and not (path / "metrics.jsonl").exists()


def write_evaluation_page(path: Path) -> Path:
    """`report.html` of an evaluation, from its `results.json` and what else is in the folder; returns its path.

    Raises:
        ConfigError: no evaluation, one that was not summed up yet, or a page that cannot be written.
        StoreError: a file of documents or answers is broken.
    """
    side = Side(path)
    results = side.results

    def entries() -> Iterator[tuple[str, Any]]:
        for at, key in enumerate(side.keys):
            digest, rollout = side.document(key)
            told = {**side.about(key, rollout, at), **side.body(key, digest, rollout)}
            yield side.title(key), render_macro(_PARTS, "entry", told)

    return write_pages(
        path,
        "report",
        entries(),
        "evaluation.html.j2",
        title=f"{results.benchmark}: {side.policy}",
        subtitle=_subtitle(results),
        warnings=[*results.warnings, *stale(path)],
        cards=_cards(results),
        measures=showing.measure_rows(results, what=True),
        by_judge=_filled(showing.judge_rows(results)),
        reasons=showing.reasons(results),
        headline=results.headline,
        kinds=bars.by_kind(results.measures.get(results.headline)),
        by_kind=showing.kind_rows(results.measures),
        criteria=bars.by_criterion(results.criteria),
        criteria_left_out=f"{left} more are in results.json" if (left := len(results.criteria) - bars.MOST) > 0 else "",
        criteria_by_kind=_filled(showing.kind_rows(results.criteria)),
        key=_key(_LINES),
        tools=_filled(showing.tool_rows(results.tools), 2),
        tool_parts=list(PARTS.values()),
        accuracy=showing.accuracy_rows(results.tools),
        agreement=_filled(showing.agreement_rows(results)),
        totals=showing.totals_rows(results),
        not_written=_filled(
            [("document", "reason"), *((side.title(key), why) for key, why in side.folder.not_written().items())]
        ),
    )


def write_comparison_page(before: Path, after: Path, console: Console | None = None) -> Path:
    """The page of two evaluations side by side, in the folder of the second; returns its path.

    Args:
        before: folder of one evaluation.
        after: folder of another.
        console: is shown what differs, too.

    Raises:
        ConfigError: no two evaluations of one benchmark that were summed up and share items, or a page that cannot be written.
        StoreError: a file of documents or answers is broken.
    """
    if before.resolve() == after.resolve():
        raise ConfigError(f"{before} is given twice; two evaluations are compared")
    sides = Side(before), Side(after)
    first, second = (side.results for side in sides)
    comparison = compare_results(first, second)
    if console is not None:
        print_table(showing.change_rows(comparison, first.measures), console)
        print_table(showing.tool_change_rows(comparison), console)
        for warning in comparison.warnings:
            console.print(warning, markup=False, highlight=False)
    names = _names(before, after)
    shared = set(sides[1].keys)

    def entries() -> Iterator[tuple[str, Any]]:
        for at, key in enumerate(key for key in sides[0].keys if key in shared):
            found = [side.document(key) for side in sides]
            told = sides[0].about(key, found[0][1], at)
            told["summary"] = " → ".join(side.about(key, found[0][1], at)["summary"] for side in sides)
            told["sides"] = [
                {"title": name, **side.body(key, *one)} for name, side, one in zip(names, sides, found, strict=True)
            ]
            yield sides[0].title(key), render_macro(_PARTS, "pair", told)

    only = [f", {count} only in {name}" for count, name in zip(comparison.only, names, strict=True) if count]
    headline = first.headline
    kinds = [side.measures[headline].kinds if headline in side.measures else {} for side in (first, second)]
    return write_pages(
        after,
        f"compared-with-{before.resolve().name}",
        entries(),
        "comparison.html.j2",
        title=f"{first.benchmark}: {names[0]} and {names[1]}",
        subtitle=f"Before: {names[0]} ({sides[0].policy}). After: {names[1]} ({sides[1].policy}). "
        f"{showing.counted(len(comparison.items), 'item')} in common{''.join(only)}; version {first.version}.",
        warnings=[*comparison.warnings, *stale(before), *stale(after)],
        cards=_change_cards(comparison.measures.get(headline), first),
        verdict=showing.VERDICT,
        changes=showing.change_rows(comparison, first.measures),
        tools=_filled(showing.tool_change_rows(comparison)),
        headline=headline,
        kinds=bars.of_two(
            names,
            {
                kind or "no kind": [
                    (kinds[0][kind], first.measures[headline]),
                    (kinds[1][kind], second.measures[headline]),
                ]
                for kind in kinds[0]
                if kind in kinds[1]
            },
        ),
        criteria=bars.of_two(
            names,
            {
                short: [(side.criteria[name].overall, side.criteria[name]) for side in (first, second)]
                for name, short in bars.short_names(list(first.criteria)).items()
                if name in second.criteria
            },
        ),
        key=_key(f'<i></i> {escape(names[0])} · <i class="second"></i> {escape(names[1])} · {_LINES}'),
        totals=[
            {"name": name, "rows": showing.totals_rows(side.results)} for name, side in zip(names, sides, strict=True)
        ],
    )


# -------------------------------------------------------------------------------------------------------------------- parts


def _subtitle(results: Results) -> str:
    documents = f"{results.samples} documents each" if results.samples > 1 else "a document each"
    judges = ", ".join(results.judges) or "nobody: its figures are computed"
    return f"{showing.counted(len(results.items), 'item')}, {documents}; judged by {judges}; version {results.version}; paper: {results.paper}"


def _cards(results: Results) -> list[dict[str, str]]:
    cards = []
    if (figure := results.measures.get(results.headline)) is not None:
        one = figure.overall
        more = f"{showing.interval(one.low, one.high, figure)}, scale {showing.scale(figure)}, {showing.counted(one.items, 'item')}"
        if one.missing and one.bounds:
            more += f"; {one.missing} of {one.documents} documents have no value: it lies within {showing.interval(*one.bounds, figure)}"
        cards.append({"name": results.headline, "value": showing.number(one.mean, figure), "more": more})
    tools = results.tools.accuracy
    if tools.value is not None:
        within = f"[{tools.low:.0%}, {tools.high:.0%}]" if tools.low is not None and tools.high is not None else ""
        cards.append({"name": "tool accuracy", "value": f"{tools.value:.0%}", "more": within})
    writing = results.writing
    cards.append(
        {
            "name": "documents",
            "value": f"{writing.written} of {writing.wanted}"
            if writing.written < writing.wanted
            else str(writing.written),
            "more": f"{showing.counted(writing.calls, 'call')}, {showing.counted(writing.pictures, 'picture')}, "
            f"{showing.counted(writing.world_faults, 'call')} that the world failed",
        }
    )
    costs = [writing.cost, *(judge.cost for judge in results.judging.values())]
    known = [cost for cost in costs if cost is not None]
    more = "documents and judges" if len(known) == len(costs) else "not all prices are known"
    if len(known) < len(costs) and sum(known) > 0:
        more += f"; what is known comes to {showing.cost(sum(known))}"
    cost = showing.cost(sum(known) if len(known) == len(costs) else None)
    cards.append({"name": "cost", "value": cost, "more": more})
    return cards


def _change_cards(change: Change | None, results: Results) -> list[dict[str, str]]:
    if change is None:
        return []
    figure = results.measures[results.headline]
    within = showing.interval(change.low, change.high, figure, signed=True)
    return [
        {
            "name": f"{results.headline}, before and after",
            "value": f"{showing.number(change.before, figure)} → {showing.number(change.after, figure)}",
            "more": f"scale {showing.scale(figure)}, {showing.counted(change.items, 'item')}",
        },
        {
            "name": "difference",
            "value": showing.number(change.difference, figure, signed=True),
            "more": f"{within}, p {showing.p_value(change.p)}: {change.verdict}",
        },
    ]


def _names(before: Path, after: Path) -> tuple[str, str]:
    """Folders' names, with those above them where they are the same."""
    first, second = before.resolve(), after.resolve()
    if first.name != second.name:
        return first.name, second.name
    return f"{first.parent.name}/{first.name}", f"{second.parent.name}/{second.name}"


def _filled(rows: Rows, heading: int = 1) -> Rows:
    """A table, or nothing where it has no rows below its heading."""
    return rows if len(rows) > heading else []


def _key(markup: str) -> Any:
    return safe(f'<p class="key">{markup}</p>')

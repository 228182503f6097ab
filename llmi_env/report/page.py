"""Writes the pages: `report.html` of a run folder, and one document as a page."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from llmi_env.comparison import Evaluation, compare
from llmi_env.document import Document
from llmi_env.errors import ConfigError
from llmi_env.report.charts import line_chart
from llmi_env.report.document_html import document_html
from llmi_env.report.rendering import render, safe, write_page
from llmi_env.rewards.statistics import Difference
from llmi_env.rewards.tool_accuracy import tool_accuracy
from llmi_env.rollout import Rollout
from llmi_env.store import read_episodes, read_metrics
from llmi_env.world.statistics import SHARES, delivered

_SHOWN = 16
_NAMED = 4
_CHARTS = (
    ("reward", ("reward",), ""),
    ("documents without a score (they count for nothing)", ("unscored",), ""),
    ("tool accuracy", ("tool_accuracy",), ""),
    ("reward by term (gates applied, weights not)", ("terms/*",), ""),
    ("tool accuracy by tool", ("tool_accuracy_by_tool/*",), ""),
    ("KL to the start", ("kl",), "nats a token"),
    ("clip fraction", ("clip_fraction",), ""),
    ("entropy", ("entropy",), "nats a token"),
    ("norm of the gradient, before it is cut", ("grad_norm",), ""),
    ("what the value head foresaw (explained variance)", ("explained_variance",), ""),
    ("length", ("length",), "tokens"),
    ("where the time went", ("seconds/*",), "seconds"),
    ("what a tool took, 90th percentile", ("tool/*/p90_s",), "seconds"),
    ("sampling speed", ("tokens_per_second",), "tokens a second"),
)


def write_document_page(out: Path, question: str, document: Document, facts: str = "") -> Path:
    """One document as a self-contained page; returns its path.

    Raises:
        ConfigError: if it cannot be written there.
    """
    page = render(
        "document.html.j2", title=question[:80], question=question, body=safe(document_html(document)), facts=facts
    )
    return write_page(out, page)


def write_report(run: Path) -> Path:
    """`report.html` of a run folder, from what is stored there; returns its path.

    Raises:
        ConfigError: if the folder holds no run.
    """
    metrics_file = run / "metrics.jsonl"
    if not metrics_file.is_file():
        raise ConfigError(f"{run} holds no run: there is no metrics.jsonl in it. A run folder is made by 'llmi train'")
    metrics = [_flat(row) for row in read_metrics(run)]
    config_file = run / "config.yaml"
    heldout = _episodes(run, "before"), _episodes(run, "after")
    before, after = _paired(*heldout)
    steps = [row for row in metrics if row["phase"] == "train"]
    page = render(
        "report.html.j2",
        title=f"Run {run.resolve().name}",
        subtitle=f"{len(steps)} training steps; {len(before)} held-out documents before and after.{_judges((*before, *after))}",
        headline=_headline(Evaluation(tuple(before)), Evaluation(tuple(after))) if before else [],
        terms=_terms(before, after),
        tools=_tools(before, after),
        took=_took((*heldout[0], *heldout[1])),
        charts=[safe(chart) for chart in _charts(steps)],
        pairs=[_pair(*pair) for pair in list(zip(before, after, strict=True))[:_SHOWN]],
        config=config_file.read_text(encoding="utf-8") if config_file.is_file() else "",
    )
    return write_page(run / "report.html", page)


# ------------------------------------------------------------------------------------------------------------ content


def _flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested figures by path: `{"terms": {"a": 1}}` becomes `{"terms/a": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        flat.update(_flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _episodes(run: Path, phase: str) -> list[Rollout]:
    return [rollout for _, rollout in read_episodes(run, phase)]


def _paired(before: Sequence[Rollout], after: Sequence[Rollout]) -> tuple[list[Rollout], list[Rollout]]:
    """Both sides in the same order, matched by task and seed."""
    later = {(rollout.task.key, rollout.seed): rollout for rollout in after}
    pairs = [(rollout, later[key]) for rollout in before if (key := (rollout.task.key, rollout.seed)) in later]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _headline(before: Evaluation, after: Evaluation) -> list[dict[str, str]]:
    rows = []
    comparison = compare(before, after)
    if comparison.reward is not None:
        rows.append(_compared("reward", *comparison.rewards, comparison.reward))
    tools = before.tools, after.tools
    if comparison.tool_accuracy is not None:
        rows.append(_compared("tool accuracy", tools[0].accuracy, tools[1].accuracy, comparison.tool_accuracy))
    for name, attribute in (
        ("calls succeeded of well-formed (the paper's)", "succeeded_of_well_formed"),
        ("calls succeeded of all", "succeeded_of_all"),
    ):
        rows.append({"name": name, **_cells(*(_number(getattr(side, attribute)) for side in tools))})
    unscored = (str(sum(rollout.reward is None for rollout in side.rollouts)) for side in (before, after))
    rows.append({"name": "documents without a score", **_cells(*unscored)})
    return rows


def _cells(before: str, after: str) -> dict[str, str]:
    return {"before": before, "after": after}


def _compared(name: str, before: float | None, after: float | None, difference: Difference) -> dict[str, str]:
    clear = difference.distinguishable
    return {
        "name": name,
        "before": _number(before),
        "after": _number(after),
        "difference": f"{difference.mean:+.3f}",
        "interval": f"[{difference.low:+.3f}, {difference.high:+.3f}], {difference.pairs} tasks",
        "verdict": ("better" if difference.mean > 0 else "worse") if clear else "not yet distinguishable",
        "mark": ("good" if difference.mean > 0 else "bad") if clear else "soft",
    }


def _terms(before: Sequence[Rollout], after: Sequence[Rollout]) -> list[dict[str, str]]:
    names: dict[str, float] = {}
    for rollout in (*before, *after):
        names.update({name: term.weight for name, term in rollout.report.terms.items()})
    return [
        {
            "name": name,
            "weight": f"{weight:.2f}",
            "before": _number(_mean([rollout.report.values.get(name) for rollout in before])),
            "after": _number(_mean([rollout.report.values.get(name) for rollout in after])),
        }
        for name, weight in names.items()
    ]


def _tools(before: Sequence[Rollout], after: Sequence[Rollout]) -> list[dict[str, str]]:
    sides = [tool_accuracy((rollout.task, rollout.document) for rollout in side).tools for side in (before, after)]
    rows = []
    for name in sorted(set(sides[0]) | set(sides[1])):
        cells = [
            f"{counts.met} of {counts.required - counts.left_out}"
            if counts is not None and counts.required
            else "not required"
            for counts in (side.get(name) for side in sides)
        ]
        rows.append({"name": name[:40], "before": cells[0], "after": cells[1]})
    return rows


def _took(rollouts: Sequence[Rollout]) -> list[dict[str, Any]]:
    """How long the calls took, and what became of those without a picture."""
    rows = []
    for name, told in delivered(rollout.document for rollout in rollouts).items():
        times = [f"{seconds:.2f} s" for seconds in told.seconds] if told.seconds else ["none"] * len(SHARES)
        wait = f"{told.queue_seconds[1]:.2f} s" if told.queue_seconds else "none"
        failures = ", ".join(f"{kind} {count}" for kind, count in told.failures.items())
        rows.append(
            {"name": name[:40], "calls": told.calls, "times": times, "wait": wait, "failures": failures or "none"}
        )
    return rows


def _charts(steps: Sequence[dict[str, Any]]) -> list[str]:
    charts = []
    for title, wanted, unit in _CHARTS:
        keys = sorted({key for row in steps for key in row if any(fnmatchcase(key, want) for want in wanted)})
        series = {}
        for key in keys:
            points = [
                (row["step"], row[key])
                for row in steps
                if isinstance(row.get(key), int | float) and row[key] == row[key]
            ]
            if points:
                series[key.split("/", 1)[-1]] = ([x for x, _ in points], [y for _, y in points])
        if series:
            charts.append(line_chart(title, series, unit))
    return charts


def _judges(rollouts: Sequence[Rollout]) -> str:
    """Who scored, where the judges say so."""
    names = sorted({name for rollout in rollouts if (name := rollout.report.versions.get("judges", ""))})
    return f" Judged by {'; '.join(names[:_NAMED])}." if names else ""


def _pair(before: Rollout, after: Rollout) -> dict[str, Any]:
    task = before.task
    wants = ", ".join(task.tools) or "no tool"
    return {
        "question": task.question,
        "facts": f"needs {wants}; pictures wanted: {task.image_count}",
        "sides": [_side("before", before), _side("after", after)],
    }


def _side(name: str, rollout: Rollout) -> dict[str, Any]:
    reward = "no score" if rollout.reward is None else f"reward {rollout.reward:.3f}"
    terms = [
        {"name": term, "value": _number(entry.value), "why": entry.unscored or entry.rationale}
        for term, entry in rollout.report.terms.items()
    ]
    return {
        "name": name,
        "facts": f"{reward}, {rollout.ledger.n_policy} tokens, {rollout.stop.value}",
        "body": safe(document_html(rollout.document)),
        "terms": terms,
    }


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else float("nan")


def _number(value: float | None) -> str:
    return "none" if value is None or value != value else f"{value:.3f}"

"""A page of everything that scaling tried for one task: what was chosen, what each stage brought and took, every document with its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmi_env.evaluate.showing import number
from llmi_env.report.document_html import document_html
from llmi_env.report.rendering import render, safe, write_page
from llmi_env.scaling import STAGES, Candidate, Scaled


def write_scaling_page(path: Path, scaled: Scaled) -> Path:
    """Write the page.

    Raises:
        ConfigError: it cannot be written there.
        MissingExtra: what pages are made with is not installed.
    """
    page = render(
        "scaling.html.j2",
        title=scaled.task.question[:80],
        question=scaled.task.question,
        scaled=scaled,
        rows=[_row(scaled, place) for place in range(len(scaled.stages))],
        chosen=_card(scaled, scaled.chosen),
        stages=[
            {
                "name": stage,
                "cards": [
                    _card(scaled, candidate)
                    for candidate in scaled.tried
                    if candidate.stage == stage and candidate.number != scaled.number
                ],
                "lost": [lost for lost in scaled.lost if lost.stage == stage],
            }
            for stage in STAGES
        ],
    )
    return write_page(path, page)


def _row(scaled: Scaled, place: int) -> dict[str, Any]:
    report = scaled.stages[place]
    best = scaled.tried[report.chosen]
    return {"report": report, "value": number(best.value), "seconds": f"{report.spent.seconds:.1f}"}


def _card(scaled: Scaled, candidate: Candidate) -> dict[str, Any]:
    return {
        "candidate": candidate,
        "of": "" if candidate.parent is None else f" of document {candidate.parent}",
        "value": number(candidate.value),
        "faults": "; ".join(candidate.faults or ()),
        "body": safe(document_html(candidate.document)),
    }

"""A calibration as Markdown and for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table

from llmi_env.judges.calibration import LEVEL, PRESET, Calibration, Share

_COLUMNS = ("pairs", "accuracy", f"{LEVEL:.0%} interval", "higher / equal / lower", "unscored", "verdict")
_REASONS_SHOWN = 3


def terminal_table(found: Calibration) -> Table:
    """The total and the terms."""
    table = Table("view", *_COLUMNS)
    for row in _views(found):
        table.add_row(*row)
    return table


def to_markdown(found: Calibration) -> list[str]:
    """The section of one judge: total and terms, then each corruption; without a heading of the document."""
    weights = ", ".join(f"{term} {weight:.2f}" for term, weight in found.weights.items())
    judged, known = found.pairs
    lines = [f"## `{found.judge}`", ""]
    lines.append(f"{judged} of {known} pairs that concern its terms, {found.documents} distinct documents.")
    if found.seconds is not None:
        lines.append(f"{found.seconds:.3g} seconds a document, {found.parallel} at a time.")
    if found.judges:
        lines.append(f"Scores by {', '.join(f'`{name}`' for name in found.judges)}.")
    lines += [f"Weights of the total (those of the preset `{PRESET}`, to add up to 1): {weights}.", ""]
    lines += _rows(("view", *_COLUMNS), _views(found))
    weak = _not_told_apart(found)
    lines += ["", f"Near chance or inverted: {'; '.join(weak)}." if weak else "No view is near chance.", ""]
    corruptions = [
        (name, view, *_cells(share)) for name, views in found.by_corruption.items() for view, share in views.items()
    ]
    lines += _rows(("corruption", "view", *_COLUMNS), corruptions)
    if found.reasons:
        lines += ["", "Why scores were missing (terms of documents):", ""]
        lines += [f"- {count}: {reason}" for reason, count in list(found.reasons.items())[:_REASONS_SHOWN]]
        if len(found.reasons) > _REASONS_SHOWN:
            lines.append(f"- {sum(list(found.reasons.values())[_REASONS_SHOWN:])}: other reasons")
    return [*lines, ""]


def _views(found: Calibration) -> list[tuple[str, ...]]:
    return [("total", *_cells(found.total)), *((term, *_cells(share)) for term, share in found.by_term.items())]


def _cells(share: Share) -> tuple[str, ...]:
    if share.accuracy is None or share.interval is None:
        return ("0", "", "", "", str(share.unscored), share.verdict)
    low, high = share.interval
    counts = f"{share.higher} / {share.ties} / {share.lower}"
    interval = f"{low:.1%} to {high:.1%}"
    return (str(share.pairs), f"{share.accuracy:.1%}", interval, counts, str(share.unscored), share.verdict)


def _not_told_apart(found: Calibration) -> list[str]:
    weak = []
    for name, views in found.by_corruption.items():
        terms = [view for view, share in views.items() if share.verdict in ("near chance", "inverted")]
        if terms:
            weak.append(f"{name} ({', '.join(terms)})")
    return weak


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]

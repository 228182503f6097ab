"""An ablation on the console, as Markdown, as files for other programs, and as pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from llmi_env.ablation.comparing import Ablation, VariantResult
from llmi_env.tables import markdown_table, print_table

_HEAD = (
    "variant", "mean reward", "minus base", "unscored", "Kendall tau", "pairs flipped", "pairs tied", "advantage moved", "sign changed",
    "idle groups",
)  # fmt: skip

_ON_CONSOLE = (0, 1, 2, 3, 4, 5, 7)
"""Columns that a console has room for; all stand in the Markdown."""

_LEGEND = (
    "Intervals are 95 % bootstrap intervals over tasks. Pairs are of documents of one group which the base puts in an order: flipped are those "
    "that the variant turns round, tied those that it no longer tells apart. Advantages are GRPO's, in standard deviations of a group; a sign "
    "that changes means that what was encouraged is discouraged. In idle groups there is nothing to learn."
)


def rows(found: Ablation) -> list[tuple[str, ...]]:
    """The main table without its heading."""
    return [_row(result, len(found.episodes)) for result in found.variants]


def _row(result: VariantResult, episodes: int) -> tuple[str, ...]:
    if result.mean is None or result.interval is None:
        return (result.name, "not computable", *[""] * (len(_HEAD) - 2))
    low, high = result.interval
    difference = result.difference
    lacking = result.unscored + result.unjudged
    return (
        result.name,
        f"{result.mean:.3f} [{low:.3f}, {high:.3f}]",
        "" if difference is None else f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]",
        _share(lacking / episodes) + (f" ({result.unjudged} never judged)" if result.unjudged else ""),
        "" if result.kendall is None else f"{result.kendall:.2f}",
        _share(result.flipped),
        _share(result.tied),
        "" if result.advantage_change is None else f"{result.advantage_change:.2f}",
        _share(result.sign_changes),
        str(result.idle_groups),
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _flip_rows(found: Ablation) -> list[tuple[str, ...]]:
    return [
        (
            flip.episode,
            flip.task,
            flip.variant,
            f"{flip.ranks[0]:g} -> {flip.ranks[1]:g} of {flip.of}",
            f"{flip.rewards[0]:.3f} -> {flip.rewards[1]:.3f}",
        )
        for flip in found.flips
    ]


_FLIP_HEAD = ("episode", "task", "under", "rank in its group", "reward")


def _reasons(found: Ablation) -> list[str]:
    return [f"{result.name} is not computable: {result.impossible}" for result in found.variants if result.impossible]


def to_console(found: Ablation, console: Console) -> None:
    """Tables and notes on the console."""
    console.print(_about(found), markup=False, highlight=False)
    print_table([tuple(line[at] for at in _ON_CONSOLE) for line in [_HEAD, *rows(found)]], console)
    print_table([_FLIP_HEAD, *_flip_rows(found)], console)
    for note in [*_reasons(found), *found.notes]:
        console.print(f"note: {note}", markup=False, highlight=False)


def _about(found: Ablation) -> str:
    return f"{len(found.episodes)} episodes, {found.tasks} tasks, {found.groups} groups of two and more; base: {found.variants[0].version}"


def to_markdown(found: Ablation) -> str:
    """The whole ablation as Markdown."""
    parts = ["# Ablation of the reward", f"{_about(found)}.", markdown_table([_HEAD, *rows(found)]), _LEGEND]
    notes = [f"- {note}" for note in [*_reasons(found), *found.notes]]
    if notes:
        parts.append("\n".join(notes))
    flips = _flip_rows(found)
    if flips:
        parts += ["## Episodes that move most", markdown_table([_FLIP_HEAD, *flips])]
    cells = [
        (name, *("" if value is None else f"{value:.2f}" for value in line))
        for name, line in zip(found.terms, found.correlation, strict=True)
    ]
    parts += [
        "## Correlation of the terms",
        "Spearman's, of the terms' own scores before gates.",
        markdown_table([("", *found.terms), *cells]),
    ]
    return "\n\n".join(parts) + "\n"


def write_all(found: Ablation, out: Path) -> list[Path]:
    """Write `ablation.md`, `ablation.json`, `rewards.csv` (each episode under each variant), `variants.png` and `correlation.png`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "ablation.md").write_text(to_markdown(found), encoding="utf-8")
    (out / "ablation.json").write_text(json.dumps(found.to_json(), indent=1), encoding="utf-8")
    with (out / "rewards.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["episode", *(result.name for result in found.variants)])
        for at, episode in enumerate(found.episodes):
            writer.writerow([episode, *(result.rewards[at] for result in found.variants)])
    _save(out / "variants.png", lambda figure: _draw_variants(found, figure), (11, 1.2 + 0.32 * len(found.variants)))
    side = 2.6 + 0.45 * len(found.terms)
    _save(out / "correlation.png", lambda figure: _draw_correlation(found, figure), (side, side * 0.85))
    return [out / name for name in ("ablation.md", "ablation.json", "rewards.csv", "variants.png", "correlation.png")]


# ------------------------------------------------------------------------------------------------------------------- pictures


def _save(path: Path, draw: Callable[[Any], None], size: tuple[float, float]) -> None:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(path, dpi=130, metadata={"Software": None})


def _draw_variants(found: Ablation, figure: Any) -> None:
    """Mean rewards, pairs flipped and advantages moved, one row for each variant that can be computed."""
    shown = [result for result in found.variants if result.mean is not None and result.interval is not None]
    places = range(len(shown))
    mean, pairs, moved = figure.subplots(1, 3, sharey=True)
    for place, result in zip(places, shown, strict=True):
        assert result.mean is not None
        assert result.interval is not None
        low, high = result.interval
        mean.plot([low, high], [place, place], color="C0", linewidth=1.5)
        mean.plot(result.mean, place, "o", color="C0", markersize=4)
    if shown:
        mean.axvline(shown[0].mean, color="0.7", linewidth=0.8, zorder=0)
    flipped = [100 * (result.flipped or 0) for result in shown]
    tied = [100 * (result.tied or 0) for result in shown]
    pairs.barh(places, flipped, color="C3", height=0.6, label="turned round")
    pairs.barh(places, tied, left=flipped, color="0.75", height=0.6, label="no longer told apart")
    pairs.legend(frameon=False, fontsize=7)
    moved.barh(places, [result.advantage_change or 0 for result in shown], color="C1", height=0.6)
    mean.set_yticks(places, [result.name for result in shown])
    mean.invert_yaxis()
    titles = (
        (mean, "mean reward, 95 % interval"),
        (pairs, "pairs within groups, %"),
        (moved, "advantages moved, standard deviations"),
    )
    for axes, title in titles:
        axes.set_title(title, fontsize=9, loc="left")
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def _draw_correlation(found: Ablation, figure: Any) -> None:
    import numpy as np

    axes = figure.subplots()
    table = np.array(
        [[np.nan if value is None else value for value in line] for line in found.correlation], dtype=np.float64
    )
    shown = axes.imshow(table, vmin=-1, vmax=1, cmap="RdBu")
    axes.set_xticks(range(len(found.terms)), found.terms, rotation=40, ha="right")
    axes.set_yticks(range(len(found.terms)), found.terms)
    for y, line in enumerate(found.correlation):
        for x, value in enumerate(line):
            if value is not None:
                axes.text(
                    x, y, f"{value:.2f}", ha="center", va="center", color="white" if abs(value) > 0.6 else "black"
                )
    axes.set_title("correlation of the terms (Spearman)", fontsize=9, loc="left")
    figure.colorbar(shown, ax=axes, shrink=0.8)

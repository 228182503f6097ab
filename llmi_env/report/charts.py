"""Curves as inline SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence


def line_chart(title: str, series: Mapping[str, tuple[Sequence[float], Sequence[float]]], unit: str = "") -> str:
    """An SVG element with one line for each series.

    Args:
        title: stands above the chart; long series are drawn as points with the running mean of five steps.
        series: name -> (steps, values), equal lengths.
        unit: label of the vertical axis.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "llmi", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(4.4, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for name, (steps, values) in series.items():
            if len(values) < _LONG:
                axes.plot(steps, values, marker="o", markersize=2.5, linewidth=1.4, label=name)
                continue
            (line,) = axes.plot(steps, _running_mean(values), linewidth=1.6, label=name)
            axes.plot(steps, values, ".", markersize=2.5, alpha=0.35, color=line.get_color())
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("step")
        axes.set_ylabel(unit)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


_LONG, _WINDOW = 12, 5


def _running_mean(values: Sequence[float]) -> list[float]:
    windows = [values[max(0, end - _WINDOW) : end] for end in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]

"""Writes `results/quickstart.md` and its curve from a run folder of the quickstart recipe.

llmi train quickstart steps=40 --run-dir runs/quickstart-40
python -m benchmarks.quickstart runs/quickstart-40
"""

import argparse
import platform
from pathlib import Path
from typing import Any

from llmi_env.comparison import Evaluation, compare
from llmi_env.store import read_episodes, read_metrics

RESULTS = Path(__file__).parent / "results"


def curve(steps: list[dict[str, Any]], path: Path) -> None:
    """Reward and tool accuracy of the training batches, with a running mean over five steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained", dpi=110)
    for axes, key in zip(figure.subplots(1, 2), ("reward", "tool_accuracy"), strict=True):
        points = [(row["step"], row[key]) for row in steps if row.get(key) is not None]
        x, y = [point[0] for point in points], [point[1] for point in points]
        axes.plot(x, y, ".", color="#9aa7bd", label="a step")
        smooth = [sum(y[max(0, i - 4) : i + 1]) / len(y[max(0, i - 4) : i + 1]) for i in range(len(y))]
        axes.plot(x, smooth, color="#1f5fa8", label="mean of five steps")
        axes.set(xlabel="step", title=key.replace("_", " "), ylim=(0, 1))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def table(before: Evaluation, after: Evaluation) -> list[str]:
    """Rows of the comparison on held-out tasks."""
    comparison, tools = compare(before, after), (before.tools, after.tools)
    rows = ["| measure | before | after | difference, 95 % interval |", "|---|---|---|---|"]
    rows.append("| reward | {:.3f} | {:.3f} | {} |".format(*comparison.rewards, comparison.reward))
    rows.append(f"| tool accuracy | {tools[0].accuracy:.3f} | {tools[1].accuracy:.3f} | {comparison.tool_accuracy} |")
    for name in sorted(set(tools[0].tools) & set(tools[1].tools)):
        shares = [side.tools[name] for side in tools]
        if all(share.required for share in shares):
            texts = [f"{share.met} of {share.required}" for share in shares]
            rows.append(f"| {name} | {' | '.join(texts)} | |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run folder")
    run: Path = parser.parse_args().run
    steps = [row for row in read_metrics(run) if row["phase"] == "train"]
    seconds = {key: sum(row["seconds"][key] for row in steps) / len(steps) for key in steps[0]["seconds"]}
    before, after = (
        Evaluation(tuple(rollout for _, rollout in read_episodes(run, phase))) for phase in ("before", "after")
    )
    RESULTS.mkdir(exist_ok=True)
    curve(steps, RESULTS / "quickstart.png")
    lines = [
        "# The quickstart, run longer",
        "",
        f"`llmi train quickstart steps={len(steps)}`, {platform.machine()}, 2 cores, no GPU. "
        f"{len(before.rollouts)} documents for {len(before.by_task)} held-out tasks before and after, same seeds. "
        "The judges are embedded proxies: the reward says what they see, no more.",
        "",
        *table(before, after),
        "",
        "![reward and tool accuracy](quickstart.png)",
        "",
        f"A step took {seconds['total']:.0f} s on average: {seconds['sampling']:.0f} s sampling, "
        f"{seconds['waiting']:.1f} s waiting for tools and judges, {seconds['update']:.0f} s update; "
        f"{sum(row['tokens_per_second'] for row in steps) / len(steps):.0f} tokens a second while sampling.",
        "",
    ]
    (RESULTS / "quickstart.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()

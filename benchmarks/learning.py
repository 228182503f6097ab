"""Does the policy learn? Makes `results/learning.md` with its curves and documents from the run folders of finished trainings.

    llmi train long-grpo --run-dir runs/grpo-0
    llmi train long-grpo seed=1 --run-dir runs/grpo-1
    python -m benchmarks.learning "GRPO, seed 0=runs/grpo-0" "GRPO, seed 1=runs/grpo-1" --documents runs/grpo-0

Other temperatures, more tasks: evaluate the start and the run in the same way, and name both folders.

    llmi evaluate heldout --policy warm-start --temperature 0 --judge embedded -o runs/start-t0
    llmi evaluate heldout --policy runs/grpo-0 --temperature 0 --judge embedded -o runs/grpo-0-t0
    python -m benchmarks.learning ... --evaluations "GRPO, seed 0=runs/start-t0:runs/grpo-0-t0"

A training takes hours on a CPU; Ctrl-C stops it, `--resume` goes on. What was written by hand at the end of `learning.md`, under the line
`## Notes`, is kept when the file is made again.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from llmi_env.comparison import Evaluation, compare, mean_of_known
from llmi_env.evaluate.comparing import compare_results
from llmi_env.evaluate.kept import EvaluationFolder
from llmi_env.evaluate.results import Results
from llmi_env.evaluate.showing import interval, number
from llmi_env.evaluate.tool_use import PARTS
from llmi_env.render import to_pixels
from llmi_env.rewards import RewardReport
from llmi_env.rollout import Rollout
from llmi_env.store import read_episodes, read_metrics
from trainers.recipe import Recipe, load_recipe

OUT = Path(__file__).parent / "results"
SMOOTH = 8  # steps of a running mean
DOCUMENTS = 10
COLOURS = ("#1f5fa8", "#58a0e0", "#c2571a", "#3a8f4d", "#8a56b0", "#b03060")
NOTES = "## Notes"


@dataclass(frozen=True)
class Run:
    """A finished training."""

    name: str
    recipe: Recipe
    steps: Sequence[Mapping[str, Any]]
    before: Evaluation
    after: Evaluation


def read_run(argument: str) -> Run:
    """The run of `NAME=FOLDER`."""
    name, _, folder = argument.rpartition("=")
    path = Path(folder)
    recipe = load_recipe(path / "config.yaml")
    sides = [tuple(rollout for _, rollout in read_episodes(path, phase)) for phase in ("before", "after")]
    if not isinstance(recipe, Recipe) or not all(sides):
        raise SystemExit(f"{argument}: expected NAME=FOLDER with a finished run of the local trainer")
    steps = [row for row in read_metrics(path) if row["phase"] == "train"]
    return Run(name or path.name, recipe, steps, *map(Evaluation, sides))


# -------------------------------------------------------------------------------------------------------------------- pictures


def curves(runs: Sequence[Run], path: Path) -> None:
    """Reward, tool accuracy and the paper's tool accuracy of the training batches; a running mean, the steps themselves pale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained", dpi=110)
    keys = {"reward": "reward", "tool_accuracy": "tool accuracy", "succeeded_of_all": "calls that brought a picture"}
    for axes, (key, title) in zip(figure.subplots(1, len(keys)), keys.items(), strict=True):
        for run, colour in zip(runs, COLOURS, strict=False):
            points = [(row["step"], row[key]) for row in run.steps if row.get(key) is not None]
            x, y = [point[0] for point in points], [point[1] for point in points]
            smooth = [float(np.mean(y[max(0, i - SMOOTH + 1) : i + 1])) for i in range(len(y))]
            axes.plot(x, y, ".", color=colour, alpha=0.25, markersize=4)
            axes.plot(x, smooth, color=colour, label=run.name)
        lowest = min((row[key] for run in runs for row in run.steps if row.get(key) is not None), default=0.0)
        axes.set(xlabel="step", title=title, ylim=(max(0.0, math.floor(lowest * 10) / 10), 1.005))
        axes.grid(alpha=0.25)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8
    )
    figure.savefig(path)


def documents(run: Run, folder: Path) -> list[Path]:
    """The first documents of tasks spread over the evaluation, before beside after, five to a sheet."""
    groups = list(zip(run.before.by_task, run.after.by_task, strict=True))
    chosen = groups[:: max(1, len(groups) // DOCUMENTS)][:DOCUMENTS]
    rows = [np.hstack([_page(side[0]) for side in pair]) for pair in chosen]
    paths = []
    for sheet_number, start in enumerate(range(0, len(rows), 5), start=1):
        sheet = Image.fromarray(np.vstack(rows[start : start + 5]))
        paths.append(folder / f"learning-documents-{sheet_number}.jpg")
        sheet.save(paths[-1], quality=80, optimize=True)
    return paths


def _page(rollout: Rollout) -> Any:
    """A page with what is blank at its end cut down to a frame of equal height."""
    return to_pixels(rollout.document, rollout.task, rollout.report)[:560]


# ---------------------------------------------------------------------------------------------------------------------- tables


def recipes(runs: Sequence[Run]) -> list[str]:
    """What the runs had in common and in what they differed."""
    keys = (
        "model", "algorithm", "seed", "steps", "tasks_per_step", "samples", "learn_from", "max_tokens", "lr", "minibatches", "epochs",
        "task_mix", "lr_schedule", "scale_advantages", "aggregation", "kl_coefficient", "kl_estimate", "kl_temperature", "lr_logit_scale",
        "entropy_bonus", "clip_low", "clip_high",
    )  # fmt: skip
    lines = ["| run | " + " | ".join(f"`{key}`" for key in keys) + " | s a step |", "|---" * (len(keys) + 2) + "|"]
    for run in runs:
        seconds = np.median([row["seconds"]["total"] for row in run.steps])
        cells = [str(getattr(run.recipe, key)).rsplit("/", 1)[-1] for key in keys]
        lines.append(f"| {run.name} | {' | '.join(cells)} | {seconds:.0f} |")
    return lines


def comparison(run: Run) -> list[str]:
    """One run: the two measures with intervals, then tools and terms."""
    found, tools = compare(run.before, run.after), (run.before.tools, run.after.tools)
    lines = ["| measure | before | after | difference, 95 % interval |", "|---|---:|---:|---|"]

    def add(name: str, values: Sequence[float | None], difference: object = "", form: str = "{:.3f}") -> None:
        cells = ["" if value is None else form.format(value) for value in values]
        lines.append(f"| {name} | {' | '.join(cells)} | {difference} |")

    add("**tool accuracy**", [side.accuracy for side in tools], found.tool_accuracy)
    add("**reward**", found.rewards, found.reward)
    add("paper's tool accuracy: succeeded of well-formed calls", [side.succeeded_of_well_formed for side in tools])
    add("succeeded of all calls", [side.succeeded_of_all for side in tools])
    for name in sorted(set(tools[0].tools) & set(tools[1].tools)):
        counts = [side.tools[name] for side in tools]
        if all(count.required for count in counts):
            shown = [f"{count.accuracy:.2f} ({count.met} of {count.required - count.left_out})" for count in counts]
            lines.append(f"| {name} | {' | '.join(shown)} | |")
    for term in _terms(run.before):
        add(
            f"`{term}`",
            [mean_of_known(report.values.get(term) for report in _reports(side)) for side in (run.before, run.after)],
        )
    lengths = [mean_of_known(float(x.ledger.n_policy) for x in side.rollouts) for side in (run.before, run.after)]
    add("tokens a document", lengths, form="{:.0f}")
    return lines


def _reports(side: Evaluation) -> list[RewardReport]:
    return [rollout.report for rollout in side.rollouts]


def _terms(side: Evaluation) -> list[str]:
    return sorted({name for report in _reports(side) for name in report.values})


def evaluations(pairs: Sequence[str]) -> str:
    """A table of `NAME=BEFORE:AFTER`, folders of `llmi evaluate`."""
    lines = [
        "| run | temperature | measure | before | after | difference, 95 % interval |",
        "|---|---|---|---:|---:|---|",
    ]
    for pair in pairs:
        name, _, folders = pair.rpartition("=")
        paths = [Path(folder) for folder in folders.split(":")]
        if len(paths) != 2 or not name:
            raise SystemExit(f"--evaluations {pair}: expected NAME=BEFORE:AFTER with two folders of llmi evaluate")
        sides = [EvaluationFolder(path) for path in paths]
        temperatures = list(dict.fromkeys(str(side.config["source"]["temperature"]) for side in sides))
        found = compare_results(*map(Results.load, paths))
        changes = {"tool accuracy": found.tools["accuracy"], "reward": found.measures["reward"]}
        parts = {PARTS[part][0]: found.tools[part] for part in PARTS if part in found.tools}
        for measure, change in (changes | parts).items():
            ends = interval(change.low, change.high, signed=True)
            cells = (name, " and ".join(temperatures), measure, number(change.before), number(change.after))
            lines.append(f"| {' | '.join(cells)} | {number(change.difference, signed=True)} {ends} |")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------------------ page


def page(
    runs: Sequence[Run], sheets: Sequence[Path], ablation: Path | None, evaluated: Sequence[str], notes: str
) -> str:
    """The text of `learning.md`."""
    first = runs[0]
    parts = [
        "# Does it learn?",
        "SmolLM2-135M-Instruct with an adapter of rank 16, on the bundled tasks, offline, on the CPU: "
        f"{platform.machine()}, {os.cpu_count()} cores. {len(first.before.by_task)} held-out tasks, "
        "before and after under the same seeds, sampled at temperature 1. Differences are paired by task; the intervals come "
        "from 10,000 bootstrap draws of tasks. The judges are the embedded proxies as each run found them (versions 3 to 5; later ones are "
        "stricter with charts and kinder to short calls): the reward says what they see, and no more.",
        "\n".join(recipes(runs)),
        f"Training batches, mean of {SMOOTH} steps:\n\n![reward, tool accuracy, calls](learning.png)",
    ]
    for run in runs:
        counts = " and ".join(dict.fromkeys(str(len(side.rollouts)) for side in (run.before, run.after)))
        parts += [f"## {run.name}", f"{counts} documents before and after.", "\n".join(comparison(run))]
    if evaluated:
        parts += [
            "## Evaluated apart from the training",
            "By `llmi evaluate`, before and after in the same way.",
            evaluations(evaluated),
        ]
    if ablation is not None:
        text = (ablation / "comparison.md").read_text(encoding="utf-8")
        parts.append(text.replace("# Training under", "## Training under", 1).strip())
    if sheets:
        shown = "\n\n".join(f"![before and after]({path.name})" for path in sheets)
        parts += ["## Documents", f"The same tasks and seeds, before on the left, after on the right.\n\n{shown}"]
    return "\n\n".join([*parts, notes or NOTES]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER", help="finished runs, in the order of the tables")
    parser.add_argument("--documents", metavar="FOLDER", help="a run whose documents are shown before and after")
    parser.add_argument("--ablation", type=Path, metavar="FOLDER", help="of `llmi ablate --train`, to be included")
    parser.add_argument(
        "--evaluations",
        action="append",
        default=[],
        metavar="NAME=BEFORE:AFTER",
        help="folders of llmi evaluate; may come again",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of learning.md and its pictures")
    options = parser.parse_args()
    runs = [read_run(argument) for argument in options.runs]
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / "learning.md"
    written = target.read_text(encoding="utf-8") if target.is_file() else ""
    notes = written[written.index(NOTES) :].strip() if NOTES in written else ""
    curves(runs, options.out / "learning.png")
    sheets = documents(read_run(options.documents), options.out) if options.documents else []
    target.write_text(page(runs, sheets, options.ablation, options.evaluations, notes), encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()

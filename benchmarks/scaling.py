"""What test-time scaling is worth, and what it takes. Makes `results/scaling.md` with its curve.

    python -m benchmarks.scaling --policy warm-start --work runs/scaling

Held-out tasks are written for with 1, 2, 4 and 8 documents to choose from, and for some of these numbers the later stages follow. The
embedded judge decides, without the tools that a task needs; another judge scores, which knows the reference of each task
(`benchmarks/reference_judge`), or one that `--judge` names. Caches are off, so that every call takes what it takes. Everything tried is kept
in the work folder, Ctrl-C loses the task in hand, and the same command goes on. `--report` makes the tables of what is there. What was
written by hand under `## Notes` is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.progress import Progress

from benchmarks.reference_judge import VERSION, ReferenceJudge
from llmi_env.comparison import Evaluation, compare, mean_of_known
from llmi_env.config import EnvConfig, load_config
from llmi_env.policies.base import Sampling
from llmi_env.rescoring import judge_config
from llmi_env.rewards import HybridReward
from llmi_env.rewards.statistics import Difference, bootstrap_interval
from llmi_env.rollout import Rollout
from llmi_env.scaling import Plan, PolicyWriter, Spent, StageName, load_scaled, save_scaled, scale
from llmi_env.scaling.keeping import SCALED
from llmi_env.task import Task
from llmi_env.task_sets import TaskSet, load_tasks
from llmi_env.world import World, connect
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world_source import tool_specs

OUT = Path(__file__).parent / "results"
NOTES = "## Notes"
COLOURS = {"select": "#1f5fa8", "enhance": "#c2571a", "polish": "#3a8f4d"}
COSTS = ("tool_calls", "judge_calls", "tokens", "seconds")


@dataclass(frozen=True)
class Settings:
    """What is measured; a work folder holds one of it."""

    policy: str
    tasks: int
    samples: tuple[int, ...]
    ladder: tuple[int, ...]
    seed: int
    max_tokens: int
    temperature: float
    variants: int
    rewrites: int

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(vars(self)))  # type: ignore[no-any-return]

    def plan(self, samples: int) -> Plan:
        """What is done with so many documents."""
        plan = Plan(samples=samples, variants=self.variants, rewrites=self.rewrites)
        return plan if samples in self.ladder else plan.only("validate", "select")


# ----------------------------------------------------------------------------------------------------------------- measuring


def chosen_tasks(count: int) -> tuple[TaskSet, list[Task]]:
    """Held-out tasks, taken evenly."""
    tasks = load_tasks("heldout")
    count = min(count, len(tasks))
    return tasks, [tasks[place * len(tasks) // count] for place in range(count)]


async def measure(settings: Settings, work: Path) -> None:
    """Scale every task by every plan, as far as it is not there yet."""
    from llmi_env.policies.transformers_policy import TransformersPolicy

    tasks = chosen_tasks(settings.tasks)[1]
    missing = [
        (task, samples)
        for task in tasks
        for samples in settings.samples
        if not (work / SCALED / f"{name_of(task, samples)}.json").is_file()
    ]
    if not missing:
        return
    config = uncached(load_config("offline"))
    world = connect("in_process", config.services)
    reward = HybridReward.load(config.reward)
    writer = PolicyWriter(
        TransformersPolicy.load(settings.policy),
        world,
        max_tokens=settings.max_tokens,
        sampling=Sampling(settings.temperature, 0.95 if settings.temperature else 1.0),
        limits=config.limits.episode(),
        tools=tool_specs(config.services),
        prompt=config.prompt,
    )
    try:
        await warm(world)
        with Progress() as progress:
            bar = progress.add_task("scaling", total=len(missing))
            for task, samples in missing:
                scaled = await scale(
                    task, policy=writer, world=world, reward=reward, stages=settings.plan(samples), seed=settings.seed
                )
                save_scaled(work, name_of(task, samples), scaled)
                progress.advance(bar)
    finally:
        await world.aclose()


def uncached(config: EnvConfig) -> EnvConfig:
    """The same World without a cache: what was asked before takes its time again."""
    services = config.services.model_copy(update={"cache_mb": 0, "call_cache": None, "judge_cache": None})
    return config.model_copy(update={"services": services})


async def warm(world: World) -> None:
    """Load tools and judges, so that the first task is not charged for it."""
    assert isinstance(world, InProcessWorld)
    for make in world.makers().values():
        await make()


def name_of(task: Task, samples: int) -> str:
    """Of the files of one task."""
    return f"{task.id}-{samples}"


# ------------------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Point:
    """One way of scaling, over all tasks: so many documents, up to a stage.

    Attributes:
        samples: documents to choose from.
        stage: the last stage gone through.
        scored: the chosen documents with reports of the judge that scores.
        chosen_by: what the judge that selected made of them.
        spent: what each took from the start.
    """

    samples: int
    stage: StageName
    scored: tuple[Rollout, ...]
    chosen_by: tuple[float | None, ...]
    spent: tuple[Spent, ...]

    @property
    def name(self) -> str:
        return f"{self.samples} document{'s' * (self.samples > 1)}, {self.stage}"

    @cached_property
    def evaluation(self) -> Evaluation:
        return Evaluation(self.scored)

    def cost(self, kind: str) -> float:
        """Mean over tasks."""
        return sum(getattr(spent, kind) for spent in self.spent) / len(self.spent)


async def points(settings: Settings, work: Path, judge: World, reward: HybridReward) -> list[Point]:
    """Everything that is there for all plans of a task, scored."""
    tasks = chosen_tasks(settings.tasks)[1]
    whole = [
        task for task in tasks if all((work / SCALED / f"{name_of(task, n)}.json").is_file() for n in settings.samples)
    ]
    if not whole:
        raise SystemExit(f"{work} holds no task for which all of {settings.samples} is there")
    cells: dict[tuple[int, StageName], list[tuple[Rollout, float | None, Spent]]] = {}
    for group, task in enumerate(whole):
        for samples in settings.samples:
            scaled = load_scaled(work, name_of(task, samples))
            for report in scaled.stages:
                candidate = scaled.tried[report.chosen]
                document = candidate.document
                judgments = await judge.judge(document, task)
                rollout = replace(
                    candidate.rollout, task=task, group=group, report=reward.score(document, task, judgments)
                )
                cells.setdefault((samples, report.stage), []).append((rollout, candidate.value, report.spent))
    return [Point(*key, *map(tuple, zip(*rows, strict=True))) for key, rows in cells.items()]  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------------------- tables


def overview(found: Sequence[Point]) -> list[str]:
    """Each way of scaling in a row."""
    lines = [
        "| documents | up to | reward, 95 % interval | tool accuracy | succeeded of all calls | reward by the judge that selected "
        "| calls of tools | of judges | tokens | seconds |",
        "|---:|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for point in found:
        tools = point.evaluation.tools
        costs = " | ".join(f"{point.cost(kind):.{1 if kind != 'tokens' else 0}f}" for kind in COSTS)
        lines.append(
            f"| {point.samples} | {point.stage} | {_mean_with_interval(point)} | {_number(tools.accuracy)} "
            f"| {_number(tools.succeeded_of_all)} | {_number(mean_of_known(point.chosen_by))} | {costs} |"
        )
    return lines


def differences(title: str, pairs: Sequence[tuple[Point, Point, str]]) -> list[str]:
    """What a step brings and takes."""
    lines = [
        f"| {title} | reward | tool accuracy | calls of tools | of judges | tokens | seconds | |",
        "|---|---|---|---:|---:|---:|---:|---|",
    ]
    for before, after, name in pairs:
        found = compare(before.evaluation, after.evaluation)
        more = " | ".join(f"{after.cost(kind) - before.cost(kind):+.{1 if kind != 'tokens' else 0}f}" for kind in COSTS)
        lines.append(
            f"| {name} | {found.reward} | {found.tool_accuracy or ''} | {more} | {verdict(found.reward, found.tool_accuracy)} |"
        )
    return lines


def verdict(reward: Difference | None, tools: Difference | None) -> str:
    """Whether a step earns its place: something is better for sure and nothing worse."""
    told = [difference for difference in (reward, tools) if difference is not None and difference.distinguishable]
    if any(difference.mean < 0 for difference in told):
        return "**does harm**"
    return "earns its place" if told else "**does not earn its place** here"


def _mean_with_interval(point: Point) -> str:
    known = [reward for reward in point.evaluation.rewards if reward is not None]
    if not known:
        return "none"
    low, high = bootstrap_interval(lambda weights: weights @ known / len(known), len(known), 0)
    return f"{sum(known) / len(known):.3f} [{low:.3f}, {high:.3f}]"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def curve(found: Sequence[Point], path: Path) -> None:
    """Reward and tool accuracy against what they take."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), layout="constrained", dpi=110)
    rows = {
        "reward (the judge that scores)": lambda p: p.evaluation.reward,
        "tool accuracy": lambda p: p.evaluation.tools.accuracy,
    }
    columns = {"tool_calls": "calls of tools for a document", "seconds": "seconds for a document"}
    grid = figure.subplots(len(rows), len(columns), sharey="row", squeeze=False)
    for axes_row, (title, value) in zip(grid, rows.items(), strict=True):
        for axes, (kind, label) in zip(axes_row, columns.items(), strict=True):
            line = sorted((p for p in found if p.stage == "select"), key=lambda p: p.samples)
            axes.plot(
                [p.cost(kind) for p in line],
                [value(p) for p in line],
                "o-",
                color=COLOURS["select"],
                label="sample, validate, select",
            )
            for point in line:
                axes.annotate(
                    str(point.samples),
                    (point.cost(kind), value(point)),
                    textcoords="offset points",
                    xytext=(4, 5),
                    fontsize=8,
                )
            for stage, before in (("enhance", "select"), ("polish", "enhance")):
                steps = [
                    (a, b) for a in found for b in found if (a.stage, b.stage, a.samples) == (before, stage, b.samples)
                ]
                for number, (a, b) in enumerate(steps):
                    axes.plot(
                        [a.cost(kind), b.cost(kind)], [value(a), value(b)], "s--", markersize=4, color=COLOURS[stage],
                        label=f"then {stage}" if not number else None,
                    )  # fmt: skip
            axes.set(xlabel=label, title=title)
            axes.grid(alpha=0.25)
    figure.legend(
        *grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    figure.savefig(path)


def page(settings: Settings, found: Sequence[Point], judge: str, notes: str) -> str:
    """The text of `scaling.md`."""
    at = {(point.samples, point.stage): point for point in found}
    numbers = sorted(settings.samples)
    more = [(at[numbers[0], "select"], at[n, "select"], f"{n} documents in place of {numbers[0]}") for n in numbers[1:]]
    parts = [
        "# What is test-time scaling worth?",
        f"{len(found[0].scored)} held-out tasks, policy `{settings.policy}`, at most {settings.max_tokens} tokens a document, temperature "
        f"{settings.temperature:g}, offline, on the CPU ({platform.machine()}, {os.cpu_count()} cores), one task at a time, caches off. The "
        f"embedded judge selects, by the reward `llmi`, and sees no task's required tools; **reward** below is the same reward by `{judge}`, "
        "which had no say. Tool accuracy needs no judge. Each row takes the documents of all tasks as they stood at the end of a stage; what "
        "they took is counted from the start, a mean over tasks. Differences are paired by task; the intervals come from 10,000 bootstrap "
        "draws of tasks. Made by `python -m benchmarks.scaling`.",
        "![quality against cost](scaling.png)",
        "\n".join(overview(found)),
        "## More documents",
        "\n".join(differences("sample, validate, select", more)) if more else "One number of documents only.",
    ]
    for samples in settings.ladder:
        stages = [point for point in found if point.samples == samples]
        steps = [(a, b, f"{b.stage} after {a.stage}") for a, b in pairwise(stages)]
        parts += [f"## Stage by stage, {samples} document{'s' * (samples > 1)}", "\n".join(differences("stage", steps))]
    parts.append(
        "A step earns its place where reward or tool accuracy is better beyond its interval and neither is worse; otherwise what it takes is "
        "spent for nothing that these tasks could show."
    )
    return "\n\n".join([*parts, notes or NOTES]) + "\n"


# ---------------------------------------------------------------------------------------------------------------------- main


def references(count: int) -> Mapping[str, Mapping[str, Any]]:
    """What the task set keeps for evaluation, by task."""
    tasks, chosen = chosen_tasks(count)
    return {task.key: tasks.extras(str(task.id)) for task in chosen}


async def report(settings: Settings, work: Path, judge: str | None, out: Path) -> Path:
    """Score what is there and write the page."""
    world: World = (
        connect("in_process", judge_config(judge))
        if judge
        else InProcessWorld({}, [ReferenceJudge(references(settings.tasks))])
    )
    try:
        found = await points(settings, work, world, HybridReward.preset("llmi"))
    finally:
        await world.aclose()
    out.mkdir(parents=True, exist_ok=True)
    target = out / "scaling.md"
    written = target.read_text(encoding="utf-8") if target.is_file() else ""
    notes = written[written.index(NOTES) :].strip() if NOTES in written else ""
    curve(found, out / "scaling.png")
    target.write_text(page(settings, found, judge or VERSION, notes), encoding="utf-8")
    return target


def numbers(text: str) -> tuple[int, ...]:
    """`1,2,4` as numbers."""
    return tuple(sorted({int(part) for part in text.split(",") if part.strip()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="warm-start", help="a run folder, an adapter or a model")
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--samples", type=numbers, default=(1, 2, 4, 8), help="numbers of documents to choose from")
    parser.add_argument(
        "--ladder", type=numbers, default=(1, 4), help="numbers of documents for which enhance and polish follow"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--variants", type=int, default=3, help="other pictures for each figure")
    parser.add_argument("--rewrites", type=int, default=2, help="other texts")
    parser.add_argument("--judge", help="who scores, as `llmi judge rescore` takes it, in place of the reference judge")
    parser.add_argument("--work", type=Path, default=Path("runs/scaling"), help="where everything tried is kept")
    parser.add_argument("--report", action="store_true", help="only make the tables of what is there")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of scaling.md and its picture")
    options = parser.parse_args()
    settings = Settings(
        options.policy, options.tasks, options.samples, tuple(n for n in options.ladder if n in options.samples),
        options.seed, options.max_tokens, options.temperature, options.variants, options.rewrites,
    )  # fmt: skip
    kept = options.work / "settings.json"
    if kept.is_file() and (there := json.loads(kept.read_text(encoding="utf-8"))) != settings.to_json():
        apart = {key: (there.get(key), value) for key, value in settings.to_json().items() if there.get(key) != value}
        raise SystemExit(
            f"{options.work} was begun with other settings (there, asked for): {apart}; choose another --work"
        )
    if not options.report:
        options.work.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(settings.to_json(), indent=1), encoding="utf-8")
        asyncio.run(measure(settings, options.work))
    print(asyncio.run(report(settings, options.work, options.judge, options.out)))


if __name__ == "__main__":
    main()

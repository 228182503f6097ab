"""Training under variants of the reward: a grid of short runs, and what they come to under one common reward.

Each cell of the grid, a variant and a seed, is an ordinary run folder that can be looked at, gone on with and reported on by itself:

    runs/ablate-NAME/presets/VARIANT.yaml  VARIANT-seed0/ ...  comparison.md  comparison.json

Rewards of different variants cannot be compared. So the documents of every run's evaluation are scored again by one reward, from the judgments
that stand in them. Where a judgment is missing, as a variant had no need of it (`rules`) or a judge was down, the judges of the recipe are
asked now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from llmi_env.ablation import Variant
from llmi_env.comparison import Evaluation
from llmi_env.errors import ConfigError, TrainingError
from llmi_env.judgment_files import document_names, read_judgments
from llmi_env.rescoring import rescore
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.statistics import Difference, paired_bootstrap
from llmi_env.rewards.tool_accuracy import tool_accuracy, tool_accuracy_difference
from llmi_env.store import FOLDER, read_metrics
from llmi_env.tables import markdown_table
from llmi_env.world.protocol import Scored
from trainers.display import number, share
from trainers.protocol import find_trainer
from trainers.recipe import BaseRecipe, check_unchanged
from trainers.run_folder import stored_evaluation

if TYPE_CHECKING:
    from llmi_env.document import Document
    from llmi_env.task import Task

_REJUDGED = "common"
"""Name of the judgments that are made for the comparison."""

_LEGEND = (
    "All documents are scored by the one reward named above. Intervals are 95 % paired bootstrap intervals over the held-out tasks, seeds "
    "averaged, and too narrow where there are but a few tasks; what differs between seeds, training's own randomness, is not in them: it "
    "stands in the column of seeds."
)


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Attributes:
        variant: its name.
        seed: of the run.
        folder: the run folder.
        recipe: what is carried out there.
    """

    variant: str
    seed: int
    folder: Path
    recipe: BaseRecipe


@dataclass(frozen=True)
class VariantOutcome:
    """What training under one variant came to, under the common reward. A figure that the runs cannot give is `None`, never 0.

    Attributes:
        name: of the variant; `before training` for the policy that all runs began with.
        runs: how many runs were finished.
        reward: mean over tasks, seeds averaged.
        by_seed: the same for each seed.
        gain: after training minus before.
        difference: variant minus base, over the seeds that both have finished.
        tool_accuracy: over all runs.
        tool_difference: variant minus base.
        unscored: documents of the evaluation without a score.
        documents: all of them.
        failed: why runs ended without a result, by seed.
    """

    name: str
    runs: int
    reward: float | None
    by_seed: tuple[float | None, ...] = ()
    gain: Difference | None = None
    difference: Difference | None = None
    tool_accuracy: float | None = None
    tool_difference: Difference | None = None
    unscored: int = 0
    documents: int = 0
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainedAblation:
    """All runs of a grid, compared.

    Attributes:
        folder: of the grid.
        common: version of the reward that scores all of them.
        finished: whether every run was carried out to its end; if not, the same call goes on.
        outcomes: the start, then each variant, base first; only variants with a finished run have figures.
    """

    folder: Path
    common: str
    finished: bool
    outcomes: tuple[VariantOutcome, ...]


def plan(recipe: BaseRecipe, variants: Sequence[Variant], seeds: Sequence[int], folder: Path) -> list[Cell]:
    """The runs of a grid, all variants of a seed before the next seed; writes the variants' presets.

    Raises:
        ConfigError: no variant or seed, two variants whose names come to the same folder, or a variant that is another one than when
            the grid was begun.
    """
    if not variants or not seeds:
        raise ConfigError("a grid of runs needs at least one variant and one seed")
    slugs = [re.sub(r"[^\w.=-]+", "-", variant.name).strip("-") for variant in variants]
    if len(set(slugs)) < len(slugs):
        raise ConfigError(f"variants whose names come to the same folder: {', '.join(sorted(slugs))}")
    paths = [folder.absolute() / "presets" / f"{slug}.yaml" for slug in slugs]
    for variant, path in zip(variants, paths, strict=True):
        text = (variant.reward.exactly() if variant.reward.exact else variant.reward).spec.to_yaml()
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise ConfigError(
                f"variant {variant.name!r} is not what it was when {folder} was begun; choose another --name"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [
        Cell(
            variant.name,
            seed,
            folder / f"{slug}-seed{seed}",
            recipe.model_copy(
                update={"seed": seed, "env": recipe.env.model_copy(update={"reward": str(path)})},
            ),
        )
        for seed in seeds
        for variant, slug, path in zip(variants, slugs, paths, strict=True)
    ]


def ablate_training(
    recipe: BaseRecipe,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    folder: Path,
    *,
    common: HybridReward | None = None,
    console: Console | None = None,
) -> TrainedAblation:
    """Carry out a grid of runs and compare them. Finished runs are left alone, begun ones are gone on with.

    Args:
        recipe: of every run, but for its reward and seed.
        variants: the base first.
        seeds: of the runs.
        folder: of the grid.
        common: scores all; the base, where left out.
        console: for progress.

    Returns:
        The comparison of what is finished; with `finished=False` after an interruption from the keyboard or a run that failed.

    Raises:
        ConfigError: the grid cannot be made, or a run in the folder was begun with another recipe.
    """
    console = console or Console()
    trainer = find_trainer(recipe.trainer)
    cells = plan(recipe, variants, seeds, folder)
    failed: dict[tuple[str, int], str] = {}
    finished = True
    try:
        for at, cell in enumerate(cells, 1):
            where = f"run {at} of {len(cells)}: {cell.variant}, seed {cell.seed}"
            if _is_finished(cell):
                console.print(f"{where}: finished already", markup=False, highlight=False)
                continue
            console.print(where, markup=False, highlight=False)
            begun = (cell.folder / "config.yaml").is_file()
            try:
                result = trainer.train(cell.recipe, cell.folder, resume=begun, console=console)
            except TrainingError as error:  # a variant that cannot teach says something about the variant
                failed[cell.variant, cell.seed] = str(error)
                console.print(f"{where}: failed: {error}", markup=False, highlight=False)
                continue
            if not result.finished:
                raise KeyboardInterrupt
        _judge_what_is_missing(cells, common or variants[0].reward, console)
    except KeyboardInterrupt:
        finished = False
    outcomes = tuple(_outcomes(cells, [variant.name for variant in variants], common or variants[0].reward, failed))
    return TrainedAblation(folder, (common or variants[0].reward).version, finished and not failed, outcomes)


def _is_finished(cell: Cell) -> bool:
    config = cell.folder / "config.yaml"
    if not config.is_file():
        return False
    check_unchanged(config.read_text(encoding="utf-8"), cell.recipe)
    return any(line["phase"] == "after" and line["step"] >= cell.recipe.steps for line in read_metrics(cell.folder))


# ------------------------------------------------------------------------------------------------------------------ comparing


def _judge_what_is_missing(cells: Sequence[Cell], common: HybridReward, console: Console) -> None:
    for cell in cells:
        for phase, step in (("before", 0), ("after", cell.recipe.steps)):
            found = stored_evaluation(cell.folder, phase, step)
            lacking = found is not None and any(
                not isinstance(rollout.report.judgments.get(term), Scored)
                for rollout in found.rollouts
                for term in common.judged_terms
            )
            if not lacking:
                continue
            console.print(f"judging the documents of {cell.folder.name}, {phase}, for the comparison", highlight=False)
            env = cell.recipe.env
            result = rescore(cell.folder, env.services, _REJUDGED, pattern=phase, where=env.world, console=console)
            if not result.finished:
                raise KeyboardInterrupt


def _scored(cell: Cell, phase: str, common: HybridReward) -> Evaluation | None:
    """The evaluation of a run under the common reward."""
    found = stored_evaluation(cell.folder, phase, 0 if phase == "before" else cell.recipe.steps)
    if found is None:
        return None
    given: dict[str, Any] = {}
    if (cell.folder / "judgments" / f"{_REJUDGED}.jsonl").is_file():
        names = document_names(cell.folder / FOLDER / f"{phase}.parquet")
        documents = {f"{phase}:{row}": name for row, name in enumerate(names)}
        given = dict(read_judgments(cell.folder, _REJUDGED, documents).by_episode)
    rollouts = []
    for row, rollout in enumerate(found.rollouts):
        saved = rollout.report.judgments
        judgments = {
            **given.get(f"{phase}:{row}", {}),
            **{t: made for t, made in saved.items() if isinstance(made, Scored)},
        }
        rollouts.append(replace(rollout, report=common.score(rollout.document, rollout.task, judgments)))
    return Evaluation(tuple(rollouts))


def _outcomes(
    cells: Sequence[Cell], names: Sequence[str], common: HybridReward, failed: dict[tuple[str, int], str]
) -> Iterator[VariantOutcome]:
    after = {
        (cell.variant, cell.seed): found
        for cell in cells
        if _is_finished(cell) and (found := _scored(cell, "after", common)) is not None
    }
    start = next((found for cell in cells if (found := _scored(cell, "before", common)) is not None), None)
    if start is not None:
        yield _figures("before training", [start], [])
    for name in names:
        runs = {seed: found for (variant, seed), found in after.items() if variant == name}
        shared = [seed for seed in runs if (names[0], seed) in after]
        made = _figures(
            name,
            list(runs.values()),
            [f"seed {seed}: {why}" for (variant, seed), why in failed.items() if variant == name],
        )
        if runs and start is not None:
            made = replace(made, gain=_difference([start], list(runs.values())))
        if name != names[0] and shared:
            base, mine = [after[names[0], seed] for seed in shared], [runs[seed] for seed in shared]
            made = replace(made, difference=_difference(base, mine), tool_difference=_tools(base, mine))
        yield made


def _figures(name: str, runs: Sequence[Evaluation], failed: Sequence[str]) -> VariantOutcome:
    rollouts = [rollout for run in runs for rollout in run.rollouts]
    rewards = _by_task(runs)
    there = [reward for reward in rewards if reward is not None]
    return VariantOutcome(
        name,
        len(runs),
        sum(there) / len(there) if there else None,
        tuple(run.reward for run in runs),
        tool_accuracy=tool_accuracy(_pairs(runs)).accuracy,
        unscored=sum(rollout.reward is None for rollout in rollouts),
        documents=len(rollouts),
        failed=tuple(failed),
    )


def _by_task(runs: Sequence[Evaluation]) -> list[float | None]:
    """Mean reward of each task over the runs that have one."""
    means: list[float | None] = []
    for rewards in zip(*(run.rewards for run in runs), strict=True):
        there = [reward for reward in rewards if reward is not None]
        means.append(sum(there) / len(there) if there else None)
    return means


def _difference(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> Difference | None:
    first, second = _by_task(before), _by_task(after)
    if not any(a is not None and b is not None for a, b in zip(first, second, strict=True)):
        return None
    return paired_bootstrap(first, second)


def _tools(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> Difference | None:
    first, second = _pairs(before), _pairs(after)
    if tool_accuracy(first).accuracy is None or tool_accuracy(second).accuracy is None:
        return None
    return tool_accuracy_difference(first, second)


def _pairs(runs: Sequence[Evaluation]) -> list[tuple[Task, Document]]:
    return [pair for run in runs for pair in run.pairs]


# -------------------------------------------------------------------------------------------------------------------- showing

_HEAD = (
    "variant", "runs", "reward", "by seed", "minus before", "minus base", "tool accuracy", "minus base (tools)", "unscored"
)  # fmt: skip


def table(found: TrainedAblation) -> list[tuple[str, ...]]:
    """The rows of the comparison, the heading first."""
    return [_HEAD, *(_row(outcome) for outcome in found.outcomes)]


def _row(outcome: VariantOutcome) -> tuple[str, ...]:
    return (
        outcome.name,
        str(outcome.runs) + (f" ({len(outcome.failed)} failed)" if outcome.failed else ""),
        number(outcome.reward) if outcome.runs else "",
        " ".join(number(reward) for reward in outcome.by_seed),
        *(_interval(difference) for difference in (outcome.gain, outcome.difference)),
        share(outcome.tool_accuracy) if outcome.runs else "",
        _interval(outcome.tool_difference),
        f"{outcome.unscored} of {outcome.documents}" if outcome.runs else "",
    )


def _interval(found: Difference | None) -> str:
    return "" if found is None else f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def write_comparison(found: TrainedAblation) -> list[Path]:
    """Write `comparison.md` and `comparison.json` into the grid's folder."""
    failed = [f"- {outcome.name}, {why}" for outcome in found.outcomes for why in outcome.failed]
    parts = [
        "# Training under variants of the reward",
        f"Common reward: {found.common}.{'' if found.finished else ' Not all runs are finished.'}",
        markdown_table(table(found)),
        _LEGEND,
        *(["Runs that failed:\n\n" + "\n".join(failed)] if failed else []),
    ]
    (found.folder / "comparison.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    data = {**asdict(found), "folder": str(found.folder)}
    (found.folder / "comparison.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    return [found.folder / "comparison.md", found.folder / "comparison.json"]

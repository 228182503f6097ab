"""The commands about rewards and judges; `llmi_env.cli` puts them into the `llmi` command."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from llmi_env.errors import ConfigError

if TYPE_CHECKING:
    from llmi_env.rewards.hybrid import HybridReward

judge_app = typer.Typer(no_args_is_help=True, help="Try judges on documents that are there already.")
console = Console(soft_wrap=True)


def ablate(
    what: Annotated[
        str, typer.Argument(metavar="RUN|EPISODES", help="A run folder, or an episode file; with --train, a recipe.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="With --train, values of the recipe to change: steps=4 lr=2e-4")
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants",
            "-v",
            help="A set of envs_configs/ablations, or a YAML file of your own (default: terms; with --train, training).",
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="The reward that all are compared with (default: the run's or recipe's own).")
    ] = None,
    split: Annotated[str, typer.Option(help="Which episode files of the run: 'train-*', 'after' ...")] = "*",
    judgments: Annotated[
        str | None,
        typer.Option(help="Take those of another judge, by the name that 'llmi judge rescore' kept them under."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Where it all goes (default: RUN/ablation; with --train, runs/ablate-RECIPE)."
        ),
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Train with each variant instead, in short runs.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="With --train, how many runs of each variant.")] = 1,
    common: Annotated[
        str | None, typer.Option(help="With --train, the reward that compares the runs (default: the base).")
    ] = None,
) -> None:
    """Saved episodes under many variants of the reward, without writing or judging anything again.

    Example: llmi ablate runs/quickstart --split 'train-*'

    For each variant: mean reward, documents of a group that change places, advantages that move, and the episodes that move most. Terms
    that no judge has scored make a variant "not computable"; 'llmi judge rescore' judges them.

    Example: llmi ablate --train quickstart steps=4 --seeds 2

    With --train, a policy is trained under each variant, from the same start, and the held-out documents of all are compared under one
    reward. Ctrl-C stops; the same command goes on.
    """
    from llmi_env.rewards.hybrid import HybridReward

    start = None if base is None else HybridReward.load(base)
    if train:
        if judgments is not None or split != "*":
            raise ConfigError("--split and --judgments are about saved episodes; they do not go with --train")
        _train_variants(what, overrides or [], variants or "training", start, common, seeds, out)
        return
    if overrides or common is not None or seeds != 1:
        raise ConfigError("values of a recipe, --seeds and --common go with --train")
    _ablate_saved(Path(what), variants or "terms", start, split, judgments, out)


def _ablate_saved(
    run: Path, variants: str, base: "HybridReward | None", split: str, judgments: str | None, out: Path | None
) -> None:
    from llmi_env.ablation import ablate as compute
    from llmi_env.ablation import base_reward, load_variants, read_saved
    from llmi_env.ablation.showing import to_console, write_all
    from llmi_env.judgment_files import run_folder

    _there(run)
    episodes = read_saved(run, split, judgments=judgments)
    chosen = load_variants(variants, base or base_reward(run, episodes))
    if any(variant.reward.own_terms for variant in chosen):
        with console.status("reading the documents, which terms of your own need ..."):
            episodes = read_saved(run, split, documents=True, judgments=judgments)
    found = compute(episodes, chosen)
    to_console(found, console)
    written = write_all(found, out or run_folder(run) / "ablation")
    console.print(f"tables and pictures: {written[0].parent}", markup=False, highlight=False)


def _train_variants(
    name: str,
    overrides: list[str],
    variants: str,
    base: "HybridReward | None",
    common: str | None,
    seeds: int,
    out: Path | None,
) -> None:
    from llmi_env.ablation import load_variants
    from llmi_env.rewards.hybrid import HybridReward
    from llmi_env.tables import print_table
    from trainers.ablation import ablate_training, table, write_comparison
    from trainers.recipe import load_recipe

    recipe = load_recipe(name, overrides)
    found = ablate_training(
        recipe,
        load_variants(variants, base or HybridReward.load(recipe.env.reward)),
        range(recipe.seed, recipe.seed + seeds),
        out or Path("runs") / f"ablate-{recipe.name}",
        common=None if common is None else HybridReward.load(common),
        console=console,
    )
    print_table(table(found), console)
    written = write_comparison(found)
    console.print(f"comparison under {found.common}: {written[0]}", markup=False, highlight=False)
    if not found.finished:
        console.print("not all runs are finished; the same command goes on with the rest")
        raise typer.Exit(130)


@judge_app.command("rescore")
def judge_rescore(
    run: Annotated[Path, typer.Argument(help="A run folder, or one episode file (.parquet).")],
    judge: Annotated[
        str, typer.Option("--judge", "-j", help="A judge by name or 'module:Class', or a YAML file with its options.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Keeps the judgments as RUN/judgments/NAME.jsonl (default: the judge's name).")
    ] = None,
    split: Annotated[str, typer.Option(help="Which episode files of the run: 'train-*', 'after' ...")] = "*",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Another file for the judgments.")] = None,
) -> None:
    """Judge saved documents again with another judge, and say how far the two agree.

    Example: llmi judge rescore runs/quickstart --judge my-judge.yaml

    What is judged is kept at once: Ctrl-C loses nothing, and the same command goes on with the rest. 'llmi ablate RUN --judgments NAME'
    computes rewards of the new judgments.
    """
    from llmi_env.rescoring import agreement_rows, judge_config, judgments_name, rescore, to_json
    from llmi_env.tables import print_table

    _there(run)
    chosen = name or judgments_name(judge)
    result = rescore(run, judge_config(judge), chosen, pattern=split, out=out, console=console)
    print_table(agreement_rows(result.terms), console)
    if result.terms:
        summary = result.path.with_suffix(".agreement.json")
        summary.write_text(json.dumps(to_json(result), indent=1), encoding="utf-8")
    console.print(
        f"{result.documents} documents, {result.judged} judged now; judgments: {result.path}",
        markup=False,
        highlight=False,
    )
    if not result.finished:
        console.print("stopped; the same command goes on with the rest")
        raise typer.Exit(130)


@judge_app.command("calibrate")
def judge_calibrate(
    judge: Annotated[
        str,
        typer.Option(
            "--judge", "-j", help="A judge by name or 'module:Class', or its options as a YAML file or JSON ('{...}')."
        ),
    ] = "embedded",
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of the calibration set.")] = 740,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A .md or .json file; what it holds of other judges stays."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same pairs.")] = 0,
    tuning: Annotated[
        bool, typer.Option("--tuning", help="Documents for tuning a judge, in place of those that are held out.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask again what is in the judges' cache, so that the time is the judge's.")
    ] = False,
) -> None:
    """How well a judge tells a good document from a worse one of the same task.

    Example: llmi judge calibrate --judge my-judge.yaml --pairs 370 --out my-judge.md

    Good documents are demonstrations that ship; the worse ones are made by declared corruptions. Ctrl-C stops and shows what is judged by
    then. About half a minute goes to carrying out the calls of the documents.
    """
    from llmi_env.judges.calibration import calibrate
    from llmi_env.judges.calibration.table import check, not_told_apart, rows, write
    from llmi_env.rescoring import judge_config
    from llmi_env.tables import print_table

    if out is not None:
        check(out)
    services = judge_config(judge)
    if fresh:
        services = services.model_copy(update={"judge_cache": None})
    half: Literal["held_out", "tuning"] = "tuning" if tuning else "held_out"
    found, finished = calibrate(judge, services, pairs, seed=seed, half=half, console=console)
    if found is not None:
        print_table(rows(found), console)
        weak = not_told_apart(found)
        told = f"near chance or inverted: {'; '.join(weak)}" if weak else "no corruption is near chance"
        console.print(told, markup=False, highlight=False)
        for reason, count in list(found.reasons.items())[:3]:
            console.print(f"no score ({count} times): {reason}", markup=False, highlight=False)
        if out is not None:
            write(found, out)
            console.print(f"written: {out}", markup=False, highlight=False)
    if not finished:
        shown = "nothing is judged yet" if found is None else f"{found.pairs[0]} of {found.pairs[1]} pairs are judged"
        console.print(f"stopped: {shown}")
        raise typer.Exit(130)


def _there(path: Path) -> None:
    if not path.exists():
        raise ConfigError(f"there is no {path}; a run folder is made by 'llmi train'")

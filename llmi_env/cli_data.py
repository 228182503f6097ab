"""The commands about task files; `llmi_env.cli` puts them into the `llmi` command."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from llmi_env.errors import ConfigError
from llmi_env.tables import print_table

if TYPE_CHECKING:
    from llmi_env.task_data.building import Build
    from llmi_env.task_data.checking import Checked
    from llmi_env.task_data.held_out import HeldOut
    from llmi_env.task_data.orders import Built

data_app = typer.Typer(
    no_args_is_help=True,
    help="Training tasks: made by a language model, looked through, converted.\n\n"
    "llmi data build --llm openai:qwen@http://127.0.0.1:8000/v1 --out tasks.jsonl --count 100\n\n"
    "llmi data check tasks.jsonl --against llmi-bench:benchmark/\n\n"
    "llmi data convert train.parquet train_mm.parquet tasks.jsonl",
)
console = Console(soft_wrap=True)
_AGAINST = (
    "What no task may be near to, besides our validation and heldout tasks: a task file, BENCHMARK:PATH, FILE:FIELD, or a .txt "
    "file. May be given several times."
)
_WHAT, _WHO, _HOW = "What is built", "Who builds it", "How"


@data_app.command("build")
def data_build(
    llm: Annotated[
        str,
        typer.Option(help="Who writes: openai:MODEL@URL, or a YAML file of options.", rich_help_panel=_WHO),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The task file to write: a .jsonl.", rich_help_panel=_WHAT)],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many tasks.", rich_help_panel=_WHAT)],
    validator: Annotated[
        str | None,
        typer.Option(
            help="Who reads what was written (default: the same model, told nothing of the order); 'none' leaves it out.",
            rich_help_panel=_WHO,
        ),
    ] = None,
    against: Annotated[list[str] | None, typer.Option(help=_AGAINST, rich_help_panel=_WHAT)] = None,
    topics: Annotated[Path | None, typer.Option(help="Topics of your own, one a line.", rich_help_panel=_WHAT)] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="A folder of pictures with captions: some tasks have one or two of them.", rich_help_panel=_WHAT
        ),
    ] = None,
    with_pictures: Annotated[
        float, typer.Option(min=0, max=1, help="Share of tasks with input pictures.", rich_help_panel=_WHAT)
    ] = 0.3,
    sees: Annotated[
        bool,
        typer.Option(
            "--sees", help="The models see: input pictures are sent to them (option sees).", rich_help_panel=_WHO
        ),
    ] = False,
    tools: Annotated[
        str, typer.Option(help="Tools that tasks may need.", rich_help_panel=_WHAT)
    ] = "search,diffusion,code,edit",
    counts: Annotated[
        str, typer.Option(help="How often each kind of wish for pictures comes about.", rich_help_panel=_WHAT)
    ] = "none=1,any=3,at_least_one=2,exactly=4",
    language: Annotated[str, typer.Option(help="Of the tasks.", rich_help_panel=_WHAT)] = "English",
    seed: Annotated[int, typer.Option(help="Same seed, same orders.", rich_help_panel=_WHAT)] = 0,
    attempts: Annotated[
        int, typer.Option(min=1, help="Versions of a task before another order takes its place.", rich_help_panel=_HOW)
    ] = 4,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Requests to each model at the same time.", rich_help_panel=_HOW)
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            min=0, help="Ask nothing more when so much is spent; needs prices in the options.", rich_help_panel=_HOW
        ),
    ] = None,
    no_embed: Annotated[
        bool, typer.Option("--no-embed", help="Compare tasks by their words alone.", rich_help_panel=_HOW)
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was begun; nothing is asked twice.", rich_help_panel=_HOW)
    ] = False,
) -> None:
    """Make training tasks with a language model, to a plan: topics, wishes for pictures, tools that are needed and not named.

    Each task is written, looked through, and read by a second model that is not told what was ordered; what it takes for something else is sent
    back with the reasons. Near copies of each other, of our tasks for evaluation and of --against are sent back, too. OUT.build/ keeps every
    reply and every decision. Ctrl-C stops it, --resume goes on.

    Example: llmi data build --llm writer.yaml --validator reader.yaml --out tasks.jsonl --count 4000 --against llmi-bench:benchmark/
    """
    from llmi_env.task_data.asking import model_options
    from llmi_env.task_data.building import build
    from llmi_env.task_data.held_out import EVALUATED
    from llmi_env.task_data.kept import Kept
    from llmi_env.task_data.orders import Order
    from llmi_env.task_data.pictures import of_folder
    from llmi_env.task_data.plan import Wishes, read_topics

    if out.suffix != ".jsonl":
        raise ConfigError(
            f"--out {out}: tasks are built into a .jsonl file; 'llmi data convert' makes a .parquet of it"
        )
    if not language.strip():
        raise ConfigError("--language is empty: the language of the tasks is needed, e.g. English")
    changes = {} if concurrency is None else {"concurrency": concurrency}
    writer = model_options(llm, sees=sees).model_copy(update=changes)
    reader = None
    if validator != "none":
        reader = model_options(validator or llm, sees=sees, temperature=0.0).model_copy(update=changes)
    if max_cost is not None and any(each is not None and each.cost(0, 0) is None for each in (writer, reader)):
        raise ConfigError("--max-cost needs prompt_price and completion_price in the options of each model")
    if reader is not None and (reader.model, reader.base_url) == (writer.model, writer.base_url):
        console.print("the model that writes also reads what it wrote: --validator names another one", style="yellow")
    held_out = _held_out([*EVALUATED, *(against or [])], embed=not no_embed)
    wishes = Wishes(
        seed=seed,
        counts=_weights(counts),
        tools=tuple(dict.fromkeys(tool.strip() for tool in tools.split(",") if tool.strip())),
        topics=() if topics is None else read_topics(topics),
        pictures=() if pictures is None else tuple(of_folder(pictures, held_out)),
        with_pictures=with_pictures,
    )
    order = Order(count, wishes, writer, reader, attempts, language, not no_embed, max_cost)
    with _Bar(count) as bar:
        built = build(order, Kept(out), held_out, resume=resume, told=bar.told)
    _show_built(built)
    if not built.finished:
        again = shlex.join([*sys.argv[1:], *([] if resume else ["--resume"])])
        console.print(f"{built.why}; go on with: llmi {again}", markup=False, highlight=False)
        raise typer.Exit(130 if built.why == "interrupted" else 1)


@data_app.command("check")
def data_check(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A .jsonl or .parquet file, ours or LLM-I's; a bundled split; a data set's name."
        ),
    ],
    against: Annotated[list[str] | None, typer.Option(help=_AGAINST)] = None,
    no_embed: Annotated[
        bool, typer.Option("--no-embed", help="Compare tasks by their words alone: quick, and blind to other words.")
    ] = False,
    run: Annotated[int, typer.Option(min=3, help="Words that a run must have to count as common.")] = 8,
    show: Annotated[int, typer.Option(min=0, help="How many findings of each kind are shown.")] = 5,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write all of it into this file, too.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Look through a task file: rows that cannot be read, wishes that cannot be met, copies, leaks, balance.

    Ends with 1 where there are errors: what no training should see. Warnings are what a person should look at.

    Example: llmi data check tasks.jsonl --against isg-bench:ISG-Bench.jsonl --against notes.csv:prompt
    """
    from llmi_env.task_data.checking import check

    checked = check(source, against or [], embed=not no_embed, run=run, console=console)
    _show_checked(checked, show)
    if as_json is not None:
        as_json.parent.mkdir(parents=True, exist_ok=True)
        as_json.write_text(json.dumps(checked.to_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if checked.count("error") or (strict and checked.count("warning")):
        raise typer.Exit(1)


@data_app.command("convert")
def data_convert(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FROM...", help="Task files of either layout, bundled splits, data sets: one after another."
        ),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="TO", help="A .jsonl file (our layout) or a .parquet file (LLM-I's).")
    ],
    split: Annotated[str, typer.Option(help="What LLM-I's rows say of themselves: train or test.")] = "train",
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
) -> None:
    """Convert task files from and to LLM-I's layout, and say what the new layout has no place for.

    Pictures stay as they are, byte by byte. LLM-I keeps tasks with pictures apart: of a mixed set, TO holds those without and TO_mm those with.

    Example: llmi data convert tasks.jsonl tasks.parquet
    """
    from llmi_env.task_data.converting import convert

    if split not in ("train", "test"):
        raise ConfigError(f"--split is train or test, not {split!r}")
    done = convert(sources, target, split=split, force=force)
    console.print(f"{done.tasks:,} tasks: {', '.join(map(str, done.paths))}", markup=False, highlight=False)
    for said in done.lost:
        console.print(f"lost: {said}", markup=False, highlight=False)


def _weights(text: str) -> dict[str, float]:
    try:
        pairs = [part.split("=") for part in text.split(",") if part.strip()]
        weights = {name.strip(): float(weight) for name, weight in pairs}
    except ValueError:
        raise ConfigError(
            f"--counts {text!r}: weights are expected, e.g. none=1,any=3,at_least_one=2,exactly=4"
        ) from None
    if len(weights) < len(pairs):
        raise ConfigError(f"--counts {text!r}: one weight for each kind is expected, and one stands there twice")
    return weights


def _held_out(sources: list[str], *, embed: bool) -> "HeldOut":
    from llmi_env.task_data.held_out import HeldOut, protected
    from llmi_env.task_data.meaning import ensure_meanings

    if embed:
        ensure_meanings()
    with console.status("reading what is kept for evaluation ..."):
        return HeldOut(protected(sources), embed=embed)


class _Bar:
    """How far a build is; only a terminal shows it."""

    def __init__(self, count: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("building"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[more]}"),
        )
        self._bars = Progress(
            *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
        )
        self._task = self._bars.add_task("building", total=count, more="")

    def told(self, work: "Build") -> None:
        sent_back = len(work.versions) - len(work.taken)
        built = work.built()
        cost = "" if built.cost is None else f", cost {built.cost:.4f}"
        self._bars.update(self._task, completed=len(work.taken), more=f"{sent_back} sent back{cost}")

    def __enter__(self) -> "_Bar":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()


def _show_built(built: "Built") -> None:
    console.print(
        f"{built.made} of {built.wanted} tasks: {built.path}\n{built.versions} versions, "
        f"{built.versions - built.made} sent back, {built.given_up} orders given up; {built.seconds:.0f} s",
        markup=False,
        highlight=False,
    )
    print_table(
        [("sent back for", "times"), *((rule, str(times)) for rule, times in built.rejected.most_common())], console
    )
    rows = [("model", "", "replies", "now", "tried again", "prompt tokens", "reply tokens", "seconds", "cost")]
    for each in built.spent:
        total = each.total
        cost = "no prices" if each.cost is None else f"{each.cost:.4f}"
        tokens = f"{total.prompt_tokens:,}", f"{total.completion_tokens:,}"
        rows.append(
            (
                each.model,
                each.role,
                str(total.replies),
                str(each.now),
                str(each.retries),
                *tokens,
                f"{total.seconds:.0f}",
                cost,
            )
        )
    print_table(rows, console)


def _show_checked(checked: "Checked", show: int) -> None:
    console.print(f"{checked.name}: {checked.balance}", markup=False, highlight=False)
    for table in checked.balance.tables():
        print_table(table, console)
    how = "words and meaning" if checked.embedded else "words alone"
    console.print(f"held against {checked.compared:,} protected questions, by {how}", highlight=False)
    for (level, rule), times in checked.by_rule().items():
        colour = "red" if level == "error" else "yellow"
        console.print(f"[bold {colour}]{level}[/] {escape(rule)}: {times:,}", highlight=False)
        same = [finding for finding in checked.findings if (finding.level, finding.rule) == (level, rule)]
        for finding in same[:show]:
            place = (
                ""
                if finding.row is None
                else f"row {finding.row}" + (f", {finding.field}" if finding.field else "") + ": "
            )
            said = finding.message if finding.rule == "schema" else f"{place}{finding.message}"
            console.print(f"  {said}", markup=False, highlight=False)
        if len(same) > show:
            console.print(f"  and {len(same) - show:,} more (--show N, --json FILE)", markup=False, highlight=False)
    console.print(f"{checked.count('error'):,} errors, {checked.count('warning'):,} warnings", highlight=False)

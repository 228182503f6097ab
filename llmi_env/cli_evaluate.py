"""`llmi evaluate`; `llmi_env.cli` puts it into the `llmi` command."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from llmi_env.errors import ConfigError
from llmi_env.folders import numbered_run

if TYPE_CHECKING:
    from llmi_env.config import EnvConfig
    from llmi_env.evaluate.benchmark import Benchmark, Item
    from llmi_env.evaluate.grading import Grader
    from llmi_env.evaluate.kept import EvaluationFolder
    from llmi_env.evaluate.running import Ran
    from llmi_env.evaluate.sources.base import Source
    from llmi_env.world import World

console = Console(soft_wrap=True)
_WRITING, _JUDGING = "How documents are written", "How they are judged"


def evaluate(
    benchmark: Annotated[
        str,
        typer.Argument(
            metavar="BENCH",
            help="heldout, validation (tasks of ours), llmi-bench, opening, isg-bench, interleaved-bench, or 'module:Class'.",
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values of the environment to change: reward=paper services.deadline=120")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The benchmark's files: a path, or a data set on the hub by name.")
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            help="Who writes: 'warm-start', 'grpo-trained', a run folder, an adapter or a model; openai:MODEL@BASE_URL, or a YAML file "
            "with an endpoint's options; documents:FOLDER, finished documents of another system."
        ),
    ] = "warm-start",
    judge: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            "-j",
            help="Who judges: openai:MODEL@BASE_URL, a judge by name or 'module:Class', or its options as a YAML file or JSON. May be given "
            "several times. Our own tasks are judged by the environment's judges where none is given.",
            rich_help_panel=_JUDGING,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where all is kept (default: runs/evaluate-BENCH).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what is there, and ask again what failed.")
    ] = False,
    items: Annotated[
        int | None, typer.Option(min=1, help="Only so many items, taken evenly from the benchmark.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Documents for each item.")] = 1,
    seed: Annotated[int, typer.Option(help="Same seed, same documents.")] = 0,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="N[,STAGE...]",
            help="Make each document the best of N: 4, or 8,validate,select=tournament,enhance=3 (docs/scaling.md).",
            rich_help_panel=_WRITING,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=NUMBER,...",
            help="With --scale, what one document may take: documents, tool_calls, judge_calls, tokens, seconds.",
            rich_help_panel=_WRITING,
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 takes the likeliest token each time.", rich_help_panel=_WRITING)
    ] = 0.7,
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0, help="Of sampling.", rich_help_panel=_WRITING)] = 1.0,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tokens of a document (default: 224, the embedded policy's measure; 8192 for an endpoint).",
            rich_help_panel=_WRITING,
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Documents written at the same time.", rich_help_panel=_WRITING)
    ] = 16,
    config: Annotated[
        str, typer.Option(help="The environment: tools, limits, prompt, reward. A preset or a YAML file.")
    ] = "offline",
) -> None:
    """Run a benchmark: documents are written, judged by its protocol and summed up, with intervals.

    Example: llmi evaluate heldout --items 16

    Example: llmi evaluate llmi-bench --data LLM-I/benchmark --policy openai:my-model@http://127.0.0.1:8000/v1 --judge
    openai:Qwen/Qwen2.5-VL-72B-Instruct@http://127.0.0.1:8002/v1

    Every document and every answer is kept when it is there: Ctrl-C or a kill loses what is in flight, and the same command with --resume
    goes on without paying for anything twice. Answers that failed are missing, with bounds, and never a low score; --resume asks again.

    Ends with 0 when every document and every answer is there, with 1 when something is missing, with 130 after Ctrl-C.
    """
    from llmi_env.config import load_config
    from llmi_env.evaluate.kept import EvaluationFolder

    folder = EvaluationFolder(out or numbered_run(f"evaluate-{benchmark.replace(':', '.')}", resume))
    wanted = _Wanted(
        policy=policy,
        judges=tuple(judge or ()),
        samples=samples,
        seed=seed,
        scale=scale,
        budget=budget,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        concurrency=concurrency,
        config=load_config(config, overrides or []),
        resume=resume,
    )
    protocol, found = _load(benchmark, wanted.config, data, items)
    try:
        ran = asyncio.run(_run(wanted, protocol, found, folder))
    except KeyboardInterrupt:
        _say(f"stopped; the same command with --resume --out {folder.path} goes on")
        raise typer.Exit(130) from None
    _say(
        f"{ran.documents} documents, {ran.written} written now; {ran.answers} answers wanted, {ran.answered} given now"
    )
    _sum_up(protocol, found, folder)
    if not ran.complete:
        _say(f"what is missing is asked for again by the same command with --resume --out {folder.path}")
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What the command line asks for."""

    policy: str
    judges: tuple[str, ...]
    samples: int
    seed: int
    scale: str | None
    budget: str | None
    temperature: float
    top_p: float
    max_tokens: int | None
    concurrency: int
    config: "EnvConfig"
    resume: bool


def _load(name: str, config: "EnvConfig", data: str | None, count: int | None) -> "tuple[Benchmark, Sequence[Item]]":
    from llmi_env.evaluate.benchmark import BenchmarkError, taken_evenly
    from llmi_env.evaluate.benchmarks.registry import find_benchmark

    benchmark = find_benchmark(name, config)
    items = benchmark.load(data)
    if not len(items):
        raise BenchmarkError(f"{benchmark.name}: there are no items to write documents for")
    return benchmark, items if count is None else taken_evenly(items, count)


async def _run(wanted: _Wanted, benchmark: "Benchmark", items: "Sequence[Item]", folder: "EvaluationFolder") -> "Ran":
    from llmi_env.evaluate.partial_judges import judges_that_chose
    from llmi_env.evaluate.running import evaluate as run
    from llmi_env.world import connect

    async with AsyncExitStack() as stack:
        world = connect(wanted.config.world, wanted.config.services)
        stack.push_async_callback(world.aclose)
        source = _source(wanted, world, folder)
        stack.push_async_callback(source.aclose)
        graders = await _graders(wanted, benchmark, world, stack)
        config = _config(wanted, benchmark, items, source, graders)
        for line in judges_that_chose(config["source"], config["judges"]):  # before it is paid for
            _say(line)
        with folder.begin(config, resume=wanted.resume):
            return await run(
                benchmark, items, source, graders, folder, samples=wanted.samples, seed=wanted.seed, console=console
            )


def _source(wanted: _Wanted, world: "World", folder: "EvaluationFolder") -> "Source":
    from llmi_env.evaluate.sources.base import DOCUMENTS, open_source
    from llmi_env.evaluate.sources.scaled_source import open_scaled
    from llmi_env.policies.endpoint import EndpointOptions
    from llmi_env.scaling import Budget
    from llmi_env.world import Place
    from llmi_env.world_source import check_extras

    if wanted.policy.startswith(DOCUMENTS):
        most = 1
    else:
        most = wanted.max_tokens or (224 if EndpointOptions.named(wanted.policy) is None else 8192)
        if Place.parse(wanted.config.world).is_here:
            check_extras(wanted.config.services)
    options: dict[str, Any] = {
        "max_tokens": most,
        "temperature": wanted.temperature,
        "top_p": wanted.top_p,
        "concurrency": wanted.concurrency,
    }
    if wanted.scale is None:
        if wanted.budget is not None:
            raise ConfigError("--budget is about --scale: give both")
        return open_source(wanted.policy, world, wanted.config, **options)
    bounds = None if wanted.budget is None else Budget.parse(wanted.budget)
    tried = folder.path / "tried"
    return open_scaled(wanted.scale, wanted.policy, world, wanted.config, budget=bounds, keep=tried, **options)


async def _graders(
    wanted: _Wanted, benchmark: "Benchmark", world: "World", stack: AsyncExitStack
) -> "dict[str, Grader]":
    from llmi_env.evaluate.grading import WorldGrader, grader_name, open_grader

    reward = benchmark.terms
    found: dict[str, Grader] = {}
    if not wanted.judges:
        if reward is None:
            raise ConfigError(
                f"{benchmark.name} asks judges: give --judge openai:MODEL@BASE_URL, with a model that sees pictures"
            )
        if reward.judged_terms:
            own = await WorldGrader.open(world, reward)
            found["+".join(dict.fromkeys(grader_name(one["use"]) for one in own.identity["judges"]))] = own
        return found
    names = [grader_name(judge) for judge in wanted.judges]
    for at, (judge, name) in enumerate(zip(wanted.judges, names, strict=True)):
        grader = await open_grader(judge, reward)
        stack.push_async_callback(grader.aclose)
        number = names[: at + 1].count(name)
        found[name if number == 1 else f"{name}-{number}"] = grader
    if same := [
        name for name, count in Counter(str(grader.identity) for grader in found.values()).items() if count > 1
    ]:
        raise ConfigError(f"the same judge is given twice, and would only agree with itself: {same[0]}")
    return found


def _config(
    wanted: _Wanted, benchmark: "Benchmark", items: "Sequence[Item]", source: "Source", graders: "Mapping[str, Grader]"
) -> dict[str, Any]:
    """All that decides the figures, as plain data."""
    from llmi_env.evaluate.running import item_ids, items_digest

    services = wanted.config.services.model_dump(mode="json", exclude={"judges"})  # `judges` below says who they are
    return {
        "benchmark": {
            "name": benchmark.name,
            "version": benchmark.version,
            "data": items_digest(items),
            "items": list(item_ids(items)),
        },
        "policy": wanted.policy,
        "source": dict(source.identity),
        "judges": {name: dict(grader.identity) for name, grader in graders.items()},
        "samples": wanted.samples,
        "seed": wanted.seed,
        "world": wanted.config.world,
        "services": services,
    }


def _sum_up(benchmark: "Benchmark", items: "Sequence[Item]", folder: "EvaluationFolder") -> None:
    """Figures on the console, `results.json` and the page."""
    from llmi_env.evaluate import showing
    from llmi_env.evaluate.results import summarise
    from llmi_env.report.evaluation_page import write_evaluation_page
    from llmi_env.tables import print_table

    with console.status("summing up ..."):
        results = summarise(benchmark, items, folder)
    results.save(folder.path)
    for rows in (
        showing.measure_rows(results), showing.judge_rows(results), showing.tool_rows(results.tools),
        showing.accuracy_rows(results.tools), showing.agreement_rows(results), showing.totals_rows(results),
    ):  # fmt: skip
        print_table(rows, console)
    for line in (*showing.reasons(results), *results.warnings):
        _say(line)
    _say(f"all of it: {folder.path}\nreport: {write_evaluation_page(folder.path)}")


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False)

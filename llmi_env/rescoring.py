"""Saved documents judged again by another judge, and how far the two agree.

The judge works in a World of its own, so that its concurrency, deadline and cache are what the configuration says. What it has said of a
document is kept at once (`llmi_env.judgment_files`): after an interruption the same command goes on with the rest.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from llmi_env.config import load_yaml
from llmi_env.errors import ConfigError, LLMIError, require
from llmi_env.judges.agreement import Agreement, agreement
from llmi_env.judgment_files import (
    JUDGMENTS,
    JudgmentFile,
    document_names,
    episode_files,
    judgments_of,
    run_folder,
)
from llmi_env.rollout import Rollout
from llmi_env.store import read_episodes
from llmi_env.world import connect
from llmi_env.world.config import WorldConfig
from llmi_env.world.protocol import Judgments, Scored, TellingWorld, World

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class TermAgreement:
    """Two judges on one term.

    Attributes:
        term: its name.
        agreement: over the documents that both scored.
        unscored: documents that the first and the second were asked about and left without a score.
        unasked: documents of which the first and the second hold no judgment.
    """

    term: str
    agreement: Agreement
    unscored: tuple[int, int]
    unasked: tuple[int, int]


@dataclass(frozen=True)
class Rescored:
    """What came of judging again.

    Attributes:
        path: where the judgments are kept.
        documents: how many there are.
        judged: how many were judged now; the others were kept from an earlier time or, if it did not finish, are left.
        finished: whether all are judged.
        terms: agreement with the judgments in the episodes, over all that are judged.
    """

    path: Path
    documents: int
    judged: int
    finished: bool
    terms: tuple[TermAgreement, ...]


def judge_config(judge: str) -> WorldConfig:
    """A World of one judge (or several), without tools.

    Args:
        judge: a judge's name or import path; or the options of one (`use: ...`), or `judges: [...]` with limits such as
            `judge_concurrency`, as the path of a YAML file or as JSON.

    Raises:
        ConfigError: no such judge or file, or an option that does not exist.
    """
    if _is_json(judge):
        data = _options(judge)
    elif _is_file(judge):
        data = load_yaml("judges", Path(judge))
    else:
        return WorldConfig.parse({"tools": {}, "judges": [judge]})
    if "judges" in data and "use" not in data:  # a panel has both
        return WorldConfig.parse({"tools": {}, **data})
    if "use" not in data:
        raise ConfigError(f"{judge}: the options of a judge with `use`, or `judges: [...]` with limits, are needed")
    return WorldConfig.parse({"tools": {}, "judges": [data]})


def judgments_name(judge: str) -> str:
    """A name for a judge's judgments: that of its file or class, or what its options use."""
    if _is_json(judge):
        judge = str(_options(judge).get("use", "judges"))
    named = Path(judge).stem if _is_file(judge) else judge.rpartition(":")[2]
    return re.sub(r"[^\w.-]+", "-", named)


def _is_file(judge: str) -> bool:
    return Path(judge).suffix in (".yaml", ".yml")


def _is_json(judge: str) -> bool:
    return judge.lstrip().startswith("{")


def _options(judge: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(judge)
    except ValueError as error:
        raise ConfigError(f"--judge {judge}: these options are not JSON: {error}") from error
    return data


def rescore(
    path: Path,
    services: WorldConfig,
    name: str,
    *,
    pattern: str = "*",
    out: Path | None = None,
    where: str = "in_process",
    console: Console | None = None,
) -> Rescored:
    """Judge saved documents again.

    Args:
        path: a run folder, or one episode file.
        services: what judges, and its limits; see `judge_config`.
        name: of the judgments.
        pattern: which files of the folder.
        out: where they are kept, in place of `RUN/judgments/NAME.jsonl`.
        where: in which World the judge works; see `llmi_env.world.connect`.
        console: for the progress bar; only a terminal shows it.

    Returns:
        The result; `finished=False` when it was interrupted from the keyboard, after which the same call goes on.

    Raises:
        ConfigError: no episodes, a judge that cannot be made, or a name that another judge's judgments have.
        StoreError: an episode file, or the file of judgments, is broken.
    """
    files = episode_files(path, pattern)
    judges = [{"use": use, **options} for use, options in services.judge_uses()]
    place = out or run_folder(path) / JUDGMENTS / f"{name}.jsonl"
    work = _Work(services.judge_concurrency)
    columns = (
        TextColumn("judging"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    shown = console is not None and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        bar = progress.add_task("judging", total=_count(files))

        async def run() -> None:
            world = connect(where, services)
            try:
                assert isinstance(world, TellingWorld)  # all that have a name are
                kept = JudgmentFile(place, {"judges": judges}, [judge.identity for judge in await world.about_judges()])
                await work.judge_all(world, kept, files, lambda: progress.advance(bar))
            except* LLMIError as errors:
                raise errors.exceptions[0] from None
            finally:
                await world.aclose()

        try:
            asyncio.run(run())
            finished = True
        except KeyboardInterrupt:
            finished = False
    return Rescored(place, _count(files), work.judged, finished, tuple(work.agreements()))


class _Work:
    """The judging of all documents, and what is known of both judges' judgments so far."""

    def __init__(self, concurrency: int) -> None:
        self.judged = 0
        self._slots = asyncio.Semaphore(2 * concurrency)  # the next ones stand ready when a judge has time
        self._both: list[tuple[Judgments, Judgments]] = []

    async def judge_all(self, world: World, kept: JudgmentFile, files: Sequence[Path], done: Any) -> None:
        async with asyncio.TaskGroup() as group:
            async for episode, document, rollout in _episodes(files):
                before, given = kept.kept.get(episode, ("", {}))
                if before == document and given and all(isinstance(judgment, Scored) for judgment in given.values()):
                    self._both.append((judgments_of(rollout.report), given))
                    done()
                    continue
                await self._slots.acquire()
                group.create_task(self._judge(world, kept, episode, document, rollout, done))

    async def _judge(
        self, world: World, kept: JudgmentFile, episode: str, document: str, rollout: Rollout, done: Any
    ) -> None:
        try:
            given = await world.judge(rollout.document, rollout.task)
        finally:
            self._slots.release()
        kept.add(episode, document, given)
        self._both.append((judgments_of(rollout.report), given))
        self.judged += 1
        done()

    def agreements(self) -> Iterator[TermAgreement]:
        """Agreement by term, in the order of the new judge's terms."""
        for term in dict.fromkeys(term for _, given in self._both for term in given):
            sides = [(before.get(term), after.get(term)) for before, after in self._both]
            scores = [(a.score, b.score) for a, b in sides if isinstance(a, Scored) and isinstance(b, Scored)]
            unasked = [sum(side is None for side in one) for one in zip(*sides, strict=True)]
            failed = [
                sum(not isinstance(side, Scored) for side in one) - left
                for one, left in zip(zip(*sides, strict=True), unasked, strict=True)
            ]
            yield TermAgreement(
                term,
                agreement([a for a, _ in scores], [b for _, b in scores]),
                (failed[0], failed[1]),
                (unasked[0], unasked[1]),
            )


async def _episodes(files: Sequence[Path]) -> AsyncIterator[tuple[str, str, Rollout]]:
    """Episodes with their ids and names of their documents, decoded beside the loop, which judges meanwhile."""
    for file in files:
        rows = enumerate(zip(document_names(file), read_episodes(file), strict=True))
        while (found := await asyncio.to_thread(next, rows, None)) is not None:
            row, (document, (_, rollout)) = found
            yield f"{file.stem}:{row}", document, rollout


def _count(files: Sequence[Path]) -> int:
    parquet = require("pyarrow.parquet", "reading episodes", "train")
    return sum(parquet.read_metadata(file).num_rows for file in files)


def agreement_rows(terms: Sequence[TermAgreement]) -> list[tuple[str, ...]]:
    """The rows of a table of agreement, the heading first."""
    rows: list[tuple[str, ...]] = [
        ("term", "both scored", "new - old", "weighted kappa", "rank correlation", "unscored old / new")
    ]
    for one in terms:
        found = one.agreement
        figures = [_figure(value) for value in (found.mean_difference, found.weighted_kappa, found.spearman)]
        never = "".join(
            f", {count} never judged by the {side}"
            for count, side in zip(one.unasked, ("old", "new"), strict=True)
            if count
        )
        rows.append((one.term, str(found.pairs), *figures, f"{one.unscored[0]} / {one.unscored[1]}{never}"))
    return rows


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def to_json(result: Rescored) -> Mapping[str, Any]:
    """The agreement as plain data."""
    return {one.term: {**vars(one), "agreement": vars(one.agreement)} for one in result.terms}

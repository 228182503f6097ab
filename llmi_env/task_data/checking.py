"""A task file looked through: what cannot be read, what contradicts itself, what is there twice, what has leaked, what is lopsided.

An error is what no training should see: a row that cannot be read, a wish that cannot be met, a question that is evaluated elsewhere. A warning
is what a person should look at, and may be meant so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from llmi_env.calls import BUILTIN, Call
from llmi_env.errors import BadCall, TaskError
from llmi_env.task import Task
from llmi_env.task_data.balance import Balance
from llmi_env.task_data.held_out import EVALUATED, RUN, HeldOut, protected
from llmi_env.task_data.meaning import SAME_MEANING, Vectors, earlier, ensure_meanings, vectors
from llmi_env.task_data.rows import Row, name_of, read_rows
from llmi_env.task_data.wish import contradiction
from llmi_env.task_data.wording import slips
from llmi_env.task_data.words import Neighbours, words

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Checked", "Finding", "check"]

_GRAVE_LEAKS = frozenset({"words"})


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: `error` or `warning`.
        rule: what kind of thing it is.
        row: of the file, counted from 1; `None` where it is about the whole.
        field: of the row, or "".
        message: what it is.
    """

    level: Literal["error", "warning"]
    rule: str
    row: int | None
    field: str
    message: str


@dataclass(frozen=True)
class Checked:
    """What came of looking through a file.

    Attributes:
        name: of the tasks.
        rows: rows of the file.
        findings: everything found, in the order of the rules and, within, of the rows.
        balance: what the tasks ask for.
        compared: how many protected questions they were held against.
        embedded: whether meanings were compared.
    """

    name: str
    rows: int
    findings: tuple[Finding, ...]
    balance: Balance
    compared: int
    embedded: bool

    def count(self, level: str) -> int:
        """How many findings are of that level."""
        return sum(finding.level == level for finding in self.findings)

    def by_rule(self) -> Counter[tuple[str, str]]:
        """How many findings there are by level and rule, in the order of the rules."""
        return Counter((finding.level, finding.rule) for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        counted = {name: dict(value) for name, value in vars(self.balance).items() if isinstance(value, Counter)}
        return {
            "name": self.name,
            "rows": self.rows,
            "tasks": self.balance.tasks,
            "compared": self.compared,
            "embedded": self.embedded,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "balance": counted,
            "findings": [asdict(finding) for finding in self.findings],
        }


def check(
    source: str, against: Sequence[str] = (), *, embed: bool = True, run: int = RUN, console: Console | None = None
) -> Checked:
    """Look through a task file.

    Args:
        source: a bundled split, a `.jsonl` or `.parquet` file in our layout or LLM-I's, or a Hugging Face data set.
        against: what else it is held against, besides our own splits for evaluation (see `held_out.protected`).
        embed: whether meanings are compared, too: needs the extra `offline`.
        run: words that a run must have to count as common.
        console: for progress; only a terminal shows it.

    Raises:
        TaskError: the file cannot be read at all.
        ConfigError: something it is to be held against cannot be read, or meanings cannot be compared here.
    """
    if embed:
        ensure_meanings()
    rows = list(read_rows(source))
    guarded = protected([*EVALUATED, *against], leave_out=source)
    with _Progress(console) as progress:
        decoded, broken = _decoded(rows, progress)
        read = [row for row in rows if row.task is not None]
        seen = progress.bar("comparing meanings", embed * (len(read) + len(guarded)))
        questions = [_question(row) for row in read]
        given = vectors(questions, seen) if embed else None
        held_out = HeldOut(guarded, embed=embed, size=run, done=seen)
    findings = [
        *_unreadable(rows),
        *broken,
        *_same_ids(read),
        *_contradictions(read),
        *_references(read),
        *_slips(read),
        *_repeated(read, decoded),
        *_nearly_repeated(read, questions, given),
        *_leaks(read, held_out, given, decoded),
    ]
    balance = Balance.of(read)
    findings += [Finding("warning", "balance", None, "", said) for said in balance.lopsided()]
    if not rows:
        findings.append(Finding("error", "schema", None, "", "there are no tasks in it"))
    return Checked(name_of(source), len(rows), tuple(findings), balance, len(guarded), embed)


# ---------------------------------------------------------------------------------------------------------------------- rules


def _unreadable(rows: Sequence[Row]) -> Iterator[Finding]:
    for row in rows:
        if row.error:
            yield Finding("error", "schema", row.number, row.at_fault, row.error)


def _same_ids(rows: Sequence[Row]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for row in rows:
        id = _task(row).id or ""
        if id in first:
            yield Finding(
                "error", "id", row.number, "id", f"{id!r} is also the id of row {first[id]}; ids must be unique"
            )
        first.setdefault(id, row.number)


def _contradictions(rows: Sequence[Row]) -> Iterator[Finding]:
    for row in rows:
        task = _task(row)
        if said := contradiction(task, len(row.pictures)):
            yield Finding("error", "contradiction", row.number, "image_count", said)
        if others := sorted(set(task.tools) - set(BUILTIN)):
            told = f"{', '.join(others)} is none of the four tools that documents name: {', '.join(BUILTIN)}"
            yield Finding("warning", "tools", row.number, "tools", told)


def _references(rows: Sequence[Row]) -> Iterator[Finding]:
    """Calls that fulfil a task, as evaluation sees them, must be calls, and those of the tools that are needed."""
    for row in rows:
        reference, task = row.extras.get("reference"), _task(row)
        if reference is None:
            continue
        said, used = "", set()
        for index, call in enumerate(reference if isinstance(reference, list) else [None]):
            if not isinstance(call, Mapping) or not {"tool", "description", "params"} <= call.keys():
                said = said or f"call {index + 1} is no object with tool, description and params"
                continue
            used.add(call["tool"])
            try:
                Call(call["tool"], call["description"], call["params"]).check(len(row.pictures), len(reference))
            except (BadCall, TypeError, AttributeError) as error:
                said = said or f"call {index + 1}: {error}"
        if not said and used != set(task.tools):
            said = f"it uses {', '.join(sorted(map(str, used))) or 'no tool'}, the task needs {', '.join(task.tools) or 'none'}"
        if said:
            yield Finding("error", "reference", row.number, "reference", said)


def _slips(rows: Sequence[Row]) -> Iterator[Finding]:
    for row in rows:
        for slip in slips(_question(row)):
            yield Finding("error" if slip.grave else "warning", slip.rule, row.number, "question", slip.message)


def _repeated(rows: Sequence[Row], decoded: Mapping[str, str]) -> Iterator[Finding]:
    first: dict[tuple[Any, ...], int] = {}
    for row in rows:
        key = (*(words(_question(row)) or [_question(row)]), *_digests(row, decoded))
        if key in first:
            yield Finding(
                "error", "duplicate", row.number, "question", f"it is the question of row {first[key]} once more"
            )
        first.setdefault(key, row.number)


def _nearly_repeated(rows: Sequence[Row], questions: Sequence[str], given: Vectors | None) -> Iterator[Finding]:
    alike = Neighbours.of(questions)
    told: set[int] = set()
    for place, (row, question) in enumerate(zip(rows, questions, strict=True)):
        if (found := alike.nearest(question)) is not None and found[1] < 1:
            told.add(place)
            text = f"{found[1]:.0%} the words of row {rows[found[0]].number}: {questions[found[0]]!r:.100}"
            yield Finding("warning", "near-duplicate", row.number, "question", text)
        alike.add(question)
    for place, other, cosine in earlier(given, SAME_MEANING) if given is not None else ():
        if place not in told and words(questions[place]) != words(questions[other]):
            text = f"cosine {cosine:.2f} to row {rows[other].number}: {questions[other]!r:.100}"
            yield Finding("warning", "near-duplicate", rows[place].number, "question", text)


def _leaks(
    rows: Sequence[Row], held_out: HeldOut, given: Vectors | None, decoded: Mapping[str, str]
) -> Iterator[Finding]:
    for place, row in enumerate(rows):
        vector = None if given is None else given[place]
        for near in held_out.near(_question(row), vector, _digests(row, decoded)):
            level: Literal["error", "warning"] = "error" if near.kind in _GRAVE_LEAKS else "warning"
            field = "images" if near.kind == "picture" else "question"
            yield Finding(level, f"leak ({near.kind})", row.number, field, f"{near.where}: {near.message}")


# ------------------------------------------------------------------------------------------------------------------- pictures


def _decoded(rows: Sequence[Row], progress: _Progress) -> tuple[dict[str, str], list[Finding]]:
    """Digests of pixels by the name of the picture, and what cannot be decoded."""
    digests: dict[str, str] = {}
    broken = []
    seen = progress.bar("looking at pictures", sum(len(row.pictures) for row in rows))
    for row in rows:
        for index, ref in enumerate(row.pictures):
            try:
                if ref.name not in digests:
                    digests[ref.name] = ref.load().digest
            except TaskError as error:
                broken.append(Finding("error", "picture", row.number, f"images[{index}]", str(error)))
            seen()
    return digests, broken


def _digests(row: Row, decoded: Mapping[str, str]) -> list[str]:
    return [decoded.get(ref.name, ref.name) for ref in row.pictures]


def _task(row: Row) -> Task:
    assert row.task is not None, "only rows that can be read come here"
    return row.task


def _question(row: Row) -> str:
    return _task(row).question


class _Progress:
    """One bar at a time, for a terminal alone."""

    def __init__(self, console: Console | None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        shown = console is not None and console.is_terminal
        self._bars = Progress(*columns, console=console, transient=True, disable=not shown)

    def bar(self, title: str, total: int) -> Callable[[], None]:
        task = self._bars.add_task(title, total=total, visible=total > 0)
        return lambda: self._bars.advance(task)

    def __enter__(self) -> _Progress:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

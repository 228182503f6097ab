"""What training must not have seen: our own splits for evaluation, benchmarks, whatever else is named; and what is too near to it.

Two measures, either of which is enough: runs of eight words that both have and that cover half of the protected question (as usual where
training data are cleaned of benchmarks), and nearness in meaning, which finds a question in other words. Pictures count where they are the
same in every pixel.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from llmi_env.errors import ConfigError, TaskError, did_you_mean
from llmi_env.task_data.meaning import TOO_CLOSE, Meanings, Vectors, vectors
from llmi_env.task_data.rows import name_of, read_rows
from llmi_env.task_data.words import SharedRuns, words
from llmi_env.task_files import records
from llmi_env.task_sets import SPLITS

__all__ = ["EVALUATED", "SHARE", "HeldOut", "Near", "Protected", "protected"]

EVALUATED = ("validation", "heldout")
"""Our own splits that nothing may be trained on."""
RUN = 8
"""Words that a run must have to count."""
SHARE = 0.5
"""Share of a protected question's words in such runs from which on it has leaked."""

_TABLES = (".json", ".jsonl", ".parquet", ".csv")


@dataclass(frozen=True)
class Protected:
    """One thing that training must not have seen.

    Attributes:
        where: set and place, for people.
        question: its text.
        pictures: digests of its input pictures' pixels.
    """

    where: str
    question: str
    pictures: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Near:
    """A protected question that another one is too near to.

    Attributes:
        kind: what they share.
        where: the protected one.
        message: what they share, in words.
    """

    kind: Literal["words", "meaning", "picture"]
    where: str
    message: str


def protected(sources: Sequence[str], leave_out: str = "") -> list[Protected]:
    """Read what is protected.

    Args:
        sources: each one of
            - a bundled split, a `.jsonl` or `.parquet` file of tasks, or a Hugging Face data set;
            - `BENCHMARK:PATH`, e.g. `llmi-bench:benchmark/`, read as `llmi evaluate` reads it;
            - `PATH:FIELD`, a `.json`, `.jsonl`, `.parquet` or `.csv` file and where in each row the text stands, e.g. `bench.json:prompt` or
              `rows.jsonl:conversations.0.value`;
            - a `.txt` file with one question a line.
        leave_out: a source that is not read: the one that is looked at itself.

    Raises:
        ConfigError: something else, or a field that a row has not.
        TaskError: a file of tasks that is missing or broken.
        BenchmarkError: files that are not what the benchmark publishes.
    """
    return [one for source in dict.fromkeys(sources) if not _same(source, leave_out) for one in _read(source)]


class HeldOut:
    """Finds protected questions that another one is too near to.

    Args:
        given: what is protected.
        embed: whether to compare meanings, too.
        size: words that a run must have to count.
        done: is told of each protected question that is embedded.
    """

    def __init__(
        self, given: Sequence[Protected], *, embed: bool, size: int = RUN, done: Callable[[], None] = lambda: None
    ) -> None:
        self.given = given
        self._runs = SharedRuns((one.question for one in given), size)
        self._size = size
        self._whole = {tuple(words(one.question)): index for index, one in reversed(list(enumerate(given)))}
        self._meanings = Meanings(vectors([one.question for one in given], done)) if embed else None
        self._pictures = {digest: one for one in reversed(given) for digest in one.pictures}

    @cached_property
    def digest(self) -> str:
        """Changes with what is protected and how."""
        body = [[one.question, sorted(one.pictures)] for one in self.given]
        told = json.dumps([body, self._size, SHARE, TOO_CLOSE if self._meanings is not None else None])
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def has_picture(self, digest: str) -> bool:
        """Whether a protected question has the picture with these pixels."""
        return digest in self._pictures

    def near(self, question: str, vector: Vectors | None = None, pictures: Sequence[str] = ()) -> Iterator[Near]:
        """What the question is too near to.

        Args:
            question: the text.
            vector: its embedding, where meanings are compared.
            pictures: digests of the pixels of its input pictures.
        """
        found = self._runs.most(question)
        said = tuple(words(question))
        if said and (same := self._whole.get(said)) is not None:
            yield Near("words", self.given[same].where, "it is the same question")
        elif found is not None and found.share >= SHARE:
            share = f"{found.share:.0%} of its words stand in common runs, the longest {found.run!r:.120}"
            yield Near("words", self.given[found.index].where, share)
        if self._meanings is not None and vector is not None:
            nearest = self._meanings.nearest(vector)
            if nearest is not None and nearest[1] >= TOO_CLOSE:
                one = self.given[nearest[0]]
                yield Near("meaning", one.where, f"cosine {nearest[1]:.2f} to {one.question!r:.120}")
        for digest in pictures:
            if digest in self._pictures:
                yield Near("picture", self._pictures[digest].where, "its input picture is the same")


def _same(source: str, other: str) -> bool:
    if source == other:
        return True
    first, second = Path(source), Path(other)
    return bool(other) and first.exists() and second.exists() and first.resolve() == second.resolve()


def _read(source: str) -> Iterator[Protected]:
    name, colon, rest = source.partition(":")
    path, _, field = source.rpartition(":")
    if source not in SPLITS and colon and name in _benchmarks():
        yield from _benchmark(name, rest)
    elif path and Path(path).suffix in _TABLES and field:
        yield from _column(Path(path).expanduser(), field)
    elif source.endswith(".txt"):
        for number, line in enumerate(_text(Path(source).expanduser()).splitlines(), start=1):
            if line.strip():
                yield Protected(f"{Path(source).name}, line {number}", line)
    elif source.endswith((".json", ".csv")):
        raise ConfigError(f"{source!r}: say where in each row the text stands, e.g. {source}:prompt; or {_known()}")
    else:
        yield from _tasks(source)


def _known() -> str:
    return f"BENCHMARK:PATH with one of {', '.join(_benchmarks())}"


def _benchmarks() -> tuple[str, ...]:
    from llmi_env.evaluate.benchmarks.registry import BENCHMARKS

    return BENCHMARKS.names


def _benchmark(name: str, data: str) -> Iterator[Protected]:
    from llmi_env.evaluate.benchmarks.registry import find_benchmark

    for item in find_benchmark(name).load(data or None):
        digests = frozenset(picture.digest for picture in item.task.images)
        yield Protected(f"{name}: {item.id}", item.task.question, digests)


def _tasks(source: str) -> Iterator[Protected]:
    name = name_of(source)
    for row in read_rows(source):
        if row.task is None:
            hint = (
                ""
                if source in SPLITS
                else f"; for a file that holds no tasks, say where the text stands: {source}:FIELD"
            )
            raise TaskError(f"{row.error}{hint}")
        digests = frozenset(ref.load().digest for ref in row.pictures)
        yield Protected(f"{name}: {row.task.id}", row.task.question, digests)


def _column(path: Path, field: str) -> Iterator[Protected]:
    for number, row in _rows(path):
        where = f"{path.name}, row {number}"
        values = list(_at(row, field.split("."), where, field))
        if not any(value.strip() for value in values):
            raise ConfigError(f"{where}, field {field!r}: there is no text")
        yield Protected(where, "\n".join(values))


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    if not path.is_file():
        raise ConfigError(f"there is no file {str(path)!r}")
    if path.suffix == ".csv":
        yield from enumerate(csv.DictReader(io.StringIO(_text(path), newline="")), start=1)
    elif path.suffix == ".json":
        try:
            data = json.loads(_text(path))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: not JSON: {error}") from error
        if not isinstance(data, list):
            raise ConfigError(f"{path}: a list of rows is expected, not {type(data).__name__}")
        yield from enumerate(data, start=1)
    else:
        for number, row, wrong in records(path):
            if wrong:
                raise ConfigError(wrong)
            yield number, row


def _at(value: Any, path: Sequence[str], where: str, field: str) -> Iterator[str]:
    """The texts that stand at a path; without a number, a list stands for all of its members."""
    if not path and isinstance(value, str):
        yield value
    elif isinstance(value, list) and not (path and path[0].isdigit()):
        for member in value:
            yield from _at(member, path, where, field)
    elif path and isinstance(value, list) and int(path[0]) < len(value):
        yield from _at(value[int(path[0])], path[1:], where, field)
    elif path and isinstance(value, Mapping) and path[0] in value:
        yield from _at(value[path[0]], path[1:], where, field)
    else:
        known = did_you_mean(path[0], map(str, value)) if path and isinstance(value, Mapping) else ""
        raise ConfigError(f"{where}, field {field!r}: text is expected, not {value!r:.60}{known}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from error

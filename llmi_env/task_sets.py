"""Where tasks come from: the bundled splits, task files, LLM-I's parquet files and Hugging Face data sets.

`load_tasks` reads and checks every row at once, so that a bad row is found before anything runs: the error names file,
row (counted from 1) and field. Pictures are the exception: they are decoded when a task is taken from the set, so that
a set with thousands of pictures opens at once.

Two layouts of a row are read, told apart by their keys. Ours has `question`, `image_count`, `tools`, `images` and `id`,
and may carry `subject`, `template`, `size` and `reference`, which the policy never sees. LLM-I's has `prompt` (chat
messages) and `extra_info`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from llmi_env.errors import TaskError, did_you_mean, require
from llmi_env.task import LONE_SURROGATE, ImageCount, Task
from llmi_env.task_files import bundled_file, records
from llmi_env.task_pictures import PictureRef, picture_refs
from llmi_env.tools import TOOLS

_log = logging.getLogger(__name__)

SPLITS = ("train", "practice", "validation", "heldout")
"""The bundled splits. `train` and `practice` share neither subjects nor wordings with `validation` and `heldout`. `train` is written by hand
and has demonstrations; `practice` is put together by `scripts/build_practice.py` and is sixty times as large."""

EXTRAS = ("subject", "template", "size", "reference")
"""Fields of our rows that only the evaluation sees."""

_FIELDS = ("id", "question", "image_count", "tools", "images", "source", *EXTRAS)
IMAGE_NUM: Mapping[int, ImageCount] = {-1: "none", 0: "any", 99: "at_least_one"}
"""What numbers of LLM-I's `image_num` stand for, besides themselves."""


@dataclass(frozen=True)
class TaskRow:
    """A checked row: the task without its pictures, the references to those, and what only the evaluation sees."""

    task: Task
    pictures: tuple[PictureRef, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Task:
        """The task with its pictures; raises `TaskError` where one cannot be decoded."""
        task = self.task
        if not self.pictures:
            return task
        images = tuple(ref.load() for ref in self.pictures)
        return Task(task.question, images, task.image_count, task.tools, task.id, task.source)


@dataclass(frozen=True)
class TaskSet(Sequence[Task]):
    """An immutable sequence of tasks with unique ids.

    Taking a task decodes its pictures, and may therefore raise `TaskError`. Slices are task sets again.

    Attributes:
        name: where the tasks come from: a split, a file or a data set.
        rows: the tasks with their pictures not decoded.
    """

    name: str
    rows: tuple[TaskRow, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Task: ...

    @overload
    def __getitem__(self, index: slice) -> TaskSet: ...

    def __getitem__(self, index: int | slice) -> Task | TaskSet:
        if isinstance(index, slice):
            return TaskSet(self.name, self.rows[index])
        return self.rows[index].build()

    def __iter__(self) -> Iterator[Task]:
        return (row.build() for row in self.rows)

    def __deepcopy__(self, memo: Any) -> TaskSet:
        return self  # immutable, and may be large

    def __repr__(self) -> str:
        return f"TaskSet({self.name!r}, {len(self)} tasks, {self.digest[:8]})"

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of the tasks, in order."""
        return tuple(row.task.id or "" for row in self.rows)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.ids)}

    def by_id(self, id: str) -> Task:
        """The task of that id; raises `TaskError` where there is none."""
        return self.rows[self._position(id)].build()

    def extras(self, id: str) -> Mapping[str, Any]:
        """What that row carries for evaluation only: `subject`, `template`, `size`, `reference`, where given."""
        return self.rows[self._position(id)].extras

    def _position(self, id: str) -> int:
        if id not in self._index:
            # A long list of ids would bury the message, hence only the nearest.
            import difflib

            near = difflib.get_close_matches(str(id), self.ids, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise TaskError(f"task set {self.name!r} of {len(self)} tasks has no task {id!r}{hint}")
        return self._index[id]

    def for_tools(self, tools: Iterable[str]) -> TaskSet:
        """The tasks that can be fulfilled with these tools.

        A bundled split leaves the others out. In a user's own set they stay, with a warning: it is not ours to change.

        Raises:
            TaskError: none is left.
        """
        have = set(tools)
        kept = tuple(row for row in self.rows if have.issuperset(row.task.tools))
        if len(kept) == len(self.rows):
            return self
        missing = sorted({tool for row in self.rows for tool in row.task.tools} - have)
        if self.name not in SPLITS:
            count = len(self.rows) - len(kept)
            _log.warning("%d of %d tasks of %s need %s, not at hand", count, len(self), self.name, ", ".join(missing))
            return self
        if not kept:
            raise TaskError(f"no task of {self.name!r} can be fulfilled without {', '.join(missing)}")
        return TaskSet(self.name, kept)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the tasks ask, in order; pictures count by content where embedded, else by their name."""
        hasher = hashlib.sha256()
        for row in self.rows:
            task = row.task
            pictures = [ref.name for ref in row.pictures] + [picture.digest for picture in task.images]
            body = [task.id, task.question, task.image_count, list(task.tools), pictures]
            hasher.update(json.dumps(body, ensure_ascii=True).encode() + b"\n")
        return hasher.hexdigest()


def load_tasks(source: str | Path | Sequence[Task]) -> TaskSet:
    """Read a set of tasks.

    Args:
        source: one of
            - a bundled split: `"train"`, `"validation"` or `"heldout"`;
            - the path of a `.jsonl` or `.parquet` file, in our layout or LLM-I's;
            - a Hugging Face data set: a folder, or a name as `"owner/name"` or `"owner/name:split"` (split `train`);
            - tasks themselves.

    Raises:
        TaskError: unknown split, missing file, or a bad row (its file, row and field are named).
        MissingExtra: parquet without pyarrow, or a data set without `datasets`.
    """
    if isinstance(source, TaskSet):
        return source
    if isinstance(source, str | Path):
        return _load_named(source)
    if not isinstance(source, Sequence):
        raise TaskError(f"tasks must be a split, a path or a sequence of Task, not {type(source).__name__}")
    rows = []
    for number, task in enumerate(source, start=1):
        if not isinstance(task, Task):
            raise TaskError(f"tasks given in memory, row {number}: expected a Task, got {type(task).__name__}")
        named = (
            task
            if task.id
            else Task(task.question, task.images, task.image_count, task.tools, f"task-{number}", task.source)
        )
        rows.append(TaskRow(named))
    return _finish("given", "tasks given in memory", rows)


def _load_named(source: str | Path) -> TaskSet:
    text = str(source)
    if not text.strip():
        raise TaskError(f"the name of a task set is empty; {_ACCEPTED}")
    if isinstance(source, str) and source in SPLITS:
        return _read_file(bundled_file(source))
    path = Path(text).expanduser()
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".parquet"):
        if not path.is_file():
            raise TaskError(f"there is no task file {text!r}")
        return _read_file(path)
    if path.is_file():
        raise TaskError(f"{text!r}: task files end in .jsonl or .parquet, not {suffix or 'nothing'!r}")
    if path.is_dir() and not _is_data_set(path):
        raise TaskError(f"the folder {text!r} holds no Hugging Face data set; {_ACCEPTED}")
    if path.is_dir() or (isinstance(source, str) and _is_hub_name(source)):
        return _read_dataset(text, path if path.is_dir() else None)
    raise TaskError(f"unknown task set {text!r}{did_you_mean(text, SPLITS)}; {_ACCEPTED}")


_ACCEPTED = (
    "a task set is train, validation, heldout, the path of a .jsonl or .parquet file, "
    "or a Hugging Face data set (a folder, or 'owner/name')"
)
_SAVED = ("dataset_info.json", "dataset_dict.json")


def _is_data_set(folder: Path) -> bool:
    """Whether a folder is a saved data set or a clone of one; anything else would be read file by file, whatever it holds."""
    marks = (*_SAVED, "README.md", "data")
    return any((folder / mark).exists() for mark in marks) and (
        any((folder / mark).is_file() for mark in _SAVED)
        or any(folder.rglob("*.parquet"))
        or any(folder.rglob("*.jsonl"))
    )


def _is_hub_name(text: str) -> bool:
    owner, slash, rest = text.partition("/")
    return bool(slash and owner and rest) and not text.startswith((".", "/", "~")) and "/" not in rest


# --- files --------------------------------------------------------------------------------------------------


def _read_file(path: Path) -> TaskSet:
    rows = []
    for number, data, error in records(path):
        if error:
            raise TaskError(error)
        rows.append(read_row(data, f"{path.name}, row {number}", f"{path.stem}-{number}", path.stem, path.parent))
    return _finish(path.stem, path.name, rows)


def _read_dataset(text: str, folder: Path | None) -> TaskSet:
    datasets = require("datasets", "reading a Hugging Face data set", "hub")
    name, _, split = (text, "", "") if folder else text.partition(":")
    split = split or "train"
    saved = folder is not None and any((folder / mark).is_file() for mark in _SAVED)
    try:
        data = datasets.load_from_disk(text) if saved else datasets.load_dataset(name, split=split)
    except Exception as error:  # the library lets errors of file systems, hubs and parsers through, with no common root
        raise TaskError(f"data set {text!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if isinstance(data, Mapping):
        if split not in data:
            raise TaskError(f"data set {text!r} has no split {split!r}{did_you_mean(split, data)}")
        data = data[split]
    rows = []
    base = folder or Path()
    for number, row in enumerate(data, start=1):
        rows.append(read_row(row, f"{text}, row {number}", f"{Path(name).name}-{number}", name, base))
    return _finish(text, text, rows)


def _finish(name: str, file: str, rows: Sequence[TaskRow]) -> TaskSet:
    if not rows:
        raise TaskError(f"{file}: there are no tasks in it")
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        id = row.task.id or ""
        if id in seen:
            raise TaskError(
                f"{file}, row {number}, field 'id': {id!r} is also the id of task {seen[id]}; ids must be unique"
            )
        seen[id] = number
    return TaskSet(name, tuple(rows))


# --- rows ---------------------------------------------------------------------------------------------------


def read_row(data: Any, where: str, default_id: str, source: str, folder: Path) -> TaskRow:
    """Check a row of either layout.

    Args:
        data: the row, as plain data.
        where: names it in errors.
        default_id: its id where it has none.
        source: where it comes from, where it does not say.
        folder: that paths of pictures start from.

    Raises:
        TaskError: names the field and what was expected.
    """
    if not isinstance(data, Mapping):
        raise TaskError(f"{where}: expected an object with the fields of a task, got {type(data).__name__}")
    if "extra_info" in data or "prompt" in data:
        return _read_llmi_row(data, where, default_id, source, folder)
    for key in data:
        if key not in _FIELDS:
            raise TaskError(f"{where}, field {key!r}: unknown field{did_you_mean(str(key), _FIELDS)}")
    count = data.get("image_count", "any")
    if isinstance(count, bool) or not (
        count in ("any", "none", "at_least_one") or (isinstance(count, int) and count >= 0)
    ):
        raise TaskError(
            f"{where}, field 'image_count': must be 'any', 'none', 'at_least_one' or a number >= 0, not {count!r}"
        )
    task = Task(
        question=_question(data.get("question"), f"{where}, field 'question'"),
        image_count=count,
        tools=_tools(data.get("tools"), f"{where}, field 'tools'"),
        id=_name(data.get("id"), default_id, f"{where}, field 'id'"),
        source=_name(data.get("source"), source, f"{where}, field 'source'"),
    )
    pictures = picture_refs(data.get("images"), where, folder)
    return TaskRow(task, pictures, {key: data[key] for key in EXTRAS if data.get(key) is not None})


def _read_llmi_row(data: Mapping[str, Any], where: str, default_id: str, source: str, folder: Path) -> TaskRow:
    info = data.get("extra_info")
    if info is None:
        info = {}
    if not isinstance(info, Mapping):
        raise TaskError(f"{where}, field 'extra_info': must be an object, not {type(info).__name__}")
    question = info.get("question")
    field_name = "extra_info.question"
    if question is None or (isinstance(question, str) and not question.strip()):
        question, field_name = _last_user_message(data.get("prompt"), where), "prompt"
    number = info.get("image_num", 0)
    if isinstance(number, bool) or not isinstance(number, int) or number < -1:
        raise TaskError(
            f"{where}, field 'extra_info.image_num': must be -1 (none), 0 (any), 99 (at least one) or a count, "
            f"not {number!r}"
        )
    task = Task(
        question=_question(question, f"{where}, field '{field_name}'"),
        image_count=IMAGE_NUM.get(number, number),
        tools=_tools(info.get("tools"), f"{where}, field 'extra_info.tools'"),
        id=_name(data.get("id"), default_id, f"{where}, field 'id'"),
        source=_name(data.get("data_source"), source, f"{where}, field 'data_source'"),
    )
    return TaskRow(task, picture_refs(data.get("images"), where, folder))


def _last_user_message(prompt: Any, where: str) -> Any:
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, Sequence):
        raise TaskError(f"{where}, field 'prompt': must be a list of chat messages, not {type(prompt).__name__}")
    for message in reversed(prompt):
        if not isinstance(message, Mapping):
            raise TaskError(f"{where}, field 'prompt': a message must be an object, not {type(message).__name__}")
        if message.get("role") == "user":
            # Vision-language rows mark where their pictures go; the prompt builder puts them in place again.
            content = message.get("content")
            return content.replace("<image>", "") if isinstance(content, str) else content
    raise TaskError(f"{where}, field 'prompt': there is no message with the role 'user'")


def _question(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        said = "is missing" if value is None else f"must be text that is not blank, not {value!r:.60}"
        raise TaskError(f"{where}: {said}")
    if (half := LONE_SURROGATE.search(value)) is not None:
        raise TaskError(f"{where}: must be text without lone surrogates, not {half.group()!r}")
    return value.strip()


def _name(value: Any, default: str, where: str) -> str:
    if value is None:
        return default
    if not isinstance(value, str) or not value.strip():
        raise TaskError(f"{where}: must be text that is not blank, not {value!r:.60}")
    return value


def _tools(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    names = [value] if isinstance(value, str) and value else value or ()
    if not isinstance(names, Sequence):
        raise TaskError(f"{where}: must be a list of tool names, not {value!r:.60}")
    known = TOOLS.names
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise TaskError(f"{where}: unknown tool {name!r:.60}{did_you_mean(str(name), known)}")
    return tuple(dict.fromkeys(names))

"""Task files from and to the layout of LLM-I.

LLM-I's rows have `prompt`, `data_source`, `extra_info` (`split`, `image_num`, `tools`, `question`) and, with input pictures, `images`. How we
write them follows from its released loader (ByteDance-BandAI/LLM-I, `verl/utils/dataset/rl_dataset.py`, with the recipes'
`replace_system_prompt=true`): tasks without pictures have a text as `prompt` and the source `interleaved`; tasks with pictures have messages,
one `<image>` for each picture, and the source `interleaved_mm`; the two kinds lie in files of their own, as its `train.parquet` and
`train_mm.parquet`. Two more fields do it no harm: the column `id`, and `llmi` in `extra_info`, for what that layout has no place for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from llmi_env.errors import ConfigError, TaskError, require
from llmi_env.folders import whole
from llmi_env.task import ImageCount
from llmi_env.task_data.kept import write_lines
from llmi_env.task_data.pictures import file_name, write_once
from llmi_env.task_data.rows import Row, read_rows
from llmi_env.task_pictures import CORPUS_PREFIX, MAX_PICTURE_BYTES, PictureRef, picture_refs
from llmi_env.task_sets import EXTRAS, IMAGE_NUM
from llmi_env.tools.corpus import bundled

__all__ = ["Converted", "convert"]

_MARKER = "<image>"
_NUMBERS: Mapping[ImageCount, int] = {**{count: number for number, count in IMAGE_NUM.items()}, 0: -1}
_SOURCES = ("interleaved", "interleaved_mm")
_INFO = ("split", "image_num", "tools", "question", "llmi")
_COLUMNS = ("prompt", "data_source", "extra_info", "images", "id")
_ROWS = 64
_ENDING = re.compile(r"\.[a-z0-9]{1,5}")
_ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}


@dataclass(frozen=True)
class Converted:
    """What came of converting.

    Attributes:
        paths: the files that were written.
        tasks: how many there are.
        lost: what the new layout has no place for, in words.
    """

    paths: tuple[Path, ...]
    tasks: int
    lost: tuple[str, ...]


def convert(sources: Sequence[str], out: Path, *, split: str = "train", force: bool = False) -> Converted:
    """Convert task files.

    Args:
        sources: what to read, in this order: bundled splits, `.jsonl` or `.parquet` files in either layout, Hugging Face data sets.
        out: a `.jsonl` file, ours, with pictures beside it; or a `.parquet` file, LLM-I's.
        split: what LLM-I's rows say of themselves: `train` or `test`.
        force: write over files that are there.

    Raises:
        TaskError: a row that cannot be read, ids that are not unique, or a wish for pictures that LLM-I's layout cannot say.
        ConfigError: an ending that is neither, or a file that is there.
        MissingExtra: parquet without pyarrow.
    """
    if out.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"{out}: the ending says the layout: .jsonl is ours, .parquet is LLM-I's")
    rows = list(_read(sources))
    lost: Counter[str] = Counter()
    if out.suffix == ".jsonl":
        _refuse_to_overwrite([out], force)
        write_lines(out, _to_ours(rows, out, lost))
        return Converted((out,), len(rows), _told(lost, len(rows)))
    kinds = {kind: [row for row in rows if bool(row.pictures) == kind] for kind in (False, True)}
    mixed = all(kinds.values())
    paths = {kind: out.with_name(f"{out.stem}_mm.parquet") if kind and mixed else out for kind in kinds if kinds[kind]}
    _refuse_to_overwrite(list(paths.values()), force)
    for kind, path in paths.items():
        _write_table(path, (_to_theirs(row, split, lost) for row in kinds[kind]), pictures=kind)
    return Converted(tuple(paths.values()), len(rows), _told(lost, len(rows)))


def _read(sources: Sequence[str]) -> Iterator[Row]:
    seen: dict[str, str] = {}
    for source, row in ((file, row) for file in sources for row in read_rows(file)):
        if row.task is None:
            raise TaskError(f"{row.error}. 'llmi data check' tells of all rows that cannot be read")
        id, where = row.task.id or "", f"{source}, row {row.number}"
        if id in seen:
            raise TaskError(f"{where}, field 'id': {id!r} is also the id of {seen[id]}; ids must be unique")
        seen[id] = where
        yield row
    if not seen:
        raise TaskError(f"{', '.join(sources)}: there are no tasks")


def _refuse_to_overwrite(paths: Sequence[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise ConfigError(f"{path} is there already: --force writes over it")


def _told(lost: Counter[str], rows: int) -> tuple[str, ...]:
    return tuple(
        f"{what} ({'all' if times == rows else f'{times:,} of {rows:,}'} rows)" for what, times in lost.items()
    )


# --------------------------------------------------------------------------------------------------------------------- to ours


def _to_ours(rows: Sequence[Row], out: Path, lost: Counter[str]) -> Iterator[dict[str, Any]]:
    taken: dict[str, str] = {}
    for row in rows:
        assert row.task is not None
        task, data = row.task, row.data if isinstance(row.data, Mapping) else {}
        theirs = "extra_info" in data or "prompt" in data
        more = _more(row, theirs)
        if theirs:
            lost.update(_losses(data, task.question))
        images = [_image(ref, _said(data, index), out, taken) for index, ref in enumerate(row.pictures)]
        yield {
            "id": task.id,
            "question": task.question,
            "image_count": task.image_count,
            "tools": list(task.tools),
            "images": images,
            **more,
        }


def _losses(data: Mapping[str, Any], question: str) -> Iterator[str]:
    """What of a row in LLM-I's layout has no place in ours."""
    info = data.get("extra_info") or {}
    if split := info.get("split"):
        yield f"extra_info.split is {split!r}: our files hold one split each"
    if others := sorted(name for name, value in info.items() if name not in _INFO and value is not None):
        yield f"fields of extra_info: {', '.join(others)}"
    if others := sorted(name for name, value in data.items() if name not in _COLUMNS and value is not None):
        yield f"columns: {', '.join(others)}"
    prompt = data.get("prompt")
    messages = (
        prompt
        if isinstance(prompt, Sequence) and not isinstance(prompt, str)
        else [{"role": "user", "content": prompt}]
    )
    if len(messages) > 1:
        yield "messages of prompt besides the last of the user's"
    said = str(messages[-1].get("content") or "") if messages and isinstance(messages[-1], Mapping) else ""
    if _MARKER in said.lstrip().removeprefix(_MARKER * said.count(_MARKER)):
        yield f"places of {_MARKER} within prompt: pictures stand before the question"
    if said and said.replace(_MARKER, "").strip() != question:
        yield "prompt says something else than extra_info.question"


def _more(row: Row, theirs: bool) -> dict[str, Any]:
    """Fields of ours that LLM-I's layout has no place for, where the row has them; ours stand in `extra_info.llmi` there."""
    data = row.data if isinstance(row.data, Mapping) else {}
    if not theirs:
        return {**({"source": data["source"]} if data.get("source") else {}), **row.extras}
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        more = json.loads(data["extra_info"]["llmi"])
        return {name: more[name] for name in ("source", *EXTRAS) if name in more}
    return {"source": data["data_source"]} if data.get("data_source") else {}


def _said(data: Mapping[str, Any], index: int) -> str:
    """The path that a row gives for a picture, or ""."""
    images = data.get("images")
    item = images[index] if isinstance(images, Sequence) and index < len(images) else None
    path = item.get("path") if isinstance(item, Mapping) else item
    return path if isinstance(path, str) else ""


def _image(ref: PictureRef, said: str, out: Path, taken: dict[str, str]) -> str:
    """How our file names a picture, which is laid beside it unless it ships with the package."""
    if ref.corpus_id is not None:
        return f"{CORPUS_PREFIX}{ref.corpus_id}"
    data = _bytes(ref)
    if said.startswith(CORPUS_PREFIX):
        with suppress(TaskError):
            (shipped,) = picture_refs([said], ref.where, out.parent)
            if _bytes(shipped) == data:
                return said
    name = Path(said).stem or "picture"
    ending = next((ending for start, ending in _ENDINGS.items() if data.startswith(start)), None)
    if ending is None:  # somebody else's words: no name of a file of ours unless it is an ending
        ending = suffix if _ENDING.fullmatch(suffix := Path(said).suffix.lower()) else ""
    file = file_name(name, ending, hashlib.sha256(data).hexdigest(), taken)
    folder = out.with_name(f"{out.stem}-pictures")
    write_once(folder / file, data)
    return f"{folder.name}/{file}"


def _bytes(ref: PictureRef) -> bytes:
    """The file of a picture, as it is."""
    if ref.data is not None:
        return ref.data
    path = ref.path
    if ref.corpus_id is not None:
        corpus = bundled()
        path = corpus.folder / next(entry.file for entry in corpus.entries if entry.id == ref.corpus_id)
    assert path is not None
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise TaskError(f"{ref.where}: {path.name!r} is larger than {MAX_PICTURE_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise TaskError(f"{ref.where}: cannot read picture {str(path)!r}: {error.strerror}") from error


# ------------------------------------------------------------------------------------------------------------------- to LLM-I's


def _to_theirs(row: Row, split: str, lost: Counter[str]) -> dict[str, Any]:
    assert row.task is not None
    task, count = row.task, row.task.image_count
    if isinstance(count, int) and count == 99:
        raise TaskError(
            f"task {task.id}: exactly 99 pictures cannot be said in LLM-I's layout, where 99 means at least one"
        )
    if count == 0:
        lost["image_count 0 becomes 'none'"] += 1
    data = row.data if isinstance(row.data, Mapping) else {}
    theirs = "extra_info" in data or "prompt" in data
    if theirs:
        lost.update(_losses(data, task.question))
    images = [{"bytes": _bytes(ref), "path": _path(ref, _said(data, index))} for index, ref in enumerate(row.pictures)]
    marked = _MARKER * len(images) + task.question
    return {
        "id": task.id,
        "prompt": [{"role": "user", "content": marked}] if images else task.question,
        "data_source": _SOURCES[bool(row.pictures)],
        "extra_info": {
            "split": split,
            "image_num": _NUMBERS.get(count, count),
            "tools": list(task.tools),
            "question": task.question,
            "llmi": json.dumps(_more(row, theirs), ensure_ascii=False),
        },
        "images": images,
    }


def _path(ref: PictureRef, said: str) -> str:
    if ref.corpus_id is not None:
        return f"{CORPUS_PREFIX}{ref.corpus_id}"
    return said if said.startswith(CORPUS_PREFIX) else Path(said).name


def _write_table(path: Path, rows: Iterator[dict[str, Any]], *, pictures: bool) -> None:
    arrow = require("pyarrow", "writing parquet task files", "train")
    parquet = require("pyarrow.parquet", "writing parquet task files", "train")
    text = arrow.string()
    info = [
        ("split", text),
        ("image_num", arrow.int64()),
        ("tools", arrow.list_(text)),
        ("question", text),
        ("llmi", text),
    ]
    fields = [("id", text), ("data_source", text), ("extra_info", arrow.struct(info))]
    if pictures:
        fields.insert(1, ("prompt", arrow.list_(arrow.struct([("role", text), ("content", text)]))))
        fields.append(("images", arrow.list_(arrow.struct([("bytes", arrow.binary()), ("path", text)]))))
    else:
        fields.insert(1, ("prompt", text))
    schema = arrow.schema(fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, parquet.ParquetWriter(part, schema) as file:
        while batch := list(islice(rows, _ROWS)):
            file.write_table(arrow.Table.from_pylist(batch, schema=schema))

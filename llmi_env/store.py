"""The episode store: rollouts in parquet files, one file for each step of a run, and back.

A row holds all that is needed to recompute a reward, look at the document or train on it again: task, tokens with owners and logprobs, document
with calls and outcomes, report. Pictures stand in columns of their own as PNG (`datasets` shows them as images), clock times in another, so
that two runs of one seed differ in that column only. Sounds that go with pictures are in the column `attachments`, which older files lack.
Files appear whole or not at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from llmi_env.attachment import Attachment
from llmi_env.calls import Call
from llmi_env.document import Block, Document, Failure, Figure, Outcome, Picture, Provenance, Text
from llmi_env.episode import StopReason
from llmi_env.errors import LLMIError, require
from llmi_env.folders import whole
from llmi_env.ledger import Ledger, Owner
from llmi_env.rewards.report import RewardReport
from llmi_env.rollout import Rollout, RolloutTimes
from llmi_env.task import Task
from llmi_env.world.wire import pack, unpack

FOLDER = "episodes"
"""Where the files lie in a run folder."""

_FORMAT = 1
_ROWS = 16  # documents that are held at a time
_GREY = Picture(Image.new("RGB", (1, 1), "grey"), Provenance("none")).png


class StoreError(LLMIError, ValueError):
    """Raised when an episode file cannot be read; the message names the file."""


def write_episodes(run: Path, name: str, rollouts: Sequence[Rollout], **columns: Any) -> Path:
    """Write rollouts as `episodes/NAME.parquet` of a run folder; an existing file of that name is replaced at once.

    Args:
        run: the run folder.
        name: of the file, e.g. `train-00003`.
        rollouts: at least one.
        **columns: further columns: one value for all rows, e.g. `step=3, phase="train"`, or a list with one for each.

    Raises:
        MissingExtra: `pyarrow` is not installed.
    """
    arrow = require("pyarrow", "keeping episodes", "train")
    parquet = require("pyarrow.parquet", "keeping episodes", "train")
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    lists = {key: value if isinstance(value, list) else [value] * len(rollouts) for key, value in columns.items()}
    rows = [
        {**{key: values[at] for key, values in lists.items()}, **_row(rollout)} for at, rollout in enumerate(rollouts)
    ]
    schema = _schema(arrow, {key: values[0] for key, values in lists.items()})
    table = arrow.Table.from_pylist(rows, schema=schema)
    path = folder / f"{name}.parquet"
    with whole(path) as part:
        parquet.write_table(table, part, compression="zstd")
    return path


def join_episodes(run: Path, name: str, parts: Sequence[Path], **columns: Any) -> Path:
    """Join files of `write_episodes` that have a column `sample` into `episodes/NAME.parquet`, ordered by group and sample.

    Groups are numbered anew from 0. No picture is decoded, and no more than a few rows are held twice.

    Args:
        run: the run folder.
        name: of the file.
        parts: at least one file.
        **columns: further columns with one value for all rows, in place of `sample`.
    """
    arrow = require("pyarrow", "keeping episodes", "train")
    parquet = require("pyarrow.parquet", "keeping episodes", "train")
    tables = [parquet.read_table(part) for part in parts]
    columns_of_all = arrow.unify_schemas([table.schema for table in tables]).empty_table()
    tables = [arrow.concat_tables([columns_of_all, table], promote_options="default") for table in tables]
    places = sorted(
        (group, sample, number, row)
        for number, table in enumerate(tables)
        for row, (group, sample) in enumerate(zip(table["group"].to_pylist(), table["sample"].to_pylist(), strict=True))
    )
    groups = {group: number for number, group in enumerate(dict.fromkeys(place[0] for place in places))}
    path = run / FOLDER / f"{name}.parquet"
    with whole(path) as part, ExitStack() as open_file:
        writer = None
        for start in range(0, len(places), _ROWS):
            taken = places[start : start + _ROWS]
            piece = arrow.concat_tables([tables[number].slice(row, 1) for _, _, number, row in taken]).drop(["sample"])
            numbers = arrow.array([groups[group] for group, *_ in taken], piece.schema.field("group").type)
            piece = piece.set_column(piece.schema.get_field_index("group"), piece.schema.field("group"), numbers)
            for at, (key, value) in enumerate(columns.items()):
                piece = piece.add_column(at, key, arrow.array([value] * len(taken)))
            writer = writer or open_file.enter_context(parquet.ParquetWriter(part, piece.schema, compression="zstd"))
            writer.write_table(piece)
        assert writer is not None, "at least one document"
    return path


def read_episodes(run: Path, pattern: str = "*", *, pixels: bool = True) -> Iterator[tuple[dict[str, Any], Rollout]]:
    """Read the rollouts of a run, file by file in the order of their names.

    Args:
        run: the run folder, or one parquet file.
        pattern: which files of the folder: `train-*`, `before` ...
        pixels: whether the figures' pictures are decoded; if not, each is one grey pixel with its provenance, for those who only count.
            Those of the task always are: they belong to what it is. Attachments are left out with the pictures.

    Yields:
        The further columns of `write_episodes`, and the rollout.

    Raises:
        StoreError: a file is broken.
    """
    arrow = require("pyarrow", "reading episodes", "train")
    parquet = require("pyarrow.parquet", "reading episodes", "train")
    paths = [run] if run.is_file() else sorted((run / FOLDER).glob(f"{pattern}.parquet"))
    for path in paths:
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_ROWS):
                    for row in batch.to_pylist():
                        extras = {key: value for key, value in row.items() if key not in _COLUMNS}
                        if not pixels:
                            row["pictures"] = [{**one, "bytes": _GREY} for one in row["pictures"]]
                            row["attachments"] = None
                        yield extras, _rollout(row)
        except (arrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: not a readable episode file: {type(error).__name__}: {error}") from error


# --------------------------------------------------------------------------------------------------------------------- rows

_COLUMNS = (
    "format", "task_id", "task", "task_images", "seed", "group", "reward", "report", "stop", "source", "document", "pictures", "attachments",
    "calls", "ids", "owners", "logprobs", "ledger_pictures", "times",
)  # fmt: skip


def _schema(arrow: Any, columns: dict[str, Any]) -> Any:
    picture = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    attachment = arrow.struct([("picture", arrow.int32()), ("media_type", arrow.string()), ("bytes", arrow.binary())])
    call = arrow.struct(
        [(key, arrow.string()) for key in ("tool", "description", "params", "outcome", "fault", "message")]
    )
    fields = {
        **{key: arrow.scalar(value).type for key, value in columns.items()},
        "format": arrow.int32(),
        "task_id": arrow.string(),
        "task": arrow.string(),
        "task_images": arrow.list_(picture),
        "seed": arrow.int64(),
        "group": arrow.int32(),
        "reward": arrow.float64(),
        "report": arrow.string(),
        "stop": arrow.string(),
        "source": arrow.string(),
        "document": arrow.string(),
        "pictures": arrow.list_(picture),
        "attachments": arrow.list_(attachment),
        "calls": arrow.list_(call),
        "ids": arrow.list_(arrow.int32()),
        "owners": arrow.list_(arrow.int8()),
        "logprobs": arrow.list_(arrow.float64()),
        "ledger_pictures": arrow.string(),
        "times": arrow.string(),
    }
    # What tells `datasets` that these structs are images; without it they are read as plain bytes.
    image = {"feature": {"_type": "Image"}, "_type": "List"}
    features = dict.fromkeys(("task_images", "pictures"), image)
    plain = {key: _feature(arrow, kind) for key, kind in fields.items() if key not in features}
    info = {"info": {"features": {key: features.get(key) or plain[key] for key in fields}}}
    return arrow.schema(list(fields.items()), metadata={"huggingface": json.dumps(info)})


def _feature(arrow: Any, kind: Any) -> Any:
    """The same type in the words of `datasets`."""
    if arrow.types.is_list(kind):
        return {"feature": _feature(arrow, kind.value_type), "_type": "List"}
    if arrow.types.is_struct(kind):
        return {field.name: _feature(arrow, field.type) for field in kind}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def _row(rollout: Rollout) -> dict[str, Any]:
    task, ledger, document = rollout.task, rollout.ledger, rollout.document
    pictures: list[Picture] = []
    blocks = [_block_data(block, pictures) for block in document]
    return {
        "format": _FORMAT,
        "task_id": task.id,
        "task": json.dumps(
            {
                "question": pack(task.question),
                "images": [asdict(picture.provenance) for picture in task.images],
                "image_count": task.image_count,
                "tools": task.tools,
                "id": task.id,
                "source": task.source,
            }
        ),
        "task_images": [{"bytes": picture.png, "path": None} for picture in task.images],
        "seed": rollout.seed,
        "group": rollout.group,
        "reward": rollout.reward,
        "report": json.dumps(rollout.report.to_json()),
        "stop": rollout.stop.value,
        "source": document.to_source().encode("utf-8", "replace").decode("utf-8"),
        "document": json.dumps(blocks),
        "pictures": [{"bytes": picture.png, "path": None} for picture in pictures],
        "attachments": [
            {"picture": at, "media_type": picture.attachment.media_type, "bytes": picture.attachment.data}
            for at, picture in enumerate(pictures)
            if picture.attachment is not None
        ],
        "calls": [_call_data(figure) for figure in document.figures],
        "ids": ledger.ids,
        "owners": [int(owner) for owner in ledger.owners],
        "logprobs": [None if math.isnan(value) else value for value in ledger.logprobs],
        "ledger_pictures": json.dumps(
            [[start, length, _place(task, document, picture)] for start, length, picture in ledger.pictures]
        ),
        "times": json.dumps(
            {
                **asdict(rollout.times),
                "calls": [f.picture.seconds if f.picture else None for f in document.figures],
                "queued": [f.picture.queued if f.picture else None for f in document.figures],
            }
        ),
    }


def _rollout(row: dict[str, Any]) -> Rollout:
    if row["format"] != _FORMAT:
        raise ValueError(f"format {row['format']}, this version reads {_FORMAT}")
    data = json.loads(row["task"])
    images = tuple(
        Picture.from_png(image["bytes"], Provenance(**provenance))
        for image, provenance in zip(row["task_images"], data["images"], strict=True)
    )
    task = Task(unpack(data["question"]), images, data["image_count"], tuple(data["tools"]), data["id"], data["source"])
    times = json.loads(row["times"])
    seconds = times.pop("calls")
    queued = times.pop("queued", None) or [0.0] * len(seconds)  # runs of before have none
    sounds = {one["picture"]: Attachment(one["media_type"], one["bytes"]) for one in row.get("attachments") or ()}
    pngs = [(picture["bytes"], sounds.get(at)) for at, picture in enumerate(row["pictures"])]
    blocks: list[Block] = []
    for entry in json.loads(row["document"]):
        index = sum(isinstance(block, Figure) for block in blocks)
        blocks.append(_block(entry, pngs, list(zip(seconds, queued, strict=True)), index))
    document = Document(tuple(blocks))
    ledger = Ledger(
        row["ids"],
        [Owner(owner) for owner in row["owners"]],
        [math.nan if value is None else value for value in row["logprobs"]],
        [(start, length, _shown(task, document, index)) for start, length, index in json.loads(row["ledger_pictures"])],
    )
    report = RewardReport.from_json(json.loads(row["report"]))
    return Rollout(
        task, row["seed"], row["group"], ledger, document, StopReason(row["stop"]), report, RolloutTimes(**times)
    )


def _place(task: Task, document: Document, picture: Picture) -> int:
    """Which picture it is: the figure's index, or -1, -2 ... for the task's own."""
    for index, image in enumerate(task.images):
        if image is picture:
            return -1 - index
    return next(index for index, figure in enumerate(document.figures) if figure.picture is picture)


def _shown(task: Task, document: Document, index: int) -> Picture:
    if index < 0:
        return task.images[-1 - index]
    picture = document.figures[index].picture
    if picture is None:
        raise ValueError(f"the ledger points at figure {index}, which has no picture")
    return picture


def _call_data(figure: Figure) -> dict[str, Any]:
    """A call for those who read the table by other means: what was asked, and what came."""
    call, failure = figure.call, figure.failure
    params = None
    if call is not None:
        try:
            params = json.dumps(dict(call.params))
        except (ValueError, RecursionError):  # integers of thousands of digits, nesting beyond the limit
            params = None
    texts = {
        "tool": call.tool if call else None,
        "description": call.description if call else None,
        "params": params,
        "outcome": "picture" if figure.picture else failure.kind if failure else None,
        "fault": failure.fault if failure else None,
        "message": failure.message if failure else None,
    }
    return {
        key: text if text is None else text.encode("utf-8", "replace").decode("utf-8") for key, text in texts.items()
    }


def _block_data(block: Block, pictures: list[Picture]) -> dict[str, Any]:
    if isinstance(block, Text):
        return {"text": pack(block.text)}
    outcome: dict[str, Any] | None = None
    if block.picture is not None:
        outcome = {"picture": len(pictures), "provenance": asdict(block.picture.provenance)}
        pictures.append(block.picture)
    elif block.failure is not None:
        outcome = {"failure": asdict(block.failure)}
    return {
        "raw": pack(block.raw),
        "closed": block.closed,
        "tag": block.tag,
        "read": block.call is not None,
        "outcome": outcome,
    }


def _block(
    entry: dict[str, Any],
    pngs: Sequence[tuple[bytes, Attachment | None]],
    times: Sequence[tuple[float | None, float | None]],
    index: int,
) -> Block:
    if "text" in entry:
        return Text(unpack(entry["text"]))
    raw, call = unpack(entry["raw"]), None
    if entry["read"]:
        call = _parse(raw, entry["tag"])
    outcome: Outcome | None = None
    if entry["outcome"] and "picture" in entry["outcome"]:
        provenance = Provenance(**entry["outcome"]["provenance"])
        png, sound = pngs[entry["outcome"]["picture"]]
        seconds, queued = (value or 0.0 for value in times[index])
        outcome = Picture.from_png(png, provenance, seconds, sound, queued)
    elif entry["outcome"]:
        outcome = Failure(**entry["outcome"]["failure"])
    return Figure(raw, call, outcome, entry["closed"], entry["tag"])


def _parse(raw: str, tag: str) -> Call:
    """The call is read from its text again: what is stored is what was written."""
    from llmi_env.calls import parse_call, parse_tool_call

    return parse_call(raw) if tag == "imgen" else parse_tool_call(raw)


def rollouts_of(episodes: Iterable[tuple[dict[str, Any], Rollout]]) -> list[Rollout]:
    """The rollouts of `read_episodes` without the further columns."""
    return [rollout for _, rollout in episodes]


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`, each with `phase` and `step`; a line that a kill has cut off is left out.

    Raises:
        StoreError: a line in the middle is not one of ours.
    """
    path = run / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not {"phase", "step"} <= row.keys():
                raise ValueError("no object with phase and step")
        except ValueError as error:
            if number == len(lines) and number > 1:
                break
            raise StoreError(
                f"{path}, line {number}: not a line of metrics ({error}); a run folder is made by 'llmi train'"
            ) from error
        rows.append(row)
    return rows

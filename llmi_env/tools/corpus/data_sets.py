"""A Hugging Face data set as a source: from the hub, row by row as it arrives, or from files on this machine.

Rows come from elsewhere: a row may hold its picture, or name a file beside it or on the hub, but no other file of this machine.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmi_env.errors import AssetError, ConfigError, did_you_mean, require
from llmi_env.tools.corpus.describing import CAPTION_COLUMNS, Columns, Item, LeftOut, NoCaption, describe
from llmi_env.tools.corpus.pictures import MAX_BYTES, bounded

__all__ = ["PREFIX", "DataSetSource"]

logger = logging.getLogger(__name__)

PREFIX = "hf:"
_IMAGE_COLUMNS = ("image", "picture", "img", "jpg", "png", "webp")
_HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_REMOTE = re.compile(r"(?:zip://[^:]*::)?hf://(?:datasets|buckets)/")
_MARK_EVERY = 256
"""Rows between two places where a run that was stopped may go on."""


class DataSetSource:
    """The rows of one split of a data set, in their order.

    Args:
        name: of the data set: `hf:NAME[:SPLIT]`, where NAME is a name on the hub, a folder that `save_to_disk` made, or a parquet file. The
            split is `train` where none is said.
        columns: which columns hold picture and caption, and what stands for author, source and licence.
        subset: the configuration of a data set that has several.

    Raises:
        MissingExtra: the library `datasets` is not installed.
        ConfigError: no such data set, split or column.
    """

    has_files = False

    def __init__(self, name: str, columns: Columns | None = None, subset: str | None = None) -> None:
        self._datasets = require("datasets", "adding a Hugging Face data set", "hub")
        target, split = _parts(name.removeprefix(PREFIX))
        columns = columns or Columns()
        local = Path(target).expanduser()
        self._beside: Path | None = None
        with _explained(name):
            if local.exists():
                self._beside = (local if local.is_dir() else local.parent).resolve()
                rows, self.total = self._from_disk(local, split)
                self.origin, default = f"{PREFIX}{local.resolve()}", local.resolve().name
            elif target.startswith((".", "/", "~")) or target.endswith(".parquet"):  # which no name on the hub is like
                raise ConfigError(f"there is no file or folder {target!r}")
            elif _HUB_NAME.fullmatch(target):
                rows = self._datasets.load_dataset(target, subset, split=split or "train", streaming=True)
                self.total = _announced(rows, split or "train")
                self.origin, default = f"{PREFIX}{target}", f"https://huggingface.co/datasets/{target}"
            else:
                raise ConfigError(f"{target!r} is neither a file or folder here nor the name of a data set (USER/NAME)")
            features = rows.features or dict.fromkeys(next(iter(rows), {}))
            self._image = self._image_column(features, columns.image)
            self._columns = _with_caption(features, columns)
            if isinstance(features[self._image], self._datasets.Image):
                rows = rows.cast_column(self._image, self._datasets.Image(decode=False))
        self._rows = rows
        self._default_source = default
        self.title = Path(target).stem or "pictures"
        if subset or split:
            self.origin += f":{subset or ''}:{split or ''}"
            self.title += "".join(f"-{part}" for part in (subset, split) if part)
        self.key = hashlib.sha256(repr((self.origin, self._image, self._columns, _stamp(local))).encode()).hexdigest()

    def _from_disk(self, path: Path, split: str | None) -> tuple[Any, int | None]:
        parquet = [path] if path.suffix == ".parquet" else sorted(path.glob("*.parquet"))
        if parquet:
            import pyarrow.parquet

            total = sum(pyarrow.parquet.read_metadata(each).num_rows for each in parquet)
            files = [str(each) for each in parquet]
            return self._datasets.load_dataset("parquet", data_files=files, split="train", streaming=True), total
        if not {"state.json", "dataset_dict.json"} & {each.name for each in path.glob("*.json")}:
            raise ConfigError(
                f"{str(path)!r} is neither a parquet file nor a folder that save_to_disk made; a folder of pictures is added without 'hf:'"
            )
        loaded = self._datasets.load_from_disk(str(path))
        if isinstance(loaded, self._datasets.DatasetDict):
            if (split or "train") not in loaded:
                raise ConfigError(f"the data set has no split {split or 'train'!r}" + did_you_mean(split or "", loaded))
            loaded = loaded[split or "train"]
        return loaded.to_iterable_dataset(), loaded.num_rows

    def _image_column(self, features: Mapping[str, Any], named: str | None) -> str:
        if named is not None:
            return _known(named, features, "--image")
        typed = [column for column, kind in features.items() if isinstance(kind, self._datasets.Image)]
        found = typed or [column for column in _IMAGE_COLUMNS if column in features]
        if len(found) != 1:
            raise ConfigError(
                f"say which column holds the pictures with --image; the columns are {', '.join(sorted(features))}"
            )
        return str(found[0])

    def items(self, mark: Mapping[str, Any] | None = None) -> Iterator[Item | LeftOut]:
        """The rows, from the beginning or from a mark on.

        Raises:
            AssetError: a row could not be read or fetched, and so none after it.
        """
        number = 0
        rows = self._rows
        if mark is not None:
            number = int(mark["rows"])
            rows.load_state_dict(mark["state"])
        stream = iter(rows)
        while True:
            try:
                row = next(stream)
            except StopIteration:
                return
            except Exception as error:  # whatever network, file system and decoders raise
                raise AssetError(
                    f"row {number + 1} could not be read ({type(error).__name__}: {str(error)[:300]}); what came before it is kept: "
                    "run the same command again to go on there"
                ) from error
            number += 1
            reached = None
            if number % _MARK_EVERY == 0:
                reached = {"key": self.key, "rows": number, "state": rows.state_dict()}
            yield self._item(number, row, reached)

    def _item(self, number: int, row: dict[str, Any], mark: Mapping[str, Any] | None) -> Item | LeftOut:
        name = f"row {number}"
        data = row.pop(self._image, None)
        if data is None:
            return LeftOut(name, f"column {self._image!r} is empty", mark=mark)
        try:
            entry = describe(row, self._columns, source=self._default_source)
        except NoCaption as error:
            return LeftOut(name, str(error), captionless=True, mark=mark)
        return Item(name, entry, data=data, mark=mark)

    def read(self, item: Item) -> bytes:
        """The bytes of a row's picture."""
        data = item.data
        if isinstance(data, Mapping):
            data = data.get("bytes") or data.get("path")
        if isinstance(data, bytes):
            return data
        if isinstance(data, str):
            return self._named(data)
        if callable(getattr(data, "save", None)):  # a picture that the data set's own code has decoded
            buffer = io.BytesIO()
            data.save(buffer, "PNG")
            return buffer.getvalue()
        raise ValueError(f"column {self._image!r} holds no picture, but {type(item.data).__name__}")

    def _named(self, path: str) -> bytes:
        if self._beside is None:
            if not _REMOTE.match(path):
                raise ValueError(f"it names a file that is not on the hub: {path[:80]!r}")
            fsspec = require("fsspec", "fetching a picture from the hub", "hub")
            with fsspec.open(path, "rb") as file:
                return bytes(file.read(MAX_BYTES + 1))
        found = (self._beside / path).resolve()
        if "://" in path or "\0" in path or not found.is_relative_to(self._beside):
            raise ValueError(f"it names a file that is not beside the data set: {path[:80]!r}")
        return bounded(found)


def _parts(text: str) -> tuple[str, str | None]:
    """Name and split; a file that is called so is no split."""
    if Path(text).expanduser().exists() or ":" not in text:
        return text, None
    name, split = text.rsplit(":", 1)
    return name, split or None


def _stamp(path: Path) -> list[tuple[str, int, int]]:
    """What changes with the files of a local data set: a mark of other files is of no use."""
    found = [path] if path.is_file() else sorted(path.glob("*")) if path.is_dir() else []
    return [(each.name, (about := each.stat()).st_size, about.st_mtime_ns) for each in found]


def _announced(rows: Any, split: str) -> int | None:
    splits = getattr(rows.info, "splits", None) or {}
    return getattr(splits.get(split), "num_examples", None) or None


def _known(column: str, features: Mapping[str, Any], option: str) -> str:
    if column not in features:
        raise ConfigError(f"{option}: the data set has no column {column!r}" + did_you_mean(column, features))
    return column


def _with_caption(features: Mapping[str, Any], columns: Columns) -> Columns:
    """The columns to read, checked to be there."""
    for option, value in (("author", columns.author), ("source", columns.source), ("licence", columns.licence)):
        if value.startswith("column:"):
            _known(value.removeprefix("column:"), features, f"--{option}")
    if columns.caption is not None:
        _known(columns.caption, features, "--caption")
    elif not {*CAPTION_COLUMNS, "title"} & set(features):
        raise ConfigError(
            f"say which column holds the captions with --caption; the columns are {', '.join(sorted(features))}"
        )
    return columns


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Whatever the library raises while it opens a data set, as one error of ours."""
    from llmi_env.errors import LLMIError

    try:
        yield
    except LLMIError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the data set {name!r} cannot be opened ({type(error).__name__}: {str(error)[:500]})"
        ) from error

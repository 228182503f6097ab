"""Input pictures for tasks: those of a folder, with what is known of each, and their copies beside the task file."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from llmi_env.document import Picture, Provenance
from llmi_env.errors import ConfigError, TaskError
from llmi_env.folders import write_whole
from llmi_env.task_data.held_out import HeldOut
from llmi_env.task_pictures import MAX_PICTURE_BYTES, decode_picture
from llmi_env.tools.corpus.describing import LeftOut
from llmi_env.tools.corpus.folders import FolderSource

__all__ = ["Given", "file_name", "of_folder", "place_beside"]

_log = logging.getLogger(__name__)
_ODD = re.compile(r"[^\w ,()'-]+")
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Given:
    """An input picture.

    Attributes:
        path: its file.
        caption: what it shows.
    """

    path: Path
    caption: str

    @property
    def data(self) -> bytes:
        """The file.

        Raises:
            TaskError: it cannot be read, or is too large.
        """
        try:
            data = self.path.read_bytes() if self.path.stat().st_size <= MAX_PICTURE_BYTES else b""
        except OSError as error:
            raise TaskError(f"{self.path}: cannot be read: {error.strerror}") from error
        if not data:
            raise TaskError(f"{self.path}: empty, or larger than {MAX_PICTURE_BYTES >> 20} MiB")
        return data

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def picture(self) -> Picture:
        """The picture itself.

        Raises:
            TaskError: it cannot be decoded, or is too large.
        """
        image = decode_picture(self.data, str(self.path))
        return Picture(image, Provenance("input", caption=self.caption, source=self.path.name))


def of_folder(folder: Path, held_out: HeldOut) -> list[Given]:
    """The pictures of a folder that can be used, in the order of their paths; the others are named in the log.

    Left out are those that nothing is known of, that cannot be decoded, or that a protected task has.

    Captions are found as `llmi corpus add` finds them: in tables, in a text beside the picture, or in a speaking file name.

    Raises:
        ConfigError: no such folder, or no picture in it that can be used.
    """
    found = []
    for item in FolderSource(folder).items():
        if isinstance(item, LeftOut):
            _log.warning("%s is left out: %s", item.name, item.reason)
            continue
        assert item.path is not None, "items of a folder are files"
        given = Given(item.path, item.entry.caption or item.entry.title)
        try:
            shown = given.picture.digest
        except TaskError as error:
            _log.warning("%s is left out: %s", item.name, error)
            continue
        if held_out.has_picture(shown):
            _log.warning("%s is left out: a task that is kept for evaluation has it", item.name)
            continue
        found.append(given)
    if not found:
        raise ConfigError(f"no picture of {folder} can be used: what is wrong with each stands in the log")
    return found


def place_beside(out: Path, given: Sequence[Given]) -> dict[Path, str]:
    """Copy pictures beside a task file, as they are; what is there already stays.

    Returns:
        How the task file names each.
    """
    folder = out.with_name(f"{out.stem}-pictures")
    names: dict[Path, str] = {}
    taken: dict[str, str] = {}
    for each in given:
        name = file_name(each.caption, each.path.suffix.lower(), each.digest, taken)
        names[each.path] = f"{folder.name}/{name}"
        write_once(folder / name, each.data)
    return names


def file_name(caption: str, suffix: str, digest: str, taken: dict[str, str]) -> str:
    """A name that says what the picture shows, for it is what a policy without eyes is told; another one where that is another picture's.

    Args:
        caption: what it shows.
        suffix: of the file.
        digest: of the file.
        taken: names so far, in small letters, and the digest behind each; the new one is added.
    """
    plain = " ".join(_ODD.sub(" ", caption).split())[:_LONGEST_NAME].strip(" -'") or "picture"
    for name in (f"{plain}{suffix}", f"{plain} {digest[:8]}{suffix}"):
        if taken.setdefault(name.lower(), digest) == digest:
            return name
    raise AssertionError("two files have the first digits of their digests in common")


def write_once(path: Path, data: bytes) -> None:
    """Write a file that is not there, or that holds something else, in one step."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)

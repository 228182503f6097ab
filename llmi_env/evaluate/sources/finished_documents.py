"""Finished documents of another system, from a folder.

The document of an item is `ITEM.md`, `.html` or `.json` (see `formats`) with its pictures beside it or below; several samples are `ITEM-1.md`,
`ITEM-2.md` and so on. `ITEM` is the item's id, with `_` for characters that do not belong into names of files. What stands in the folder comes
from outside: nothing outside of it is read, nothing is fetched, and sizes are bounded. A document that is not there, or is broken, is
`NotWritten` with a message that names the file.

Pictures become figures whose call names the tool `given` and whose provenance has that backend: nobody here made them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from llmi_env.calls import Call
from llmi_env.document import Block, Document, Figure, Picture, Provenance, Text
from llmi_env.episode import StopReason
from llmi_env.errors import ConfigError, TaskError, did_you_mean
from llmi_env.evaluate.benchmark import GIVEN
from llmi_env.evaluate.sources.base import DOCUMENTS, Done, NotWritten, Order, Written
from llmi_env.evaluate.sources.formats import FORMATS, DocumentError, Part, PicturePlace
from llmi_env.ledger import Ledger
from llmi_env.rollout import NOT_SCORED, Rollout
from llmi_env.task_pictures import MAX_PICTURE_BYTES, decode_picture

__all__ = ["FinishedDocuments"]

_log = logging.getLogger(__name__)
_MOST_BYTES = 64 * 2**20
_MOST_PICTURES = 64
_MOST_PIXELS = 128 * 2**20
_NO_NAME = re.compile(r"[^\w.-]")


class FinishedDocuments:
    """A folder of documents.

    Args:
        folder: where they lie.
        name: of the source; the folder's where none is given.

    Raises:
        ConfigError: there is no such folder, or no document in it.
    """

    def __init__(self, folder: str | Path, name: str = "") -> None:
        self.name = name or f"{DOCUMENTS}{folder}"
        if not str(folder).strip():
            raise ConfigError(
                f"{DOCUMENTS} names no folder: {DOCUMENTS}FOLDER is needed; the current one is {DOCUMENTS}."
            )
        self._folder = Path(folder).expanduser()
        self._files: dict[str, list[Path]] = {}
        try:
            self._root = self._folder.resolve(strict=True)
            for path in sorted(self._root.iterdir()):
                if path.suffix.lower() in FORMATS:
                    self._files.setdefault(path.stem, []).append(path)
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            raise ConfigError(f"{self.name}: there is no such folder ({error})") from error
        if not self._files:
            raise ConfigError(
                f"{self.name}: no documents there; ITEM{', ITEM'.join(FORMATS)} are read, several of an item as ITEM-1, ITEM-2 ..."
            )

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Every document that can be read, by the digest of its file and of the pictures that it names."""
        digests = {stem: self._digest(paths[0]) for stem, paths in self._files.items() if len(paths) == 1}
        documents = {stem: digest for stem, digest in digests.items() if digest is not None}
        return {"policy": f"{DOCUMENTS}{self._folder.name}", "documents": documents}

    async def write(self, orders: Sequence[Order], done: Done) -> None:
        """See `Source.write`."""
        self._check_names(orders)
        for order in orders:
            done(order, await asyncio.to_thread(self._bring, order))

    async def aclose(self) -> None:
        """Nothing is held."""

    def _check_names(self, orders: Sequence[Order]) -> None:
        """Two orders must not mean the same file."""
        meant: dict[str, tuple[str, int]] = {}
        for order in orders:
            wanted = (order.item.id, order.sample)
            if (stem := self._stem(order)) is not None and meant.setdefault(stem, wanted) != wanted:
                other, sample = meant[stem]
                raise ConfigError(
                    f"{self.name}: {stem!r} may be sample {sample} of item {other!r} and sample {order.sample} of {order.item.id!r}: "
                    "name the file of every sample ITEM-1, ITEM-2 ..."
                )

    def _stem(self, order: Order) -> str | None:
        """Name of the file without its suffix, where it is there."""
        plain = _NO_NAME.sub("_", order.item.id)
        names = [plain] if order.sample == 0 else []
        return next((name for name in (*names, f"{plain}-{order.sample + 1}") if name in self._files), None)

    def _bring(self, order: Order) -> Written | NotWritten:
        start = time.perf_counter()
        try:
            document = self._read(self._file_of(order))
        except DocumentError as error:
            _log.warning("%s, document %d: not there: %s", order.item.id, order.sample, error)
            return NotWritten(str(error))
        task = order.item.task
        rollout = Rollout(task, order.seed, 0, Ledger(), document, StopReason.END, NOT_SCORED)
        return Written(rollout, 0, 0, None, time.perf_counter() - start, counted=False)

    def _file_of(self, order: Order) -> Path:
        stem = self._stem(order)
        if stem is None:
            name = _NO_NAME.sub("_", order.item.id) + (f"-{order.sample + 1}" if order.sample else "")
            raise DocumentError(f"{self._folder}: no document {name!r}{did_you_mean(name, list(self._files)[:20])}")
        paths = self._files[stem]
        if len(paths) > 1:
            raise DocumentError(f"{self._folder}: which one is meant, {' or '.join(path.name for path in paths)}?")
        return paths[0]

    # ----------------------------------------------------------------------------------------------------------- reading

    def _read(self, path: Path) -> Document:
        try:
            blocks = tuple(self._blocks(self._parts(path), path))
        except DocumentError as error:
            raise DocumentError(f"{path.name}: {error}") from None
        if not any(isinstance(block, Figure) or block.text.strip() for block in blocks):
            raise DocumentError(f"{path.name}: it is empty")
        return Document(blocks)

    def _parts(self, path: Path) -> list[Part]:
        data = self._bytes(path, _MOST_BYTES)
        try:
            return FORMATS[path.suffix.lower()](data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise DocumentError(f"not UTF-8 at byte {error.start}") from None

    def _blocks(self, parts: Sequence[Part], path: Path) -> Iterator[Block]:
        bounds = _Bounds()
        for part in parts:
            if isinstance(part, str):
                yield Text(part)
                continue
            bounds.count()
            picture = self._picture(part, path)
            bounds.add(picture)
            call = Call(GIVEN, part.alt, {})
            yield Figure(call.to_json(), call, picture)

    def _picture(self, place: PicturePlace, path: Path) -> Picture:
        data, source = self._picture_bytes(place.address, path)
        try:
            image = decode_picture(data, source or "an embedded picture")
        except TaskError as error:
            raise DocumentError(str(error)) from None
        return Picture(image, Provenance(GIVEN, caption=place.alt, source=source))

    def _picture_bytes(self, address: str, path: Path) -> tuple[bytes, str]:
        """A picture's file, and its name below the folder; embedded ones have none."""
        if address.startswith("data:"):
            return _embedded(address), ""
        file = self._beside(address, path)
        return self._bytes(file, MAX_PICTURE_BYTES), str(file.relative_to(self._root))

    def _beside(self, address: str, path: Path) -> Path:
        """The file that a document's picture is in."""
        shown = repr(address[:80])
        try:
            scheme, host = urlsplit(address)[:2]
        except ValueError:
            raise DocumentError(f"{shown} is no path of a picture") from None
        if host or len(scheme) > 1:
            raise DocumentError(f"{shown} is not fetched: save the picture beside the document")
        # As it is written, or as an address is: with %20 for a blank, and a part behind ? or # that names no file.
        bare = re.split(r"[?#]", address)[0]
        for name in dict.fromkeys((address, unquote(address), unquote(bare))):
            try:
                found = (path.parent / name).resolve()
                if not found.is_relative_to(self._root):
                    raise DocumentError(f"{shown} lies outside of the folder")
                if found.is_file():
                    return found
            except DocumentError:
                raise
            except (OSError, ValueError, RuntimeError):  # too long, a null character, links in a circle
                continue
        raise DocumentError(f"there is no picture {shown}")

    def _bytes(self, path: Path, most: int) -> bytes:
        """A file of the folder."""
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(self._root) or not real.is_file():
                raise DocumentError(f"{path.name} is no file of the folder")
            with real.open("rb") as file:
                data = file.read(most + 1)
        except (OSError, RuntimeError) as error:
            raise DocumentError(f"{path.name} cannot be read: {error}") from None
        if len(data) > most:
            raise DocumentError(f"{path.name} is larger than {most >> 20} MiB")
        return data

    def _digest(self, path: Path) -> str | None:
        total = hashlib.sha256()
        try:
            total.update(self._bytes(path, _MOST_BYTES))
            for part in self._parts(path):
                if isinstance(part, PicturePlace) and not part.address.startswith("data:"):
                    total.update(hashlib.sha256(self._picture_bytes(part.address, path)[0]).digest())
        except DocumentError:
            return None
        return total.hexdigest()[:16]


@dataclass
class _Bounds:
    """How many pictures one document may have, and how large they may be together."""

    pictures: int = 0
    pixels: int = 0

    def count(self) -> None:
        self.pictures += 1
        if self.pictures > _MOST_PICTURES:
            raise DocumentError(f"more than {_MOST_PICTURES} pictures")

    def add(self, picture: Picture) -> None:
        self.pixels += picture.image.width * picture.image.height
        if self.pixels > _MOST_PIXELS:
            raise DocumentError(f"its pictures have more than {_MOST_PIXELS >> 20} million pixels together")


def _embedded(address: str) -> bytes:
    """The bytes of a `data:` URL."""
    head, comma, body = address.partition(",")
    if not comma or not head.endswith(";base64"):
        raise DocumentError(f"{address[:40]!r} is no picture in base64")
    try:
        return base64.b64decode(unquote(body), validate=True)
    except (binascii.Error, ValueError):
        raise DocumentError(f"{address[:40]!r} is no base64") from None

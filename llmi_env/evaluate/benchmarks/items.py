"""Items of benchmarks as loaders put them together: words and pictures of a task, and the published answer.

Pictures must lie below the folder of the file that names them, plain or in a zip archive there (as the hub has them; nothing is unpacked).
That they are there is checked at once; when an item is taken they are decoded, with the checks of task pictures. Their pixels stay where they
are: a benchmark's thousands of pictures would not fit into memory.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, overload

from PIL import Image

from llmi_env.calls import Call
from llmi_env.document import Block, Document, Figure, Picture, Provenance, Text
from llmi_env.errors import TaskError
from llmi_env.evaluate.benchmark import GIVEN, BenchmarkError, Item
from llmi_env.evaluate.benchmarks.loading import Published, Row, find_files, read_rows, said
from llmi_env.task import Task
from llmi_env.task_pictures import MAX_PICTURE_BYTES, PictureRef, decode_picture


@dataclass(frozen=True)
class PackedPicture(PictureRef):
    """A picture in a zip archive: read when it is needed, never unpacked."""

    archive: Path = Path()
    member: str = ""

    def read(self) -> bytes:
        """Its bytes, at most one more than are allowed."""
        try:
            with zipfile.ZipFile(self.archive) as packed, packed.open(self.member) as file:
                return file.read(MAX_PICTURE_BYTES + 1)
        except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
            raise TaskError(f"{self.where}: cannot read {self.member!r} in {self.archive.name}: {error}") from error

    def load(self) -> Picture:
        """Decode the picture; raises `TaskError` where that is not possible or not safe."""
        title = PurePosixPath(self.member).stem
        return Picture(decode_picture(self.read(), self.where), Provenance("input", title=title, source=self.member))


class KeptPicture(Picture):
    """A picture whose pixels stay in its file; they are decoded each time that they are looked at, but for those looked at last.

    Raises:
        TaskError: it cannot be decoded, or is not safe to.
    """

    def __init__(self, ref: PictureRef) -> None:
        there = ref.load()
        self.__dict__ |= {**there.__dict__, "digest": there.digest, "_ref": ref}
        del self.__dict__["image"]

    def __getattr__(self, name: str) -> Any:
        if name == "image":
            return _pixels(self.__dict__["_ref"])
        raise AttributeError(name)

    @property
    def png(self) -> bytes:  # type: ignore[override]  # not kept either
        """The picture as PNG."""
        return Picture(self.image, self.provenance).png

    def __reduce__(self) -> tuple[type[Picture], tuple[Any, ...]]:
        return Picture, (self.image, self.provenance)


@lru_cache(maxsize=32)
def _pixels(ref: PictureRef) -> Image.Image:
    return ref.load().image


class Shelf:
    """The pictures beside a file.

    Args:
        file: the benchmark's file.
        roots: folders, as seen from the file's, from which names of pictures are counted.
    """

    def __init__(self, file: Path, roots: Sequence[str] = (".",)) -> None:
        self.file = file
        self._roots = [root for name in roots if (root := file.parent / name).is_dir()]

    def find(self, row: Row, name: str, value: Any) -> PictureRef:
        """The picture that the field `name` of a row calls `value`; it exists, but nothing is decoded yet.

        Raises:
            BenchmarkError: not a name, a place outside of the folder, or nothing there.
        """
        wanted = "the name of a picture below the file's folder"
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise row.error(name, wanted, said(value))
        path = PurePosixPath(value.strip().replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts[:1]):
            raise row.error(name, wanted, f"{value!r:.100}, which leads out of it or to the network")
        where = f"{row.where}, field '{row.path}{name}'"
        for root in self._roots:
            if (file := _there(root / path)) is not None:
                if file.stat().st_size > MAX_PICTURE_BYTES:
                    raise row.error(name, f"a picture of at most {MAX_PICTURE_BYTES >> 20} MiB", f"{value!r:.100}")
                return PictureRef(where, path=file)
        if (packed := self._packed.get(str(path).lower())) is not None:
            return PackedPicture(where, archive=packed[0], member=packed[1])
        raise row.error(name, wanted, f"{value!r:.100}: there is no such file, nor in a zip archive there")

    @cached_property
    def _packed(self) -> dict[str, tuple[Path, str]]:
        """Archive and member by the name of a picture."""
        found: dict[str, tuple[Path, str]] = {}
        for archive in [file for root in self._roots for file in sorted(root.glob("*.zip"))]:
            try:
                with zipfile.ZipFile(archive) as packed:
                    for member in packed.namelist():
                        found.setdefault(member.lower(), (archive, member))
            except (OSError, zipfile.BadZipFile) as error:
                raise BenchmarkError(f"{archive.name}: not a readable zip archive: {error}") from error
        return found


def _there(file: Path) -> Path | None:
    """The file, where letters count in either case: published names of pictures differ from their files in that."""
    try:
        if file.is_file():
            return file
        near = (other for other in file.parent.iterdir() if other.name.lower() == file.name.lower())
        return next((other for other in near if other.is_file()), None)
    except OSError:  # no such folder, or a name that the file system cannot hold
        return None


# -------------------------------------------------------------------------------------------------------------- items

Part = str | PictureRef
"""A piece of a task or an answer: words or a picture."""

MARK = "<image>"
"""Stands in the texts of several benchmarks where a picture has its place."""


def placed(text: str, pictures: Sequence[PictureRef]) -> tuple[Part, ...]:
    """Words and pictures in order: a picture at each mark of the text, those left over after it; marks left over go."""
    parts: list[Part] = []
    words = text.split(MARK)
    for at, piece in enumerate(words):
        parts += [piece.strip()] * bool(piece.strip())
        parts += pictures[at : at + 1] if at < len(words) - 1 else pictures[at:]
    return tuple(parts)


@dataclass(frozen=True)
class Draft:
    """An item before its pictures are decoded.

    Attributes:
        row: where it stands.
        id: its name.
        task: words and pictures of the task, in order.
        kind: the part of the benchmark that it belongs to.
        answer: words and pictures of the published answer; empty where there is none.
        facts: what else the protocol needs.
    """

    row: Row
    id: str
    source: str
    task: tuple[Part, ...]
    kind: str = ""
    answer: tuple[Part, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The words of the task; where a picture stands among them, its number does: `[picture 0]`."""
        said, count = [], 0
        for part in self.task:
            said.append(part if isinstance(part, str) else f"[picture {count}]")
            count += not isinstance(part, str)
        return "\n".join(said)

    @property
    def pictures(self) -> Iterator[PictureRef]:
        """All pictures, those of the task first."""
        return (part for part in (*self.task, *self.answer) if isinstance(part, PictureRef))

    def build(self) -> Item:
        """The item.

        Raises:
            BenchmarkError: a picture that cannot be decoded or is not safe to.
        """
        try:
            images = tuple(KeptPicture(part) for part in self.task if isinstance(part, PictureRef))
            task = Task(self.question, images, id=self.id, source=self.source)
            answer = [part if isinstance(part, str) else KeptPicture(part) for part in self.answer]
        except TaskError as error:
            raise BenchmarkError(str(error)) from error
        return Item(task, self.kind, as_document(answer) if answer else None, self.facts)


class Items(Sequence[Item]):
    """The items of a benchmark; each is put together, its pictures looked through, when it is first taken.

    Raises:
        BenchmarkError: two items of one name, or an item without words.
    """

    def __init__(self, drafts: Iterable[Draft]) -> None:
        self._drafts = tuple(drafts)
        self._built: dict[int, Item] = {}
        seen: dict[str, str] = {}
        for draft in self._drafts:
            if draft.id in seen:
                raise BenchmarkError(
                    f"{draft.row.where}, field 'id': expected a name of its own, not {draft.id!r:.80}, "
                    f"which is also that of {seen[draft.id]}"
                )
            seen[draft.id] = draft.row.where
            if not any(isinstance(part, str) for part in draft.task):
                raise BenchmarkError(f"{draft.row.where}: expected a task with words, not pictures alone")

    def __len__(self) -> int:
        return len(self._drafts)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Items: ...

    def __getitem__(self, index: int | slice) -> Item | Items:
        if isinstance(index, slice):
            return Items(self._drafts[index])
        place = range(len(self))[index]
        if place not in self._built:
            self._built[place] = self._drafts[place].build()
        return self._built[place]

    def at(self, places: Iterable[int]) -> Items:
        """Those at the places, in that order; nothing is decoded for it."""
        return Items(self._drafts[place] for place in places)

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the items, in order; nothing is decoded for them."""
        return tuple(draft.id for draft in self._drafts)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the items hold, the files of their pictures included, wherever they lie."""
        hasher = hashlib.sha256()
        for draft in self._drafts:
            hasher.update(json.dumps([draft.id, draft.row.data], sort_keys=True).encode() + b"\n")
            for picture in draft.pictures:
                hasher.update(hashlib.sha256(_bytes(picture)).digest())
        return hasher.hexdigest()


def load_items(data: str | Path | None, published: Published, draft: Callable[[Row, Shelf], Draft]) -> Items:
    """The items of a benchmark's files, in their order.

    Args:
        data: a file, a folder that holds the published ones, or a name on the hub.
        published: what they are called.
        draft: makes an item of a row and the pictures beside its file.

    Raises:
        BenchmarkError: no such files, or one that is not as published.
    """
    drafts: list[Draft] = []
    for file in find_files(data, published):
        shelf = Shelf(file, published.roots)
        drafts += [draft(row, shelf) for row in read_rows(file)]
    return Items(drafts)


def _bytes(picture: PictureRef) -> bytes:
    try:
        if isinstance(picture, PackedPicture):
            return picture.read()
        assert picture.path is not None, "pictures of benchmarks lie in files"
        return picture.path.read_bytes()
    except (OSError, TaskError) as error:
        raise BenchmarkError(str(error)) from error


def as_document(parts: Iterable[str | Picture]) -> Document:
    """Words and pictures as a document: texts that meet are joined, empty ones left out, pictures stand as figures that were given."""
    blocks: list[Block] = []
    for part in parts:
        if isinstance(part, Picture):
            call = Call(GIVEN, part.provenance.title, {})
            blocks.append(Figure(call.to_json(), call, part))
        elif part.strip():
            if blocks and isinstance(blocks[-1], Text):
                part = f"{blocks.pop().text}\n\n{part}"  # type: ignore[union-attr]
            blocks.append(Text(part))
    return Document(tuple(blocks))


def as_given(document: Document) -> tuple[str | Picture, ...]:
    """A document as material for a question: its words and the pictures that came."""
    pieces = (block.text if isinstance(block, Text) else block.picture for block in document)
    return tuple(piece for piece in pieces if piece is not None)

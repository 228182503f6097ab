"""Input pictures of tasks: where they stand, and decoding them with care.

Task files come from outside, and so do the pictures that they name. Nothing is decoded while a file is read; later only a few plain
formats are, below limits of bytes and pixels, and whatever goes wrong is a `TaskError` that names the row.
"""

from __future__ import annotations

import difflib
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps, UnidentifiedImageError

from llmi_env.document import Picture, Provenance
from llmi_env.errors import TaskError

if TYPE_CHECKING:
    from llmi_env.tools.corpus import Corpus, Entry

MAX_PICTURE_BYTES = 32 * 2**20
MAX_PICTURE_PIXELS = 4096 * 4096
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
CORPUS_PREFIX = "corpus:"


@dataclass(frozen=True)
class PictureRef:
    """A picture that is not decoded yet: bytes, a file, or an entry of the bundled picture set."""

    where: str
    data: bytes | None = None
    path: Path | None = None
    corpus_id: str | None = None

    @property
    def name(self) -> str:
        """What stands for the picture in the digest of the set."""
        if self.data is not None:
            return hashlib.sha256(self.data).hexdigest()
        return f"{CORPUS_PREFIX}{self.corpus_id}" if self.corpus_id is not None else str(self.path)

    def load(self) -> Picture:
        """Decode the picture; raises `TaskError` where that is not possible or not safe."""
        if self.corpus_id is not None:
            return _corpus_picture(self.corpus_id, self.where)
        if self.data is not None:
            return Picture(decode_picture(self.data, self.where), Provenance(backend="input", source="embedded"))
        assert self.path is not None
        try:
            if not self.path.is_file():
                raise TaskError(f"{self.where}: there is no picture file {str(self.path)!r}")
            if self.path.stat().st_size > MAX_PICTURE_BYTES:
                raise TaskError(f"{self.where}: {self.path.name!r} is larger than {MAX_PICTURE_BYTES >> 20} MiB")
            data = self.path.read_bytes()
        except (OSError, ValueError) as error:
            if isinstance(error, TaskError):
                raise
            raise TaskError(f"{self.where}: cannot read picture {str(self.path)!r}: {error}") from error
        image = decode_picture(data, self.where)
        return Picture(image, Provenance(backend="input", title=self.path.stem, source=self.path.name))


def picture_refs(value: Any, where: str, folder: Path) -> tuple[PictureRef, ...]:
    """Read the field `images` of a row: nothing is decoded, but a bundled picture must exist.

    Raises:
        TaskError: an item that cannot stand for a picture.
    """
    if value is None:
        return ()
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TaskError(f"{where}, field 'images': must be a list, not {value!r:.60}")
    return tuple(_picture_ref(item, f"{where}, field 'images[{index}]'", folder) for index, item in enumerate(value))


def _picture_ref(item: Any, where: str, folder: Path) -> PictureRef:
    if isinstance(item, Image.Image):
        buffer = io.BytesIO()
        item.convert("RGB").save(buffer, format="PNG")
        return PictureRef(where, data=buffer.getvalue())
    if isinstance(item, Mapping):
        data = item.get("bytes")
        if isinstance(data, bytes | bytearray) and data:
            return PictureRef(where, data=bytes(data))
        item = item.get("path") or item.get("image")
    if not isinstance(item, str) or not item.strip():
        raise TaskError(f"{where}: must be 'corpus:ID', a path, or an object with 'bytes' or 'path'")
    if item.startswith(CORPUS_PREFIX):
        _corpus_entry(item.removeprefix(CORPUS_PREFIX), where)
        return PictureRef(where, corpus_id=item.removeprefix(CORPUS_PREFIX))
    if "://" in item and not item.startswith("file://"):
        raise TaskError(f"{where}: pictures are not fetched from the network: save {item!r:.80} beside the file")
    return PictureRef(where, path=folder / item.removeprefix("file://"))


def decode_picture(data: bytes, where: str) -> Image.Image:
    """Decode a picture from outside as RGB (its first frame, upright, transparency on white).

    Raises:
        TaskError: not a PNG, JPEG, WebP, GIF or BMP picture, broken, or larger than the limits.
    """
    if len(data) > MAX_PICTURE_BYTES:
        raise TaskError(f"{where}: the picture is larger than {MAX_PICTURE_BYTES >> 20} MiB")
    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PICTURE_PIXELS:
                raise TaskError(f"{where}: {width}x{height} pixels; at most {MAX_PICTURE_PIXELS} are allowed")
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                layer = upright.convert("RGBA")
                flat = Image.new("RGB", layer.size, "white")
                flat.paste(layer, mask=layer.getchannel("A"))
                return flat
            return upright.convert("RGB")
    except TaskError:
        raise
    except UnidentifiedImageError:  # its message holds the address of a buffer
        raise TaskError(f"{where}: not a readable picture: none of {', '.join(PICTURE_FORMATS)}") from None
    except Exception as error:  # decoders raise nearly anything on hostile bytes, SyntaxError and struct.error included
        raise TaskError(f"{where}: not a readable picture: {type(error).__name__}: {error}") from error


@cache
def _corpus() -> tuple[Corpus, dict[str, Entry]]:
    from llmi_env.tools import corpus

    bundled = corpus.bundled()
    return bundled, {entry.id: entry for entry in bundled.entries}


def _corpus_entry(corpus_id: str, where: str) -> Entry:
    _, entries = _corpus()
    if corpus_id not in entries:
        near = difflib.get_close_matches(corpus_id, entries, n=1)
        hint = f", did you mean {CORPUS_PREFIX + near[0]!r}?" if near else ""
        raise TaskError(f"{where}: there is no bundled picture {corpus_id!r:.80}{hint}")
    return entries[corpus_id]


def _corpus_picture(corpus_id: str, where: str) -> Picture:
    corpus, _ = _corpus()
    entry = _corpus_entry(corpus_id, where)
    return Picture(
        corpus.open(entry),
        Provenance(
            backend="corpus",
            title=entry.title,
            caption=entry.caption,
            source=entry.source,
            author=entry.author,
            licence=entry.licence,
        ),
    )

"""The pictures that the offline search tool finds: a curated set that ships, and the user's own.

A corpus is a folder with `manifest.jsonl`, one picture a line, and the pictures beside it. Every picture carries title, caption, author,
source and licence. The bundled corpus is read-only; `llmi corpus add` fills the user's own, which stands in the user's data folder
(`LLMI_DATA_DIR`, by default the platform's). Ranking is in `llmi_env.tools.corpus_index`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from PIL import Image, ImageOps, UnidentifiedImageError

from llmi_env.errors import AssetError, ConfigError, did_you_mean
from llmi_env.tools import debian_sets

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Added",
    "Corpus",
    "Entry",
    "add_debian",
    "add_folder",
    "build_index",
    "bundled",
    "index_ready",
    "user_folder",
]

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
SIDE = 640
"""Longest side, in pixels, of a picture taken in from a user's folder."""
MAX_PIXELS = 50_000_000
"""Pictures with more pixels are not decoded."""
MAX_BYTES = 100_000_000
"""Files larger than this are not opened."""
MIN_SIDE = 16
_CAMERA = re.compile(r"(?i)^(img|dsc|dscn|dscf|pxl|p|image|photo|picture|screenshot|scan)?[\s_-]*[\d\s_-]*$")


@dataclass(frozen=True)
class Entry:
    """One picture of a corpus and what is known about it.

    Attributes:
        id: name within its corpus.
        file: path of the picture within the corpus folder.
        title: what it shows, in a few words.
        caption: one sentence or two on what is seen and where.
        keywords: further words to find it by.
        kind: `photograph`, `illustration`, `icon`, `map` or `picture`.
        author: as its source states it.
        source: URL or name of where it comes from.
        licence: SPDX identifier, or `unknown` for a user's own.
        licence_url: where the licence can be read.
        sha256: digest of the file.
    """

    id: str
    file: str
    title: str
    caption: str = ""
    keywords: tuple[str, ...] = ()
    kind: str = "picture"
    author: str = ""
    source: str = ""
    licence: str = "unknown"
    licence_url: str = ""
    sha256: str = ""

    @property
    def described(self) -> str:
        """Title and caption as one text: what stands for the picture where meanings are compared."""
        if not self.caption or self.caption.casefold().startswith(self.title.casefold()):
            return self.caption or self.title
        return f"{self.title}. {self.caption}"


@dataclass(frozen=True)
class Corpus:
    """Pictures of one folder.

    Attributes:
        folder: where they stand.
        entries: what is known about them, in the manifest's order.
        digest: changes whenever the manifest does.
        grows: whether pictures are added to it from time to time.
    """

    folder: Path
    entries: tuple[Entry, ...]
    digest: str
    grows: bool = False

    @classmethod
    def load(cls, folder: Path, *, grows: bool = False) -> Corpus:
        """Read the manifest of `folder`.

        Raises:
            AssetError: there is none, or a line of it cannot be read; says which.
        """
        path = folder / MANIFEST
        try:
            data = path.read_bytes()
        except OSError as error:
            raise AssetError(
                f"the picture corpus has no readable {MANIFEST} ({error.strerror}); install the package again"
            ) from error
        entries = []
        for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                entries.append(_entry(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise AssetError(
                    f"line {number} of the corpus manifest in {folder.name}/ cannot be read ({error}); remove the line, "
                    "or install the package again where it is the bundled corpus"
                ) from error
        return cls(folder, tuple(entries), hashlib.sha256(data).hexdigest(), grows)

    def open(self, entry: Entry) -> Image.Image:
        """The picture of `entry`, RGB.

        Raises:
            AssetError: the file is missing or is not the picture that the manifest speaks of.
        """
        try:
            data = (self.folder / entry.file).read_bytes()
        except OSError as error:
            raise AssetError(
                f"picture {entry.id!r} of the corpus is missing ({error.strerror}); install or add it again"
            ) from error
        if entry.sha256 and hashlib.sha256(data).hexdigest() != entry.sha256:
            raise AssetError(f"picture {entry.id!r} of the corpus is damaged; install or add it again")
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")


def _entry(row: Mapping[str, Any]) -> Entry:
    if not isinstance(row, Mapping):
        raise ValueError("not an object")
    texts = {
        name: str(row.get(name) or "")
        for name in ("id", "file", "title", "caption", "author", "source", "licence_url", "sha256")
    }
    for name in ("id", "file", "title"):
        if not texts[name]:
            raise ValueError(f"field {name!r} is missing")
    if Path(texts["file"]).is_absolute() or ".." in Path(texts["file"]).parts:
        raise ValueError("field 'file' leads out of the corpus")
    keywords = row.get("keywords") or ()
    if isinstance(keywords, str):
        keywords = [word.strip() for word in keywords.split(",")]
    return Entry(
        **texts,
        keywords=tuple(str(word) for word in keywords if str(word).strip()),
        kind=str(row.get("kind") or "picture"),
        licence=str(row.get("licence") or "unknown"),
    )


def bundled() -> Corpus:
    """The curated corpus that ships with the package."""
    return Corpus.load(Path(str(files("llmi_env") / "assets" / "corpus")))


def user_folder() -> Path:
    """Where the user's own pictures are kept; it need not exist."""
    import platformdirs

    root = os.environ.get("LLMI_DATA_DIR") or platformdirs.user_data_dir("llmi", appauthor=False)
    return Path(root) / "corpus"


def user() -> Corpus | None:
    """The user's own pictures, where there are any."""
    folder = user_folder()
    return Corpus.load(folder, grows=True) if (folder / MANIFEST).exists() else None


# ------------------------------------------------------------------------------------------------------------------ index


def index_ready() -> bool:
    """Whether the meanings of the bundled pictures are computed and kept in the cache."""
    from llmi_env.tools import corpus_index

    return corpus_index.vectors_ready(bundled())


def build_index(console: Console | None = None) -> None:
    """Compute the meanings of the bundled pictures and keep them in the cache (seconds; then never again)."""
    from llmi_env.tools import corpus_index

    corpus_index.vectors_of(bundled(), console=console)


# ------------------------------------------------------------------------------------------------------------------ adding


@dataclass
class Added:
    """What became of a folder that was added.

    Attributes:
        folder: the user's corpus.
        added: how many pictures were taken in.
        known: how many had been taken in before.
        failed: file and reason of each that could not be.
    """

    folder: Path
    added: int = 0
    known: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        text = f"{self.added} pictures added to {self.folder}"
        if self.known:
            text += f", {self.known} were there"
        if self.failed:
            shown = [f"  {name}: {reason}" for name, reason in list(self.failed.items())[:10]]
            if len(self.failed) > len(shown):
                shown.append(f"  and {len(self.failed) - len(shown)} more")
            text += f"; {len(self.failed)} left out:\n" + "\n".join(shown)
        return text


@dataclass(frozen=True)
class _Candidate:
    path: Path
    name: str
    entry: Entry


def add_folder(directory: Path | str, *, console: Console | None = None, into: Path | None = None) -> Added:
    """Take the pictures of `directory`, and of the folders in it, into the user's corpus.

    What a picture shows is read from, in this order: `NAME.json` beside it (`title`, `caption`, `keywords`, `author`, `source`,
    `licence`), `NAME.txt` (first line the caption, or a title and a caption), a line of `captions.jsonl` or `captions.csv` (with a
    column `file`), or the file's name. Pictures are checked, reduced to 640 pixels and copied; run again, only new ones are read.

    Args:
        directory: folder of pictures.
        console: where progress is shown; `None` shows none.
        into: the corpus to add to; by default the user's.

    Raises:
        ConfigError: no such folder, no picture in it, or none with a description to find it by.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ConfigError(f"there is no folder {str(directory)!r}")
    paths = sorted(path for path in directory.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise ConfigError(f"no pictures in {str(directory)!r}; known endings: {', '.join(sorted(SUFFIXES))}")
    result = Added(into or user_folder())
    listed = _listed(directory, result)
    candidates = []
    for path in paths:
        name = path.relative_to(directory).as_posix()
        try:
            candidates.append(_Candidate(path, name, _described(path, listed.get(name) or listed.get(path.name))))
        except ValueError as error:
            result.failed[name] = str(error)
    return _take_in(candidates, result, console)


def add_debian(name: str, *, console: Console | None = None, into: Path | None = None) -> Added:
    """Fetch a picture set from Debian (`tuxpaint`, `gcompris` or `openclipart`) and take it into the user's corpus.

    Raises:
        ConfigError: no such set.
        AssetError: this is not a Debian system, or the package could not be fetched.
    """
    from llmi_env.folders import cache_dir

    if name not in debian_sets.SETS:
        raise ConfigError(f"no Debian picture set is called {name!r}" + did_you_mean(name, debian_sets.SETS))
    package = debian_sets.SETS[name]
    if console is not None:
        console.print(f"fetching the Debian package {package} ...")
    unpacked = debian_sets.fetch(package, cache_dir() / "debian")
    candidates = []
    for found in debian_sets.pictures(name, unpacked):
        inside = found.path.relative_to(unpacked).as_posix()
        entry = Entry(
            id="",
            file="",
            title=found.title,
            caption=found.caption,
            keywords=found.keywords,
            author=found.author,
            source=f"Debian package {package}",
            licence=found.licence,
        )
        candidates.append(_Candidate(found.path, f"{name}/{inside}", entry))
    return _take_in(candidates, Added(into or user_folder()), console)


def _listed(directory: Path, result: Added) -> dict[str, Mapping[str, Any]]:
    """Rows of `captions.jsonl` and `captions.csv`, by file name; what cannot be read is reported."""
    rows: list[Any] = []
    table = directory / "captions.jsonl"
    if table.exists():
        for number, line in enumerate(table.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            try:
                rows.append(json.loads(line) if line.strip() else {})
            except ValueError as error:
                result.failed[f"{table.name}, line {number}"] = f"not JSON: {error}"
    table = directory / "captions.csv"
    if table.exists():
        with table.open(encoding="utf-8", errors="replace", newline="") as file:
            reader = csv.DictReader(file)
            if "file" not in (reader.fieldnames or ()):
                result.failed[table.name] = "no column 'file' in its first line"
            else:
                rows.extend(reader)
    return {str(row["file"]): row for row in rows if isinstance(row, Mapping) and row.get("file")}


def _described(path: Path, listed: Mapping[str, Any] | None) -> Entry:
    """What the files beside a picture say of it. Raises `ValueError` where there is nothing to find it by."""
    row: dict[str, Any] = {key: value for key, value in (listed or {}).items() if value}
    note, record = path.with_suffix(".txt"), path.with_suffix(".json")
    if note.exists():
        lines = [
            line.strip() for line in note.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
        if len(lines) == 1:
            row["caption"] = lines[0]
        elif lines:
            row["title"], row["caption"] = lines[0], " ".join(lines[1:])
    if record.exists():
        try:
            loaded = json.loads(record.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise ValueError(f"{record.name} cannot be read: {error}") from error
        if not isinstance(loaded, Mapping):
            raise ValueError(f"{record.name} is not an object")
        row.update(loaded)
    title = str(row.get("title") or "")
    if not title:
        stem = re.sub(r"[_\-.]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.stem)).strip()
        title = "" if _CAMERA.match(stem) else stem
    title = title or str(row.get("caption") or "")[:80]
    if not title:
        raise ValueError(
            f"nothing says what it shows; write a sentence into {note.name} beside it, or give the file a speaking name"
        )
    row = {
        "licence": "unknown",
        "source": path.name,
        **row,
        "title": title,
        "id": "new",
        "file": path.name,
        "sha256": "",
    }
    return _entry(row)


def _take_in(candidates: Iterable[_Candidate], result: Added, console: Console | None) -> Added:
    """Check, reduce and copy pictures. Each is written to the manifest when it is there, so that a stop loses nothing."""
    candidates = list(candidates)
    (result.folder / "pictures").mkdir(parents=True, exist_ok=True)
    manifest = result.folder / MANIFEST
    with FileLock(result.folder / ".lock"), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # sizes are checked before decoding
        _drop_unfinished_line(manifest)
        known = {entry.id for entry in Corpus.load(result.folder).entries} if manifest.exists() else set()
        with manifest.open("a", encoding="utf-8") as file:
            for candidate in _progress(candidates, console):
                try:
                    entry = _copy(candidate, result.folder, known)
                except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                    # Pillow raises SyntaxError on broken PNG chunks
                    result.failed[candidate.name] = _reason(error)
                    continue
                if entry is None:
                    result.known += 1
                    continue
                known.add(entry.id)
                file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
                file.flush()
                result.added += 1
    for name, reason in result.failed.items():
        logger.info("not added: %s: %s", name, reason)
    _embed_now(result.folder, console)
    return result


def _embed_now(folder: Path, console: Console | None) -> None:
    """Compute the new pictures' meanings at once, so that the next search need not; without the model, searches go by words."""
    from llmi_env import embeddings
    from llmi_env.tools import corpus_index

    if embeddings.available():
        corpus_index.vectors_of(Corpus.load(folder, grows=True), console=console)


def _drop_unfinished_line(manifest: Path) -> None:
    """A stop in the middle of a line leaves half of it; that picture is taken in again."""
    if not manifest.exists():
        return
    data = manifest.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        logger.warning("the last line of %s was not finished; dropping it", manifest.name)
        manifest.write_bytes(whole)


def _copy(candidate: _Candidate, folder: Path, known: set[str]) -> Entry | None:
    if not candidate.entry.title:
        raise ValueError("nothing says what it shows")
    size = candidate.path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}")
    data = candidate.path.read_bytes()
    about = json.dumps([candidate.entry.title, candidate.entry.caption, candidate.entry.keywords], ensure_ascii=False)
    ident = hashlib.sha256(data + about.encode()).hexdigest()[:20]
    if ident in known:
        return None
    target = folder / "pictures" / f"{ident}.webp"
    with Image.open(candidate.path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS / 1e6:.0f} million")
        if min(image.size) < MIN_SIDE:
            raise ValueError(f"{image.width} x {image.height} pixels, too small to show anything")
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    upright.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    flat = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")
    partial = target.with_suffix(".part")
    flat.save(partial, "WEBP", quality=85)
    partial.replace(target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    return replace(candidate.entry, id=ident, file=f"pictures/{target.name}", sha256=digest)


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture that can be read"
    return str(error) or type(error).__name__


def _progress(candidates: list[_Candidate], console: Console | None) -> Iterator[_Candidate]:
    if console is None:
        yield from candidates
        return
    from rich.progress import track

    yield from track(candidates, description="taking in pictures", console=console)

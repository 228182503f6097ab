"""Pictures that Debian packages carry: fetched without root, read out of their archives, with licence and author where they are stated.

Debian's own tools do the work (`apt-get download`, `dpkg-deb`); elsewhere the error says what is missing. Used by `llmi corpus add
--debian SET` and by the script that builds the bundled corpus.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmi_env.errors import AssetError, ConfigError, did_you_mean

__all__ = ["SETS", "DebianPicture", "fetch", "licences", "pictures", "read_rcc"]

logger = logging.getLogger(__name__)

SETS: dict[str, str] = {
    "tuxpaint": "tuxpaint-stamps-default",
    "gcompris": "gcompris-qt-data",
    "openclipart": "openclipart-png",
}
"""Picture sets by the name that the command line uses, and the package that carries each."""

_GCOMPRIS_FOLDERS = ("categorization", "chronos", "explore_farm_animals", "explore_world_animals", "lang")
_SPDX = {"public-domain": "LicenseRef-public-domain", "CC0": "CC0-1.0"}


@dataclass(frozen=True)
class DebianPicture:
    """One picture of a set, before it is taken in.

    Attributes:
        path: the file on this machine.
        title: what it shows, in a few words.
        caption: a sentence, where the set has one; else empty.
        keywords: its place in the set.
        licence: SPDX identifier, or the name that the package's copyright file uses.
        author: as stated, or the package.
    """

    path: Path
    title: str
    caption: str
    keywords: tuple[str, ...]
    licence: str
    author: str


def fetch(package: str, folder: Path) -> Path:
    """Download and unpack a Debian package into `folder`, unless it is there; returns where it was unpacked. Needs no root.

    Raises:
        AssetError: not a Debian system, no such package, or the download failed; says which.
    """
    target = folder / package
    done = target / ".unpacked"
    if done.exists():
        return target
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise AssetError(
                f"{program} is not here: this source needs Debian or Ubuntu; use a folder of pictures instead"
            )
    folder.mkdir(parents=True, exist_ok=True)
    _call(
        ["apt-get", "download", package],
        folder,
        f"could not download the Debian package {package}; is there a network, and are the package lists there "
        "('sudo apt-get update')?",
    )
    archives = sorted(folder.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
    if not archives:
        raise AssetError(f"apt-get downloaded nothing for {package}")
    shutil.rmtree(target, ignore_errors=True)
    _call(["dpkg-deb", "--extract", str(archives[-1]), str(target)], folder, f"could not unpack {archives[-1].name}")
    done.touch()
    return target


def _call(command: list[str], folder: Path, failure: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=1800)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()
        raise AssetError(f"{failure} ({last[-1] if last else f'exit status {error.returncode}'})") from error
    except subprocess.TimeoutExpired as error:
        raise AssetError(f"{failure} (no end after 30 minutes)") from error


def pictures(name: str, unpacked: Path) -> Iterator[DebianPicture]:
    """The pictures of set `name`, in the order of their paths.

    Raises:
        ConfigError: no such set.
    """
    if name == "tuxpaint":
        yield from _tuxpaint(unpacked)
    elif name == "openclipart":
        yield from _openclipart(unpacked)
    elif name == "gcompris":
        yield from _gcompris(unpacked)
    else:
        raise ConfigError(f"no Debian picture set is called {name!r}" + did_you_mean(name, SETS))


def _tuxpaint(unpacked: Path) -> Iterator[DebianPicture]:
    root = unpacked / "usr/share/tuxpaint/stamps"
    for path in sorted(root.rglob("*.png")):
        place = path.relative_to(root).parts[:-1]
        note = path.with_suffix(".txt")
        lines = note.read_text(encoding="utf-8", errors="replace").splitlines() if note.exists() else []
        caption = lines[0].strip() if lines else ""
        if "alphabets" in place or not caption:
            continue
        yield DebianPicture(
            path, _words(path.stem) or caption[:80], caption, place, "GPL-2.0-only", "Tux Paint contributors"
        )


def _openclipart(unpacked: Path) -> Iterator[DebianPicture]:
    root = unpacked / "usr/share/openclipart/png"
    for path in sorted(root.rglob("*.png")):
        place = path.relative_to(root).parts[:-1]
        title = _words(path.stem) or _words(path.parent.name)
        yield DebianPicture(path, title, "", tuple(map(_words, place)), "CC-PDDC", "Open Clip Art Library")


def _gcompris(unpacked: Path) -> Iterator[DebianPicture]:
    """Whole pictures (not the pieces of puzzles) whose licence the package's copyright file names; titles come from the file's name."""
    stated = licences(unpacked / "usr/share/doc/gcompris-qt-data/copyright")
    target = unpacked / "resources"
    for archive in sorted((unpacked / "usr/share/gcompris-qt/rcc").glob("*.rcc")):
        for inside, data in read_rcc(archive).items():
            if not inside.endswith((".webp", ".png", ".jpg")):
                continue
            path = target / inside
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    for path in sorted(target.rglob("*")):
        if not path.is_file():
            continue
        inside = path.relative_to(target).as_posix().removeprefix("gcompris/")
        owner = stated.of(inside)
        title = _words(path.stem)
        folders = Path(inside).parts[2:-1]
        if owner is None or not folders or folders[0] not in _GCOMPRIS_FOLDERS or path.stem[-1].isdigit():
            continue  # a numbered file's name says too little to find it by
        place = tuple(_words(part) for part in folders[1:] if part not in ("resource", "images", "words_sample"))
        yield DebianPicture(path, title, "", place, owner.licence, owner.author)


def _words(stem: str) -> str:
    """A file's stem as words: `leaningTowerOfPisa` and `leaning_tower_of_pisa_02` both read `leaning tower of pisa`."""
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)
    return re.sub(r"[\s\d]+$", "", re.sub(r"[_\-.]+", " ", stem)).strip().lower()


# ---------------------------------------------------------------------------------------------------------- machine-readable copyright


@dataclass(frozen=True)
class Stated:
    """What a copyright file states for some files."""

    globs: tuple[str, ...]
    licence: str
    author: str
    comment: str


@dataclass(frozen=True)
class Licences:
    """A machine-readable Debian copyright file."""

    stated: tuple[Stated, ...]

    def of(self, path: str) -> Stated | None:
        """What is stated for `path` by name; the catch-all `*` does not count. Pictures may have been converted to WebP since."""
        stem = path.rsplit(".", 1)[0]
        names = [path, *(f"{stem}.{ending}" for ending in ("jpg", "png", "jpeg", "webp"))]
        for name in names:
            for stated in self.stated:
                if any(glob != "*" and fnmatch.fnmatchcase(name, glob) for glob in stated.globs):
                    return stated
        return None


def _holder(line: str) -> str:
    """The holder in one line of a copyright field: without years, mail address and sign."""
    line = re.sub(r"<[^>]*>|\(c\)|©|\b(?:19|20)\d\d(?:\s*-\s*(?:19|20)\d\d)?\b", "", line)
    return re.sub(r"\s+", " ", line).strip(" ,;:.").removeprefix("by ")


def licences(copyright_file: Path) -> Licences:
    """Read a machine-readable copyright file (format 1.0 of Debian's policy)."""
    found = []
    for paragraph in re.split(r"\n\s*\n", copyright_file.read_text(encoding="utf-8")):
        fields: dict[str, str] = {}
        current = ""
        for line in paragraph.splitlines():
            head = re.match(r"([A-Za-z-]+):(.*)", line)
            if head:
                current = head[1]
                fields[current] = head[2].strip()
            elif current:
                fields[current] += "\n" + line.strip()
        if "Files" in fields:
            licence = fields.get("License", "").split("\n")[0]
            author = "; ".join(filter(None, map(_holder, fields.get("Copyright", "").splitlines())))
            found.append(
                Stated(tuple(fields["Files"].split()), _SPDX.get(licence, licence), author, fields.get("Comment", ""))
            )
    return Licences(tuple(found))


# ---------------------------------------------------------------------------------------------------------- Qt resources


def read_rcc(path: Path) -> dict[str, bytes]:
    """Files inside a compiled Qt resource, by path.

    Raises:
        AssetError: not such a file, or one that uses a compression other than zlib.
    """
    data = path.read_bytes()
    if data[:4] != b"qres":
        raise AssetError(f"{path.name} is not a compiled Qt resource")
    version, tree, blobs, names = struct.unpack_from(">IIII", data, 4)
    row = 14 if version < 2 else 22  # version 2 appends a time stamp
    found: dict[str, bytes] = {}
    todo = [(0, "")]
    while todo:
        node, parent = todo.pop()
        name_at, flags = struct.unpack_from(">IH", data, tree + node * row)
        here = f"{parent}/{_rcc_name(data, names + name_at)}" if node else ""
        if flags & 2:
            count, first = struct.unpack_from(">II", data, tree + node * row + 6)
            todo.extend((first + child, here) for child in reversed(range(count)))
            continue
        (at,) = struct.unpack_from(">I", data, tree + node * row + 10)
        (length,) = struct.unpack_from(">I", data, blobs + at)
        blob = data[blobs + at + 4 : blobs + at + 4 + length]
        if flags & 4:
            raise AssetError(f"{path.name}: {here} is compressed with zstd, which is not read here")
        found[here.lstrip("/")] = zlib.decompress(blob[4:]) if flags & 1 else blob
    return found


def _rcc_name(data: bytes, at: int) -> str:
    (length,) = struct.unpack_from(">H", data, at)
    return data[at + 6 : at + 6 + 2 * length].decode("utf-16-be")

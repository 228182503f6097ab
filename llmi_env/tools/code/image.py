"""The image of the tier `docker`: Python and the plotting stack, nothing else.

Where a registry can be reached, `deploy/code-tool/Dockerfile` makes it. Without one it is made from the interpreter that runs here: its
standard library, the plotting packages with what they need, and the system's libraries that those load, as the one layer of an image. That
takes seconds, and charts have the same bytes as here.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from llmi_env.errors import ConfigError, ToolUnavailable, require
from llmi_env.tools.code.container import LABEL, connect

PACKAGES = ("matplotlib", "numpy", "pandas", "seaborn")
_LEFT_OUT = frozenset(
    [
        "test",
        "tests",
        "idlelib",
        "tkinter",
        "turtledemo",
        "lib2to3",
        "ensurepip",
        "site-packages",
        "dist-packages",
        "include",
    ]
)
_NAME = re.compile(r"(?:[a-z0-9][a-z0-9.-]*(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?")
_LOADED_LATE = ("libgcc_s.so.1",)  # by the C library itself, when a thread ends

Say = Callable[[str], None]


def build_image(name: str, say: Say = lambda line: None) -> str:
    """Make the image from this interpreter and give it to the engine.

    Args:
        name: of the image.
        say: is told how far it is.

    Returns:
        The image's id.

    Raises:
        ToolUnavailable: no engine answers, or it refuses.
    """
    if sys.platform != "linux":
        raise ToolUnavailable(
            f"an image for Linux cannot be made of a Python for {sys.platform}: docker build -t {name} -f deploy/code-tool/Dockerfile ."
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name of an image: small letters, digits, and between them . _ - / : as in 'llmi-code:1'"
        )
    client = connect()
    repository, tag = require("docker.utils", "the sandbox `docker`", "sandbox").parse_repository_tag(name)
    with tempfile.TemporaryFile() as file:
        say("collecting Python, " + ", ".join(PACKAGES))
        write_root(file)
        say(f"importing {file.tell() / 2**20:.0f} MiB")
        file.seek(0)
        changes = [f'LABEL {LABEL}="image"', f"ENV PATH={os.path.dirname(_python())}:/usr/bin:/bin"]
        try:
            client.api.import_image_from_file(file, repository=repository, tag=tag or "latest", changes=changes)
            return str(client.images.get(name).id)
        except Exception as error:
            raise ToolUnavailable(f"the engine did not take the image: {' '.join(str(error).split())[:300]}") from error
        finally:
            client.close()


def write_root(file: object) -> None:
    """Write the image's file system as a tar archive."""
    with tarfile.open(fileobj=file, mode="w") as archive:  # type: ignore[call-overload]
        for path in ("tmp", "proc", "dev", "sys", "chart", "etc"):
            _folder(archive, path)
        _text(archive, "etc/passwd", "nobody:x:65534:65534:nobody:/chart:/bin/false\n")
        _text(archive, "etc/group", "nogroup:x:65534:\n")
        binaries = []
        for source, target in _files():
            archive.add(source, target.lstrip("/"), recursive=False, filter=_plain)
            if ".so" in source.name or source.name.startswith("python"):
                binaries.append(source)
        for library in _libraries(binaries):
            archive.add(os.path.realpath(library), library.lstrip("/"), recursive=False, filter=_plain)
        link = tarfile.TarInfo("usr/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, _python()
        archive.addfile(link)


def _python() -> str:
    """The interpreter itself, beneath a virtual environment."""
    return os.path.realpath(sys.executable)


def _ask(question: str) -> str:
    """What the interpreter beneath the virtual environment prints."""
    return subprocess.run([_python(), "-c", question], capture_output=True, text=True, check=True).stdout.strip()


def _files() -> Iterator[tuple[Path, str]]:
    """Files of the interpreter and of the packages, and where they go."""
    yield Path(_python()), _python()
    library = Path(sysconfig.get_path("stdlib"))
    for path in _walk(library):
        yield path, str(path)
    packages = Path(_ask("import sysconfig; print(sysconfig.get_path('purelib'))"))
    for name in sorted(closure(PACKAGES)):
        distribution = metadata.distribution(name)
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            if ".." in file.parts or _LEFT_OUT & set(file.parts) or not path.is_file():
                continue
            yield path, str(packages / file)
    shared = sysconfig.get_config_var("LDLIBRARY")
    folder = sysconfig.get_config_var("LIBDIR")
    if shared and folder and (Path(folder) / shared).exists() and ".so" in shared:
        yield Path(folder) / shared, str(Path(folder) / shared)


def _walk(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT and not name.startswith("config-"))
        yield from (Path(folder) / name for name in sorted(names))


def closure(names: tuple[str, ...]) -> set[str]:
    """Distributions that these need at run time, themselves included."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower()
        if name in found:
            continue
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        for text in needed:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def _libraries(binaries: list[Path]) -> list[str]:
    """Libraries of the system that the binaries load, by the names under which the loader finds them."""
    said = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    found = set(re.findall(r"=> (/\S+) \(0x", said)) | set(re.findall(r"^\s+(/\S+) \(0x", said, re.MULTILINE))
    folders = {os.path.dirname(path) for path in found}
    found |= {path for folder in folders for name in _LOADED_LATE if os.path.exists(path := os.path.join(folder, name))}
    own = (os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix) + "/lib/python")
    return sorted(path for path in found if not os.path.realpath(path).startswith(own))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Readable for everybody, owned by root."""
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mode = 0o755 if info.mode & 0o100 else 0o644
    return info


def _folder(archive: tarfile.TarFile, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    archive.addfile(info)


def _text(archive: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(text)
    archive.addfile(info, io.BytesIO(text.encode()))

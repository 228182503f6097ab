"""Where this package keeps what it makes for later runs, and how a file gets there."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmi_env.errors import ConfigError


def cache_dir() -> Path:
    """Where models, indexes and judgments are kept: `LLMI_CACHE_DIR`, else the user's cache folder. Made when it is missing.

    Raises:
        ConfigError: it cannot be made, or is no folder.
    """
    import platformdirs

    named = os.environ.get("LLMI_CACHE_DIR")
    folder = Path(named or platformdirs.user_cache_dir("llmi"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        whence = "LLMI_CACHE_DIR names it" if named else "LLMI_CACHE_DIR names another one"
        raise ConfigError(f"the cache folder {folder} cannot be made or used ({error.strerror}); {whence}") from error
    return folder


def numbered_run(name: str, resume: bool) -> Path:
    """`runs/NAME`, or `runs/NAME-2` and so on where that is taken; with `resume` the one begun last.

    Raises:
        ConfigError: there is none to resume.
    """
    root = Path("runs")
    taken = {
        int(match[1] or 1): path
        for path in root.glob(f"{name}*")
        if (match := re.fullmatch(re.escape(name) + r"(?:-(\d+))?", path.name))
    }
    if resume:
        if not taken:
            raise ConfigError(f"there is no run of {name!r} under {root}/ to resume; start one without --resume")
        return taken[max(taken)]
    number = max(taken, default=0) + 1
    return root / (name if number == 1 else f"{name}-{number}")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file to, so that it appears in one step: at the end of the block it takes its place, unless the block fails.

    Args:
        path: the file; its folder is there.

    Raises:
        OSError: it cannot be put there; nothing is left of the try.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes, *, errors: str = "strict") -> None:
    """Write a file in one step: whenever it is looked at, there is the old one or the whole new one.

    Args:
        path: the file; its folder is there.
        content: text is written as UTF-8, bytes as they are.
        errors: what becomes of lone surrogates of a text, as `open` takes it.

    Raises:
        OSError: it cannot be written there; nothing is left of the try.
    """
    with whole(path) as part:
        part.write_bytes(content.encode("utf-8", errors) if isinstance(content, str) else content)


@contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; it is made where it is missing.

    Raises:
        ConfigError: another process is at work on it, or it cannot be written to.
    """
    import filelock

    lock = filelock.FileLock(folder / ".lock", blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise ConfigError(f"another process is at work on {folder}") from None
    except OSError as error:
        raise ConfigError(f"{folder}: a folder that can be written to is needed ({error})") from None
    try:
        yield
    finally:
        lock.release()

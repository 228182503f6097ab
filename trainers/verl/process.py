"""verl in a process of its own: started, watched, and ended with everything that Ray has started for it."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmi_env.errors import TrainingError

_POLL = 0.5
_PREFIX = re.compile(r"^(\x1b\[\d+m)*\([^)]*pid=[^)]*\)(\x1b\[\d+m)*\s*")  # of a line that Ray passes on
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Extra|Over|Episode)(\([^)]*\))?: ")
_PATIENCE = 20.0  # seconds to end by oneself after having been asked


class VerlProcess:
    """One run of `main_ppo`; use it in a `with` block.

    Args:
        command: program and arguments; unless they join a Ray that runs, the folder for Ray's own files is appended.
        environment: variables over those of this process.
        log: file that takes everything it prints.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        # Short: it holds sockets, whose paths may have 107 characters.
        self._ray_dir = Path(tempfile.mkdtemp(prefix="llmi-ray-"))
        # A Ray that runs already has its own, by which it is found.
        joins = "+ray_kwargs.ray_init.address=auto" in command
        self._command = [*command, *([] if joins else [f"+ray_kwargs.ray_init._temp_dir={self._ray_dir}"])]
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._before: Any = None

    def __enter__(self) -> VerlProcess:
        """Start it."""
        with self._log.open("ab") as out:
            # A session of its own: a Ctrl-C of the terminal reaches us alone, and we end it in order.
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_ends_with_its_parent(),
            )
        # A scheduler's SIGTERM is a Ctrl-C: everything is ended in order, and the run can go on later.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, _interrupt)
        return self

    def watch(self, news: Callable[[], None]) -> None:
        """Call `news` about twice a second until verl ends.

        Raises:
            TrainingError: it ended with an error; the message holds the last lines that tell why.
        """
        assert self._process is not None
        while self._process.poll() is None:
            news()
            time.sleep(_POLL)
        news()
        if self._process.returncode:
            raise TrainingError(
                f"verl ended with status {self._process.returncode}: {_last_words(self._log)} (all of it: {self._log})"
            )

    def __exit__(self, *_: object) -> None:
        """End verl and everything of Ray's that it has started."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None
        if self._process is not None and self._process.poll() is None:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                _signal_group(self._process.pid, number)
                try:
                    self._process.wait(_PATIENCE)
                    break
                except subprocess.TimeoutExpired:
                    continue
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = self._left()
            if not left:
                break
            for pid in left:
                _signal(pid, number)
            time.sleep(1.0)
        shutil.rmtree(self._ray_dir, ignore_errors=True)

    def _left(self) -> list[int]:
        """Processes of this Ray that still run: its own, which name the folder, and workers, which have it in their environment."""
        import psutil

        session = None if self._process is None else self._process.pid
        found = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            try:
                named = any(str(self._ray_dir) in part for part in process.info["cmdline"] or ())
                if named or (session is not None and os.getsid(process.pid) == session):
                    found.append(process.pid)
            except (psutil.Error, ProcessLookupError, PermissionError):
                continue
        return [pid for pid in found if pid != os.getpid()]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _ends_with_its_parent() -> Callable[[], None] | None:
    """What a child does at its start so that it gets a SIGTERM when its parent is killed; Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _last_words(log: Path) -> str:
    """The last line that names an error, or else the last one."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 200_000))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return "it left no log"
    told = [_PREFIX.sub("", line).strip() for line in lines if line.strip()]
    named = [line for line in told if _EXCEPTION.match(line) and "RayTaskError" not in line]
    if not named:
        return (told or ["it said nothing"])[-1][-600:]
    # What ended the run, and where it differs what was last heard of a worker, which is often why.
    why = next((line for line in reversed(named) if line.split(":")[0] != named[-1].split(":")[0]), "")
    return named[-1][-600:] + (f" (before it: {why[-300:]})" if why else "")

"""The tier `unsafe`: a new Python process for each chart, with nothing around it but a deadline and a clean environment.

It works wherever Python does (macOS, Windows, old kernels) and is never chosen by itself: the code has all the rights of this user.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from llmi_env.tools.code.config import MIB, CodeConfig
from llmi_env.tools.code.inside.frames import ANSWER_HEADER, MAX_HEAD
from llmi_env.tools.code.launch import bootstrap, environment, program
from llmi_env.tools.code.worker import Answer, Job

_POLL = 0.05


class FreshProcess:
    """Runs each job in a process of its own. Used by one thread at a time."""

    tier = "unsafe"
    alive = True
    folder = ""

    def __init__(self, config: CodeConfig) -> None:
        self.config = config
        self.calls = 0
        self.about: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the chart that is being drawn, 0 between charts."""
        return self._process.pid if self._process is not None else 0

    def run(self, job: Job) -> Answer:
        """Run one job to its end."""
        self.calls += 1
        config = self.config
        settings = {
            "seed": job.seed, "dpi": config.dpi, "max_pixels": config.max_pixels, "system_fonts": config.system_fonts,
            "figures": config.figures, "answer": "answer.bin", "length": len(job.source),
        }  # fmt: skip
        # Not `with`: what the code left may be undeletable, and that must not cost its picture.
        place = tempfile.mkdtemp(prefix="llmi-code-")
        try:
            started = time.monotonic()
            with open(os.path.join(place, "text.txt"), "wb") as text:
                process = self._process = subprocess.Popen(
                    [sys.executable, "-s", "-P", "-B", "-c", bootstrap("fresh"), json.dumps(settings)],
                    stdin=subprocess.PIPE,
                    stdout=text,
                    stderr=subprocess.STDOUT,
                    cwd=place,
                    start_new_session=True,  # so that what it started ends with it
                    env=environment(place) | {k: os.environ[k] for k in ("SYSTEMROOT",) if k in os.environ},
                )
            pipe = process.stdin
            if pipe is not None:
                with contextlib.suppress(OSError), pipe:
                    pipe.write(program() + job.source)
            reason = self._until_the_end(process, Path(place), job, started)
            code = process.returncode
            end = {
                "reason": reason, "signal": -code if reason == "exited" and code < 0 else 0, "confined": True,
                "wall_ms": round(1000 * (time.monotonic() - started), 1),
            }  # fmt: skip
            cap = ANSWER_HEADER.size + MAX_HEAD + int(config.output_mib * MIB)
            answer = _read(Path(place) / "answer.bin", cap)
            text_said = _read(Path(place) / "text.txt", int(config.text_kib * 1024)).decode("utf-8", "replace")
            return Answer(end, answer, text_said, self.tier)
        finally:
            self.kill()
            shutil.rmtree(place, ignore_errors=True)

    def _until_the_end(self, process: subprocess.Popen[bytes], place: Path, job: Job, started: float) -> str:
        imports = self.config.start_timeout / 4  # of each chart anew, and not the code's own time
        while process.poll() is None:
            if job.cancelled.is_set():
                reason = "cancelled"
            elif time.monotonic() - started > self.config.timeout + imports:
                reason = "time"
            elif _size(place / "text.txt") > self.config.text_kib * 1024:
                reason = "output"
            else:
                time.sleep(_POLL)
                continue
            self.kill()
            return reason
        over = _size(place / "text.txt") > self.config.text_kib * 1024
        return "output" if over or _size(place / "answer.bin") > self.config.output_mib * MIB + MAX_HEAD else "exited"

    def interrupt(self) -> None:
        """Nothing to do: who interrupts has marked the job as cancelled, and that is looked at."""

    def kill(self) -> None:
        """End the process at once."""
        process = self._process
        if process is not None:
            if hasattr(os, "killpg"):
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
            elif process.poll() is None:
                process.kill()
            process.wait()
        self._process = None

    def close(self) -> None:
        """End the process; may be called twice."""
        self.kill()

    def abandon(self) -> None:
        """In a fork of the host: let go of the process."""
        self._process = None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, cap: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(cap)
    except OSError:
        return b""

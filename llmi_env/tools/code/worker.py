"""The host's side of one warm worker: jobs go in, answers come out.

A `Worker` serves one chart at a time and never raises for what the code did: that stands in the `Answer`. It raises `WorkerDied` when the
worker itself cannot be relied upon any more; the pool then starts another and tries once again.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmi_env.errors import ToolUnavailable
from llmi_env.tools.code.config import MIB, CodeConfig
from llmi_env.tools.code.inside.frames import (
    ANSWER_HEADER,
    BUSY_FACTOR,
    MAX_HEAD,
    FrameError,
    Kind,
    read_frame,
    write_frame,
)
from llmi_env.tools.code.launch import Process, said

logger = logging.getLogger(__name__)

_LISTENING = 0.5
"""Seconds within which a worker must take a frame of a few bytes."""
_GRACE = 5.0
"""Seconds beyond a chart's own deadline within which the worker itself must have answered."""


class WorkerDied(Exception):
    """Raised when a worker ended, broke the protocol or did not answer in time."""


@dataclass(frozen=True)
class Answer:
    """What one run of code came to.

    Attributes:
        end: the worker's own report: `reason` (exited, time, disk, output, cancelled), `signal`,
            `confined` (whether the code was reached under all protections), `cpu_ms`, `wall_ms`.
        answer: bytes that the child wrote as its answer; untrusted.
        text: what the code printed; untrusted.
        tier: what stood around the code.
    """

    end: dict[str, Any]
    answer: bytes
    text: str
    tier: str = ""


class Runner(Protocol):
    """What runs jobs: a warm worker, or a new process for each."""

    calls: int
    about: dict[str, Any]

    @property
    def pid(self) -> int:
        """Process id, 0 where it is not known here."""
        ...

    @property
    def folder(self) -> str:
        """Its folder on this machine, empty where it is nowhere here."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it can take a job."""
        ...

    def run(self, job: Job) -> Answer:
        """Run one job to its end. Raises `WorkerDied`."""
        ...

    def interrupt(self) -> None:
        """Ask it to end the job in flight."""
        ...

    def kill(self) -> None:
        """End it at once, and with it the job in flight."""
        ...

    def close(self) -> None:
        """End it and remove what it left; may be called twice."""
        ...

    def abandon(self) -> None:
        """In a fork of the host: let go of it."""
        ...


@dataclass
class Job:
    """One run of code. `cancel` may be called from any thread."""

    source: bytes
    seed: int
    cancelled: threading.Event = field(default_factory=threading.Event)
    _worker: Runner | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def cancel(self) -> None:
        """End the run, if it is under way, and keep it from starting, if it is not."""
        with self._lock:
            self.cancelled.set()
            if self._worker is not None:
                self._worker.interrupt()

    def bind(self, worker: Runner | None) -> bool:
        """Say who runs it; returns whether it may still start."""
        with self._lock:
            self._worker = worker
            return not self.cancelled.is_set()


class Worker:
    """One warm interpreter, started by a tier. Used by one thread at a time.

    Args:
        config: limits.
        process: the started program.
        tier: the tier's name.

    Raises:
        ToolUnavailable: it did not get ready, or is not confined as its tier claims.
    """

    def __init__(self, config: CodeConfig, process: Process, tier: str) -> None:
        self.config, self.tier = config, tier
        self.calls = 0
        self._process = process
        self._most_answer = int(config.output_mib * MIB) + ANSWER_HEADER.size + MAX_HEAD
        self._most_text = int(config.text_kib * 1024)
        self._write_lock = threading.Lock()
        try:
            frame = read_frame(process.output, time.monotonic() + config.start_timeout)
        except (EOFError, TimeoutError, FrameError, OSError) as error:
            raise ToolUnavailable(f"the code worker did not start: {error}{self._last_words()}") from error
        if frame.kind is not Kind.READY:
            self.close()
            raise ToolUnavailable(str(frame.head.get("error", "no reason given")))
        self.about = frame.head
        logger.debug("code worker %s (%s) ready in %s s", self.pid, tier, frame.head.get("warm_seconds"))

    @property
    def pid(self) -> int:
        """Process id of the worker, 0 where it is not known here."""
        return self._process.pid

    @property
    def folder(self) -> str:
        """The worker's folder on this machine, empty where it is nowhere here."""
        return self._process.place

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.alive

    def run(self, job: Job) -> Answer:
        """Run one job to its end. Raises `WorkerDied`."""
        self.calls += 1
        deadline = time.monotonic() + (1 + BUSY_FACTOR) * self.config.timeout + _GRACE
        answer, text = bytearray(), bytearray()
        try:
            with self._write_lock:
                head = {"timeout": self.config.timeout, "seed": job.seed}
                write_frame(self._process.input, Kind.JOB, head, job.source, deadline)
            if job.cancelled.is_set():
                # Cancelled before the worker had the job: that word was lost on it.
                self.interrupt()
            while True:
                frame = read_frame(self._process.output, deadline)
                if frame.kind is Kind.END:
                    return Answer(frame.head, bytes(answer), text.decode("utf-8", "replace"), self.tier)
                if frame.kind not in (Kind.ANSWER, Kind.TEXT):
                    raise FrameError(f"a {frame.kind.name} frame came in the middle of a job")
                (answer if frame.kind is Kind.ANSWER else text).extend(frame.payload)
                if len(answer) > self._most_answer or len(text) > self._most_text:
                    raise FrameError("the worker passed on more than it may")
        except (EOFError, TimeoutError, FrameError, OSError, ValueError) as error:
            raise WorkerDied(f"{error}{self._last_words()}") from error

    def interrupt(self) -> None:
        """Ask the worker to end the job in flight; one that does not listen is killed. May wait for a second."""
        if not self._write_lock.acquire(timeout=_LISTENING):
            self.kill()
            return
        try:
            write_frame(self._process.input, Kind.CANCEL, {}, deadline=time.monotonic() + _LISTENING)
        except TimeoutError:
            self.kill()
        except (OSError, ValueError):
            logger.debug("code worker %s is already gone", self.pid)
        finally:
            self._write_lock.release()

    def _last_words(self) -> str:
        self.kill()
        words = said(self._process.last_words())
        self.close()
        return words

    def kill(self) -> None:
        """End the process at once, and with it the job in flight."""
        self._process.kill()

    def close(self) -> None:
        """End the process and remove its folder; may be called twice."""
        with self._write_lock:  # nobody writes to a descriptor that is somebody else's by then
            self._process.close()

    def abandon(self) -> None:
        """Let go of a worker that belongs to the parent of this forked process."""
        self._process.abandon()

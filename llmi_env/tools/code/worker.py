"""The host's side of the code tool: warm workers, each a separate interpreter, and a pool of them.

Everything here blocks and is called from the pool's own threads; the tool awaits the pool's futures, so no event loop is bound. A
`Worker` serves one chart at a time and never raises for what the code did: that stands in the `Answer`. It raises `WorkerDied`
when the worker itself cannot be relied upon any more; the pool then starts another and tries once again.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from llmi_env.errors import ToolUnavailable
from llmi_env.tools.code import scratch
from llmi_env.tools.code.config import MIB, CodeConfig
from llmi_env.tools.code.frames import BUSY_FACTOR, FrameError, Kind, read_frame, write_frame

logger = logging.getLogger(__name__)

_GRACE = 5.0
"""Seconds beyond a chart's own deadline within which the worker itself must have answered."""

_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_MAX_THREADS": "1",
}
_INHERITED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "LD_LIBRARY_PATH")
"""What says how libraries run on this machine, not who uses it."""

# The package is entered through empty parents: its own __init__ would import what a worker does not need.
_BOOTSTRAP = """
import sys, types
folder = sys.argv.pop(1)
parts = "llmi_env.tools.code".split(".")
for depth in range(1, len(parts) + 1):
    module = types.ModuleType(".".join(parts[:depth]))
    module.__path__ = [folder] if depth == len(parts) else []
    sys.modules[module.__name__] = module
from llmi_env.tools.code.zygote import main
sys.exit(main(sys.argv[1:]))
"""


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
    """

    end: dict[str, Any]
    answer: bytes
    text: str


@dataclass
class Job:
    """One run of code. `cancel` may be called from any thread."""

    source: bytes
    seed: int
    cancelled: threading.Event = field(default_factory=threading.Event)
    _worker: Worker | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def cancel(self) -> None:
        """End the run, if it is under way, and keep it from starting, if it is not."""
        with self._lock:
            self.cancelled.set()
            if self._worker is not None:
                self._worker.interrupt()

    def _bind(self, worker: Worker | None) -> bool:
        with self._lock:
            self._worker = worker
            return not self.cancelled.is_set()


class Worker:
    """One warm interpreter. Started on construction; used by one thread at a time."""

    def __init__(self, config: CodeConfig) -> None:
        if sys.platform != "linux":
            raise ToolUnavailable(
                f"the code tool needs Linux with Landlock, not {sys.platform}; run it in a Linux machine or container"
            )
        self.config = config
        self.calls = 0
        self.folder = tempfile.mkdtemp(prefix="llmi-code-")
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the worker)
        home = os.path.realpath(self.folder)
        settings = {
            "folder": home,
            "host": os.getpid(),
            "memory": int(config.memory_mib * MIB),
            "disk": int(config.disk_mib * MIB),
            "file": int(config.file_mib * MIB),
            "open_files": 32,
            "answer": int(config.output_mib * MIB),
            "text": int(config.text_kib * 1024),
            "max_pixels": config.max_pixels,
            "dpi": config.dpi,
            "system_fonts": config.system_fonts,
        }
        package = str(Path(__file__).resolve().parent)
        environment = _ENVIRONMENT | {name: os.environ[name] for name in _INHERITED if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-B", "-c", _BOOTSTRAP, package, json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment | {"HOME": home},
                cwd=home,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            self._forget()
            raise ToolUnavailable(f"the code worker could not be started: {error}") from error
        self._write_lock = threading.Lock()
        try:
            frame = read_frame(self._output, time.monotonic() + config.start_timeout)
        except (EOFError, TimeoutError, FrameError, OSError) as error:
            raise ToolUnavailable(f"the code worker did not start: {error}{self._last_words()}") from error
        if frame.kind is not Kind.READY:
            self.close()
            raise ToolUnavailable(
                f"the code tool's sandbox is not available here: {frame.head.get('error', 'no reason given')}. "
                "Code is never run without it; leave the code tool out, or use a machine that has it"
            )
        self.about = frame.head
        logger.debug("code worker %s ready in %s s", self.pid, frame.head.get("warm_seconds"))

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def _input(self) -> int:
        return _descriptor(self._process.stdin)

    @property
    def _output(self) -> int:
        return _descriptor(self._process.stdout)

    def run(self, job: Job) -> Answer:
        """Run one job to its end. Raises `WorkerDied`."""
        self.calls += 1
        deadline = time.monotonic() + (1 + BUSY_FACTOR) * self.config.timeout + _GRACE
        answer, text = bytearray(), bytearray()
        try:
            with self._write_lock:
                write_frame(self._input, Kind.JOB, {"timeout": self.config.timeout, "seed": job.seed}, job.source)
            if job.cancelled.is_set():
                # Cancelled before the worker had the job: that word was lost on it.
                self.interrupt()
            while True:
                frame = read_frame(self._output, deadline)
                if frame.kind is Kind.END:
                    return Answer(frame.head, bytes(answer), text.decode("utf-8", "replace"))
                if frame.kind not in (Kind.ANSWER, Kind.TEXT):
                    raise FrameError(f"a {frame.kind.name} frame came in the middle of a job")
                (answer if frame.kind is Kind.ANSWER else text).extend(frame.payload)
        except (EOFError, TimeoutError, FrameError, OSError, ValueError) as error:
            raise WorkerDied(f"{error}{self._last_words()}") from error

    def interrupt(self) -> None:
        """Ask the worker to end the job in flight."""
        try:
            with self._write_lock:
                write_frame(self._input, Kind.CANCEL, {})
        except (OSError, ValueError):
            logger.debug("code worker %s is already gone", self.pid)

    def _last_words(self) -> str:
        self.kill()
        self._stderr.seek(0)
        lines = self._stderr.read(16_384).decode("utf-8", "replace").strip().splitlines()
        self.close()
        return f" (it said: {lines[-1][:300]})" if lines else ""

    def kill(self) -> None:
        """End the process at once, and with it the job in flight."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process and remove its folder; may be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.kill()
        self._forget()

    def abandon(self) -> None:
        """Let go of a worker that belongs to the parent of this forked process: close our copies of its pipes, nothing more."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.returncode = 0
        self._stderr.close()

    def _forget(self) -> None:
        self._stderr.close()
        # A killed worker takes its child along, but not in the same instant: the child may still write.
        for pause in (0.0, 0.05, 0.5):
            time.sleep(pause)
            try:
                scratch.remove(self.folder)
                return
            except OSError as error:
                logger.debug("folder %s of a code worker: %s", self.folder, error)


def _descriptor(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise ValueError("the worker has no such pipe")
    return int(pipe.fileno())


class WorkerPool:
    """Up to `config.workers` warm workers, started when first needed, replaced when dead, broken or old."""

    def __init__(self, config: CodeConfig) -> None:
        self.config = config
        self.pid = os.getpid()
        self._executor = ThreadPoolExecutor(config.workers, thread_name_prefix="llmi-code")
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._closed = False

    @property
    def workers(self) -> list[Worker]:
        """The workers that are alive now."""
        with self._lock:
            return [*self._idle, *self._busy]

    def submit(self, job: Job) -> Future[Answer]:
        """Run a job on the next free worker. The future raises `ToolUnavailable` where none can be had."""
        return self._executor.submit(self._run, job)

    def _run(self, job: Job) -> Answer:
        for attempt in (1, 2):
            worker = self._take()
            healthy = False
            try:
                if not job._bind(worker):
                    healthy = True
                    return Answer({"reason": "cancelled"}, b"", "")
                answer = worker.run(job)
                healthy = True
                return answer
            except WorkerDied as error:
                logger.warning("code worker died (attempt %d of 2): %s", attempt, error)
                cause = error
            finally:
                job._bind(None)
                self._give_back(worker, healthy)
        raise ToolUnavailable(f"the code worker died twice on the same call: {cause}")

    def _take(self) -> Worker:
        while True:
            with self._lock:
                if self._closed:
                    raise ToolUnavailable("the code tool has been closed")
                worker = self._idle.pop() if self._idle else None
                if worker is not None and worker.alive and worker.calls < self.config.recycle_after:
                    self._busy.add(worker)
                    return worker
            if worker is None:
                worker = Worker(self.config)
                with self._lock:
                    self._busy.add(worker)
                return worker
            worker.close()

    def _give_back(self, worker: Worker, healthy: bool) -> None:
        with self._lock:
            self._busy.discard(worker)
            keep = healthy and not self._closed
            if keep:
                self._idle.append(worker)
        if not keep:
            worker.close()

    def close(self) -> None:
        """End all workers; jobs in flight end as unavailable. May be called twice."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for worker in busy:
            worker.kill()
        for worker in idle:
            worker.close()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def abandon(self) -> None:
        """In a forked process: forget the parent's workers and threads without touching them."""
        for worker in [*self._idle, *self._busy]:
            worker.abandon()

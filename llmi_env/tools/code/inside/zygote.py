"""The warm worker: a program that imports the plotting stack once and forks one confined child for each chart.

It is run in an interpreter of its own by `worker.py` and speaks frames (see `frames.py`) on its standard input and output. It uses
the standard library and the plotting stack only, so that it starts in seconds and holds nothing worth stealing.

The child is confined in this order: file descriptors, death with its parent, resource limits, Landlock, seccomp. Then it runs the
code. The worker itself never holds the code or the picture: the child reads its source from the pipe with its own
hands, and what it writes passes through one buffer that is wiped before the next fork. So no call can find another's in its
inherited memory.

A chart costs its drawing and a fork; a new Python with these imports costs about 1.7 s of CPU.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any

from . import drawing, landlock, privileges, scratch, seccomp, syscalls
from .frames import (
    ANSWER_HEADER,
    BUSY_FACTOR,
    MAX_HEAD,
    FrameError,
    Kind,
    read_exact,
    read_frame,
    read_head,
    write_all,
    write_frame,
)
from .paths import SYSTEM_PATHS, interpreter_paths

_BUFFER_BYTES = 64 * 1024
_QUOTA_EVERY = 0.05
_SOURCE_READ, _CONFINED = b"\x01", b"\x02"
_PREAMBLE = _SOURCE_READ + _CONFINED
"""What a child writes before it runs the code: the only part of its answer that can be believed."""


@dataclass(frozen=True)
class Settings:
    """What the host fixes for the life of a worker; the fields are those of `CodeConfig`, in bytes."""

    folder: str
    host_fd: int
    own_root: bool
    memory: int
    disk: int
    file: int
    open_files: int
    answer: int
    text: int
    max_pixels: int
    dpi: float
    figures: str
    system_fonts: bool


class HostGone(Exception):
    """Raised when the host has ended or closed the pipe: there is nobody to work for."""


def confine(settings: Settings, folder: str, seconds: float, address_space: int, landlocked: bool) -> None:
    """Put the calling child under every protection of this tier. Raises `OSError` when one of them cannot be had."""
    privileges.limit_child(
        seconds=seconds, address_space=address_space, file_bytes=settings.file, open_files=settings.open_files
    )
    if landlocked:
        landlock.restrict([*interpreter_paths(), *SYSTEM_PATHS], [folder, "/dev/null"])
    seccomp.restrict()


class Zygote:
    """The worker's loop. One thread; one child at a time."""

    def __init__(self, settings: Settings, control: int, output: int, host_fd: int, landlocked: bool) -> None:
        self.settings, self.host_fd, self.landlocked = settings, host_fd, landlocked
        self.control, self.output = control, output
        self.buffer = bytearray(_BUFFER_BYTES)
        self.calls = 0
        with open("/proc/self/statm", encoding="ascii") as statm:
            pages = int(statm.read().split()[0])
        self.address_space = pages * resource.getpagesize() + settings.memory

    @property
    def host_fds(self) -> list[int]:
        """Becomes readable when the host has ended; a container has none, there the closed pipe says it."""
        return [self.host_fd] if self.host_fd >= 0 else []

    def probe(self) -> None:
        """Fork one child that must find itself confined. Raises `OSError` with the cause where it does not."""
        folder = self._new_folder()
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            said = b""
            try:
                os.chdir(folder)
                confine(self.settings, folder, 5.0, self.address_space, self.landlocked)
                said = _what_is_still_open(self.landlocked).encode()
            except BaseException as error:
                said = str(error).encode() or b"unknown"
            finally:
                write_all(writer, said[:4096])
                os._exit(0)
        os.close(writer)
        with open(reader, "rb") as stream:
            said = stream.read()
        _, status = os.waitpid(pid, 0)
        self._remove(folder)
        if said or status != 0:
            raise OSError(f"the probe child is not confined: {said.decode(errors='replace') or f'it died ({status})'}")

    def serve(self) -> None:
        """Answer jobs until the host is gone."""
        while True:
            self._wait_for_host()
            kind, head, length = read_head(self.control)
            if kind is Kind.CANCEL:
                continue
            if kind is not Kind.JOB:
                raise FrameError(f"a {kind.name} frame is not for workers")
            self._job(head, length)

    def _wait_for_host(self) -> None:
        poller = select.poll()
        for fd in (self.control, *self.host_fds):
            poller.register(fd, select.POLLIN)
        if any(fd != self.control for fd, _ in poller.poll()):
            raise HostGone

    def _new_folder(self) -> str:
        self.calls += 1
        folder = os.path.join(self.settings.folder, f"chart-{self.calls}")
        self._lock(False)
        os.mkdir(folder, 0o700)
        self._lock(True)
        return folder

    def _lock(self, locked: bool) -> None:
        """Without Landlock, keep the child to its own folder by permissions, which it cannot change."""
        if not self.landlocked:
            for path in (self.settings.folder, os.path.dirname(self.settings.folder)):
                os.chmod(path, 0o500 if locked else 0o700)

    def _remove(self, folder: str) -> None:
        self._lock(False)
        scratch.remove(folder)

    def _job(self, head: dict[str, Any], length: int) -> None:
        seconds, seed = float(head["timeout"]), int(head["seed"])
        folder = self._new_folder()
        answer_read, answer_write = os.pipe()
        text_read, text_write = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                self._child(parent, folder, length, seconds, seed, answer_write, text_write)
            except BaseException:
                traceback.print_exc()
                os._exit(70)
            os._exit(0)
        os.close(answer_write)
        os.close(text_write)
        watch = _Watch(self, pid, folder, seconds, answer_read, text_read)
        try:
            end = watch.until_the_end()
        finally:
            os.close(answer_read)
            os.close(text_read)
            self._remove(folder)
            self.buffer[:] = bytes(len(self.buffer))
        if not watch.preamble:
            raise FrameError("the child ended in the middle of its source")
        write_frame(self.output, Kind.END, end)

    def _child(self, parent: int, folder: str, length: int, seconds: float, seed: int, answer: int, text: int) -> None:
        privileges.die_with_parent(parent)
        source = read_exact(self.control, length)
        write_all(answer, _SOURCE_READ)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for fd, target in ((nothing, 0), (text, 1), (text, 2)):
            os.dup2(fd, target)
        answer = os.dup2(answer, 3, inheritable=False) if answer != 3 else answer
        os.closerange(4, 4096)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(folder)
        confine(self.settings, folder, seconds, self.address_space, self.landlocked)
        write_all(answer, _CONFINED)
        settings = self.settings
        result = drawing.answer_to(
            source, seed=seed, dpi=settings.dpi, max_pixels=settings.max_pixels, figures=settings.figures
        )
        write_all(answer, result)


class _Watch:
    """Relays what one child says and ends it at its limits."""

    def __init__(self, zygote: Zygote, pid: int, folder: str, seconds: float, answer: int, text: int) -> None:
        self.zygote, self.pid, self.folder = zygote, pid, folder
        self.kinds = {answer: Kind.ANSWER, text: Kind.TEXT}
        self.left = {
            answer: len(_PREAMBLE) + ANSWER_HEADER.size + MAX_HEAD + zygote.settings.answer,
            text: zygote.settings.text,
        }
        self.seconds = seconds
        self.started = time.monotonic()
        self.deadline = self.started + seconds
        self.preamble = 0

    def until_the_end(self) -> dict[str, Any]:
        """Returns the head of the END frame; the child is gone and reaped, whatever happened."""
        handle = os.pidfd_open(self.pid)
        reason = "lost"
        try:
            reason = self._relay(handle)
        finally:
            if reason != "exited":
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
            _, status, usage = os.wait4(self.pid, 0)
        return {
            "reason": reason,
            "signal": os.WTERMSIG(status) if reason == "exited" and os.WIFSIGNALED(status) else 0,
            "confined": self.preamble == len(_PREAMBLE),
            "cpu_ms": round(1000 * (usage.ru_utime + usage.ru_stime), 1),
            "wall_ms": round(1000 * (time.monotonic() - self.started), 1),
            "peak_kib": usage.ru_maxrss,
        }

    def _relay(self, handle: int) -> str:
        zygote = self.zygote
        poller = select.poll()
        for fd in (*self.kinds, handle, *zygote.host_fds):
            poller.register(fd, select.POLLIN)
        streams, running = set(self.kinds), True
        quota_at = self.started + _QUOTA_EVERY
        while streams or running:
            now = time.monotonic()
            if now >= self.deadline:
                self.deadline = self.started + self.seconds + min(self._starved(), BUSY_FACTOR * self.seconds)
                if now >= self.deadline:
                    return "time"
            if now >= quota_at:
                if scratch.over_quota(self.folder, zygote.settings.disk):
                    return "disk"
                quota_at = time.monotonic() + _QUOTA_EVERY
            for fd, _ in poller.poll(1000 * max(0.0, min(self.deadline, quota_at) - now)):
                if fd in streams:
                    if not self._pass_on(fd):
                        streams.discard(fd)
                        poller.unregister(fd)
                    elif self.left[fd] < 0:
                        return "output"
                    elif self.preamble:
                        # Only now is the control pipe ours again: until then it held the child's source.
                        poller.register(zygote.control, select.POLLIN)
                elif fd == handle:
                    running = False
                    poller.unregister(handle)
                elif fd in zygote.host_fds:
                    raise HostGone
                elif fd == zygote.control:
                    if read_frame(zygote.control).kind is not Kind.CANCEL:
                        raise FrameError("a job came while another was running")
                    return "cancelled"
        return "exited"

    def _starved(self) -> float:
        """Seconds the child was ready to run while others had the CPU: a busy machine is not the code's fault."""
        try:
            with open(f"/proc/{self.pid}/schedstat", encoding="ascii") as statistics:
                return int(statistics.read().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0

    def _pass_on(self, fd: int) -> bool:
        count = os.readv(fd, [self.zygote.buffer])
        if count == 0:
            return False
        self.left[fd] -= count
        start = 0
        if self.kinds[fd] is Kind.ANSWER and self.preamble < len(_PREAMBLE):
            start = min(count, len(_PREAMBLE) - self.preamble)
            self.preamble += start
        if self.left[fd] >= 0 and count > start:
            write_frame(self.zygote.output, self.kinds[fd], {}, memoryview(self.zygote.buffer)[start:count])
        return True


_OUTSIDE = ("", "..", "../..", "/dev", "/dev/shm", "/tmp")
"""Beside a child's own folder."""


def _what_is_still_open(landlocked: bool) -> str:
    """What a confined child can still do and should not; empty when all is shut.

    Without Landlock, in a root of its own, the folders that it can list hold nothing but libraries.
    """
    import socket

    def attempt(action: Any) -> bool:
        try:
            action()
        except OSError:
            return False
        return True

    files = {
        "it can list /": lambda: os.listdir("/"),
        "it can read /etc/passwd": lambda: open("/etc/passwd", "rb").close(),
    }
    attempts = (files if landlocked else {}) | {
        **{f"it can write to {path or '/'}": functools.partial(os.mkdir, f"{path}/llmi-probe") for path in _OUTSIDE},
        "it can open a socket": lambda: socket.socket().close(),
        "it can signal its parent": lambda: os.kill(os.getppid(), 0),
        "it can start a program": lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),
        "it can start processes": lambda: os._exit(0) if os.fork() == 0 else None,
    }
    return "; ".join(what for what, action in attempts.items() if attempt(action))


def _prefer_for_out_of_memory() -> None:
    """Where memory runs out, this worker goes before the training that uses it; its call is retried."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as setting:
            setting.write("500")
    except OSError:
        return


def _start(settings: Settings, control: int, output: int, host_fd: int) -> Zygote:
    os.makedirs(settings.folder, mode=0o700, exist_ok=True)
    os.chdir(settings.folder)
    _prefer_for_out_of_memory()
    machine = syscalls.machine()
    try:
        abi = landlock.abi()
    except OSError:
        if not settings.own_root:
            raise
        abi = 0
    began = time.monotonic()
    versions = drawing.warm_up(settings.system_fonts)
    warm_seconds = time.monotonic() - began
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise OSError(f"the plotting libraries started {threads - 1} threads; a worker must have one to fork safely")
    privileges.drop_capabilities()
    privileges.check_readable(interpreter_paths())
    privileges.hide_from_siblings()
    zygote = Zygote(settings, control, output, host_fd, abi > 0)
    zygote.probe()
    ready = {
        "pid": os.getpid(), "cpu": machine.name, "landlock_abi": abi, "uid": os.getuid(),
        "warm_seconds": round(warm_seconds, 3), "versions": versions,
    }  # fmt: skip
    write_frame(output, Kind.READY, ready)
    return zygote


def main(arguments: list[str]) -> int:
    """Run a worker with `Settings` as JSON in `arguments[0]`; returns the exit status."""
    settings = Settings(**json.loads(arguments[0]))
    # Stray prints must never reach the protocol, nor code the control pipe.
    control, output, host_fd = os.dup(0), os.dup(1), -1
    if (
        settings.host_fd >= 0
    ):  # under a low number: children close all that a worker may have, and the host may have thousands
        host_fd = os.dup(settings.host_fd)
        os.close(settings.host_fd)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), min(256, hard)))
    os.environ["MPLCONFIGDIR"] = settings.folder
    try:
        try:
            zygote = _start(settings, control, output, host_fd)
        except (OSError, ImportError) as error:
            write_frame(output, Kind.FATAL, {"error": str(error)})
            return 1
        zygote.serve()
        return 0
    except (HostGone, EOFError, BrokenPipeError):
        return 0
    except FrameError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(settings.folder), 0o700)
            os.chmod(settings.folder, 0o700)
        scratch.remove(settings.folder)

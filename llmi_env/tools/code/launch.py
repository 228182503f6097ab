"""Starting a worker's program, wherever a tier wants it to run.

The program (`inside/`) is sent over standard input to a bare interpreter, so that a container needs no copy of this package and cannot hold
an old one. After it, both pipes carry frames.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Protocol

from llmi_env.errors import ToolUnavailable
from llmi_env.tools.code.config import MIB, CodeConfig
from llmi_env.tools.code.inside import scratch
from llmi_env.tools.code.inside.frames import write_all

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

OWN_ROOT_FOLDER = "/chart"
"""Where a worker with a root of its own may write, a file system in memory; in it lies the worker's folder."""
NOBODY = 65534

_BOOTSTRAP = """
import json, os, sys, zlib
from importlib.machinery import ModuleSpec

def exactly(count):
    data = b""
    while len(data) < count:
        piece = os.read(0, count - len(data))
        if not piece:
            sys.exit("the host sent no program")
        data += piece
    return data

sources = json.loads(zlib.decompress(exactly(int.from_bytes(exactly(4), "big"))))
packages = {name.rpartition(".")[0] for name in sources}

class Sent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, Sent, is_package=name in packages) if name in sources else None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        exec(compile(sources[module.__name__], f"<{module.__name__}>", "exec"), module.__dict__)

sys.meta_path.insert(0, Sent)
from llmi_env.tools.code.inside.PROGRAM import main
sys.exit(main(sys.argv[1:]))
"""


def bootstrap(name: str = "zygote") -> str:
    """Python source that reads `program` from standard input and runs the `main` of one of its modules."""
    return _BOOTSTRAP.replace("PROGRAM", name)


class Process(Protocol):
    """A started program behind two pipes.

    Attributes:
        input: descriptor that the host writes frames to.
        output: descriptor that the host reads frames from.
        pid: process id on this machine, 0 where it is not known.
        place: the worker's folder on this machine, empty where it is nowhere here.
    """

    input: int
    output: int
    pid: int
    place: str

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        ...

    def kill(self) -> None:
        """End it at once, and whatever it started."""
        ...

    def close(self) -> None:
        """End it and remove what it left; may be called twice."""
        ...

    def abandon(self) -> None:
        """In a fork of the host: close our copies of the pipes, nothing more."""
        ...

    def last_words(self) -> str:
        """The end of what it wrote to its standard error."""
        ...


@cache
def program() -> bytes:
    """The sources of `inside/`, as the bootstrap reads them."""
    package = __package__ or "llmi_env.tools.code"
    parents = package.split(".")
    sources = {".".join(parents[:depth]): "" for depth in range(1, len(parents) + 1)}
    for path in sorted((Path(__file__).parent / "inside").glob("*.py")):
        name = f"{package}.inside" + ("" if path.stem == "__init__" else f".{path.stem}")
        sources[name] = path.read_text(encoding="utf-8")
    packed = zlib.compress(json.dumps(sources).encode())
    return len(packed).to_bytes(4, "big") + packed


def command(python: str, config: CodeConfig, *, folder: str, host_fd: int, own_root: bool) -> list[str]:
    """The interpreter with the bootstrap and the settings of `zygote.Settings`.

    Args:
        python: the interpreter where the worker will run.
        config: limits.
        folder: the worker's own folder, where it will run; made by it.
        host_fd: a descriptor that says when the host has ended, -1 for none.
        own_root: whether the worker sees a file system of its own, so that Landlock is a second lock and not the only one.
    """
    settings = {
        "folder": folder,
        "host_fd": host_fd,
        "own_root": own_root,
        "memory": int(config.memory_mib * MIB),
        "disk": int(config.disk_mib * MIB),
        "file": int(config.file_mib * MIB),
        "open_files": 32,
        "answer": int(config.output_mib * MIB),
        "text": int(config.text_kib * 1024),
        "max_pixels": config.max_pixels,
        "dpi": config.dpi,
        "figures": config.figures,
        "system_fonts": config.system_fonts,
    }
    return [python, "-s", "-P", "-B", "-c", bootstrap(), json.dumps(settings)]


def environment(home: str) -> dict[str, str]:
    """All that a worker finds in its environment."""
    return _ENVIRONMENT | {name: os.environ[name] for name in _INHERITED if name in os.environ} | {"HOME": home}


@dataclass
class LocalProcess:
    """A program on this machine; made by `start_local`."""

    place: str
    _process: subprocess.Popen[bytes]
    _stderr: IO[bytes]

    def __post_init__(self) -> None:
        self.pid = self._process.pid
        self.input, self.output = _descriptor(self._process.stdin), _descriptor(self._process.stdout)

    @property
    def alive(self) -> bool:
        """See `Process`."""
        return self._process.poll() is None

    def kill(self) -> None:
        """See `Process`."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """See `Process`."""
        self._close_pipes()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.kill()
        self._stderr.close()
        _forget(self.place)

    def abandon(self) -> None:
        """See `Process`."""
        self._close_pipes()
        self._process.returncode = 0
        self._stderr.close()

    def last_words(self) -> str:
        """See `Process`."""
        if self._stderr.closed:
            return ""
        self._stderr.seek(0)
        return self._stderr.read(16_384).decode("utf-8", "replace")

    def _close_pipes(self) -> None:
        self.input = self.output = -1
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def start_local(config: CodeConfig, place: str, wrapper: Sequence[str] = (), inside: str | None = None) -> LocalProcess:
    """Start the program as a process of this machine.

    Args:
        config: limits.
        place: a folder of this machine that belongs to the worker; empty where it needs none.
        wrapper: a program that confines it and its arguments; empty for none.
        inside: the folder under the name that the wrapper gives it, where there is a wrapper.

    Raises:
        ToolUnavailable: it could not be started.
    """
    home = inside or os.path.realpath(place)
    stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
    try:
        if sys.platform != "linux":
            raise OSError(f"it needs Linux, not {sys.platform}; `docker` may do, or `unsafe`")
        host = os.pidfd_open(os.getpid())
        try:
            arguments = command(sys.executable, config, folder=home, host_fd=host, own_root=inside is not None)
            process = subprocess.Popen(
                [*wrapper, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment(home),
                cwd=home if inside is None else "/",
                pass_fds=(host,),
                start_new_session=True,
                bufsize=0,
            )
        finally:
            os.close(host)
    except Exception as error:
        stderr.close()
        _forget(place)
        raise ToolUnavailable(f"the code worker could not be started: {error}") from error
    started = LocalProcess(place, process, stderr)
    send_program(started)
    return started


def send_program(process: Process) -> None:
    """Write the program to a started interpreter; one that is already gone is noticed when its first frame is read."""
    try:
        write_all(process.input, program())
    except OSError:
        return


def new_place() -> str:
    """A folder of this machine for one worker."""
    return tempfile.mkdtemp(prefix="llmi-code-")


def said(words: str) -> str:
    """The last line of a program's standard error, as the end of a message."""
    lines = words.strip().splitlines()
    return f" (it said: {lines[-1][:300]})" if lines else ""


def _forget(place: str) -> None:
    if not place:
        return
    # A killed worker takes its child along, but not in the same instant: the child may still write.
    for pause in (0.0, 0.05, 0.5):
        time.sleep(pause)
        try:
            scratch.remove(place)
            return
        except OSError:
            continue


def _descriptor(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise ValueError("the process has no such pipe")
    return int(pipe.fileno())

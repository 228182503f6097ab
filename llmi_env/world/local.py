"""The default World: one helper process for this machine and user, holding tools, models and judges for all environments.

The first client starts it with `subprocess`, never by fork (a torch call in a forked child hangs once the parent has used torch),
on a Unix socket under a directory that only its user can enter. Every client process holds a lease, an open connection; the kernel
closes it however the client ends, and the helper ends a few seconds after the last one. If the helper dies, the next call starts
another, and calls it was at work on run again. The client itself imports neither torch nor any tool.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import os
import secrets
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import IO, Any

import filelock
import platformdirs

from llmi_env.errors import WorldError
from llmi_env.world import wire
from llmi_env.world.config import WorldConfig
from llmi_env.world.deciding import parts_of
from llmi_env.world.http import RemoteWorld
from llmi_env.world.protocol import Deciding
from llmi_env.world.variables import environment_of

__all__ = ["LocalWorld", "runtime_dir"]

_log = logging.getLogger(__name__)
# A Unix socket's path is limited to 104 bytes on macOS and 108 on Linux.
_MAX_SOCKET_PATH = 100
_MAX_LOG = 1_000_000


class LocalWorld(RemoteWorld):
    """A client of the helper process for `config`; finds it or starts it on first use.

    Args:
        config: what the World is made of; the offline default where nothing is given.
        start_timeout: seconds that the helper may take to listen (models load later, with the first call that needs them).
        attempts: how often a call is tried when the helper dies.
        patience: seconds to wait for an answer.
    """

    _helper: _Helper | None

    def __init__(
        self,
        config: WorldConfig | None = None,
        *,
        start_timeout: float = 120.0,
        attempts: int = 3,
        patience: float = 600.0,
    ) -> None:
        self.config = config or WorldConfig()
        self.config.check_limits()
        self.start_timeout = start_timeout
        super().__init__("http://llmi", attempts=attempts, patience=patience)

    async def deciding(self) -> Deciding:
        """What decides the answers; starts no helper."""
        return parts_of(self.config)

    async def aclose(self) -> None:
        """Close the connections and give up the lease, unless another client in this process shares it."""
        await super().aclose()
        self._helper = None

    def close(self) -> None:
        """Give up the lease from synchronous code; the connections close when they are collected."""
        self._helper = None

    async def _ready(self, path: str) -> None:
        self._check_process()
        if self._helper is None:
            self._helper = _Helper.shared(self.config)
            self.uds = str(self._helper.socket)
        helper = self._helper
        if not helper.is_leased():
            self._judges = None
            await asyncio.to_thread(helper.ensure, self.start_timeout)

    def _forget(self) -> None:
        super()._forget()
        self._helper = None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__getstate__().items() if key != "_helper"}


class _Helper:
    """A process's hold on one helper process, shared by all its `LocalWorld`s of the same configuration."""

    def __init__(self, config: WorldConfig, identity: str, folder: Path) -> None:
        self.config, self.identity = config, identity
        self.socket = folder / f"{identity}.sock"
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._lease: socket.socket | None = None

    @classmethod
    def shared(cls, config: WorldConfig) -> _Helper:
        """The one of this process for `config`."""
        folder = runtime_dir()
        identity = identity_of(config, _salt(folder))
        key = (os.getpid(), str(folder), identity)
        with _helpers_lock:
            helper = _helpers.get(key)
            if helper is None:
                helper = _helpers[key] = cls(config, identity, folder)
            return helper

    def is_leased(self) -> bool:
        """Whether the lease is open, hence the helper alive; costs one system call."""
        lease = self._lease
        if lease is None:
            return False
        try:
            return lease.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def ensure(self, timeout: float) -> None:
        """Take a lease, starting the helper if there is none. Blocks.

        Raises:
            WorldError: it does not start.
            ConnectionLost: it went at the same moment: try again.
        """
        with self._lock:
            if self.is_leased():
                return
            self._drop()
            self._lease = self._try_lease() or self._start(time.monotonic() + timeout)

    def _drop(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()

    def __del__(self) -> None:
        self._drop()

    def _try_lease(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10.0)
        try:
            connection.connect(str(self.socket))
            connection.sendall(b"GET /lease HTTP/1.1\r\nHost: llmi\r\n\r\n")
            answer = b""
            while b"leased\n" not in answer:
                piece = connection.recv(4096)
                if not piece:
                    raise OSError("the helper hung up")
                answer += piece
                if len(answer) > 100 and b" 200 " not in answer.splitlines()[0]:
                    raise OSError("the helper is closing")
        except OSError:
            connection.close()
            return None
        if f"llmi-identity: {self.identity}".encode() not in answer.lower():
            connection.close()
            raise WorldError(f"{self.socket} belongs to another configuration; remove the file and try again")
        connection.setblocking(False)
        return connection

    def _start(self, until: float) -> socket.socket:
        try:
            # the process that holds this lock starts the helper; the others then find it running
            with filelock.FileLock(self.socket.with_suffix(".start"), timeout=max(until - time.monotonic(), 0.0)):
                return self._try_lease() or self._spawn(until)
        except filelock.Timeout as error:
            raise WorldError(
                f"another process has been starting the helper for too long; see {self._log_path}"
            ) from error

    def _spawn(self, until: float) -> socket.socket:
        _children[:] = [child for child in _children if child.poll() is None]
        full = self._log_path.exists() and self._log_path.stat().st_size > _MAX_LOG
        log = _open_private(self._log_path, "wb" if full else "ab")
        _log.info("starting the helper process (log: %s)", self._log_path)
        # fmt: off
        command = [
            sys.executable, "-m", "llmi_env.world.serve_local",
            "--socket", str(self.socket), "--identity", self.identity,
        ]
        # fmt: on
        # The configuration goes by a file without a name: one with a name would have to outlive the helper that ends at this moment, and a
        # pipe would hold us up until it is read.
        with log, tempfile.TemporaryFile(dir=self.socket.parent) as given:
            given.write(self.config.model_dump_json().encode())
            given.seek(0)
            start = log.tell()
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(p or os.getcwd() for p in sys.path))},
            )
        _children.append(process)
        told = time.monotonic() + 5.0
        while time.monotonic() < until:
            lease = self._try_lease()
            if lease is not None:
                return lease
            if process.poll() is not None:
                raise WorldError(
                    f"the helper process ended at once (exit code {process.returncode}): {self._log_tail(start)}"
                )
            if time.monotonic() > told:
                _log.info("waiting for the helper process to listen")
                told += 10.0
            time.sleep(0.05)
        process.terminate()
        raise WorldError(f"the helper process does not listen; see {self._log_path}: {self._log_tail(start)}")

    @property
    def _log_path(self) -> Path:
        return self.socket.with_suffix(".log")

    def _log_tail(self, start: int) -> str:
        with contextlib.suppress(OSError), self._log_path.open("rb") as log:
            log.seek(start)
            return log.read()[-2000:].decode(errors="replace").strip() or "it logged nothing"
        return "its log cannot be read"


_helpers: weakref.WeakValueDictionary[tuple[int, str, str], _Helper] = weakref.WeakValueDictionary()
_helpers_lock = threading.Lock()
_children: list[subprocess.Popen[bytes]] = []
"""Helpers started from here, kept so that `poll` reaps them and no finaliser warns about a running child."""


def _after_fork() -> None:
    global _helpers_lock
    _helpers_lock = threading.Lock()
    for helper in list(_helpers.values()):
        helper._drop()  # closes the child's copy; the parent's lease stays open
    _helpers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def identity_of(config: WorldConfig, salt: bytes) -> str:
    """Names the helper that can serve `config` here: the same configuration, version, interpreter, folder and environment (`environment_of`).

    Everybody can see the name in the list of processes, and keys of services enter it: without the salt nobody could tell one by trying.
    """
    parts = {
        "config": config.digest(),
        "version": wire.VERSION,
        "protocol": wire.PROTOCOL,
        "python": sys.executable,
        # relative paths in the configuration mean this folder
        "folder": os.getcwd(),
        "environment": environment_of(config),
    }
    return hmac.new(salt, json.dumps(parts, sort_keys=True).encode(), "sha256").hexdigest()[:16]


def _salt(folder: Path) -> bytes:
    """Random bytes that all processes which use `folder` share."""
    path = folder / "salt"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=folder) as fresh, contextlib.suppress(FileExistsError):
            fresh.write(secrets.token_bytes(32))
            fresh.flush()
            os.link(fresh.name, path)  # whole, or another process's
    return path.read_bytes()


def runtime_dir() -> Path:
    """The folder of sockets, locks and logs: `LLMI_RUNTIME_DIR`, else the user's runtime directory, else one under `/tmp`.

    Raises:
        WorldError: there is none that only this user can enter, or the system has no Unix sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise WorldError("this system has no Unix sockets: use world='in_process', or `llmi serve` and its URL")
    given = os.environ.get("LLMI_RUNTIME_DIR")
    if given:
        candidates = [Path(given)]
    else:
        candidates = [Path(folder) / f"llmi-{os.getuid()}" for folder in (tempfile.gettempdir(), "/tmp")]
        # on Linux platformdirs warns where the variable is not set, as in most containers: nothing a user could act on
        if os.environ.get("XDG_RUNTIME_DIR") or not sys.platform.startswith("linux"):
            with contextlib.suppress(OSError):
                candidates.insert(0, Path(platformdirs.user_runtime_dir("llmi", appauthor=False)))
    reasons = []
    for folder in candidates:
        if len(os.fsencode(folder)) + 25 > _MAX_SOCKET_PATH:
            reasons.append(f"{folder}: the path is too long for a socket")
            continue
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror or error}")
            continue
        # whoever owns the folder above could put another in the place of this one
        owners = {found.st_uid, folder.parent.stat().st_uid}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or not owners <= {0, os.getuid()}:
            reasons.append(f"{folder}: is not a folder of this user")
            continue
        if found.st_mode & 0o077:
            folder.chmod(0o700)
        return folder
    raise WorldError(f"no folder for the helper's socket ({'; '.join(reasons)}): set LLMI_RUNTIME_DIR to a short path")


def _open_private(path: Path, mode: str) -> IO[bytes]:
    # the folder is 0700 already; a log tells what was asked, so its file says so too
    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    return open(path, mode, opener=opener)

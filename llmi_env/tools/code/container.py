"""The tier `docker`: a worker as the only program of a locked-down container, for as long as the worker lives.

Any engine with Docker's API will do (Docker, podman's socket); `DOCKER_HOST` says where. The image holds Python and the plotting stack
(`image.py`); the worker's program is sent to it. When the host ends, the container's standard input closes, the worker ends, and the engine
removes the container.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import weakref
from typing import TYPE_CHECKING, Any

from llmi_env.errors import MissingExtra, ToolUnavailable, require
from llmi_env.tools.code.config import MIB, CodeConfig
from llmi_env.tools.code.launch import NOBODY, OWN_ROOT_FOLDER, command, environment, send_program

if TYPE_CHECKING:
    import docker

_STREAM_HEADER = struct.Struct(">BxxxL")
"""Of Docker's multiplexed streams: which one, and how many bytes."""
_STDOUT = 1
_KEPT_WORDS = 16_384
_BASE_MEMORY_MIB = 256  # the warm worker itself
LABEL = "llmi-env.code"


def connect() -> docker.DockerClient:
    """The engine that `DOCKER_HOST` names, else the local one.

    Raises:
        ToolUnavailable: none answers.
    """
    try:
        docker = require("docker", "the sandbox `docker`", "sandbox")
    except MissingExtra as error:
        raise ToolUnavailable(str(error)) from error
    try:
        client = docker.from_env(timeout=30)
        client.ping()
    except Exception as error:  # the library lets errors of several others through
        cause = " ".join(str(error).split())[:200]
        raise ToolUnavailable(
            f"no Docker engine answers: {cause}. Start one, or say where it is in DOCKER_HOST"
        ) from error
    return client


class ContainerProcess:
    """A worker's program in a container of its own.

    Raises:
        ToolUnavailable: no engine, no image, or the container cannot be started.
    """

    place = ""

    def __init__(self, config: CodeConfig) -> None:
        self._client = connect()
        import docker
        from docker.types import LogConfig

        self._container: Any = None
        self._words = bytearray()
        memory = int((_BASE_MEMORY_MIB + config.memory_mib + 2 * config.disk_mib) * MIB)
        try:
            self._container = self._client.containers.create(
                config.docker_image,
                command("python3", config, folder=f"{OWN_ROOT_FOLDER}/worker", host_fd=-1, own_root=True),
                network_mode="none",
                read_only=True,
                user=f"{NOBODY}:{NOBODY}",
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                pids_limit=16,
                mem_limit=memory,
                memswap_limit=memory,
                nano_cpus=int(config.cpus * 1e9),
                ipc_mode="none",
                tmpfs={
                    OWN_ROOT_FOLDER: f"size={config.own_root_bytes},mode=0700,uid={NOBODY},gid={NOBODY},nosuid,nodev,noexec"
                },
                environment=environment(OWN_ROOT_FOLDER),
                working_dir="/",
                hostname="sandbox",
                log_config=LogConfig(type="none"),
                labels={LABEL: "worker"},
                auto_remove=True,
                stdin_open=True,
                tty=False,
            )
            attached = self._container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            self._socket: socket.socket = getattr(attached, "_sock", attached)
            self._attached = attached  # the library closes the connection with this object
            self._socket.setblocking(True)
            self._container.start()
        except Exception as error:  # the library lets errors of several others through
            self._drop()
            self._let_go()
            cause = f"the container could not be started: {' '.join(str(error).split())[:300]}"
            if isinstance(error, docker.errors.ImageNotFound):
                cause = f"the engine has no image {config.docker_image!r}: make it with `llmi tools build-image`"
            raise ToolUnavailable(cause) from error
        self.input = self._socket.fileno()
        self.output, self._sink = os.pipe()
        self.pid = self._find_pid()
        _OPEN.add(self)
        self._pump = threading.Thread(target=self._relay, name="llmi-code-container", daemon=True)
        self._pump.start()
        send_program(self)

    @property
    def alive(self) -> bool:
        """See `Process`."""
        return self._pump.is_alive()

    def kill(self) -> None:
        """See `Process`."""
        self._drop()
        self._hang_up()

    def close(self) -> None:
        """See `Process`."""
        self._hang_up()
        self._pump.join(2.0)
        self._drop()
        self.input = -1
        if self.output >= 0:
            os.close(self.output)
            self.output = -1
        self._let_go()

    def abandon(self) -> None:
        """See `Process`."""
        for fd in (self.output, self._sink):
            if fd >= 0:
                os.close(fd)
        self.input = self.output = self._sink = -1
        self._let_go()

    def last_words(self) -> str:
        """See `Process`."""
        self._pump.join(1.0)
        return self._words.decode("utf-8", "replace")

    def _relay(self) -> None:
        """Take the engine's stream apart: frames to the pipe, the rest is kept as last words."""
        try:
            while header := self._exactly(_STREAM_HEADER.size):
                stream, length = _STREAM_HEADER.unpack(header)
                payload = self._exactly(length)
                if stream == _STDOUT:
                    view = memoryview(payload)
                    while view:
                        view = view[os.write(self._sink, view) :]
                else:
                    self._words += payload
                    del self._words[:-_KEPT_WORDS]
        except OSError:
            return
        finally:
            sink, self._sink = self._sink, -1
            if sink >= 0:
                os.close(sink)

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(min(count - len(data), 1 << 18))
            if not piece:
                return b""
            data += piece
        return bytes(data)

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _find_pid(self) -> int:
        try:
            self._container.reload()
            return int(self._container.attrs["State"]["Pid"])
        except Exception:
            return 0

    def _let_go(self) -> None:
        """Close the connections to the engine."""
        for connection in (getattr(self, "_attached", None), getattr(self, "_socket", None), self._client):
            with contextlib.suppress(Exception):
                if connection is not None:
                    connection.close()

    def _drop(self) -> None:
        """Remove the container; one that is gone is gone."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(Exception):
                container.remove(force=True)


_OPEN: weakref.WeakSet[ContainerProcess] = weakref.WeakSet()


def _forget_in_fork() -> None:
    """A fork of the host that kept a connection open would keep the container when the host has ended."""
    for process in list(_OPEN):
        process.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_fork)

"""How the host and the warm worker speak: frames over a pipe.

A frame is one byte of kind, two lengths, a JSON head and raw bytes. Nothing but pipes is needed, so that the same worker can stand
behind any pair of byte streams. Standard library only: the worker program imports this module without the rest of the package.

Host to worker::

    JOB     {"timeout", "seed"} + the source, read by the forked child itself
    CANCEL  ends the job in flight; ignored between jobs

Worker to host::

    READY   {"pid", "landlock_abi", ...}    once, after the warm imports
    FATAL   {"error"}                        instead of READY: why the worker cannot serve
    ANSWER  + bytes the child wrote as its answer (untrusted), in pieces
    TEXT    + bytes the child printed (untrusted), in pieces
    END     {"reason", "signal", ...}        how the child ended, in the worker's own words
"""

from __future__ import annotations

import enum
import json
import os
import select
import struct
import time
from dataclasses import dataclass
from typing import Any

HEADER = struct.Struct("!BII")
"""Kind, length of the JSON head, length of the raw bytes."""

ANSWER_HEADER = struct.Struct("!I")
"""A child's answer: length of its JSON head, the head, and PNG bytes to the end."""

MAX_HEAD = 64 * 1024
MAX_PAYLOAD = 16 * 1024 * 1024
BUSY_FACTOR = 3.0
"""How often a chart's time may be given again, at most, to one that waited for a busy CPU."""


class Kind(enum.IntEnum):
    """What a frame says."""

    JOB = 1
    CANCEL = 2
    READY = 3
    FATAL = 4
    ANSWER = 5
    TEXT = 6
    END = 7


class FrameError(Exception):
    """Raised when what came is no frame: the stream cannot be trusted any further."""


@dataclass(frozen=True)
class Frame:
    """One frame, read whole."""

    kind: Kind
    head: dict[str, Any]
    payload: bytes = b""


def read_exact(fd: int, count: int, deadline: float | None = None) -> bytes:
    """Read `count` bytes. Raises `EOFError` at the end of the stream and `TimeoutError` after `deadline` (monotonic)."""
    data = bytearray()
    while len(data) < count:
        if deadline is not None:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError("no answer before the deadline")
        piece = os.read(fd, min(count - len(data), 1 << 20))
        if not piece:
            raise EOFError("the stream ended")
        data += piece
    return bytes(data)


def read_head(fd: int, deadline: float | None = None) -> tuple[Kind, dict[str, Any], int]:
    """Read a frame's kind and head, and tell how many raw bytes follow. Raises `FrameError` besides `read_exact`'s errors."""
    code, head_length, payload_length = HEADER.unpack(read_exact(fd, HEADER.size, deadline))
    if head_length > MAX_HEAD or payload_length > MAX_PAYLOAD:
        raise FrameError(f"a frame of {head_length} + {payload_length} bytes is over the cap")
    try:
        kind = Kind(code)
        head = json.loads(read_exact(fd, head_length, deadline))
    except ValueError as error:
        raise FrameError(f"unreadable frame: {error}") from error
    if not isinstance(head, dict):
        raise FrameError("a frame's head is not an object")
    return kind, head, payload_length


def read_frame(fd: int, deadline: float | None = None) -> Frame:
    """Read one whole frame; see `read_head` for what it raises."""
    kind, head, length = read_head(fd, deadline)
    return Frame(kind, head, read_exact(fd, length, deadline))


def write_all(fd: int, data: bytes | bytearray | memoryview, deadline: float | None = None) -> None:
    """Write every byte, however often the kernel takes only a part. Raises `TimeoutError` after `deadline` (monotonic)."""
    view = memoryview(data)
    while view:
        if deadline is None:
            view = view[os.write(fd, view) :]
            continue
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("nobody read before the deadline")
        # So much fits without waiting once a pipe is said to be ready.
        view = view[os.write(fd, view[: select.PIPE_BUF]) :]


def write_frame(
    fd: int,
    kind: Kind,
    head: dict[str, Any],
    payload: bytes | bytearray | memoryview = b"",
    deadline: float | None = None,
) -> None:
    """Write one frame; see `write_all` for what it raises."""
    encoded = json.dumps(head).encode()
    write_all(fd, HEADER.pack(kind, len(encoded), len(payload)) + encoded, deadline)
    write_all(fd, payload, deadline)

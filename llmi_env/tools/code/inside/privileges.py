"""Giving up what a worker started as root would have, and the limits of one child. Standard library only."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
from collections.abc import Iterable

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 1, 4, 24, 47
_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_POSSIBLE_CAPABILITY = 63


def _prctl(option: int, first: int, second: int = 0) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(option, ctypes.c_ulong(first), ctypes.c_ulong(second), ctypes.c_ulong(0), ctypes.c_ulong(0)))


def capabilities() -> int:
    """The bits of all effective, permitted and inheritable capabilities of this process, merged."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), 8)
    data = ctypes.create_string_buffer(24)
    if libc.capget(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capget failed")
    words: tuple[int, ...] = struct.unpack("=6I", data.raw)
    return (words[0] | words[1] | words[2]) | (words[3] | words[4] | words[5]) << 32


def drop_capabilities() -> None:
    """Give up every capability for good: root keeps only what the owner of a file may do. Raises `OSError` if one stays."""
    if capabilities() == 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    for capability in range(_LAST_POSSIBLE_CAPABILITY + 1):
        # Past the last one the kernel answers EINVAL; without CAP_SETPCAP, EPERM, and then no_new_privs keeps them out.
        if _prctl(_PR_CAPBSET_DROP, capability) != 0 and ctypes.get_errno() == errno.EINVAL:
            break
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), 8)
    if libc.capset(header, ctypes.create_string_buffer(24)) != 0 or capabilities() != 0:
        raise OSError(errno.EPERM, "the capabilities of root cannot be dropped here; run as an ordinary user")


def check_readable(paths: Iterable[str]) -> None:
    """Raise `OSError` when a folder of the interpreter cannot be read any more, now that no capability helps."""
    for path in paths:
        try:
            os.listdir(path)
        except NotADirectoryError:
            continue
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise OSError(
                errno.EACCES,
                f"without root's capabilities {path} cannot be read (a Python beneath another user's home); "
                "run as the user who owns it",
            ) from error


def hide_from_siblings() -> None:
    """No core dumps, and no reading of this process or its children through /proc by others of the same user."""
    _prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, also when the parent has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(71)


def limit_child(*, seconds: float, address_space: int, file_bytes: int, open_files: int) -> None:
    """Set the child's resource limits, soft and hard alike. The wall-clock deadline is kept by the worker."""
    cpu = int(seconds) + 2
    for which, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(which, (value, value))

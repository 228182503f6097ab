"""A seccomp filter for plotting children, as a BPF program handed to `prctl`.

Own code rather than a library: pyseccomp needs the system's libseccomp, which a plain `pip install` does not bring, and sandlock
confines a live process by Landlock paths only (its seccomp needs a supervised new process, which is what the warm worker exists
to avoid). What is left is one table and thirty lines of BPF.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from .syscalls import FIRST_UNIFIED, Machine, machine

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
"""Offsets in the kernel's `seccomp_data`; arguments are eight bytes each, low word first."""

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2

_O_TMPFILE = 0o20000000

FCNTL_ALLOWED: tuple[int, ...] = (0, 1, 2, 3, 4, 1030, 1032)
"""Duplicate, flags, pipe size. Not F_SETOWN and F_SETSIG: together they send any signal to any process. Not locks: a lock on a library's file
is seen by other calls."""

IOCTL_ALLOWED: tuple[int, ...] = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Not TIOCSTI, not FIOSETOWN."""

_Instruction = tuple[int, int, int, int]


def _argument(index: int, high: bool = False) -> _Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index + (4 if high else 0))


def _refuse(number: int) -> _Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _when(number: int, body: Sequence[_Instruction]) -> list[_Instruction]:
    """`body`, which must return on every path, for the call `number`."""
    return [(_EQUAL, 0, len(body), number), *body]


def _argument_in(index: int, values: Sequence[int]) -> list[_Instruction]:
    """Allow when the low word of argument `index` is one of `values`, else refuse."""
    body = [_argument(index)]
    for value in values:
        body += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*body, _refuse(errno.EPERM)]


def _without_bits(index: int, bits: int) -> list[_Instruction]:
    """Allow when argument `index` has none of these bits, else refuse."""
    return [_argument(index), (_ANY_BIT, 0, 1, bits), _refuse(errno.EPERM), (_RETURN, 0, 0, _ALLOW)]


def _only_reads_own_limits() -> list[_Instruction]:
    """`prlimit64(0, resource, NULL, ...)`: `getrlimit` on itself."""
    return [
        _argument(0),
        (_EQUAL, 0, 5, 0),
        _argument(2),
        (_EQUAL, 0, 3, 0),
        _argument(2, high=True),
        (_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        _refuse(errno.EPERM),
    ]


def program(pid: int, target: Machine) -> bytes:
    """The filter for a process `pid` on `target`: named calls pass, signals reach only `pid`, the rest is refused."""
    conditions = {
        "kill": _argument_in(0, [pid]),
        "tgkill": _argument_in(0, [pid]),
        # A file without a name would be in no quota.
        "open": _without_bits(1, _O_TMPFILE),
        "openat": _without_bits(2, _O_TMPFILE),
        "fcntl": _argument_in(1, FCNTL_ALLOWED),
        "ioctl": _argument_in(1, IOCTL_ALLOWED),
        "prlimit64": _only_reads_own_limits(),
    }
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, target.audit_arch),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if target.foreign_abi_from is not None:
        code += [(_AT_LEAST, 0, 1, target.foreign_abi_from), (_RETURN, 0, 0, _KILL_PROCESS)]
    for name, number in target.allowed.items():
        code += _when(number, conditions.get(name, [(_RETURN, 0, 0, _ALLOW)]))
    code += [(_AT_LEAST, 0, 1, FIRST_UNIFIED), _refuse(errno.ENOSYS), _refuse(errno.EPERM)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def restrict() -> None:
    """Put the calling process, of one thread, under the filter for the rest of its life. Raises `OSError` where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = program(os.getpid(), machine())
    buffer = ctypes.create_string_buffer(code, len(code))
    header = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refused PR_SET_NO_NEW_PRIVS")
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(header), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(
            number, f"the kernel refused the seccomp filter ({os.strerror(number)}); it needs CONFIG_SECCOMP_FILTER"
        )

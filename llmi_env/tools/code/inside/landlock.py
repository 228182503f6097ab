"""Landlock: which files a plotting child may open.

Own code rather than a library: the `landlock` package (1.0.0.dev5) knows only the file rules of the kernel's first interface and
computes its rights at import, sandlock brings a 13 MB native library and refuses kernels older than 6.7. Three system calls,
whose numbers are the same on every CPU, do all that is needed here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _RULE_PATH_BENEATH, _PR_SET_NO_NEW_PRIVS = 1, 1, 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_INTERFACE = (1 << 13) - 1
_BIND_AND_CONNECT_TCP = 3
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def abi() -> int:
    """The kernel's Landlock interface version. Raises `OSError` that says why there is none."""
    version = int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG))
    if version > 0:
        return version
    number = ctypes.get_errno()
    if number == errno.ENOSYS:
        raise OSError(number, "this kernel has no Landlock; it needs Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK")
    if number == errno.EOPNOTSUPP:
        raise OSError(number, "Landlock is switched off; add 'landlock' to the kernel's lsm= boot parameter")
    raise OSError(number, f"Landlock was refused ({os.strerror(number)}); a container's seccomp profile may forbid it")


def handled_rights(version: int) -> int:
    """Every file right that interface `version` can deny."""
    rights = _FIRST_INTERFACE
    if version >= 2:
        rights |= REFER
    if version >= 3:
        rights |= TRUNCATE
    if version >= 5:
        rights |= IOCTL_DEV
    return rights


def restrict(read: Iterable[str], write: Iterable[str]) -> None:
    """Forbid the calling process every file but those beneath `read` (reading) and `write` (files and folders, no links, no devices).

    TCP, abstract sockets and signals to outsiders are forbidden too where the kernel's interface knows them. Paths that do not exist
    are passed over. Raises `OSError` where the kernel refuses.
    """
    libc, version = _libc(), abi()
    handled = handled_rights(version)
    attributes = struct.pack("=QQQ", handled, _BIND_AND_CONNECT_TCP, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = int(libc.syscall(_CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(size), 0))
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset failed")
    try:
        for paths, rights in (
            (read, READ_FILE | READ_DIR),
            (
                write,
                READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE,
            ),
        ):
            for path in paths:
                _allow(libc, ruleset, path, rights & handled)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "the kernel refused PR_SET_NO_NEW_PRIVS")
        if libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock_restrict_self failed")
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= READ_FILE | WRITE_FILE | TRUNCATE
        rule = struct.pack("=Qi", rights, fd)
        if libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.c_char_p(rule), 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock_add_rule failed")
    finally:
        os.close(fd)

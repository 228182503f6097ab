"""What of a machine's file system a chart's code may read: libraries, and what they load. Standard library only, on any system."""

from __future__ import annotations

import os
import sys
import sysconfig

SYSTEM_PATHS = (
    "/usr/lib", "/usr/local/lib", "/lib", "/lib64", "/usr/share/fonts", "/usr/share/zoneinfo", "/etc/localtime",
    "/etc/ld.so.cache", "/dev/urandom", "/dev/zero",
)  # fmt: skip


def interpreter_paths() -> list[str]:
    """Folders that the running interpreter imports from: code for children to read, nothing of the user's."""
    named = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    dynload = [path for path in sys.path if path.endswith("lib-dynload")]
    return sorted({os.path.realpath(path) for path in [*named, *dynload] if path and os.path.isdir(path)})

"""What the host can see of a worker, whatever stands around it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmi_env.tools.code.worker import Runner


def children_of(pid: int) -> list[int]:
    """Processes, zombies too, whose parent this is."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split() if entry.isdigit() else []
        except (OSError, IndexError):
            continue
        if fields and int(fields[1]) == pid:
            found.append(int(entry))
    return found


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    found = children_of(pid)
    for child in list(found):
        found += descendants(child)
    return found


def zygote_of(worker: Runner) -> int:
    """The worker's interpreter: the process itself, or what its wrapper started."""
    waiting = [worker.pid]
    while waiting:
        pid = waiting.pop()
        if b"inside.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes() and not _is_wrapper(pid):
            return pid
        waiting += children_of(pid)
    pytest.skip("the worker's process cannot be seen from here (an engine on another machine?)")


def folder_of(worker: Runner) -> Path:
    """The worker's folder as the host reaches it; takes root where the worker has a root of its own."""
    if worker.folder:
        return Path(worker.folder)
    folder = Path("/proc", str(zygote_of(worker)), "root", "chart", "worker")
    if not os.access(folder, os.R_OK):
        pytest.skip("only root can look into the root of another process")
    return folder


def _is_wrapper(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"bwrap")

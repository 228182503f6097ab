"""Protections switched off on purpose, for the test of the tests (`test_shields.py`). The result must never leave a container."""

from __future__ import annotations

from llmi_env.tools.code import launch

_LAST = "from llmi_env.tools.code.inside.PROGRAM import main"
_IMPORTS = "from llmi_env.tools.code.inside import drawing, frames, landlock, privileges, scratch, seccomp, zygote\n"
_OFF = {
    "landlock": "landlock.restrict = lambda read, write: None",
    "seccomp": "seccomp.restrict = lambda: None",
    "limits": "privileges.limit_child = lambda **limits: None",
    "deadline": "zygote._Watch.__init__.__globals__['BUSY_FACTOR'] = 100.0; zygote._Watch._starved = lambda self: 1000.0",
    "quota": "scratch.over_quota = lambda path, limit: False",
    "caps": "import dataclasses; _S = zygote.Settings; zygote.Settings = lambda **s: _S(**(s | {'answer': 1 << 30, 'text': 1 << 30}))",
    "cleaning": (
        "import os; scratch.remove = lambda path: None\n"
        "zygote.Zygote._new_folder = lambda self: os.makedirs('/chart/worker/one', exist_ok=True) or '/chart/worker/one'"
    ),
    "environment": "import os; os.environ['LLMI_TEST_API_KEY'] = 'sk-canary-4711'",
    "descriptors": "import os; os.closerange = lambda low, high: None",
}


def switch_off(names: str) -> None:
    """Start workers of this process without these protections, and without the probe that would notice."""
    if "llmi: open doors" in launch._BOOTSTRAP:
        return
    parts = [_OFF[name] for name in names.split(",") if name in _OFF]
    before = "\n".join(
        ["# llmi: open doors", _IMPORTS, *parts, "zygote._what_is_still_open = lambda landlocked: ''", _LAST]
    )
    launch._BOOTSTRAP = launch._BOOTSTRAP.replace(_LAST, before)

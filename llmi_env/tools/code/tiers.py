"""What may stand around model-written code, and which of it does here.

A tier is how a worker is started. Inside each of the first three, every chart's child is confined by seccomp and limits, and by Landlock where
the kernel has it; `landlock` is nothing but that. `auto` takes the first that really draws a chart; `unsafe` is taken by name only.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmi_env.errors import ToolError, ToolUnavailable
from llmi_env.tools.code import container, namespace
from llmi_env.tools.code.answers import picture_of
from llmi_env.tools.code.config import CodeConfig
from llmi_env.tools.code.fresh import FreshProcess
from llmi_env.tools.code.launch import new_place, start_local
from llmi_env.tools.code.worker import Job, Runner, Worker, WorkerDied

logger = logging.getLogger(__name__)

PROBE = b"plt.plot([1, 3, 2]); plt.title('probe')"


def _docker(config: CodeConfig) -> Runner:
    return Worker(config, container.ContainerProcess(config), "docker")


def _namespace(config: CodeConfig) -> Runner:
    try:
        return Worker(config, namespace.start(config), "namespace")
    except ToolUnavailable as error:
        advice = namespace.advice()
        raise ToolUnavailable(f"{error}. {advice}" if advice else str(error)) from error


def _landlock(config: CodeConfig) -> Runner:
    return Worker(config, start_local(config, new_place()), "landlock")


def _unsafe(config: CodeConfig) -> Runner:
    logger.warning(
        "code tool: sandbox=unsafe, so model-written code runs with all the rights of this user; "
        "`llmi doctor` says which sandboxes work here"
    )
    return FreshProcess(config)


STARTERS: dict[str, Callable[[CodeConfig], Runner]] = {
    "docker": _docker,
    "namespace": _namespace,
    "landlock": _landlock,
    "unsafe": _unsafe,
}
"""Strongest first."""

AUTO = ("docker", "namespace", "landlock")
"""What `auto` tries, in this order."""


@dataclass(frozen=True)
class Finding:
    """What came of trying a tier.

    Attributes:
        tier: its name.
        cause: why it does not work here; empty where it does.
        about: what its worker says of itself.
    """

    tier: str
    cause: str
    about: dict[str, Any]


def start(tier: str, config: CodeConfig) -> Runner:
    """A runner of a tier that was asked for.

    Raises:
        ToolUnavailable: the tier does not work here; the message says why.
    """
    try:
        return _start(tier, config)
    except ToolUnavailable as error:
        raise ToolUnavailable(
            f"the code tool's sandbox {tier!r} is not available here: {error}. Nothing weaker is taken in its place; "
            "`llmi doctor` says what works on this machine"
        ) from error


def _start(tier: str, config: CodeConfig) -> Runner:
    """The same with the bare cause."""
    try:
        return STARTERS[tier](config)
    except (
        OSError,
        AttributeError,
        ValueError,
        ImportError,
    ) as error:  # a system that lacks what the tier takes for granted
        raise ToolUnavailable(f"{type(error).__name__}: {error}") from error


def _proved(tier: str, config: CodeConfig) -> Runner:
    """A runner of a tier that has drawn a chart. Raises `ToolUnavailable` with the bare cause."""
    runner = _start(tier, config)
    try:
        picture_of(runner.run(Job(PROBE, 0)), config)
    except (WorkerDied, ToolError) as error:
        runner.close()
        raise ToolUnavailable(f"it starts, but draws no chart: {error}") from error
    return runner


def examine(tier: str, config: CodeConfig) -> Finding:
    """Try a tier out: start it, draw, end it."""
    try:
        runner = _proved(tier, config)
    except ToolUnavailable as error:
        return Finding(tier, str(error), {})
    runner.close()
    return Finding(tier, "", runner.about)


class Choice:
    """The tier of a pool: that of the configuration, or with `auto` the first that proves itself, once for all its workers."""

    def __init__(self, config: CodeConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self.tier: str = "" if config.sandbox == "auto" else config.sandbox

    def start(self) -> Runner:
        """A runner. Raises `ToolUnavailable`."""
        with self._lock:
            if not self.tier:
                return self._first()
        return start(self.tier, self._config)

    def _first(self) -> Runner:
        causes = []
        for tier in AUTO:
            try:
                runner = _proved(tier, self._config)
            except ToolUnavailable as error:
                causes.append(f"{tier}: {error}")
                continue
            self.tier = tier
            logger.info("code tool: sandbox %s%s", tier, f" (not {'; not '.join(causes)})" if causes else "")
            return runner
        raise ToolUnavailable(
            f"no sandbox for the code tool works here ({'; '.join(causes)}). `llmi doctor` says how to get one; code is never run without, "
            "unless it is asked for by services.tools.code.sandbox=unsafe"
        )

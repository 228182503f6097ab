"""The World in this process: the tools and judges themselves, used from one event loop.

It stands behind every other World (the service and the local helper process wrap it) and is what tests and notebooks use. Its two sides:
`llmi_env.world.calling` carries out calls, `llmi_env.world.judging` judges documents.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from llmi_env.calls import Call
from llmi_env.document import Document, Outcome, Picture
from llmi_env.errors import ConfigError
from llmi_env.judges.base import Judge
from llmi_env.judges.cache import judge_identity
from llmi_env.task import Task
from llmi_env.tools.base import Tool
from llmi_env.world.calling import Calling
from llmi_env.world.config import WorldConfig
from llmi_env.world.deciding import parts_of
from llmi_env.world.judging import Judging
from llmi_env.world.protocol import AboutJudge, Deciding, Judgments
from llmi_env.world.statistics import ToolFigures, ToolTally

_log = logging.getLogger(__name__)


class InProcessWorld:
    """A World made of tools and judges in this process.

    Args:
        tools: tools by the name that calls use.
        judges: judges; where two score the same term, the first that has a score gives it.
        config: limits; its own `tools` and `judges` are made on first use, objects given here are added to them.

    One event loop uses it at a time. On another loop, in a forked child and after unpickling, it starts afresh: what came from the
    configuration is made again on first use.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool] | None = None,
        judges: Sequence[Judge] = (),
        config: WorldConfig | None = None,
    ) -> None:
        self.config = config or WorldConfig(tools={}, judges=[])
        self._given_tools = dict(tools or {})
        self._given_judges = tuple(judges)
        twice = set(self._given_tools) & set(self.config.tools)
        if twice:
            raise ConfigError(f"tools given both as objects and in the configuration: {', '.join(sorted(twice))}")
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._pid = os.getpid()
        self._engine: _Engine | None = None
        self._tallies = {name: ToolTally() for name in self.tool_names}

    @classmethod
    def from_config(cls, config: WorldConfig | None = None) -> InProcessWorld:
        """A World of what `config` names; nothing is imported or loaded before the first use.

        Raises:
            ConfigError: a limit of a tool that there is not.
        """
        config = config or WorldConfig()
        config.check_limits()
        return cls(config=config)

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Names of all tools."""
        return (*self._given_tools, *self.config.tools)

    async def run(
        self, call: Call, pictures: Sequence[Picture] = (), *, seed: int = 0, deadline: float | None = None
    ) -> Outcome:
        """Carry out one call; see `World.run`.

        Args:
            call: the call.
            pictures: the pictures that it points at.
            seed: the only source of randomness.
            deadline: seconds, in place of the configured ones.

        Raises:
            ConfigError, MissingExtra, AssetError: the tool cannot be made at all: a mistake of the set-up, not of the call.
        """
        return await self._current().calling.run(call, tuple(pictures), seed, deadline)

    async def judge(self, document: Document, task: Task) -> Judgments:
        """Judge a document; see `World.judge`.

        Raises:
            ConfigError, MissingExtra, AssetError: a judge cannot be made at all.
        """
        return await self._current().judging.judge(document, task)

    def makers(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """By name, what makes and warms each tool and judge: the very work that its first call or document would wait for."""
        engine = self._current()
        names = engine.judging.names
        found: dict[str, Callable[[], Awaitable[object]]] = {
            f"tool {name}": partial(engine.calling.tool, name) for name in self.tool_names
        }
        for place, name in enumerate(names):
            title = f"judge {name} {place + 1}" if names.count(name) > 1 else f"judge {name}"
            found[title] = partial(engine.judging.prepare, place)
        return found

    async def terms(self) -> tuple[str, ...]:
        """Every term that the judges score; makes the judges."""
        return tuple(dict.fromkeys(term for judge in await self.about_judges() for term in judge.terms))

    async def about_judges(self) -> tuple[AboutJudge, ...]:
        """Name, identity and terms of each judge; makes the judges."""
        judging = self._current().judging
        return tuple(
            AboutJudge(name, judge_identity(judge), tuple(judge.terms))
            for name, judge in zip(judging.names, await judging.judges(), strict=True)
        )

    async def deciding(self) -> Deciding:
        """What decides the answers; makes nothing."""
        tools = {name: _named(tool) for name, tool in self._given_tools.items()}
        return parts_of(self.config, tools, [judge_identity(judge) for judge in self._given_judges])

    def figures(self) -> dict[str, ToolFigures]:
        """What each tool has done since this World was made in this process, by name. Clock times: never part of what an episode tells."""
        return {name: tally.figures() for name, tally in self._tallies.items()}

    async def aclose(self) -> None:
        """Close all tools and judges; a later call makes those of the configuration again."""
        engine, self._engine = self._engine, None
        if engine is not None and engine.is_here():
            await engine.aclose()
        else:
            await _close_all([*self._given_tools.values(), *self._given_judges])

    def _current(self) -> _Engine:
        if self._pid != os.getpid():
            self._start_afresh()
        if self._engine is None or not self._engine.is_here():
            self._tallies = {name: tally.taken_over() for name, tally in self._tallies.items()}
            calling = Calling(self.config, self._given_tools, self._tallies)
            self._engine = _Engine(calling, Judging(self.config, self._given_judges))
        return self._engine

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_pid", "_engine", "_tallies")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_afresh()


class _Engine:
    """What an `InProcessWorld` holds in one process and on one event loop."""

    def __init__(self, calling: Calling, judging: Judging) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self.calling, self.judging = calling, judging

    def is_here(self) -> bool:
        """Whether this is the process and the event loop that it was made for."""
        return self._pid == os.getpid() and self._loop is asyncio.get_running_loop()

    async def aclose(self) -> None:
        await asyncio.gather(self.calling.aclose(), self.judging.aclose())
        await _close_all([*self.calling.tools, *self.judging.made])


def _named(tool: Tool) -> str:
    """What tells a tool that is an object from others, as far as it says so."""
    return f"{type(tool).__module__}:{type(tool).__qualname__} {getattr(tool, 'fingerprint', '')}"


async def _close_all(parts: Sequence[Tool | Judge]) -> None:
    for part, result in zip(
        parts, await asyncio.gather(*(part.aclose() for part in parts), return_exceptions=True), strict=True
    ):
        if isinstance(result, Exception):
            _log.warning("closing %s failed", type(part).__name__, exc_info=result)

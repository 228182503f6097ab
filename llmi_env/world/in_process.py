"""The World in this process: the tools and judges themselves, used from one event loop.

It stands behind every other World (the service and the local helper process wrap it) and is what tests and notebooks use. One
call goes: cache -> the same call in flight -> the tool's turn -> tries within the deadline -> classification -> a picture
in RGB of bounded size.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from PIL import Image
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from llmi_env.calls import Call
from llmi_env.document import Document, Failure, Outcome, Picture
from llmi_env.errors import (
    BadCall,
    ConfigError,
    LLMIError,
    MissingExtra,
    ToolError,
    WorldError,
    classify,
    did_you_mean,
    fault_of,
)
from llmi_env.judges.base import Judge
from llmi_env.judges.cache import Caching, JudgmentCache, judge_identity
from llmi_env.judges.making import make_judge, tell_stand_ins
from llmi_env.judges.preparing import Preparation
from llmi_env.task import Task
from llmi_env.tools import make_tool
from llmi_env.tools.base import Tool, ToolContext, Warming
from llmi_env.world.cache import OutcomeCache
from llmi_env.world.config import WorldConfig
from llmi_env.world.flights import Flights, Grounded
from llmi_env.world.guard import guarded, within
from llmi_env.world.pictures import normalise
from llmi_env.world.protocol import AboutJudge, Judgment, Judgments, Scored, Unscored
from llmi_env.world.threads import in_thread

_log = logging.getLogger(__name__)
_DEFAULT_CONCURRENCY = 4


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
        self._engine: _Engine | None = None

    @classmethod
    def from_config(cls, config: WorldConfig | None = None) -> InProcessWorld:
        """A World of what `config` names; nothing is imported or loaded before the first use."""
        return cls(config=config or WorldConfig())

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
        return await self._current().run(call, tuple(pictures), seed, deadline)

    async def judge(self, document: Document, task: Task) -> Judgments:
        """Judge a document; see `World.judge`.

        Raises:
            ConfigError, MissingExtra, AssetError: a judge cannot be made at all.
        """
        return await self._current().judge(document, task)

    async def terms(self) -> tuple[str, ...]:
        """Every term that the judges score; makes the judges."""
        return tuple(dict.fromkeys(term for judge in await self.about_judges() for term in judge.terms))

    async def about_judges(self) -> tuple[AboutJudge, ...]:
        """Name, identity and terms of each judge; makes the judges."""
        engine = self._current()
        return tuple(
            AboutJudge(name, judge_identity(judge), tuple(judge.terms))
            for name, judge in zip(engine.judge_names, await engine.judges(), strict=True)
        )

    async def aclose(self) -> None:
        """Close all tools and judges; a later call makes those of the configuration again."""
        engine, self._engine = self._engine, None
        if engine is not None and engine.is_here():
            await engine.aclose()
        else:
            await _close_all([*self._given_tools.values(), *self._given_judges])

    def _current(self) -> _Engine:
        if self._engine is None or not self._engine.is_here():
            self._engine = _Engine(self.config, self._given_tools, self._given_judges)
        return self._engine

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}


class _Engine:
    """What an `InProcessWorld` holds in one process and on one event loop."""

    def __init__(self, config: WorldConfig, tools: Mapping[str, Tool], judges: Sequence[Judge]) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._tools = dict(tools)
        self._given_judges = judges
        self._judges: tuple[Judge, ...] | None = None
        self._making: dict[str, asyncio.Lock] = {}
        self._preparing: dict[str, Preparation] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._cache = OutcomeCache(config.cache_mb * 1_000_000)
        self._flights: Flights[Outcome] = Flights()
        self._judgments = JudgmentCache.from_option(config.judge_cache, config.judge_cache_mb * 1_000_000)
        self._told: set[tuple[str, str]] = set()

    def is_here(self) -> bool:
        """Whether this is the process and the event loop that it was made for."""
        return self._pid == os.getpid() and self._loop is asyncio.get_running_loop()

    # ------------------------------------------------------------------------------------------------------------ tools

    async def run(self, call: Call, pictures: tuple[Picture, ...], seed: int, deadline: float | None) -> Outcome:
        if call.tool not in self._tools and call.tool not in self._config.tools:
            known = [*self._tools, *self._config.tools]
            return Failure.of(
                call.tool, "unknown_tool", f"there is no tool {call.tool[:60]!r}{did_you_mean(call.tool[:60], known)}"
            )
        try:
            tool = await self._tool(call.tool)
        except ToolError as error:
            return Failure.of(call.tool, *classify(error))
        except LLMIError:
            raise
        except Exception as error:
            _log.warning("tool %s cannot be made", call.tool, exc_info=error)
            return Failure.of(call.tool, *classify(error))
        try:
            call.check(0, sys.maxsize, {call.tool: tool.spec})
        except BadCall as error:
            return Failure.of(call.tool, error.kind, str(error))
        if "img_index" in call.params and not pictures:
            return Failure.of(call.tool, "bad_params", f"{call.tool} points at a picture and none was given")
        key = _key(call, pictures, seed)
        cached = self._cache.get(key)
        if cached is not None:
            return cached
        seconds = deadline or self._config.deadlines.get(call.tool, self._config.deadline)
        context = ToolContext(seed=seed, description=call.description, pictures=pictures, deadline=seconds)
        try:
            return await self._flights.join(key, partial(self._land, key, call, tool, context))
        except Grounded:
            return Failure.of(call.tool, "unavailable", "the World was closed while the call ran")

    async def _land(self, key: str, call: Call, tool: Tool, context: ToolContext) -> Outcome:
        async with self._turn(call.tool, self._config.concurrency.get(call.tool, _DEFAULT_CONCURRENCY)):
            outcome = await self._attempt(call, tool, context)
        self._cache.put(key, outcome)
        return outcome

    async def _attempt(self, call: Call, tool: Tool, context: ToolContext) -> Outcome:
        start = time.monotonic()

        def left() -> float:
            return context.deadline - (time.monotonic() - start)

        def again(error: BaseException) -> bool:
            transient = isinstance(error, ToolError) or not isinstance(error, LLMIError | ImportError | TypeError)
            return isinstance(error, Exception) and transient and fault_of(call.tool, classify(error)[0]) == "world"

        def tell(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            _log.info("%s: try %d failed (%s), trying again", call.tool, state.attempt_number, error)

        tries = AsyncRetrying(
            stop=lambda state: stop_after_attempt(self._config.attempts)(state) or left() <= 0,
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            retry=retry_if_exception(again),
            before_sleep=tell,
            reraise=True,
        )
        try:
            made: Picture = await within(context.deadline, tries(self._once, call, tool, context, left))
            image = await _off_loop_if_large(made, self._config.max_side)
        except MissingExtra:
            raise
        except TimeoutError as error:
            text = str(error) or f"{call.tool} did not answer within {context.deadline:g} seconds"
            return Failure.of(call.tool, "timeout", text)
        except Exception as error:
            kind, message, limit = classify(error)
            if not isinstance(error, ToolError):
                _log.warning("%s failed unexpectedly", call.tool, exc_info=error)
            return Failure.of(call.tool, kind, message, limit)
        return replace(made, image=image, seconds=time.monotonic() - start)

    @staticmethod
    async def _once(call: Call, tool: Tool, context: ToolContext, left: Callable[[], float]) -> Picture:
        made: object = await guarded(tool(call.params, replace(context, deadline=max(left(), 0.001))))
        if not isinstance(made, Picture):
            raise TypeError(f"tool {call.tool!r} returned {type(made).__name__} in place of a Picture")
        return made

    async def _tool(self, name: str) -> Tool:
        if name not in self._tools:
            async with self._making.setdefault(f"tool {name}", asyncio.Lock()):
                if name not in self._tools:
                    use, options = self._config.tool_use(name)
                    _log.info("making tool %s", name)
                    # in a thread: the module behind it may import torch, which takes seconds
                    tool = await asyncio.to_thread(make_tool, use, **options)
                    try:
                        if isinstance(tool, Warming):
                            await tool.warm()
                    except BaseException:
                        await tool.aclose()
                        raise
                    self._tools[name] = tool
        return self._tools[name]

    def _turn(self, name: str, limit: int) -> asyncio.Semaphore:
        return self._turns.setdefault(name, asyncio.Semaphore(limit))

    # ------------------------------------------------------------------------------------------------------------ judges

    @property
    def judge_names(self) -> list[str]:
        """Names of the judges, in the order of `judges`."""
        return [*(type(judge).__name__ for judge in self._given_judges), *(use for use, _ in self._config.judge_uses())]

    async def judges(self) -> tuple[Judge, ...]:
        async with self._making.setdefault("judges", asyncio.Lock()):
            if self._judges is None:
                made = list(self._given_judges)
                for use, options in self._config.judge_uses():
                    _log.info("making judge %s", use)
                    made.append(await self._made(use, options))
                tell_stand_ins([(name, judge.terms) for name, judge in zip(self.judge_names, made, strict=True)])
                for judge in made:
                    if isinstance(judge, Caching):
                        judge.use_cache(self._judgments)
                self._judges = tuple(made)
        return self._judges

    async def _made(self, use: str, options: Mapping[str, Any]) -> Judge:
        seconds = self._config.judge_prepare_deadline
        work = in_thread(partial(make_judge, use, options), f"making {use}")
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), seconds)
        except TimeoutError:
            raise WorldError(
                f"judge {use!r} was not made within {seconds:g} seconds: load models in `prepare`, or raise judge_prepare_deadline"
            ) from None

    async def judge(self, document: Document, task: Task) -> Judgments:
        judges = await self.judges()
        answers = await asyncio.gather(
            *(self._ask(f"judge {number}", judge, document, task) for number, judge in enumerate(judges))
        )
        merged: dict[str, Judgment] = {}
        for judge, answer in zip(judges, answers, strict=True):
            for term in judge.terms:
                judgment = answer.get(term, Unscored("the judge left this term out"))
                earlier = merged.get(term)
                if earlier is None or (isinstance(earlier, Unscored) and isinstance(judgment, Scored)):
                    merged[term] = judgment
        return merged

    async def _ask(self, name: str, judge: Judge, document: Document, task: Task) -> Judgments:
        """One judge's answer; one that was given before needs no turn."""
        return await self._judgments.through(judge, document, task, partial(self._hear, name, judge, document, task))

    async def _hear(self, name: str, judge: Judge, document: Document, task: Task) -> Judgments:
        try:
            # its models are loaded once, and outside of the deadline, which is for judging
            await self._preparing.setdefault(name, Preparation(judge, self._config.judge_prepare_deadline)).ready()
            async with self._judges_turn(name, judge):
                answer: object = await within(self._config.judge_deadline, guarded(judge(document, task)))
            return _checked(judge, answer)
        except (ConfigError, MissingExtra):
            raise
        except TimeoutError as error:
            reason = str(error) or f"the judge did not answer within {self._config.judge_deadline:g} seconds"
        except Exception as error:
            self._tell(name, judge, error)
            reason = f"{type(error).__name__}: {error}"
        return dict.fromkeys(judge.terms, Unscored(reason))

    def _judges_turn(self, name: str, judge: Judge) -> asyncio.Semaphore:
        declared = getattr(judge, "concurrency", None)
        turn = self._turn(name, declared or self._config.judge_concurrency)
        if turn.locked() and not declared and (name, "turn") not in self._told:
            self._told.add((name, "turn"))
            _log.info(
                "%s (%s) takes %d documents at a time, further ones wait: it may declare a `concurrency`, or raise judge_concurrency",
                name,
                type(judge).__name__,
                self._config.judge_concurrency,
            )
        return turn

    def _tell(self, name: str, judge: Judge, error: Exception) -> None:
        """Log a judge's failure: in full the first time, so that an outage of hours does not bury everything else."""
        kind = (name, type(error).__name__)
        if kind in self._told:
            _log.info("%s (%s) failed again: %s: %s", name, type(judge).__name__, kind[1], error)
            return
        self._told.add(kind)
        _log.warning(
            "%s (%s) failed; further %s will be told in short", name, type(judge).__name__, kind[1], exc_info=error
        )

    async def aclose(self) -> None:
        await asyncio.gather(self._flights.cancel(), self._judgments.aclose())
        await _close_all([*self._tools.values(), *(self._judges if self._judges is not None else self._given_judges)])


def _checked(judge: Judge, answer: object) -> Judgments:
    """A judge's answer, with what is no judgment turned into the lack of one."""
    if not isinstance(answer, Mapping):
        return dict.fromkeys(judge.terms, Unscored(f"the judge gave {type(answer).__name__}, not judgments by term"))
    checked: dict[str, Judgment] = {}
    for term, judgment in answer.items():
        if not isinstance(judgment, Scored | Unscored):
            judgment = Unscored(f"the judge gave {type(judgment).__name__}, not a judgment")
        checked[str(term)] = judgment
    return checked


async def _off_loop_if_large(picture: Picture, max_side: int) -> Image.Image:
    if picture.image.width * picture.image.height > 512 * 512:
        return await asyncio.to_thread(normalise, picture.image, max_side)
    return normalise(picture.image, max_side)


async def _close_all(parts: Sequence[Tool | Judge]) -> None:
    for part, result in zip(
        parts, await asyncio.gather(*(part.aclose() for part in parts), return_exceptions=True), strict=True
    ):
        if isinstance(result, Exception):
            _log.warning("closing %s failed", type(part).__name__, exc_info=result)


def _key(call: Call, pictures: Sequence[Picture], seed: int) -> str:
    # The description is part of the key: a tool may use it (see `ToolContext`).
    body = json.dumps(
        [call.tool, call.description, dict(call.params), [picture.digest for picture in pictures], seed], sort_keys=True
    )
    return hashlib.sha256(body.encode()).hexdigest()

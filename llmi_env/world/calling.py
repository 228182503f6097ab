"""The tool side of the World in this process: what happens to one call.

    memory -> the same call in flight -> disk -> the tool's queue (places, rate) -> tries within the deadline -> classification -> a picture
    in RGB of bounded size -> memory and disk

A call that is dropped on the way leaves its place in the queue, takes no token of the rate, and ends the tool's work where nobody else waits
for the same. The clock of its deadline stands still while it queues. `docs/tool-runtime.md` says what each option does.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from PIL import Image, ImageFile
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from llmi_env.calls import Call
from llmi_env.document import Failure, Outcome, Picture
from llmi_env.errors import BadCall, ConfigError, LLMIError, MissingExtra, ToolError, classify, did_you_mean, fault_of
from llmi_env.tools import make_tool
from llmi_env.tools.base import Tool, ToolContext, Warming
from llmi_env.world.cache import OutcomeCache, call_key
from llmi_env.world.config import WorldConfig
from llmi_env.world.disk_cache import CallCache, tool_identity
from llmi_env.world.flights import Flights, Grounded
from llmi_env.world.guard import guarded, within
from llmi_env.world.limits import Queue
from llmi_env.world.pictures import normalise
from llmi_env.world.statistics import ToolTally

_log = logging.getLogger(__name__)
_DEFAULT_CONCURRENCY = 4
_LEAST_TIME = 0.001


class Calling:
    """Tools and their calls, in one process and on one event loop.

    Args:
        config: names tools to be made on first use, and the limits.
        tools: tools that are there already, by name.
        tallies: counts the calls of each tool.
    """

    def __init__(self, config: WorldConfig, tools: Mapping[str, Tool], tallies: Mapping[str, ToolTally]) -> None:
        self._config = config
        self._tools = dict(tools)
        self._tallies = tallies
        self._making: dict[str, asyncio.Lock] = {}
        self._queues: dict[str, Queue] = {}
        self._memory = OutcomeCache(config.cache_mb * 1_000_000)
        self._disk = CallCache.from_option(config.call_cache, config.call_cache_mb * 1_000_000)
        self._flights: Flights[Outcome] = Flights()

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools that are made."""
        return tuple(self._tools.values())

    async def run(self, call: Call, pictures: tuple[Picture, ...], seed: int, deadline: float | None) -> Outcome:
        """Carry out one call; see `InProcessWorld.run`."""
        tally = self._tallies.get(call.tool)
        if tally is None:
            told = f"there is no tool {call.tool[:60]!r}{did_you_mean(call.tool[:60], self._tallies)}"
            return Failure.of(call.tool, "unknown_tool", told)
        tally.calls += 1
        outcome = await self._run(call, pictures, seed, deadline, tally)
        tally.answered(outcome)
        return outcome

    async def _run(
        self, call: Call, pictures: tuple[Picture, ...], seed: int, deadline: float | None, tally: ToolTally
    ) -> Outcome:
        try:
            tool = await self.tool(call.tool)
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
        key = call_key(call, pictures, seed)
        kept = self._memory.get(key)
        if kept is not None:
            tally.cached += 1
            return kept
        seconds = deadline or self._config.deadlines.get(call.tool, self._config.deadline)
        context = ToolContext(seed=seed, description=call.description, pictures=pictures, deadline=seconds)
        mine = False

        def start() -> Coroutine[Any, Any, Outcome]:
            nonlocal mine
            mine = True
            return self._land(key, call, tool, context, tally)

        try:
            outcome = await self._flights.join(key, start)
        except Grounded:
            return Failure.of(call.tool, "unavailable", "the World was closed while the call ran")
        tally.shared += not mine
        return outcome

    async def _land(self, key: str, call: Call, tool: Tool, context: ToolContext, tally: ToolTally) -> Outcome:
        place = self._place_on_disk(key, call.tool, tool)
        outcome = await self._disk.get(place) if place else None
        if outcome is not None:
            tally.cached += 1
        else:
            outcome, lasting = await self._carry_out(call, tool, context, tally)
            if not lasting:
                return outcome
            if place:
                await self._disk.put(place, outcome)
        self._memory.put(key, outcome)
        return outcome

    def _place_on_disk(self, key: str, name: str, tool: Tool) -> str | None:
        """The key of a call on disk, `None` where it is not kept there."""
        if self._disk.path is None or not self._config.call_cached.get(name, getattr(tool, "cacheable", False)):
            return None
        use, options = self._config.tool_use(name) if name in self._config.tools else (None, {})
        identity = tool_identity(tool, use, options)
        if identity is None:
            return None
        return hashlib.sha256(json.dumps([identity, self._config.max_side, key]).encode()).hexdigest()

    async def _carry_out(self, call: Call, tool: Tool, context: ToolContext, tally: ToolTally) -> tuple[Outcome, bool]:
        """The outcome, and whether the tool has nothing against its being kept."""
        watch = Watch(tally, context.deadline)
        queue = self._queue(call.tool)
        with watch.queueing():
            await queue.places.acquire()
        try:
            outcome = await self._attempt(call, tool, context, queue, watch)
        finally:
            queue.places.release()
        tally.carried_out(watch.seconds, watch.queued)
        return outcome

    async def _attempt(
        self, call: Call, tool: Tool, context: ToolContext, queue: Queue, watch: Watch
    ) -> tuple[Outcome, bool]:
        again = _Again(call.tool, self._config, watch)
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(again.wanted),
                wait=again.wait,
                stop=again.enough,
                before_sleep=again.tell,
                reraise=True,
            ):
                with attempt:
                    with watch.queueing():
                        await queue.begin()
                    with watch.running():
                        made = await self._try(call, tool, context, queue, watch.left)
            image = await _normalised(made.image, self._config.max_side)
        except (ConfigError, MissingExtra):
            raise
        except TimeoutError as error:
            text = str(error) or f"{call.tool} did not answer within {context.deadline:g} seconds"
            return Failure.of(call.tool, "timeout", text), True
        except Exception as error:
            kind, message, limit = classify(error)
            if not isinstance(error, ToolError):
                _log.warning("%s failed unexpectedly", call.tool, exc_info=error)
            return Failure.of(call.tool, kind, message, limit), getattr(error, "lasting", True)
        return replace(made, image=image, seconds=watch.seconds, queued=watch.queued), True

    async def _try(self, call: Call, tool: Tool, context: ToolContext, queue: Queue, left: float) -> Picture:
        left = max(left, _LEAST_TIME)
        try:
            made: object = await within(left, guarded(tool(call.params, replace(context, deadline=left))))
        except Exception as error:
            if (asked := _asked_for(error)) <= self._config.longest_wait:
                queue.pause(asked)  # the other calls of this tool too: they would only be turned away
            raise
        if not isinstance(made, Picture):
            raise TypeError(f"tool {call.tool!r} returned {type(made).__name__} in place of a Picture")
        return made

    async def tool(self, name: str) -> Tool:
        """A tool by its name, made and warm; raises what stands in the way."""
        if name not in self._tools:
            async with self._making.setdefault(name, asyncio.Lock()):
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

    def _queue(self, name: str) -> Queue:
        if name not in self._queues:
            places = self._config.concurrency.get(name, _DEFAULT_CONCURRENCY)
            self._queues[name] = Queue(places, self._config.tool_rates(name))
        return self._queues[name]

    async def aclose(self) -> None:
        """Give up the calls in flight; the tools stay to be closed."""
        await self._flights.cancel()
        if self._disk.hits or self._disk.misses:
            _log.info("%s: %d calls found, %d not", self._disk.path, self._disk.hits, self._disk.misses)


class Watch:
    """The clock of one call; it stands still while the call waits for its turn.

    Args:
        tally: is told how many wait and run.
        limit: seconds that the call may take.
    """

    def __init__(self, tally: ToolTally, limit: float) -> None:
        self.tally, self._limit = tally, limit
        self._start = time.monotonic()
        self.queued = 0.0
        """Seconds spent waiting for a turn so far."""

    @property
    def seconds(self) -> float:
        """Seconds that the call has taken so far, its waits for a turn left out."""
        return time.monotonic() - self._start - self.queued

    @property
    def left(self) -> float:
        """Seconds that it still has; below 0 where it is late."""
        return self._limit - self.seconds

    @contextmanager
    def queueing(self) -> Iterator[None]:
        """Around a wait for a turn."""
        began = time.monotonic()
        self.tally.waiting += 1
        try:
            yield
        finally:
            self.tally.waiting -= 1
            self.queued += time.monotonic() - began

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around a try."""
        self.tally.running += 1
        try:
            yield
        finally:
            self.tally.running -= 1


class _Again:
    """Whether and when a failed try is followed by another: for the world's faults alone, and only where there is time left for it."""

    def __init__(self, name: str, config: WorldConfig, watch: Watch) -> None:
        self._name, self._config, self._watch = name, config, watch
        self._jitter = wait_random_exponential(multiplier=config.retry_wait, max=config.longest_wait)

    def wanted(self, error: BaseException) -> bool:
        transient = isinstance(error, ToolError) or not isinstance(error, LLMIError | ImportError | TypeError)
        return isinstance(error, Exception) and transient and fault_of(self._name, classify(error)[0]) == "world"

    def wait(self, state: RetryCallState) -> float:
        return _asked_for(_error(state)) + self._jitter(state)

    def enough(self, state: RetryCallState) -> bool:
        asked_for_more = _asked_for(_error(state)) > self._config.longest_wait
        late = state.upcoming_sleep >= self._watch.left
        return state.attempt_number >= self._config.attempts or asked_for_more or late

    def tell(self, state: RetryCallState) -> None:
        self._watch.tally.retries += 1
        _log.info("%s: try %d failed (%s), trying again", self._name, state.attempt_number, _error(state))


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _asked_for(error: BaseException | None) -> float:
    """Seconds that an error asks to be left alone, as a service does by `Retry-After`; 0 where it says nothing."""
    asked = getattr(error, "retry_after", None)
    return float(asked) if isinstance(asked, int | float) and asked > 0 else 0.0


async def _normalised(image: Image.Image, max_side: int) -> Image.Image:
    """`normalise`, off the loop where it may take long: large pictures, and those still to be read from their file."""
    if image.width * image.height > 512 * 512 or isinstance(image, ImageFile.ImageFile):
        return await asyncio.to_thread(normalise, image, max_side)
    return normalise(image, max_side)

"""Documents written by a model behind an endpoint: text streams in, and each call starts when its closing tag has come.

A document is begun anew where its stream breaks off; its calls are the same then, under the same seeds. One that cannot be had within all tries
is a `NotWritten`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from llmi_env import prompting
from llmi_env.episode import StopReason
from llmi_env.errors import ConfigError
from llmi_env.evaluate.sources.base import Done, NotWritten, Order, SourceError, Writing, Written
from llmi_env.making import Making, together
from llmi_env.policies.endpoint import Endpoint, EndpointOptions
from llmi_env.services.chat_reply import Reply, StreamFailed
from llmi_env.services.connections import place
from llmi_env.world.protocol import World

_log = logging.getLogger(__name__)


class EndpointSource:
    """A model behind an OpenAI-compatible endpoint.

    Args:
        name: as given on the command line.
        options: of the endpoint.
        world: carries out calls.
        writing: limits, tools, sampling.
        concurrency: documents that are written at the same time. Others, whose pictures are still to land, come on top.

    Raises:
        ConfigError: the configuration wants the policy to be shown its pictures.
    """

    def __init__(
        self, name: str, options: EndpointOptions, world: World, writing: Writing, concurrency: int = 16
    ) -> None:
        if writing.feedback != "none":
            raise ConfigError(
                f"feedback {writing.feedback!r} needs a policy in this process: an endpoint writes a document in one go (feedback=none)"
            )
        self.name = name
        self._endpoint, self._options = Endpoint(options), options
        self._world, self._concurrency = world, concurrency
        self._writing = replace(writing, prompt=options.prompt or writing.prompt)
        self._reached = False
        self._place: tuple[int, object] | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """Model, server, what it is told and how it draws."""
        return {**self._options.identity(), **self._writing.identity()}

    async def write(self, orders: Sequence[Order], done: Done) -> None:
        """See `Source.write`. Several may run at a time; all of them share the slots."""
        if self._place != place():
            self._place, self._slots = place(), asyncio.Semaphore(self._concurrency)
        await together(self._deliver(order, done) for order in orders)

    async def aclose(self) -> None:
        """Close the connection; writing opens it again."""
        await self._endpoint.aclose()

    async def _deliver(self, order: Order, done: Done) -> None:
        spent = _Spent()
        try:
            async with self._slots:
                start = time.perf_counter()
                making = await self._written(order, spent)
            async with making:
                rollout = await making.finish()
        except StreamFailed as failed:
            if failed.hopeless or (failed.unreached and not self._reached):
                raise SourceError(f"{self.name}: {failed.reason}") from None
            seconds = time.perf_counter() - start
            _log.warning("%s, document %d: not written: %s", order.item.id, order.sample, failed.reason)
            done(order, NotWritten(failed.reason, spent.tokens, spent.prompt_tokens, self._cost(spent), seconds))
            return
        seconds = time.perf_counter() - start
        found = Written(rollout, spent.tokens, spent.prompt_tokens, self._cost(spent), seconds, spent.counted)
        done(order, found)

    async def _written(self, order: Order, spent: _Spent) -> Making:
        """The document with all its text, whose calls are still running."""

        def note(state: RetryCallState) -> None:
            _log.info("%s, document %d, try %d: %s", order.item.id, order.sample, state.attempt_number, _failure(state))

        tries = AsyncRetrying(
            stop=stop_after_attempt(self._options.retries + 1),
            wait=_pause,
            retry=retry_if_exception(lambda error: isinstance(error, StreamFailed) and error.again),
            before_sleep=note,
            reraise=True,
        )
        making: Making = await tries(self._try, order, spent)
        return making

    async def _try(self, order: Order, spent: _Spent) -> Making:
        writing, task = self._writing, order.item.task
        making = Making(task, self._world, seed=order.seed, limits=writing.limits, tools=writing.tools)

        def take(text: str) -> bool:
            making.write(text)
            return not making.done

        try:
            reply = await self._endpoint.write(
                prompting.messages(task, writing.tools, writing.prompt),
                task.images,
                take,
                max_tokens=writing.max_tokens,
                sampling=writing.sampling,
                seed=order.seed,
            )
            making.end(StopReason.LENGTH if reply.cut else StopReason.END)
            document = making.episode.document
            if not document.figures and not document.text.strip():
                raise _nothing(reply, writing.max_tokens)
        except BaseException as error:
            if isinstance(error, StreamFailed):
                self._reached = self._reached or not error.unreached
                spent.add(error.reply)
            await making.aclose()
            raise
        self._reached = True
        spent.add(reply)
        return making

    def _cost(self, spent: _Spent) -> float | None:
        return self._endpoint.cost(spent.prompt_tokens, spent.tokens) if spent.prompted else None


@dataclass
class _Spent:
    """Tokens of all tries of one document.

    Attributes:
        tokens: written; of tries whose server did not count them, the pieces in which they came.
        prompted: of the prompt, by those servers' count that told it.
        untold: tries that had begun to write and told nothing of their prompt, which was the same.
        last: the prompt's tokens, as told last.
        counted: whether every try that wrote anything was counted.
    """

    tokens: int = 0
    prompted: int = 0
    untold: int = 0
    last: int = 0
    counted: bool = True

    def add(self, reply: Reply) -> None:
        """Count one try."""
        told = reply.completion_tokens is not None and reply.prompt_tokens is not None
        self.counted = self.counted and (told or not reply.pieces)
        self.tokens += reply.pieces if reply.completion_tokens is None else reply.completion_tokens
        if reply.prompt_tokens is not None:
            self.last = reply.prompt_tokens
            self.prompted += reply.prompt_tokens
        elif reply.pieces:
            self.untold += 1

    @property
    def prompt_tokens(self) -> int:
        """Of every try, where any told it."""
        return self.prompted + self.untold * self.last


def _nothing(reply: Reply, max_tokens: int) -> StreamFailed:
    why = f"finish_reason {reply.finish!r}"
    if reply.cut:
        why = f"its thoughts filled max_tokens={max_tokens}: give more, or ask for less thinking"
    failed = StreamFailed(f"the model wrote nothing ({why})", again=not reply.cut)
    failed.reply = reply
    return failed


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


_backoff = wait_random_exponential(multiplier=0.5, max=20.0)


def _pause(state: RetryCallState) -> float:
    error = _failure(state)
    # A server's own waiting time is kept by the connection.
    return 0.0 if isinstance(error, StreamFailed) and error.rested else _backoff(state)

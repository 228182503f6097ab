"""Documents that were scaled: a source around another one, for which each document is the best that test-time scaling makes of it.

Whoever writes stays who it is. A model in this process goes on from its own text where a part is to be written anew
(`llmi_env.scaling.continuing`), an endpoint is asked for it in words (`llmi_env.scaling.asking`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmi_env.calls import ToolSpec
from llmi_env.config import EnvConfig
from llmi_env.document import Document
from llmi_env.errors import ConfigError
from llmi_env.evaluate.benchmark import Item
from llmi_env.evaluate.sources.base import DOCUMENTS, Done, NotWritten, Order, Source, Writing, Written, open_source
from llmi_env.making import NOT_SCORED, together
from llmi_env.policies.base import Sampling
from llmi_env.policies.compute import compute
from llmi_env.policies.endpoint import EndpointOptions
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import rollout_seed
from llmi_env.scaling import (
    Budget,
    NothingWritten,
    PairJudge,
    Plan,
    PolicyWriter,
    Scaled,
    Spent,
    Writer,
    pairs_for,
    save_scaled,
    scale,
)
from llmi_env.scaling import writing as scaling_writing
from llmi_env.scaling.asking import mended, mending_task, rewriting_task, rewritten
from llmi_env.scaling.writing import Mended, Rewritten, Room, calls_made
from llmi_env.task import Task
from llmi_env.world.protocol import World

Opened = Callable[[Room], Source]
"""Opens a source whose documents may take so much."""


class SourceWriter:
    """Any source as whoever writes for scaling; parts of documents are asked of it in words, as tasks of their own.

    Args:
        opened: opens the source for documents of a size; each size is opened once.
        most: the size of a document that no budget makes smaller.
        tools: specs of the tools at hand.
    """

    def __init__(self, opened: Opened, most: Room, tools: Mapping[str, ToolSpec]) -> None:
        self._opened, self._most, self._tools = opened, most, dict(tools)
        self._sources: dict[Room, Source] = {}

    @property
    def most(self) -> Room:
        """What one document may take at most."""
        return self._most

    async def write(self, task: Task, seeds: Sequence[int], room: Room, done: scaling_writing.Done) -> None:
        """See `llmi_env.scaling.Writer.write`."""

        def brought(order: Order, found: Written | NotWritten) -> None:
            if isinstance(found, NotWritten):
                done(order.sample, found.reason, _took(found))
                return
            calls = calls_made(found.rollout.document, task, self._tools)
            done(order.sample, found.rollout, _took(found) + Spent(documents=1, tool_calls=calls))

        await self._source(room).write(_orders(task, seeds), brought)

    async def rewrite(self, task: Task, document: Document, seeds: Sequence[int], room: Room) -> list[Rewritten]:
        """See `llmi_env.scaling.Writer.rewrite`."""
        found: list[Rewritten] = []
        for answer in await self._asked(rewriting_task(task, document), seeds, Room(room.tokens, 0)):
            spent = _took(answer) + Spent(documents=1)
            if isinstance(answer, NotWritten):
                found.append(Rewritten(None, spent, answer.reason))
            else:
                made, why = rewritten(document, answer.rollout.document)
                found.append(Rewritten(made, spent, why, answer.rollout.stop))
        return found

    async def mend(self, task: Task, document: Document, index: int, seeds: Sequence[int], room: Room) -> list[Mended]:
        """See `llmi_env.scaling.Writer.mend`; the source has carried the call out already, where it could."""
        asked = mending_task(task, document, index)
        found: list[Mended] = []
        for answer in await self._asked(asked, seeds, Room(room.tokens, 1)):
            if isinstance(answer, NotWritten):
                found.append(Mended(None, "", _took(answer), answer.reason))
                continue
            written = answer.rollout.document
            call, raw, why = mended(written, task, index, self._tools)
            spent = _took(answer) + Spent(tool_calls=calls_made(written, asked, self._tools))
            outcome = written.figures[0].outcome if call is not None and spent.tool_calls else None
            found.append(Mended(call, raw, spent, why, outcome))
        return found

    async def aclose(self) -> None:
        """Close what was opened."""
        opened, self._sources = list(self._sources.values()), {}
        await asyncio.gather(*(source.aclose() for source in opened))

    async def _asked(self, task: Task, seeds: Sequence[int], room: Room) -> list[Written | NotWritten]:
        answers: dict[int, Written | NotWritten] = {}
        await self._source(room).write(_orders(task, seeds), lambda order, found: answers.update({order.sample: found}))
        return [answers.get(place, NotWritten("nothing came")) for place in range(len(seeds))]

    def _source(self, room: Room) -> Source:
        if room not in self._sources:
            self._sources[room] = self._opened(room)
        return self._sources[room]


class ScaledSource:
    """A source each of whose documents is the best that scaling makes.

    Args:
        inner: says who writes, by name and identity.
        writer: gives whoever writes, loaded where it must be; called once, with the first order.
        world: carries out calls; its judges decide between documents.
        reward: what documents are worth while they are scaled.
        plan: what is done for each document.
        budget: of each document.
        tools: specs of the tools at hand.
        pairs: compares documents in tournaments.
        concurrency: documents scaled at the same time.
        keep: run folder in which everything that was tried is kept.
    """

    def __init__(
        self,
        inner: Source,
        writer: Callable[[], Awaitable[Writer]],
        world: World,
        reward: HybridReward,
        plan: Plan,
        budget: Budget,
        tools: Mapping[str, ToolSpec],
        *,
        judges: Sequence[Any] = (),
        pairs: PairJudge | None = None,
        concurrency: int = 4,
        keep: Path | None = None,
    ) -> None:
        self.name = inner.name
        self._inner, self._make, self._world = inner, writer, world
        self._reward, self._plan, self._budget, self._tools = reward, plan, budget, dict(tools)
        self._judges, self._pairs, self._concurrency, self._keep = list(judges), pairs, concurrency, keep
        self._writer: Writer | None = None
        self._making = asyncio.Lock()

    @property
    def identity(self) -> Mapping[str, Any]:
        """Whoever writes, what is done to its documents, and what decides between them."""
        inner = dict(self._inner.identity)
        scaling = {
            "plan": self._plan.to_json(),
            "budget": self._budget.to_json(),
            "reward": self._reward.version,
            "judges": self._judges,
        }
        return {**inner, "policy": f"{inner.get('policy', self.name)}, scaled", "scaling": scaling}

    async def write(self, orders: Sequence[Order], done: Done) -> None:
        """See `llmi_env.evaluate.sources.base.Source.write`."""
        turns = asyncio.Semaphore(self._concurrency)

        async def deliver(order: Order) -> None:
            async with turns:
                done(order, await self._scaled(order))

        await together(deliver(order) for order in orders)

    async def aclose(self) -> None:
        """Let go of whoever writes; writing takes it up again."""
        writer, self._writer = self._writer, None
        for held in (writer, self._pairs):
            close = getattr(held, "aclose", None)
            if close is not None:
                await close()
        await self._inner.aclose()

    async def _scaled(self, order: Order) -> Written | NotWritten:
        task = order.item.task
        others = [rollout_seed(order.seed, task, sample) for sample in range(1, self._plan.samples)]
        try:
            scaled = await scale(
                task,
                policy=await self._writing(),
                world=self._world,
                reward=self._reward,
                budget=self._budget,
                stages=self._plan,
                seed=order.seed,
                seeds=[order.seed, *others],
                tools=self._tools,
                pairs=self._pairs,
            )
        except NothingWritten as error:
            spent = error.spent
            return NotWritten(str(error), spent.tokens, spent.prompt_tokens, spent.cost, spent.seconds)
        if self._keep is not None:
            await asyncio.to_thread(save_scaled, self._keep, _file_name(order), scaled)
        return _as_written(scaled, order.seed)

    async def _writing(self) -> Writer:
        async with self._making:
            if self._writer is None:
                self._writer = await self._make()
        return self._writer


def open_scaled(
    scaling: str,
    policy: str,
    world: World,
    config: EnvConfig,
    *,
    max_tokens: int,
    temperature: float,
    top_p: float = 1.0,
    concurrency: int = 16,
    budget: Budget | None = None,
    keep: Path | None = None,
) -> ScaledSource:
    """The source that `--scale` asks for; nothing is loaded or asked before the first order.

    Args:
        scaling: what `Plan.parse` reads.
        policy: as for `open_source`; finished documents cannot be scaled.
        world: carries out calls; its judges decide between documents.
        config: limits, prompt, tools, feedback, and the reward that documents are chosen by.
        max_tokens: tokens of a document.
        temperature: 0 takes the likeliest token each time, which makes all documents of a task alike.
        top_p: keeps the likeliest tokens that together reach this probability.
        concurrency: documents written at the same time.
        budget: of each document.
        keep: run folder in which everything that was tried is kept.

    Raises:
        ConfigError: a plan, a policy or an option that cannot be.
    """
    plan = Plan.parse(scaling)
    if policy.startswith(DOCUMENTS):
        raise ConfigError(f"--scale: {policy} is documents that are finished; scaling needs whoever writes them")
    sampling = Sampling(temperature, top_p)
    writing = Writing.of(config, max_tokens, sampling)

    def opened(room: Room) -> Source:
        pictures = {"pictures": room.calls}
        narrowed = config.model_copy(update={"limits": config.limits.model_copy(update=pictures)})
        return open_source(
            policy,
            world,
            narrowed,
            max_tokens=room.tokens,
            temperature=temperature,
            top_p=top_p,
            concurrency=concurrency,
        )

    most = Room(max_tokens, writing.limits.pictures)
    inner = opened(most)
    is_endpoint = EndpointOptions.named(policy) is not None

    async def writer() -> Writer:
        if is_endpoint:
            return SourceWriter(opened, most, writing.tools)
        from llmi_env.policies.transformers_policy import TransformersPolicy

        return PolicyWriter(
            await compute(TransformersPolicy.load, policy, concurrency),
            world,
            max_tokens=max_tokens,
            sampling=sampling,
            limits=writing.limits,
            tools=writing.tools,
            prompt=writing.prompt,
            feedback=writing.feedback,
        )

    return ScaledSource(
        inner,
        writer,
        world,
        HybridReward.load(config.reward),
        plan,
        budget or Budget(),
        writing.tools,
        judges=config.services.model_dump(mode="json")["judges"],
        pairs=pairs_for(config.services) if plan.select == "tournament" else None,
        concurrency=max(1, concurrency // plan.samples),
        keep=keep,
    )


def _orders(task: Task, seeds: Sequence[int]) -> list[Order]:
    item = Item(task if task.id is not None else replace(task, id="task"))
    return [Order(item, place, seed) for place, seed in enumerate(seeds)]


def _took(found: Written | NotWritten) -> Spent:
    counted = isinstance(found, NotWritten) or found.counted
    return Spent(tokens=found.tokens, prompt_tokens=found.prompt_tokens, cost=found.cost, counted=counted)


def _as_written(scaled: Scaled, seed: int) -> Written:
    spent = scaled.spent
    # Not scored: what chose the document is no judge of it.
    rollout = replace(scaled.rollout, seed=seed, group=0, report=NOT_SCORED)
    cost = spent.cost if spent.counted else None  # a part of it would pass for all
    return Written(rollout, spent.tokens, spent.prompt_tokens, cost, spent.seconds, spent.counted)


def _file_name(order: Order) -> str:
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', order.item.id)[:100]}-{order.sample + 1}"

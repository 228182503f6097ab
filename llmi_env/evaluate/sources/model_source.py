"""Documents written by a model in this process, many at once.

Orders of several `write`s are written together: a model is quicker with many rows, and only one thing can be computed at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmi_env import prompting
from llmi_env.errors import ConfigError, require
from llmi_env.evaluate.sources.base import Done, NotWritten, Order, Writing, Written
from llmi_env.hub import from_hub
from llmi_env.models import PolicySource, resolve_policy
from llmi_env.policies.compute import compute
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.world.protocol import World

if TYPE_CHECKING:
    from llmi_env.policies.transformers_policy import TransformersPolicy

_WHOLLY = 1 << 26
_SAMPLES, _SAMPLE = 64, 1 << 16


class ModelSource:
    """A model of `transformers`, loaded with the first order.

    Args:
        name: of the policy; see `llmi_env.models.resolve_policy`.
        world: carries out calls.
        writing: limits, tools, sampling.
        concurrency: documents that are written together.

    Raises:
        ConfigError, AssetError: there is no such policy.
    """

    def __init__(self, name: str, world: World, writing: Writing, concurrency: int = 16) -> None:
        self.name = name
        self._found = resolve_policy(name)
        self._world, self._writing, self._concurrency = world, writing, concurrency
        self._policy: TransformersPolicy | None = None
        self._waiting: list[_Wanted] = []
        self._batches: dict[asyncio.Task[None], list[_Wanted]] = {}
        self._worker: asyncio.Task[None] | None = None

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Weights, what the policy is told and how it draws."""
        return {"policy": self.name, **weights_identity(self._found), **self._writing.identity()}

    async def write(self, orders: Sequence[Order], done: Done) -> None:
        """See `Source.write`."""
        loop = asyncio.get_running_loop()
        wanted = [_Wanted(order, done, loop.create_future()) for order in orders]
        self._waiting += wanted
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        try:
            await asyncio.gather(*(one.brought for one in wanted))
        finally:
            await self._drop(wanted)

    async def aclose(self) -> None:
        """Let the model go; writing loads it again."""
        self._policy = None

    async def _drop(self, wanted: Sequence[_Wanted]) -> None:
        """Nobody waits for these any more; batches for which nobody waits at all end."""
        for one in wanted:
            one.brought.cancel()
        self._waiting = [one for one in self._waiting if not one.brought.done()]
        idle = [task for task, held in self._batches.items() if all(one.brought.done() for one in held)]
        for task in idle:
            task.cancel()
        await asyncio.gather(*idle, return_exceptions=True)

    async def _work(self) -> None:
        """Take what waits, batch by batch: the next one is begun when the last token of one is there, while its pictures land."""
        while self._waiting:
            batch = self._waiting[: self._concurrency]
            del self._waiting[: self._concurrency]
            written = asyncio.Event()
            task = asyncio.create_task(self._bring(batch, written))
            self._batches[task] = batch
            task.add_done_callback(lambda done: self._batches.pop(done))
            await written.wait()

    async def _bring(self, batch: Sequence[_Wanted], written: asyncio.Event) -> None:
        try:
            await self._write(batch, written)
        except Exception as error:
            for one in batch:
                if not one.brought.done():
                    one.brought.set_exception(error)
        finally:
            written.set()

    async def _write(self, batch: Sequence[_Wanted], written: asyncio.Event) -> None:
        if self._policy is None:
            self._policy = await compute(_load, self.name, self._concurrency)
        policy, writing = self._policy, self._writing
        fitting: list[_Wanted] = []
        context = _context(policy)
        for one in batch:
            said = prompting.messages(one.order.item.task, writing.tools, writing.prompt)
            if (length := len(policy.tokenizer.chat(said))) < context:
                fitting.append(one)
            else:
                one.bring(NotWritten(f"its prompt has {length} tokens and the policy reads {context}"))

        def bring(rollout: Rollout) -> None:
            ledger = rollout.ledger
            found = Written(
                replace(rollout, group=0), ledger.n_policy, ledger.prompt_length, None, rollout.times.landed
            )
            fitting[rollout.group].bring(found)

        async def meanwhile(*_: object) -> None:
            written.set()

        await run_rollouts(
            policy,
            self._world,
            None,
            [one.order.item.task for one in fitting],
            seeds=[one.order.seed for one in fitting],
            max_tokens=writing.max_tokens,
            sampling=writing.sampling,
            limits=writing.limits,
            tools=writing.tools,
            prompt=writing.prompt,
            feedback=writing.feedback,
            on_done=bring,
            meanwhile=meanwhile,
        )


@dataclass(frozen=True)
class _Wanted:
    """An order with whoever waits for it."""

    order: Order
    done: Done
    brought: asyncio.Future[None]

    def bring(self, found: Written | NotWritten) -> None:
        if self.brought.done():  # nobody waits any more
            return
        try:
            self.done(self.order, found)
        except Exception as error:
            self.brought.set_exception(error)
        else:
            self.brought.set_result(None)


def _context(policy: TransformersPolicy) -> int:
    """Tokens that it can read."""
    return int(policy.model.config.get_text_config().max_position_embeddings)


def _load(name: str, max_rows: int) -> TransformersPolicy:
    from llmi_env.policies.transformers_policy import TransformersPolicy

    return TransformersPolicy.load(name, max_rows)


# ----------------------------------------------------------------------------------------------------------------- weights


def weights_identity(found: PolicySource) -> dict[str, Any]:
    """What tells a policy's weights from others: digests of its folders, the revision of a model of the hub."""
    base = Path(found.base)
    known = (
        {"model": folder_digest(base)} if base.is_dir() else {"model": found.base, "revision": _revision(found.base)}
    )
    return known | ({"adapter": folder_digest(found.adapter)} if found.adapter is not None else {})


def folder_digest(folder: Path) -> str:
    """Digest of the files of a folder by name and content; of those above 64 MB size and 64 stretches, which no training leaves alone."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        size = path.stat().st_size
        total.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            if size <= _WHOLLY:
                total.update(hashlib.file_digest(file, "sha256").digest())
                continue
            for number in range(_SAMPLES):
                file.seek(number * (size - _SAMPLE) // (_SAMPLES - 1))
                total.update(file.read(_SAMPLE))
    return total.hexdigest()[:16]


def _revision(name: str) -> str | None:
    """The commit of a model of the hub that is at hand, or that would be fetched."""
    transformers = require("transformers", "loading a policy", "offline")
    try:
        config = from_hub(lambda local: transformers.AutoConfig.from_pretrained(name, local_files_only=local), name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the policy {name!r} cannot be loaded: {error}") from error
    return getattr(config, "_commit_hash", None)

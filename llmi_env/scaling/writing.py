"""Who writes for scaling: whole documents, the text of one anew around its pictures, and one call anew that failed.

`Writer` is what scaling asks for. A policy in this process is `PolicyWriter` (here, and `continuing`): it writes the parts as it wrote the
document, by going on from what stands before them, so that a small policy need not have learnt anything else. Whoever is asked by messages is
asked in words (`asking`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from llmi_env.calls import BUILTIN, Call, ToolSpec
from llmi_env.document import Document, Outcome, Picture
from llmi_env.episode import Limits, StopReason
from llmi_env.errors import BadCall
from llmi_env.policies.base import Policy, Row, Sampling, SeeingPolicy, SeenPrompt, WriteStats
from llmi_env.prompting import PromptStyle
from llmi_env.rollout import Feedback, Rollout, run_rollouts
from llmi_env.scaling.budget import Spent
from llmi_env.scaling.continuing import continued_call, continued_texts
from llmi_env.task import Task
from llmi_env.world.protocol import World


@dataclass(frozen=True)
class Room:
    """What one document, one rewriting or one call may take.

    Attributes:
        tokens: that are written.
        calls: of it that the World is asked for.
    """

    tokens: int
    calls: int


@dataclass(frozen=True)
class Rewritten:
    """A document with other text around the same figures, or why there is none.

    Attributes:
        document: the figures are those of the document that was rewritten, in their order.
        spent: what it took.
        why: why there is no document.
        stop: why its text ended.
    """

    document: Document | None
    spent: Spent
    why: str = ""
    stop: StopReason = StopReason.END


@dataclass(frozen=True)
class Mended:
    """A call written anew, or why there is none.

    Attributes:
        call: as written; it was checked.
        raw: its body in the text.
        spent: what it took.
        why: why there is no call.
        outcome: what came of it, where the writer has carried it out.
    """

    call: Call | None
    raw: str
    spent: Spent
    why: str = ""
    outcome: Outcome | None = None


Done = Callable[[int, Rollout | str, Spent], None]
"""Is told of each document as it is finished: its place among the seeds, the document or why there is none, and what it took."""


class Writer(Protocol):
    """Whoever writes. What it cannot do is a reason, never an exception; it may be cancelled at any time."""

    @property
    def most(self) -> Room:
        """What one document may take at most, whatever the budget."""
        ...

    async def write(self, task: Task, seeds: Sequence[int], room: Room, done: Done) -> None:
        """Write one document for each seed, their calls carried out, not judged.

        Raises:
            WorldError: the World cannot be reached.
        """
        ...

    async def rewrite(self, task: Task, document: Document, seeds: Sequence[int], room: Room) -> list[Rewritten]:
        """Write the text anew around the figures, once for each seed."""
        ...

    async def mend(self, task: Task, document: Document, index: int, seeds: Sequence[int], room: Room) -> list[Mended]:
        """Write the call of a figure that failed anew, told of the error, once for each seed."""
        ...


def calls_made(document: Document, task: Task, tools: Mapping[str, ToolSpec] = BUILTIN) -> int:
    """How many calls of a document the World was asked for."""
    figures, inputs, made = document.figures, len(task.images), 0
    for index, figure in enumerate(figures):
        if figure.call is None:
            continue
        try:
            figure.call.check(inputs, index, tools)
        except BadCall:
            continue
        source = source_of(figure.call, inputs)
        made += source is None or figures[source].picture is not None
    return made


def source_of(call: Call, inputs: int) -> int | None:
    """The earlier figure that a call changes; `None` where it changes none, or a picture of the task."""
    target = call.params.get("img_index")
    return target - inputs if isinstance(target, int) and target >= inputs else None


class PolicyWriter:
    """A policy in this process.

    Args:
        policy: writes; several scalings may share it, and take turns.
        world: carries out calls.
        max_tokens: tokens of a document.
        sampling: temperature and top-p.
        limits: bounds of a document.
        tools: specs of the tools at hand.
        prompt: how the system prompt explains them.
        feedback: what the policy is shown of its pictures while it writes a document.
    """

    def __init__(
        self,
        policy: Policy,
        world: World,
        *,
        max_tokens: int = 224,
        sampling: Sampling | None = None,
        limits: Limits | None = None,
        tools: Mapping[str, ToolSpec] = BUILTIN,
        prompt: PromptStyle = "compact",
        feedback: Feedback = "none",
    ) -> None:
        self._policy = _SeeingInTurns(policy) if isinstance(policy, SeeingPolicy) else _InTurns(policy)
        self._world, self._sampling = world, sampling or Sampling(0.7, 0.95)
        self._max_tokens, self._limits = max_tokens, limits or Limits()
        self._tools, self._prompt, self._feedback = dict(tools), prompt, feedback

    @property
    def most(self) -> Room:
        """What one document may take at most."""
        return Room(self._max_tokens, self._limits.pictures)

    async def write(self, task: Task, seeds: Sequence[int], room: Room, done: Done) -> None:
        """Write one document for each seed; see `Writer.write`."""
        places = {seed: place for place, seed in enumerate(seeds)}

        def finished(rollout: Rollout) -> None:
            made, read = calls_made(rollout.document, task, self._tools), rollout.ledger.prompt_length
            spent = Spent(documents=1, tool_calls=made, tokens=rollout.ledger.n_policy, prompt_tokens=read)
            done(places[rollout.seed], rollout, spent)

        await run_rollouts(
            self._policy,
            self._world,
            None,
            [task],
            samples=len(seeds),
            seeds=list(seeds),
            max_tokens=room.tokens,
            sampling=self._sampling,
            limits=replace(self._limits, pictures=min(self._limits.pictures, room.calls)),
            tools=self._tools,
            prompt=self._prompt,
            feedback=self._feedback,
            on_done=finished,
        )

    async def rewrite(self, task: Task, document: Document, seeds: Sequence[int], room: Room) -> list[Rewritten]:
        """Draw each text anew, going on from what stands before it, figures kept; see `Writer.rewrite`."""
        found = await continued_texts(
            self._policy, self._sampling, task, document, seeds, room.tokens, self._tools, self._prompt
        )
        return [
            Rewritten(
                made,
                Spent(documents=1, tokens=tokens),
                "" if made else "nothing was written",
                StopReason.LENGTH if tokens >= room.tokens else StopReason.END,
            )
            for made, tokens in found
        ]

    async def mend(self, task: Task, document: Document, index: int, seeds: Sequence[int], room: Room) -> list[Mended]:
        """Go on after the failed call and a line that says why it failed, with another call; see `Writer.mend`."""
        found = await continued_call(
            self._policy, self._sampling, task, document, index, seeds, room.tokens, self._tools, self._prompt
        )
        return [Mended(call, raw, Spent(tokens=tokens), why) for call, raw, why, tokens in found]


class _InTurns:
    """A policy whose batches are written one after the other: it holds the context of one batch at a time."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self._turn = asyncio.Lock()

    @property
    def tokenizer(self) -> Any:
        return self._policy.tokenizer

    async def write(self, rows: Sequence[Row], sampling: Sampling) -> WriteStats:
        async with self._turn:
            stats: WriteStats = await self._policy.write(rows, sampling)
            return stats


class _SeeingInTurns(_InTurns):
    """The same of one that sees."""

    def see_prompt(self, messages: Sequence[Mapping[str, Any]], pictures: Sequence[Picture]) -> SeenPrompt:
        seen: SeenPrompt = self._policy.see_prompt(messages, pictures)
        return seen

    def picture_ids(self, picture: Picture) -> Sequence[int]:
        ids: Sequence[int] = self._policy.picture_ids(picture)
        return ids

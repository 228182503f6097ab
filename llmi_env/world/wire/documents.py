"""Calls, documents, tasks and judgments on the wire."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field

from llmi_env.calls import Call
from llmi_env.document import Block, Document, Figure, Text
from llmi_env.task import Task
from llmi_env.world.protocol import Judgment, Scored, Unscored
from llmi_env.world.wire.outcomes import OutcomeMessage, PictureMessage, outcome_message
from llmi_env.world.wire.texts import Message, pack, unpack

__all__ = ["CallMessage", "DocumentMessage", "FigureMessage", "JudgmentMessage", "TaskMessage", "TextMessage"]


class CallMessage(Message):
    """A `Call`; `params` is JSON text, so that its depth is its own."""

    tool: str
    description: str
    params: str

    @classmethod
    def of(cls, call: Call) -> CallMessage:
        """Encode."""
        try:
            params = json.dumps(dict(call.params))
        except (ValueError, TypeError, RecursionError):
            params = "{}"
        return cls(tool=pack(call.tool), description=pack(call.description), params=params)

    def value(self) -> Call:
        """Decode.

        Raises:
            ValueError: `params` is not a JSON object.
        """
        try:
            params = json.loads(self.params)
        except RecursionError:
            params = {}
        if not isinstance(params, dict):
            raise ValueError("params must be a JSON object")
        return Call(unpack(self.tool), unpack(self.description), params)


class TextMessage(Message):
    """A `Text` block."""

    type: Literal["text"] = "text"
    text: str


class FigureMessage(Message):
    """A `Figure` block."""

    type: Literal["figure"] = "figure"
    raw: str
    call: CallMessage | None
    outcome: OutcomeMessage | None
    closed: bool
    tag: Literal["imgen", "tool_call"]

    @classmethod
    def of(cls, figure: Figure) -> FigureMessage:
        """Encode."""
        return cls(
            raw=pack(figure.raw),
            call=None if figure.call is None else CallMessage.of(figure.call),
            outcome=None if figure.outcome is None else outcome_message(figure.outcome),
            closed=figure.closed,
            tag=figure.tag,
        )

    def value(self) -> Figure:
        """Decode."""
        return Figure(
            unpack(self.raw),
            None if self.call is None else self.call.value(),
            None if self.outcome is None else self.outcome.value(),
            self.closed,
            self.tag,
        )


class DocumentMessage(Message):
    """A `Document`."""

    blocks: list[Annotated[TextMessage | FigureMessage, Field(discriminator="type")]]

    @classmethod
    def of(cls, document: Document) -> DocumentMessage:
        """Encode."""
        return cls(
            blocks=[
                TextMessage(text=pack(block.text)) if isinstance(block, Text) else FigureMessage.of(block)
                for block in document
            ]
        )

    def value(self) -> Document:
        """Decode."""
        blocks: list[Block] = []
        for block in self.blocks:
            blocks.append(Text(unpack(block.text)) if isinstance(block, TextMessage) else block.value())
        return Document(tuple(blocks))


class TaskMessage(Message):
    """A `Task`."""

    question: str
    images: list[PictureMessage]
    image_count: Literal["any", "none", "at_least_one"] | int
    tools: list[str]
    id: str | None
    source: str | None

    @classmethod
    def of(cls, task: Task) -> TaskMessage:
        """Encode."""
        return cls(
            question=pack(task.question),
            images=[PictureMessage.of(picture) for picture in task.images],
            image_count=task.image_count,
            tools=[pack(tool) for tool in task.tools],
            id=None if task.id is None else pack(task.id),
            source=None if task.source is None else pack(task.source),
        )

    def value(self) -> Task:
        """Decode."""
        return Task(
            unpack(self.question),
            tuple(picture.value() for picture in self.images),
            self.image_count,
            tuple(unpack(tool) for tool in self.tools),
            None if self.id is None else unpack(self.id),
            None if self.source is None else unpack(self.source),
        )


class JudgmentMessage(Message):
    """A `Scored` (with a score) or an `Unscored` (without); `text` is the rationale or the reason."""

    # Strict: a text or a truth value is no number here, whatever pydantic could make of it.
    score: float | None = Field(strict=True)
    text: str
    judge: str = ""
    votes: tuple[Annotated[float, Field(strict=True)], ...] = ()

    @classmethod
    def of(cls, judgment: Judgment) -> JudgmentMessage:
        """Encode."""
        if isinstance(judgment, Scored):
            return cls(
                score=judgment.score, text=pack(judgment.rationale), judge=pack(judgment.judge), votes=judgment.votes
            )
        return cls(score=None, text=pack(judgment.reason))

    def value(self) -> Judgment:
        """Decode."""
        if self.score is None:
            return Unscored(unpack(self.text))
        return Scored(self.score, unpack(self.text), unpack(self.judge), self.votes)

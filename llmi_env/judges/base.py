"""The contract of a judge."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from llmi_env.document import Document
from llmi_env.task import Task
from llmi_env.world.protocol import Judgments


@runtime_checkable
class Judge(Protocol):
    """Scores a finished document on the terms that it names."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the reward terms this judge scores."""
        ...

    async def __call__(self, document: Document, task: Task) -> Judgments:
        """One `Judgment` for each term. An exception that escapes makes all of them `Unscored`."""
        ...

    async def aclose(self) -> None:
        """Release models and connections; may be called twice."""
        ...

"""The contract of a judge."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from llmi_env.document import Document
from llmi_env.task import Task
from llmi_env.world.protocol import Judgments


@runtime_checkable
class Judge(Protocol):
    """Scores a finished document on the terms that it names.

    Further attributes are heeded where a judge has them:

    - `fingerprint: str`, everything of it that can move a score (model, version of the prompt, sampling, limits): its scores are then kept on
      disk (`WorldConfig.judge_cache`) and given again for the same document, task and fingerprint, and files of judgments name it;
    - `check_options(**options) -> tuple[str, ...] | None`, of classes that ship: the terms that a judge of these options scores, or the
      `ConfigError` that making it would raise, without anything being loaded;
    - `members: Sequence[Judge]`, the judges that it asks: their fingerprints are part of what it is;
    - `concurrency: int`, how many documents it takes at the same time, in place of `WorldConfig.judge_concurrency`;
    - `prepare() -> None`, which loads its models: called once in a thread before its first document, and not counted against the deadline.
    """

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the reward terms this judge scores."""
        ...

    async def __call__(self, document: Document, task: Task) -> Judgments:
        """One `Judgment` for each term. An exception that escapes makes all of them `Unscored`, unless it is a `ConfigError`."""
        ...

    async def aclose(self) -> None:
        """Release models and connections; may be called twice."""
        ...

"""Reward terms of one's own, as Python functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmi_env.document import Document
from llmi_env.errors import ConfigError
from llmi_env.rewards.preset import Gate
from llmi_env.task import Task


@dataclass(frozen=True)
class RewardTerm:
    """A term that is computed from the document, without a judge.

    Attributes:
        name: as it stands in reports.
        score: gives a number in [0, 1]. If it raises, the document has no score, and the report says why.
        weight: share of the total, in [0, 1]; the other terms share the rest as they did before.
        version: to be raised when what it computes changes; stands in reports.
        gates: terms that it is multiplied by.

    >>> brief = RewardTerm("brief", lambda document, task: float(len(document.to_source()) < 500), weight=0.2)
    """

    name: str
    score: Callable[[Document, Task], float]
    weight: float
    version: int = 1
    gates: tuple[Gate, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ConfigError(f"the name of a reward term is a Python identifier, not {self.name!r}")
        if isinstance(self.weight, bool) or not isinstance(self.weight, int | float) or not 0 <= self.weight <= 1:
            raise ConfigError(f"reward term {self.name!r}: the weight is a share from 0 to 1, not {self.weight!r}")

    def of(self, document: Document, task: Task) -> float:
        """The score of a document.

        Raises:
            ValueError: it is not a number in [0, 1].
        """
        score = float(self.score(document, task))
        if not 0 <= score <= 1:
            raise ValueError(f"a score in 0..1 is needed, not {score!r}")
        return score

"""The World: everything that an episode can ask for, behind two coroutines.

Faces (environment, rollout, trainers) receive a World and never build tools or judges themselves. A World never raises for
what one call or one judge did: that is a `Failure` or an `Unscored`. It raises `WorldError` only when it cannot be reached at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol, runtime_checkable

from llmi_env.calls import Call
from llmi_env.document import Document, Outcome, Picture
from llmi_env.task import Task


@dataclass(frozen=True)
class Scored:
    """A judge's score, quantised to 0.01 so that batching cannot move a reward.

    Attributes:
        score: 1 (worst) to 5 (best).
        rationale: the judge's reasons.
        judge: who gave it: judge, model and version of the prompt in one string.
        votes: the single scores that it is the average of, where a judge was asked several times or several were asked.
    """

    score: float
    rationale: str = ""
    judge: str = ""
    votes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        # Numbers of NumPy and torch too: judges compute with them. Their truth values are no more a score than Python's.
        plain = self.score.item() if hasattr(self.score, "item") else self.score
        if isinstance(plain, bool) or not isinstance(plain, Real) or not 1.0 <= (score := float(plain)) <= 5.0:
            raise ValueError(f"a judge's score lies in 1..5, not {self.score!r}")
        if not isinstance(self.rationale, str) or not isinstance(self.judge, str):
            raise TypeError(f"rationale and judge are texts, not {self.rationale!r:.60} and {self.judge!r:.60}")
        votes = tuple(round(float(vote), 2) for vote in self.votes)
        if not all(1.0 <= vote <= 5.0 for vote in votes):
            raise ValueError(f"a judge's votes lie in 1..5, not {votes!r:.60}")
        object.__setattr__(self, "score", round(score, 2))
        object.__setattr__(self, "votes", votes)


@dataclass(frozen=True)
class Unscored:
    """No score: the judge was down, too slow or unreadable. Never to be mistaken for a low score."""

    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", str(self.reason))  # an exception does as well


Judgment = Scored | Unscored
Judgments = Mapping[str, Judgment]
"""One judgment for each judged term (`text_quality`, `call_quality`, `image_quality`, `task_relevance`, `text_image_relevance`, ...)."""


@runtime_checkable
class World(Protocol):
    """Tools and judges. Methods may be called concurrently from one event loop."""

    async def run(self, call: Call, pictures: Sequence[Picture] = (), *, seed: int = 0) -> Outcome:
        """Carry out one call; `pictures` are those it points at (for `edit`, one)."""
        ...

    async def judge(self, document: Document, task: Task) -> Judgments:
        """Judge a finished document. Every term that the World's judges know is in the answer, scored or not."""
        ...

    async def aclose(self) -> None:
        """Let go of what the World holds; may be called twice."""
        ...


@dataclass(frozen=True)
class AboutJudge:
    """What a World tells of one of its judges.

    Attributes:
        name: as the configuration has it; of an object its class.
        identity: what tells it from any other: class, options and versions that can move a score (`llmi_env.judges.cache.judge_identity`).
        terms: what it scores.
    """

    name: str
    identity: str
    terms: tuple[str, ...]


Deciding = Mapping[str, Mapping[str, Any]]
"""What decides a World's answers, in parts; see `llmi_env.world.deciding`."""


@runtime_checkable
class DecidingWorld(World, Protocol):
    """A World that tells what decides its answers, as all do that `llmi_env.world.connect` makes."""

    async def deciding(self) -> Deciding:
        """What decides the answers: where it is equal, the same calls and documents have the same ones."""
        ...


@runtime_checkable
class TellingWorld(World, Protocol):
    """A World that tells of its judges, as all do that `llmi_env.world.connect` makes."""

    async def terms(self) -> tuple[str, ...]:
        """Every term that the judges score."""
        ...

    async def about_judges(self) -> tuple[AboutJudge, ...]:
        """Of each judge, in the order in which they are heard."""
        ...

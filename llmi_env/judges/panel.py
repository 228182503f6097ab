"""Several judges as one.

In a configuration::

    judges:
      - use: panel
        combine: median
        judges:
          - {use: openai, model: A, base_url: "http://a:8000/v1"}
          - {use: openai, model: B, base_url: "http://b:8000/v1"}
          - embedded
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from llmi_env.document import Document
from llmi_env.errors import ConfigError, MissingExtra, did_you_mean
from llmi_env.judges.base import Judge
from llmi_env.judges.cache import JudgmentCache
from llmi_env.judges.making import Entry, declared_terms, made_judge
from llmi_env.judges.preparing import Preparation
from llmi_env.task import Task
from llmi_env.world.config import WorldConfig
from llmi_env.world.guard import guarded, within
from llmi_env.world.protocol import Judgment, Judgments, Scored, Unscored

_log = logging.getLogger(__name__)
_COMBINE: Mapping[str, Callable[[Sequence[float]], float]] = {"mean": fmean, "median": median}


class PanelJudge:
    """Asks several judges at the same time and combines those that have a score. Every vote is kept in the judgment.

    Args:
        judges: the members, as in `WorldConfig.judges`, or objects. A term is scored by those members that know it.
        combine: `mean` or `median` of the votes.
        quorum: votes that a term needs; by default more than half of the members that score it.
        deadline: seconds that one member may take; the others' votes count without it. Shorter than the World's `judge_deadline`.
        prepare_deadline: seconds to wait for a member's models; it has no vote until they are loaded. Shorter than the World's
            `judge_prepare_deadline`.

    Raises:
        ConfigError: an option, member or quorum that cannot be.
        MissingExtra, AssetError, WorldError: a member cannot be made.
    """

    def __init__(
        self,
        judges: Sequence[Entry],
        combine: str = "mean",
        quorum: int | None = None,
        deadline: float = 90.0,
        prepare_deadline: float = 400.0,
    ) -> None:
        _check(judges, combine, deadline, prepare_deadline)
        self.members = tuple(map(made_judge, judges))
        """Those that are asked."""
        self._combine, self._quorum, self._deadline = combine, quorum, float(deadline)
        prints = [str(print_) for member in self.members if (print_ := getattr(member, "fingerprint", ""))]
        if twice := {print_ for print_ in prints if prints.count(print_) > 1}:
            raise ConfigError(f"panel: the same judge twice is one vote, not two: {', '.join(twice)}")
        self._terms = tuple(dict.fromkeys(term for member in self.members for term in member.terms))
        _check_quorum(quorum, [member.terms for member in self.members])
        self._preparing = tuple(Preparation(member, float(prepare_deadline)) for member in self.members)
        self._cache = JudgmentCache(None)
        self._turns: dict[int, asyncio.Semaphore] = {}
        self._loop: object = None

    @staticmethod
    def check_options(
        judges: Sequence[Entry],
        combine: str = "mean",
        quorum: int | None = None,
        deadline: float = 90.0,
        prepare_deadline: float = 400.0,
    ) -> tuple[str, ...] | None:
        """The terms that a panel of these options scores, where all members' are known; raises as making it does, but makes nothing."""
        _check(judges, combine, deadline, prepare_deadline)
        told = [declared_terms(entry) for entry in judges]
        terms = [known for known in told if known is not None]
        if len(terms) < len(told):
            return None
        _check_quorum(quorum, terms)
        return tuple(dict.fromkeys(term for known in terms for term in known))

    @property
    def terms(self) -> tuple[str, ...]:
        """Every term that a member scores."""
        return self._terms

    @property
    def concurrency(self) -> int:
        """How many documents may be judged at the same time: as many as the member that takes the most."""
        return max(_slots(member) for member in self.members)

    def use_cache(self, cache: JudgmentCache) -> None:
        """Keep the members' scores in `cache`: each by itself, so that one that failed is asked again and the others are not."""
        self._cache = cache

    async def __call__(self, document: Document, task: Task) -> dict[str, Judgment]:
        """Judge one document."""
        if self._loop is not asyncio.get_running_loop():
            self._loop, self._turns = asyncio.get_running_loop(), {}
        answers = await asyncio.gather(*(self._ask(at, document, task) for at in range(len(self.members))))
        return {term: self._verdict(term, answers) for term in self._terms}

    def prepare(self) -> None:
        """Have the members load their models, all at the same time; one that fails, or takes too long, has no vote until it is ready."""
        for preparing in self._preparing:
            preparing.begin()
        for preparing in self._preparing:
            preparing.wait()

    async def aclose(self) -> None:
        """Close the members."""
        await asyncio.gather(*(member.aclose() for member in self.members))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": JudgmentCache(None), "_turns": {}, "_loop": None}

    async def _ask(self, at: int, document: Document, task: Task) -> Judgments:
        member = self.members[at]

        async def ask() -> Judgments:
            await self._preparing[at].ready()
            turn = self._turns.setdefault(at, asyncio.Semaphore(_slots(member)))
            async with turn:
                return await within(self._deadline, guarded(member(document, task)))

        try:
            answer: object = await self._cache.through(member, document, task, ask)
        except (ConfigError, MissingExtra):
            raise  # a mistake of the set-up, not of this document
        except TimeoutError as error:
            reason = str(error) or f"no answer within {self._deadline:g} seconds"
        except Exception as error:
            _log.warning("%s of a panel failed", type(member).__name__, exc_info=error)
            reason = f"{type(error).__name__}: {error}"
        else:
            if isinstance(answer, Mapping):
                return answer
            reason = f"it gave {type(answer).__name__}, not judgments by term"
        return dict.fromkeys(member.terms, Unscored(f"{type(member).__name__}: {reason}"))

    def _verdict(self, term: str, answers: Sequence[Judgments]) -> Judgment:
        asked = [answer for member, answer in zip(self.members, answers, strict=True) if term in member.terms]
        told = [answer.get(term) for answer in asked]
        votes = [vote for vote in told if isinstance(vote, Scored)]
        needed = self._quorum or len(asked) // 2 + 1
        if len(votes) < needed:
            reasons = [vote.reason for vote in told if isinstance(vote, Unscored)]
            return Unscored(
                f"{len(votes)} of {len(asked)} judges have a score, {needed} are needed: " + "; ".join(reasons)
            )
        scores = [vote.score for vote in votes]
        spread = f"{len(votes)} of {len(asked)} judges, {max(scores) - min(scores):g} apart"
        said = [f"{vote.judge or 'a judge'}: {vote.score:g} {vote.rationale}".rstrip() for vote in votes]
        names = ", ".join(vote.judge or "?" for vote in votes)
        return Scored(
            _COMBINE[self._combine](scores), "\n".join([spread, *said]), f"{self._combine}({names})", tuple(scores)
        )


def _check(judges: object, combine: object, deadline: object, prepare_deadline: object) -> None:
    if combine not in _COMBINE:
        raise ConfigError(f"panel: no way to combine {combine!r}{did_you_mean(str(combine), _COMBINE)}")
    for name, seconds in (("deadline", deadline), ("prepare_deadline", prepare_deadline)):
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
            raise ConfigError(f"panel: `{name}` is a number of seconds above 0, not {seconds!r}")
    if isinstance(judges, str) or not isinstance(judges, Sequence) or not judges:
        raise ConfigError(f"panel: `judges` is a list of at least one judge, not {judges!r}")


def _check_quorum(quorum: object, terms: Sequence[Sequence[str]]) -> None:
    for term in dict.fromkeys(term for told in terms for term in told):
        voters = sum(term in told for told in terms)
        if quorum is not None and (
            isinstance(quorum, bool) or not isinstance(quorum, int) or not 1 <= quorum <= voters
        ):
            raise ConfigError(f"panel: `quorum` lies in 1..{voters}, the judges that score {term}, not {quorum!r}")


def _slots(judge: Judge) -> int:
    slots: int = getattr(judge, "concurrency", None) or WorldConfig.model_fields["judge_concurrency"].default
    return slots

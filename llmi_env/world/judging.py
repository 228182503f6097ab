"""The judging side of the World in this process: what happens to one document.

Every judge is asked at the same time: a kept score -> the same judgment in flight -> its models are ready -> its turn -> its deadline. Their
answers are merged in the order in which the judges are given. What one judge does wrong leaves its terms unscored and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from llmi_env.document import Document
from llmi_env.errors import ConfigError, MissingExtra, WorldError
from llmi_env.judges.base import Judge
from llmi_env.judges.cache import Caching, JudgmentCache
from llmi_env.judges.making import make_judge, tell_stand_ins
from llmi_env.judges.preparing import Preparation
from llmi_env.task import Task
from llmi_env.world.config import WorldConfig
from llmi_env.world.guard import guarded, within
from llmi_env.world.protocol import Judgment, Judgments, Scored, Unscored
from llmi_env.world.threads import in_thread

_log = logging.getLogger(__name__)


class Judging:
    """Judges, in one process and on one event loop.

    Args:
        config: names judges to be made on first use, and the limits.
        judges: judges that are there already; they are heard first.
    """

    def __init__(self, config: WorldConfig, judges: Sequence[Judge]) -> None:
        self._config = config
        self._given = judges
        self._judges: tuple[Judge, ...] | None = None
        self._making = asyncio.Lock()
        self._preparing: dict[str, Preparation] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._kept = JudgmentCache.from_option(config.judge_cache, config.judge_cache_mb * 1_000_000)
        self._told: set[tuple[str, str]] = set()

    @property
    def made(self) -> tuple[Judge, ...]:
        """The judges that there are, without making any."""
        return tuple(self._given) if self._judges is None else self._judges

    @property
    def names(self) -> list[str]:
        """Names of the judges, in the order of `judges`."""
        return [*(type(judge).__name__ for judge in self._given), *(use for use, _ in self._config.judge_uses())]

    async def judges(self) -> tuple[Judge, ...]:
        """All judges, made where they are not yet."""
        async with self._making:
            if self._judges is None:
                made = list(self._given)
                for use, options in self._config.judge_uses():
                    _log.info("making judge %s", use)
                    made.append(await self._made(use, options))
                tell_stand_ins([(name, judge.terms) for name, judge in zip(self.names, made, strict=True)])
                for judge in made:
                    if isinstance(judge, Caching):
                        judge.use_cache(self._kept)
                self._judges = tuple(made)
        return self._judges

    async def _made(self, use: str, options: Mapping[str, Any]) -> Judge:
        seconds = self._config.judge_prepare_deadline
        work = in_thread(partial(make_judge, use, options), f"making {use}")
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), seconds)
        except TimeoutError:
            raise WorldError(
                f"judge {use!r} was not made within {seconds:g} seconds: load models in `prepare`, or raise judge_prepare_deadline"
            ) from None

    async def judge(self, document: Document, task: Task) -> Judgments:
        """Judge a document; see `InProcessWorld.judge`."""
        judges = await self.judges()
        answers = await asyncio.gather(
            *(self._ask(f"judge {number}", judge, document, task) for number, judge in enumerate(judges))
        )
        merged: dict[str, Judgment] = {}
        for judge, answer in zip(judges, answers, strict=True):
            for term in judge.terms:
                judgment = answer.get(term, Unscored("the judge left this term out"))
                earlier = merged.get(term)
                if earlier is None or (isinstance(earlier, Unscored) and isinstance(judgment, Scored)):
                    merged[term] = judgment
        return merged

    async def _ask(self, name: str, judge: Judge, document: Document, task: Task) -> Judgments:
        """One judge's answer; one that was given before needs no turn."""
        return await self._kept.through(judge, document, task, partial(self._hear, name, judge, document, task))

    async def prepare(self, place: int) -> None:
        """Make the judges, and have the one at this place load what it needs; raises what stands in the way."""
        await self._prepared(f"judge {place}", (await self.judges())[place])

    async def _prepared(self, name: str, judge: Judge) -> None:
        await self._preparing.setdefault(name, Preparation(judge, self._config.judge_prepare_deadline)).ready()

    async def _hear(self, name: str, judge: Judge, document: Document, task: Task) -> Judgments:
        try:
            # its models are loaded once, and outside of the deadline, which is for judging
            await self._prepared(name, judge)
            async with self._judges_turn(name, judge):
                answer: object = await within(self._config.judge_deadline, guarded(judge(document, task)))
            return _checked(judge, answer)
        except (ConfigError, MissingExtra):
            raise
        except TimeoutError as error:
            reason = str(error) or f"the judge did not answer within {self._config.judge_deadline:g} seconds"
        except Exception as error:
            self._tell(name, judge, error)
            reason = f"{type(error).__name__}: {error}"
        return dict.fromkeys(judge.terms, Unscored(reason))

    def _judges_turn(self, name: str, judge: Judge) -> asyncio.Semaphore:
        declared = getattr(judge, "concurrency", None)
        turn = self._turns.setdefault(name, asyncio.Semaphore(declared or self._config.judge_concurrency))
        if turn.locked() and not declared and (name, "turn") not in self._told:
            self._told.add((name, "turn"))
            _log.info(
                "%s (%s) takes %d documents at a time, further ones wait: it may declare a `concurrency`, or raise judge_concurrency",
                name,
                type(judge).__name__,
                self._config.judge_concurrency,
            )
        return turn

    def _tell(self, name: str, judge: Judge, error: Exception) -> None:
        """Log a judge's failure: in full the first time, so that an outage of hours does not bury everything else."""
        kind = (name, type(error).__name__)
        if kind in self._told:
            _log.info("%s (%s) failed again: %s: %s", name, type(judge).__name__, kind[1], error)
            return
        self._told.add(kind)
        _log.warning(
            "%s (%s) failed; further %s will be told in short", name, type(judge).__name__, kind[1], exc_info=error
        )

    async def aclose(self) -> None:
        """Give up the judgments in flight; the judges stay to be closed."""
        await self._kept.aclose()


def _checked(judge: Judge, answer: object) -> Judgments:
    """A judge's answer, with what is no judgment turned into the lack of one."""
    if not isinstance(answer, Mapping):
        return dict.fromkeys(judge.terms, Unscored(f"the judge gave {type(answer).__name__}, not judgments by term"))
    checked: dict[str, Judgment] = {}
    for term, judgment in answer.items():
        if not isinstance(judgment, Scored | Unscored):
            judgment = Unscored(f"the judge gave {type(judgment).__name__}, not a judgment")
        checked[str(term)] = judgment
    return checked

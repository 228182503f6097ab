"""A World as synchronous code needs it: opened late, gone after a fork, and never waited for longer than one has to.

The environment holds a `WorldHandle`. It opens nothing before the first call or judgment, keeps no thread and no event loop (those belong to
`llmi_env.world.portal`), and starts afresh in a forked child and after pickling: calls that were in flight are started again from the
requests that the episode still holds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from llmi_env.document import Outcome
from llmi_env.episode import CallRequest, Episode
from llmi_env.world.portal import portal
from llmi_env.world.protocol import Judgments, Unscored, World
from llmi_env.world_source import WorldSource

if TYPE_CHECKING:
    from llmi_env.world.runtime import CallScheduler


class WorldHandle:
    """One episode's access to a World.

    Args:
        source: gives the World; handles of one source share it.
    """

    def __init__(self, source: WorldSource) -> None:
        self._source = source
        self._drop()

    def _drop(self) -> None:
        self._pid = os.getpid()
        self._world: World | None = None
        self._calls: CallScheduler | None = None
        self._started: set[int] = set()

    def _current(self) -> World:
        if self._pid != os.getpid():
            self._drop()
        if self._world is None:
            self._world = self._source.acquire()
        return self._world

    def start(self, episode: Episode) -> None:
        """Start the calls that the episode awaits and that do not run yet; returns at once."""
        world = self._current()
        fresh = [request for index, request in episode.pending.items() if index not in self._started]
        if not fresh:
            return
        if self._calls is None:
            from llmi_env.world.runtime import CallScheduler

            self._calls = CallScheduler(world)
        known: dict[int, Outcome] = {}
        for request in fresh:
            # What an edit points at may have failed at once, or have come before a fork or a pickle.
            if request.depends_on is not None and request.depends_on not in self._started:
                outcome = episode.figure(request.depends_on).outcome
                if outcome is not None:
                    known[request.depends_on] = outcome
        portal().soon(_start, self._calls, fresh, known)
        self._started.update(request.index for request in fresh)

    def settle(self, episode: Episode, judged: bool = False, again: bool = False) -> Judgments:
        """Wait for every outcome that the episode awaits and deliver it; have the document judged if it has ended.

        Args:
            episode: the episode; nobody else may touch it meanwhile.
            judged: whether to ask the judges.
            again: ask them once more where a term has no score.

        Raises:
            WorldError: the World cannot be reached at all.
        """
        judged = judged and episode.stop is not None
        if not judged and not episode.waits:
            return {}
        return portal().wait(self.settling(episode, judged, again))

    def settling(self, episode: Episode, judged: bool = False, again: bool = False) -> Future[Judgments]:
        """`settle` as a future: it may be waited for with those of other handles."""
        self.start(episode)
        judged = judged and episode.stop is not None
        return portal().submit(_settle(self._current(), self._calls, episode, judged, again))

    def cancel(self) -> None:
        """Cancel the calls in flight, and wait until they are gone; a new episode may begin."""
        calls, self._calls, self._started = self._calls, None, set()
        if calls is not None and self._pid == os.getpid():
            portal().call(_cancel(calls))

    def close(self) -> None:
        """Cancel the calls in flight and let the World go; used again, the handle opens it again."""
        if self._pid == os.getpid():
            self.cancel()
            if self._world is not None:
                self._source.release()
        self._drop()

    def __deepcopy__(self, memo: Any) -> WorldHandle:
        return WorldHandle(self._source)

    def __getstate__(self) -> dict[str, Any]:
        return {"_source": self._source}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._source = state["_source"]
        self._drop()


def _start(calls: CallScheduler, requests: list[CallRequest], known: Mapping[int, Outcome]) -> None:
    for index, outcome in known.items():
        calls.settle(index, outcome)
    for request in requests:
        calls.start(request)


async def _settle(world: World, calls: CallScheduler | None, episode: Episode, judged: bool, again: bool) -> Judgments:
    if calls is not None:
        outcomes = await calls.wait_all()
        for index in episode.pending:
            episode.deliver(index, outcomes[index])
    if not judged:
        return {}
    document = episode.document
    judgments = await world.judge(document, episode.task)
    if not again or not any(isinstance(judgment, Unscored) for judgment in judgments.values()):
        return judgments
    second = await world.judge(document, episode.task)
    return {term: second.get(term, old) if isinstance(old, Unscored) else old for term, old in judgments.items()}


async def _cancel(calls: CallScheduler) -> None:
    async with calls:
        pass

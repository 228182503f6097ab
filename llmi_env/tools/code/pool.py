"""Up to so many runners at a time, and what happens when one dies.

Everything here blocks and is called from the pool's own threads; the tool awaits the pool's futures, so no event loop is bound.
"""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from llmi_env.errors import ToolUnavailable
from llmi_env.tools.code.config import CodeConfig
from llmi_env.tools.code.tiers import Choice
from llmi_env.tools.code.worker import Answer, Job, Runner, WorkerDied

logger = logging.getLogger(__name__)


class WorkerPool:
    """Up to `config.workers` warm workers, started when first needed, replaced when dead, broken or old."""

    def __init__(self, config: CodeConfig) -> None:
        self.config = config
        self.pid = os.getpid()
        self._executor = ThreadPoolExecutor(config.workers, thread_name_prefix="llmi-code")
        self._lock = threading.Lock()
        self._idle: list[Runner] = []
        self._busy: set[Runner] = set()
        self._closed = False
        self._choice = Choice(config)

    @property
    def workers(self) -> list[Runner]:
        """The workers that are alive now."""
        with self._lock:
            return [*self._idle, *self._busy]

    def submit(self, job: Job) -> Future[Answer]:
        """Run a job on the next free worker. The future raises `ToolUnavailable` where none can be had."""
        return self._executor.submit(self._run, job)

    def _run(self, job: Job) -> Answer:
        for attempt in (1, 2):
            worker = self._take()
            healthy = False
            try:
                if not job.bind(worker):
                    healthy = True
                    return Answer({"reason": "cancelled"}, b"", "")
                answer = worker.run(job)
                healthy = True
                return answer
            except WorkerDied as error:
                logger.warning("code worker died (attempt %d of 2): %s", attempt, error)
                cause = error
            finally:
                job.bind(None)
                self._give_back(worker, healthy)
        raise ToolUnavailable(f"the code worker died twice on the same call: {cause}")

    def _take(self) -> Runner:
        while True:
            with self._lock:
                if self._closed:
                    raise ToolUnavailable("the code tool has been closed")
                worker = self._idle.pop() if self._idle else None
                if worker is not None and worker.alive and worker.calls < self.config.recycle_after:
                    self._busy.add(worker)
                    return worker
            if worker is None:
                worker = self._choice.start()
                with self._lock:
                    self._busy.add(worker)
                return worker
            worker.close()

    def _give_back(self, worker: Runner, healthy: bool) -> None:
        with self._lock:
            self._busy.discard(worker)
            keep = healthy and not self._closed
            if keep:
                self._idle.append(worker)
        if not keep:
            worker.close()

    def close(self) -> None:
        """End all workers; jobs in flight end as unavailable. May be called twice."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for worker in busy:
            worker.kill()
        for worker in idle:
            worker.close()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def abandon(self) -> None:
        """In a forked process: forget the parent's workers and threads without touching them."""
        for worker in [*self._idle, *self._busy]:
            worker.abandon()

"""The code tool: charts from model-written Python, fast and contained.

The policy's code becomes a program here and nowhere else. It runs in a child that a warm worker forks for this one chart: `plt`,
`pd`, `sns` and `np` in scope, random numbers fixed by the call's seed, the figure taken as PNG without any `savefig`.

What stands around it is a *tier* (`tiers.py`): a container (`container.py`), namespaces (`namespace.py`), Landlock and seccomp alone, or with a
warning nothing (`fresh.py`). `docs/code-tool.md` says what each claims, by which test, and what is not claimed. In short: the code opens
nothing but libraries and an empty folder of its own, reaches no network and no other process, is bounded in time, memory, disk, output and
pixels, and leaves nothing behind; what it answers is checked as if it were an attack (`answers.py`).

`launch.py` starts a worker by sending it its program (`inside/`), `worker.py` speaks with it, `pool.py` keeps several and replaces the dead.
A tier that does not work here makes calls fail with `ToolUnavailable`, which names the cause; nothing weaker is taken in its place.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from llmi_env.document import Picture, Provenance
from llmi_env.errors import BadParams, ConfigError, ToolUnavailable, did_you_mean
from llmi_env.tools.base import CODE, ToolContext, ToolSpec
from llmi_env.tools.code.answers import picture_of, reading_of
from llmi_env.tools.code.config import CodeConfig
from llmi_env.tools.code.pool import WorkerPool
from llmi_env.tools.code.worker import Job

__all__ = ["CodeConfig", "CodeTool"]

MAX_SOURCE_BYTES = 100_000

_MAKING = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_MAKING._at_fork_reinit)  # type: ignore[attr-defined]


class CodeTool:
    """Draws charts from Python code in warm, confined workers.

    Workers start on the first call; the tool pickles and survives a fork without them. It binds no event loop.

    >>> tool = CodeTool(CodeConfig(workers=1, timeout=5))
    """

    def __init__(self, config: CodeConfig | None = None, **settings: Any) -> None:
        unknown = sorted(set(settings) - {field.name for field in fields(CodeConfig)})
        if unknown:
            known = [field.name for field in fields(CodeConfig)]
            raise ConfigError(f"the code tool has no setting {unknown[0]!r}{did_you_mean(unknown[0], known)}")
        self.config = replace(config or CodeConfig(), **settings)
        self._pool: WorkerPool | None = None

    @property
    def spec(self) -> ToolSpec:
        """What the policy is told."""
        return CODE

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Draw one chart.

        Raises:
            BadParams: the code is missing, no text, or longer than a chart can need.
            CodeRaised: the code failed; the message is its own error.
            LimitExceeded: time, memory, output, disk or pixels.
            NothingFound: the code drew nothing.
            ToolUnavailable: no worker could be had.
        """
        started = time.monotonic()
        job = Job(_source(params), context.seed)
        try:
            answer = await asyncio.wrap_future(self.pool.submit(job))
        except asyncio.CancelledError:
            job.cancelled.set()
            # Telling the worker may have to wait for it, which the event loop must not.
            threading.Thread(target=job.cancel, name="llmi-code-cancel", daemon=True).start()
            raise
        image, reading = await asyncio.to_thread(lambda: (picture_of(answer, self.config), reading_of(answer)))
        chart = reading.to_json() if reading else ""
        provenance = Provenance(answer.tier, seed=context.seed, chart=chart)
        return Picture(image, provenance, time.monotonic() - started)

    @property
    def pool(self) -> WorkerPool:
        """The workers of this process; made when first asked for."""
        with _MAKING:
            if self._pool is not None and self._pool.pid != os.getpid():
                self._pool.abandon()
                self._pool = None
            if self._pool is None:
                self._pool = WorkerPool(self.config)
            return self._pool

    async def warm(self) -> None:
        """Start a worker: its imports take seconds, which no call should be charged for."""
        await asyncio.to_thread(self.check)

    def check(self) -> dict[str, Any]:
        """Start a worker if there is none and tell about it (CPU, Landlock version, libraries). Raises `ToolUnavailable`."""
        answer = self.pool.submit(Job(b"plt.plot([1, 2])", 0)).result()
        picture_of(answer, self.config)
        workers = self.pool.workers
        if not workers:
            raise ToolUnavailable("the code tool has been closed")
        return {"sandbox": answer.tier, **workers[0].about}

    async def aclose(self) -> None:
        """End the workers; a later call starts new ones."""
        pool, self._pool = self._pool, None
        if pool is not None and pool.pid == os.getpid():
            await asyncio.get_running_loop().run_in_executor(None, pool.close)

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.config = state["config"]
        self._pool = None


def _source(params: Mapping[str, Any]) -> bytes:
    code = params.get("code")
    if not isinstance(code, str):
        raise BadParams("code must be Python source as a string")
    try:
        source = code.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadParams(f"the code holds a character that is no text, at position {error.start}") from error
    if len(source) > MAX_SOURCE_BYTES:
        raise BadParams(f"the code has {len(source)} bytes; a chart may have {MAX_SOURCE_BYTES}")
    return source

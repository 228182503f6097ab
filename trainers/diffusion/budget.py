"""Training by wall clock: how far a stage has come, when to save, how to stop.

The machine is shared and its speed varies, so a stage is given seconds (or a time of day), not steps; learning rates
follow the share of that budget already spent. Seconds spent before an interruption are kept in the checkpoint and
count.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from llmi_env.folders import whole

logger = logging.getLogger(__name__)


def seconds_until(clock: str) -> float:
    """Seconds from now to the next time the clock (UTC) shows ``HH:MM``."""
    now = datetime.now(UTC)
    hour, minute = (int(part) for part in clock.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if end <= now:
        end += timedelta(days=1)
    return (end - now).total_seconds()


class Budget:
    """The clock of one stage. Ctrl-C (or SIGTERM) ends it early, after the running step, so that the checkpoint is
    saved.
    """

    def __init__(
        self, remaining: float, spent: float = 0.0, save_every: float = 180.0, log_every: float = 30.0
    ) -> None:
        self._began = time.monotonic() - spent
        self.total = spent + remaining
        self._save_every, self._log_every = save_every, log_every
        self._last_save = self._last_log = time.monotonic()
        self._logged_pictures = 0
        self.interrupted = False
        self._handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def _stop(self, number: int, frame: FrameType | None) -> None:
        logger.info("stopping after this step (signal %d)", number)
        self.interrupted = True

    def close(self) -> None:
        """Gives Ctrl-C and SIGTERM back to whom they belonged."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def spent(self) -> float:
        """Seconds, interruptions left out."""
        return time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """0 at the start, 1 at the end."""
        return min(1.0, self.spent / self.total)

    @property
    def over(self) -> bool:
        """Whether to stop."""
        return self.interrupted or self.spent >= self.total

    def rate(self, peak: float, step: int, warmup: int, hold: float) -> float:
        """Learning rate: a warm-up in steps, flat for ``hold`` of the budget, then straight down to 2 % of ``peak``."""
        fall = max(0.0, (self.progress - hold) / (1 - hold))
        return peak * min(1.0, (step + 1) / warmup) * (1 - 0.98 * fall)

    def tick(self, step: int, batch: int, loss: float, save: Callable[[], None]) -> None:
        """Called after each step: logs and saves when it is time to."""
        now = time.monotonic()
        if now - self._last_log >= self._log_every:
            done = step * batch
            speed = (done - self._logged_pictures) / (now - self._last_log) if self._logged_pictures else float("nan")
            logger.info(
                "step %d  loss %.4f  %.0f pictures/s  %.0f min left", step, loss, speed, (self.total - self.spent) / 60
            )
            self._last_log, self._logged_pictures = now, done
        if now - self._last_save >= self._save_every:
            save()
            self._last_save = time.monotonic()


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a file whole, so that a kill never leaves half of one."""
    with whole(path) as part:
        torch.save(state, part)

"""Transcripts of finished episodes, for the eye and for other programs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from llmi_env.errors import ConfigError, UnscoredEpisode
from llmi_env.rewards import RewardReport
from llmi_env.wrappers.base import LLMIWrapper


class RecordTranscripts(LLMIWrapper):
    """Keeps each finished episode as one line of JSON.

    A line holds `task_id`, `question`, `stop`, `terminated`, `truncated`, `reward` (of the last step), `source` (the document as written),
    `calls` (tool and outcome of each), `report` (null where there is none), `unscored` (reasons) and, in the action mode `token`, `tokens`
    with `ids`, `owners` (see `Owner`) and `logprobs` (null where none are known).

    A line is handed to the operating system whole, in one write, when the episode ends: a kill loses the episode in flight, no other. Each
    environment, and each copy of one, writes a file of its own, `PID-NUMBER.jsonl`, never one that is there already.

    Args:
        env: `LLMI-v0`. With `DropUnscored`, put this beneath it to keep the dropped ones too.
        folder: where the files go; made when the first episode ends.
        callback: is given each record as a dict, in place of a file or besides it.

    Raises:
        ConfigError: neither folder nor callback.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        folder: str | Path | None = None,
        callback: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        super().__init__(env, folder=None if folder is None else str(folder), callback=callback)
        if folder is None and callback is None:
            raise ConfigError("RecordTranscripts needs a folder to write to, or a callback")
        if callback is not None and not callable(callback):
            raise ConfigError(f"RecordTranscripts: the callback is called with each record; {callback!r:.80} cannot be")
        self._folder = None if folder is None else Path(folder)
        self._callback = callback
        self._file: tuple[int, Path] | None = None

    @property
    def path(self) -> Path | None:
        """The file of this environment; `None` before the first episode has ended."""
        return None if self._file is None else self._file[1]

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Write; the step that ends the episode records it."""
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except UnscoredEpisode as error:
            self._record(None, False, False, {"unscored": [str(error)]})
            raise
        if terminated or truncated:
            self._record(reward, terminated, truncated, info)
        return observation, reward, terminated, truncated, info

    def _record(self, reward: Any, terminated: bool, truncated: bool, info: Mapping[str, Any]) -> None:
        episode, transcript = self.base.episode, self.base.transcript
        assert episode is not None
        task, document, report = episode.task, episode.document, info.get("report")
        record: dict[str, Any] = {
            "task_id": task.id or task.key,
            "question": task.question,
            "stop": None if episode.stop is None else str(episode.stop),
            "terminated": bool(terminated),
            "truncated": bool(truncated),
            "reward": _plain(reward),
            "source": document.to_source(),
            "calls": [
                {
                    "tool": figure.call.tool if figure.call else None,
                    "outcome": "picture" if figure.picture else figure.failure.kind if figure.failure else None,
                }
                for figure in document.figures
            ],
            "report": report.to_json() if isinstance(report, RewardReport) else None,
            "unscored": list(info.get("unscored", ())),
        }
        if transcript is not None:
            ledger = transcript.ledger
            record["tokens"] = {
                "ids": list(ledger.ids),
                "owners": [int(owner) for owner in ledger.owners],
                "logprobs": [_plain(value) for value in ledger.logprobs],
            }
        if self._folder is not None:
            self._append(self._folder, record)
        if self._callback is not None:
            self._callback(record)

    def _append(self, folder: Path, record: Mapping[str, Any]) -> None:
        if self._file is None or self._file[0] != os.getpid():
            self._file = (os.getpid(), _fresh(folder))
        line = json.dumps(record, allow_nan=False) + "\n"
        # No buffer of this process's: what a kill could lose, or a forked child write once more.
        file = os.open(self._file[1], os.O_WRONLY | os.O_APPEND)
        try:
            data = memoryview(line.encode("ascii"))
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)

    def __getstate__(self) -> dict[str, Any]:
        # A copy writes a file of its own.
        return {**self.__dict__, "_file": None}


def _fresh(folder: Path) -> Path:
    """A new, empty file: the first number that no other environment, process or machine has taken."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        path = folder.absolute() / f"{os.getpid()}-{number}.jsonl"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return path


def _plain(value: Any) -> Any:
    """A number or an array for JSON; null where there is no number."""
    if value is None:
        return None
    plain = np.asarray(value, np.float64).tolist()
    if isinstance(plain, list):
        return [_plain(part) for part in plain]
    return plain if math.isfinite(plain) else None

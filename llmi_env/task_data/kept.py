"""What a build keeps, so that nothing is paid for twice: every reply of the models, as it came, and what the build was begun with.

`OUT.build/` beside the task file holds `config.yaml`, `exchanges.jsonl` (a line for each reply, whole on the disk before work goes on) and
`attempts.jsonl` (what became of each version of each task, and why). All decisions follow from the replies: a build that goes on takes them in
the same order again, and asks only what it has no reply to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from llmi_env.differences import differences
from llmi_env.errors import ConfigError
from llmi_env.folders import held_alone, write_whole
from llmi_env.json_lines import add_rows, mend, read_rows
from llmi_env.store import StoreError
from llmi_env.yaml_text import parse_yaml

__all__ = ["Exchange", "Kept", "Total", "write_lines"]

_FORMAT = 1
Key = tuple[int, int, str, int, str]


@dataclass(frozen=True)
class Exchange:
    """One reply.

    Attributes:
        slot: number of the task in the plan.
        attempt: which version of it, from 0.
        stage: `write` or `validate`.
        repeat: how often the same was asked before: replies that could not be read.
        digest: of what was asked.
        model: who was asked.
        asked: the user's message, without its pictures.
        reply: what came; `None` where the model would not, or could not.
        declined: why it did not.
        prompt_tokens: as the server counts them; 0 where it does not.
        completion_tokens: likewise, of replies on the way that could not be used, too.
        seconds: that it took, waiting for a turn included.
    """

    slot: int
    attempt: int
    stage: str
    repeat: int
    digest: str
    model: str
    asked: str
    reply: str | None
    declined: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.slot, self.attempt, self.stage, self.repeat, self.digest


@dataclass(frozen=True)
class Total:
    """What came of a stage: replies, tokens asked and answered, seconds one after another."""

    replies: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Exchange) -> Total:
        return Total(
            self.replies + 1,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
        )


class Kept:
    """The folder of a build.

    Args:
        out: the task file that is being made.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.with_name(f"{out.stem}.build")
        self.exchanges: dict[Key, Exchange] = {}
        """What was asked before, by all that tells one question from another."""
        self.totals: dict[str, Total] = {}
        """What came of each stage, over all runs."""

    @property
    def path(self) -> Path:
        """Where replies are kept."""
        return self.folder / "exchanges.jsonl"

    @contextmanager
    def begin(self, config: Mapping[str, Any], *, resume: bool) -> Iterator[None]:
        """Open it for the length of the block, for this process alone.

        Args:
            config: all that decides what is made, as plain data.
            resume: whether to go on with what is there.

        Raises:
            ConfigError: there is a build and `resume` is not set, or none and it is; it was begun with another configuration, whose
                differences are shown; or another process is at work on it.
            StoreError: what is kept there is broken.
        """
        begun = self.folder / "config.yaml"
        if resume and not begun.is_file():
            raise ConfigError(f"there is no build of {self.out} to go on with; start it without --resume")
        if not resume and (begun.is_file() or self.out.exists()):
            raise ConfigError(f"{self.out} has been begun: --resume goes on with it, --out names another file")
        with held_alone(self.folder):
            now = json.loads(json.dumps({"format": _FORMAT, **config}))
            if begun.is_file():
                self._check(parse_yaml(begun.read_text(encoding="utf-8"), str(begun)), now)
            write_whole(begun, yaml.safe_dump(now, sort_keys=False, allow_unicode=True, width=120))
            self._read()
            yield

    def add(self, exchange: Exchange) -> None:
        """Keep a reply; it is on the disk when this returns."""
        self._count(exchange)
        add_rows(self.path, [asdict(exchange)], fsync=True)

    def _check(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        if found := [str(each) for each in differences(before, now)]:
            raise ConfigError(
                f"{self.out} was begun otherwise, so it cannot go on as it was: {'; '.join(found)}. "
                "Give the same options (--count may grow), or another --out"
            )

    def _read(self) -> None:
        if not mend(self.path):
            self.path.unlink(missing_ok=True)  # cut off within its first line
        for where, row in read_rows(self.path):
            try:
                exchange = Exchange(**row)
            except TypeError as error:
                raise StoreError(f"{where}: not a reply that was kept: {error}") from error
            self._count(exchange)

    def _count(self, exchange: Exchange) -> None:
        self.exchanges[exchange.key] = exchange
        self.totals[exchange.stage] = self.totals.get(exchange.stage, Total()) + exchange


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines in one step: there is the old file or the whole new one, whenever it is looked at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

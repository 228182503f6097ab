"""What is ordered: for each number a topic, a wish for pictures, the ways that are needed, and input pictures; the same for the same seed.

The beginning of a plan does not depend on how much of it is asked for, so that a build can be made larger. At every number each kind of wish
has come about as often as its weight says, and tools are needed about equally often.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from llmi_env.calls import BUILTIN
from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.task import ImageCount, Task
from llmi_env.task_data.pictures import Given
from llmi_env.task_data.wish import KINDS, contradiction
from llmi_env.yaml_text import parse_yaml

__all__ = ["COUNTS", "Plan", "Slot", "Wishes", "read_topics"]

COUNTS: Mapping[str, float] = {"none": 1, "any": 3, "at_least_one": 2, "exactly": 4}
"""Weights of the kinds of wishes for pictures."""

T = TypeVar("T")

_NUMBERS = (1, 2, 3, 4, 5, 6)
_NUMBER_WEIGHTS = (6, 6, 4, 2, 1, 1)
_TOOL_WEIGHTS = (6, 3, 1)
"""Weights of one, two and three tools together."""
_TWO_PICTURES = 0.2
_EDITED = 0.7
"""Share of tasks with input pictures that need a change to one."""


@dataclass(frozen=True)
class Slot:
    """One task that is ordered.

    Attributes:
        number: its place in the plan.
        image_count: how many pictures the task is to want.
        tools: what it is to need, each at least once.
        topic: what it is about.
        text: what is to be written.
        asker: who asks.
        given: its input pictures.
    """

    number: int
    image_count: ImageCount
    tools: tuple[str, ...]
    topic: str
    text: str
    asker: str
    given: tuple[Given, ...] = ()

    def told(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "image_count": self.image_count,
            "tools": list(self.tools),
            "topic": self.topic,
            "text": self.text,
            "asker": self.asker,
            "given": [each.path.name for each in self.given],
        }


@dataclass(frozen=True)
class Wishes:
    """What a plan is drawn from.

    Attributes:
        seed: same seed, same plan.
        counts: weights of the kinds of wishes for pictures; a kind that is left out does not come about.
        tools: which tools may be needed.
        topics: what tasks may be about.
        pictures: input pictures.
        with_pictures: share of tasks that have some, of those that want pictures at all.
    """

    seed: int = 0
    counts: Mapping[str, float] = field(default_factory=lambda: dict(COUNTS))
    tools: tuple[str, ...] = tuple(BUILTIN)
    topics: tuple[str, ...] = ()
    pictures: tuple[Given, ...] = ()
    with_pictures: float = 0.3

    def __post_init__(self) -> None:
        for names, known, what in ((self.counts, KINDS, "kind of wish for pictures"), (self.tools, BUILTIN, "tool")):
            for name in names:
                if name not in known:
                    raise ConfigError(f"no {what} {name!r}{did_you_mean(name, known)}")
        if not any(self.counts.values()) or not all(0 <= weight < math.inf for weight in self.counts.values()):
            raise ConfigError("weights of wishes for pictures must be 0 or more, and one of them more")
        if not 0 <= self.with_pictures <= 1:
            raise ConfigError(f"the share of tasks with input pictures is from 0 to 1, not {self.with_pictures}")
        if not self.tools and any(weight for kind, weight in self.counts.items() if kind != "none"):
            raise ConfigError("tasks that want pictures need at least one tool")
        if set(self.tools) == {"edit"} and not self.pictures:
            raise ConfigError("edit alone needs pictures to change: give a folder of them, or another tool besides")

    def told(self) -> dict[str, Any]:
        """As plain data: topics and pictures by their digests."""
        body = json.dumps([list(self.topics or _bundled()["topics"]), _bundled()["texts"], _bundled()["askers"]])
        shown = json.dumps([[each.digest, each.caption] for each in self.pictures])
        return {
            "seed": self.seed,
            "counts": dict(self.counts),
            "tools": list(self.tools),
            "topics": hashlib.sha256(body.encode()).hexdigest()[:16],
            "pictures": hashlib.sha256(shown.encode()).hexdigest()[:16] if self.pictures else None,
            "with_pictures": self.with_pictures if self.pictures else None,
        }


class Plan:
    """Slots by number; as many as are asked for."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._slots: list[Slot] = []
        self._kinds: Counter[str] = Counter()
        self._tools: Counter[str] = Counter()
        self._wanting = self._given = 0
        self._topics: list[str] = []

    def __getitem__(self, number: int) -> Slot:
        while len(self._slots) <= number:
            self._slots.append(self._next(len(self._slots)))
        return self._slots[number]

    def _next(self, number: int) -> Slot:
        draw = random.Random(f"{self._wishes.seed}:{number}")  # by its digest: the same everywhere
        kind = self._kind(draw)
        given = self._pictures(draw) if kind != "none" else ()
        count, tools = self._needs(kind, bool(given), draw)
        bundled = _bundled()
        slot = Slot(
            number,
            count,
            tools,
            self._topic(draw),
            draw.choice(bundled["texts"]),
            draw.choice(bundled["askers"]),
            given,
        )
        self._kinds[kind] += 1
        self._tools.update(tools)
        return slot

    def _kind(self, draw: random.Random) -> str:
        """The kind that is furthest behind its weight."""
        weights = {kind: weight for kind, weight in self._wishes.counts.items() if weight}
        total, coming = sum(weights.values()), self._kinds.total() + 1
        behind = {kind: weight / total * coming - self._kinds[kind] for kind, weight in weights.items()}
        return _most(behind, draw)

    def _pictures(self, draw: random.Random) -> tuple[Given, ...]:
        self._wanting += 1
        pictures = self._wishes.pictures
        always = set(self._wishes.tools) == {"edit"}
        if not pictures or (self._given >= self._wishes.with_pictures * self._wanting and not always):
            return ()
        self._given += 1
        return tuple(draw.sample(pictures, min(len(pictures), 1 + (draw.random() < _TWO_PICTURES))))

    def _needs(self, kind: str, given: bool, draw: random.Random) -> tuple[ImageCount, tuple[str, ...]]:
        if kind == "none":
            return "none", ()
        count: ImageCount = draw.choices(_NUMBERS, _NUMBER_WEIGHTS)[0] if kind == "exactly" else kind  # type: ignore[assignment]
        together = draw.choices((1, 2, 3), _TOOL_WEIGHTS)[0]
        edited = given and "edit" in self._wishes.tools and draw.random() < _EDITED
        sets = [
            tools
            for size in range(1, min(3, len(self._wishes.tools)) + 1)
            for tools in combinations(self._wishes.tools, size)
            if not contradiction(Task("-", image_count=count, tools=tools), int(given))
            and (tools != ("edit",) or given)
        ]
        sets = [tools for tools in sets if "edit" in tools] or sets if edited else sets
        nearest = min(abs(len(tools) - together) for tools in sets)
        return count, self._fewest([tools for tools in sets if abs(len(tools) - together) == nearest], draw)

    def _fewest(self, sets: Sequence[tuple[str, ...]], draw: random.Random) -> tuple[str, ...]:
        """The set whose tools were needed least so far."""
        return _most({tools: -sum(self._tools[tool] for tool in tools) / len(tools) for tools in sets}, draw)

    def _topic(self, draw: random.Random) -> str:
        if not self._topics:
            self._topics = list(self._wishes.topics or _bundled()["topics"])
            draw.shuffle(self._topics)
        return self._topics.pop()


def _most(values: Mapping[T, float], draw: random.Random) -> T:
    best = max(values.values())
    return draw.choice([name for name, value in values.items() if value >= best - 1e-9])


def read_topics(path: Path) -> tuple[str, ...]:
    """Topics of one's own, one a line; empty lines and those that begin with # do not count.

    Raises:
        ConfigError: the file cannot be read, or there are none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"topics {path}: cannot be read: {error}") from error
    found = tuple(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip() and not line.startswith("#")))
    if not found:
        raise ConfigError(f"topics {path}: there are none; one a line is expected")
    return found


@cache
def _bundled() -> dict[str, Any]:
    file = resources.files("llmi_env.task_data") / "topics.yaml"
    data = parse_yaml(file.read_text(encoding="utf-8"), "topics")
    data["topics"] = [topic for group in data["topics"].values() for topic in group]
    return data

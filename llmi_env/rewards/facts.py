"""What the rules see of a document: counts, taken once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from llmi_env.calls import Call
from llmi_env.document import Document, Figure
from llmi_env.errors import ConfigError
from llmi_env.rewards.likeness import alike, appearance, shows_something
from llmi_env.rewards.rules import AT_LEAST_ONE, FREE, NONE_ALLOWED, wanted_code
from llmi_env.rewards.text_slips import slips_of
from llmi_env.task import Task

FACTS_VERSION = 3
"""To be raised when anything is counted otherwise: facts saved under another version are taken from the document again."""

_NOT_VALID = frozenset({"malformed", "unknown_tool", "bad_params"})
_SPARE_CALLS = 2
_SAME_QUERY = 0.5


@dataclass(frozen=True)
class Facts:
    """Counts of one document against its task.

    Attributes:
        wanted: how many pictures, in LLM-I's code.
        calls: calls written, unreadable ones included.
        rungs: how far each call came (see `CALL_LADDER`), those that the world failed left out; a call that brought a blank picture, or
            one that is already there, failed.
        valid_tools: tool of each call that could be carried out, whatever came of it.
        useful_tools: the same without calls that ask again for what is there: those that brought a picture which is already there, or nearly
            so. Different searches that find one and the same photo are the collection's doing, and each of them useful.
        succeeded_tools: tool of each call that brought a picture.
        pictures: pictures that came.
        usable: those of them that show something and do not look like an earlier one or like an input picture.
        world_faults: calls that failed through no fault of the policy, or whose outcome never came.
        policy_faults: calls that failed through the policy's fault.
        malformed: calls that could not be read.
        has_text: whether anything is written besides calls.
        slips: kinds of what is nothing for a reader (see `llmi_env.rewards.text_slips`).
        budget: how many calls the task can honestly use.
    """

    wanted: int
    calls: int
    rungs: tuple[str, ...]
    valid_tools: tuple[str, ...]
    useful_tools: tuple[str, ...]
    succeeded_tools: tuple[str, ...]
    pictures: int
    usable: int
    world_faults: int
    policy_faults: int
    malformed: int
    has_text: bool
    slips: tuple[str, ...]
    budget: int

    @classmethod
    def of(cls, document: Document, task: Task) -> Facts:
        """Count."""
        figures = document.figures
        wanted = wanted_code(task.image_count)
        states = [state_of(figure) for figure in figures]
        seen = Counter(states)
        needed = max(len(set(task.tools)), 1)
        again = _seen_before(document, task)
        usable = {at for at, f in enumerate(figures) if f.picture and at not in again and shows_something(f.picture)}
        return cls(
            wanted=wanted,
            calls=len(figures),
            rungs=tuple(
                "failed" if state == "succeeded" and at not in usable else state
                for at, state in enumerate(states)
                if state != "world"
            ),
            valid_tools=tuple(f.call.tool for f in figures if f.call is not None and is_valid(f)),
            useful_tools=tuple(
                f.call.tool
                for at, f in enumerate(figures)
                if f.call is not None and is_valid(f) and (at not in again or is_another_search(figures, at))
            ),
            succeeded_tools=tuple(f.call.tool for f in figures if f.call is not None and f.picture is not None),
            pictures=len(document.pictures),
            usable=len(usable),
            world_faults=seen["world"],
            policy_faults=len(figures) - seen["world"] - seen["succeeded"],
            malformed=seen["malformed"],
            has_text=bool(document.text.strip()),
            slips=slips_of(document, task.question),
            budget=max(needed, wanted) if wanted not in (FREE, AT_LEAST_ONE, NONE_ALLOWED) else needed + _SPARE_CALLS,
        )

    @property
    def exactly(self) -> int:
        """How many pictures are wanted, where that is a number of at least 1; else 0."""
        return 0 if self.wanted in (FREE, AT_LEAST_ONE, NONE_ALLOWED) else self.wanted

    @property
    def repeats(self) -> int:
        """Valid calls that asked again for what was there already."""
        return len(self.valid_tools) - len(self.useful_tools)

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return {"version": FACTS_VERSION, **data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Facts:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: the data were written by another version.
        """
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
        version = plain.pop("version", None)
        if version != FACTS_VERSION or {field.name for field in fields(cls)} != set(plain):
            raise ConfigError(
                f"facts of version {version}, this one reads {FACTS_VERSION}: take them from the document again"
            )
        return cls(**plain)

    def as_counts(self) -> dict[str, int]:
        """The counts alone, for a report."""
        return {
            "calls": self.calls,
            "valid_calls": len(self.valid_tools),
            "malformed_calls": self.malformed,
            "pictures": self.pictures,
            "usable_pictures": self.usable,
            "pictures_wanted": self.wanted,
            "policy_faults": self.policy_faults,
            "world_faults": self.world_faults,
        }


def is_valid(figure: Figure) -> bool:
    """Whether the call could be carried out as written, whatever came of it."""
    failure = figure.failure
    return figure.call is not None and not (failure is not None and failure.kind in _NOT_VALID)


def state_of(figure: Figure) -> str:
    """How far a call came: a rung of `CALL_LADDER`, or `world` where it is not the policy's to answer for."""
    if figure.picture is not None:
        return "succeeded"
    if figure.failure is None or figure.failure.fault == "world":
        return "world"
    if figure.call is None:
        return "malformed"
    return figure.failure.kind if figure.failure.kind in _NOT_VALID else "failed"


def is_another_search(figures: Sequence[Figure], at: int) -> bool:
    """Whether a figure is a search whose query shares less than half of its words with that of any search before it."""
    call = figures[at].call
    if call is None or call.tool != "search":
        return False
    words = _query_words(call)
    earlier = [_query_words(f.call) for f in figures[:at] if f.call is not None and f.call.tool == "search"]
    return all(len(words & other) < _SAME_QUERY * len(words | other) for other in earlier)


def _query_words(call: Call) -> set[str]:
    return set(re.findall(r"\w+", str(call.params.get("query", "")).casefold()))


def _seen_before(document: Document, task: Task) -> set[int]:
    """Figures whose picture looks like an earlier one, or like an input picture."""
    seen = [appearance(picture) for picture in task.images]
    again = set()
    for at, figure in enumerate(document.figures):
        if figure.picture is not None:
            look = appearance(figure.picture)
            if any(alike(look, other) for other in seen):
                again.add(at)
            seen.append(look)
    return again

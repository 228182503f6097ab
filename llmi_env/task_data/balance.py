"""What a set of tasks asks for, counted: pictures, tools, tools together, input pictures; and where it is lopsided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median

from llmi_env.calls import BUILTIN
from llmi_env.task_data.rows import Row
from llmi_env.task_data.wish import KINDS
from llmi_env.task_data.words import words

__all__ = ["Balance"]

_LOPSIDED = 3
_MOST_OF_A_KIND = 0.7
_MOST_OF_A_TEMPLATE = 0.1
_FEW = 20


@dataclass
class Balance:
    """Counts over the tasks that can be read.

    Attributes:
        tasks: how many.
        counts: by wish for pictures; numbers by themselves.
        tools: how many tasks need each tool.
        together: how many tasks need each set of tools.
        inputs: by number of input pictures.
        templates: by wording pattern, where rows name one.
        lengths: words of each question.
    """

    tasks: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    tools: Counter[str] = field(default_factory=Counter)
    together: Counter[str] = field(default_factory=Counter)
    inputs: Counter[int] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Balance:
        """Count."""
        found = cls()
        for row in rows:
            if (task := row.task) is None:
                continue
            found.tasks += 1
            found.counts[str(task.image_count)] += 1
            found.tools.update(set(task.tools))
            found.together[" + ".join(sorted(set(task.tools))) or "none"] += 1
            found.inputs[len(row.pictures)] += 1
            found.lengths.append(len(words(task.question)))
            if isinstance(template := row.extras.get("template"), str):
                found.templates[template] += 1
        return found

    @property
    def kinds(self) -> Counter[str]:
        """By kind of wish for pictures."""
        found: Counter[str] = Counter()
        for count, times in self.counts.items():
            found["exactly" if count.isdigit() else count] += times
        return found

    def lopsided(self) -> Iterator[str]:
        """What a training would learn too little or too much of; nothing where there are hardly any tasks."""
        if self.tasks < _FEW:
            return
        if missing := [kind for kind in KINDS if not self.kinds[kind]]:
            yield f"no task wants {', '.join(map(_named, missing))}"
        for kind, times in self.kinds.items():
            if times > _MOST_OF_A_KIND * self.tasks:
                yield f"{times / self.tasks:.0%} of the tasks want {_named(kind)}"
        if missing := [tool for tool in BUILTIN if not self.tools[tool]]:
            yield f"no task needs {', '.join(missing)}"
        needed = {tool: times for tool, times in self.tools.items() if tool in BUILTIN}
        if needed and max(needed.values()) > _LOPSIDED * min(needed.values()):
            most, least = (pick(needed, key=lambda tool: (needed[tool], tool)) for pick in (max, min))
            yield f"{most} is needed {needed[most]} times, {least} {needed[least]} times, which is less than a third"
        for template, times in self.templates.most_common(3):
            if times > _MOST_OF_A_TEMPLATE * self.tasks:
                yield f"the wording {template!r:.60} covers {times / self.tasks:.0%} of the tasks"

    def tables(self) -> Iterator[list[tuple[str, ...]]]:
        """Rows of tables for people, the heading first."""
        yield [("pictures wanted", "tasks", "share"), *self._shares(self.counts, sorted(self.counts, key=_place))]
        yield [("tool", "tasks", "share"), *self._shares(self.tools, sorted(self.tools))]
        yield [("tools together", "tasks", "share"), *self._shares(self.together, _often(self.together)[:15])]
        if set(self.inputs) != {0}:
            names = {str(number): times for number, times in self.inputs.items()}
            yield [("input pictures", "tasks", "share"), *self._shares(names, sorted(names, key=int))]

    def _shares(self, counted: dict[str, int] | Counter[str], order: list[str]) -> list[tuple[str, ...]]:
        return [(name, f"{counted[name]:,}", f"{counted[name] / self.tasks:.1%}") for name in order]

    def __str__(self) -> str:
        if not self.tasks:
            return "no tasks that can be read"
        lengths = self.lengths
        return f"{self.tasks:,} tasks of {min(lengths)} to {max(lengths)} words, in the middle {median(lengths):.0f}"


def _named(kind: str) -> str:
    return {
        "none": "no pictures",
        "any": "as many pictures as the writer likes",
        "at_least_one": "at least one picture",
    }.get(kind, "an exact number of pictures")


def _place(count: str) -> tuple[int, int]:
    return (KINDS.index(count), 0) if count in KINDS else (len(KINDS), int(count))


def _often(counted: Counter[str]) -> list[str]:
    return sorted(counted, key=lambda name: (-counted[name], name))

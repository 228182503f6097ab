"""Why a version of a task is sent back: faults that anyone can see, and what the second model takes it to ask for."""

from __future__ import annotations

from collections.abc import Sequence

from llmi_env.calls import BUILTIN
from llmi_env.task_data.plan import Slot
from llmi_env.task_data.replies import Draft, Reading
from llmi_env.task_data.wish import kind_of
from llmi_env.task_data.wording import FEWEST, slips
from llmi_env.task_data.words import SharedRuns, words

__all__ = ["Reasons", "faults", "misreadings"]

Reasons = list[tuple[str, str]]
"""Rules that a version broke, and how, in words that its writer can use."""

_FEWEST = 8
"""Words of a task that is built; other files may hold shorter ones."""
_TAKEN_FOR = {"any": ("any", "at_least_one")}
"""A task that shows something is needed, and is silent about how many, may be read as one that wants at least one."""


def faults(draft: Draft, slot: Slot, asked: str = "") -> Reasons:
    """What is wrong with a version by itself.

    Args:
        draft: the version.
        slot: what was ordered.
        asked: the words of the order, which must not come back.
    """
    found: Reasons = [(slip.rule, slip.message) for slip in slips(draft.question)]
    count = len(words(draft.question))
    if FEWEST <= count < _FEWEST:
        found.append(("short", f"{count} words: a person would say more (at least {_FEWEST})"))
    if (copied := SharedRuns([asked]).most(draft.question)) is not None:
        found.append(("copied", f"it repeats the order: {copied.run!r:.120}"))
    tools = [picture.tool for picture in draft.pictures]
    if set(tools) != set(slot.tools):
        found.append(("tools", f"a good answer would use {_listed(tools)}, the order needs {_listed(slot.tools)}"))
    wanted = slot.image_count
    if isinstance(wanted, int) and len(tools) != wanted:
        found.append(("count", f"a good answer would have {len(tools)} pictures, the order wants {wanted}"))
    return found


def misreadings(reading: Reading, slot: Slot) -> Reasons:
    """Where the second model takes a version for something else than was ordered. Its own words stand with the first reason."""
    found: Reasons = []
    kind, wanted = kind_of(slot.image_count), slot.image_count
    read = str(reading.exact) if reading.image_count == "exactly" else reading.image_count
    if reading.image_count not in _TAKEN_FOR.get(kind, (kind,)) or (kind == "exactly" and reading.exact != wanted):
        found.append(("reader: count", f"a reader takes it to want pictures: {read}, the order says: {wanted}"))
    needs = {tool: getattr(reading, tool) for tool in BUILTIN}
    if unneeded := [tool for tool in slot.tools if needs[tool] != "needed"]:
        found.append(("reader: need", f"a reader finds that a good answer can do without {_listed(unneeded)}"))
    if others := [tool for tool in BUILTIN if needs[tool] == "needed" and tool not in slot.tools]:
        found.append(("reader: need", f"a reader finds that it needs {_listed(others)}, too"))
    for bad, rule, said in (
        (reading.names_tool, "reader: names tool", "a reader finds that it says how a picture is to be had"),
        (not reading.complete, "reader: incomplete", "a reader cannot fulfil it without knowing more"),
        (not reading.harmless, "reader: harmful", "a reader finds it harmful"),
        (not reading.natural, "reader: unnatural", "a reader does not believe that a person wrote it"),
    ):
        if bad:
            found.append((rule, said))
    if found and reading.reason.strip():
        rule, said = found[0]
        found[0] = rule, f"{said} ({' '.join(reading.reason.split())[:300]})"
    return found


def _listed(tools: Sequence[str]) -> str:
    return ", ".join(sorted(set(tools))) or "no picture"

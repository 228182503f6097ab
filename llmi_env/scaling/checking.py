"""The stage `validate`: what is wrong with a document, told by rules alone."""

from __future__ import annotations

from llmi_env.document import Document, Figure
from llmi_env.episode import StopReason
from llmi_env.rewards.facts import Facts
from llmi_env.rewards.rules import AT_LEAST_ONE, FREE, NONE_ALLOWED
from llmi_env.task import Task

_CUT = {
    StopReason.LENGTH: "cut at the limit of tokens",
    StopReason.CHARACTERS: "cut at the limit of characters",
    StopReason.CALLS: "cut at the limit of calls",
    StopReason.PICTURES: "cut at the limit of pictures",
    StopReason.STEPS: "cut at the limit of steps",
    StopReason.ABORTED: "given up",
}


def faults_of(document: Document, task: Task, stop: StopReason = StopReason.END) -> tuple[str, ...]:
    """What is wrong, one clause each: calls that cannot be read or failed, a count that does not fit, no text, a document that was cut.

    Pictures count where they show something that is not there yet. A call that the world failed is a fault as well, since the reader misses
    the picture; that it is the world's is said.
    """
    facts = Facts.of(document, task)
    faults = [told for index, figure in enumerate(document.figures) if (told := _of_figure(index, figure))]
    if count := _of_count(facts):
        faults.append(count)
    if not facts.has_text:
        faults.append("no text")
    faults += [f"text that is none for a reader: {slip.replace('_', ' ')}" for slip in facts.slips]
    if stop in _CUT:
        faults.append(_CUT[stop])
    return tuple(faults)


def _of_figure(index: int, figure: Figure) -> str:
    if figure.picture is not None:
        return ""
    tool = f" ({figure.call.tool[:40]})" if figure.call is not None else ""
    if figure.failure is None:
        return f"figure {index}{tool} never came"
    whose = ", through no fault of the document" if figure.failure.fault == "world" else ""
    return f"figure {index}{tool} failed: {figure.failure.kind}{whose}"


def _of_count(facts: Facts) -> str:
    if facts.wanted == FREE:
        return ""
    if facts.wanted == NONE_ALLOWED:
        return f"{facts.calls} calls where no picture is wanted" if facts.calls else ""
    if facts.wanted == AT_LEAST_ONE:
        return "" if facts.usable else "no picture where one is wanted"
    return "" if facts.usable == facts.wanted else f"{facts.usable} pictures where {facts.wanted} are wanted"

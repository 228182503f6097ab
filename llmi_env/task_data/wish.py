"""A wish for pictures: its kind, and whether it can be met together with the tools that a task needs."""

from __future__ import annotations

from llmi_env.task import ImageCount, Task

__all__ = ["KINDS", "contradiction", "kind_of"]

KINDS = ("none", "any", "at_least_one", "exactly")
"""Kinds of wishes."""


def kind_of(count: ImageCount) -> str:
    """The kind of a wish."""
    return "exactly" if isinstance(count, int) else count


def contradiction(task: Task, inputs: int) -> str:
    """What of a task cannot be met together; "" where all can.

    Every call makes one picture, so a document has at least as many pictures as it needs tools; an edit needs a picture to start from.

    Args:
        task: without its pictures.
        inputs: how many input pictures it has.

    >>> contradiction(Task("Show both.", image_count=1, tools=("search", "code")), inputs=0)
    '1 is wanted, yet code, search make 2 pictures'
    """
    tools, count = set(task.tools), task.image_count
    if count in ("none", 0) and tools:
        return f"no pictures are wanted, yet {', '.join(sorted(tools))} is needed"
    from_nothing = tools == {"edit"} and not inputs
    needed = len(tools) + from_nothing
    if isinstance(count, int) and count < needed:
        first = ", the one that edit starts from included" if from_nothing else ""
        return f"{count} is wanted, yet {', '.join(sorted(tools))} make {needed} pictures{first}"
    return ""

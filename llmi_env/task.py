"""What a policy is asked to write."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmi_env.document import Picture
from llmi_env.errors import TaskError

ImageCount = Literal["any", "none", "at_least_one"] | int
"""How many pictures are wanted: free, none, one or more, or exactly that many."""

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character: no text that can be written to a file, shown, or given to a tokenizer holds one."""


@dataclass(frozen=True)
class Task:
    """One writing task.

    Attributes:
        question: what the user asks for; never empty.
        images: input pictures, which `edit` calls may point at and vision-language policies see.
        image_count: how many pictures are wanted.
        tools: tools that a good document needs, each at least once; used by tool accuracy, never shown to the policy.
        id: stable name, unique in its task set.
        source: where the task comes from.
    """

    question: str
    images: tuple[Picture, ...] = ()
    image_count: ImageCount = "any"
    tools: tuple[str, ...] = ()
    id: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        for name in ("id", "source"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TaskError(f"task {value!r:.60}: field {name!r} must be text or None, not {type(value).__name__}")
        if not isinstance(self.question, str) or not self.question.strip():
            raise self._error("question", "text that is not blank", self.question)
        if (half := LONE_SURROGATE.search(self.question)) is not None:
            raise self._error("question", "text without lone surrogates", half.group())
        # Lists are taken too, and kept as tuples: a task never changes.
        object.__setattr__(
            self, "images", self._tuple("images", Picture, "pictures: Picture(image, Provenance('input'))")
        )
        object.__setattr__(self, "tools", self._tuple("tools", str, "tool names, such as ('search',)"))
        count = self.image_count
        if isinstance(count, bool) or not (
            count in ("any", "none", "at_least_one") or (isinstance(count, int) and count >= 0)
        ):
            raise self._error("image_count", "'any', 'none', 'at_least_one' or a number >= 0", count)

    def _tuple(self, name: str, kind: type, wanted: str) -> tuple[Any, ...]:
        values: Any = getattr(self, name)
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise self._error(name, f"a tuple of {wanted}", values)
        for value in values:
            if not isinstance(value, kind):
                raise self._error(name, f"a tuple of {wanted}", value)
        return tuple(values)

    def _error(self, name: str, wanted: str, came: object) -> TaskError:
        return TaskError(f"task {self.id or '(no id)'}: field {name!r} must be {wanted}, not {came!r:.80}")

    @property
    def key(self) -> str:
        """A digest of what the task asks: names caches and seeds, whatever the id."""
        body = json.dumps([self.question, str(self.image_count), [picture.digest for picture in self.images]])
        return hashlib.sha256(body.encode()).hexdigest()[:16]

"""What a policy is asked to write."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from llmi_env.document import Picture
from llmi_env.errors import TaskError

ImageCount = Literal["any", "none", "at_least_one"] | int
"""How many pictures are wanted: free, none, one or more, or exactly that many."""


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
        if not isinstance(self.question, str) or not self.question.strip():
            raise TaskError(f"task {self.id or '(no id)'}: field 'question' must be text that is not blank")
        count = self.image_count
        if isinstance(count, bool) or not (
            count in ("any", "none", "at_least_one") or (isinstance(count, int) and count >= 0)
        ):
            raise TaskError(
                f"task {self.id or '(no id)'}: field 'image_count' must be 'any', 'none', 'at_least_one' or a number >= 0, "
                f"not {count!r}"
            )

    @property
    def key(self) -> str:
        """A digest of what the task asks: names caches and seeds, whatever the id."""
        body = json.dumps([self.question, str(self.image_count), [picture.digest for picture in self.images]])
        return hashlib.sha256(body.encode()).hexdigest()[:16]

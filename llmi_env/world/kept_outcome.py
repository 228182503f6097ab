"""An outcome as it is kept on disk: what can be read is one JSON object, a picture's pixels are PNG bytes beside it.

What comes back from a disk may have been changed there: it is checked as a message from elsewhere is (`llmi_env.world.wire`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmi_env.document import Outcome, Picture
from llmi_env.world.wire import FailureMessage, PictureMessage


def told(outcome: Outcome) -> tuple[dict[str, Any], bytes | None]:
    """`outcome` as an object of plain values (its `type` is `picture` or `failure`), and its pixels as PNG where it is a picture."""
    if isinstance(outcome, Picture):
        message = PictureMessage.of(outcome)
        return message.model_dump(exclude={"png"}), message.png
    return FailureMessage.of(outcome).model_dump(), None


def outcome_of(parts: Mapping[str, Any], png: bytes | None) -> Outcome:
    """Undo `told`.

    Raises:
        ValueError: it is none, or the pixels are no PNG, too many, or missing.
    """
    if png is None:
        return FailureMessage.model_validate(dict(parts)).value()
    return PictureMessage.model_validate({**parts, "png": png}).value()

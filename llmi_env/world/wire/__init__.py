"""The wire format between a World and its clients: JSON with pictures as PNG, both ways exact to the pixel.

Each message is a pydantic model with `of` (from the value) and `value` (back to it). Two things that a policy can write do not fit
into plain JSON text: lone surrogates, which are escaped, and params beyond JSON (integers of thousands of digits, nesting beyond
the recursion limit), which arrive empty; the raw text of the call always arrives whole.

Texts are in `texts`, what calls come to in `outcomes`, the values that are carried out and judged in `documents`, and the bodies of the
routes, with the version of the format, in `requests`.
"""

from __future__ import annotations

from llmi_env.world.wire.documents import (
    CallMessage,
    DocumentMessage,
    FigureMessage,
    JudgmentMessage,
    TaskMessage,
    TextMessage,
)
from llmi_env.world.wire.outcomes import (
    MAX_PIXELS,
    AttachmentMessage,
    FailureMessage,
    OutcomeMessage,
    PictureMessage,
    outcome_message,
)
from llmi_env.world.wire.requests import (
    PROTOCOL,
    VERSION,
    ErrorReply,
    Health,
    JudgeMessage,
    JudgeReply,
    JudgeRequest,
    RunReply,
    RunRequest,
    Terms,
)
from llmi_env.world.wire.texts import (
    pack,
    unpack,
)

__all__ = [
    "MAX_PIXELS",
    "PROTOCOL",
    "VERSION",
    "AttachmentMessage",
    "CallMessage",
    "DocumentMessage",
    "ErrorReply",
    "FailureMessage",
    "FigureMessage",
    "Health",
    "JudgeMessage",
    "JudgeReply",
    "JudgeRequest",
    "JudgmentMessage",
    "OutcomeMessage",
    "PictureMessage",
    "RunReply",
    "RunRequest",
    "TaskMessage",
    "Terms",
    "TextMessage",
    "outcome_message",
    "pack",
    "unpack",
]

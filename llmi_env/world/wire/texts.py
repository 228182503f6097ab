"""How texts travel, and what all messages have in common."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict

__all__ = ["Message", "pack", "unpack"]

_ESCAPED = "\x00"


def pack(text: str) -> str:
    """`text` in a form that UTF-8 can carry; `unpack` gives it back."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ESCAPED + json.dumps(text)
    return _ESCAPED + json.dumps(text) if text.startswith(_ESCAPED) else text


def unpack(text: str) -> str:
    """Undo `pack`."""
    if not text.startswith(_ESCAPED):
        return text
    plain = json.loads(text[1:])
    if not isinstance(plain, str):
        raise ValueError("an escaped text holds a JSON string")
    return plain


class Message(BaseModel):
    """Plain data that are read strictly: what is not a field of it is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    def encode(self) -> bytes:
        """The message as JSON."""
        return self.model_dump_json().encode()

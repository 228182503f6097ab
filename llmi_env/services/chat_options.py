"""Options of whatever asks a language model behind an OpenAI-compatible server: where it is, what its requests carry, what they cost."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, field_validator

from llmi_env.services.keys import without_secrets
from llmi_env.services.openai_access import OPENAI_URL, checked_url
from llmi_env.services.options import ServiceOptions

__all__ = ["ChatOptions", "cost_of"]


class ChatOptions(ServiceOptions):
    """What policies and judges of this kind are told alike."""

    model: str = Field(min_length=1)
    """Name of the model, as the server knows it."""

    base_url: str = OPENAI_URL
    """Address of the API, e.g. `http://127.0.0.1:8000/v1` for vLLM."""

    extra_body: dict[str, Any] = Field(default_factory=dict)
    """More fields of the request, e.g. `{"top_k": 20, "chat_template_kwargs": {"enable_thinking": false}}`."""

    prompt_price: float | None = Field(default=None, ge=0)
    """Price of a million prompt tokens."""

    completion_price: float | None = Field(default=None, ge=0)
    """Price of a million tokens of replies, thoughts included."""

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        return checked_url(url)

    @field_validator("extra_body")
    @classmethod
    def _is_plain(cls, fields: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(fields, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"it must be plain JSON: {error}") from None
        return dict(without_secrets(fields))

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """In the currency of the prices; `None` where they are not given."""
        return cost_of(prompt_tokens, completion_tokens, self.prompt_price, self.completion_price)


def cost_of(
    prompt_tokens: int, completion_tokens: int, prompt_price: float | None, completion_price: float | None
) -> float | None:
    """What tokens cost at prices of a million of them; `None` where a price is not known."""
    if prompt_price is None or completion_price is None:
        return None
    return (prompt_tokens * prompt_price + completion_tokens * completion_price) / 1_000_000

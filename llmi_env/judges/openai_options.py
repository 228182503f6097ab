"""Options of the OpenAI-compatible judge."""

from __future__ import annotations

import json
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from llmi_env.errors import did_you_mean
from llmi_env.judges.prompt import load_prompt
from llmi_env.services.chat_options import ChatOptions
from llmi_env.services.openai_access import OPENAI_URL, find_key

PROMPTS = ("text", "multimodal")
"""The prompts that score reward terms."""

# What cannot move a score: it is left out of the fingerprint.
_NEUTRAL = frozenset(
    {
        "api_key_env",
        "api_key_file",
        "timeout",
        "retries",
        "concurrency",
        "prompt_price",
        "completion_price",
        "cache_name",
        "base_url",
    }
)


class JudgeOptions(ChatOptions):
    """What an OpenAI-compatible judge is made of."""

    what: ClassVar[str] = "openai judge"

    model: str = Field(min_length=1)
    """Name of the model, as the server knows it; with Azure the deployment."""

    base_url: str = OPENAI_URL
    """Address of the API, e.g. `http://127.0.0.1:8000/v1` for vLLM; with Azure the endpoint of the resource."""

    api_key_env: str | None = None
    """Name of the environment variable that holds the key, never the key itself. Without it `OPENAI_API_KEY` (Azure: `AZURE_OPENAI_API_KEY`)
    is used where the address is OpenAI's (Azure's), and no key is sent anywhere else. Empty: send none."""

    api_version: str | None = None
    """Version of Azure's API; given, the server is Azure OpenAI."""

    terms: tuple[str, ...] = ("text_quality", "call_quality")
    """Terms to score: `text_quality`, `call_quality` (a language model); `image_quality`, `task_relevance`, `text_image_relevance` (a
    vision-language model). One judge may score both kinds, with a request for each."""

    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """Temperature of sampling; null leaves it to the server (some hosted reasoning models take none)."""

    seed: int | None = None
    """Seed of sampling, where the server takes one; sample number i gets `seed + i`."""

    samples: int = Field(default=1, ge=1, le=32)
    """How often each document is scored; the mean counts, and more than half must come."""

    max_tokens: int | None = Field(default=1024, ge=16)
    """Tokens of a reply, thoughts included; null leaves it to the server."""

    timeout: float = Field(default=60.0, gt=0)
    """Seconds that one request may take, whatever of it is slow."""

    retries: int = Field(default=3, ge=0)
    """How often a request is tried again after an overload, an outage, a broken connection or a reply that cannot be read."""

    concurrency: int = Field(default=16, ge=1)
    """Requests at the same time, and documents that the World has judged at the same time."""

    max_side: int = Field(default=1024, ge=64)
    """Longest side of a picture that is sent, in pixels."""

    max_pictures: int = Field(default=16, ge=0)
    """Pictures of a document (and of a task) that are shown at most, taken evenly; the model is told of the others. 0 is for a model that sees
    none: it gives no score to pictures, and checks a benchmark's criteria by the words alone."""

    max_picture_kb: int = Field(default=512, ge=8)
    """Weight of a picture that is sent, in kB before base64; heavier ones are compressed, then made smaller."""

    structured: Literal["auto", "json_schema", "json_object", "off"] = "auto"
    """How the reply's form is asked for. `auto` begins with a JSON schema and remembers what the server takes."""

    cache_name: str | None = Field(default=None, min_length=1)
    """What the cache knows the server by, in place of `base_url`: for one that changes its address and not its model."""

    @field_validator("terms")
    @classmethod
    def _known_terms(cls, terms: tuple[str, ...]) -> tuple[str, ...]:
        known = [term for prompt in PROMPTS for term in load_prompt(prompt).terms]
        if not terms:
            raise ValueError(f"at least one of {', '.join(known)} is needed")
        for term in terms:
            if term not in known:
                raise ValueError(f"no term {term!r}{did_you_mean(term, known)}")
        return tuple(dict.fromkeys(terms))

    @model_validator(mode="after")
    def _agree(self) -> JudgeOptions:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("several samples at temperature 0 are one sample: give a temperature, e.g. 0.7")
        if self.api_version is not None and self.base_url == OPENAI_URL:
            raise ValueError("with api_version, base_url is the endpoint of your Azure resource")
        return self

    def key(self) -> str:
        """The key, read from the environment; empty where none is to be sent.

        Raises:
            ConfigError: one is needed and its variable is not set.
        """
        return find_key(self.api_key_env, self.base_url, azure=self.api_version is not None, file=self.api_key_file)

    def decisive(self) -> str:
        """Everything that can move a score, as JSON."""
        data = self.model_dump(mode="json", exclude=set(_NEUTRAL))
        return json.dumps({**data, "server": self.cache_name or self.base_url}, sort_keys=True)

"""A policy behind an OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, OpenAI, a gateway. It writes text; nobody here has its tokens.

In a file (or as JSON) in place of a policy's name::

    model: Qwen/Qwen2.5-VL-72B-Instruct
    base_url: http://writer:8000/v1
    sees: true

or in short `openai:MODEL@BASE_URL`. What is told to the model is told by `llmi_env.prompting`, as to every other policy; one that `sees` is
given the task's pictures besides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, field_validator

from llmi_env.document import Picture
from llmi_env.policies.base import Sampling
from llmi_env.prompting import PromptStyle
from llmi_env.services.chat_options import ChatOptions
from llmi_env.services.chat_reply import Reply
from llmi_env.services.chat_stream import ChatStream
from llmi_env.services.openai_access import OPENAI, OPENAI_URL, find_key, named_options
from llmi_env.services.sending import DataUrls

__all__ = ["Endpoint", "EndpointOptions"]

_OURS = frozenset(
    {"model", "messages", "stream", "n", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed"}
)


class EndpointOptions(ChatOptions):
    """How an endpoint is reached, what it is told, and what it costs."""

    what: ClassVar[str] = "openai policy"

    base_url: str = OPENAI_URL
    """Address of the API, e.g. `http://127.0.0.1:8000/v1` for vLLM. For Azure, `https://RESOURCE.openai.azure.com/openai/v1`."""

    sees: bool = False
    """Whether the model sees: the task's pictures are then sent with it, besides the words that list them."""

    max_side: int = Field(default=1024, ge=64)
    """Longest side of a picture that is sent, in pixels."""

    max_picture_kb: int = Field(default=512, ge=8)
    """Weight of a picture that is sent, in kB before base64; heavier ones are compressed, then made smaller."""

    prompt: PromptStyle | None = None
    """How its system prompt explains the tools, in place of the configuration's `prompt`: `full` for a model that was not trained here."""

    system_role: bool = True
    """Whether the model knows system messages; for one that does not, the same words begin the user's."""

    takes_temperature: bool = True
    """Whether temperature and top-p are sent; some hosted reasoning models refuse them."""

    timeout: float = Field(default=900.0, gt=0)
    """Seconds that one document may take to be written, whatever of it is slow."""

    idle: float = Field(default=300.0, gt=0)
    """Seconds in which something must come: the first word, or the next one."""

    retries: int = Field(default=5, ge=0)
    """How often a document is begun anew after an overload, an outage or a stream that broke off."""

    server: str | None = Field(default=None, min_length=1)
    """What an evaluation knows the server by, in place of `base_url`: for one that changes its address and not its model."""

    @field_validator("extra_body")
    @classmethod
    def _is_more(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if ours := sorted(_OURS & fields.keys()):
            raise ValueError(f"{', '.join(ours)} have options of their own")
        return fields

    @classmethod
    def named(cls, policy: str) -> EndpointOptions | None:
        """The endpoint that a policy's name stands for; `None` where it is none.

        Args:
            policy: `openai:MODEL` or `openai:MODEL@BASE_URL`; the path of a YAML or JSON file of options; options as JSON.

        Raises:
            ConfigError: an endpoint that cannot be one: no such file, an option that does not exist.

        >>> EndpointOptions.named("openai:smollm2@http://127.0.0.1:8000/v1").base_url
        'http://127.0.0.1:8000/v1'
        """
        options = named_options(policy, cls.what)
        return None if options is None else cls.parse(options)

    def identity(self) -> dict[str, Any]:
        """What of it can move a document, as plain data."""
        moving = ("model", "sees", "system_role", "takes_temperature", "extra_body")
        pictures = ("max_side", "max_picture_kb") if self.sees else ()
        chosen = {name: getattr(self, name) for name in (*moving, *pictures)}
        return {"policy": f"{OPENAI}{self.model}", "server": self.server or self.base_url, **chosen}


class Endpoint:
    """Sends conversations and hands on what the model writes.

    Args:
        options: where to, and within which limits.
    """

    def __init__(self, options: EndpointOptions) -> None:
        self.options = options
        self._urls = DataUrls(options.max_side, options.max_picture_kb * 1000)
        self._stream = ChatStream(options.base_url, self._key, timeout=options.timeout, idle=options.idle)

    async def write(
        self,
        messages: Sequence[Mapping[str, str]],
        pictures: Sequence[Picture],
        take: Callable[[str], bool],
        *,
        max_tokens: int,
        sampling: Sampling,
        seed: int | None = None,
    ) -> Reply:
        """Let the model write one reply, in one try.

        Args:
            messages: a system message and the user's, as text.
            pictures: shown with the user's message, before its text, where the model sees.
            take: is given each piece of text as it comes; when it answers false, the rest is not wanted.
            max_tokens: tokens of the reply, thoughts included.
            sampling: temperature and top-p.
            seed: of sampling, where the server takes one.

        Raises:
            StreamFailed: whatever went wrong on the way.
            ConfigError: a key is needed and not there.
        """
        options = self.options
        chosen: dict[str, Any] = {}
        if options.takes_temperature:
            chosen["temperature"] = sampling.temperature
            chosen["top_p"] = sampling.top_p if sampling.top_p < 1 else None
        # OpenAI's newer models know only the newer name; other servers know the older one for certain.
        length = "max_completion_tokens" if options.base_url == OPENAI_URL else "max_tokens"
        fields = {
            "model": options.model,
            "messages": await asyncio.to_thread(self._messages, messages, pictures),
            **chosen,
            length: max_tokens,
            "seed": seed,
            **options.extra_body,
        }
        return await self._stream.ask(fields, take)

    def cost(self, prompt_tokens: int, tokens: int) -> float | None:
        """In the currency of the prices; `None` where they are not given."""
        return self.options.cost(prompt_tokens, tokens)

    async def aclose(self) -> None:
        """Close the connection; another request opens it again."""
        await self._stream.aclose()

    def _key(self) -> str:
        options = self.options
        return find_key(options.api_key_env, options.base_url, file=options.api_key_file, what=options.what)

    def _messages(self, messages: Sequence[Mapping[str, str]], pictures: Sequence[Picture]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = [dict(message) for message in messages]
        if not self.options.system_role:
            texts = [message["content"] for message in made]
            made = [{"role": "user", "content": "\n\n".join(texts)}]
        if self.options.sees and pictures:
            shown = [{"type": "image_url", "image_url": {"url": self._urls.of(picture)}} for picture in pictures]
            made[-1]["content"] = [*shown, {"type": "text", "text": made[-1]["content"]}]
        return made

"""A language model behind any OpenAI-compatible server, asked for replies of a form, each of which is kept.

Named `openai:MODEL@BASE_URL`, or by its options in a YAML file or as JSON::

    model: Qwen/Qwen3-235B-A22B-Instruct-2507
    base_url: http://writer:8000/v1
    prompt_price: 0.2 # of a million tokens
    completion_price: 0.6

Three things that go wrong are kept apart. A server that fails is tried again and then `Lost`: nothing is said of the task. A model that
refuses, or whose reply is cut, has `Declined`. A reply that cannot be read is asked for again; when tries are used up, that too is the model's
answer.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import time
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, Field, model_validator

from llmi_env.errors import ConfigError, MissingExtra
from llmi_env.judges.chat import Chat, counting
from llmi_env.judges.openai_options import JudgeOptions
from llmi_env.judges.reply import UnreadableReply
from llmi_env.services.asking import FORMS, NoReply, messages, response_format
from llmi_env.services.openai_access import named_options
from llmi_env.services.sending import DataUrls
from llmi_env.task_data.kept import Exchange, Kept
from llmi_env.task_data.replies import Ask, read

__all__ = ["Declined", "Lost", "Model", "ModelOptions", "model_options"]

_log = logging.getLogger(__name__)
_OF_JUDGES = ("terms", "samples", "max_pictures", "cache_name")
M = TypeVar("M", bound=BaseModel)


class Declined(Exception):
    """Raised when a model gave no answer that can be used: it refused, was cut, or was not readable. The message says which."""


class Lost(Exception):
    """Raised when a server failed, so that nothing is known. The message says how."""


class ModelOptions(JudgeOptions):
    """How a model is reached, sampled and paid for: the options of an OpenAI-compatible judge, without what is about judging."""

    what: ClassVar[str] = "language model"

    sees: bool = False
    """Whether input pictures are sent."""

    temperature: float | None = Field(default=1.0, ge=0, le=2)
    """Temperature of sampling; null leaves it to the server."""

    max_tokens: int | None = Field(default=4096, ge=16)
    """Tokens of a reply, thoughts included; null leaves it to the server."""

    timeout: float = Field(default=300.0, gt=0)
    """Seconds that one request may take."""

    @model_validator(mode="after")
    def _not_of_judges(self) -> ModelOptions:
        if given := [name for name in _OF_JUDGES if name in self.model_fields_set]:
            raise ValueError(f"{', '.join(given)} is about judging documents")
        return self

    def identity(self) -> dict[str, Any]:
        """What of it can move a reply, as plain data."""
        told: dict[str, Any] = json.loads(self.decisive())
        return {name: value for name, value in told.items() if name not in (*_OF_JUDGES, "structured")}


def model_options(name: str, **otherwise: Any) -> ModelOptions:
    """The options of a model by its name.

    Args:
        name: `openai:MODEL` or `openai:MODEL@BASE_URL`; the path of a YAML or JSON file of options; options as JSON.
        otherwise: options that hold where these do not say.

    Raises:
        ConfigError: no such file, or an option that does not exist.

    >>> model_options("openai:qwen@http://127.0.0.1:8000/v1").base_url
    'http://127.0.0.1:8000/v1'
    """
    options = named_options(name, ModelOptions.what)
    if options is None:
        raise ConfigError(
            f"no {ModelOptions.what} {name!r}: openai:MODEL@http://127.0.0.1:8000/v1, or a YAML file of options is expected"
        )
    return ModelOptions.parse({**otherwise, **options})


@dataclass(frozen=True)
class Place:
    """Where in a build a question belongs.

    Attributes:
        slot: number of the task in the plan.
        attempt: which version of it, from 0.
    """

    slot: int
    attempt: int


class _Connection(Chat):
    """Tells a model that would not answer, or not to the end, from a server that failed."""

    def _text(self, data: bytes) -> str:
        try:
            return super()._text(data)
        except NoReply as error:
            if error.again:
                raise
            raise Declined(error.reason) from None


class Model:
    """Asks one model, and only what was not asked before.

    Args:
        options: where it is and how it is sampled.
        kept: where replies are kept and found again.

    Raises:
        MissingExtra: the package `openai` is not installed.
    """

    def __init__(self, options: ModelOptions, kept: Kept) -> None:
        if importlib.util.find_spec("openai") is None:
            raise MissingExtra("asking an OpenAI-compatible server", "judges", "openai")
        self.options = options
        self.asked = 0
        """Replies that came now, and not from what was kept."""
        self._kept = kept
        self._chat = _Connection(options)
        self._urls = DataUrls(options.max_side, options.max_picture_kb * 1000)
        self._forms = list(FORMS if options.structured == "auto" else (options.structured,))
        self._sure = len(self._forms) == 1

    @property
    def retries(self) -> int:
        """Requests that were tried again because a server failed."""
        return self._chat.usage.retries

    async def reply(self, ask: Ask, form: type[M], place: Place) -> M:
        """Its answer, in the form that was asked for.

        Raises:
            Declined: there is none that can be used.
            Lost: the server failed.
            ConfigError: a key is needed and not there.
        """
        said = ""
        for repeat in range(self.options.retries + 1):
            key = (place.slot, place.attempt, ask.stage, repeat, ask.digest)
            exchange = self._kept.exchanges.get(key)
            if exchange is None:
                exchange = await self._exchange(ask, place, repeat)
                self._kept.add(exchange)
                self.asked += 1
            if exchange.reply is None:
                raise Declined(exchange.declined)
            try:
                answer = read(exchange.reply, form)
            except UnreadableReply as error:
                said = str(error)
                self._next_form()
            else:
                self._sure = True
                return answer
        raise Declined(f"no reply of {self.options.retries + 1} can be read: {said}")

    async def aclose(self) -> None:
        """Close the connection; may be called twice."""
        await self._chat.aclose()

    async def _exchange(self, ask: Ask, place: Place, repeat: int) -> Exchange:
        started = time.perf_counter()
        text, declined = None, ""
        with counting() as spent:
            try:
                text = await self._text(ask, place, repeat)
            except Declined as error:
                declined = str(error)
        return Exchange(
            slot=place.slot,
            attempt=place.attempt,
            stage=ask.stage,
            repeat=repeat,
            digest=ask.digest,
            model=self.options.model,
            asked=ask.request.text,
            reply=text,
            declined=declined,
            prompt_tokens=spent.prompt_tokens,
            completion_tokens=spent.completion_tokens,
            seconds=round(time.perf_counter() - started, 3),
        )

    async def _text(self, ask: Ask, place: Place, repeat: int) -> str:
        asked = await messages(ask.request.system, ask.request.parts, self._urls)
        # A seed of its own for each question, or the same order would bring the same task.
        seed = self.options.seed
        seed = None if seed is None else (seed + 1_000_003 * place.slot + 1009 * place.attempt + repeat) % 2**31
        while True:
            form = self._forms[0]
            wanted = response_format(form, ask.stage, ask.schema)
            try:
                return await self._chat.tries()(self._chat.ask, asked, wanted, seed)
            except NoReply as error:
                if not error.refused or not self._next_form(form):
                    raise Lost(error.reason) from None

    def _next_form(self, tried: str = "") -> bool:
        """Ask for replies in the next form, where it is not known that the server takes this one; says whether there is another to try."""
        if tried and tried != self._forms[0]:  # somebody else has found out meanwhile
            return True
        if self._sure or len(self._forms) == 1:
            return False
        _log.info("%s does not keep to response_format=%s", self.options.base_url, self._forms[0])
        del self._forms[0]
        return True

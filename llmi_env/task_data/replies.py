"""What the two models are asked and how their replies are read: strictly, nothing guessed.

Models are sloppy and may be worse: a question is another model's text, and a reply may quote it. So a reply is one JSON object and nothing
else, of the very form that was asked for; anything else is unreadable, and asked for again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Template
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmi_env.calls import BUILTIN
from llmi_env.document import Picture
from llmi_env.judges.prompt import Request, clean
from llmi_env.judges.reply import UnreadableReply, read_object
from llmi_env.services.refusals import quoted
from llmi_env.task import LONE_SURROGATE
from llmi_env.task_data.plan import Slot
from llmi_env.yaml_text import parse_yaml

__all__ = ["Ask", "Draft", "Reading", "prompt_digest", "to_validate", "to_write"]

Need = Literal["needed", "possible", "no"]
M = TypeVar("M", bound=BaseModel)


class Shown(BaseModel):
    """One picture of a good answer."""

    model_config = ConfigDict(strict=True)

    tool: Literal["search", "diffusion", "code", "edit"]
    shows: str = Field(min_length=1, max_length=2000)


class Draft(BaseModel):
    """What the writer says."""

    model_config = ConfigDict(strict=True)

    question: str = Field(min_length=1, max_length=8000)
    pictures: Annotated[list[Shown], Field(max_length=20)]


class Reading(BaseModel):
    """How the second model reads a question."""

    model_config = ConfigDict(strict=True)

    reason: str = Field(max_length=4000)
    image_count: Literal["none", "any", "at_least_one", "exactly"]
    exact: int = Field(ge=0, le=100)
    search: Need
    diffusion: Need
    code: Need
    edit: Need
    names_tool: bool
    complete: bool
    harmless: bool
    natural: bool


@dataclass(frozen=True)
class Ask:
    """One question to a model.

    Attributes:
        stage: `write` or `validate`.
        request: system message and the user's, pictures in place.
        schema: of the reply, for servers that keep to one.
    """

    stage: Literal["write", "validate"]
    request: Request
    schema: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Of all that is asked, pictures by their pixels."""
        parts = [part.digest if isinstance(part, Picture) else part for part in self.request.parts]
        body = json.dumps([self.stage, self.request.system, parts], sort_keys=True)
        return hashlib.sha256(body.encode()).hexdigest()[:32]


def to_write(slot: Slot, language: str, *, sees: bool, before: tuple[str, Sequence[str]] | None = None) -> Ask:
    """The order of one task.

    Args:
        slot: what is ordered.
        language: of the task.
        sees: whether the model is shown input pictures, besides being told of them.
        before: the last version, which was not taken, and the reasons.
    """
    texts = _prompt("writer")
    count = slot.image_count
    wish = texts["wishes"]["exactly" if isinstance(count, int) else count]
    names = {"edit": "edit_given" if slot.given else "edit_earlier"}
    needs = (
        [texts["needs"]["head"], *(texts["needs"][names.get(tool, tool)] for tool in slot.tools)] if slot.tools else []
    )
    told = ""
    if before is not None:
        told = Template(texts["again"]).substitute(question=json.dumps(before[0]), reasons="; ".join(before[1]))
    values = {
        "number": slot.number,
        "topic": slot.topic,
        "text": slot.text,
        "asker": slot.asker,
        "wish": Template(wish).substitute(count=count).strip(),
        "needs": "\n".join(needs),
        "given": _given(texts, slot),
        "again": told,
    }
    system = Template(texts["system"]).substitute(language=language)
    return Ask("write", Request(system, _shown(Template(texts["user"]).substitute(values), slot, sees)), _DRAFT)


def to_validate(question: str, slot: Slot, *, sees: bool, seed: str) -> Ask:
    """The question to the second model, which is told nothing of the order but the input pictures.

    Args:
        question: the task as it was written.
        slot: its order.
        sees: whether the model is shown the pictures.
        seed: of the mark around the question: not known to whoever wrote it, and the same when the build goes on after a kill.
    """
    texts = _prompt("validator")
    nonce = hashlib.sha256(f"{seed}:{slot.number}:{question}".encode()).hexdigest()[:16]
    values = {"nonce": nonce, "question": clean(question), "given": _given(texts, slot)}
    system = Template(texts["system"]).substitute(nonce=nonce)
    return Ask("validate", Request(system, _shown(Template(texts["user"]).substitute(values), slot, sees)), _READING)


def read(text: str, form: type[M]) -> M:
    """Read a reply; thoughts before it and one code fence around it are left out.

    Raises:
        UnreadableReply: anything but one object of that form.
    """
    fields = read_object(text)
    if LONE_SURROGATE.search(json.dumps(fields, ensure_ascii=False)) is not None:
        raise UnreadableReply(f"half a character in {quoted(text)}")
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UnreadableReply(f"{place}: {first['msg']}, in {quoted(text)}") from None


@cache
def prompt_digest() -> str:
    """Changes with the wording of both prompts."""
    body = json.dumps([_prompt("writer"), _prompt("validator")], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:16]


@cache
def _prompt(name: str) -> dict[str, Any]:
    file = resources.files("llmi_env.task_data") / "prompts" / f"{name}.yaml"
    return parse_yaml(file.read_text(encoding="utf-8"), f"prompt {name!r}")


def _given(texts: Mapping[str, Any], slot: Slot) -> str:
    if not slot.given:
        return ""
    line = Template(texts["given"]["picture"])
    lines = [
        line.substitute(index=index, caption=" ".join(clean(each.caption).split())[:300])
        for index, each in enumerate(slot.given)
    ]
    return "\n" + "\n".join([texts["given"]["head"].strip(), *lines])


def _shown(text: str, slot: Slot, sees: bool) -> tuple[str | Picture, ...]:
    return (text, *(each.picture for each in slot.given)) if sees else (text,)


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


_TEXT, _TRUTH = {"type": "string"}, {"type": "boolean"}
_TOOL = {"type": "string", "enum": list(BUILTIN)}
_NEED = {"type": "string", "enum": ["needed", "possible", "no"]}
_DRAFT = _object(question=_TEXT, pictures={"type": "array", "items": _object(tool=_TOOL, shows=_TEXT)})
_READING = _object(
    reason=_TEXT,
    image_count={"type": "string", "enum": ["none", "any", "at_least_one", "exactly"]},
    exact={"type": "integer"},
    **dict.fromkeys(BUILTIN, _NEED),
    **dict.fromkeys(("names_tool", "complete", "harmless", "natural"), _TRUTH),
)

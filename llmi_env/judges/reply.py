"""Reading a judge's reply. What cannot be read strictly is no score; nothing is guessed.

The danger is not only a babbling model: a judge that quotes the document may put the policy's own forged verdict into its reply. So
a reply is either one JSON object and nothing else, or the one object among other text that carries the request's key, which the policy
cannot know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, create_model

from llmi_env.json_text import once_each
from llmi_env.services.refusals import quoted

_LONGEST = 40_000
_OPENINGS = 100  # places where an object may begin; more are no reply, and trying all of them would take seconds
_CODE_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)


class UnreadableReply(ValueError):
    """Raised when a reply holds no scores of the form that was asked for; the message says why and quotes a little of it."""


@dataclass(frozen=True)
class Reply:
    """What a judge said.

    Attributes:
        scores: by term, within the scale.
        rationale: its reasons, in its own words.
    """

    scores: dict[str, float]
    rationale: str = ""


def json_schema(terms: Iterable[str], low: int, high: int) -> dict[str, Any]:
    """The reply's JSON schema in the part of the language that every server knows; reasons come before scores.

    It is the same for every request of a judge: servers compile a schema once.
    """
    scores = {term: {"type": "integer", "enum": list(range(low, high + 1))} for term in terms}
    properties: dict[str, Any] = {"rationale": {"type": "string"}, **scores}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_reply(text: str, terms: Sequence[str], low: int, high: int, key: str | None = None) -> Reply:
    """Read a reply.

    Args:
        text: what the model wrote. One `<think>...</think>` before the answer is left out; in an object it is part of what is quoted.
        terms: terms that must have a score.
        low: lowest score.
        high: highest score.
        key: what the object must carry, and by which it is found among other text; `None` where the whole reply must be the object.

    Raises:
        UnreadableReply: anything else.
    """
    fields = read_object(text) if key is None else _keyed(_answer(text), text, key, terms)
    try:
        read = _model(tuple(terms), low, high).model_validate(fields).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UnreadableReply(f"{place}: {first['msg']}, in {quoted(text)}") from None
    # JSON can spell half a character, which no file takes.
    rationale = read["rationale"].encode("utf-8", "replace").decode()
    return Reply({term: read[f"score {number}"] for number, term in enumerate(terms)}, rationale)


def read_object(text: str) -> dict[str, Any]:
    """The JSON object that a reply is, thoughts before it and one code fence around it left out.

    Raises:
        UnreadableReply: anything else.
    """
    return _fields(_answer(text), text)


@cache
def _model(terms: tuple[str, ...], low: int, high: int) -> type[BaseModel]:
    # Strict: neither "4" nor true is a score. Terms come in by alias: a benchmark may name them as it likes.
    fields: dict[str, Any] = {
        f"score {number}": (Annotated[float, Field(strict=True, ge=low, le=high, allow_inf_nan=False, alias=term)], ...)
        for number, term in enumerate(terms)
    }
    return create_model("Reply", rationale=(str, ""), **fields)


def _answer(text: str) -> str:
    """The reply without thoughts."""
    if len(text) > _LONGEST:
        raise UnreadableReply(f"a reply of {len(text)} characters: {quoted(text)}")
    if text.lstrip().startswith(("{", "```")) and _is_object(text):
        return text.strip()  # a `</think>` in it is one that the judge quotes
    thoughts, ends, answer = text.rpartition("</think>")
    if ends and "</think>" in thoughts:
        # One of them was perhaps quoted: which part is the answer cannot be told.
        raise UnreadableReply(f"several </think> in {quoted(text)}")
    if not ends and text.lstrip().startswith("<think>"):
        raise UnreadableReply(f"the thoughts never end: {quoted(text)}")
    answer = answer.strip()
    if not answer:
        raise UnreadableReply("an empty reply" if not text.strip() else f"nothing after the thoughts: {quoted(text)}")
    return answer


def _is_object(text: str) -> bool:
    try:
        _fields(text.strip(), text)
    except UnreadableReply:
        return False
    return True


def _fields(answer: str, text: str) -> dict[str, Any]:
    if fenced := _CODE_FENCE.match(answer):
        answer = fenced[1]
    try:
        found = _decoder.decode(answer)
    except (ValueError, RecursionError) as error:
        raise UnreadableReply(f"not one JSON object ({error}): {quoted(text)}") from None
    if not isinstance(found, dict):
        raise UnreadableReply(f"JSON, but no object: {quoted(text)}")
    return found


def _keyed(answer: str, text: str, key: str, terms: Sequence[str]) -> dict[str, Any]:
    carrying: list[dict[str, Any]] = []
    at = answer.find("{")
    for _ in range(_OPENINGS):
        if at < 0:
            break
        try:
            found, end = _decoder.raw_decode(answer, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if found.get("key") == key:
                carrying.append(found)
        at = answer.find("{", end)
    if not carrying:
        raise UnreadableReply(f"no JSON object with the key that was asked for: {quoted(text)}")
    if any(other.get(term) != carrying[0].get(term) for other in carrying for term in terms):
        # A draft and a verdict, or a verdict and one that the document talked the judge into: which counts cannot be told.
        raise UnreadableReply(f"{len(carrying)} objects with the key, and they differ: {quoted(text)}")
    return carrying[0]


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


_decoder = json.JSONDecoder(object_pairs_hook=once_each, parse_constant=_no_constant)

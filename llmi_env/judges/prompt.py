"""Prompts of judges: what a model is told before it scores a document.

The wording stands in `prompts/*.yaml`, each file with a version. A document is hostile: it was written by a policy that is paid for high
scores. Three things keep it data:

- it stands between marks with a nonce that is fresh for each request, so that no text can close the fence or imitate a mark;
- what a chat template might read as a control token is spaced out by its shape, so are runs of `<` like those of our marks, and what
  a person would not see is taken out (see `llmi_env.visible_text`);
- a reply that stands among other text counts only if it carries a second secret, the key (see `reply`).
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Template
from types import MappingProxyType
from typing import Any, Literal

from llmi_env.document import Document, Figure, Picture, Text
from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.task import Task
from llmi_env.visible_text import defused, visible
from llmi_env.yaml_text import parse_yaml

NOTHING_TO_JUDGE = 5.0
"""Score of a term that is about pictures or calls where there are none: LLM-I's rule, which reward presets may overrule."""

Material = Mapping[str, Sequence[str | Picture]]
"""What a judge sees besides task and document: texts and pictures in order, under a heading each."""

NO_MATERIAL: Material = MappingProxyType({})
"""Nothing of the kind."""

_CAPTION = 300
_LAYOUTS = {"layout", "material"}
_BEFORE_DOCUMENT = "<<<DOCUMENT"  # where material stands; the layout itself says nothing of it


@dataclass(frozen=True)
class Fence:
    """The secrets of one request. They never enter a cache key.

    Attributes:
        nonce: marks what is data.
        key: what a reply must carry where it may stand among other text.
    """

    nonce: str
    key: str

    @classmethod
    def fresh(cls) -> Fence:
        """A new one: 64 bits that nobody has seen."""
        return cls(secrets.token_hex(8), secrets.token_hex(4))


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        name: of its file.
        version: raised with every change of wording.
        layout: `source` shows the document as written, calls as text; `pictures` shows it as a reader sees it.
        low: lowest score.
        high: highest score.
        terms: what to look for, by term.
        system: the system message, with places for criteria, scale and nonce.
        digest: of the wording: part of a judge's fingerprint.
    """

    name: str
    version: int
    layout: Literal["source", "pictures"]
    low: int
    high: int
    terms: Mapping[str, str]
    system: str
    digest: str

    @property
    def id(self) -> str:
        """Name and version, e.g. `text/1`."""
        return f"{self.name}/{self.version}"

    def nothing_to_judge(self, term: str, document: Document) -> str:
        """What the document lacks for `term` to be about anything: "no picture", "no call" or ""."""
        if self.layout == "pictures":
            return "" if document.pictures else "no picture"
        return "no call" if term == "call_quality" and not document.figures else ""

    def render(
        self,
        document: Document,
        task: Task,
        criteria: Mapping[str, str],
        fence: Fence,
        *,
        keyed: bool = False,
        reply: Literal["json", "digit"] = "json",
        max_pictures: int = 16,
        material: Material = NO_MATERIAL,
    ) -> Request:
        """The messages for one document.

        Args:
            document: what was written.
            task: what was asked for.
            criteria: what to look for, by term; a selection of `terms`, or a benchmark's own.
            fence: secrets of this request.
            keyed: whether the reply is to carry the fence's key.
            reply: its form: an object with all scores, or one digit where there is one criterion.
            max_pictures: how many pictures of the document, of the task, and of the material are shown at most; they are taken evenly.
            material: what stands before the document besides the task, by headings: a reference answer, an image to compare with.
        """
        layout = _layout()
        told = {**({"key": fence.key} if keyed else {}), "rationale": layout["rationale"]}
        fields = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in told.items()]
        shape = "{" + ", ".join([*fields, *(f"{json.dumps(name)}: N" for name in criteria)]) + "}"
        count = task.image_count
        wish = layout["wishes"]["exactly" if isinstance(count, int) else count]
        scale = {"low": self.low, "high": self.high, "shape": shape, "keyed": layout["keyed"] if keyed else ""}
        values = {
            "nonce": fence.nonce,
            "low": self.low,
            "high": self.high,
            "between": _between(self.low, self.high),
            "criteria": "\n".join(f"- {name}: {_flat(text)}" for name, text in criteria.items()),
            "question": clean(task.question),
            "wish": Template(wish).substitute(count=count),
            "reply": Template(layout["replies"][reply]).substitute(scale),
        }
        places: dict[str, list[str | Picture]] = {
            "$given": list(_given(task, fence, self.layout == "pictures", max_pictures)),
            "$document": [clean(as_written(document))]
            if self.layout == "source"
            else list(_laid_out(document, fence, max_pictures)),
        }
        before, mark, after = layout["user"].partition(_BEFORE_DOCUMENT)
        parts = [
            *_filled(before, values, places),
            *_material(material, fence, self.layout == "pictures", max_pictures),
            *_filled(mark + after, values, places),
        ]
        return Request(Template(self.system).substitute(values), tuple(_joined(parts)))


@dataclass(frozen=True)
class Request:
    """What is sent to a model.

    Attributes:
        system: the system message.
        parts: the user's message: texts and pictures in order, two texts never side by side.
    """

    system: str
    parts: tuple[str | Picture, ...]

    @property
    def text(self) -> str:
        """The user's message without its pictures."""
        return "".join(part for part in self.parts if isinstance(part, str))


@cache
def load_prompt(name: str) -> Prompt:
    """A prompt by name: `text`, `multimodal`, `rubric`, or one of a benchmark's.

    Raises:
        ConfigError: there is none of that name.
    """
    folder = resources.files("llmi_env.judges") / "prompts"
    names = {file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")} - _LAYOUTS
    if name not in names:
        raise ConfigError(f"no prompt of judges {name!r}{did_you_mean(name, names)}")
    data = parse_yaml((folder / f"{name}.yaml").read_text(encoding="utf-8"), f"prompt {name!r}")
    low, high = data.pop("scale")
    body = json.dumps([data, low, high, _layout()], sort_keys=True)
    return Prompt(low=low, high=high, digest=hashlib.sha256(body.encode()).hexdigest()[:16], **data)


def material_digest() -> str:
    """Of how material is laid out: part of what a judge was asked where there is any."""
    return hashlib.sha256(json.dumps(_layout("material"), sort_keys=True).encode()).hexdigest()[:16]


@cache
def _layout(name: Literal["layout", "material"] = "layout") -> dict[str, Any]:
    file = resources.files("llmi_env.judges") / "prompts" / f"{name}.yaml"
    return parse_yaml(file.read_text(encoding="utf-8"), f"{name} of prompts")


def clean(text: str) -> str:
    """`text` as a person would read it: nothing invisible, no half characters, and no control token; cleaned twice it is the same."""
    return defused(visible(text))


def as_written(document: Document) -> str:
    """The document with its calls as text, all between the tags that judges are told of: those of tool calls are a chat template's own."""
    return "".join(
        block.text if isinstance(block, Text) else f"<imgen>{block.raw}" + ("</imgen>" if block.closed else "")
        for block in document
    )


def _between(low: int, high: int) -> str:
    """The scores for what is met in part; on a scale of two that is as good as not."""
    return str(max(low, high - 1)) if high - low <= 2 else f"{low + 1} to {high - 1}"


def _filled(
    text: str, values: Mapping[str, Any], places: Mapping[str, Sequence[str | Picture]]
) -> Iterator[str | Picture]:
    for piece in re.split(r"(\$given|\$document)", text):
        if piece in places:
            yield from places[piece]
        else:
            yield Template(piece).substitute(values)


def _material(material: Material, fence: Fence, seeing: bool, most: int) -> Iterator[str | Picture]:
    pictures = sum(isinstance(part, Picture) for parts in material.values() for part in parts)
    shown, at = set(evenly(pictures, most)) if seeing else set(), 0
    for heading, parts in material.items():
        values = {"nonce": fence.nonce, "heading": _caption(heading)}
        yield f"{Template(_layout('material')['begin']).substitute(values)}\n"
        for part in parts:
            if isinstance(part, str):
                yield f"{clean(part)}\n"
                continue
            if at in shown:
                yield part
                yield "\n"
            else:
                yield f"{Template(_layout('material')['unseen']).substitute(values)}\n"
            at += 1
        yield f"{Template(_layout('material')['end']).substitute(values)}\n\n"


def _flat(text: str) -> str:
    return " ".join(clean(text).split())


def _caption(text: str) -> str:
    flat = _flat(text)
    return flat if len(flat) <= _CAPTION else flat[:_CAPTION] + "..."


def _line(name: str, fence: Fence, index: int, caption: str, reason: str = "") -> str:
    values = {"nonce": fence.nonce, "index": index, "caption": _caption(caption) or "(nothing said)", "reason": reason}
    return f"\n{Template(_layout()[name]).substitute(values)}\n"


def _given(task: Task, fence: Fence, seeing: bool, most: int) -> Iterator[str | Picture]:
    shown = set(evenly(len(task.images), most)) if seeing else set()
    for index, picture in enumerate(task.images):
        caption = picture.provenance.caption or picture.provenance.title
        yield _line("given" if index in shown else "given_unseen", fence, index, caption)
        if index in shown:
            yield picture


def _laid_out(document: Document, fence: Fence, most: int) -> Iterator[str | Picture]:
    came = [index for index, figure in enumerate(document.figures) if figure.picture is not None]
    shown = {came[at] for at in evenly(len(came), most)}
    index = -1
    for block in document:
        if isinstance(block, Text):
            yield clean(block.text)
            continue
        index += 1
        caption = block.call.description if block.call is not None else "a call that cannot be read"
        if block.picture is None:
            yield _line("figure_missing", fence, index, caption, _reason(block))
        elif index in shown:
            yield _line("figure", fence, index, caption)
            yield block.picture
            yield "\n"
        else:
            yield _line("figure_unseen", fence, index, caption)


def _reason(figure: Figure) -> str:
    return figure.failure.kind if figure.failure is not None else "pending"


def evenly(count: int, most: int) -> Sequence[int]:
    """At most `most` of `count` places, spread evenly, the first and the last among them.

    >>> evenly(10, 4)
    [0, 3, 6, 9]
    """
    if count <= most:
        return range(count)
    return [round(at * (count - 1) / max(most - 1, 1)) for at in range(most)]


def _joined(parts: Sequence[str | Picture]) -> Iterator[str | Picture]:
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
        yield part
        text = ""
    if text:
        yield text

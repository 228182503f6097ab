"""The embedded judge: scores documents offline, in milliseconds, without a language model as judge.

It stands in for one and says so in every rationale: these are *proxies*, made of text embeddings (MiniLM), word lists, provenance, pixel
measures and a coarse look at what a picture shows. What each of them can tell apart, and what it cannot, is measured in
`benchmarks/results/calibration.md`.

Scores are deterministic: each text is embedded on its own and each document judged on its own, so the company it is judged in cannot
move a score.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmi_env.document import Document, Figure, Text
from llmi_env.errors import ConfigError, MissingExtra, did_you_mean
from llmi_env.judges.call_proxy import NeedTable, call_traits, code_strings, wish
from llmi_env.judges.chart_fit import chart_of
from llmi_env.judges.chart_proxy import SHAPES
from llmi_env.judges.grammar import Grammar
from llmi_env.judges.image_proxy import (
    Evidence,
    PixelTraits,
    evidence,
    fit_to_question,
    fit_to_text,
    ink,
    looks_like,
    pixel_traits,
)
from llmi_env.judges.naming import misnamed
from llmi_env.judges.picture_text import PictureText
from llmi_env.judges.picture_words import PictureWords, agreement
from llmi_env.judges.relevance import Embed, Meanings
from llmi_env.judges.remembering import remembering
from llmi_env.judges.text_proxy import count_orders, text_traits
from llmi_env.task import Task
from llmi_env.torch_threads import torch_threads
from llmi_env.world.protocol import Judgment, Scored

TERMS = ("text_quality", "call_quality", "image_quality", "task_relevance", "text_image_relevance")
VERSION = "embedded/7"
"""Raised whenever a score can come out otherwise, for readers of reports; the cache goes by the `fingerprint`, which looks for itself."""
MADE_OF = (
    "addressed", "call_proxy", "caption_fit", "chart_fit", "chart_program", "chart_proxy", "edit_fit", "embedded", "given", "grammar",
    "image_proxy", "naming", "needs", "particular", "picture_features", "picture_text", "picture_words", "relevance", "remembering",
    "sentence_form", "spelling", "text_proxy",
)  # fmt: skip
"""Modules of this folder that a score comes from; besides them, what reads an edit's instruction."""

_CACHED_PICTURES = 512
_SOFTENING = re.compile(r"\b(?:blur|soft|smooth|out of focus)", re.IGNORECASE)
_IMPOSSIBLE = frozenset({"malformed", "unknown_tool", "bad_params"})
_BRIBED = 0.2  # a picture with words for the judge in it
_MISNAMED = 0.3  # a picture under another's name
_UNCHECKED = 0.15  # a call that can be read but not carried out


class EmbeddedJudge:
    """Proxies for all five judged terms.

    Args:
        terms: which terms to score; all by default.
        looks: compare what pictures look like with what is told of them (a tenth of a second for a new picture); without it the caption
            alone counts, so that a wrong picture behind a right caption passes.
        spelling: look words up in the embedding model's vocabulary.
        ocr: read the words in pictures: labels of charts, and what is meant for whoever scores. Needs the extra `ocr`; off by default, since it
            takes more than a second for a new picture, ten times the rest.
        grammar: compare the text with its own words in other orders under SmolLM2-135M (`grammar.py`), besides what `sentence_form.py`
            tells at once. Off by default, since it takes half a gigabyte of memory and more time than the rest together.
        embed: texts to unit vectors; MiniLM (`llmi_env.embeddings`) by default, loaded on the first document. What `looks` knows was learnt
            on MiniLM, and with another model nothing is known of how sentences are put together (`sentence_form.py`).

    Raises:
        ConfigError: for a term that it does not know.
        MissingExtra, AssetError: when what it stands on is not installed.
    """

    version = VERSION

    def __init__(
        self,
        terms: Sequence[str] = TERMS,
        looks: bool = True,
        spelling: bool = True,
        ocr: bool = False,
        grammar: bool = False,
        embed: Embed | None = None,
    ) -> None:
        if isinstance(terms, str) or not terms:
            raise ConfigError(
                f"embedded judge: `terms` is a list with at least one of {', '.join(TERMS)}, not {terms!r}"
            )
        for term in terms:
            if term not in TERMS:
                raise ConfigError(f"embedded judge: no term {term!r}{did_you_mean(term, TERMS)}")
        self._terms = tuple(dict.fromkeys(terms))
        if embed is None:
            _check_installed()
        self._looks, self._spelling, self._ocr = looks, spelling, ocr
        self._embed, self._grammar = embed, Grammar() if grammar else None
        self._meanings = Meanings(embed or _minilm)
        self._form = _form if embed is None else None
        self._pictures = PictureText(self._meanings) if looks else None
        self._words = PictureWords() if ocr else None
        self._needs = NeedTable(self._meanings)
        self._pixel_traits = remembering(_CACHED_PICTURES, pixel_traits)
        self._inked = remembering(_CACHED_PICTURES, ink)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that it scores."""
        return self._terms

    @property
    def concurrency(self) -> int:
        """Documents that it takes at the same time: each computes on one thread."""
        return os.cpu_count() or 1

    @property
    def fingerprint(self) -> str:
        """Everything of it that can move a score; judgments may be kept under it."""
        # another embedder is kept apart, at worst for this process only
        embed = "minilm" if self._embed is None else repr(self._embed)
        options = f"terms={','.join(self._terms)} looks={self._looks} spelling={self._spelling} ocr={self._ocr}"
        if self._grammar is not None:
            options += f" grammar={self._grammar.model}"
        return f"{VERSION} {_made_of()} {options} embed={embed}"

    async def __call__(self, document: Document, task: Task) -> dict[str, Judgment]:
        """Judge one document in a thread of its own."""
        return await asyncio.to_thread(self.judge, document, task)

    async def aclose(self) -> None:
        """Forget what was cached; the embedding model belongs to the process."""
        self._pixel_traits.cache_clear()
        self._inked.cache_clear()
        for looking in (self._pictures, self._words, self._grammar):
            if looking is not None:
                looking.forget()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as its options: models and caches stay behind."""
        return type(self), (self._terms, self._looks, self._spelling, self._ocr, self._grammar is not None, self._embed)

    def prepare(self) -> None:
        """Load models and example needs now, not on the first document."""
        self._needs.probabilities("a picture")
        if self._pictures is not None:
            self._pictures.load()
        if self._grammar is not None:
            self._grammar.load()

    def judge(self, document: Document, task: Task) -> dict[str, Judgment]:
        """The same, blocking."""
        with torch_threads(1):
            placed = _placed(document, task, self._meanings if "call_quality" in self._terms else None)
            return {term: getattr(self, f"_{term}")(document, task, placed) for term in self._terms}

    # ------------------------------------------------------------------------------------------------------------- terms

    def _text_quality(self, document: Document, task: Task, placed: _Placed) -> Scored:
        text = " ".join(block.text.strip() for block in document if isinstance(block, Text)).strip()
        if not text:
            return _scored(0.0, "no text")
        traits = text_traits(text, task.question, self._meanings, self._spelling, self._form)
        if self._grammar is not None:
            traits = replace(traits, order=traits.order * self._grammar.trait(text))
        return _scored(
            traits.product, f"weakest: {traits.weakest.replace('_', ' ')} {getattr(traits, traits.weakest):.2f}"
        )

    def _call_quality(self, document: Document, task: Task, placed: _Placed) -> Scored:
        if not placed:
            return _scored(1.0, "no call")
        judged = [self._call_value(item, task, len(task.images) + index) for index, item in enumerate(placed)]
        value, why = min(judged)
        return _scored(
            _worst_weighted([value for value, _ in judged]) * _fresh(placed),
            f"{len(judged)} calls, worst {value:.2f}: {why}",
        )

    def _call_value(self, item: _Place, task: Task, sources: int) -> tuple[float, str]:
        call, failure = item.figure.call, item.figure.failure
        if call is None:
            return 0.0, "cannot be read"
        traits = call_traits(item.figure, item.before, item.after, task.question, sources, self._meanings, self._needs)
        if item.misnamed:
            traits = replace(traits, honest=min(traits.honest, _MISNAMED))
        why = f"{traits.weakest.replace('_', ' ')} {getattr(traits, traits.weakest):.2f}"
        if failure is not None and failure.kind in _IMPOSSIBLE:
            return traits.value * _UNCHECKED, f"cannot be carried out; {why}"
        return traits.value, why

    def _image_quality(self, document: Document, task: Task, placed: _Placed) -> Scored:
        if not document.pictures:
            return _scored(1.0, "no picture")
        judged = [self._seen_quality(item) for item in placed if item.figure.picture is not None]
        value, why = min(judged)
        return _scored(_worst_weighted([value for value, _ in judged]), f"worst {value:.2f}: {why}")

    def _seen_quality(self, item: _Place) -> tuple[float, str]:
        traits, call = self._measured(item), item.figure.call
        if call is not None and call.tool == "code":
            if (chart := chart_of(call, item.figure.picture)).value < SHAPES:
                return traits.value * (0.1 + 0.9 * chart.value), chart.why
            if item.figure.picture is not None and (shown := self._inked(item.figure.picture)) < 1:
                return traits.value * (0.1 + 0.9 * shown), "hardly anything is drawn"
        return traits.value, f"{traits.weakest} {getattr(traits, traits.weakest):.2f}"

    def _task_relevance(self, document: Document, task: Task, placed: _Placed) -> Scored:
        return self._relevance(
            task,
            placed,
            lambda item: fit_to_question(item.figure, item.seen, task.question, self._meanings),
            "question",
        )

    def _text_image_relevance(self, document: Document, task: Task, placed: _Placed) -> Scored:
        return self._relevance(
            task,
            placed,
            lambda item: fit_to_text(item.figure, item.seen, item.before, item.after, task.question, self._meanings),
            "description and text",
        )

    def _relevance(self, task: Task, placed: _Placed, fit: Callable[[_Place], float], beside: str) -> Scored:
        """Each picture by what is told of it, times whether it looks like that; fewer pictures than wanted show less of it."""
        shown = [item for item in placed if item.figure.picture is not None]
        found = len(shown) + sum(
            item.figure.failure is not None and item.figure.failure.fault == "world" for item in placed
        )
        wanted = {"any": 0, "none": 0, "at_least_one": 1}.get(str(task.image_count), task.image_count)
        if not shown:
            return _scored(0.0, "no picture where one is wanted") if found < int(wanted) else _scored(1.0, "no picture")
        judged = [(fit(item) * looks, told) for item in shown for looks, told in [self._look(item)]]
        value, told = min(judged)
        there = 0.6 + 0.4 * min(1.0, found / max(1, int(wanted)))
        why = f"provenance against {beside}, worst {value:.2f}{told}{'' if there == 1 else '; pictures missing'}"
        return _scored(_worst_weighted([value for value, _ in judged]) * there, why)

    def _look(self, item: _Place) -> tuple[float, str]:
        """How far the pixels bear out what is told of the picture, and that in words."""
        picture, call = item.figure.picture, item.figure.call
        if picture is None or call is None:
            return 1.0, ""
        value, why = (0.1 + 0.9 * self._inked(picture), "") if call.tool == "code" else (1.0, "")
        if self._pictures is not None and item.seen.told and item.seen.kind != "chart":
            cosine = self._pictures.cosine(picture, item.seen.told)
            value, why = looks_like(item.seen, cosine), f"; looks like it: {cosine:.2f}"
        if self._words is not None:
            read = self._words(picture)
            if count_orders(" ".join(read)):
                return value * _BRIBED, f"{why}; says what is meant for a judge"
            if call.tool == "code":
                labels = agreement(read, code_strings(wish(call)))
                value, why = value * labels, f"{why}; labels read: {labels:.2f}"
        return value, why

    def _measured(self, item: _Place) -> PixelTraits:
        picture, call = item.figure.picture, item.figure.call
        assert picture is not None
        traits = self._pixel_traits(picture)
        if call is not None and call.tool == "edit" and _SOFTENING.search(wish(call)):
            return replace(traits, sharpness=1.0)  # asked for, so no fault
        return traits


@dataclass(frozen=True)
class _Place:
    """A figure with the text between it and its neighbours, and what is known of its picture."""

    figure: Figure
    before: str
    after: str
    seen: Evidence
    misnamed: bool


_Placed = list[_Place]


def _placed(document: Document, task: Task, meanings: Meanings | None) -> _Placed:
    """The figures where they stand; whether they are misnamed is only looked at with `meanings`."""
    blocks = document.blocks
    names = misnamed(document, task, meanings) if meanings is not None else repeat(False)
    known = zip(evidence(document, task), names, strict=False)
    found = []
    for at, block in enumerate(blocks):
        if isinstance(block, Figure):
            before = blocks[at - 1] if at else None
            after = blocks[at + 1] if at + 1 < len(blocks) else None
            found.append(
                _Place(
                    block,
                    before.text if isinstance(before, Text) else "",
                    after.text if isinstance(after, Text) else "",
                    *next(known),
                )
            )
    return found


def _scored(value: float, why: str) -> Scored:
    return Scored(1.0 + 4.0 * min(1.0, max(0.0, value)), f"proxy: {why}", judge=VERSION)


def _fresh(placed: _Placed) -> float:
    """Lower where calls are repeated word for word."""
    calls = [item.figure.call for item in placed if item.figure.call is not None]
    return 1.0 if len(calls) < 2 else 0.5 + 0.5 * len({call.to_json() for call in calls}) / len(calls)


def _worst_weighted(values: Sequence[float]) -> float:
    """Half the mean, half the worst: one bad figure is felt however many stand beside it."""
    return 0.5 * sum(values) / len(values) + 0.5 * min(values)


@cache
def _made_of() -> str:
    """Digest of the code and of the assets that scores come from, so that no score outlives a change that nobody has numbered."""
    package = resources.files("llmi_env")
    assets = sorted((file for file in (package / "assets" / "judges").iterdir()), key=lambda file: file.name)
    language = sorted((x for x in (package / "tools" / "edit").iterdir() if x.is_file()), key=lambda file: file.name)
    files = [*(package / "judges" / f"{name}.py" for name in MADE_OF), *language, *assets]
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()[:12]


def _check_installed() -> None:
    """Say at once what is missing, rather than leave every document unscored; imports nothing heavy."""
    from llmi_env.embeddings import model_folder

    for module in ("torch", "transformers", "skimage"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra("the embedded judge", "offline", module)
    model_folder()


def _form(text: str) -> NDArray[np.float32]:
    from llmi_env.embeddings import form

    return form(text)


def _minilm(texts: Sequence[str]) -> NDArray[np.float32]:
    from llmi_env.embeddings import embed

    return embed(texts)

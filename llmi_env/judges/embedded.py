"""The embedded judge: scores documents offline, in milliseconds, without a language model as judge.

It stands in for one and says so in every rationale: these are *proxies*, made of text embeddings (MiniLM), word lists, provenance and pixel
measures. What each of them can tell apart, and what it cannot, is measured in `benchmarks/results/judge_proxies.md`.

Scores are deterministic: each text is embedded on its own and each document judged on its own, so the company it is judged in cannot
move a score.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmi_env.document import Document, Figure, Text
from llmi_env.errors import ConfigError, MissingExtra, did_you_mean
from llmi_env.judges.call_proxy import NeedTable, call_traits, wish
from llmi_env.judges.image_proxy import PixelTraits, evidence, fit_to_question, fit_to_text, pixel_traits
from llmi_env.judges.relevance import Embed, Meanings
from llmi_env.judges.text_proxy import text_traits
from llmi_env.task import Task
from llmi_env.world.protocol import Judgment, Scored

TERMS = ("text_quality", "call_quality", "image_quality", "task_relevance", "text_image_relevance")
VERSION = "embedded/1"
_CACHED_PICTURES = 512
_SOFTENING = re.compile(r"\b(?:blur|soft|smooth|out of focus)", re.IGNORECASE)
_IMPOSSIBLE = frozenset({"malformed", "unknown_tool", "bad_params"})
_UNCHECKED = 0.15  # a call that can be read but not carried out


class EmbeddedJudge:
    """Proxies for all five judged terms.

    Args:
        terms: which terms to score; all by default.
        embed: texts to unit vectors; MiniLM (`llmi_env.embeddings`) by default, loaded on the first document.

    Raises:
        ConfigError: for a term that it does not know.
        MissingExtra, AssetError: when what it stands on is not installed.
    """

    version = VERSION

    def __init__(self, terms: Sequence[str] = TERMS, embed: Embed | None = None) -> None:
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
        self._embed = embed
        self._meanings = Meanings(embed or _minilm)
        self._needs = NeedTable(self._meanings)
        self._pixels: OrderedDict[str, PixelTraits] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that it scores."""
        return self._terms

    async def __call__(self, document: Document, task: Task) -> dict[str, Judgment]:
        """Judge one document in a thread of its own; documents take turns."""
        return await asyncio.to_thread(self.judge, document, task)

    async def aclose(self) -> None:
        """Forget what was cached; the embedding model belongs to the process."""
        with self._lock:
            self._pixels.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as its options: locks and caches stay behind."""
        return type(self), (self._terms, self._embed)

    def prepare(self) -> None:
        """Load the embedding model and the example needs now, not on the first document."""
        with self._lock:
            self._needs.probabilities("a picture")

    def judge(self, document: Document, task: Task) -> dict[str, Judgment]:
        """The same, blocking."""
        with self._lock:
            placed = _placed(document, task)
            return {term: getattr(self, f"_{term}")(document, task, placed) for term in self._terms}

    # ------------------------------------------------------------------------------------------------------------- terms

    def _text_quality(self, document: Document, task: Task, placed: _Placed) -> Scored:
        text = " ".join(block.text.strip() for block in document if isinstance(block, Text)).strip()
        if not text:
            return _scored(0.0, "no text")
        traits = text_traits(text, task.question, self._meanings)
        return _scored(
            traits.product, f"weakest: {traits.weakest.replace('_', ' ')} {getattr(traits, traits.weakest):.2f}"
        )

    def _call_quality(self, document: Document, task: Task, placed: _Placed) -> Scored:
        if not placed:
            return _scored(1.0, "no call")
        values = [self._call_value(item, task, len(task.images) + index) for index, item in enumerate(placed)]
        return _scored(_worst_weighted(values), f"{len(values)} calls, worst {min(values):.2f}")

    def _call_value(self, item: _Place, task: Task, sources: int) -> float:
        call, failure = item.figure.call, item.figure.failure
        if call is None:
            return 0.0
        traits = call_traits(call, item.before, item.after, task.question, sources, self._meanings, self._needs)
        return traits.value * (_UNCHECKED if failure is not None and failure.kind in _IMPOSSIBLE else 1.0)

    def _image_quality(self, document: Document, task: Task, placed: _Placed) -> Scored:
        if not document.pictures:
            return _scored(1.0, "no picture")
        traits = [self._measured(item) for item in placed if item.figure.picture is not None]
        worst = min(traits, key=lambda item: item.value)
        return _scored(
            _worst_weighted([item.value for item in traits]),
            f"worst: {worst.weakest} {getattr(worst, worst.weakest):.2f}",
        )

    def _task_relevance(self, document: Document, task: Task, placed: _Placed) -> Scored:
        shown = [item for item in placed if item.figure.picture is not None]
        if not shown:
            return _scored(1.0, "no picture")
        values = [fit_to_question(item.figure, item.known, task.question, self._meanings) for item in shown]
        return _scored(_worst_weighted(values), f"provenance against question, worst {min(values):.2f}")

    def _text_image_relevance(self, document: Document, task: Task, placed: _Placed) -> Scored:
        shown = [item for item in placed if item.figure.picture is not None]
        if not shown:
            return _scored(1.0, "no picture")
        values = [
            fit_to_text(item.figure, item.known, item.before, item.after, task.question, self._meanings)
            for item in shown
        ]
        return _scored(_worst_weighted(values), f"provenance against description and text, worst {min(values):.2f}")

    def _measured(self, item: _Place) -> PixelTraits:
        picture, call = item.figure.picture, item.figure.call
        assert picture is not None
        if picture.digest not in self._pixels:
            self._pixels[picture.digest] = pixel_traits(picture)
            if len(self._pixels) > _CACHED_PICTURES:
                self._pixels.popitem(last=False)
        traits = self._pixels[picture.digest]
        if call is not None and call.tool == "edit" and _SOFTENING.search(wish(call)):
            return replace(traits, sharpness=1.0)  # asked for, so no fault
        return traits


@dataclass(frozen=True)
class _Place:
    """A figure with the text between it and its neighbours, and what is known to be seen in it."""

    figure: Figure
    before: str
    after: str
    known: str


_Placed = list[_Place]


def _placed(document: Document, task: Task) -> _Placed:
    blocks = document.blocks
    known = iter(evidence(document, task))
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
                    next(known),
                )
            )
    return found


def _scored(value: float, why: str) -> Scored:
    return Scored(1.0 + 4.0 * min(1.0, max(0.0, value)), f"proxy: {why}")


def _worst_weighted(values: Sequence[float]) -> float:
    """Half the mean, half the worst: one bad figure is felt however many stand beside it."""
    return 0.5 * sum(values) / len(values) + 0.5 * min(values)


def _check_installed() -> None:
    """Say at once what is missing, rather than leave every document unscored; imports nothing heavy."""
    from llmi_env.embeddings import model_folder

    for module in ("torch", "transformers", "skimage"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra("the embedded judge", "offline", module)
    model_folder()


def _minilm(texts: Sequence[str]) -> NDArray[np.float32]:
    from llmi_env.embeddings import embed

    return embed(texts)

"""Choosing among hits: downloads run side by side, the best-ranked good picture wins, whatever lands first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from llmi_env.document import Picture
from llmi_env.errors import require
from llmi_env.tools.web.fetching import FetchFault
from llmi_env.tools.web.hits import Hit

__all__ = ["Head", "Miss", "Ranker", "best_fitting", "fingerprint", "looked_at", "looks_like_any"]

NEAR = 8
"""Bits of 64 in which the perceptual hashes of two pictures may differ and still count as one. Measured on the bundled corpus: copies that are
resized, recompressed or grey differ in at most 6, nine of ten that are trimmed by 2 % on each side in at most 8; no pair of different pictures
out of 31,125 in fewer than 12."""

MARGIN = 0.1
"""How much better than a higher-ranked picture one must fit the query to be taken in its place. Measured on 120 photographs of the bundled
corpus: trimming a picture moves its fit to its title by 0.05, one in ten by more than 0.11; a right picture at rank 1 before four wrong ones is
kept in 98 % (without a margin in 93 %), one at rank 3 is found in 92 %."""

Ranker = Callable[[Picture, str], float]
"""How well a picture fits a text; called in a thread."""


@dataclass(frozen=True)
class Miss:
    """Why a hit brought no picture.

    Attributes:
        reason: in a few words.
        why: whose fault it was that nothing could be fetched (see `FetchFailed`); `picture` where one came and will not do, `hit` where the
            service itself says that it will not.
    """

    reason: str
    why: FetchFault | Literal["picture", "hit"]


async def looked_at(
    hits: Sequence[Hit], look: Callable[[Hit], Awaitable[Picture | Miss]], parallel: int, everything: bool = False
) -> list[Picture | Miss]:
    """Look at hits, `parallel` at a time, in rank order, until nothing can change which good picture ranks best.

    Args:
        hits: best first.
        look: downloads and checks one hit.
        parallel: how many are looked at at the same time.
        everything: look at all of them.

    Returns:
        What came, in rank order: up to the first good picture, or of all hits.
    """
    found: dict[int, Picture | Miss] = {}
    running: dict[asyncio.Task[Picture | Miss], int] = {}
    needless: list[asyncio.Task[Picture | Miss]] = []
    waiting = iter(enumerate(hits))
    good = len(hits)  # rank of the best good picture so far
    try:
        while True:
            while len(running) < parallel and (everything or good == len(hits)) and (next_one := next(waiting, None)):
                running[asyncio.ensure_future(look(next_one[1]))] = next_one[0]
            if not running:
                break
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                rank = running.pop(task)
                found[rank] = task.result()
                if isinstance(found[rank], Picture):
                    good = min(good, rank)
            if not everything:
                needless += [task for task, rank in running.items() if rank > good]
                running = {task: rank for task, rank in running.items() if rank < good}
                _cancel(needless)
    finally:
        left = [*running, *needless]
        _cancel(left)
        await asyncio.gather(*left, return_exceptions=True)
    return [found[rank] for rank in sorted(found) if everything or rank <= good]


def best_fitting(pictures: Sequence[Picture], text: str, ranker: Ranker) -> Picture:
    """The highest-ranked of those pictures that fit the text about as well as the best one does. Blocks."""
    fits = [ranker(picture, text) for picture in pictures]
    enough = max(fits) - MARGIN
    return next(picture for picture, fit in zip(pictures, fits, strict=True) if fit >= enough)


def fingerprint(image: Image.Image) -> Any:
    """A perceptual hash: near for pictures that look alike, however they are scaled and compressed.

    Raises:
        MissingExtra: the extra `web` is not installed.
    """
    return require("imagehash", "telling pictures that look alike (option distinct)", "web").phash(image)


def looks_like_any(image: Image.Image, fingerprints: Sequence[Any]) -> bool:
    """Whether a picture looks like one of those that the fingerprints are of. Blocks for some milliseconds."""
    if not fingerprints:
        return False
    own = fingerprint(image)
    return any(own - other <= NEAR for other in fingerprints)


class Head:
    """The head that sets pictures beside texts (`llmi_env.judges.picture_text`), as a ranker.

    Raises:
        MissingExtra, AssetError: what it stands on is not installed.
    """

    def __init__(self) -> None:
        from llmi_env.embeddings import embed, ensure_available
        from llmi_env.judges.picture_text import PictureText
        from llmi_env.judges.relevance import Meanings

        ensure_available("re-ranking pictures (option rerank)")
        self._looks = PictureText(Meanings(embed))

    def __call__(self, picture: Picture, text: str) -> float:
        """Cosine of picture and text, in [-1, 1]."""
        return self._looks.cosine(picture, text)

    def load(self) -> None:
        """Load the network now, not at the first picture."""
        self._looks.load()

    def __reduce__(self) -> tuple[type[Head], tuple[()]]:
        """Pickles as itself, afresh: its lock and its network stay behind."""
        return Head, ()


def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()

"""The search tool: finds a picture in the offline corpora.

It answers with the picture that fits the query best, and with `NothingFound` where none fits well enough: never with a random one. The
bundled corpus is searched, and the user's own where there is one (`llmi corpus add`). The index is made on the first call, in a thread; that
of a large corpus is kept, and only opened. What is added later, a tool that has begun to search does not see.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from llmi_env.document import Picture, Provenance
from llmi_env.errors import AssetError, BadParams, ConfigError, NothingFound
from llmi_env.tools import corpus, corpus_kept
from llmi_env.tools.base import SEARCH, ToolContext, ToolSpec
from llmi_env.tools.corpus.entries import Entry
from llmi_env.tools.corpus_index import CorpusIndex, Hit, query_words

__all__ = ["SearchTool"]

logger = logging.getLogger(__name__)

BACKEND = "corpus"
_LOOKED_AT = 5
MAX_QUERY = 500
"""Characters of a query that are read; the embedding model reads about as much."""


class SearchTool:
    """A query to the best picture of the offline corpora; the same query and corpora give the same picture.

    Args:
        semantic: compare meanings as well as words. Needs the extra `offline` and the embedding model; without it the core alone
            is enough.
        user: search the user's own pictures, too.
        floor: least score of a match, in [0, 1]; `None` stands for the measured one.

    Raises:
        ConfigError: a floor out of range.
        MissingExtra: `semantic`, and torch or transformers is not installed.
        AssetError: `semantic`, and the embedding model is not installed; or a corpus cannot be read.
    """

    def __init__(self, semantic: bool = True, user: bool = True, floor: float | None = None) -> None:
        self.check_options(semantic, user, floor)
        if semantic:
            from llmi_env.embeddings import ensure_available

            ensure_available("searching by meaning")
        self._semantic = semantic
        self._user = user
        self._floor = floor
        self._index: CorpusIndex | None = None
        self._lock = threading.Lock()

    @staticmethod
    def check_options(semantic: Any = True, user: Any = True, floor: Any = None) -> None:
        """Raise `ConfigError` for options that cannot be on any machine; nothing is loaded."""
        for name, value in (("semantic", semantic), ("user", user)):
            if not isinstance(value, bool):
                raise ConfigError(f"search: {name} is true or false, not {value!r}")
        number = isinstance(floor, int | float) and not isinstance(floor, bool)
        if floor is not None and not (number and 0.0 <= floor <= 1.0):
            raise ConfigError(f"search: floor is a number in [0, 1], not {floor!r}")

    @property
    def spec(self) -> ToolSpec:
        """`search {query: str}`."""
        return SEARCH

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """The best picture for `params["query"]` that is none of `context.pictures`.

        Raises:
            BadParams: the query is empty or says nothing but "a picture".
            NothingFound: no picture fits well enough.
            AssetError: a corpus is damaged.
        """
        query = str(params["query"]).strip()[:MAX_QUERY]
        if not query_words(query):
            raise BadParams(f"the query {query!r} names nothing to look for" if query else "the query is empty")
        return await asyncio.to_thread(self._find, query, context.pictures)

    async def warm(self) -> None:
        """Make the index and load the embedding model."""
        await asyncio.to_thread(self.hits, "a photo of a tree", 1)

    async def aclose(self) -> None:
        """Let the index go; a later call makes it again."""
        self._index = None

    def hits(self, query: str, limit: int = _LOOKED_AT) -> list[Hit]:
        """The best matches with their scores, best first: for looking at what search finds. Blocks while the index is made."""
        return self._ready().search(query, limit)

    def _find(self, query: str, earlier: Sequence[Picture]) -> Picture:
        known = {picture.provenance for picture in earlier}
        hits = [hit for hit in self.hits(query, _LOOKED_AT + len(known)) if _provenance(hit.entry) not in known]
        for place, hit in enumerate(hits, start=1):
            try:
                return Picture(hit.corpus.open(hit.entry), _provenance(hit.entry))
            except AssetError as error:
                # of the user's own, one may have been taken out since the index was made
                if not hit.corpus.grows or place == len(hits):
                    raise
                logger.warning("%s", error)
        if known:
            raise NothingFound(f"no other picture found for {query!r}")
        raise NothingFound(f"no picture found for {query!r}; name the main subject in two or three words")

    def _ready(self) -> CorpusIndex:
        with self._lock:
            if self._index is None:
                folder = corpus.user_folder()
                kept = corpus_kept.opened(folder, semantic=self._semantic) if self._user else None
                own = corpus.user() if self._user and kept is None else None
                if own is not None and self._semantic:
                    own = corpus_kept.embedded(own)
                corpora = [corpus.bundled(), *([own] if own is not None else [])]
                self._index = CorpusIndex(corpora, semantic=self._semantic, floor=self._floor, kept=kept)
                logger.debug("search index of %d pictures", len(self._index))
            return self._index


def _provenance(found: Entry) -> Provenance:
    return Provenance(
        backend=BACKEND,
        title=found.title,
        caption=found.caption,
        source=found.source,
        author=found.author,
        licence=found.licence,
    )

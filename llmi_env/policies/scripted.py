"""A policy that writes given texts: for tests, for executing demonstrations, and for documents that came from elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from llmi_env.policies.base import Row, Sampling, WriteStats
from llmi_env.tokenizers import ByteTokenizer, Tokenizer


class ScriptedPolicy:
    """Writes what a script says, token by token.

    Args:
        script: the text for a prompt and a seed; or one text for all.
        tokenizer: bytes, where nothing is given.
        logprob: the log-probability that every token is given.
        pace: seconds between two tokens.
    """

    def __init__(
        self,
        script: str | Callable[[Sequence[int], int], str],
        tokenizer: Tokenizer | None = None,
        logprob: float = -1.0,
        pace: float = 0.0,
    ) -> None:
        self._script = script
        self._tokenizer = tokenizer or ByteTokenizer()
        self._logprob, self._pace = logprob, pace

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        return self._tokenizer

    async def write(self, rows: Sequence[Row], sampling: Sampling) -> WriteStats:
        """Write every row's text and end it; what a row is shown is read and ignored."""
        del sampling
        start = time.perf_counter()
        counts = await asyncio.gather(*map(self._write, rows))
        return WriteStats(tokens=sum(counts), seconds=time.perf_counter() - start)

    async def _write(self, row: Row) -> int:
        text = self._script if isinstance(self._script, str) else self._script(row.prompt_ids, row.seed)
        ids = [*self._tokenizer.encode(text), min(self._tokenizer.eos_ids)]
        for count, token in enumerate(ids, start=1):
            while row.waiting:
                await row.changed()
            row.shown()
            row.take(token, self._logprob)
            if row.done:
                return count
            await asyncio.sleep(self._pace)
        return len(ids)

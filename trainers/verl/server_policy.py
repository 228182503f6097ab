"""verl's inference servers as a policy: a rollout hands over its rows, the servers send ids with logprobs.

A document without feedback is one request. With feedback a request stops at the end of a call; the row is then shown what came of it,
and the next request continues the very ids that the policy has sampled and read so far. Text never becomes ids again.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from llmi_env.document import Picture
from llmi_env.errors import WorldError
from llmi_env.policies.base import Row, Sampling, SeenPrompt, WriteStats
from llmi_env.policies.vision import Eyes
from llmi_env.tokenizers import Tokenizer

STOPS = ("</imgen>", "</tool_call>")
"""Where a request ends when the policy is shown its results."""


class Generate(Protocol):
    """What is asked of verl's `LLMServerClient`."""

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any], image_data: Any = None
    ) -> Any:
        """Ids (`token_ids`), logprobs (`log_probs`) and `extra_fields` that continue `prompt_ids`."""
        ...


class ServerPolicy:
    """Samples documents on servers.

    Args:
        servers: verl's client.
        tokenizer: of the model that they serve.
        params: sampling parameters as verl gives them to an agent loop; they win over those of the rollout.
        shows: whether rows are shown results while they write.
    """

    def __init__(self, servers: Generate, tokenizer: Tokenizer, params: dict[str, Any], shows: bool) -> None:
        self._servers, self._tokenizer, self._shows = servers, tokenizer, shows
        self._params = {**params, "logprobs": True}
        self.extra_fields: dict[str, Any] = {}
        """What the servers said besides, of the last request: verl wants the versions of the weights back."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._tokenizer

    async def write(self, rows: Sequence[Row], sampling: Sampling) -> WriteStats:
        """Sample until every row is done."""
        stats, start = WriteStats(), time.perf_counter()
        await asyncio.gather(*(self._write(row, sampling, stats) for row in rows))
        stats.seconds = time.perf_counter() - start - stats.waited
        return stats

    async def _write(self, row: Row, sampling: Sampling, stats: WriteStats) -> None:
        ids, session = list(row.prompt_ids), uuid.uuid4().hex
        room = len(ids) + row.max_tokens
        params = {"temperature": sampling.temperature, "top_p": sampling.top_p, **self._params}
        if self._shows:
            params["stop"] = list(STOPS)
        stats.prompt_tokens += len(ids)
        while not row.done:
            if len(ids) >= room:
                row.end()
                return
            output = await self._servers.generate(
                session,
                prompt_ids=list(ids),
                sampling_params={**params, "max_tokens": room - len(ids)},
                image_data=[picture.image for picture in row.pictures] or None,
            )
            self.extra_fields = dict(output.extra_fields)
            if not output.token_ids or output.log_probs is None or len(output.log_probs) != len(output.token_ids):
                raise WorldError(
                    f"the inference server sent {len(output.token_ids)} ids with "
                    f"{'no' if output.log_probs is None else len(output.log_probs)} logprobs ({output.stop_reason}): "
                    "training needs one for each id (actor_rollout_ref.rollout.calculate_log_probs=True)"
                )
            for token, logprob in zip(output.token_ids, output.log_probs, strict=True):
                row.take(token, logprob)
                ids.append(token)
                stats.tokens += 1
                if row.done:
                    return
                read = row.shown() if self._shows else ()
                ids.extend(read)
                if read or row.waiting:
                    # What a server has sampled beyond the end of a call, it has sampled without the result: no part of the document.
                    break
            clock = time.perf_counter()
            while row.waiting:
                await row.changed()
            stats.waited += time.perf_counter() - clock
            ids.extend(row.shown())


class SeeingServerPolicy(ServerPolicy):
    """The same for vision-language models.

    Args:
        servers, tokenizer, params, shows: as for `ServerPolicy`.
        eyes: the model's processor.
        forbid: ask the servers not to sample placeholders; needless where they never do.
    """

    def __init__(
        self,
        servers: Generate,
        tokenizer: Tokenizer,
        params: dict[str, Any],
        shows: bool,
        eyes: Eyes,
        forbid: bool = True,
    ) -> None:
        # A placeholder that the policy wrote itself would have no features.
        bias = {"logit_bias": {eyes.placeholder: -100.0}} if forbid else {}
        super().__init__(servers, tokenizer, {**params, **bias}, shows)
        self._eyes = eyes

    def see_prompt(self, messages: Sequence[Mapping[str, Any]], pictures: Sequence[Picture]) -> SeenPrompt:
        """Ids of a conversation whose user shows these pictures."""
        return self._eyes.see_prompt(messages, pictures)

    def picture_ids(self, picture: Picture) -> Sequence[int]:
        """What stands for a picture in the middle of the context."""
        return self._eyes.picture_ids(picture)

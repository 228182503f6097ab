"""The transcript: tokens on one side, the episode on the other, and the ledger of who owns which token.

`append` takes the policy's ids exactly as sampled, decodes them incrementally and writes the text into the episode. `inject` adds what the
policy is shown of an outcome. Text is never tokenised again to get ids: masks, pictures and logprobs are read off the `Ledger`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

from llmi_env.document import Outcome, Picture
from llmi_env.episode import CallRequest, Episode, StopReason
from llmi_env.errors import ActionError, EpisodeOver
from llmi_env.ledger import Ledger, Owner
from llmi_env.prompting import result_text
from llmi_env.tokenizers import Tokenizer


class Transcript:
    """Drives one episode by tokens.

    Args:
        episode: the episode to write into.
        tokenizer: of the policy.
        prompt_ids: ids of the prompt, as the policy gets them.
        prompt_pictures: `(start, length, picture)` of each picture's placeholders among them.
        max_tokens: limit of policy tokens; the document ends there with `StopReason.LENGTH`.
    """

    def __init__(
        self,
        episode: Episode,
        tokenizer: Tokenizer,
        prompt_ids: Sequence[int] = (),
        max_tokens: int | None = None,
        prompt_pictures: Sequence[tuple[int, int, Picture]] = (),
    ) -> None:
        self.episode = episode
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.ledger = Ledger()
        self.ledger.add(list(prompt_ids), Owner.PROMPT)
        self.ledger.pictures.extend(prompt_pictures)
        self._decoder = tokenizer.decoder()
        self._eos = tokenizer.eos_ids
        self._vocab = tokenizer.vocab_size
        self._written = 0

    @property
    def tokens_left(self) -> int | None:
        """Policy tokens until the limit, or `None` without one."""
        return None if self.max_tokens is None else max(0, self.max_tokens - self._written)

    def append(self, ids: Sequence[int], logprobs: Sequence[float] | None = None) -> list[CallRequest]:
        """Take ids that the policy sampled; returns the calls that they completed.

        An eos id ends the document; so does the token limit. Ids after the end of the document are refused as a whole.

        Raises:
            ActionError: if an id lies outside the vocabulary, stands after an eos, or goes past the token limit, or if there is not
                one logprob for each id. Nothing has changed then.
            EpisodeOver: if the document has ended.
        """
        if self.episode.stop is not None:
            raise EpisodeOver(f"the document has ended ({self.episode.stop.value}); start a new episode")
        if logprobs is not None and len(logprobs) != len(ids):
            raise ActionError(f"{len(ids)} ids but {len(logprobs)} logprobs")
        if (
            len(ids) == 1
            and 0 <= (token := ids[0]) < self._vocab
            and (self.max_tokens is None or self._written < self.max_tokens)
        ):
            return self._take(token, math.nan if logprobs is None else logprobs[0])
        if self.max_tokens is not None and self._written + len(ids) > self.max_tokens:
            raise ActionError(f"{len(ids)} tokens, but only {self.tokens_left} are left of {self.max_tokens}")
        for position, token in enumerate(ids):
            if not 0 <= token < self._vocab:
                raise ActionError(f"token id {token} at position {position} lies outside of 0..{self._vocab - 1}")
            if token in self._eos and position + 1 < len(ids):
                raise ActionError(f"{len(ids) - position - 1} tokens stand after the eos token at position {position}")
        requests: list[CallRequest] = []
        for position, token in enumerate(ids):
            requests += self._take(token, math.nan if logprobs is None else logprobs[position])
            if self.episode.stop is not None:
                break
        return requests

    def end(self, reason: StopReason = StopReason.END) -> list[CallRequest]:
        """End the document from outside; what the decoder still holds is written first."""
        return [] if self.episode.stop is not None else self._end(reason)

    def inject(self, index: int, outcome: Outcome, picture_ids: Sequence[int] = ()) -> list[int]:
        """Show the policy the outcome of figure `index`: a short line of text, then the picture's placeholders.

        Args:
            index: the figure.
            outcome: what came of it.
            picture_ids: placeholder ids of the picture's features, from the policy's processor; none for text policies.

        Returns:
            The ids added to the context, owned by `TOOL` and `PICTURE`.

        Raises:
            ValueError: if there are placeholders of a picture, but none came. Nothing has changed then.
        """
        ids = self.tokenizer.encode(result_text(index, outcome))
        if not len(picture_ids):
            self.ledger.add(ids, Owner.TOOL)
            return ids
        if not isinstance(outcome, Picture):
            raise ValueError("picture_ids given for an outcome that is no picture")
        self.ledger.add(ids, Owner.TOOL)
        self.ledger.add_picture(picture_ids, outcome)
        return [*ids, *picture_ids]

    def copy(self, episode: Episode) -> Transcript:
        """The same transcript for a copy of its episode; what one appends does not show in the other."""
        made = copy.copy(self)
        made.episode, made.ledger, made._decoder = episode, self.ledger.copy(), copy.deepcopy(self._decoder)
        return made

    @classmethod
    def of_ledger(
        cls, episode: Episode, tokenizer: Tokenizer, ledger: Ledger, max_tokens: int | None = None
    ) -> Transcript:
        """The transcript that has written this ledger into this episode; the decoder reads the policy's ids once more."""
        made = cls(episode, tokenizer, (), max_tokens)
        made.ledger = ledger
        for token in ledger.policy_ids:
            if token not in made._eos:
                made._decoder.push(token)
        made._written = ledger.n_policy
        return made

    def _take(self, token: int, logprob: float) -> list[CallRequest]:
        """One token that may be taken; the hottest path of the environment."""
        self.ledger.add_sampled(token, logprob)
        self._written += 1
        if token in self._eos:
            return self._end(StopReason.END)
        text = self._decoder.push(token)
        requests = self.episode.write(text) if text else []
        if self._written == self.max_tokens and self.episode.stop is None:
            requests += self._end(StopReason.LENGTH)
        return requests

    def _end(self, reason: StopReason) -> list[CallRequest]:
        requests: list[CallRequest] = []
        if rest := self._decoder.flush():
            requests += self.episode.write(rest)
        return requests + self.episode.end(reason)

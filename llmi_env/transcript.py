"""The transcript: tokens on one side, the episode on the other, and the ledger of who owns which token.

`append` takes the policy's ids exactly as sampled, decodes them incrementally and writes the text into the episode. `inject` adds what the
policy is shown of an outcome. Text is never tokenised again to get ids: masks, pictures and logprobs are read off the `Ledger`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmi_env.document import Outcome, Picture
from llmi_env.episode import CallRequest, Episode, StopReason
from llmi_env.errors import ActionError, EpisodeOver
from llmi_env.prompting import result_text
from llmi_env.tokenizers import Tokenizer


class Owner(enum.IntEnum):
    """Who put a token into the context."""

    PROMPT = 0
    """The prompt."""
    POLICY = 1
    """Sampled by the policy: the only tokens that are trained on."""
    TOOL = 2
    """Text that tells the policy what a tool did."""
    PICTURE = 3
    """Placeholder of a picture's features."""


@dataclass
class Ledger:
    """Every token of a rollout with its owner and, for the policy's, its logprob.

    Attributes:
        ids: token ids in the order in which the policy saw them, length T.
        owners: owner of each token, length T.
        logprobs: log-probability under the sampling policy (natural logarithm), NaN where there is none, length T.
        pictures: `(start, length, picture)` of each picture's placeholder run.
    """

    ids: list[int] = field(default_factory=list)
    owners: list[Owner] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    pictures: list[tuple[int, int, Picture]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def prompt_length(self) -> int:
        """Tokens before the first one that is not the prompt's."""
        return next((i for i, owner in enumerate(self.owners) if owner is not Owner.PROMPT), len(self.owners))

    @property
    def prompt_ids(self) -> list[int]:
        """Ids of the prompt."""
        return self.ids[: self.prompt_length]

    @property
    def response_ids(self) -> list[int]:
        """Ids after the prompt: the policy's, the tools' and the pictures'."""
        return self.ids[self.prompt_length :]

    @property
    def policy_mask(self) -> list[bool]:
        """True where the policy sampled the token, length T."""
        return [owner is Owner.POLICY for owner in self.owners]

    @property
    def n_policy(self) -> int:
        """Tokens that the policy sampled."""
        return sum(self.policy_mask)

    def add(self, ids: Sequence[int], owner: Owner, logprobs: Sequence[float] | None = None) -> None:
        """Append tokens of one owner.

        Raises:
            ValueError: if there is not exactly one logprob for each id.
        """
        if logprobs is not None and len(logprobs) != len(ids):
            raise ValueError(f"{len(ids)} ids but {len(logprobs)} logprobs")
        self.ids.extend(ids)
        self.owners.extend([owner] * len(ids))
        self.logprobs.extend(logprobs if logprobs is not None else [math.nan] * len(ids))

    def check(self) -> None:
        """Raise `ValueError` unless the ledger is whole: equal lengths, prompt first, picture runs owned by pictures."""
        if not len(self.ids) == len(self.owners) == len(self.logprobs):
            raise ValueError(
                f"lengths differ: {len(self.ids)} ids, {len(self.owners)} owners, {len(self.logprobs)} logprobs"
            )
        if any(owner is Owner.PROMPT for owner in self.owners[self.prompt_length :]):
            raise ValueError("a prompt token stands after the prompt")
        if any(
            owner is not Owner.POLICY and not math.isnan(p) for owner, p in zip(self.owners, self.logprobs, strict=True)
        ):
            raise ValueError("a token that the policy did not sample has a logprob")
        runs = sum(length for _, length, _ in self.pictures)
        inside = all(
            owner is Owner.PICTURE
            for start, length, _ in self.pictures
            for owner in self.owners[start : start + length]
        )
        prompt_pictures = any(owner is Owner.PICTURE for owner in self.owners[: self.prompt_length])
        if not inside or prompt_pictures or runs != sum(owner is Owner.PICTURE for owner in self.owners):
            raise ValueError("picture runs and picture tokens do not agree")


class Transcript:
    """Drives one episode by tokens.

    Args:
        episode: the episode to write into.
        tokenizer: of the policy.
        prompt_ids: ids of the prompt, as the policy gets them.
        max_tokens: limit of policy tokens; the document ends there with `StopReason.LENGTH`.
    """

    def __init__(
        self, episode: Episode, tokenizer: Tokenizer, prompt_ids: Sequence[int] = (), max_tokens: int | None = None
    ) -> None:
        self.episode = episode
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.ledger = Ledger()
        self.ledger.add(list(prompt_ids), Owner.PROMPT)
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
        if self.max_tokens is not None and self._written + len(ids) > self.max_tokens:
            raise ActionError(f"{len(ids)} tokens, but only {self.tokens_left} are left of {self.max_tokens}")
        for position, token in enumerate(ids):
            if not 0 <= token < self._vocab:
                raise ActionError(f"token id {token} at position {position} lies outside of 0..{self._vocab - 1}")
            if token in self._eos and position + 1 < len(ids):
                raise ActionError(f"{len(ids) - position - 1} tokens stand after the eos token at position {position}")
        requests: list[CallRequest] = []
        for position, token in enumerate(ids):
            self.ledger.add((token,), Owner.POLICY, None if logprobs is None else (logprobs[position],))
            self._written += 1
            if token in self._eos:
                requests += self._end(StopReason.END)
                break
            if text := self._decoder.push(token):
                requests += self.episode.write(text)
            if self.episode.stop is not None:
                break
        if self.episode.stop is None and self._written == self.max_tokens:
            requests += self._end(StopReason.LENGTH)
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
        """
        ids = self.tokenizer.encode(result_text(index, outcome))
        self.ledger.add(ids, Owner.TOOL)
        if picture_ids:
            if not isinstance(outcome, Picture):
                raise ValueError("picture_ids given for an outcome that is no picture")
            self.ledger.pictures.append((len(self.ledger), len(picture_ids), outcome))
            self.ledger.add(picture_ids, Owner.PICTURE)
        return [*ids, *picture_ids]

    def _end(self, reason: StopReason) -> list[CallRequest]:
        requests: list[CallRequest] = []
        if rest := self._decoder.flush():
            requests += self.episode.write(rest)
        return requests + self.episode.end(reason)

"""The ledger: every token of a rollout, who put it there, and what the sampling policy thought of it.

A transcript, or any other driver of an episode, writes it; trainers read masks, pictures and logprobs off it (`llmi_env.ledger_export`). What
the policy sampled is kept as sampled: nothing is ever tokenised again.

A ledger promises:

1. `ids`, `owners` and `logprobs` have one entry for each token, in the order in which the policy saw them.
2. The prompt comes first, in one piece.
3. Only tokens that the policy sampled have a logprob; they may lack one.
4. Pictures stand in order and apart from each other; each has a run of tokens owned by `PICTURE`, or one inside the prompt, and every token
   owned by `PICTURE` lies in such a run.
5. Tokens are appended, never changed: what the policy saw at one turn is a prefix of what it sees at the next.

`check` looks at the first four, `check_prefix` at the last, `check_pictures` and `check_sampled` at what only others know: how many features
a processor made of each picture, and which ids an engine sampled. A check that fails points at a defect of the code around the policy.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from llmi_env.document import Picture
from llmi_env.errors import LLMIError


class LedgerError(LLMIError, ValueError):
    """Raised when a ledger does not hold what it promises, or cannot be handed to a trainer as it is."""


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


_POLICY = Owner.POLICY  # looking up a member of an enum takes longer than appending it


class Span(NamedTuple):
    """Tokens `start` to `stop - 1`, all of one owner."""

    start: int
    stop: int
    owner: Owner


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

    # ------------------------------------------------------------------------------------------------------------ writing

    def add_sampled(self, token: int, logprob: float = math.nan) -> None:
        """Append one token of the policy's: what happens at every step, so it does nothing else."""
        self.ids.append(token)
        self.owners.append(_POLICY)
        self.logprobs.append(logprob)

    def add(self, ids: Sequence[int], owner: Owner, logprobs: Sequence[float] | None = None) -> None:
        """Append tokens of one owner.

        Raises:
            LedgerError: if there is not exactly one logprob for each id.
        """
        if logprobs is not None and len(logprobs) != len(ids):
            raise LedgerError(f"{len(ids)} ids but {len(logprobs)} logprobs")
        self.ids.extend(ids)
        self.owners.extend([owner] * len(ids))
        self.logprobs.extend(logprobs if logprobs is not None else [math.nan] * len(ids))

    def add_picture(self, ids: Sequence[int], picture: Picture, owner: Owner = Owner.PICTURE) -> None:
        """Append a picture's placeholders: of one shown to the policy, or with `Owner.PROMPT` of one that the task brings along.

        Raises:
            LedgerError: if there are no ids: a picture that is not shown does not stand in the ledger.
        """
        if not len(ids):
            raise LedgerError("a picture needs at least one placeholder token")
        self.pictures.append((len(self.ids), len(ids), picture))
        self.add(ids, owner)

    def copy(self) -> Ledger:
        """The same ledger once more: what is added to one does not show in the other. Pictures are shared, they do not change."""
        return Ledger(self.ids.copy(), self.owners.copy(), self.logprobs.copy(), self.pictures.copy())

    # ------------------------------------------------------------------------------------------------------------ reading

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
        return [owner is _POLICY for owner in self.owners]

    @property
    def policy_ids(self) -> list[int]:
        """Ids that the policy sampled, in order."""
        return [token for token, owner in zip(self.ids, self.owners, strict=True) if owner is _POLICY]

    @property
    def n_policy(self) -> int:
        """Tokens that the policy sampled."""
        return self.owners.count(_POLICY)

    def spans(self) -> list[Span]:
        """The ledger as runs of tokens of one owner, in order; pictures side by side are one run."""
        found: list[Span] = []
        start = 0
        for owner, run in itertools.groupby(self.owners):
            stop = start + sum(1 for _ in run)
            found.append(Span(start, stop, owner))
            start = stop
        return found

    # ------------------------------------------------------------------------------------------------------------ checking

    def check(self) -> None:
        """Look whether the ledger is whole: lengths, order of owners, logprobs, pictures (see the module).

        Raises:
            LedgerError: it is not.
        """
        if not len(self.ids) == len(self.owners) == len(self.logprobs):
            raise LedgerError(
                f"lengths differ: {len(self.ids)} ids, {len(self.owners)} owners, {len(self.logprobs)} logprobs"
            )
        begin = self.prompt_length
        if Owner.PROMPT in self.owners[begin:]:
            raise LedgerError(f"a prompt token stands after the prompt, which ends at token {begin}")
        for position, (owner, logprob) in enumerate(zip(self.owners, self.logprobs, strict=True)):
            if owner is not _POLICY and not math.isnan(logprob):
                raise LedgerError(f"token {position}, which the policy did not sample ({owner.name}), has a logprob")
        before = shown = 0
        for number, (start, length, _) in enumerate(self.pictures):
            stop = start + length
            if start < before or length < 1 or stop > len(self.ids):
                raise LedgerError(
                    f"picture {number} stands at tokens {start} to {stop}: not after the one before, empty, or beyond the end"
                )
            if stop > begin:
                if any(owner is not Owner.PICTURE for owner in self.owners[start:stop]):
                    raise LedgerError(f"picture {number}: tokens {start} to {stop} are not all owned by PICTURE")
                shown += length
            before = stop
        if shown != self.owners.count(Owner.PICTURE):
            raise LedgerError(
                f"{self.owners.count(Owner.PICTURE)} tokens are owned by PICTURE, the pictures have {shown}"
            )

    def check_prefix(self, earlier_ids: Sequence[int]) -> None:
        """Look whether the policy still sees what it saw before.

        Args:
            earlier_ids: all ids that it saw at an earlier turn.

        Raises:
            LedgerError: they are no prefix of the ids now; the message says where they part.
        """
        earlier = list(earlier_ids)
        if self.ids[: len(earlier)] == earlier:
            return
        at = next((i for i, (was, now) in enumerate(zip(earlier, self.ids, strict=False)) if was != now), len(self.ids))
        now = f"is {self.ids[at]} now" if at < len(self.ids) else "is not there any more"
        raise LedgerError(f"token {at} was {earlier[at]} when the policy saw it and {now}: the context may only grow")

    def check_pictures(self, features: Sequence[int], placeholder: int | None = None) -> None:
        """Look whether each picture has as many placeholder tokens as it has features.

        Args:
            features: number of features of each picture, those of the prompt first, as the policy's processor made them.
            placeholder: id that the model replaces by features. Where it is given, other tokens of a picture's run (its first and last, in
                some families of models) are not counted, and the id may stand nowhere else: a policy that samples it breaks the model's input.

        Raises:
            LedgerError: numbers differ; the message says at which picture.
        """
        if len(features) != len(self.pictures):
            raise LedgerError(f"{len(features)} pictures have features, {len(self.pictures)} stand in the ledger")
        runs = [range(start, start + length) for start, length, _ in self.pictures]
        for number, (run, wanted) in enumerate(zip(runs, features, strict=True)):
            found = len(run) if placeholder is None else self.ids[run.start : run.stop].count(placeholder)
            if found != wanted:
                raise LedgerError(
                    f"picture {number}, at token {run.start}, has {found} placeholder tokens for {wanted} features"
                )
        if placeholder is not None and self.ids.count(placeholder) != sum(features):
            at = next(
                i for i, token in enumerate(self.ids) if token == placeholder and not any(i in run for run in runs)
            )
            raise LedgerError(
                f"token {at} ({self.owners[at].name}) is the placeholder {placeholder}, but there is no picture: "
                "keep the policy from sampling that id"
            )

    def check_sampled(self, sampled_ids: Sequence[int]) -> None:
        """Look whether the policy's tokens are exactly those that an engine sampled, in order.

        Raises:
            LedgerError: they are not; the message says from which one on.
        """
        sampled, kept = list(sampled_ids), self.policy_ids
        if sampled == kept:
            return
        pairs = itertools.zip_longest(sampled, kept)
        at, (was, now) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
        raise LedgerError(
            f"token {at} of the policy's: sampled was {_or_none(was)}, the ledger has {_or_none(now)} "
            f"({len(sampled)} sampled, {len(kept)} in the ledger)"
        )


def _or_none(token: int | None) -> str:
    return "none" if token is None else str(token)

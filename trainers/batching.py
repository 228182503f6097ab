"""The documents of a step as tensors, and how they are shared out: among optimiser steps, and among passes that fit into memory.

Axes: B documents of a step, M of a micro-batch, T response tokens (padded on the right).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmi_env.ledger_export import to_arrays

if TYPE_CHECKING:
    from torch import Tensor

    from llmi_env.ledger import Ledger
    from llmi_env.rollout import Rollout


@dataclass(frozen=True, eq=False)
class Batch:
    """The documents of a step. Only tokens of `mask_BT` are learned from; what stands elsewhere does not matter, not even NaN.

    Attributes:
        rollouts: the documents, length B.
        sampled_BT: true where the policy sampled the token.
        mask_BT: the same in documents that have a score.
        logprobs_BT: under the policy that sampled.
        rewards_B: reward of each document; NaN where there is none.
        scored_B: true where there is one.
        groups_B: group of each document.
        advantages_BT: how much better than expected a token was.
        reference_BT: logprobs under the policy that training started from; NaN for documents that were not looked at.
        values_BT: what the value head expected (PPO).
        returns_BT: what it is to expect (PPO).
    """

    rollouts: Sequence[Rollout]
    sampled_BT: Tensor
    mask_BT: Tensor
    logprobs_BT: Tensor
    rewards_B: Tensor
    scored_B: Tensor
    groups_B: Tensor
    advantages_BT: Tensor
    reference_BT: Tensor
    values_BT: Tensor
    returns_BT: Tensor

    @classmethod
    def of(cls, rollouts: Sequence[Rollout]) -> Batch:
        """The documents as they were written: advantages, values and returns 0, nothing looked at under the reference."""
        import torch

        arrays = to_arrays([rollout.ledger for rollout in rollouts])
        rewards_B = torch.tensor([math.nan if rollout.reward is None else rollout.reward for rollout in rollouts])
        scored_B = torch.tensor([rollout.reward is not None for rollout in rollouts])
        sampled_BT, logprobs_BT = torch.from_numpy(arrays.policy_mask_BT), torch.from_numpy(arrays.logprobs_BT)
        zeros_BT = torch.zeros_like(logprobs_BT)
        return cls(
            rollouts=rollouts,
            sampled_BT=sampled_BT,
            mask_BT=sampled_BT & scored_B[:, None],
            logprobs_BT=logprobs_BT,
            rewards_B=rewards_B,
            scored_B=scored_B,
            groups_B=torch.tensor([rollout.group for rollout in rollouts]),
            advantages_BT=zeros_BT,
            reference_BT=torch.full_like(logprobs_BT, math.nan),
            values_BT=zeros_BT,
            returns_BT=zeros_BT,
        )

    @property
    def ledgers(self) -> list[Ledger]:
        """The ledger of each document."""
        return [rollout.ledger for rollout in self.rollouts]

    @property
    def learnable(self) -> list[int]:
        """Documents with a score and a token that the policy sampled."""
        return [int(i) for i in self.mask_BT.any(-1).nonzero().flatten()]

    @property
    def rewards_BT(self) -> Tensor:
        """The reward of each document at the last token that the policy sampled, 0 elsewhere and in documents without a score."""
        import torch

        rewards_BT = torch.zeros_like(self.logprobs_BT)
        for i in self.learnable:
            rewards_BT[i, int(self.mask_BT[i].nonzero()[-1])] = self.rewards_B[i]
        return rewards_BT

    def take(self, rows: Sequence[int], device: object = "cpu") -> Batch:
        """Some of the documents, padded to the longest of them, on a device."""
        longest = max(len(self.rollouts[i].ledger.response_ids) for i in rows)
        tensors = {
            name: getattr(self, name)[list(rows)].to(device) for name in self.__dataclass_fields__ if name != "rollouts"
        }
        cut = {name: tensor[:, :longest] if name.endswith("_BT") else tensor for name, tensor in tensors.items()}
        return replace(self, rollouts=[self.rollouts[i] for i in rows], **cut)


def padded(rows: Mapping[int, Sequence[float]], like_BT: Tensor) -> Tensor:
    """Numbers of some documents' response tokens as a tensor of the shape of `like_BT`; NaN everywhere else."""
    import torch

    made_BT = torch.full_like(like_BT, math.nan)
    for i, numbers in rows.items():
        made_BT[i, : len(numbers)] = torch.tensor(numbers, dtype=made_BT.dtype)
    return made_BT


def minibatches(groups: Sequence[int], parts: int, epochs: int = 1) -> Iterator[list[int]]:
    """Indices of documents for each optimiser step: whole groups together, and every document once in each epoch.

    Args:
        groups: group of each document.
        parts: optimiser steps of an epoch.
        epochs: how often all of them come.
    """
    names = sorted(set(groups))
    for _ in range(epochs):
        for part in range(parts):
            members = set(names[part::parts])
            yield [i for i, group in enumerate(groups) if group in members]


def micro_batches(lengths: Mapping[int, int], documents: int, tokens: int | None = None) -> Iterator[list[int]]:
    """Documents that are computed together.

    Args:
        lengths: tokens of each document, prompt included, by its index.
        documents: at most so many together, in the order given; not looked at where there is a bound of tokens.
        tokens: at most so many together, where each counts as long as the longest beside it. The longest come first, so that memory runs
            out at once or not at all; a document that is longer than the bound stands alone.
    """
    if tokens is None:
        order = list(lengths)
        for start in range(0, len(order), documents):
            yield order[start : start + documents]
        return
    taken: list[int] = []
    for i in sorted(lengths, key=lambda i: -lengths[i]):
        if taken and lengths[taken[0]] * (len(taken) + 1) > tokens:
            yield taken
            taken = []
        taken.append(i)
    if taken:
        yield taken

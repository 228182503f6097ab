"""The policy that training started from: what the trained one is compared with.

It is the same model with the adapter's first weights, which are exchanged for a moment when they are needed: a second copy of the model
would cost memory and give nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmi_env.rollout import Rollout

if TYPE_CHECKING:
    from torch import Tensor


class Reference:
    """The trainable weights of a model as they are now.

    Args:
        model: the policy, before the first step.
        vocab_size: of its tokenizer.
    """

    def __init__(self, model: Any, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._weights = {name: parameter.detach().clone() for name, parameter in _trainable(model).items()}

    def logprobs(self, model: Any, rollouts: Sequence[Rollout], micro_batch: int) -> list[list[float]]:
        """Logprobs of every response token of the rollouts; the model is left as it was."""
        import torch

        from trainers.forward import score_responses

        trained = {name: parameter.data for name, parameter in _trainable(model).items()}
        found: list[list[float]] = []
        try:
            _exchange(model, self._weights)
            with torch.no_grad():
                for start in range(0, len(rollouts), micro_batch):
                    ledgers = [rollout.ledger for rollout in rollouts[start : start + micro_batch]]
                    scored = score_responses(
                        model, [x.prompt_ids for x in ledgers], [x.response_ids for x in ledgers], self._vocab_size
                    )
                    for row, ledger in zip(scored.logprobs_BT, ledgers, strict=True):
                        found.append(row[: len(ledger.response_ids)].tolist())
        finally:
            _exchange(model, trained)
        return found


def divergence(rollouts: Sequence[Rollout], reference: Sequence[Sequence[float]]) -> float:
    """Mean over sampled tokens of the k3 estimate of the sampling policy's divergence from the reference."""
    import torch

    from trainers.losses import kl_penalty

    sampled: list[float] = []
    other: list[float] = []
    for rollout, logprobs in zip(rollouts, reference, strict=True):
        ledger = rollout.ledger
        begin = ledger.prompt_length
        for mine, first, second in zip(ledger.policy_mask[begin:], ledger.logprobs[begin:], logprobs, strict=True):
            if mine:
                sampled.append(first)
                other.append(second)
    return float(kl_penalty(torch.tensor(sampled), torch.tensor(other)).mean())


def _trainable(model: Any) -> dict[str, Any]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _exchange(model: Any, weights: Mapping[str, Tensor]) -> None:
    for name, parameter in _trainable(model).items():
        parameter.data = weights[name]

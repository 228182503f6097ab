"""The policy that training started from: what the trained one is compared with.

It is the same model with the trained weights as they were at first, which are exchanged for a moment when they are needed: of an adapter
that costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmi_env.errors import ConfigError
from llmi_env.policies.engines import model_parts
from trainers.batching import Batch, micro_batches
from trainers.losses import kl_penalty, masked_mean
from trainers.policy_model import PolicyModel

if TYPE_CHECKING:
    from torch import Tensor

    from llmi_env.ledger import Ledger
    from trainers.recipe import Recipe


@dataclass(frozen=True)
class Compared:
    """What the reference says about one document.

    Attributes:
        logprobs: of all T tokens that follow the prompt.
        hidden_TH: the states from which it predicts them, where the divergence is measured exactly.
    """

    logprobs: Sequence[float]
    hidden_TH: Tensor | None

    @property
    def states(self) -> Tensor:
        """`hidden_TH` of a reference that was made `exact`."""
        assert self.hidden_TH is not None, "the reference keeps states only where the divergence is measured exactly"
        return self.hidden_TH


class Reference:
    """The trained weights of a model as they are now.

    Args:
        policy: the policy, before the first step.
        exact: whether the divergence is to be measured over the whole vocabulary.

    Raises:
        ConfigError: it is, and the output layer is trained.
    """

    def __init__(self, policy: PolicyModel, exact: bool = False) -> None:
        import torch

        head = model_parts(policy.model)[1]
        if exact and (type(head) is not torch.nn.Linear or head.weight.requires_grad):
            raise ConfigError(
                "kl_estimate=exact compares two states by one output layer, and this adapter changes it: take kl_estimate=k3"
            )
        self._policy, self._exact = policy, exact
        self._weights = {name: parameter.detach().clone() for name, parameter in _trainable(policy.model).items()}

    def look(self, ledgers: Sequence[Ledger], recipe: Recipe) -> list[Compared]:
        """What it says about documents; the model is left as it was."""
        import torch

        model = self._policy.model
        trained = {name: parameter.data for name, parameter in _trainable(model).items()}
        found: dict[int, Compared] = {}
        try:
            _exchange(model, self._weights)
            with torch.no_grad():
                lengths = {i: len(ledger) for i, ledger in enumerate(ledgers)}
                for chosen in micro_batches(lengths, recipe.micro_batch, recipe.micro_tokens):
                    scored = self._policy.score([ledgers[i] for i in chosen])
                    logprobs_MT = scored.logprobs_BT.tolist()
                    for row, i in enumerate(chosen):
                        length = len(ledgers[i].response_ids)
                        hidden_TH = scored.hidden_BTH[row, :length].clone() if self._exact else None
                        found[i] = Compared(logprobs_MT[row][:length], hidden_TH)
        finally:
            _exchange(model, trained)
        return [found[i] for i in range(len(ledgers))]


def divergence(batch: Batch) -> float | None:
    """Mean over sampled tokens of the k3 estimate of the sampling policy's divergence from the reference; `None` where none was looked at."""
    known_BT = batch.sampled_BT & ~batch.reference_BT.isnan()
    if not known_BT.any():
        return None
    # never negative but for rounding
    return max(0.0, float(masked_mean(kl_penalty(batch.logprobs_BT, batch.reference_BT), known_BT)))


def _trainable(model: Any) -> dict[str, Any]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _exchange(model: Any, weights: Mapping[str, Tensor]) -> None:
    for name, parameter in _trainable(model).items():
        parameter.data = weights[name]

"""What PPO expects of a document while it is being written: a small head on the policy's last hidden states.

The trunk is shared and no gradient of the value loss reaches it. A trunk of its own, as verl's critic has, would double weights, optimiser
and forward passes, which one machine can ill afford; a gradient into the shared one would move the policy for the sake of the value, and need a
weight between two losses. So the policy's states are read as they are: the head costs next to nothing, has its own optimiser and learning rate,
and may learn before the policy moves (`critic_warmup`). What is not in these states it cannot see: `explained_variance` in the metrics tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainers.batching import Batch, micro_batches, padded
from trainers.losses import value_loss

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.policy_model import PolicyModel
    from trainers.recipe import Recipe

WIDTH = 128
"""Hidden units of the head."""


class Critic:
    """The head with its optimiser.

    Args:
        hidden_size: H, of the policy's last layer.
        recipe: learning rate and bounds.
        device: of the policy.
    """

    def __init__(self, hidden_size: int, recipe: Recipe, device: Any) -> None:
        import torch

        self._recipe = recipe
        last = torch.nn.Linear(WIDTH, 1)
        torch.nn.init.zeros_(last.weight)  # it begins by expecting nothing
        torch.nn.init.zeros_(last.bias)
        self.head = torch.nn.Sequential(torch.nn.Linear(hidden_size, WIDTH), torch.nn.Tanh(), last).to(device)
        self.optimizer = torch.optim.AdamW(self.head.parameters(), lr=recipe.lr_critic, weight_decay=0.0)

    def values(self, hidden_BTH: Tensor) -> Tensor:
        """(B, T) expected rewards, one before each token, from the states that predict it."""
        values_BT: Tensor = self.head(hidden_BTH.detach().float()).squeeze(-1)
        return values_BT

    def look(self, policy: PolicyModel, batch: Batch) -> Tensor:
        """(B, T) what it expects now before each token of a batch; 0 in documents that cannot be learned from."""
        import torch

        recipe, ledgers = self._recipe, batch.ledgers
        found: dict[int, list[float]] = {}
        lengths = {i: len(ledgers[i]) for i in batch.learnable}
        with torch.no_grad():
            for chosen in micro_batches(lengths, recipe.micro_batch, recipe.micro_tokens):
                rows = self.values(policy.score([ledgers[i] for i in chosen]).hidden_BTH).tolist()
                found |= {i: row[: len(ledgers[i].response_ids)] for i, row in zip(chosen, rows, strict=True)}
        return padded(found, batch.logprobs_BT).nan_to_num()

    def learn(self, hidden_MTH: Tensor, part: Batch, of: float) -> tuple[float, float]:
        """Add the gradient of the value loss of a micro-batch.

        Args:
            hidden_MTH: states that predict its tokens.
            part: the micro-batch, with values and returns.
            of: tokens (or documents) of the whole minibatch, see `trainers.losses.aggregate`.

        Returns:
            The loss and the share of tokens whose value was clipped.
        """
        recipe = self._recipe
        loss, clipped = value_loss(
            self.values(hidden_MTH),
            part.values_BT,
            part.returns_BT,
            part.mask_BT,
            clip=recipe.clip_value,
            aggregation=recipe.aggregation,
            of=of,
            horizon=recipe.max_tokens,
        )
        loss.backward()
        return loss.item(), clipped.item()

    def step(self) -> float:
        """Move by the gradients added up; returns their norm before it was cut to `grad_clip`."""
        import torch

        norm = float(torch.nn.utils.clip_grad_norm_(self.head.parameters(), self._recipe.grad_clip))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

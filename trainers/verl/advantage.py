"""The advantage estimator `llmi_grpo`: verl's GRPO, except that a score which cannot be compared teaches nothing.

verl gives a group of one its raw reward as advantage, so that the survivor of a judge's outage would be rewarded for surviving. Here a group
with fewer than two scores gets zero, and rollouts without a score are in no mean and no deviation. Importing this module registers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from verl.trainer.ppo.core_algos import register_adv_est

from trainers.losses import grpo_advantages

NAME = "llmi_grpo"
"""Value of `algorithm.adv_estimator`."""


@register_adv_est(NAME)
def llmi_grpo(
    token_level_rewards: Tensor,
    response_mask: Tensor,
    index: Sequence[object],
    config: Mapping[str, Any] | None = None,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """Advantages of a batch, as verl asks for them; axes: B rollouts, T response tokens.

    Args:
        token_level_rewards: (B, T) rewards, which are added up. NaN says that there is no score.
        response_mask: (B, T), 1 where the policy sampled the token. A row without any, as verl appends to fill a batch, has no score either.
        index: uid of each rollout's prompt, length B: the same in a group.
        config: verl's `algorithm`; of it `norm_adv_by_std_in_grpo`, true where it is missing: without it Dr. GRPO.
        **_: what verl gives to other estimators.

    Returns:
        Advantages twice, each (B, T): as such and as verl's returns. Zero outside of the mask.
    """
    with torch.no_grad():
        returns_B = token_level_rewards.sum(-1)
        scored_B = response_mask.bool().any(-1) & returns_B.isfinite()
        names: dict[object, int] = {}
        groups_B = [names.setdefault(uid, len(names)) for uid in index]
        scale = True if config is None else bool(config.get("norm_adv_by_std_in_grpo", True))
        advantages_B = grpo_advantages(returns_B, groups_B, scored_B, scale)
        advantages_BT = advantages_B[:, None] * response_mask
    return advantages_BT, advantages_BT.clone()

"""Losses and advantages of policy-gradient training: plain functions of tensors, nothing else.

For groups of two and more they equal verl's `core_algos`, as `tests/verl/test_losses_equal.py` shows. Where fewer than two rollouts of a
group have a score there is nothing to compare, and the advantage is zero: the survivor of a judge's outage must not be rewarded for it.

Axes: B rollouts, T tokens. Masks are 1 where the policy sampled the token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llmi_env.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

Aggregation = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]
PolicyLossKind = Literal["vanilla", "gspo"]
KLKind = Literal["k1", "abs", "k2", "k3"]

_LOG_RATIO_BOUND = 20.0  # keeps exp finite where two policies have drifted far apart
_LOG_SEQUENCE_RATIO_BOUND = 10.0
_KL_BOUND = 10.0


# --------------------------------------------------------------------------------------------------------------- advantages


def lighter_below(advantages_B: Tensor, weight: float) -> Tensor:
    """(B,) advantages with those below zero multiplied by `weight`.

    What is made less likely gives its probability to everything else, nonsense included; what is made likelier takes it from there. With a
    weight below 1 the policy grows surer of what it does well (arXiv 2506.01347), and the gradient is biased towards that.
    """
    return advantages_B.where(advantages_B >= 0, advantages_B * weight)


def grpo_advantages(
    returns_B: Tensor, groups_B: Tensor | Sequence[int], scored_B: Tensor | None = None, scale: bool = True
) -> Tensor:
    """Advantage of each rollout over its group's mean.

    Args:
        returns_B: reward of each rollout; what stands where there is no score does not matter, not even NaN.
        groups_B: group of each rollout.
        scored_B: true where the rollout has a score; all, where left out. Those without one get zero and stay out of mean and deviation.
        scale: divide by the group's standard deviation (GRPO); else only subtract the mean (Dr. GRPO).

    Returns:
        (B,) advantages; zero in groups with fewer than two scores (see `groups_without_baseline`).
    """
    import torch

    groups_B = torch.as_tensor(groups_B, device=returns_B.device)
    scored_B = torch.ones_like(returns_B, dtype=torch.bool) if scored_B is None else scored_B.bool()
    advantages_B = torch.zeros_like(returns_B)
    for group in groups_B.unique():
        members = (groups_B == group) & scored_B
        scores = returns_B[members].double()
        # Of equal scores the mean may differ by a rounding, which a deviation of almost zero would blow up.
        if len(scores) < 2 or scores.min() == scores.max():
            continue
        centred = scores - scores.mean()
        advantages_B[members] = (centred / (scores.std() + 1e-6) if scale else centred).to(returns_B.dtype)
    return advantages_B


def groups_without_baseline(groups_B: Tensor | Sequence[int], scored_B: Tensor, needed: int = 2) -> int:
    """How many groups have fewer scores than are needed, so that nothing is learned from them: two, or one beside a value head."""
    import torch

    groups_B = torch.as_tensor(groups_B, device=scored_B.device)
    return sum(int((scored_B.bool() & (groups_B == group)).sum() < needed) for group in groups_B.unique())


def groups_that_differ(returns_B: Tensor, groups_B: Tensor | Sequence[int], scored_B: Tensor) -> list[int]:
    """Groups with two scores that are not the same: those that have a gradient. DAPO learns from no other (arXiv 2503.14476, eq. 11)."""
    import torch

    groups_B = torch.as_tensor(groups_B, device=scored_B.device)
    found = []
    for group in groups_B.unique().tolist():
        scores = returns_B[(groups_B == group) & scored_B.bool()]
        if len(scores) and scores.min() != scores.max():
            found.append(int(group))
    return found


def most_varied(rewards_B: Tensor, groups_B: Tensor | Sequence[int], scored_B: Tensor, keep: int) -> list[int]:
    """Down-sampling by variance: in each group the documents whose rewards differ most (PODS, arXiv 2504.13818, theorem 1).

    The best choice of `keep` documents is always some of the worst together with some of the best.

    Args:
        rewards_B: reward of each document; not looked at without a score.
        groups_B: group of each document.
        scored_B: true where there is a score.
        keep: documents of each group; all where it has fewer with a score. Ties go to the document that comes first.

    Returns:
        Indices of the documents, in their order.
    """
    import torch

    groups_B = torch.as_tensor(groups_B, device=scored_B.device)
    kept: list[int] = []
    for group in groups_B.unique().tolist():
        members = ((groups_B == group) & scored_B.bool()).nonzero().flatten().tolist()
        ranked = sorted(members, key=lambda i: float(rewards_B[i]))
        choices = [[*ranked[:low], *ranked[len(ranked) - (keep - low) :]] for low in range(1, keep)]
        kept += max(choices, key=lambda rows: float(rewards_B[rows].double().var())) if len(ranked) > keep else ranked
    return sorted(kept)


def gae(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, lam: float, whiten: bool = True
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation; tokens outside of the mask (results shown to the policy, padding) are passed over.

    Returns:
        (B, T) advantages, over the mask of mean 0 and deviation 1 where `whiten`, and (B, T) returns for the value loss.
    """
    import torch

    next_value_B = torch.zeros_like(values_BT[:, 0])
    running_B = torch.zeros_like(next_value_B)
    backwards: list[Tensor] = []
    for t in reversed(range(values_BT.shape[1])):
        mask_B = mask_BT[:, t].to(values_BT.dtype)
        delta_B = rewards_BT[:, t] + gamma * next_value_B - values_BT[:, t]
        running_B = mask_B * (delta_B + gamma * lam * running_B) + (1 - mask_B) * running_B
        next_value_B = mask_B * values_BT[:, t] + (1 - mask_B) * next_value_B
        backwards.append(running_B)
    advantages_BT = torch.stack(backwards[::-1], dim=1)
    returns_BT = advantages_BT + values_BT
    return (masked_whiten(advantages_BT, mask_BT) if whiten else advantages_BT), returns_BT


# -------------------------------------------------------------------------------------------------------------------- masks


def masked_mean(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean over the mask; what stands outside of it does not matter, not even NaN. Zero for an empty mask."""
    return _inside(values_BT, mask_BT).sum() / mask_BT.sum().clamp(min=1)


def masked_whiten(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Shifted and scaled to mean 0 and (unbiased) variance 1 over the mask.

    Raises:
        ConfigError: the mask holds fewer than two tokens.
    """
    count = mask_BT.sum()
    if count < 2:
        raise ConfigError("whitening needs at least two tokens that the policy sampled")
    mean = masked_mean(values_BT, mask_BT)
    variance = masked_mean((values_BT - mean) ** 2, mask_BT) * count / (count - 1)
    return (values_BT - mean) * (variance + 1e-8).rsqrt()


def aggregate(
    losses_BT: Tensor,
    mask_BT: Tensor,
    mode: Aggregation = "token-mean",
    of: float | None = None,
    horizon: float | None = None,
) -> Tensor:
    """One number from the losses of tokens.

    Args:
        losses_BT: loss of each token.
        mask_BT: tokens that count.
        mode: `token-mean` gives every token the same weight; `seq-mean-token-mean` every rollout; `seq-mean-token-sum` sums a rollout's tokens;
            `seq-mean-token-sum-norm` divides that by the horizon (Dr. GRPO).
        of: what the whole batch holds, where this is a part of it and gradients are accumulated: tokens for `token-mean`, rollouts
            for the others. The parts then add up to the loss of the whole.
        horizon: tokens that a rollout may have, for `-norm`; T where left out, which is another number in each part of a batch.

    Raises:
        ConfigError: an unknown mode.
    """
    losses_BT = _inside(losses_BT, mask_BT)
    lengths_B = mask_BT.sum(-1)
    rollouts = (lengths_B > 0).sum().clamp(min=1) if of is None else of
    if mode == "token-mean":
        return losses_BT.sum() / (lengths_B.sum().clamp(min=1) if of is None else of)
    if mode == "seq-mean-token-mean":
        return (losses_BT.sum(-1) / lengths_B.clamp(min=1)).sum() / rollouts
    if mode == "seq-mean-token-sum":
        return losses_BT.sum() / rollouts
    if mode == "seq-mean-token-sum-norm":
        return losses_BT.sum() / rollouts / (losses_BT.shape[-1] if horizon is None else horizon)
    raise ConfigError(f"unknown aggregation {mode!r}{did_you_mean(mode, Aggregation.__args__)}")


# ------------------------------------------------------------------------------------------------------------------- losses


@dataclass(frozen=True)
class PolicyLoss:
    """The loss of the policy and what it tells about the step.

    Attributes:
        loss: to be minimised.
        clip_fraction: share of tokens whose gradient the clipping took away.
        dual_clip_fraction: share of tokens at the bound on very bad rollouts.
        approx_kl: mean of old minus new logprob.
    """

    loss: Tensor
    clip_fraction: Tensor
    dual_clip_fraction: Tensor
    approx_kl: Tensor


def policy_loss(
    kind: PolicyLossKind,
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = 10.0,
    aggregation: Aggregation = "token-mean",
    of: float | None = None,
    horizon: float | None = None,
) -> PolicyLoss:
    """The clipped surrogate of PPO and GRPO (`vanilla`), or that of GSPO with one ratio for a whole rollout.

    Args:
        kind: `vanilla` or `gspo`.
        logprobs_BT: under the policy that is trained, with gradient.
        old_logprobs_BT: under the policy that sampled.
        advantages_BT: of each token; (B, 1) is spread over the tokens.
        mask_BT: tokens that the policy sampled.
        clip_low: ratios below `1 - clip_low` earn nothing more.
        clip_high: ratios above `1 + clip_high` earn nothing more.
        dual_clip: bound of the loss of tokens with negative advantage, as a multiple of it; `None` for none. Not used by `gspo`.
        aggregation: see `aggregate`.
        of: see `aggregate`.
        horizon: see `aggregate`.

    Raises:
        ConfigError: an unknown kind.
    """
    import torch

    old_logprobs_BT = _inside(old_logprobs_BT, mask_BT)
    advantages_BT = advantages_BT.expand_as(logprobs_BT)
    log_ratio_BT = _inside(logprobs_BT - old_logprobs_BT, mask_BT)
    if kind == "vanilla":
        log_ratio_BT = log_ratio_BT.clamp(-_LOG_RATIO_BOUND, _LOG_RATIO_BOUND)
        ratio_BT = log_ratio_BT.exp()
    elif kind == "gspo":
        mean_B1 = log_ratio_BT.sum(-1, keepdim=True) / mask_BT.sum(-1, keepdim=True).clamp(min=1)
        # Value of the rollout's ratio, gradient through each token's own logprob.
        sequence_BT = logprobs_BT - logprobs_BT.detach() + mean_B1.detach()
        ratio_BT = sequence_BT.clamp(max=_LOG_SEQUENCE_RATIO_BOUND).exp()
    else:
        raise ConfigError(f"unknown policy loss {kind!r}{did_you_mean(kind, ('vanilla', 'gspo'))}")
    plain_BT = -advantages_BT * ratio_BT
    clipped_BT = -advantages_BT * ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    losses_BT = torch.maximum(plain_BT, clipped_BT)
    clip_fraction = masked_mean((clipped_BT > plain_BT).float(), mask_BT)
    dual_fraction = torch.zeros_like(clip_fraction)
    if kind == "vanilla" and dual_clip is not None:
        bound_BT = -advantages_BT * dual_clip
        bad_BT = advantages_BT < 0
        dual_fraction = masked_mean(((losses_BT > bound_BT) & bad_BT).float(), mask_BT)
        losses_BT = torch.where(bad_BT, torch.minimum(bound_BT, losses_BT), losses_BT)
    approx_kl = masked_mean(-log_ratio_BT.detach(), mask_BT)
    loss = aggregate(losses_BT, mask_BT, aggregation, of, horizon)
    return PolicyLoss(loss, clip_fraction, dual_fraction, approx_kl)


def value_loss(
    values_BT: Tensor,
    old_values_BT: Tensor,
    returns_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip: float = 0.5,
    aggregation: Aggregation = "token-mean",
    of: float | None = None,
    horizon: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Half the squared error of the value head, clipped around its old prediction; and the share of tokens that were clipped."""
    import torch

    # Not old + (new - old) clamped: its rounding would count values within the bounds as clipped.
    near_BT = values_BT.clamp(old_values_BT - clip, old_values_BT + clip)
    plain_BT, clipped_BT = (values_BT - returns_BT) ** 2, (near_BT - returns_BT) ** 2
    loss = 0.5 * aggregate(torch.maximum(plain_BT, clipped_BT), mask_BT, aggregation, of, horizon)
    return loss, masked_mean((clipped_BT > plain_BT).float(), mask_BT)


def explained_variance(values_BT: Tensor, returns_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Share of the returns' variance that the values foresaw: 1 is all, 0 no more than a constant would. NaN where returns do not vary."""
    import torch

    mask_BT = mask_BT.bool()
    returns_N, errors_N = returns_BT[mask_BT], (returns_BT - values_BT)[mask_BT]
    variance = returns_N.var(correction=0)
    return torch.where(variance > 0, 1 - errors_N.var(correction=0) / variance, torch.nan)


def kl_penalty(logprobs_BT: Tensor, reference_BT: Tensor, kind: KLKind = "k3") -> Tensor:
    """Estimate, token by token, of the divergence from a reference policy.

    `k1` is unbiased and may be negative; `k2` is half its square; `k3` is never negative and of low variance; `abs` is the distance.

    Raises:
        ConfigError: an unknown kind.
    """
    difference_BT = logprobs_BT - reference_BT
    if kind == "k1":
        return difference_BT
    if kind == "abs":
        return difference_BT.abs()
    if kind == "k2":
        return 0.5 * difference_BT.square()
    if kind == "k3":
        log_ratio_BT = (-difference_BT).clamp(-_LOG_RATIO_BOUND, _LOG_RATIO_BOUND)
        return (log_ratio_BT.exp() - log_ratio_BT - 1).clamp(-_KL_BOUND, _KL_BOUND)
    raise ConfigError(f"unknown estimate {kind!r} of the divergence{did_you_mean(kind, ('k1', 'abs', 'k2', 'k3'))}")


def _inside(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Values with zero outside of the mask, also where NaN stands there: a product with zero would keep it."""
    return values_BT.masked_fill(~mask_BT.bool(), 0.0)

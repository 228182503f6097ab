"""Our losses are verl's: the same numbers and gradients on random batches, and every difference that is meant."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("verl", reason="verl is not installed: pip install 'llmi-env[verl]'")

from verl.trainer.ppo import core_algos  # noqa: E402
from verl.workers.config import ActorConfig  # noqa: E402

from trainers.losses import (  # noqa: E402
    Aggregation,
    KLKind,
    aggregate,
    gae,
    grpo_advantages,
    kl_penalty,
    policy_loss,
    value_loss,
)

MODES: tuple[Aggregation, ...] = Aggregation.__args__
KL_KINDS: tuple[KLKind, ...] = KLKind.__args__
BATCHES = [  # seed, rollouts, tokens
    *[(seed, 8, 12) for seed in range(6)],
    (6, 2, 1),
    (7, 2, 2),
    (8, 64, 3),
    (9, 3, 200),
]


class Batch:
    """A random batch: some rollouts full, some with gaps as tools leave them, one empty where there are three or more."""

    def __init__(self, seed: int, rollouts: int, tokens: int, dtype: Any = torch.float64) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.shape, self.dtype = (rollouts, tokens), dtype
        self.mask = (torch.rand(self.shape, generator=self.generator) < 0.7).long()
        self.mask[0] = 1
        self.mask[1, 0] = 1
        if rollouts > 2:
            self.mask[2] = 0

    def normal(self, scale: float = 1.0) -> Any:
        return scale * torch.randn(self.shape, generator=self.generator, dtype=self.dtype)

    def per_rollout(self) -> Any:
        """As GRPO's advantages are: one number for all tokens of a rollout, one of them zero."""
        numbers = torch.randn(self.shape[0], 1, generator=self.generator, dtype=self.dtype)
        numbers[-1] = 0
        return numbers.expand(self.shape).clone()


@pytest.fixture(params=BATCHES, ids=lambda batch: "seed{}-{}x{}".format(*batch))
def batch(request: pytest.FixtureRequest) -> Batch:
    return Batch(*request.param)


def close(ours: Any, verls: Any, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(
        ours.detach(), torch.as_tensor(verls, dtype=ours.dtype).detach(), atol=tolerance, rtol=tolerance
    )


class TestGroups:
    @pytest.mark.parametrize("scale", [True, False])
    @pytest.mark.parametrize("sizes", [(2, 2), (8,) * 4, (2, 3, 4, 5, 16)])
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
    def test_advantages_of_groups_of_two_and_more(
        self, sizes: tuple[int, ...], scale: bool, dtype: Any, tolerance: float
    ) -> None:
        for seed in range(20):
            generator = torch.Generator().manual_seed(seed)
            groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
            groups = groups[torch.randperm(len(groups), generator=generator)]
            returns = torch.rand(len(groups), generator=generator, dtype=dtype)
            rewards, mask = torch.zeros(len(groups), 5, dtype=dtype), torch.ones(len(groups), 5, dtype=dtype)
            rewards[:, -1] = returns
            verls, _ = core_algos.compute_grpo_outcome_advantage(
                rewards.clone(), mask, np.array([f"uid-{g}" for g in groups.tolist()]), norm_adv_by_std_in_grpo=scale
            )
            ours = grpo_advantages(returns, groups, scale=scale)
            close(ours[:, None].expand(-1, 5), verls, tolerance)

    def test_a_group_of_one_is_meant_to_differ(self) -> None:
        """verl hands its raw reward on; with us nothing is learnt from a score that cannot be compared."""
        rewards = torch.tensor([[0.0, 0.9]])
        verls, _ = core_algos.compute_grpo_outcome_advantage(rewards.clone(), torch.ones(1, 2), np.array(["a"]))
        assert verls[0, 0].item() == pytest.approx(0.9, abs=1e-5)
        assert grpo_advantages(rewards.sum(-1), [0]).item() == 0

    def test_the_unscored_are_meant_to_differ(self) -> None:
        """verl knows no missing score; with ours left out, the others are verl's of the smaller group."""
        returns = torch.tensor([0.2, math.nan, 0.7, 0.6], dtype=torch.float64)
        scored = ~returns.isnan()
        verls, _ = core_algos.compute_grpo_outcome_advantage(
            returns[scored][:, None].clone(), torch.ones(3, 1), np.array(["a"] * 3)
        )
        ours = grpo_advantages(returns, [0] * 4, scored)
        close(ours[scored][:, None], verls)
        assert ours[1].item() == 0

    def test_equal_scores_are_meant_to_differ(self) -> None:
        """The mean of equal 32-bit scores may be off by a rounding, which verl divides by a deviation of almost nothing."""
        returns = torch.full((7,), 0.04)
        verls, _ = core_algos.compute_grpo_outcome_advantage(returns[:, None].clone(), torch.ones(7, 1), np.zeros(7))
        assert 0 < verls.abs().max() < 0.1
        assert not grpo_advantages(returns, [0] * 7).any()


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (0.99, 0.95), (0.9, 0.0), (1.0, 0.97)])
def test_generalised_advantages(batch: Batch, gamma: float, lam: float) -> None:
    rewards, values = batch.normal(), batch.normal()
    verls = core_algos.compute_gae_advantage_return(rewards, values, batch.mask, gamma, lam)
    for ours, theirs in zip(gae(rewards, values, batch.mask, gamma, lam), verls, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("mode", MODES)
class TestAggregation:
    def test_of_a_whole_batch(self, batch: Batch, mode: Aggregation) -> None:
        losses = batch.normal()
        close(aggregate(losses, batch.mask, mode), core_algos.agg_loss(losses, batch.mask, mode))

    def test_of_a_part_of_it(self, batch: Batch, mode: Aggregation) -> None:
        losses = batch.normal()
        verls = core_algos.agg_loss(
            losses, batch.mask, mode, batch_num_tokens=777, global_batch_size=55, loss_scale_factor=300
        )
        close(aggregate(losses, batch.mask, mode, of=777 if mode == "token-mean" else 55, horizon=300), verls)

    def test_an_empty_mask_is_meant_to_differ(self, mode: Aggregation) -> None:
        nothing = torch.zeros(2, 3)
        assert aggregate(nothing, nothing, mode).item() == 0
        assert math.isnan(core_algos.agg_loss(nothing, nothing, mode).item())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["vanilla", "gspo"])
@pytest.mark.parametrize(
    ("clip_low", "clip_high", "dual_clip", "drift"),
    [(0.2, 0.2, 10.0, 0.1), (0.2, 0.28, 3.0, 1.5), (3e-4, 4e-4, 10.0, 1e-3), (0.2, 0.28, 10.0, 12.0)],
)
def test_policy_losses_and_their_gradients(
    batch: Batch, kind: Any, mode: Aggregation, clip_low: float, clip_high: float, dual_clip: float, drift: float
) -> None:
    """`drift` is how far the policy has moved: from hardly at all to where ratios are clamped to stay finite."""
    old = -batch.normal().abs()
    config = ActorConfig(
        strategy="fsdp2",
        rollout_n=1,
        use_dynamic_bsz=True,
        clip_ratio_low=clip_low,
        clip_ratio_high=clip_high,
        clip_ratio_c=dual_clip,
    )
    moved = batch.normal(drift)
    for advantages in (batch.per_rollout(), batch.normal()):
        ours_at, verls_at = (old + moved).requires_grad_(), (old + moved).requires_grad_()
        ours = policy_loss(
            kind,
            ours_at,
            old,
            advantages,
            batch.mask,
            clip_low=clip_low,
            clip_high=clip_high,
            dual_clip=dual_clip,
            aggregation=mode,
        )
        loss, figures = core_algos.get_policy_loss_fn(kind)(old, verls_at, advantages, batch.mask, mode, config)
        close(ours.loss, loss)
        close(ours.clip_fraction, figures["actor/pg_clipfrac"])
        close(ours.dual_clip_fraction, float(figures["actor/pg_clipfrac_lower"]))
        close(ours.approx_kl, figures["actor/ppo_kl"])
        ours.loss.backward()
        loss.backward()
        close(ours_at.grad, verls_at.grad)
        assert not ours_at.grad[batch.mask == 0].any()


@pytest.mark.parametrize("clip", [0.05, 0.5])
@pytest.mark.parametrize("mode", MODES)
def test_value_losses(batch: Batch, mode: Aggregation, clip: float) -> None:
    values, old, returns = batch.normal(), batch.normal(), batch.normal()
    loss, fraction = core_algos.compute_value_loss(values, returns, old, batch.mask, clip, mode)
    ours, ours_fraction = value_loss(values, old, returns, batch.mask, clip=clip, aggregation=mode)
    close(ours, loss)
    close(ours_fraction, fraction)


@pytest.mark.parametrize("kind", KL_KINDS)
def test_divergences_and_their_gradients(batch: Batch, kind: KLKind) -> None:
    for scale in itertools.chain([0.01, 1.0, 30.0]):
        reference, logprobs = batch.normal(scale), batch.normal(scale)
        ours_at, verls_at = logprobs.clone().requires_grad_(), logprobs.clone().requires_grad_()
        ours, verls = kl_penalty(ours_at, reference, kind), core_algos.kl_penalty(verls_at, reference, kind)
        close(ours, verls)
        ours.sum().backward()
        verls.sum().backward()
        close(ours_at.grad, verls_at.grad)

"""Losses against values worked out by hand."""

from __future__ import annotations

import itertools
import math

import pytest

torch = pytest.importorskip("torch")

from llmi_env.errors import ConfigError  # noqa: E402
from trainers.losses import (  # noqa: E402
    aggregate,
    explained_variance,
    gae,
    groups_that_differ,
    groups_without_baseline,
    grpo_advantages,
    kl_penalty,
    lighter_below,
    masked_mean,
    masked_whiten,
    most_varied,
    policy_loss,
    value_loss,
)

nan = math.nan


def tensor(*values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: torch.Tensor, *expected: object) -> None:
    torch.testing.assert_close(
        actual, torch.tensor(expected, dtype=actual.dtype).view(actual.shape), atol=1e-5, rtol=1e-5
    )


class TestMostVaried:
    @pytest.mark.parametrize("keep", [2, 3, 4, 5])
    def test_no_other_choice_varies_more(self, keep: int) -> None:
        generator = torch.Generator().manual_seed(keep)
        for _ in range(20):
            rewards = torch.rand(7, generator=generator).double() ** 3
            kept = most_varied(rewards, [4] * 7, torch.ones(7, dtype=torch.bool), keep)
            best = max(rewards[list(rows)].var() for rows in itertools.combinations(range(7), keep))
            assert len(kept) == keep
            assert rewards[kept].var() == pytest.approx(float(best))

    def test_groups_apart_without_the_unscored_and_in_their_order(self) -> None:
        rewards = tensor(0.5, 0.9, 0.1, nan, 0.3, nan, 0.2, 0.2, 0.2)
        groups, scored = [0, 0, 0, 0, 1, 1, 2, 2, 2], ~rewards.isnan()
        assert most_varied(rewards, groups, scored, 2) == [1, 2, 4, 6, 8]
        assert most_varied(rewards, groups, torch.zeros_like(scored), 2) == []


class TestAdvantages:
    def test_scores_are_centred_and_scaled_within_their_group(self) -> None:
        # group 0: mean 2, unbiased deviation sqrt(2); group 1: mean 5, deviation 1
        advantages = grpo_advantages(tensor(1, 3, 4, 5, 6), [0, 0, 1, 1, 1])
        close(advantages, -1 / math.sqrt(2), 1 / math.sqrt(2), -1, 0, 1)

    def test_without_scale_only_the_mean_is_taken_off(self) -> None:
        close(grpo_advantages(tensor(1, 3, 4, 5, 6), [0, 0, 1, 1, 1], scale=False), -1, 1, -1, 0, 1)

    def test_the_unscored_stay_out_of_everything(self) -> None:
        returns, groups = tensor(1, 3, nan, 7), [0, 0, 0, 0]
        scored = torch.tensor([True, True, False, True])
        advantages = grpo_advantages(returns, groups, scored)
        close(advantages[scored], *grpo_advantages(tensor(1, 3, 7), [0, 0, 0]).tolist())
        assert advantages[2] == 0

    def test_a_group_with_one_score_has_nothing_to_compare(self) -> None:
        scored = torch.tensor([True, False, True, True])
        advantages = grpo_advantages(tensor(0.9, nan, 0.2, 0.4), [0, 0, 1, 1], scored)
        assert advantages[:2].tolist() == [0, 0]
        assert groups_without_baseline([0, 0, 1, 1], scored) == 1

    def test_equal_scores_give_zero(self) -> None:
        close(grpo_advantages(tensor(0.5, 0.5, 0.5), [3, 3, 3]), 0, 0, 0)

    def test_documents_below_the_mean_may_count_for_less(self) -> None:
        advantages = tensor(-1, 0, 0.5, -0.2)
        close(lighter_below(advantages, 0.5), -0.5, 0, 0.5, -0.1)
        close(lighter_below(advantages, 0), 0, 0, 0.5, 0)
        close(lighter_below(advantages, 1), *advantages.tolist())

    @pytest.mark.parametrize("size", range(2, 17))
    def test_equal_scores_give_exactly_zero_whatever_the_rounding(self, size: int) -> None:
        """The mean of equal 32-bit numbers is not always that number."""
        for score in range(101):
            returns = torch.full((size,), score / 100, dtype=torch.float32)
            assert not grpo_advantages(returns, [0] * size).any()

    def test_gae_by_hand(self) -> None:
        rewards, values, mask = tensor([0, 0, 1]), tensor([0.5, 0.6, 0.7]), tensor([1, 1, 1])
        # deltas 0.6 g - 0.5, 0.7 g - 0.6, 1 - 0.7 with g = 0.9; lam = 0.5
        last = 0.3
        middle = 0.03 + 0.45 * last
        first = 0.04 + 0.45 * middle
        advantages, returns = gae(rewards, values, mask, 0.9, 0.5, whiten=False)
        close(advantages, first, middle, last)
        close(returns, first + 0.5, middle + 0.6, last + 0.7)

    def test_gae_passes_over_tokens_that_the_policy_did_not_write(self) -> None:
        with_gap, _ = gae(tensor([0, 9, 1]), tensor([0.5, 123, 0.7]), tensor([1, 0, 1]), 0.9, 0.8, whiten=False)
        without, _ = gae(tensor([0, 1]), tensor([0.5, 0.7]), tensor([1, 1]), 0.9, 0.8, whiten=False)
        close(with_gap[:, [0, 2]], *without.flatten().tolist())

    def test_whitening(self) -> None:
        whitened = masked_whiten(tensor([1, 2, 3, 99]), tensor([1, 1, 1, 0]))
        close(whitened[:, :3], -1, 0, 1)
        with pytest.raises(ConfigError, match="at least two"):
            masked_whiten(tensor([1, 2]), tensor([1, 0]))


class TestAggregate:
    losses, mask = tensor([1, 2, nan], [4, nan, nan]), tensor([1, 1, 0], [1, 0, 0])

    @pytest.mark.parametrize(
        ("mode", "expected"),
        [
            ("token-mean", 7 / 3),
            ("seq-mean-token-mean", (1.5 + 4) / 2),
            ("seq-mean-token-sum", (3 + 4) / 2),
            ("seq-mean-token-sum-norm", 7 / 2 / 3),
        ],
    )
    def test_by_hand(self, mode: str, expected: float) -> None:
        close(aggregate(self.losses, self.mask, mode), expected)

    @pytest.mark.parametrize(("mode", "of"), [("token-mean", 3), ("seq-mean-token-mean", 2), ("seq-mean-token-sum", 2)])
    def test_parts_add_up_to_the_whole(self, mode: str, of: float) -> None:
        parts = [aggregate(self.losses[i : i + 1], self.mask[i : i + 1], mode, of) for i in range(2)]
        close(parts[0] + parts[1], float(aggregate(self.losses, self.mask, mode)))

    def test_parts_of_unlike_width_add_up_where_the_horizon_is_given(self) -> None:
        whole = aggregate(self.losses, self.mask, "seq-mean-token-sum-norm", horizon=10)
        parts = [
            aggregate(self.losses[:1], self.mask[:1], "seq-mean-token-sum-norm", of=2, horizon=10),
            aggregate(self.losses[1:, :1], self.mask[1:, :1], "seq-mean-token-sum-norm", of=2, horizon=10),
        ]
        close(parts[0] + parts[1], float(whole))

    def test_a_rollout_without_tokens_does_not_count(self) -> None:
        close(aggregate(tensor([2, 4], [9, 9]), tensor([1, 1], [0, 0]), "seq-mean-token-mean"), 3)

    def test_unknown_mode(self) -> None:
        with pytest.raises(ConfigError, match="did you mean 'token-mean'"):
            aggregate(self.losses, self.mask, "token_mean")  # type: ignore[arg-type]


class TestPolicyLoss:
    def test_vanilla_clips_on_the_side_that_would_gain(self) -> None:
        ratios = tensor([1.5, 0.5, 1.5, 0.5])
        advantages = tensor([1, 1, -1, -1])
        result = policy_loss("vanilla", ratios.log(), torch.zeros_like(ratios), advantages, torch.ones_like(ratios))
        # gains are cut at 1.2, losses at 0.8; the others pass whole
        close(result.loss, (-1.2 - 0.5 + 1.5 + 0.8) / 4)
        close(result.clip_fraction, 0.5)
        close(result.dual_clip_fraction, 0)
        close(result.approx_kl, float(-ratios.log().mean()))

    def test_clip_higher(self) -> None:
        ratio = tensor([1.25])
        one = torch.ones_like(ratio).view(1, 1)
        kwargs = {"clip_low": 0.2, "clip_high": 0.28}
        close(policy_loss("vanilla", ratio.log().view(1, 1), 0 * one, one, one, **kwargs).loss, -1.25)

    def test_dual_clip_bounds_the_loss_of_very_bad_tokens(self) -> None:
        ratio = tensor([25.0]).view(1, 1)
        one = torch.ones_like(ratio)
        bounded = policy_loss("vanilla", ratio.log(), 0 * one, -one, one, dual_clip=10.0)
        close(bounded.loss, 10)
        close(bounded.dual_clip_fraction, 1)
        close(policy_loss("vanilla", ratio.log(), 0 * one, -one, one, dual_clip=None).loss, 25)

    def test_gspo_has_one_ratio_for_a_rollout(self) -> None:
        log_ratios = tensor([0.1, 0.3, nan], [-0.4, 0.0, 0.1])
        mask = tensor([1, 1, 0], [1, 1, 1])
        old = torch.zeros_like(log_ratios)
        result = policy_loss(
            "gspo",
            log_ratios,
            old,
            tensor([1.0], [-1.0]),
            mask,
            clip_low=0.5,
            clip_high=0.5,
            aggregation="seq-mean-token-mean",
        )
        close(result.loss, (-math.exp(0.2) + math.exp(-0.1)) / 2)

    def test_gradients_flow_through_sampled_tokens_only(self) -> None:
        for kind in ("vanilla", "gspo"):
            logprobs = tensor([-1.0, -2.0, -3.0]).requires_grad_()
            mask = tensor([1, 0, 1])
            old = tensor([-1.0, nan, -3.0])
            policy_loss(kind, logprobs[None][0], old, tensor([1.0]), mask).loss.backward()  # type: ignore[arg-type]
            assert logprobs.grad is not None
            assert logprobs.grad[..., 1].item() == 0
            assert (logprobs.grad[..., [0, 2]] < 0).all()

    def test_unknown_kind(self) -> None:
        with pytest.raises(ConfigError, match="did you mean 'gspo'"):
            policy_loss("gsp", *[tensor([1.0])] * 4)  # type: ignore[arg-type]


def test_value_loss_takes_the_worse_of_plain_and_clipped() -> None:
    values, old, returns, mask = tensor([2.0, 1.0]), tensor([1.0, 1.0]), tensor([3.0, 1.5]), tensor([1, 1])
    loss, fraction = value_loss(values, old, returns, mask, clip=0.5)
    close(loss, 0.5 * (1.5**2 + 0.5**2) / 2)
    close(fraction, 0.5)


def test_kl_estimates() -> None:
    p, q = tensor([-1.0]), tensor([-1.5])
    close(kl_penalty(p, q, "k1"), 0.5)
    close(kl_penalty(q, p, "abs"), 0.5)
    close(kl_penalty(p, q, "k2"), 0.125)
    close(kl_penalty(p, q), math.exp(-0.5) + 0.5 - 1)
    with pytest.raises(ConfigError):
        kl_penalty(p, q, "k9")  # type: ignore[arg-type]


def test_groups_that_differ_have_two_scores_that_are_not_the_same() -> None:
    rewards = tensor(0.5, 0.5, 0.2, nan, 0.1, 0.4, nan, nan)
    groups, scored = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), ~rewards.isnan()
    assert groups_that_differ(rewards, groups, scored) == [2]
    assert groups_without_baseline(groups, scored) == 2
    assert groups_without_baseline(groups, scored, needed=1) == 1


def test_explained_variance() -> None:
    returns, mask = tensor([1.0, 3.0, nan], [5.0, 7.0, nan]), tensor([1, 1, 0], [1, 1, 0])
    close(explained_variance(returns, returns, mask), 1)
    close(explained_variance(torch.zeros_like(returns), returns, mask), 0)
    close(explained_variance(returns / 2, returns, mask), 0.75)
    close(explained_variance(-returns, returns, mask), -3)
    assert explained_variance(returns, torch.ones_like(returns), mask).isnan()


def test_masked_mean_of_nothing_is_zero() -> None:
    close(masked_mean(tensor([nan, nan]), tensor([0, 0])), 0)

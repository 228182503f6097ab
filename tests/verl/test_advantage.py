"""The estimator `llmi_grpo`, called as verl calls it: what has no score changes nothing for the others, and one alone learns nothing."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("verl", reason="verl is not installed: pip install 'llmi-env[verl]'")

from omegaconf import OmegaConf  # noqa: E402
from verl.protocol import DataProto  # noqa: E402
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage, get_adv_estimator_fn  # noqa: E402
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories  # noqa: E402

from trainers.verl.advantage import NAME, llmi_grpo  # noqa: E402

T = 6


def advantages(rewards: list[float], uids: list[str], masks: Any = None, **config: Any) -> Any:
    """Through verl's own call; the reward stands at the last token, as in a batch of the agent loop's."""
    mask = torch.ones(len(rewards), T, dtype=torch.int64) if masks is None else masks
    token_level = torch.zeros(len(rewards), T)
    token_level[:, -1] = torch.tensor(rewards)
    data = DataProto.from_dict(
        {"token_level_rewards": token_level, "response_mask": mask}, {"uid": np.array(uids, dtype=object)}
    )
    out = compute_advantage_for_multi_trajectories(
        data,
        batch_keys=[f"{uid}_{i}_0" for i, uid in enumerate(uids)],
        adv_estimator=NAME,
        config=OmegaConf.create({"norm_adv_by_std_in_grpo": True, **config}),
    )
    assert torch.equal(out.batch["advantages"], out.batch["returns"])
    return out.batch["advantages"]


def verls(rewards: list[float], uids: list[str], scale: bool = True) -> Any:
    token_level = torch.zeros(len(rewards), T)
    token_level[:, -1] = torch.tensor(rewards)
    result, _ = compute_grpo_outcome_advantage(
        token_level, torch.ones(len(rewards), T), np.array(uids, dtype=object), norm_adv_by_std_in_grpo=scale
    )
    return result


def test_verl_finds_it_by_name() -> None:
    assert get_adv_estimator_fn("llmi_grpo") is llmi_grpo


@pytest.mark.parametrize("scale", [True, False])
def test_groups_of_two_and_more_are_verls(scale: bool) -> None:
    rewards, uids = [0.1, 0.9, 0.4, 0.3, 0.8], ["a", "b", "a", "b", "b"]
    ours = advantages(rewards, uids, norm_adv_by_std_in_grpo=scale)
    torch.testing.assert_close(ours, verls(rewards, uids, scale), atol=1e-5, rtol=1e-5)


def test_with_failed_episodes_the_others_are_as_if_those_had_never_been() -> None:
    """A World that loses three judgments in ten: failed episodes are absent from the batch, or stand in it as rows without a score."""
    chance = random.Random(0)
    singles = 0
    for _ in range(50):
        uids = [uid for uid in "abcdefgh" for _ in range(4)]
        rewards = [chance.random() for _ in uids]
        failed = [chance.random() < 0.3 for _ in uids]
        kept = [i for i, lost in enumerate(failed) if not lost]
        sizes = [sum(uids[j] == uids[i] for j in kept) for i in kept]
        absent = advantages([rewards[i] for i in kept], [uids[i] for i in kept])
        masks = torch.ones(len(uids), T, dtype=torch.int64)
        masks[torch.tensor(failed)] = 0
        unscored = advantages([float("nan") if lost else r for r, lost in zip(rewards, failed, strict=True)], uids)
        emptied = advantages(rewards, uids, masks)
        torch.testing.assert_close(unscored[kept], absent)
        torch.testing.assert_close(emptied[kept], absent)
        assert not unscored[failed].any()
        compared = [n for n, size in enumerate(sizes) if size > 1]
        expected = verls([rewards[kept[n]] for n in compared], [uids[kept[n]] for n in compared])
        torch.testing.assert_close(absent[compared], expected, atol=1e-4, rtol=1e-4)
        alone = [n for n, size in enumerate(sizes) if size == 1]
        assert not absent[alone].any()
        singles += len(alone)
    assert singles


def test_a_group_of_one_gets_nothing_where_verl_hands_on_the_reward() -> None:
    rewards, uids = [0.9, 0.2, 0.6], ["alone", "b", "b"]
    assert advantages(rewards, uids)[0].tolist() == [0] * T
    assert verls(rewards, uids)[0, 0].item() == pytest.approx(0.9, abs=1e-4)


def test_rows_that_fill_a_batch_are_no_group() -> None:
    """verl appends copies without a policy token, under a uid of their own."""
    masks = torch.ones(5, T, dtype=torch.int64)
    masks[3:] = 0
    filled = advantages([0.2, 0.4, 0.9, 0.0, 0.0], ["a", "a", "a", "pad", "pad"], masks)
    torch.testing.assert_close(filled[:3], advantages([0.2, 0.4, 0.9], ["a"] * 3))
    assert not filled[3:].any()


def test_tokens_of_tools_get_nothing() -> None:
    masks = torch.ones(2, T, dtype=torch.int64)
    masks[:, 2:4] = 0
    result = advantages([0.0, 1.0], ["a", "a"], masks)
    assert not result[:, 2:4].any()
    assert (result[1, [0, 1, 4, 5]] > 0).all()

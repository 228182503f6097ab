from __future__ import annotations

from collections.abc import Iterator

import gymnasium as gym
import pytest

from tests.friends.owls import LENGTH, earned, owl_tokens

pytest.importorskip("torchrl", reason="TorchRL is not installed: make friends")

import torch
from tensordict import TensorDictBase
from torchrl.collectors import Collector
from torchrl.envs import GymEnv, GymWrapper
from torchrl.envs.utils import check_env_specs


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gym.register("OwlTokens-v0", entry_point=owl_tokens)
    yield
    del gym.registry["OwlTokens-v0"]


def documents(batch: TensorDictBase) -> list[tuple[list[int], float]]:
    """The finished documents of a batch that begins with a reset: tokens and reward."""
    found, tokens = [], []
    for token, reward, done in zip(
        batch["action"].argmax(-1).tolist(),
        batch["next", "reward"].flatten().tolist(),
        batch["next", "done"].flatten().tolist(),
        strict=True,
    ):
        tokens.append(token)
        if done:
            found.append((tokens, reward))
            tokens = []
        else:
            assert reward == 0
    return found


@pytest.mark.parametrize("pictures", [False, True], ids=["tokens", "pictures"])
def test_its_checker_passes(pictures: bool) -> None:
    check_env_specs(GymEnv("OwlTokens-v0", pictures=pictures))


def test_gymenv_collects_a_batch() -> None:
    env = GymEnv("OwlTokens-v0")
    env.set_seed(0)
    torch.manual_seed(0)
    batch = env.rollout(40, break_when_any_done=False)
    assert batch.shape == (40,)
    assert (batch["tokens"].shape, batch["tokens"].dtype) == ((40, LENGTH), torch.int64)
    assert (batch["token_mask"].shape, batch["token_mask"].dtype) == ((40, LENGTH), torch.int8)
    assert batch["event"].shape == (40, 5)
    assert batch["action"].shape == (40, 257)
    assert (batch["next", "reward"].shape, batch["next", "reward"].dtype) == ((40, 1), torch.float32)
    # The newest token of an observation is the action that led to it.
    assert torch.equal(batch["next", "tokens"][:, -1], batch["action"].argmax(-1))
    found = documents(batch)
    assert len(found) >= 3
    assert all(reward == pytest.approx(earned(tokens), abs=1e-6) and reward > 0 for tokens, reward in found)


def test_a_collector_goes_through_several_batches() -> None:
    collector = Collector(lambda: GymEnv("OwlTokens-v0"), None, frames_per_batch=36, total_frames=72)
    batches = [batch.clone() for batch in collector]
    collector.shutdown()
    assert [batch.shape for batch in batches] == [(36,), (36,)]
    found = documents(torch.cat(batches))
    assert len(found) >= 6
    assert all(reward == pytest.approx(earned(tokens), abs=1e-6) for tokens, reward in found)


def test_gymwrapper_takes_pictures_as_well() -> None:
    batch = GymWrapper(owl_tokens(pictures=True)).rollout(3)
    assert (batch["images"].shape, batch["images"].dtype) == ((3, 1, 8, 8, 3), torch.uint8)
    assert batch["image_count"].shape == (3, 2)

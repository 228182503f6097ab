"""Gymnasium's own wrappers around one environment, and its vector wrappers around several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.vector import SyncVectorEnv, VectorEnv
from gymnasium.wrappers import vector

from llmi_env import END, Task
from llmi_env.world.in_process import InProcessWorld
from llmi_env.wrappers import ArraysOnly, PadImages, RewardVector, TokenHistory
from tests.streams import SEARCH
from tests.wrappers.conftest import Make
from tests.wrappers.writing import steps

Two = Callable[..., VectorEnv[Any, Any, Any]]
TEXT = f"Owls hunt. {SEARCH}"


def written(make: Make, **options: Any) -> tuple[float, int]:
    """What a document of this text earns without any wrapper, and in how many steps."""
    env = make(**options)
    env.reset(seed=0, options={"task": "owls"})
    made = steps(env, TEXT)
    return made[-1][1], len(made)


@pytest.fixture(params=["sync", "own"])
def two(request: pytest.FixtureRequest, make: Make, tasks: list[Task], world: InProcessWorld) -> Two:
    """Two environments in Gymnasium's vector environment, or in ours."""

    def made(**options: Any) -> VectorEnv[Any, Any, Any]:
        if request.param == "sync":
            return SyncVectorEnv([lambda: make(**options)] * 2)
        return gym.make_vec("LLMI-v0", 2, config="rules", tasks=tasks, world=world, reward="llmi", **options)

    return made


class TestRecordEpisodeStatistics:
    @pytest.mark.parametrize("mode", ["token", "chunk", "document"])
    def test_return_and_length(self, make: Make, mode: str) -> None:
        reward, length = written(make, action_mode=mode)
        env = wrappers.RecordEpisodeStatistics(make(action_mode=mode))
        env.reset(seed=0, options={"task": "owls"})
        info = steps(env, TEXT)[-1][4]
        assert info["episode"]["r"] == pytest.approx(reward)
        assert info["episode"]["l"] == length
        assert list(env.return_queue) == pytest.approx([reward])

    def test_of_several(self, make: Make, two: Two) -> None:
        reward, _ = written(make, action_mode="document")
        envs = vector.RecordEpisodeStatistics(two(action_mode="document"))
        envs.reset(seed=0, options={"task": "owls"})
        info = envs.step([TEXT, ""])[4]
        assert info["episode"]["r"][0] == pytest.approx(reward)
        assert info["episode"]["l"].tolist() == [1, 1]
        assert envs.episode_count == 2


class TestTimeLimit:
    def test_it_truncates_without_a_score(self, make: Make) -> None:
        env = wrappers.TimeLimit(make(action_mode="chunk"), 3)
        env.reset()
        assert [env.step("Owls. ")[1:4] for _ in range(3)] == [(0.0, False, False)] * 2 + [(0.0, False, True)]
        assert env.reset()[1]["task_id"]
        assert env.step("Owls." + END)[2:4] == (True, False)

    def test_gym_make_takes_it_too(self, make: Make) -> None:
        env = make(action_mode="chunk", max_episode_steps=1)
        env.reset()
        assert env.step("Owls. ")[3]


class TestRecordVideo:
    def frames(self, path: Path) -> tuple[int, tuple[int, int]]:
        from moviepy.video.io.VideoFileClip import VideoFileClip

        with VideoFileClip(str(path)) as clip:
            return round(clip.duration * clip.fps), tuple(clip.size)

    def test_a_document_becomes_a_film(self, make: Make, tmp_path: Path) -> None:
        pytest.importorskip("moviepy", reason="moviepy is not installed")
        env = wrappers.RecordVideo(make(action_mode="chunk", render_mode="rgb_array"), str(tmp_path / "films"))
        env.reset(options={"task": "owls"})
        steps(env, TEXT)
        env.close()
        assert self.frames(tmp_path / "films" / "rl-video-episode-0.mp4") == (3, (640, 720))

    def test_of_several_one_film(self, two: Two, tmp_path: Path) -> None:
        pytest.importorskip("moviepy", reason="moviepy is not installed")
        envs = vector.RecordVideo(two(action_mode="chunk", render_mode="rgb_array"), str(tmp_path / "films"))
        envs.reset(seed=0)
        envs.step(["Owls. ", "Bees. "])
        envs.step([END, END])
        envs.close()
        count, (width, height) = self.frames(tmp_path / "films" / "rl-video-episode-0.mp4")
        assert count == 3
        assert width * height == 2 * 640 * 720

    def test_text_cannot_be_filmed(self, make: Make, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="incompatible with RecordVideo"):
            wrappers.RecordVideo(make(render_mode="ansi"), str(tmp_path / "films"))


class TestNumpyToTorch:
    @pytest.fixture(autouse=True)
    def _torch(self) -> None:
        pytest.importorskip("torch")
        pytest.importorskip("array_api_compat", reason="Gymnasium's NumpyToTorch needs array-api-compat")

    def wrapped(self, make: Make) -> gym.Env[Any, Any]:
        return ArraysOnly(PadImages(TokenHistory(RewardVector(make(feedback="image")), 16), 1, 64, 64))

    def test_observations_and_actions_are_tensors(self, make: Make) -> None:
        import torch

        env = wrappers.NumpyToTorch(self.wrapped(make))
        plain = self.wrapped(make)
        observation, _ = env.reset(seed=0)
        expected, _ = plain.reset(seed=0)
        assert {name: value.dtype for name, value in observation.items()} == {
            "event": torch.int64,
            "image_count": torch.int64,
            "images": torch.uint8,
            "token_mask": torch.int8,
            "tokens": torch.int64,
        }
        for token in [*TEXT.encode(), 256]:
            observation, reward, terminated, truncated, info = env.step(torch.tensor(token))
            expected, *rest, _ = plain.step(token)
            assert [reward, terminated, truncated] == rest
            assert all(np.array_equal(observation[name], expected[name]) for name in expected)
        assert terminated
        assert isinstance(info["reward_terms"], torch.Tensor)

    def test_of_several(self, make: Make) -> None:
        import torch

        envs = vector.NumpyToTorch(SyncVectorEnv([lambda: self.wrapped(make)] * 2))
        observation, _ = envs.reset(seed=0)
        assert observation["images"].shape == (2, 1, 64, 64, 3)
        envs.step(torch.tensor([79, 66]))
        observation, reward, terminated, _, info = envs.step(torch.tensor([256, 67]))
        assert observation["tokens"][:, -1].tolist() == [256, 67]
        assert (reward.dtype, terminated.tolist()) == (torch.float64, [True, False])
        assert info["reward_terms"].shape == (2, len(RewardVector(make()).reward_terms))

    def test_without_arrays_only_it_cannot_be_used(self, make: Make) -> None:
        # It knows neither text (which it replaces by the name of a generator) nor the objects in `info`.
        with pytest.raises(Exception, match=r"No known conversion for .*Task"):
            wrappers.NumpyToTorch(make()).reset()


class TestTransformReward:
    def test_the_reward_is_transformed(self, make: Make) -> None:
        reward, _ = written(make)
        env = wrappers.TransformReward(make(), lambda reward: 10 * reward - 1)
        env.reset(seed=0, options={"task": "owls"})
        rewards = [step[1] for step in steps(env, TEXT)]
        assert set(rewards[:-1]) == {-1.0}
        assert rewards[-1] == pytest.approx(10 * reward - 1)

    def test_of_several(self, make: Make, two: Two) -> None:
        reward, _ = written(make, action_mode="document")
        envs = vector.TransformReward(two(action_mode="document"), lambda rewards: 10 * rewards)
        envs.reset(seed=0, options={"task": "owls"})
        assert envs.step([TEXT, TEXT])[1][0] == pytest.approx(10 * reward)

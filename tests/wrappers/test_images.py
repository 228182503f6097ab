from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from llmi_env import Picture, Provenance, Task
from llmi_env.errors import ConfigError
from llmi_env.wrappers import FullContext, PadImages, ResizeImages
from tests.streams import DIFFUSION
from tests.wrappers.conftest import Make


def task(*sizes: tuple[int, int]) -> Task:
    pictures = [
        Picture(Image.new("RGB", size, (200, 40 * number, 9)), Provenance("test")) for number, size in enumerate(sizes)
    ]
    return Task("Say what you see.", images=tuple(pictures))


def test_pictures_are_scaled_to_one_side(make: Make) -> None:
    env = ResizeImages(make(action_mode="chunk", feedback="image"), 32)
    observation, _ = env.reset(options={"task": task((100, 50), (8, 16), (300, 1))})
    assert [image.shape for image in observation["images"]] == [(16, 32, 3), (32, 16, 3), (1, 32, 3)]
    assert (observation["images"][0] == (200, 0, 9)).all()
    assert observation in env.observation_space
    assert env.step(DIFFUSION)[0]["images"][0].shape == (32, 32, 3)


def test_padded_pictures_keep_their_order_and_proportions(make: Make) -> None:
    env = PadImages(make(action_mode="chunk"), 3, 20, 40)
    observation, _ = env.reset(options={"task": task((10, 5), (80, 80))})
    assert observation["images"].shape == (3, 20, 40, 3)
    assert observation["image_count"] == 2
    small, large, none = observation["images"]
    assert (small[:5, :10] == (200, 0, 9)).all()
    assert small.sum() == 5 * 10 * (200 + 9)
    assert large[:20, :20, 0].all()
    assert not large[:, 20:].any()
    assert not none.any()
    assert observation in env.observation_space
    assert env.step("Owls.")[0]["image_count"] == 0


def test_of_too_many_pictures_the_last_are_shown(make: Make) -> None:
    env = PadImages(FullContext(make(action_mode="chunk")), 2, 4, 4)
    images, count = (
        env.reset(options={"task": task((4, 4), (4, 4), (4, 4))})[0][name] for name in ("images", "image_count")
    )
    assert count == 2
    assert np.unique(images[:, :, :, 1]).tolist() == [40, 80]


def test_pictures_come_from_beneath(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"ResizeImages: the observation's 'images' is Box.*beneath"):
        ResizeImages(PadImages(make(), 1, 8, 8), 8)
    with pytest.raises(ConfigError, match="PadImages: height must be a number >= 1, not 0"):
        PadImages(make(), 1, 0, 8)
    with pytest.raises(ConfigError, match=r"ResizeImages: side must be a number >= 1, not 2\.5"):
        ResizeImages(make(), 2.5)  # type: ignore[arg-type]

"""Pictures of one size, for networks that take no others."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from PIL import Image

from llmi_env.observing import Observation
from llmi_env.spaces import ImageList
from llmi_env.wrappers.base import LLMIWrapper, number

Pixels = npt.NDArray[np.uint8]


class ResizeImages(LLMIWrapper, gym.ObservationWrapper[Any, Any, Any]):
    """Scales every picture, up or down, until its longer side has `side` pixels; proportions stay.

    Args:
        env: `LLMI-v0`.
        side: longer side in pixels.

    Raises:
        ConfigError: the observation has no list of pictures.
    """

    def __init__(self, env: gym.Env[Any, Any], side: int) -> None:
        super().__init__(env, side=side)
        self._side = number("ResizeImages", "side", side)
        parts = self._parts("images", ImageList, "ResizeImages goes beneath wrappers that change it, such as PadImages")
        most = parts["images"].max_images  # type: ignore[attr-defined]
        parts["images"] = ImageList(most, most * 3 * side * side)
        self.observation_space = spaces.Dict(parts)

    def observation(self, observation: Observation) -> Observation:
        """The observation with `images` as uint8 arrays (height, width, 3), the longer side `side`."""
        resized = tuple(_scaled(image, self._side / max(image.shape[:2])) for image in observation["images"])
        return {**observation, "images": resized}


class PadImages(LLMIWrapper, gym.ObservationWrapper[Any, Any, Any]):
    """Gives the pictures as one array of fixed shape.

    `images` becomes uint8 of shape (n, height, width, 3): the pictures in their order, each in the upper left of its frame, scaled down
    where it is larger, the rest black. `image_count` says how many there are; of more than `n` the last `n` are shown.

    Args:
        env: `LLMI-v0`.
        n: pictures at most.
        height: of a frame in pixels.
        width: of a frame in pixels.

    Raises:
        ConfigError: the observation has no list of pictures.
    """

    def __init__(self, env: gym.Env[Any, Any], n: int, height: int, width: int) -> None:
        super().__init__(env, n=n, height=height, width=width)
        for name, value in {"n": n, "height": height, "width": width}.items():
            number("PadImages", name, value)
        parts = self._parts(
            "images", ImageList, "PadImages is given once, and beneath wrappers that take pictures away"
        )
        self._shape = (n, height, width, 3)
        parts["images"] = spaces.Box(0, 255, self._shape, np.uint8)
        parts["image_count"] = spaces.Discrete(n + 1)
        self.observation_space = spaces.Dict(parts)

    def observation(self, observation: Observation) -> Observation:
        """The observation with `images` in one array, and `image_count`."""
        n, height, width, _ = self._shape
        frames = np.zeros(self._shape, np.uint8)
        shown = observation["images"][-n:]
        for frame, image in zip(frames, shown, strict=False):
            scale = min(1.0, height / image.shape[0], width / image.shape[1])
            fitted = _scaled(image, scale)
            frame[: fitted.shape[0], : fitted.shape[1]] = fitted
        return {**observation, "images": frames, "image_count": len(shown)}


def _scaled(image: Pixels, scale: float) -> Pixels:
    """The picture at another size, of which no side vanishes."""
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS), np.uint8)

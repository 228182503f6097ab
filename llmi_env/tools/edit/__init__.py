"""The edit tool: instruction edits on the CPU, from plain English, without any model.

`parse_instruction` (see `language`) turns the words into operations, `apply` carries them out (see `pixels`). Same picture and instruction
give the same bytes. An instruction that is not understood is refused with a list of what is.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from llmi_env.document import Picture
from llmi_env.errors import BadParams, ConfigError
from llmi_env.tools.base import EDIT, ToolContext, ToolSpec
from llmi_env.tools.edit.language import parse_instruction
from llmi_env.tools.edit.operation import EXAMPLES, Kind, Operation
from llmi_env.tools.edit.pixels import lettering, shape, texture, tone

__all__ = ["EXAMPLES", "EditTool", "Operation", "apply", "parse_instruction"]

MAX_PIXELS = 4_000_000


class EditTool:
    """Edits one picture as an instruction says.

    Args:
        max_pixels: size of the result at most; a larger one is scaled down.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        if isinstance(max_pixels, bool) or not isinstance(max_pixels, int) or max_pixels < 1:
            raise ConfigError(f"edit tool: max_pixels must be a positive whole number, got {max_pixels!r}")
        self.max_pixels = max_pixels

    @property
    def spec(self) -> ToolSpec:
        """What the policy is told."""
        return EDIT

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        """Edit the picture that the call points at.

        Raises:
            BadParams: no picture, or an instruction that is no string.
            Refused: the instruction is not understood; the message lists what is.
        """
        started = time.monotonic()
        prompt = params.get("prompt")
        if not isinstance(prompt, str):
            raise BadParams("prompt must say in words what to change")
        if not context.pictures:
            raise BadParams("an edit needs a picture: img_index must point at an input or an earlier figure")
        source = context.pictures[0]
        operations = parse_instruction(prompt)
        image = await asyncio.to_thread(apply, source.image, operations, self.max_pixels)
        return Picture(image, replace(source.provenance, backend="pillow", seed=None), time.monotonic() - started)

    async def aclose(self) -> None:
        """Nothing is held."""


def apply(image: Image.Image, operations: Sequence[Operation], max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Carry out `operations` in order; returns a new RGB picture of at most `max_pixels`. Transparent parts become white."""
    result = _within(_opaque(image), max_pixels)
    before: Operation | None = None
    for operation in operations:
        if operation.kind == "shadow" and before is not None and before.kind == "corners":
            result = shape.shadow(result, operation, shape.outline(result.size, before))
        else:
            result = _EDITS[operation.kind](result, operation)
        result = _within(result, max_pixels)
        before = operation
    return result


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image.copy()
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(layer, mask=layer.getchannel("A"))
        return flat
    return image.convert("RGB")


def _within(image: Image.Image, max_pixels: int) -> Image.Image:
    if image.width * image.height <= max_pixels:
        return image
    return shape.scaled(image, math.sqrt(max_pixels / (image.width * image.height)))


_EDITS: dict[Kind, Callable[[Image.Image, Operation], Image.Image]] = {
    "grayscale": tone.grayscale,
    "brightness": tone.brightness,
    "contrast": tone.contrast,
    "saturation": tone.saturation,
    "tint": tone.tint,
    "hue": tone.hue,
    "invert": tone.invert,
    "gamma": tone.gamma,
    "posterize": tone.posterize,
    "solarize": tone.solarize,
    "blur": texture.blur,
    "sharpen": texture.sharpen,
    "denoise": texture.denoise,
    "noise": texture.noise,
    "pixelate": texture.pixelate,
    "emboss": texture.emboss,
    "sketch": texture.sketch,
    "vignette": texture.vignette,
    "rotate": shape.rotate,
    "flip": shape.flip,
    "symmetry": shape.symmetry,
    "tile": shape.tile,
    "crop": shape.crop,
    "resize": shape.resize,
    "pad": shape.pad,
    "border": shape.border,
    "corners": shape.corners,
    "shadow": shape.shadow,
    "caption": lettering.caption,
}

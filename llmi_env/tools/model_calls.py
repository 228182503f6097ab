"""Calls of tools that make or change pictures by a model, here or on a server: the prompt and picture asked for, and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from PIL import Image

from llmi_env.document import Picture
from llmi_env.errors import BadParams, Refused
from llmi_env.tools.base import ToolContext

__all__ = ["MAX_PROMPT", "asked_edit", "asked_prompt", "in_aspect", "size_for"]

MAX_PROMPT = 2000
"""Characters of a prompt that are handed on; text encoders read far fewer."""
MAX_RATIO = 16
"""How many times as long as wide a picture may be that a model is to edit."""


def asked_prompt(params: Mapping[str, Any], wanted: str = "say what to draw, e.g. 'a blue house on the moon'") -> str:
    """The prompt of a call, in one line and bounded.

    Raises:
        BadParams: it is empty or no text.
    """
    prompt = params.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadParams(f"the prompt is empty; {wanted}")
    return " ".join(prompt.split())[:MAX_PROMPT]


def asked_edit(params: Mapping[str, Any], context: ToolContext) -> tuple[str, Picture]:
    """Instruction and picture of a call that edits by a model.

    Raises:
        BadParams: no instruction, or no picture.
        Refused: a picture too long and narrow for any model.
    """
    prompt = asked_prompt(params, "say what to change, e.g. 'make it snow'")
    if not context.pictures:
        raise BadParams("an edit needs a picture: img_index must point at an input or an earlier figure")
    source = context.pictures[0]
    if max(source.image.size) > MAX_RATIO * min(source.image.size):
        raise Refused(
            f"a picture of {source.image.width} x {source.image.height} pixels is too long and narrow to edit; "
            f"at most {MAX_RATIO} : 1"
        )
    return prompt, source


def size_for(shape: tuple[int, int], area: int, multiple: int) -> tuple[int, int]:
    """Width and height of about `area` pixels in the proportions of `shape`, each a multiple of `multiple`."""
    ratio = shape[0] / shape[1]
    sides = math.sqrt(area * ratio), math.sqrt(area / ratio)
    width, height = (max(1, round(side / multiple)) * multiple for side in sides)
    return width, height


def in_aspect(image: Image.Image, shape: tuple[int, int], within: float = math.inf) -> Image.Image:
    """`image` brought back to the proportions of `shape`: its longer side stays, the other one follows.

    Args:
        image: what a model made of a picture of `shape`.
        shape: width and height of that picture.
        within: how far the proportions may be off, as a share; a picture further off was composed anew and stays as it is.
    """
    ratio = shape[0] / shape[1]
    off = (image.width / image.height) / ratio
    if max(off, 1 / off) - 1 > within:
        return image
    longer = max(image.size)
    size = (longer, max(1, round(longer / ratio))) if ratio >= 1 else (max(1, round(longer * ratio)), longer)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)

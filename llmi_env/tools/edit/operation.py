"""One edit as a value, an example wording of each kind, and the refusal that lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmi_env.errors import Refused

Kind = Literal[
    "grayscale", "brightness", "contrast", "saturation", "tint", "blur", "sharpen", "crop", "rotate", "flip", "resize", "border",
    "caption", "invert", "hue", "vignette", "pixelate", "posterize", "sketch", "corners", "shadow", "pad", "tile", "symmetry",
    "noise", "denoise", "emboss", "solarize", "gamma",
]  # fmt: skip

EXAMPLES: dict[Kind, str] = {
    "grayscale": "make it black and white",
    "brightness": "make it a little darker",
    "contrast": "increase the contrast by 30%",
    "saturation": "make the colours more vivid",
    "tint": "give it a warm orange tint",
    "blur": "blur it slightly",
    "sharpen": "sharpen it",
    "crop": "crop to the left half",
    "rotate": "rotate it 90 degrees clockwise",
    "flip": "mirror it horizontally",
    "resize": "make it half the size",
    "border": "add a thin black border",
    "caption": "add the caption 'Sunrise' at the bottom",
    "invert": "turn it into a negative",
    "hue": "turn the reds blue",
    "vignette": "add a dark vignette",
    "pixelate": "pixelate it",
    "posterize": "posterize it to 4 levels",
    "sketch": "turn it into a pencil sketch",
    "corners": "round the corners",
    "shadow": "add a drop shadow",
    "pad": "pad it to a square",
    "tile": "repeat it in a 2 x 2 grid",
    "symmetry": "mirror the left half onto the right",
    "noise": "add some film grain",
    "denoise": "remove the noise",
    "emboss": "emboss it",
    "solarize": "solarize it",
    "gamma": "lift the shadows",
}
"""What the tool can do, an example each, the most useful first: a policy is shown only the first 300 characters of a refusal."""

_SHOWN: tuple[Kind, ...] = ("brightness", "border", "caption")


@dataclass(frozen=True)
class Operation:
    """One edit.

    Attributes:
        kind: what is done.
        amount: factor (brightness, contrast, saturation, resize, gamma); share of full strength (tint, vignette, shadow, noise, and
            gamma of shadows or highlights, -1 to 1); share of the shorter side (blur, pixelate, border, corners, pad's margin) or
            pixels where `text` is `px`; degrees (rotate clockwise, hue); aspect (crop, pad); levels or colours (posterize); pixels
            (resize to a width, denoise); size of a caption's letters (0: ordinary).
        text: colour, axis of a flip, region of a crop, grid of a tile (`columns x rows`), caption, or which variety of the kind.
        top: whether a caption stands at the top.
        place: corner or centre of a caption that has no band.
        colour: of a border, padding, vignette, caption, or what a hue turns into.
    """

    kind: Kind
    amount: float = 0.0
    text: str = ""
    top: bool = False
    place: str = ""
    colour: str = ""


def refusal(reason: str) -> Refused:
    """A refusal that teaches: the reason, everything the tool can do, and how to say it."""
    shown = ", ".join(repr(EXAMPLES[name]) for name in _SHOWN)
    return Refused(
        f"{reason}. It can: {', '.join(EXAMPLES)}; of the whole picture, several joined by 'and'. Say for example {shown}"
    )

"""The one form in which pictures leave the World: RGB, bounded in size, without metadata."""

from __future__ import annotations

from PIL import Image

__all__ = ["normalise"]


def normalise(image: Image.Image, max_side: int) -> Image.Image:
    """`image` as RGB with its longest side at most `max_side` pixels; transparency is laid on white."""
    if image.mode != "RGB" or "transparency" in image.info:
        if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
            clear = image.convert("RGBA")
            white = Image.new("RGBA", clear.size, "white")
            image = Image.alpha_composite(white, clear).convert("RGB")
        else:
            image = image.convert("RGB")
    longest = max(image.size)
    if longest > max_side:
        width, height = (max(1, round(side * max_side / longest)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    if image.info:
        image = image.copy()
        image.info = {}
    return image

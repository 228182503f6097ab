"""The one form in which pictures leave the World: RGB, bounded in size, without metadata."""

from __future__ import annotations

from PIL import Image, ImageFile

__all__ = ["normalise"]


def normalise(image: Image.Image, max_side: int) -> Image.Image:
    """`image` as RGB with its longest side at most `max_side` pixels; transparency is laid on white.

    The result is in memory whole: a picture that is read from its file as late as it is needed is read here.

    Raises:
        ValueError: it has no pixels.
        OSError, SyntaxError, DecompressionBombError: it cannot be read.
    """
    if not image.width or not image.height:
        raise ValueError(f"a picture of {image.width}x{image.height} pixels shows nothing")
    image.load()
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
    if image.info or isinstance(image, ImageFile.ImageFile):
        image = image.copy()
        image.info = {}
    return image

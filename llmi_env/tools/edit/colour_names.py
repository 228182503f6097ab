"""Names of colours as Pillow understands them."""

from __future__ import annotations

from PIL import ImageColor

from llmi_env.tools.edit import first_words as words

_LOOKS = ("sepia", "warm", "cool")
_SHADES = {
    "navy blue": "navy", "dark yellow": "#b8a000", "dark brown": "#4a2c17", "light brown": "#c49a6c", "dark purple": "#4b0082",
    "light purple": "#b19cd9", "dark pink": "#c71585", "light red": "#ff7f7f", "light orange": "#ffc680", "pale blue": "#c6dcf0",
    "pale yellow": "#faf3c0", "pale pink": "#fadadd",
}  # fmt: skip


def colour_name(phrase: str) -> str | None:
    """The longest known name at the end of a phrase: "warm light blue" is `lightblue`."""
    parts = phrase.split()
    for start in range(len(parts)):
        name = "".join(parts[start:])
        name = words.EXTRA_COLOURS.get(name, name)
        if name in _LOOKS or name.startswith("#") or name in ImageColor.colormap:
            return name
    return None


def plain_colour(phrase: str | None, otherwise: str) -> str:
    """A colour to paint with; `otherwise` where there is none, or only a look such as sepia."""
    if not phrase:
        return otherwise
    name = _SHADES.get(phrase.strip().lower()) or colour_name(phrase.lower())
    return otherwise if name is None or name in _LOOKS else name

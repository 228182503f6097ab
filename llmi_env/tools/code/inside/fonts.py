"""Fonts of the machine that cover what DejaVu does not. Runs in workers (without matplotlib's cache of them) and on the host."""

from __future__ import annotations

from typing import Any

SAMPLES = {
    "Chinese": "漢字图表",
    "Japanese": "かなカナ図",
    "Korean": "한국어",
    "Devanagari": "हिन्दी",
    "Thai": "ภาษาไทย",
    "emoji": "\N{GRINNING FACE}\N{ROCKET}",
}
"""By script, characters that a font must have to be called one of it."""

_LAST_RESORT = "Last Resort"  # matplotlib's own: a box with the script's name for every character


def covering(fonts: Any) -> dict[str, str | None]:
    """For each script the first font that has it, in the order of their names.

    Args:
        fonts: entries of matplotlib's font manager (`fname`, `name`).
    """
    from matplotlib.ft2font import FT2Font

    missing = dict(SAMPLES)
    found: dict[str, str | None] = dict.fromkeys(SAMPLES)
    seen: set[str] = set()
    for entry in sorted(fonts, key=lambda entry: (entry.name, entry.fname)):
        if entry.fname in seen or not missing or entry.name.startswith(_LAST_RESORT):
            continue
        seen.add(entry.fname)
        try:
            font = FT2Font(entry.fname)
        except (OSError, RuntimeError):  # a format that the library cannot draw, as fonts of coloured pictures
            continue
        for script, text in list(missing.items()):
            if all(font.get_char_index(ord(char)) for char in text):
                found[script] = entry.name
                del missing[script]
    return found

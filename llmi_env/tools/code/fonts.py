"""Which fonts of this machine charts can be drawn with."""

from __future__ import annotations

from llmi_env.tools.code.inside.fonts import covering


def covering_fonts() -> dict[str, str | None]:
    """By script (Chinese, emoji ...), a font of this machine that has it, or `None`."""
    from matplotlib import font_manager

    # Looked for anew: the list that matplotlib keeps may be older than the fonts.
    return covering(font_manager.FontManager().ttflist)

"""What a plotting program draws, read from its code: data, shapes, or nothing but words. Costs nothing and runs nothing.

A chart earns as a picture of data. A program can also write the expected words on an empty page, paint noise, or leave an empty frame; all
of these give sharp, detailed pictures with all the right words.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache

from llmi_env.judges.relevance import word_set

DATA, SHAPES, INVENTED, WORDS, FRAME, NOTHING = 1.0, 0.8, 0.35, 0.15, 0.1, 0.0
"""How much there is to see, by what is drawn at best."""

_DRAWS_DATA = word_set(
    """plot bar barh scatter pie hist hist2d boxplot bxp violinplot fill fill_between fill_betweenx stackplot step stem errorbar loglog semilogx
    semilogy plot_date contour contourf pcolor pcolormesh hexbin imshow matshow spy quiver barbs streamplot polar table eventplot broken_barh
    stairs tricontour tricontourf triplot tripcolor plot_surface plot_wireframe plot_trisurf bar3d area barplot lineplot scatterplot histplot
    kdeplot ecdfplot rugplot countplot pointplot stripplot swarmplot heatmap clustermap regplot lmplot relplot catplot displot jointplot
    pairplot specgram psd acorr xcorr"""
)
_DRAWS_SHAPES = word_set(
    "add_patch add_artist add_line add_collection axhline axvline axhspan axvspan axline hlines vlines arrow annotate"
)
_WRITES = word_set("text figtext title suptitle xlabel ylabel set_title set_xlabel set_ylabel legend annotate")
_PAINTS = frozenset({"imshow", "matshow", "pcolormesh", "pcolor", "contourf"})
_MAKES_UP = re.compile(r"\brandom\b|\brand(?:n|int)?\b|\bdefault_rng\b|\bmgrid\b|\bmeshgrid\b|\blinspace\b|\bindices\b")


@dataclass(frozen=True)
class Drawn:
    """What a program draws.

    Attributes:
        value: `DATA`, `SHAPES`, `INVENTED` (surfaces painted from no data), `WORDS`, `FRAME` or `NOTHING`.
        why: the same in words.
    """

    value: float
    why: str


@lru_cache(maxsize=256)
def drawn(code: str) -> Drawn:
    """What `code` draws at best; code that cannot be read is given the benefit of the doubt: it brought a picture."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Drawn(DATA, "a program that cannot be read")
    found = [Drawn(NOTHING, "an empty page")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found.append(_one(node, node.func.attr, code))
    return max(found, key=lambda item: item.value)


def _one(node: ast.Call, name: str, code: str) -> Drawn:
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    if name in _DRAWS_DATA:
        if name != "plot" and name in _PAINTS and _MAKES_UP.search(code):
            return Drawn(INVENTED, "a surface made up by the program")
        if arguments and not all(_is_empty(argument) for argument in node.args or arguments):
            return Drawn(DATA, "data")
        # `df.plot()` and the like bring their data along; `plt.plot([])` does not
        return Drawn(FRAME, "an empty frame") if arguments or _is_pyplot(node) else Drawn(DATA, "data")
    if name in _DRAWS_SHAPES and (name != "annotate" or any(key.arg == "arrowprops" for key in node.keywords)):
        return Drawn(SHAPES, "shapes")
    if name in _WRITES:
        return Drawn(WORDS, "nothing but words")
    return Drawn(NOTHING, "an empty page")


def _is_pyplot(node: ast.Call) -> bool:
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    return isinstance(owner, ast.Name) and owner.id in ("plt", "ax", "axes")


def _is_empty(node: ast.expr) -> bool:
    return isinstance(node, ast.List | ast.Tuple | ast.Dict) and not (
        node.keys if isinstance(node, ast.Dict) else node.elts
    )

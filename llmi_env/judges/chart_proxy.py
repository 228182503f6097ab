"""What a plotting program draws, read from its syntax tree: data, shapes, or nothing but words. Runs nothing.

A chart earns as a picture of data. A program can also write the expected words on an empty page, paint noise, plot one dot and keep the numbers
for a comment; all of these give sharp, detailed pictures with all the right words. So only numbers that reach a drawing call count as
plotted, and a drawing call counts by how much reaches it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from llmi_env.judges.chart_program import Program
from llmi_env.judges.relevance import NUMBER, plain_number, word_set

DATA, SHAPES, INVENTED, DOT, WORDS, FRAME, NOTHING = 1.0, 0.8, 0.35, 0.2, 0.15, 0.1, 0.0
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
_SUMMARIES = word_set("boxplot bxp boxenplot violinplot")
_TITLES = word_set("title suptitle set_title")
_PAINTS = frozenset({"imshow", "matshow", "pcolormesh", "pcolor", "contourf"})
_JOINS_POINTS = word_set("plot scatter step stem errorbar loglog semilogx semilogy plot_date lineplot scatterplot")
_MAKES_UP = word_set("random rand randn randint default_rng mgrid meshgrid linspace indices")
_CLEARS = word_set("clf cla close clear")
_DATA_KEYWORDS = word_set("x y z X Y Z data height width values weights matrix a")
_COLOURS = ("color", "c", "facecolor", "colors")
_UNSEEN = word_set("none white w #fff #ffffff #FFF #FFFFFF")
_FAINT = 0.15


@dataclass(frozen=True)
class Drawn:
    """What a program draws.

    Attributes:
        value: `DATA`, `SHAPES`, `INVENTED` (surfaces painted from no data), `DOT` (a single value), `WORDS`, `FRAME` or `NOTHING`.
        why: the same in words.
        numbers: numbers that reach a drawing call as numbers, plainly written.
        named: numbers that reach one as words, such as the years of a bar chart.
        titles: what stands over the chart or the page.
        notes: what is written at a place within it, with that place, where both are plain.
        summary: whether boxes or violins stand for the values, which cannot be read off them.
    """

    value: float
    why: str
    numbers: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    titles: tuple[str, ...] = ()
    notes: tuple[tuple[str, float, float], ...] = ()
    summary: bool = False

    def share_of(self, given: set[str]) -> float:
        """Share of the given numbers that are plotted; those that stand there as names count for no more than the others bear out."""
        plotted = given & self.numbers
        return (len(plotted) + min(len((given & self.named) - plotted), len(plotted))) / len(given)


@lru_cache(maxsize=256)
def drawn(code: str) -> Drawn:
    """What `code` draws at best; code that cannot be read is given the benefit of the doubt: it brought a picture."""
    try:
        return _drawn(Program(ast.parse(code)))
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        lines = (line.partition("#")[0] for line in code.splitlines())
        return Drawn(DATA, "a program that cannot be read", frozenset(_in_words(lines)))


def _drawn(program: Program) -> Drawn:
    found, data, titles = [Drawn(NOTHING, "an empty page")], list[ast.expr](), list[str]()
    notes: list[tuple[str, float, float]] = []
    for node in program.calls:
        if not isinstance(node.func, ast.Attribute):
            continue
        name = node.func.attr
        if name in _CLEARS or (
            name in ("figure", "subplots") and _is_pyplot(node)
        ):  # another page: the last one is shown
            found, data, titles, notes = found[:1], [], [], []
        if name in _TITLES and node.args:
            titles.append(" ".join(leaf.value for leaf in program.leaves(node.args[0]) if isinstance(leaf.value, str)))
        notes += _note(node, name, program)
        found.append(_one(node, name, program))
        if name in _DRAWS_DATA and found[-1].value > FRAME:
            data += _data_of(node)
    best = max(found, key=lambda item: item.value)
    leaves = [leaf.value for expression in data for leaf in program.leaves(expression)]
    numbers = frozenset(plain_number(leaf) for leaf in leaves if isinstance(leaf, int | float))
    labels = [leaf.value for node in program.calls for part in _labels(node) for leaf in program.leaves(part)]
    named = frozenset(_in_words(leaf for leaf in (*leaves, *labels) if isinstance(leaf, str)))
    return Drawn(best.value, best.why, numbers, named, tuple(titles), tuple(notes), program.mentions(_SUMMARIES))


def _labels(node: ast.Call) -> list[ast.expr]:
    """Where a call says what stands in a key or a title."""
    labels = [key.value for key in node.keywords if key.arg in ("label", "labels")]
    writes = isinstance(node.func, ast.Attribute) and node.func.attr in {*_TITLES, "legend"}
    return labels + (node.args if writes else [])


def _note(node: ast.Call, name: str, program: Program) -> Iterator[tuple[str, float, float]]:
    """What `text(x, y, "...")` or `annotate("...", (x, y))` writes and where, if its arguments are constants."""
    at = next((key.value for key in node.keywords if key.arg == "xy"), None)
    if name == "text" and len(node.args) >= 3:
        parts = node.args[:3]
    elif name == "annotate" and len(node.args) + (at is not None) >= 2:
        parts = [at or node.args[1], node.args[0]]
    else:
        return
    values = [leaf.value for part in parts for leaf in program.leaves(part)]
    match values:
        case [int() | float() as x, int() | float() as y, str() as text]:
            yield text, float(x), float(y)


def _one(node: ast.Call, name: str, program: Program) -> Drawn:
    if name in _DRAWS_DATA:
        if name in _PAINTS and program.mentions(_MAKES_UP):
            return Drawn(INVENTED, "a surface made up by the program")
        if _is_unseen(node, name):
            return Drawn(FRAME, "an empty frame: what is drawn cannot be seen")
        count = _count(node, name, program)
        if count == 0:
            return Drawn(FRAME, "an empty frame")
        return Drawn(DOT, "a single value") if count == 1 else Drawn(DATA, "data")
    if name in _DRAWS_SHAPES and (name != "annotate" or any(key.arg == "arrowprops" for key in node.keywords)):
        return Drawn(SHAPES, "shapes")
    if name in _WRITES:
        return Drawn(WORDS, "nothing but words")
    return Drawn(NOTHING, "an empty page")


def _count(node: ast.Call, name: str, program: Program) -> float:
    """How many values the call draws; infinity where they are computed."""
    data = _data_of(node)
    if not data:
        return 0
    sizes = [program.size(expression) for expression in data]
    if min(sizes) == 0:
        return 0
    if name in _JOINS_POINTS and max(sizes) != float("inf"):
        # as many points as differ: a line from a point to itself is a dot
        values = [[leaf.value for leaf in program.leaves(expression)] for expression in data]
        return max(len(set(found)) for found in values)
    return max(sizes)


def _data_of(node: ast.Call) -> list[ast.expr]:
    """Where a drawing call's data stand; `df.plot()` and the like bring theirs along."""
    given = list(node.args) + [key.value for key in node.keywords if key.arg in _DATA_KEYWORDS]
    if given and isinstance(node.args[-1] if node.args else None, ast.Constant) and isinstance(given[-1], ast.Constant):
        given = given[:-1] if isinstance(given[-1].value, str) and len(given) > 1 else given  # a format such as 'o-'
    named = all(
        isinstance(one, ast.Constant) and isinstance(one.value, str) for one in given
    )  # none, or names of columns
    if named and isinstance(node.func, ast.Attribute) and not _is_pyplot(node):
        return [node.func.value]
    return given


def _is_unseen(node: ast.Call, name: str) -> bool:
    """Whether the call says that nothing of it shall be seen."""
    said = {key.arg: key.value.value for key in node.keywords if isinstance(key.value, ast.Constant)}
    alpha = said.get("alpha", 1)
    if (isinstance(alpha, int | float) and alpha < _FAINT) or said.get("visible") is False:
        return True
    if any(str(said.get(colour)) in _UNSEEN for colour in _COLOURS if isinstance(said.get(colour), str)):
        return not any(key.arg in ("edgecolor", "ec", "hatch") for key in node.keywords)
    line = said.get("linestyle", said.get("ls", "-"))
    return name == "plot" and "marker" not in said and str(line).strip() in ("", "none", "None")


def _is_pyplot(node: ast.Call) -> bool:
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    if isinstance(owner, ast.Subscript):
        owner = owner.value
    return isinstance(owner, ast.Name) and (owner.id in ("plt", "axes", "axs", "sns") or owner.id.startswith("ax"))


def _in_words(texts: Iterable[str]) -> Iterator[str]:
    return (plain_number(float(number)) for text in texts for number in NUMBER.findall(text))

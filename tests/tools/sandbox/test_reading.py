"""What is read off a figure: ordinary charts as they are, tricks as what they draw, and no harm from code that attacks the reader."""

from __future__ import annotations

import json
import time

import pytest

from llmi_env.chart_reading import MAX_MARKS, ChartReading
from llmi_env.errors import CodeRaised
from tests.tools.sandbox.conftest import Draw

# One process runs them all, so that the warm workers are started once.
pytestmark = pytest.mark.xdist_group("code")

BARS = "plt.bar(['a', 'b', 'c'], [3, 5, 2])\n"
LINE = "plt.plot([2000, 2010, 2020], [1, 4, 2])\n"


def read(draw: Draw, code: str) -> ChartReading:
    text = draw(code).provenance.chart
    reading = ChartReading.from_json(text)
    assert reading is not None, f"no reading: {text!r}"
    assert reading.to_json() == text
    return reading


def told(reading: ChartReading) -> list[tuple[str, float]]:
    return [(mark.name, round(mark.value, 3)) for mark in reading.marks]


ABC = [("a", 3.0), ("b", 5.0), ("c", 2.0)]

USUAL = {
    "bar": (BARS, "bar", ABC),
    "bar of numbers": ("plt.bar([2019, 2020], [3, 5])", "bar", [("2019", 3.0), ("2020", 5.0)]),
    "bar on an axis with words": ("plt.bar([0, 1], [3, 5]); plt.xticks([0, 1], ['x', 'y'])", "bar", [("x", 3.0), ("y", 5.0)]),
    "barh": ("plt.barh(['a', 'b', 'c'], [3, 5, 2])", "bar", ABC),
    "grouped bars": (
        "x = np.arange(2)\nplt.bar(x - .2, [1, 2], .4, label='A'); plt.bar(x + .2, [3, 4], .4, label='B')\n"
        "plt.xticks(x, ['p', 'q']); plt.legend()",
        "bar",
        [("p", 1.0), ("q", 2.0), ("p", 3.0), ("q", 4.0)],
    ),
    "stacked bars": (
        "plt.bar(['p', 'q'], [1, 2]); plt.bar(['p', 'q'], [3, 4], bottom=[1, 2])",
        "bar",
        [("p", 1.0), ("q", 2.0), ("p", 3.0), ("q", 4.0)],
    ),
    "bars below nought": ("plt.bar(['p', 'q'], [-1, 2])", "bar", [("p", -1.0), ("q", 2.0)]),
    "bars with errors": ("plt.bar(['p', 'q'], [1, 2], yerr=[.1, .2], capsize=4)", "bar", [("p", 1.0), ("q", 2.0)]),
    "line": (LINE, "point", [("2000", 1.0), ("2010", 4.0), ("2020", 2.0)]),
    "line with words": ("plt.plot(['Mon', 'Tue'], [4, 6], 'o-')", "point", [("Mon", 4.0), ("Tue", 6.0)]),
    "line with dates": (
        "plt.plot(pd.to_datetime(['2024-01-01', '2024-03-01']), [1, 2])",
        "point",
        [("2024-01-01", 1.0), ("2024-03-01", 2.0)],
    ),
    "line of a series with dates": (
        "pd.Series([1, 2, 3], pd.date_range('2024-01-01', periods=3)).plot()",
        "point",
        [("2024-01-01", 1.0), ("2024-01-02", 2.0), ("2024-01-03", 3.0)],
    ),
    "line with a reference": (LINE + "plt.axhline(3); plt.axvline(2010)", "point", [("2000", 1.0), ("2010", 4.0), ("2020", 2.0)]),
    "line with a gap": ("plt.plot([1, 2, 3], [1, np.nan, 2], 'o-')", "point", [("1", 1.0), ("3", 2.0)]),
    "error bars": ("plt.errorbar([1, 2], [3, 4], yerr=.5, capsize=3)", "point", [("1", 3.0), ("2", 4.0)]),
    "stems": ("plt.stem([1, 2], [3, 4])", "point", [("1", 3.0), ("2", 4.0)]),
    "steps": ("plt.step([1, 2], [3, 4])", "point", [("1", 3.0), ("2", 4.0)]),
    "area": ("plt.fill_between([1, 2], [3, 4])", "point", [("1", 3.0), ("2", 4.0)]),
    "areas": ("plt.stackplot([1, 2], [3, 4], [5, 6])", "point", [("1", 3.0), ("2", 4.0), ("1", 5.0), ("2", 6.0)]),
    "band": (LINE + "plt.fill_between([2000, 2020], [0, 1], [2, 3], alpha=.3)", "point", [("2000", 1.0), ("2010", 4.0), ("2020", 2.0)]),
    "pie": ("plt.pie([1, 3], labels=['x', 'y'], autopct='%1.0f%%')", "wedge", [("x", 0.25), ("y", 0.75)]),
    "pie with a legend": ("plt.pie([1, 3]); plt.legend(['x', 'y'])", "wedge", [("x", 0.25), ("y", 0.75)]),
    "ring": ("plt.pie([1, 3], labels=['x', 'y'], wedgeprops={'width': .3})", "wedge", [("x", 0.25), ("y", 0.75)]),
    "scatter": ("plt.scatter([1, 2], [3, 4])", "dot", [("1", 3.0), ("2", 4.0)]),
    "heat map": (
        "sns.heatmap(pd.DataFrame({'p': [1, 3], 'q': [2, 4]}, index=['r', 's']), annot=True)",
        "cell",
        [("r, p", 1.0), ("r, q", 2.0), ("s, p", 3.0), ("s, q", 4.0)],
    ),
    "image": ("plt.colorbar(plt.imshow([[1, 2]])); plt.xticks([0, 1], ['p', 'q']); plt.yticks([])", "cell", [("p", 1.0), ("q", 2.0)]),
    "seaborn": ("sns.barplot(pd.DataFrame({'k': ['x', 'y', 'y'], 'v': [1, 2, 4]}), x='k', y='v')", "bar", [("x", 1.0), ("y", 3.0)]),
    "table of pandas": ("pd.DataFrame({'y': [1, 4]}, index=['p', 'q']).plot.bar()", "bar", [("p", 1.0), ("q", 4.0)]),
    "line of pandas": ("pd.DataFrame({'y': [1, 4, 9]}).plot(y='y')", "point", [("0", 1.0), ("1", 4.0), ("2", 9.0)]),
    "histogram": ("plt.hist([1, 1, 2, 3], bins=[.5, 1.5, 2.5, 3.5])", "bar", [("1", 2.0), ("2", 1.0), ("3", 1.0)]),
    "logarithmic": ("plt.bar(['p', 'q'], [10, 1000], log=True)", "bar", [("p", 10.0), ("q", 1000.0)]),
    "dark": ("plt.style.use('dark_background'); plt.bar(['p', 'q'], [1, 2], color='white')", "bar", [("p", 1.0), ("q", 2.0)]),
    "subplots": (
        "fig, axes = plt.subplots(1, 2)\naxes[0].bar(['p'], [1]); axes[1].plot([1, 2], [5, 6])",
        None,
        [("p", 1.0), ("1", 5.0), ("2", 6.0)],
    ),
    "twins": (BARS + "plt.twinx().plot(['a', 'b', 'c'], [9, 8, 7], color='red')", None, [*ABC, ("a", 9.0), ("b", 8.0), ("c", 7.0)]),
    "panels that share an axis": (
        "fig, axes = plt.subplots(2, 1, sharex=True)\nfor ax in axes: ax.bar(['p', 'q'], [1, 2])",
        "bar",
        [("p", 1.0), ("q", 2.0), ("p", 1.0), ("q", 2.0)],
    ),
    "in space": ("ax = plt.figure().add_subplot(projection='3d'); ax.plot([1, 2], [3, 4], [5, 6])", "point", [("1", 5.0), ("2", 6.0)]),
}  # fmt: skip


@pytest.mark.parametrize("name", USUAL)
def test_usual_charts_are_read_as_drawn(draw: Draw, name: str) -> None:
    code, kind, expected = USUAL[name]
    reading = read(draw, code)
    if name == "in space":  # where a point falls on the page names nothing in space
        assert [mark.value for mark in reading.marks] == [5.0, 6.0]
    else:
        assert told(reading) == expected
    assert kind is None or {mark.kind for mark in reading.marks} == {kind}
    assert all(0 <= mark.level <= 1 for mark in reading.marks)
    assert reading.seen > 0.9
    assert 0.001 < reading.ink < 0.7
    assert reading.room > 0.25
    assert not reading.renamed


def test_levels_are_shares_of_the_axes(draw: Draw) -> None:
    assert [mark.level for mark in read(draw, BARS + "plt.ylim(0, 10)").marks] == [0.3, 0.5, 0.2]
    assert [mark.level for mark in read(draw, BARS + "plt.ylim(10, 0)").marks] == [0.7, 0.5, 0.8]
    assert [mark.level for mark in read(draw, BARS + "plt.ylim(0, 4)").marks] == [0.75, 1.0, 0.5]
    assert [mark.level for mark in read(draw, "plt.barh(['a', 'b'], [1, 3]); plt.xlim(0, 4)").marks] == [0.25, 0.75]
    assert [mark.level for mark in read(draw, LINE + "plt.ylim(0, 2)").marks] == [0.5, -1.0, 1.0]
    assert [mark.level for mark in read(draw, "plt.bar(['p', 'q'], [1, 100], log=True); plt.ylim(1, 1e4)").marks] == [
        0.0,
        0.5,
    ]


HIDDEN = {
    "white on white": "plt.bar(['a', 'b', 'c'], [3, 5, 2], color='white')",
    "nearly white": "plt.bar(['a', 'b', 'c'], [3, 5, 2], color='#f6f6f6')",
    "colour of a dark ground": "plt.bar(['a', 'b', 'c'], [3, 5, 2], color='navy'); plt.gca().set_facecolor('navy')",
    "under a cover": BARS + "plt.gca().add_patch(plt.Rectangle((-1, -1), 9, 9, color='white', zorder=9))",
    "under a cover of the figure": BARS
    + "f = plt.gcf(); f.add_artist(plt.Rectangle((0, 0), 1, 1, color='w', transform=f.transFigure, zorder=9))",
    "under other axes": BARS + "plt.gcf().add_axes([0, 0, 1, 1]).set_xticks([])",
    "under a picture": BARS + "plt.imshow(np.ones((40, 40, 3)), extent=[-1, 3, 0, 6], zorder=9, aspect='auto')",
    "under an area": BARS + "plt.fill_between([-1, 3], [0, 0], [9, 9], color='white', zorder=9)",
    "under the box of a text": BARS
    + "plt.text(1, 3, ' ', bbox=dict(facecolor='white', edgecolor='white', pad=300), zorder=9)",
    "under block letters": BARS
    + "plt.text(1, 3, '\\n'.join(['█' * 99] * 80), color='white', ha='center', va='center', linespacing=.5, zorder=9)",
    "under a legend": BARS
    + "plt.legend([plt.Line2D([], [])], ['\\n'.join([' ' * 300] * 60)], framealpha=1, loc='center')",
    "under a spine": BARS
    + "s = plt.gca().spines['left']; s.set_linewidth(1500); s.set_color('white'); s.set_zorder(9)",
    "beyond the limits": BARS + "plt.ylim(100, 200)",
    "far below the limits": LINE + "plt.ylim(100, 200)",
    "a line under a bar": LINE + "plt.axvspan(1990, 2030, color='green', zorder=9)",
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_hidden_is_not_seen(draw: Draw, name: str) -> None:
    reading = read(draw, HIDDEN[name])
    assert [mark.value for mark in reading.marks] in ([3, 5, 2], [1, 4, 2]), (
        "marks are what the figure holds, seen or not"
    )
    assert reading.seen < 0.1
    if "limits" in name:
        assert {mark.level for mark in reading.marks} == {-1.0}
        assert reading.ink == 0


def test_of_two_series_each_has_what_is_seen_of_it(draw: Draw) -> None:
    """Higher bars in front hide the lower ones; beside them they do not."""
    over = read(draw, "plt.bar([0, 1], [3, 5]); plt.bar([0, 1], [6, 8], zorder=9)")
    assert [mark.seen for mark in over.marks] == pytest.approx([0, 0, 1, 1], abs=0.1)
    beside = read(draw, "plt.bar([0, 1], [3, 5], .4); plt.bar([.5, 1.5], [6, 8], .4)")
    assert all(mark.seen > 0.9 for mark in beside.marks)


def test_points_and_bars_tell_where_they_stand(draw: Draw) -> None:
    assert [mark.place for mark in read(draw, LINE).marks] == [2000, 2010, 2020]
    assert [mark.place for mark in read(draw, "plt.barh(['a', 'b'], [3, 5])").marks] == pytest.approx([0, 1])
    assert [mark.place for mark in read(draw, "plt.plot([1, np.nan, 3], [1, 5, 2], 'o-')").marks] == [1, 3]
    assert [mark.place for mark in read(draw, "plt.pie([1, 3])").marks] == [None, None]


@pytest.mark.parametrize(
    ("more", "keyed"),
    [
        ("", False),
        ("; plt.colorbar()", True),
        ("; plt.text(0, 0, '20'); plt.text(1, 0, '50')", True),
        ("; plt.title('20 50')", False),
    ],
)
def test_shades_are_keyed_by_a_colour_bar_or_by_numbers_on_them(draw: Draw, more: str, keyed: bool) -> None:
    assert read(draw, "plt.imshow([[20, 50]])" + more).keyed is keyed


def test_half_a_cover_hides_half(draw: Draw) -> None:
    cover = "plt.gca().add_patch(plt.Rectangle((-1, 0), 9, 1, color='white', zorder=9))"
    assert 0.4 < read(draw, "plt.bar(['a', 'b'], [2, 2])\n" + cover).seen < 0.6


def test_one_hidden_series_beside_a_seen_one_lowers_the_mean(draw: Draw) -> None:
    code = "plt.bar(['a', 'b'], [3, 3], color='white'); plt.bar(['c', 'd'], [3, 3])"
    assert 0.4 < read(draw, code).seen < 0.6
    beyond = "plt.plot([1, 2], [900, 901]); plt.plot([1, 2], [1, 2]); plt.ylim(0, 3)"
    assert 0.4 < read(draw, beyond).seen < 0.6


@pytest.mark.parametrize(
    "extra",
    [
        "plt.grid(True); plt.title('T'); plt.legend(['n'])",
        "plt.bar_label(plt.gca().containers[0])",
        "plt.gca().set_facecolor('#eeeeee')",
        "plt.annotate('top', (1, 5), (1.4, 5.5), arrowprops={'arrowstyle': '->'}); plt.ylim(0, 7)",
        "plt.axhline(2.5, color='red', linestyle='--')",
        "plt.gcf().set_layout_engine('constrained')",
        "plt.gcf().patch.set_visible(False)",
    ],
)
def test_ordinary_decoration_hides_nothing(draw: Draw, extra: str) -> None:
    reading = read(draw, BARS + extra)
    assert told(reading) == ABC
    assert reading.seen > 0.95


NOTHING = {
    "words alone": "plt.text(.5, .5, 'Sales: 3, 5, 2')",
    "an invisible line": "plt.plot([1, 2], [3, 4], visible=False)",
    "a line of no kind": "plt.plot([1, 2], [3, 4], linestyle='none')",
    "a faint line": "plt.plot([1, 2], [3, 4], alpha=.02)",
    "a line taken away": "line, = plt.plot([1, 2], [3, 4]); line.remove(); plt.text(0, 0, 'x')",
    "bars taken away": BARS + "for bar in list(plt.gca().patches): bar.remove()\nplt.text(0, 0, 'x')",
    "axes that are not shown": BARS + "plt.gca().set_visible(False)",
    "patches": "plt.gca().add_patch(plt.Rectangle((0, 0), 1, 1))",
    "a photograph": "plt.imshow(np.random.rand(60, 60, 3))",
    "a large table": "plt.imshow(np.random.rand(60, 60))",
    "no values": "plt.plot([1, 2], [np.nan, np.nan])",
    "nothing in it": "plt.plot([], []); plt.bar([], []); plt.scatter([], [])",
}


@pytest.mark.parametrize("name", NOTHING)
def test_what_draws_no_values_has_no_marks(draw: Draw, name: str) -> None:
    reading = read(draw, NOTHING[name])
    assert reading == ChartReading()


def test_values_are_those_of_the_figure_whatever_the_code_says(draw: Draw) -> None:
    changed = BARS + "for bar in plt.gca().patches: bar.set_height(1)"
    assert [mark.value for mark in read(draw, changed).marks] == [1, 1, 1]
    computed = "values = [30, 50, 20]\nplt.bar(['a', 'b', 'c'], [v * 0 + i for i, v in enumerate(values, 1)])"
    assert told(read(draw, computed)) == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    moved = BARS + "plt.gca().set_xticklabels(['x', 'y', 'z'])"
    assert [mark.name for mark in read(draw, moved).marks] == ["x", "y", "z"]
    unnamed = BARS + "plt.tick_params(labelbottom=False)"
    assert [mark.name for mark in read(draw, unnamed).marks] == ["", "", ""]


RENAMED = {
    "other numbers": "plt.ylim(0, 5); plt.yticks([0, 1, 2, 3, 4, 5], ['0', '10', '25', '45', '70', '100'])",
    "shifted": "plt.yticks([0, 1, 2], ['1', '2', '3'])",
    "as a formula": "plt.yticks([0, 1, 2], ['$7$', '$8$', '$9$'])",
    "by a function": "plt.gca().yaxis.set_major_formatter(lambda value, _: f'{value * value + 7:,.1f}')",
    "one of them": "plt.yticks([0, 1, 5], ['0', '1', '9'])",
}
KEPT = {
    "percent": "plt.gca().yaxis.set_major_formatter('{x:.0%}')",
    "words": "plt.yticks([1, 3, 5], ['low', 'middle', 'high'])",
    "the same": "plt.yticks([0, 2, 4], ['0', '2', '4'])",
    "rounded": "plt.ylim(0, 100); plt.yticks([0, 33.3, 66.7], ['0', '33', '67'])",
    "with commas": "plt.ylim(0, 9000); plt.gca().yaxis.set_major_formatter('{x:,.0f}')",
    "decimal comma": "plt.yticks([0, 1.5, 3], ['0,0', '1,5', '3,0'])",
    "thousands": "plt.ylim(0, 9000); plt.gca().yaxis.set_major_formatter(lambda value, _: f'{value / 1000:.0f}')",
    "names along x": "plt.xticks([0, 1, 2], ['2001', '2002', '2003'])",
    "an offset": "plt.ylim(1e9, 1e9 + 5)",
    "powers": "plt.yscale('log')",
    "none": "plt.yticks([])",
    "numbers that are not shown": "plt.yticks([0, 1], ['7', '8']); plt.gca().yaxis.set_visible(False)",
}


@pytest.mark.parametrize("name", [*RENAMED, *KEPT])
def test_numbers_that_stand_elsewhere_than_they_say_are_noticed(draw: Draw, name: str) -> None:
    assert read(draw, BARS + (RENAMED | KEPT)[name]).renamed == (name in RENAMED)


def test_renaming_of_lying_bars_is_along_x(draw: Draw) -> None:
    lying = "plt.barh([0, 1, 2], [3, 5, 2]); plt.{}ticks([0, 1, 2], ['4', '9', '16'])"
    assert read(draw, lying.format("x")).renamed
    assert not read(draw, lying.format("y")).renamed


def test_texts_where_numbers_belong_are_noticed(draw: Draw) -> None:
    """Values given as text stand evenly, one after another, whatever they say."""
    assert read(draw, "plt.plot(['a', 'b', 'c'], ['10', '90', '20'])").renamed


def test_a_stamp_has_little_room_and_ink(draw: Draw) -> None:
    stamp = "fig = plt.figure(figsize=(8, 6)); fig.text(.01, .99, 'x'); fig.text(.99, .01, 'y')\n"
    small = read(draw, stamp + "fig.add_axes([.1, .1, .08, .08]).bar(['a', 'b'], [3, 5])")
    assert told(small) == [("a", 3.0), ("b", 5.0)]
    assert small.room < 0.02
    assert small.ink < 0.01
    inset = "ax = plt.gca(); ax.inset_axes([.8, .8, .1, .1]).bar([1, 2], [3, 5]); ax.text(0, 0, 'x')"
    assert read(draw, inset).room < 0.02
    far = read(draw, "plt.figure(figsize=(2, 2))\n" + BARS + "plt.gcf().text(6, 6, 'far away')")
    assert far.room < 0.05, "the page is what the picture shows, not what the figure was made for"
    margin = read(draw, "plt.figure(figsize=(2, 2))\nplt.rcParams['savefig.pad_inches'] = 4\n" + BARS)
    assert margin.room < 0.05


def test_axes_outside_the_figure_count_where_the_picture_shows_them(draw: Draw) -> None:
    reading = read(draw, "plt.figure().add_axes([1.2, .1, 1, 1]).bar(['a', 'b'], [3, 5])")
    assert reading.seen > 0.95
    assert reading.ink > 0.2


def test_long_series_leave_room_for_their_neighbours(draw: Draw) -> None:
    reading = read(draw, "plt.plot(np.arange(1000), np.arange(1000)); plt.plot([0, 1, 2], [5, 6, 7])")
    assert len(reading.marks) == MAX_MARKS
    assert told(reading)[0] == ("0", 0.0)
    assert told(reading)[56:] == [("999", 999.0), ("0", 5.0), ("1", 6.0), ("2", 7.0)]


def test_a_box_plot_gives_its_caps_and_medians(draw: Draw) -> None:
    for code in ("plt.boxplot([1, 2, 3, 4, 5], tick_labels=['p'])", "sns.boxplot({'p': [1, 2, 3, 4, 5]})"):
        assert {(mark.name, mark.value) for mark in read(draw, code).marks} == {("p", 1.0), ("p", 3.0), ("p", 5.0)}


def test_the_same_code_gives_the_same_reading(draw: Draw, tight: Draw) -> None:
    code = "plt.plot(np.random.rand(50)); plt.bar(range(5), np.random.rand(5)); plt.legend(['n', 'm'])"
    first = draw(code, seed=3).provenance.chart
    assert first
    assert draw(code, seed=3).provenance.chart == tight(code, seed=3).provenance.chart == first


CROWDS = {
    "lines": "for i in range(5000): plt.plot([0, 1], [i, i + 1])",
    "bars": "plt.bar(range(5000), range(5000))",
    "patches": BARS + "for i in range(5000): plt.gca().add_patch(plt.Rectangle((i, 0), 1, 1))",
    "points": "plt.plot(np.random.rand(500_000))",
    "dots": "for i in range(1500): plt.scatter([i], [i])",
    "ticks": "plt.bar(range(900), range(900)); plt.xticks(range(900), map(str, range(900)))",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CROWDS)
def test_crowds_are_read_in_bounded_time(draw: Draw, name: str) -> None:
    started = time.monotonic()
    reading = read(draw, CROWDS[name])
    assert time.monotonic() - started < 25
    assert 0 < len(reading.marks) <= MAX_MARKS
    assert len(reading.to_json()) < 12_000


def test_names_are_cut_and_cleaned(draw: Draw) -> None:
    code = "names = [chr(0x1F600 + i) * 300 for i in range(60)]\nplt.bar(range(60), range(60)); plt.xticks(range(60), names)"
    reading = read(draw, code)
    assert {len(mark.name) for mark in reading.marks} == {60}
    line = read(draw, "plt.bar(['x\\n\\ty\\x07'], [1])")
    assert line.marks[0].name == "x y"


FORGED = """
import struct, os, io, sys, json
buffer = io.BytesIO(); plt.plot([1, 2]); plt.savefig(buffer, format='png')
head = HEAD
os.write(3, struct.pack('!I', len(head)) + head + buffer.getvalue())
os._exit(0)
"""
READING = '{"marks": [MARKS], "seen": 1, "ink": 0.5, "room": 0.5, "renamed": false, "more": 1}'
MARK = '{"kind": "bar", "name": "n", "value": 1, "level": 0.5}'


def forged(chart: str) -> str:
    head = '{"status": "ok", "chart": ' + chart + "}"
    return FORGED.replace("HEAD", repr(head.encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize(
    "chart",
    [
        "null", "1", '"text"', "[]", "{}", "true",
        '{"marks": [], "seen": 2, "ink": 0, "room": 0, "renamed": false}',
        '{"marks": [], "seen": NaN, "ink": 0, "room": 0, "renamed": false}',
        '{"marks": {}, "seen": 1, "ink": 0, "room": 0, "renamed": false}',
        '{"marks": "bars", "seen": 1, "ink": 0, "room": 0, "renamed": false}',
        '{"marks": [7], "seen": 1, "ink": 0, "room": 0, "renamed": false}',
        '{"marks": [], "seen": null, "ink": 0, "room": 0, "renamed": false}',
        '{"marks": [{"kind": "bar", "name": "n", "value": Infinity, "level": 0}], "seen": 1, "ink": 0, "room": 0, "renamed": 0}',
        '{"marks": [{"kind": "bar", "name": "n", "value": 1' + "0" * 400 + ', "level": 0}], "seen": 1, "ink": 0, "room": 0, "renamed": 0}',
        '{"marks": [{"kind": "bar", "name": "n", "value": 1, "level": 9}], "seen": 1, "ink": 0, "room": 0, "renamed": 0}',
        "[" * 900 + "]" * 900,
        '"' + "x" * 20_000 + '"',
    ],
)  # fmt: skip
def test_a_malformed_reading_is_no_reading(draw: Draw, chart: str) -> None:
    picture = draw(forged(chart))
    assert picture.provenance.chart == ""
    assert picture.image.width > 100


def test_a_forged_reading_is_cut_to_form(draw: Draw) -> None:
    """It is believed as far as the picture is: code may draw what it likes."""
    text = draw(forged(READING.replace("MARKS", ", ".join([MARK] * 99)))).provenance.chart
    reading = ChartReading.from_json(text)
    assert reading is not None
    assert len(reading.marks) == MAX_MARKS
    odd = READING.replace("MARKS", MARK.replace('"n"', r'"a\ud800\u0000\n"'))
    chart = draw(forged(odd)).provenance.chart
    chart.encode()
    assert json.loads(chart)["marks"][0]["name"] == "a   "


ATTACKS = {
    "print_figure raises": "plt.gcf().canvas.__class__.print_figure, old = None, plt.gcf().canvas.__class__.print_figure\n"
    "n = [0]\ndef once(*a, **k):\n    n[0] += 1\n    if n[0] > 1: raise SystemExit\n    return old(*a, **k)\n"
    "plt.gcf().canvas.__class__.print_figure = once",
    "containers": "plt.gca().containers = 7",
    "labels": "plt.gca().get_label = None",
    "formatter": "n = [0]\ndef odd(value, _):\n    n[0] += 1\n    return 5 if n[0] > 300 else 'x'\nplt.gca().xaxis.set_major_formatter(odd)",
    "transform": "type(plt.gca().transData).transform = lambda *a: np.zeros((3, 2)) * np.nan",
    "visible": "plt.gca().patches[0].set_visible = lambda on: 1 / 0",
    "alpha": "plt.gca().patches[0].get_alpha = lambda: 'faint'",
    "recursion": "def again(*a): return again()\nplt.gca().patches[0].get_path = again",
    "modules": "import sys\nfor name in list(sys.modules):\n    if name.startswith('llmi_env'): del sys.modules[name]",
    "numpy": "np.isfinite = None; np.abs = None",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_a_changed_library_breaks_the_reading_at_most(draw: Draw, name: str) -> None:
    if name in ("transform", "recursion", "numpy"):  # the picture itself cannot be made
        with pytest.raises(CodeRaised):
            draw(BARS + ATTACKS[name])
    else:
        text = draw(BARS + ATTACKS[name]).provenance.chart
        assert text == "" or ChartReading.from_json(text) is not None
    assert read(draw, BARS).seen > 0.95, "the next chart is none the worse"


def test_lengths_of_a_head_over_its_cap_stay_refused(draw: Draw) -> None:
    code = FORGED.replace("HEAD", 'b\'{"status": "ok", "chart": "\' + b"x" * 70_000 + b\'"}\'')
    with pytest.raises(CodeRaised, match="without leaving a figure"):
        draw(code)

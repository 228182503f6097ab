"""What a plotting program draws, by its syntax tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmi_env.judges.chart_proxy import DATA, DOT, FRAME, INVENTED, NOTHING, SHAPES, WORDS, drawn

FRAMES = "df = pd.DataFrame({'month': [1, 2], 'rain': [30, 40]})\n"


@pytest.mark.parametrize(
    ("code", "numbers"),
    [
        ("plt.plot([50, 40.0, 25.50])", {"50", "40", "25.5"}),
        ("plt.bar(['a', 'b'], [80, 60])", {"80", "60"}),
        ("rain = [80, 60]\nplt.plot([1, 2], rain)", {"80", "60", "1", "2"}),
        ("data = {'a': 5, 'b': 6}\nplt.bar(data.keys(), data.values())", {"5", "6"}),
        ("for at, v in enumerate([3, 5]):\n    plt.bar(at, v)", {"3", "5"}),
        ("def draw(v):\n    plt.bar(range(len(v)), v)\ndraw([3, 4])", {"3", "4"}),
        ("v = []\nv.append(3)\nv += [4]\nplt.plot(v)", {"3", "4"}),
        ("a, b = [1, 2], [7, 8]\nplt.plot(a, b)", {"1", "2", "7", "8"}),
        ("fig, ax = plt.subplots()\nax.barh(['x', 'y'], width=[3, 4])", {"3", "4"}),
        (FRAMES + "df.plot(x='month', y='rain')", {"1", "2", "30", "40"}),
        (FRAMES + "df.set_index('month')['rain'].plot.bar()", {"1", "2", "30", "40"}),
        (FRAMES + "sns.barplot(data=df, x='month', y='rain')", {"1", "2", "30", "40"}),
        ("plt.plot([1, 2, 3], 'o-', linewidth=77, label='88')", {"1", "2", "3"}),
        ("plt.bar([1, 2], [3, 4], color='none', edgecolor='black')", {"1", "2", "3", "4"}),
        ("plt.figure(figsize=(8, 4))\nplt.pie([60, 40], labels=['a', 'b'])", {"60", "40"}),
    ],
)
def test_numbers_that_reach_a_drawing_call_are_plotted(code: str, numbers: set[str]) -> None:
    assert (drawn(code).value, drawn(code).numbers) == (DATA, frozenset(numbers))


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("plt.plot([0], [0])  # 80 60 30 90", DOT),
        ("data = [80, 60, 30, 90]\nplt.scatter([1], [1])", DOT),
        ("plt.plot([5, 5, 5], [5, 5, 5])", DOT),
        ("plt.bar(['all'], [9])", DOT),
        ("plt.plot([])", FRAME),
        ("plt.plot([1, 2], alpha=0.0)", FRAME),
        ("plt.plot([1, 2], color='white')", FRAME),
        ("plt.plot([1, 2], linestyle='none')", FRAME),
        ("plt.plot([1, 2], visible=False)", FRAME),
        ("plt.bar([1, 2], [3, 4])\nplt.cla()\nplt.title('Rain')", WORDS),
        ("plt.plot([1, 2])\nplt.figure()\nplt.text(0, 0, 'Rain')", WORDS),
        ("if False:\n    plt.plot([1, 2])\nplt.title('Rain')", WORDS),
        ("def never():\n    plt.plot([1, 2])\nplt.title('Rain')", WORDS),
        ("plt.figure()", NOTHING),
        ("plt.gca().add_patch(plt.Circle((0, 0), 1))", SHAPES),
        ("plt.imshow(np.random.rand(9, 9))", INVENTED),
    ],
)
def test_what_draws_no_data_is_told_and_plots_no_numbers(code: str, value: float) -> None:
    assert drawn(code).value == value
    assert not drawn(code).numbers & {"80", "60", "30", "90"}


def test_what_is_computed_has_the_benefit_of_the_doubt() -> None:
    for code in (
        "t = np.linspace(0, 3, 40)\nplt.plot(t, 5 * t ** 2)",
        "plt.hist(np.random.randn(100))",
        "plt.plot(load())",
        "import math\nplt.plot([math.sin(x / 9) for x in range(60)])",
        "plt.plot(*[[1, 2], [3, 4]])",
    ):
        assert drawn(code).value == DATA


def test_numbers_as_names_count_no_further_than_numbers_as_values() -> None:
    years = drawn("plt.bar(['2019', '2020'], [5, 7])")
    assert years.share_of({"2019", "2020", "5", "7"}) == 1
    names_only = drawn("plt.bar(['80', '60', '30'], [0, 0, 1])")
    assert names_only.share_of({"80", "60", "30"}) == 0
    assert drawn("plt.plot([80, 1, 2])").share_of({"80", "60", "30", "90"}) == 0.25


@pytest.mark.parametrize(
    "code",
    [
        "plt.plot([1, 2]",
        "x" + "(" * 5000,
        "\0",
        "plt.plot(" + "-" * 3000 + "1)",
        "a = b\nb = a\nplt.plot(a)",
        "lambda: 0",
    ],
)
def test_no_program_is_too_odd(code: str) -> None:
    assert 0 <= drawn(code).value <= 1


def test_numbers_of_what_cannot_be_read_leave_comments_out() -> None:
    found = drawn("plt.plot([1, 2)  # 80 60\nplt.title('30'")
    assert (found.value, found.numbers) == (DATA, frozenset({"1", "2", "30"}))


@given(st.text(alphabet="plt.o([1,2])ab=\n for in:if x#'", max_size=80))
def test_any_text_has_a_value(code: str) -> None:
    assert 0 <= drawn(code).value <= 1


def test_many_names_that_build_on_each_other_take_no_time() -> None:
    names = "x0 = [1]\n" + "\n".join(f"x{at + 1} = x{at} + x{at}" for at in range(60))
    assert drawn(f"{names}\nplt.plot(x60)").value == DATA


@pytest.mark.parametrize("code", ["plt.text(1, 9{0}, 'highest')", "plt.bar([1, 2], [9{0}, 1])"])
def test_numbers_of_any_length_can_be_read(code: str) -> None:
    assert drawn(code.format("9" * 400)).value >= 0

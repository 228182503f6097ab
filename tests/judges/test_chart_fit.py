"""Whether a chart shows the numbers that were given, by the reading of its figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from PIL import Image

from llmi_env.calls import Call
from llmi_env.chart_reading import MAX_JSON, ChartReading, Mark
from llmi_env.document import Picture, Provenance
from llmi_env.judges.chart_fit import Chart, chart_of
from llmi_env.judges.given import misnamed, told_backwards

RAIN = "Show the rain of a year: spring 80, summer 60, autumn 30, winter 90 mm."
BARS = (("spring", 80.0), ("summer", 60.0), ("autumn", 30.0), ("winter", 90.0))
PROGRAM = "plt.bar(['spring', 'summer', 'autumn', 'winter'], [80, 60, 30, 90])"


def reading(
    marks: tuple[Mark, ...], *, seen: float = 1, ink: float = 0.2, room: float = 0.6, renamed: bool = False
) -> ChartReading:
    return ChartReading(marks, seen, ink, room, renamed)


def bars(*named: tuple[str, float]) -> tuple[Mark, ...]:
    highest = max(value for _, value in named)
    return tuple(Mark("bar", name, value, 0.9 * value / highest) for name, value in named)


def points(*values: float) -> tuple[Mark, ...]:
    return tuple(Mark("point", str(at), value, 0.1 + 0.8 * value / max(values)) for at, value in enumerate(values))


def chart(read: ChartReading | None, code: str = PROGRAM) -> Chart:
    told = read.to_json() if read is not None else ""
    picture = Picture(Image.new("RGB", (64, 48)), Provenance("test", chart=told))
    return chart_of(Call("code", "Bar chart of rain", {"code": code}), picture)


def test_the_numbers_of_the_question_under_their_names_fit() -> None:
    for read in (reading(bars(*BARS)), reading(bars(*reversed(BARS))), None):
        assert (chart(read).value, chart(read).fit(RAIN)) == (1, 1)


@pytest.mark.parametrize(
    ("marks", "most"),
    [
        (bars(*((name, value**2) for name, value in BARS)), 0.2),  # computed by the program into others
        (bars(("spring", 60), ("summer", 30), ("autumn", 90), ("winter", 80)), 0.4),  # each under the next name
        (bars(("spring", 80), ("summer", 30), ("autumn", 60), ("winter", 90)), 0.7),  # two of four exchanged
        (bars(("spring", 80), ("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5), ("f", 6)), 0.3),
        (bars(("spring", 50), ("summer", 50), ("autumn", 50), ("winter", 50)), 0.2),
    ],
)
def test_other_numbers_other_names_and_numbers_nobody_gave_do_not(marks: tuple[Mark, ...], most: float) -> None:
    assert chart(reading(marks)).fit(RAIN) <= most


def test_what_stands_before_its_name_is_paired_as_well() -> None:
    question = "Chart the fruit: 12 apples, 8 pears and 5 plums."
    assert chart(reading(bars(("apples", 12), ("pears", 8), ("plums", 5)))).fit(question) == 1
    assert chart(reading(bars(("apples", 8), ("pears", 5), ("plums", 12)))).fit(question) < 0.4


def test_a_series_is_told_from_the_same_numbers_in_another_order() -> None:
    question = "My weight over four weeks: 82, 80, 81, 79 kg."
    assert chart(reading(points(82, 80, 81, 79))).fit(question) == pytest.approx(1)
    assert chart(reading(points(79, 81, 80, 82))).fit(question) < 0.5


@pytest.mark.parametrize("shares", [(0.6, 0.25, 0.15), (0.6, 0.25, 0.15, 0.0)])
def test_wedges_are_shares_of_a_hundred_or_of_the_sum(shares: tuple[float, ...]) -> None:
    marks = tuple(Mark("wedge", "", share, 0.5) for share in shares)
    assert chart(reading(marks)).fit("Draw our budget: food 60, prizes 25, music 15 percent.") == 1
    assert chart(reading(marks)).fit("Draw our budget: food 120, prizes 50, music 30 euros.") == 1
    assert chart(reading(marks)).fit("Draw our budget: food 20, prizes 20, music 60 percent.") < 0.7


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (reading(bars(*BARS), seen=0.1), "covered"),
        (reading(bars(*BARS), ink=0.0), "stroke"),
        (reading(bars(*BARS), room=0.01), "corner"),
        (reading(tuple(Mark("bar", name, value, -1) for name, value in BARS)), "outside"),
        (reading(tuple(Mark("bar", name, value, 0.01) for name, value in BARS)), "flat"),
    ],
)
def test_what_cannot_be_seen_is_no_chart(read: ChartReading, why: str) -> None:
    assert chart(read).value < 0.2
    assert why in chart(read).why


def test_a_scale_that_makes_all_alike_is_flat() -> None:
    alike = tuple(Mark("bar", name, value, 0.95 + value / 1e5) for name, value in BARS)
    assert chart(reading(alike)).value == pytest.approx(0.1)
    assert chart(reading(alike)).why == "flat"


def test_numbers_of_a_text_stand_beside_their_own_names() -> None:
    assert misnamed("Winter brought 90 mm and autumn only 30.", RAIN) == 0
    assert misnamed("Spring 60, summer 30, autumn 90 and winter 80.", RAIN) == 1
    assert misnamed("Spring 80, summer 30, autumn 60 and winter 90.", RAIN) == 0.5
    assert misnamed("Between 30 and 90 mm fell.", RAIN) == misnamed("No numbers.", RAIN) == misnamed("30", "Rain?") == 0


def test_what_another_series_covers_is_not_shown() -> None:
    covered = tuple(replace(mark, seen=0.0) for mark in bars(*BARS))
    before_them = bars(*((name, 200 - value) for name, value in BARS))
    beside = chart(reading((*bars(*BARS), *before_them))).fit(RAIN)
    assert chart(reading((*covered, *before_them))).fit(RAIN) < 0.1 < 0.2 < beside


def test_shades_tell_their_numbers_only_with_a_key() -> None:
    cells = tuple(Mark("cell", "", value, 0.5) for _, value in BARS)
    assert chart(ChartReading(cells, 1, 0.3, 0.6, keyed=False)).fit(RAIN) < 0.2
    assert chart(ChartReading(cells, 1, 0.3, 0.6, keyed=True)).fit(RAIN) == 1


def test_a_series_drawn_against_itself_is_none() -> None:
    def against(places: Sequence[float], values: Sequence[float]) -> tuple[Mark, ...]:
        return tuple(Mark("point", "", value, value / 100, place) for place, value in zip(places, values, strict=True))

    question = "Scooter rentals were 10, 25, 45 and 80."
    assert chart(reading(against((10, 25, 45, 80), (25, 45, 80, 10)))).fit(question) < 0.2
    assert chart(reading(against((1, 2, 3, 4), (10, 25, 45, 80)))).fit(question) == 1
    assert chart(reading(against((10, 25, 45, 80), (10, 25, 45, 80)))).fit(question) == 1, "silly, but no other numbers"
    counted = "Prices were 2, 3 and 4 euros in three years."
    assert chart(reading(against((1, 2, 3), (2, 3, 4)))).fit(counted) == 1, "places count the years"
    both = "At 10 degrees 20 guests came, at 20 degrees 30."
    assert chart(reading(against((10, 20), (20, 30)))).fit(both) > 0.9, "twenty is given as both"


RENTALS = "Our rentals by month: 10, 25, 45 and 80."


@pytest.mark.parametrize(
    ("text", "question", "backwards"),
    [
        ("Rentals rose from 10 to 80.", RENTALS, False),
        ("They fall clearly, from 80 at the start to 10 at the end.", RENTALS, True),
        ("They started at 80 and ended at 10.", RENTALS, True),
        ("Rentals fell from 10 to 80.", RENTALS, True),  # its own two numbers say otherwise
        ("Rentals rose from 10 to 80 while costs fell.", RENTALS, False),  # both words: nothing is known
        ("From 25 to 45 in a month, and the roses bloom.", RENTALS, False),
        ("Rentals went from 80 to 99.", RENTALS, False),  # faithful to nothing, which is another trait's to say
        (
            "They range from 3 cats to 10 dogs.",
            "Chart our pets: 10 dogs, 5 birds and 3 cats.",
            False,
        ),  # no series in time
        ("They go from 3 at first to 10 at last.", "Chart our pets: 10 dogs, 5 birds and 3 cats.", True),
        ("Sales rose from 1,200 to 2,400.", "Sales by year: 1,200, 1,800 and 2,400.", False),
        ("Sales fell from 2,400 to 1,200.", "Sales by year: 1,200, 1,800 and 2,400.", True),
        ("It goes from 5 to 7.", "Visitors by day: 5, 7 and 5.", False),  # five stands at both ends
        ("", RENTALS, False),
    ],
)
def test_a_series_is_told_from_its_own_end(text: str, question: str, backwards: bool) -> None:
    assert told_backwards(text, question) is backwards


def test_an_axis_that_tells_other_numbers_costs_most_of_it() -> None:
    assert chart(reading(bars(*BARS), renamed=True)).fit(RAIN) == pytest.approx(0.15)


def test_a_program_that_draws_nothing_is_not_saved_by_a_reading() -> None:
    assert chart(reading(bars(*BARS)), "plt.title('80 60 30 90')").value < 0.2


def test_years_are_names_and_values_bear_them_out() -> None:
    question = "Plot the visitors: 2019: 5, 2020: 7 thousand."
    assert chart(reading(bars(("2019", 5), ("2020", 7)))).fit(question) == 1


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "{", "[" * 9000, " " * (MAX_JSON + 1), '{"marks": [], "seen": 2, "ink": 0, "room": 0, "renamed": false}',
     '{"marks": [{"kind": "bar", "name": "", "value": NaN, "level": 0}], "seen": 1, "ink": 0, "room": 0, "renamed": false}',
     '{"marks": [{"kind": "bar"}], "seen": 1, "ink": 0, "room": 0, "renamed": false}',
     '{"marks": 5, "seen": 1, "ink": 0, "room": 0, "renamed": false}'],
)  # fmt: skip
def test_a_reading_that_is_none_is_left_out(text: str) -> None:
    assert ChartReading.from_json(text) is None
    assert chart(None).value == 1


def test_a_reading_comes_back_as_it_was_written() -> None:
    read = reading(bars(*BARS), seen=0.5, renamed=True)
    assert ChartReading.from_json(read.to_json()) == read

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
    top = max(values)
    return tuple(Mark("point", str(at), value, 0.1 + 0.8 * value / top, float(at)) for at, value in enumerate(values))


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
    behind = tuple(replace(mark, place=at, seen=0.3, series=0) for at, mark in enumerate(bars(*BARS)))
    higher = tuple(replace(mark, value=200 - mark.value, level=0.95, seen=1.0, series=1) for mark in behind)
    lower = tuple(replace(mark, value=5.0, level=0.05) for mark in higher)
    beside = tuple(replace(mark, place=at + 0.5) for at, mark in enumerate(higher))
    assert chart(reading((*behind, *higher))).fit(RAIN) < 0.1
    for others in (lower, beside):
        assert chart(reading((*behind, *others))).fit(RAIN) > 0.7


def test_shades_tell_their_numbers_only_with_a_key() -> None:
    cells = tuple(Mark("cell", "", value, 0.5) for _, value in BARS)
    assert chart(ChartReading(cells, 1, 0.3, 0.6, keyed=False)).fit(RAIN) < 0.2
    assert chart(ChartReading(cells, 1, 0.3, 0.6, keyed=True)).fit(RAIN) == 1


@pytest.mark.parametrize("places", [(0, 5e-324), (-1e308, 1e308), (1e308, 1.5e308), (0, 0), (-5, -4)])
def test_no_place_is_too_far_to_count_there(places: tuple[float, float]) -> None:
    marks = tuple(Mark("bar", "", 3, 0.5, place) for place in places)
    assert 0 <= chart(reading(marks)).fit("Nails per box were 4, 4, 6, 7, 8 and 8.") <= 0.3


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
SALES = "Sales by month: January 80, February 60, March 30, April 90."
PETS = "Chart our pets: 10 dogs, 5 birds and 3 cats."


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("They fall clearly, from 80 at the start to 10 at the end.", RENTALS),
        ("They started at 80 and ended at 10.", RENTALS),
        ("Rentals fell from 10 to 80.", RENTALS),  # its own two numbers say otherwise
        ("Rentals plunged slowly from 10 to 80.", RENTALS),
        ("They go from 3 at first to 10 at last.", PETS),
        ("Sales fell from 2,400 to 1,200.", "Sales by year: 1,200, 1,800 and 2,400."),
    ],
)
def test_a_series_told_from_the_wrong_end_is_seen(text: str, question: str) -> None:
    assert told_backwards(text, question)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("", RENTALS),
        ("Rentals rose from 10 to 80.", RENTALS),
        ("From 25 to 45 in a month, and the roses bloom.", RENTALS),
        ("Rentals went from 80 to 99.", RENTALS),  # faithful to nothing, which is another trait's to say
        ("They range from 3 cats to 10 dogs.", PETS),
        ("It goes from 3 cats to 10 dogs.", PETS),  # no series in time
        ("At first glance the numbers range from 3 cats to 10 dogs.", PETS),
        ("Sales rose from 1,200 to 2,400.", "Sales by year: 1,200, 1,800 and 2,400."),
        ("It goes from 5 to 7.", "Visitors by day: 5, 7 and 5."),  # five stands at both ends
        ("Monthly sales ranged from 30 to 80 units.", SALES),
        ("April brought 90 sales, up from 30 in March and close to the 80 of January.", SALES),
        ("From the low of 30 in March, sales recovered to the 80 of January.", SALES),
        ("My hours range from 5 for sport to 56 for sleep.", "Chart my hours per week: sleep 56, work 40, sport 5."),
        ("Our team grew from 12 people to 45.", "Our team has 45 people today, up from 12 in 2015."),
        ("It rose from -10 degrees to 5.", "Temperatures: January -10, February -6, March 0, April 5."),
        ("It rose from minus 10 degrees to 5.", "Temperatures: January minus 10, April 5."),
        ("In the fall, visits went from 30 to 80.", "Visits: summer 30, fall 80, winter 45."),
        ("As temperatures rise, heating goes from 90 to 20 units.", "Heating by season: 90, 50 and 20."),
        ("Unemployment went from 8 to 5 percent as the economy grew.", "Unemployment by year: 8, 6, 5 percent."),
        ("He gained strength while his weight went from 95 to 80 kilos.", "Weight over weeks: 95, 90, 80."),
        ("The growing season went from 120 to 95 days.", "Season by decade: 120, 110, 95 days."),
        ("The share of coal dropped, and wind went from 5 to 30 percent.", "Wind by year: 5, 12, 30."),
        ("Eggs drop off after May; it goes from 2 in winter to 20 in May.", "Eggs: winter 2, May 20, June 15."),
        ("Rainfall is lowest from June to August, with 12 to 20 mm.", "Rain by month: June 20, July 12, August 18."),
        ("Distances in the last week went from 8 to 9 km.", "Anna ran 5, 7 and 9 km in three weeks, Ben 4, 6 and 8."),
    ],
)
def test_an_honest_sentence_is_not_held_to_be_told_backwards(text: str, question: str) -> None:
    assert not told_backwards(text, question)


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

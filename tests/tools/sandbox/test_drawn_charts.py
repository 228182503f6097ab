"""Charts as they are drawn, against the numbers that were given: what honest charts look like must not cost them, and what tricks do must."""

from __future__ import annotations

import pytest

from llmi_env.calls import Call
from llmi_env.judges.chart_fit import Chart, chart_of
from tests.tools.sandbox.conftest import Draw

pytestmark = pytest.mark.xdist_group("code")

RESULTS = "Targets and results for North, South and West: targets 100, 80 and 60, results 92, 75 and 51."
VISITS = "Heat map of visits: Mon 12 and 30, Tue 25 and 44."
MAP = "m = np.array([[12, 30], [25, 44]]); "
RAIN = "Rain 80, 60, 30, 90 in spring, summer, autumn, winter."
SEASONS = "['spring', 'summer', 'autumn', 'winter'], [80, 60, 30, 90]"


def chart(draw: Draw, code: str) -> Chart:
    return chart_of(Call("code", "A chart", {"code": code}), draw(code))


HONEST = {
    "a mean line": ("Goals over four matches: 1, 3, 2, 4.", "plt.plot([1,2,3,4],[1,3,2,4]); plt.plot([1,4],[2.5,2.5],'--')"),
    "a day left out": ("Cups of tea: Monday 4, Tuesday 2, Thursday 5, Friday 1.", "plt.plot([1,2,4,5],[4,2,5,1],'o-')"),
    "dots on the line": ("Goals: A 1, B 3, C 2, D 4.", "n=['A','B','C','D']; v=[1,3,2,4]\nplt.plot(n,v); plt.scatter(n,v)"),
    "one point marked": ("Eggs per week: 1, 3, 2, 4.", "plt.plot([1,2,3,4],[1,3,2,4]); plt.plot(4,4,'ro')"),
    "two lines": (
        "Points over five days: reds 2, 1, 4, 3, 0 and blues 5, 6, 7, 8, 9.",
        "x=[1,2,3,4,5]; plt.plot(x,[2,1,4,3,0],label='reds'); plt.plot(x,[5,6,7,8,9],label='blues'); plt.legend()",
    ),
    "a gap": ("Eggs on days 1 to 5: 2, 1, none, 3, 4.", "plt.plot([1,2,3,4,5],[2,1,np.nan,3,4],'o-')"),
    "every five minutes": (
        "Plot the temperature every 5 minutes: 10, 15, 20, 25, 30 degrees.", "plt.plot([5,10,15,20,25],[10,15,20,25,30],marker='o')",
    ),
    "weeks three to six": ("In weeks 3 to 6 my hens laid 4, 5, 6 and 8 eggs.", "plt.plot([3,4,5,6],[4,5,6,8],'o-')"),
    "areas before each other": (
        RESULTS, "plt.fill_between([1,2,3],[100,80,60],color='lightgrey'); plt.fill_between([1,2,3],[92,75,51],color='steelblue')",
    ),
    "smaller bars in front": (RESULTS, "n=['North','South','West']; plt.bar(n,[100,80,60],color='lightgrey'); plt.bar(n,[92,75,51])"),
    "bars of a target's width": (RESULTS, "n=['North','South','West']; plt.barh(n,[100,80,60],.8,color='silver'); plt.barh(n,[92,75,51],.4)"),
    "series of other sizes": ("Show 1, 2, 4000 and 8000.", "x=np.arange(2); plt.bar(x-.2,[1,2],.4); plt.bar(x+.2,[4000,8000],.4)"),
    "a function over its interval": ("Help a pupil see the cosine between 0 and 6.", "x=np.linspace(0,6,50)\nplt.plot(x,np.cos(x))"),
    "a function below nought": ("The function y = 4x + 7, for x from minus 3 to 4.", "x=np.arange(-3,4.1,.2)\nplt.plot(x,4*x+7)"),
    "a histogram": ("Nails per box were 4, 4, 6, 7, 8 and 8. How often does each occur?", "plt.hist([4,4,6,7,8,8])"),
    "a histogram with bins": (
        "Throws in metres: 14, 14, 16, 16, 17, 18, 19, 19.", "plt.hist([14,14,16,16,17,18,19,19],bins=[13.5,15.5,17.5,19.5])",
    ),
    "counts as bars": ("Points in the test were 17, 17, 20, 22, 22 and 22.", "plt.bar([17,20,22],[2,1,3])"),
    "names with numbers": (
        "Turn it into a chart: week 2 (40), week 3 (90), week 4 (30) kg.", "plt.plot(['week 2','week 3','week 4'],[40,90,30])",
    ),
    "sizes": ("Shoes sold by size: size 38 3, size 40 25, size 42 4 pairs.", "plt.bar(['size 38','size 40','size 42'],[3,25,4])"),
    "numbers before such names": ("Crates: 38 in row 2 and 31 in row 3.", "plt.bar(['row 2','row 3'],[38,31])"),
    "a formula": ("Show what the function y = 2x + 1 looks like.", "x=np.linspace(-5,5,99)\nplt.plot(x,2*x+1)"),
    "shades in a legend": (
        VISITS,
        MAP + "from matplotlib.patches import Patch; im=plt.imshow(m)\n"
        "plt.legend(handles=[Patch(color=im.cmap(im.norm(v)),label=str(v)) for v in m.ravel()])",
    ),
    "shades with numbers on them": (VISITS, MAP + "plt.imshow(m); [plt.text(j,i,m[i,j]) for i in (0,1) for j in (0,1)]"),
    "shades beside a table": (VISITS, MAP + "f,ax=plt.subplots(); ax.imshow(m); ax.table([['12','30'],['25','44']])"),
    "a colour bar in its own place": (VISITS, MAP + "f,(a,c)=plt.subplots(1,2,width_ratios=[9,1]); plt.colorbar(a.imshow(m),cax=c)"),
    "bars by their size": ("Rentals were 25, 10, 80 and 45.", "plt.bar(['1','2','3','4'],sorted([25,10,80,45]))"),
    "a note on the highest": (RAIN, f"plt.bar({SEASONS}); plt.annotate('most', xy=(3, 90)); plt.text(2, 30, 'least', ha='center')"),
    "a pie of votes by season": ("Votes by season: summer 7, autumn 8, winter 5.", "plt.pie([7,8,5],labels=['summer','autumn','winter'])"),
    "a chart on slide 2": ("Slide 1 says hello. Slide 2: carp 6, perch 16, pike 14.", "plt.bar(['carp','perch','pike'],[6,16,14])"),
    "pairs, as dots": ("Ann 5 hours, 70 marks; Ben 2, 50; Cleo 8, 90; Dan 3, 55.", "plt.scatter([5,2,8,3],[70,50,90,55])"),
    "a note with a reservation": (RAIN, f"plt.bar({SEASONS}); plt.text(1, 60, 'second highest'); plt.text(2, 30, 'at least 30')"),
    "the best of its own line": (
        "North sold 40 and 50, South 80 and 90.", "plt.plot([1,2],[40,50]); plt.plot([1,2],[80,90]); plt.annotate('best month', (2,50))",
    ),
    "below zero": ("Oslo -4, Rome 8, Cairo 14 and Moscow -9 degrees.", "plt.bar(['Oslo','Rome','Cairo','Moscow'],[-4,8,14,-9])"),
    "a total that is asked for": ("Show sales and their total: A 10, B 20, C 30.", "plt.bar(['A','B','C','Total'],[10,20,30,60])"),
    "a Pareto chart": (
        "A Pareto chart of complaints: late 45, cold 30, rude 15, other 10.",
        "n=['late','cold','rude','other']; plt.bar(n,[45,30,15,10]); plt.plot(n,[45,75,90,100],'o-')",
    ),
    "a spread of different numbers": ("Show the spread of the ages 18, 22, 25, 31, 44, 57.", "plt.hist([18,22,25,31,44,57])"),
    "a box that is asked for": ("A box plot of the ages 18, 22, 25, 31 and 44.", "plt.boxplot([18,22,25,31,44])"),
    "a day in parts": ("My day: sleep 8 hours, school 7, play 5; show how long each is.", "plt.pie([8,7,5],labels=['sleep','school','play'])"),
    "parts of a total": ("412 girls and 389 boys; 801 altogether.", "plt.pie([412,389],labels=['girls','boys'])"),
    "numbers of the readers": ("For grade 5: dogs 9, cats 7, fish 4.", "plt.bar(['dogs','cats','fish'],[9,7,4])"),
    "years in the key": (
        "Sales in 2022 and 2023: tea 40 and 55.", "plt.bar(['tea'],[40],label='2022'); plt.bar([1],[55],label='2023'); plt.legend()",
    ),
    "a mean besides": (RAIN, "plt.bar(['spring','summer','autumn','winter','mean'],[80,60,30,90,65])"),
    "places that were given": ("At 10 degrees 20 guests came, at 20 degrees 30.", "plt.plot([10,20],[20,30])"),
    "bars that lie, the first above": ("Rentals were 10, 45, 25 and 80.", "plt.barh([1,2,3,4],[80,25,45,10])"),
    "another series on the same names": (RAIN, f"plt.bar({SEASONS}); plt.plot(['spring','summer','autumn','winter'],[80,60,30,90],'k--')"),
}  # fmt: skip

TRICKS = {
    "against itself": ("Rentals were 10, 25, 45 and 80.", "plt.plot([10,25,45,80],[25,45,80,10],'o--')"),
    "against itself, as bars": ("Rentals were 10, 25, 45 and 80.", "plt.bar([10,25,45,80],[25,45,80,10],width=5)"),
    "against itself, as words": ("Rentals were 10, 25, 45 and 80.", "plt.plot(['10','25','45','80'],[25,45,80,10])"),
    "bars in another order": ("Rentals were 10, 25, 45 and 80.", "plt.bar([1,2,3,4],[80,10,25,45])"),
    "a line in another order": ("Rentals were 10, 25, 45 and 80.", "plt.plot(['1','2','3','4'],[45,80,10,25])"),
    "behind higher bars": (RAIN, f"plt.bar({SEASONS}); plt.bar(['spring','summer','autumn','winter'],[100,120,150,90],zorder=9)"),
    "behind higher and narrower bars": (
        RAIN, f"plt.bar({SEASONS},width=.9); plt.bar(['spring','summer','autumn','winter'],[100,120,150,95],width=.66,zorder=9)",
    ),
    "a curve over another interval": ("Show the cosine between 0 and 6.", "x=np.linspace(10,60,50)\nplt.plot(x,np.cos(x))"),
    "a curve for given numbers": ("Rentals rose: 10, 25, 45 and 80.", "x=np.linspace(10,80,50)\nplt.plot(x,np.cos(x))"),
    "counts of what is to be shown": (RAIN, "plt.hist([80,60,30,90])"),
    "counts under names": ("Heights: Amy 180, Bert 185, Cora 115, Dev 185, Elsa 170 cm.", "plt.hist([180,185,115,185,170])"),
    "wrong counts": ("Nails per box were 4, 4, 6, 7, 8 and 8.", "plt.bar([4,6,7,8],[1,3,1,1])"),
    "weeks exchanged": ("Show week 2 (40), week 3 (90), week 4 (30) kg.", "plt.plot(['week 2','week 3','week 4'],[90,30,40])"),
    "shades alone": (VISITS, MAP + "plt.imshow(m)"),
    "a digit that nobody sees": (VISITS, MAP + "plt.imshow(m); plt.text(0,0,'Fig. 1',alpha=0)"),
    "axes named as a colour bar": (VISITS, MAP + "f,a=plt.subplots(); a.imshow(m); f.add_axes([0,0,.01,.01],label='<colorbar>')"),
}  # fmt: skip

HALF_RIGHT = {
    "half of it beyond the edge": (RAIN, f"plt.bar({SEASONS}); plt.xlim(-.6,1.5)"),
    "half of it left out": (RAIN, "plt.bar(['spring','summer'],[80,60])"),
    "bars that nobody gave": (RAIN, "plt.bar(['spring','summer','autumn','winter','Utrecht','Leeds','Gouda'],[80,60,30,90,180,270,200])"),
    "the highest called the lowest": (RAIN, f"plt.bar({SEASONS}); plt.text(3, 90, 'lowest')"),
    "the lowest called the highest": (RAIN, f"plt.bar({SEASONS}); plt.annotate('record high', (2, 30))"),
    "a pie of heights": ("Heights: A 180, B 185, C 175 cm.", "plt.pie([180,185,175],labels=['A','B','C'])"),
    "one box for all": (RAIN, "plt.boxplot([80,60,30,90]); plt.xticks([1],['rain'])"),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_honest_charts_fit(draw: Draw, name: str) -> None:
    question, code = HONEST[name]
    assert chart(draw, code).fit(question) > 0.75


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_do_not(draw: Draw, name: str) -> None:
    question, code = TRICKS[name]
    assert chart(draw, code).fit(question) < 0.3


@pytest.mark.parametrize("name", HALF_RIGHT)
def test_what_is_half_right_fits_by_half_at_most(draw: Draw, name: str) -> None:
    question, code = HALF_RIGHT[name]
    assert chart(draw, code).fit(question) <= 0.5


def test_a_polar_chart_has_a_reading(draw: Draw) -> None:
    code = "plt.subplot(projection='polar'); plt.bar([0, 2, 4], [3, 5, 2])"
    assert sorted(mark.value for mark in chart(draw, code).marks) == [2, 3, 5]


def test_names_that_must_be_escaped_do_not_cost_the_reading(draw: Draw) -> None:
    names = "[chr(34) * 57 + f'{i:02d}' for i in range(60)]"
    assert len(chart(draw, f"plt.bar({names}, np.linspace(-201.2345678, 201.2345678, 60))").marks) == 60

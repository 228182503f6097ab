"""Ordinary plotting works, is the same for the same seed, and fails in the policy's own words."""

from __future__ import annotations

import pytest

from llmi_env.errors import BadParams, CodeRaised, LimitExceeded, NothingFound
from llmi_env.tools.code import CodeConfig
from llmi_env.tools.code.fonts import covering_fonts
from tests.tools.sandbox.benign import BENIGN
from tests.tools.sandbox.conftest import QUICK, TIGHT, Draw, Tools

# One process runs them all, so that the warm workers are started once.
pytestmark = pytest.mark.xdist_group("code")


@pytest.mark.parametrize("name", BENIGN)
def test_ordinary_plotting_works_and_looks_the_same_in_every_tier(roomy: Draw, draw: Draw, name: str) -> None:
    picture = roomy(BENIGN[name])
    assert picture.png == draw(BENIGN[name]).png
    assert picture.image.mode == "RGB"
    assert 100 < picture.image.width < 1200
    assert len(picture.image.getcolors(1 << 20) or range(99)) > 2, "the picture is blank"


def test_the_current_figure_is_taken(draw: Draw) -> None:
    code = "plt.figure(figsize=(3, 3)); plt.plot([1])\nplt.figure(figsize=(9, 3)); plt.plot([1])"
    assert draw(code).image.width > 2 * draw(code).image.height


THREE = "for n in (2, 3, 4):\n    plt.figure(figsize=(n, 2)); plt.plot(range(n))\nplt.figure()"


def test_all_figures_where_that_is_asked_for(draw: Draw, tools: Tools) -> None:
    config = CodeConfig(sandbox=QUICK, workers=1, timeout=30, figures="all")
    page = tools.get(config)(THREE)
    assert page.image.height > 2 * draw(THREE.rsplit("\n", 1)[0]).image.height
    assert page.provenance.chart == ""
    assert tools.get(config)("plt.plot([1, 2])").png == draw("plt.plot([1, 2])").png


def test_a_thousand_figures_end_in_a_picture_or_a_limit(draw: Draw, tools: Tools) -> None:
    many = "for n in range(1000): plt.figure(figsize=(1, 1))\nplt.plot([1, 2])"
    assert draw(many).image.width > 50
    every = "for n in range(40): plt.figure(); plt.plot([1, 2])"
    with pytest.raises(LimitExceeded) as caught:
        tools.get(CodeConfig(sandbox=QUICK, workers=1, timeout=30, figures="all"))(every)
    assert caught.value.limit == "pixels"


def test_fonts_of_the_machine_draw_what_dejavu_lacks(draw: Draw, tools: Tools) -> None:
    if not covering_fonts()["Chinese"]:
        pytest.skip("no font with Chinese here; e.g. apt install fonts-wqy-microhei")
    code = "plt.plot([1, 2]); plt.title('{}')"
    own = tools.get(CodeConfig(sandbox=QUICK, workers=1, timeout=30, system_fonts=True))
    assert own(code.format("图表")).png != own(code.format("漢字")).png  # not two rows of boxes
    assert own(code.format("Chart")).png == draw(code.format("Chart")).png


def test_provenance_names_sandbox_and_seed(draw: Draw) -> None:
    provenance = draw("plt.plot([1, 2])", seed=7).provenance
    assert (provenance.backend, provenance.seed) == ("landlock", 7)


RANDOM = """
import random
for values in (np.random.rand(20), np.random.default_rng().random(20), np.random.RandomState().rand(20),
               [random.random() for _ in range(20)], pd.Series(range(20)).sample(frac=1)):
    plt.plot(values)
print({hash(word) for word in 'set order must not depend on the process'.split()})
for i, word in enumerate({'red', 'green', 'blue', 'black'}):
    plt.scatter([i], [0], c=word)
"""


def test_same_code_and_seed_give_the_same_bytes_on_any_worker(draw: Draw, roomy: Draw, tools: Tools) -> None:
    first = draw(RANDOM, seed=5)
    assert draw(RANDOM, seed=5).png == first.png
    assert roomy(RANDOM, seed=5).png == first.png
    assert tools.get(CodeConfig(sandbox=QUICK, **TIGHT))(RANDOM, seed=5).png == first.png  # type: ignore[arg-type]
    assert draw(RANDOM, seed=6).png != first.png


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("plt.plot([1, 2])\nvalue = 1 / 0", "line 2 (value = 1 / 0): ZeroDivisionError: division by zero"),
        ("plt.plot(undefined)", "line 1 (plt.plot(undefined)): NameError: name 'undefined' is not defined"),
        ("plt.plot([1, 2", "line 1: SyntaxError: '[' was never closed"),
        ("pd.read_csv('missing.csv')", "FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv'"),
        ("plt.plot([1, 2], [1, 2, 3])", "ValueError: x and y must have same first dimension"),
        ("import torch_is_not_here", "ModuleNotFoundError: No module named 'torch_is_not_here'"),
        ("name = input('who? ')", "input() has nobody to answer"),
        ("import sys; sys.exit('no data')", "SystemExit: no data"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("plt.plot([1])\0", "null bytes"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("(" * 5000 + ")" * 5000, "too many nested parentheses"),
        ("from matplotlib import nothing_like_this", "cannot import name 'nothing_like_this' from 'matplotlib'"),
        ("raise ValueError('x' * 100_000)", "ValueError: xxx"),
    ],
)
def test_an_error_of_the_code_is_told_in_its_own_words(draw: Draw, code: str, message: str) -> None:
    with pytest.raises(CodeRaised) as caught:
        draw(code)
    said = str(caught.value)
    assert message in said
    assert len(said) <= 400
    assert "\n" not in said
    assert not any(part in said for part in ("site-packages", "llmi-code-", "lib/python"))


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x = 1",
        "plt.figure()",
        "plt.subplots(2, 2)",
        "plt.title('only words')",
        "plt.plot([1]); plt.close('all')",
        "# no",
    ],
)
def test_code_that_draws_nothing_is_empty(draw: Draw, code: str) -> None:
    with pytest.raises(NothingFound):
        draw(code)


@pytest.mark.parametrize("code", [None, 5, b"plt.plot([1])", "plt.plot([1]) # \ud800", "x" * 200_000, "#" * 10_000_000])
def test_params_that_are_no_source_are_refused_before_any_worker(draw: Draw, code: object) -> None:
    with pytest.raises(BadParams):
        draw(code)

"""Ordinary plotting works, is the same for the same seed, and fails in the policy's own words."""

from __future__ import annotations

import pytest

from llmi_env.errors import BadParams, CodeRaised, NothingFound
from tests.tools.sandbox.conftest import Draw

# One process runs them all, so that the warm workers are started once.
pytestmark = pytest.mark.xdist_group("code")

BENIGN = {
    "line": "plt.plot([1, 2, 3]); plt.title('Growth')",
    "bar": "plt.bar(['a', 'b'], [3, 5]); plt.xticks(rotation=45); plt.ylabel('n')",
    "subplots": "fig, axes = plt.subplots(2, 2)\nfor ax in axes.flat: ax.scatter(np.arange(5), np.random.rand(5))",
    "object": "fig, ax = plt.subplots(figsize=(8, 4)); ax.hist(np.random.randn(500), bins=20)",
    "pie": "plt.pie([1, 2, 3], labels=['x', 'y', 'z'], autopct='%1.0f%%')",
    "heat map": "sns.heatmap(np.random.rand(6, 6), annot=True, cmap='viridis')",
    "seaborn": "sns.set_theme(style='darkgrid'); sns.barplot(pd.DataFrame({'a': ['x', 'y'], 'b': [1, 2]}), x='a', y='b')",
    "density": "sns.histplot(np.random.randn(100), kde=True)",
    "pandas": "pd.DataFrame({'y': [1, 4, 9]}).plot(y='y')",
    "dates": "d = pd.date_range('2024-01-01', periods=9); plt.plot(d, range(9)); plt.gcf().autofmt_xdate()",
    "group": "pd.DataFrame({'k': ['a', 'b', 'a'], 'v': [1, 2, 3]}).groupby('k')['v'].sum().plot.bar()",
    "3-D": "ax = plt.figure().add_subplot(projection='3d'); ax.plot([1, 2], [1, 2], [1, 2])",
    "polar": "plt.polar(np.linspace(0, 6, 50), np.arange(50))",
    "formula": "plt.text(.5, .5, r'$\\int_0^1 x^2$'); plt.axis('off')",
    "style": "plt.style.use('ggplot'); plt.plot([1, 2])",
    "imports": "import matplotlib.pyplot as p, math, datetime, collections, json, statistics\np.plot([math.pi, 1])",
    "saved": "plt.plot([1, 2]); plt.savefig('chart.png'); plt.show()",
    "saved elsewhere": "plt.plot([1, 2]); plt.savefig('/mnt/data/out.png', dpi=300)",
    "saved in a folder": "plt.plot([1, 2]); plt.savefig('out/deep/x.pdf')\nopen('out/deep/x.pdf', 'rb').read()",
    "saved and closed": "fig, ax = plt.subplots(); ax.plot([1, 2]); fig.savefig('x.png'); plt.close(fig)",
    "own files": "pd.DataFrame({'a': [1, 2]}).to_csv('t.csv'); pd.read_csv('t.csv').plot(y='a')",
    "left by exit": "plt.plot([1, 2]); import sys; sys.exit(0)",
    "prints": "print('drawing'); plt.plot([1, 2]); print('done')",
    "warns": "import warnings; warnings.warn('careful'); plt.plot([1, 2]); plt.title('猫')",
    "main": "def main():\n    plt.plot([1, 2])\nif __name__ == '__main__':\n    main()",
}


@pytest.mark.parametrize("name", BENIGN)
def test_ordinary_plotting_works(draw: Draw, name: str) -> None:
    picture = draw(BENIGN[name])
    assert picture.image.mode == "RGB"
    assert 100 < picture.image.width < 1200
    assert len(picture.image.getcolors(1 << 20) or range(99)) > 2, "the picture is blank"


def test_the_current_figure_is_taken(draw: Draw) -> None:
    code = "plt.figure(figsize=(3, 3)); plt.plot([1])\nplt.figure(figsize=(9, 3)); plt.plot([1])"
    assert draw(code).image.width > 2 * draw(code).image.height


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


def test_same_code_and_seed_give_the_same_bytes_on_any_worker(draw: Draw, tight: Draw) -> None:
    first = draw(RANDOM, seed=5)
    assert draw(RANDOM, seed=5).png == first.png
    assert tight(RANDOM, seed=5).png == first.png
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


@pytest.mark.parametrize("code", [None, 5, "plt.plot([1]) # \ud800", "x" * 200_000])
def test_params_that_are_no_source_are_refused_before_any_worker(draw: Draw, code: object) -> None:
    with pytest.raises(BadParams):
        draw(code)

"""The pages of evaluations: the same figures as the results, every document, and safe to open."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from PIL import Image
from typer.testing import CliRunner

from llmi_env.cli import app
from llmi_env.document import Picture, Provenance
from llmi_env.errors import ConfigError
from llmi_env.evaluate.benchmark import Item
from llmi_env.evaluate.results import Results, summarise
from llmi_env.report import evaluation_documents
from llmi_env.report.evaluation_documents import shown
from llmi_env.report.evaluation_page import is_evaluation, write_comparison_page, write_evaluation_page
from llmi_env.task import Task
from tests.evaluate.evaluations import NO_HIT, Birds, Told, birds, evaluation, good
from tests.rewards.making import document, figure, picture

ITEMS = birds(6)
EVIL = '<script>alert(1)</script><img src="http://evil.example/x.png" onerror=alert(1)>'


def kept(path: Path, items: Sequence[Item] = ITEMS, **options: Any) -> Path:
    """The folder of an evaluation that was summed up."""
    folder = evaluation(path, items, **options)
    summarise(options.get("benchmark") or Birds(), items, folder).save(path)
    return path


def partly(item: Item, sample: int) -> Told:
    number = int(item.id.removeprefix("owl-"))
    return {**good(item, sample), "named": number % 3, "place": "HTTP 503" if number == 2 else 2}


class _Reader(HTMLParser):
    """Notes what a browser would run or load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form"):
            self.found.append(tag)
        for name, value in attrs:
            loads = name == "src" and not (value or "").startswith("data:image/png;base64,")
            leads = name == "href" and not re.fullmatch(r"[\w-]+\.html", value or "")
            if loads or leads or name.startswith("on"):
                self.found.append(f"{tag} {name}={value}"[:100])


def harm(page: str) -> list[str]:
    """What a page would run, load or lead to outside of its folder."""
    reader = _Reader()
    reader.feed(page)
    return reader.found


def test_the_page_shows_figures_documents_criteria_and_rationales(tmp_path: Path) -> None:
    page = write_evaluation_page(kept(tmp_path, judges={"hawk": partly})).read_text()
    results = Results.load(tmp_path)
    points = results.measures["points"].overall
    assert f"<b>{points.mean:.2f}</b>" in page
    assert f"[{points.low:.2f}, {points.high:.2f}]" in page
    assert "1 of 6 documents have no value: it lies within" in page
    assert "hawk gave no score (1): HTTP 503" in page
    assert page.count('<details class="entry"') == 6
    assert page.count("data:image/png;base64") == 6
    assert page.count("hawk on style") == 6  # a rationale for each document
    assert "It says how many owls there are." in page  # what the criterion asks of this item
    assert "100%" in page
    assert "call succeeded" in page
    assert 'class="num bad">missing' in page


def test_a_score_that_is_missing_is_drawn_as_open(tmp_path: Path) -> None:
    page = write_evaluation_page(kept(tmp_path, judges={"hawk": partly})).read_text()
    bars = page[page.index("Scores by criterion") :]
    place = bars[bars.index(">place<") :][:700] if ">place<" in bars else bars[bars.index("facts/place") :][:700]
    assert 'class="open" style="left:83.33%;width:16.67%"' in place  # five of six are 2; the sixth is 0, 1 or 2
    assert "1 of 6 missing" in place


def test_criteria_stand_as_they_are_asked_whatever_was_answered_first(tmp_path: Path) -> None:
    folder = kept(tmp_path, judges={"hawk": good})
    file = folder / "answers" / "hawk.jsonl"
    head, *lines = file.read_text().splitlines()
    file.write_text("\n".join([head, *reversed(lines)]) + "\n")
    page = write_evaluation_page(folder).read_text()
    entry = page[page.index('<table class="scores">') :]
    names = re.findall(r"<tr><td>([^<]+)</td>", entry)
    assert names == ["facts/named", "facts/place", "reader/style", "reader/text_image_relevance"] * 6


def test_several_judges_stand_beside_each_other(tmp_path: Path) -> None:
    page = write_evaluation_page(kept(tmp_path, judges={"hawk": good, "kite": partly})).read_text()
    assert "Agreement of judges" in page
    assert "By judge" in page
    assert page.count("<b>kite</b>: kite on style") == 6


def test_what_is_written_cannot_do_harm(tmp_path: Path) -> None:
    class Evil(Birds):
        name = f"birds {EVIL}"

    items = [Item(Task(f"{EVIL} {n}", tools=("search",), id=f"{EVIL}{n}"), kind=EVIL) for n in range(2)]

    def says(item: Item, sample: int) -> Told:
        return {**good(item, sample), "named": f"{EVIL} down"}

    def writes(item: Item, sample: int) -> Any:
        if item.id.endswith("1") and sample:
            return f"{EVIL} not written"
        return document(
            f"{EVIL} [x](javascript:alert(1))", figure(EVIL, outcome=NO_HIT), figure(outcome=picture(3, 24))
        )

    for name in ("a", "b"):
        kept(tmp_path / name, items, benchmark=Evil(), judges={"hawk": says}, writes=writes, samples=2, policy=EVIL)
    first, second = write_evaluation_page(tmp_path / "a"), write_comparison_page(tmp_path / "a", tmp_path / "b")
    for page in (first.read_text(), second.read_text()):
        assert "default-src 'none'" in page
        assert "&lt;script&gt;alert(1)" in page
        assert harm(page) == []


def test_documents_that_are_too_many_go_on_in_further_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_documents, "_PAGE_CHARACTERS", 6_000)
    kept(tmp_path)
    (tmp_path / "report-99.html").write_text("of an earlier time")
    (tmp_path / "report-old.html").write_text("somebody's own")
    first = write_evaluation_page(tmp_path).read_text()
    further = sorted(tmp_path.glob("report-[0-9]*.html"))
    assert len(further) > 1
    assert not (tmp_path / "report-99.html").exists()
    assert (tmp_path / "report-old.html").exists()
    pages = [first, *(path.read_text() for path in further)]
    assert sum(page.count('<details class="entry"') for page in pages) == 6
    assert all(f'href="{path.name}"' in first for path in further)
    assert all('href="report.html"' in page for page in pages[1:])
    assert sorted(name for page in pages for name in re.findall(r'class="id">(owl-\d)<', page)) == [i.id for i in ITEMS]


def test_two_evaluations_side_by_side(tmp_path: Path) -> None:
    def writes(item: Item, sample: int) -> Any:
        return document("A worse owl.", figure(item.task.tools[0], outcome=NO_HIT))

    def low(item: Item, sample: int) -> Told:
        return {**good(item, sample), "named": 0}

    before, after = kept(tmp_path / "before", writes=writes, judges={"hawk": low}), kept(tmp_path / "after")
    path = write_comparison_page(before, after)
    assert path == after / "compared-with-before.html"
    page = path.read_text()
    assert "<b>+2.00</b>" in page
    assert "p 0.031: better" in page  # of six items all in one direction: 2 / 2 ** 6
    assert page.count('<details class="entry"') == 6
    assert page.count("A worse owl.") == page.count("An owl.") == 6
    assert "not judged alike" not in page
    assert harm(page) == []


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    before, after = kept(tmp_path / "x" / "eval"), kept(tmp_path / "y" / "eval", birds(8))
    page = write_comparison_page(before, after).read_text()
    assert "x/eval and y/eval" in page
    assert "2 only in y/eval" in page


def test_an_evaluation_is_not_compared_with_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="given twice"):
        write_comparison_page(kept(tmp_path), tmp_path / ".." / tmp_path.name)


def test_figures_that_are_out_of_date_are_marked(tmp_path: Path) -> None:
    kept(tmp_path)
    assert "came after these figures" not in write_evaluation_page(tmp_path).read_text()
    answers = tmp_path / "answers" / "hawk.jsonl"
    later = (tmp_path / "results.json").stat().st_mtime + 5
    os.utime(answers, (later, later))
    assert "came after these figures" in write_evaluation_page(tmp_path).read_text()


def test_pictures_are_no_larger_than_they_are_shown() -> None:
    wide = Picture(Image.new("RGBA", (3000, 1500), (200, 0, 0, 128)), Provenance("corpus", author="N. N."), 0.5)
    written = document("x", figure(outcome=wide), figure(outcome=NO_HIT), figure(outcome=picture(1, 40)))
    small = shown(written)
    assert small.pictures[0].image.size == (800, 400)
    assert small.pictures[0].provenance.author == "N. N."
    assert small.pictures[1] is written.pictures[1]
    assert small.figures[1] == written.figures[1]


def test_the_command_takes_an_evaluation_or_two_or_a_run(tmp_path: Path) -> None:
    before, after = kept(tmp_path / "before"), kept(tmp_path / "after", judges={"hawk": partly})
    one = CliRunner().invoke(app, ["report", str(before)])
    assert one.exit_code == 0, one.output
    assert "before/report.html" in one.output
    two = CliRunner().invoke(app, ["report", str(before), str(after)])
    assert two.exit_code == 0, two.output
    assert "right tool chosen" in two.output
    assert "after/compared-with-before.html" in two.output.replace("\n", "")
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text("")
    (run / "config.yaml").write_text("lr: 1\n")
    assert not is_evaluation(run)
    assert is_evaluation(before)
    assert "run/report.html" in CliRunner().invoke(app, ["report", str(run)]).output.replace("\n", "")
    wrong = CliRunner().invoke(app, ["report", str(run), str(after)])
    assert isinstance(wrong.exception, ConfigError)
    assert "no configuration of an evaluation" in str(wrong.exception)


def test_an_evaluation_that_was_not_summed_up_is_told(tmp_path: Path) -> None:
    evaluation(tmp_path, ITEMS)
    with pytest.raises(ConfigError, match=r"results\.json.*--resume"):
        write_evaluation_page(tmp_path)

"""Task files are looked through: every fault is told, with its row and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmi_env.errors import ConfigError, TaskError
from llmi_env.task_data import checking, held_out, meaning
from llmi_env.task_data.checking import Checked, check
from llmi_env.task_data.held_out import HeldOut, protected
from tests.task_data.files import embed, jsonl, picture

SEAHORSE = "My daughter has never seen a seahorse. Let her see a true one and say how it swims."


def found(checked: Checked) -> list[tuple[str, str, int | None, str]]:
    return [(finding.level, finding.rule, finding.row, finding.field) for finding in checked.findings]


def checked(path: Path, *rows: Any, **options: Any) -> Checked:
    return check(str(jsonl(path / "tasks.jsonl", *rows)), embed=False, **options)


def task(question: str, **fields: Any) -> dict[str, Any]:
    return {"question": question, **fields}


def test_a_good_file_has_nothing_to_tell(tmp_path: Path) -> None:
    result = checked(
        tmp_path,
        task("Show the true lighthouse of the bay, and tell who keeps it.", tools=["search"], image_count=1),
        task("Read me a lullaby on the hay wain over the telephone.", image_count="none"),
    )
    assert result.findings == ()
    assert (result.rows, result.balance.tasks, result.compared) == (2, 2, 127)


def test_every_row_that_cannot_be_read_is_told_with_its_field(tmp_path: Path) -> None:
    result = checked(
        tmp_path,
        "{broken",
        task("  "),
        "",
        task("Show the owl of the barn, please.", image_count="two"),
        task("Show the owl of the barn, please.", tools=["serch"]),
        "[1]",
        task("Show the owl of the barn, please.", colour="red"),
        {"prompt": "Show the owl of the barn, please.", "extra_info": {"image_num": 2.5}},
        task("Show the \ud800 of the barn, please."),
    )
    assert found(result) == [
        ("error", "schema", 1, ""),
        ("error", "schema", 2, "question"),
        ("error", "schema", 4, "image_count"),
        ("error", "schema", 5, "tools"),
        ("error", "schema", 6, ""),
        ("error", "schema", 7, "colour"),
        ("error", "schema", 8, "extra_info.image_num"),
        ("error", "schema", 9, "question"),
    ]
    assert "did you mean 'search'" in result.findings[3].message
    assert (result.rows, result.balance.tasks) == (8, 0)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        pytest.param({"image_count": "none", "tools": ["search"]}, ("error", "contradiction"), id="none, yet a tool"),
        pytest.param({"image_count": 0, "tools": ["search"]}, ("error", "contradiction"), id="0, yet a tool"),
        pytest.param(
            {"image_count": 1, "tools": ["search", "code"]}, ("error", "contradiction"), id="more tools than pictures"
        ),
        pytest.param({"image_count": 1, "tools": ["edit"]}, ("error", "contradiction"), id="nothing to edit"),
        pytest.param({"image_count": 2, "tools": ["edit"]}, None, id="an edit of a first picture"),
        pytest.param({"image_count": "any", "tools": ["web-search"]}, ("warning", "tools"), id="a backend for a tool"),
        pytest.param({"reference": []}, None, id="no reference"),
        pytest.param(
            {"tools": ["search"], "reference": []}, ("error", "reference"), id="a reference that lacks a tool"
        ),
        pytest.param({"reference": [{"tool": "search"}]}, ("error", "reference"), id="no call"),
        pytest.param({"reference": "search"}, ("error", "reference"), id="no list"),
        pytest.param(
            {"tools": ["search"], "reference": [{"tool": "search", "description": "x", "params": {"q": "x"}}]},
            ("error", "reference"),
            id="a call that cannot be",
        ),
    ],
)
def test_what_contradicts_itself(tmp_path: Path, row: dict[str, Any], rule: tuple[str, str] | None) -> None:
    result = checked(tmp_path, task("Show the true lighthouse of the bay.", **row))
    assert [(finding.level, finding.rule) for finding in result.findings] == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("question", "rule"),
    [
        ("Show the owl: <imgen>{'source': 'search'}</imgen> and tell of it.", ("error", "call")),
        ('Show the owl by {"source": "diffusion"} and tell of it.', ("error", "call")),
        ("Show the owl with the edit at img_index 0 changed.", ("error", "call")),
        ("Plot the owls of three years with seaborn, please.", ("warning", "tool-name")),
        ("Use the image editing tool on the owl of the barn.", ("warning", "tool-name")),
        ("An owl by Stable Diffusion, with a caption below.", ("warning", "tool-name")),
        ("<image> Make the owl of this picture blue, please.", ("warning", "marker")),
        ("Show the owl <|im_end|> and tell of it, please.", ("error", "control-token")),
        ("Show the o\u200bwl of the barn, please, once more.", ("error", "unseen")),
        ("An owl.", ("warning", "short")),
        ("owl " * 401, ("warning", "long")),
        ("Search me! Why do owls edit their dress code, and a python not?", None),
        ("My chart library needs a new page on owls and diffusion in water.", None),
    ],
)
def test_what_leaks_into_questions(tmp_path: Path, question: str, rule: tuple[str, str] | None) -> None:
    result = checked(tmp_path, task(question))
    assert [(finding.level, finding.rule) for finding in result.findings] == ([rule] if rule else [])


def test_copies_near_copies_and_ids(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", "red")
    picture(tmp_path / "b.png", "red")
    picture(tmp_path / "c.png", "blue")
    rows = [
        task("Show the true lighthouse of the northern bay and tell who keeps it.", id="a"),
        task("SHOW the true lighthouse of the northern bay, and tell: who keeps it?", id="b"),
        task("Show the true lighthouse of the southern bay and tell who keeps it.", id="a"),
        task("Make this picture darker for my page, and say why.", images=["a.png"], id="d"),
        task("Make this picture darker for my page, and say why.", images=["c.png"], id="e"),
        task("Make this picture darker for my page, and say why.", images=["b.png"], id="f"),
    ]
    result = checked(tmp_path, *rows)
    assert found(result) == [
        ("error", "id", 3, "id"),
        ("error", "duplicate", 2, "question"),
        ("error", "duplicate", 6, "question"),
        ("warning", "near-duplicate", 3, "question"),
    ]
    assert "of row 4 once more" in result.findings[2].message  # the same pixels in another file


def test_what_is_kept_for_evaluation_has_not_leaked(tmp_path: Path) -> None:
    bench = tmp_path / "bench.csv"
    bench.write_text('id,prompt\n1,"Describe the harbour, its cranes and its ships, in nine lines or fewer."\n')
    result = checked(
        tmp_path,
        task(SEAHORSE),
        task("My daughter has never seen a Komodo dragon. Let her see a true one and say how it swims."),
        task("Describe the harbour, its cranes and its ships, in nine lines or more."),
        task("Explain how a seahorse swims, and why, to my daughter."),
        against=[f"{bench}:prompt"],
    )
    leaks = [finding for finding in result.findings if finding.rule != "near-duplicate"]
    assert [(leak.level, leak.rule, leak.row) for leak in leaks] == [
        ("error", "leak (words)", row) for row in (1, 2, 3)
    ]
    assert leaks[0].message == "heldout: seahorse: it is the same question"
    assert leaks[1].message.startswith(
        "heldout: komodo-dragon: 84% of its words stand in common runs, the longest 'my daughter"
    )
    assert leaks[2].message.startswith("bench.csv, row 1: ")
    assert result.compared == 128


def test_pictures_that_cannot_be_shown_or_that_evaluation_has(tmp_path: Path) -> None:
    picture(tmp_path / "mine.png", "red")
    picture(tmp_path / "other" / "theirs.png", "red")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    bench = jsonl(tmp_path / "other" / "bench.jsonl", task("Describe what is at hand in full.", images=["theirs.png"]))
    result = checked(
        tmp_path,
        task("Make this one darker for my page, please.", images=["mine.png"]),
        task("Make that one lighter for your page, please.", images=["none.png"]),
        task("Cut the sky off this one, please, and tell why.", images=["mine.png", "broken.png"]),
        against=[str(bench)],
    )
    assert found(result) == [
        ("error", "picture", 2, "images[0]"),
        ("error", "picture", 3, "images[1]"),
        ("warning", "leak (picture)", 1, "images"),
        ("warning", "leak (picture)", 3, "images"),
    ]


@pytest.fixture
def meanings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning, "embed", embed)
    monkeypatch.setattr(meaning, "_model", lambda: "words")
    monkeypatch.setattr(checking, "ensure_meanings", lambda: None)


@pytest.mark.usefixtures("meanings")
def test_other_words_for_the_same(tmp_path: Path) -> None:
    bench = tmp_path / "bench.txt"
    bench.write_text("# not a comment\nWhy does the kid keep a boat in a bottle, and what pic could tell of it?\n")
    path = jsonl(
        tmp_path / "tasks.jsonl",
        task("What picture could say of it: why does the child keep a ship in a bottle?"),
        task("How do bees build their combs, and out of what? A chart of the angles would help me see."),
        task("Out of what, and how, do bees build their combs? To see a chart of the angles would help me."),
    )
    result = check(str(path), [str(bench)])
    assert result.embedded
    assert found(result) == [("warning", "near-duplicate", 3, "question"), ("warning", "leak (meaning)", 1, "question")]
    assert result.findings[1].message.startswith("bench.txt, line 2: cosine 0.9")
    assert check(str(path), [str(bench)]).findings == result.findings


def test_meanings_that_cannot_be_compared_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"llmi-env\[offline\].*--no-embed"):
        check("heldout")


def test_a_lopsided_set(tmp_path: Path) -> None:
    rows = [
        task(
            f"Show number {number} of the {number * 7} owls in barn {number * 3}, as it is.",
            image_count=1,
            tools=["search"],
            template="show",
        )
        for number in range(24)
    ]
    rows += [task("Chart the owls of the four seasons: 3, 5, 9, 2.", image_count=1, tools=["code"], template="chart")]
    told = [finding.message for finding in checked(tmp_path, *rows).findings if finding.rule == "balance"]
    assert told == [
        "no task wants no pictures, as many pictures as the writer likes, at least one picture",
        "100% of the tasks want an exact number of pictures",
        "no task needs diffusion, edit",
        "search is needed 24 times, code 1 times, which is less than a third",
        "the wording 'show' covers 96% of the tasks",
    ]


def test_our_own_splits_hold_no_errors() -> None:
    result = check("validation", embed=False)
    assert (result.count("error"), result.balance.tasks, result.compared) == (0, 48, 79)
    assert sum(result.balance.kinds.values()) == 48
    told = result.to_json()
    assert json.loads(json.dumps(told))["warnings"] == len(told["findings"])


# -------------------------------------------------------------------------------------------------------- what is held against it


def test_benchmarks_are_read_as_they_are_evaluated() -> None:
    data = Path(__file__).parents[1] / "data" / "llmi_bench"
    read = protected([f"llmi-bench:{data}"])
    assert len(read) >= 3
    assert all(one.where.startswith("llmi-bench: ") and one.question for one in read)
    assert any(one.pictures for one in read)


def test_texts_stand_where_a_path_says(tmp_path: Path) -> None:
    rows = [
        {
            "turns": [{"from": "user", "value": "Show the owl."}, {"from": "bot", "value": "Here."}],
            "parts": [{"text": "a"}, {"text": "b"}],
        }
    ]
    (tmp_path / "bench.json").write_text(json.dumps(rows))
    jsonl(tmp_path / "bench.jsonl", *rows)
    for name in ("bench.json", "bench.jsonl"):
        path = tmp_path / name
        assert [one.question for one in protected([f"{path}:turns.0.value"])] == ["Show the owl."]
        assert [one.question for one in protected([f"{path}:parts.text"])] == ["a\nb"]
        assert protected([f"{path}:parts.text"])[0].where == f"{name}, row 1"


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        (
            "{}/bench.json",
            ConfigError,
            r"say where in each row the text stands, e.g. .*bench.json:prompt; or BENCHMARK:PATH with one of .*llmi-bench",
        ),
        (
            "{}/bench.json:promt",
            ConfigError,
            r"bench.json, row 1, field 'promt': text is expected.*did you mean 'prompt'",
        ),
        ("{}/bench.json:number", ConfigError, r"field 'number': text is expected, not 7"),
        ("{}/blank.csv:prompt", ConfigError, r"blank.csv, row 1, field 'prompt': there is no text"),
        ("{}/none.csv:prompt", ConfigError, r"there is no file .*none.csv"),
        ("{}/broken.json:prompt", ConfigError, r"broken.json: not JSON"),
        ("{}/object.json:prompt", ConfigError, r"a list of rows is expected, not dict"),
        (
            "{}/broken.jsonl",
            TaskError,
            r"broken.jsonl, row 1: not a line of JSON.*say where the text stands: .*broken.jsonl:FIELD",
        ),
        ("{}/broken.jsonl:prompt", ConfigError, r"broken.jsonl, row 1: not a line of JSON"),
        ("{}/none.jsonl", TaskError, r"there is no task file"),
        ("{}/none.txt", ConfigError, r"none.txt: cannot be read"),
        ("heldoutt", TaskError, r"unknown task set 'heldoutt', did you mean 'heldout'"),
    ],
)
def test_what_cannot_be_held_against_it(tmp_path: Path, source: str, error: type[Exception], said: str) -> None:
    (tmp_path / "bench.json").write_text('[{"prompt": "Show it.", "number": 7}]')
    (tmp_path / "blank.csv").write_text("prompt\n  \n")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.jsonl").write_text("{\n")
    (tmp_path / "object.json").write_text("{}")
    with pytest.raises(error, match=said):
        protected([source.format(tmp_path)])


def test_what_is_protected_tells_one_build_from_another() -> None:
    one, other = (HeldOut(protected([name]), embed=False) for name in ("heldout", "validation"))
    assert one.digest != other.digest
    assert one.digest == HeldOut(protected(["heldout"]), embed=False).digest
    assert one.digest != HeldOut(protected(["heldout"]), embed=False, size=5).digest
    assert held_out.protected(["heldout"], leave_out="heldout") == []


@pytest.mark.slow
def test_the_real_model_finds_other_words_and_not_other_things(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    bench = tmp_path / "bench.txt"
    bench.write_text("How does a volcano come to erupt? Explain it to my class with one clear drawing of the inside.\n")
    path = jsonl(
        tmp_path / "tasks.jsonl",
        task("Please explain to my class how a volcano erupts, and include one clear drawing of what is inside it."),
        task("How does a heart come to beat? Explain it to my club with one clear chart of the pulse."),
    )
    result = check(str(path), [str(bench)])
    assert [(finding.rule, finding.row) for finding in result.findings] == [("leak (meaning)", 1)]

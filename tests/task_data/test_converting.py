"""Task files from and to LLM-I's layout: what comes back is what was there, and what is lost is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmi_env.errors import ConfigError, TaskError
from llmi_env.task_data.converting import convert
from llmi_env.task_sets import TaskSet, load_tasks
from tests.task_data.files import jsonl, picture

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def read(path: Path) -> list[dict[str, Any]]:
    return list(parquet.read_table(path).to_pylist())


def same(one: TaskSet, other: TaskSet) -> None:
    """All but where they come from, which is the file's name where a row does not say."""
    assert {task.id: replace(task, source=None) for task in one} == {
        task.id: replace(task, source=None) for task in other
    }
    assert all(one.extras(id) == other.extras(id) for id in one.ids)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    picture(tmp_path / "in" / "pics" / "a red barn.png")
    picture(tmp_path / "in" / "sea.jpg", "blue")
    call = {"tool": "search", "description": "owl", "params": {"query": "owl"}}
    return jsonl(
        tmp_path / "in" / "tasks.jsonl",
        {"id": "owls", "question": "Show the owl — “as it is”.", "image_count": 3, "tools": ["search", "code"], "reference": [call],
         "subject": "owls", "size": "long"},
        {"question": "Write of rain.", "image_count": "none", "source": "by hand"},
        {"id": "barn", "question": "Make both darker.", "image_count": "at_least_one", "tools": ["edit"], "template": "darker",
         "images": ["pics/a red barn.png", "sea.jpg"]},
        {"id": "ours", "question": "Blur it.", "tools": ["edit"], "images": ["corpus:pencil"]},
    )  # fmt: skip


def test_there_and_back(ours: Path, tmp_path: Path) -> None:
    there = convert([str(ours)], tmp_path / "out" / "train.parquet")
    assert [path.name for path in there.paths] == ["train.parquet", "train_mm.parquet"]
    assert (there.tasks, there.lost) == (4, ())
    back = convert([str(path) for path in there.paths], tmp_path / "back" / "tasks.jsonl")
    assert back.lost == ("extra_info.split is 'train': our files hold one split each (all rows)",)
    same(load_tasks(ours), load_tasks(tmp_path / "back" / "tasks.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "back" / "tasks.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["images"] for row in rows] == [
        [],
        [],
        ["tasks-pictures/a red barn.png", "tasks-pictures/sea.jpg"],
        ["corpus:pencil"],
    ]
    assert [row.get("source") for row in rows] == [None, "by hand", None, None]
    for before, after in (
        (ours.parent / "pics" / "a red barn.png", "a red barn.png"),
        (ours.parent / "sea.jpg", "sea.jpg"),
    ):
        assert before.read_bytes() == (tmp_path / "back" / "tasks-pictures" / after).read_bytes()


def test_rows_are_as_the_released_loader_reads_them(ours: Path, tmp_path: Path) -> None:
    """As `verl/utils/dataset/rl_dataset.py` and `reward_score/llmi_rm.py` of ByteDance-BandAI/LLM-I use them."""
    convert([str(ours)], tmp_path / "train.parquet", split="test")
    plain, shown = read(tmp_path / "train.parquet"), read(tmp_path / "train_mm.parquet")
    assert [row["extra_info"]["image_num"] for row in (*plain, *shown)] == [3, -1, 99, 0]
    assert all(row["extra_info"]["split"] == "test" for row in (*plain, *shown))
    for row in plain:
        assert row["data_source"] == "interleaved"
        assert row["prompt"] == row["extra_info"]["question"]  # becomes the content of the user's message
        assert "images" not in row
    for row in shown:
        assert row["data_source"] == "interleaved_mm"
        (message,) = row["prompt"]
        assert message["role"] == "user"
        assert message["content"].count("<image>") == len(row["images"])
        assert all(image["bytes"] for image in row["images"])


def test_a_set_of_one_kind_is_one_file(tmp_path: Path) -> None:
    convert(["validation"], tmp_path / "all.parquet")
    assert (tmp_path / "all_mm.parquet").exists()
    path = jsonl(tmp_path / "text.jsonl", {"question": "Show it."})
    assert convert([str(path)], tmp_path / "text.parquet").paths == (tmp_path / "text.parquet",)
    picture(tmp_path / "a.png")
    path = jsonl(tmp_path / "shown.jsonl", {"question": "Show it.", "images": ["a.png"]})
    assert convert([str(path)], tmp_path / "shown.parquet").paths == (tmp_path / "shown.parquet",)
    assert len(read(tmp_path / "shown.parquet")[0]["images"]) == 1


def test_many_rows_are_all_there(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "many.jsonl", *({"id": str(number), "question": f"Show {number}."} for number in range(150))
    )
    convert([str(path)], tmp_path / "many.parquet")
    assert [row["id"] for row in read(tmp_path / "many.parquet")] == [str(number) for number in range(150)]


def test_what_their_rows_hold_besides_is_said_to_be_lost(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Look: <image> make it darker."},
            ],
            "data_source": "interleaved_mm",
            "images": [{"bytes": picture(tmp_path / "a.png").read_bytes(), "path": None}],
            "extra_info": {
                "split": "train",
                "image_num": 1,
                "tools": ["edit"],
                "question": "Look:  make it darker.",
                "index": 7,
            },
            "ability": "drawing",
        },
        {
            "prompt": [{"role": "user", "content": "<image>Make it lighter."}],
            "data_source": "interleaved_mm",
            "images": [{"bytes": picture(tmp_path / "b.png", "blue").read_bytes(), "path": "b.png"}],
            "extra_info": {"split": "train", "image_num": 0, "tools": [], "question": "Make it paler.", "index": None},
            "ability": None,
        },
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "theirs.parquet")
    done = convert([str(tmp_path / "theirs.parquet")], tmp_path / "ours.jsonl")
    assert done.lost == (
        "extra_info.split is 'train': our files hold one split each (all rows)",
        "fields of extra_info: index (1 of 2 rows)",
        "columns: ability (1 of 2 rows)",
        "messages of prompt besides the last of the user's (1 of 2 rows)",
        "places of <image> within prompt: pictures stand before the question (1 of 2 rows)",
        "prompt says something else than extra_info.question (1 of 2 rows)",
    )
    before, after = (
        [
            (task.id, task.question, task.image_count, task.tools, [each.digest for each in task.images])
            for task in load_tasks(path)
        ]
        for path in (tmp_path / "theirs.parquet", tmp_path / "ours.jsonl")
    )
    assert before == after
    again = convert([str(tmp_path / "ours.jsonl")], tmp_path / "again.parquet")
    assert again.lost == ()
    assert [row["data_source"] for row in read(tmp_path / "again.parquet")] == ["interleaved_mm"] * 2
    names = sorted(path.name for path in (tmp_path / "ours-pictures").iterdir())
    assert names == ["b.png", "picture.png"]


def test_our_files_are_carried_elsewhere_with_their_pictures(ours: Path, tmp_path: Path) -> None:
    done = convert([str(ours)], tmp_path / "elsewhere" / "copy.jsonl")
    assert done.lost == ()
    same(load_tasks(ours), load_tasks(tmp_path / "elsewhere" / "copy.jsonl"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"question": "Show it.", "image_count": 99}], "exactly 99 pictures cannot be said"),
        ([{"question": ""}], r"row 1, field 'question'.*'llmi data check' tells of all"),
        (
            [{"id": "a", "question": "Show it."}, {"id": "a", "question": "Show that."}],
            r"in\.jsonl, row 2, field 'id': 'a' is also the id of .*in\.jsonl, row 1",
        ),
        ([{"question": "Show it.", "images": ["none.png"]}], "cannot read picture"),
        ([], "there are no tasks"),
    ],
)
def test_what_cannot_be_converted(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    path = jsonl(tmp_path / "in.jsonl", *rows)
    with pytest.raises(TaskError, match=said):
        convert([str(path)], tmp_path / "out.parquet")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.jsonl"]


def test_an_id_of_two_files_is_told_with_both(tmp_path: Path) -> None:
    first, second = (jsonl(tmp_path / f"{name}.jsonl", {"id": "a", "question": f"Show {name}."}) for name in ("x", "y"))
    with pytest.raises(TaskError, match=r"y\.jsonl, row 1, field 'id': 'a' is also the id of .*x\.jsonl, row 1;"):
        convert([str(first), str(second)], tmp_path / "out.jsonl")


def test_nothing_is_written_over_unasked(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "in.jsonl", {"question": "Show it.", "image_count": 0})
    out = tmp_path / "out.parquet"
    assert convert([str(path)], out).lost == ("image_count 0 becomes 'none' (all rows)",)
    with pytest.raises(ConfigError, match="is there already: --force writes over it"):
        convert([str(path)], out)
    convert([str(path)], out, force=True)
    with pytest.raises(ConfigError, match=r".jsonl is ours, .parquet is LLM-I's"):
        convert([str(path)], tmp_path / "out.csv")

"""Loading tasks: what is read, how pictures are treated, and what a bad row says."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llmi_env.errors import MissingExtra, TaskError
from llmi_env.task import Task
from llmi_env.task_pictures import MAX_PICTURE_PIXELS
from llmi_env.task_sets import SPLITS, TaskSet, load_tasks


def write_jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "mine.jsonl"
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def png(color: str = "red", size: tuple[int, int] = (8, 6), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, format="PNG")
    return buffer.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; its data are missing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


# --- the sequence ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_bundled_splits_load(split: str) -> None:
    tasks = load_tasks(split)
    assert tasks.name == split
    assert len(tasks) >= 48
    assert tasks.by_id(tasks.ids[3]).id == tasks.ids[3]
    assert tasks.digest == load_tasks(split).digest


def test_a_task_set_is_an_immutable_sequence() -> None:
    tasks = load_tasks([Task("Draw a cat.", id="cat"), Task("Draw a dog.", tools=("diffusion",))])
    assert [task.question for task in tasks] == ["Draw a cat.", "Draw a dog."]
    assert tasks.ids == ("cat", "task-2")
    assert tasks[-1].tools == ("diffusion",)
    assert isinstance(tasks[:1], TaskSet)
    assert len(tasks[:1]) == 1
    assert load_tasks(tasks) is tasks
    assert pickle.loads(pickle.dumps(tasks)).digest == tasks.digest
    with pytest.raises(AttributeError):
        tasks.name = "other"  # type: ignore[misc]
    with pytest.raises(IndexError):
        tasks[2]


def test_digest_depends_on_what_is_asked() -> None:
    first = load_tasks([Task("Draw a cat.")])
    assert first.digest != load_tasks([Task("Draw a dog.")]).digest
    assert first.digest != load_tasks([Task("Draw a cat.", image_count=1)]).digest


def test_by_id_suggests_the_nearest() -> None:
    tasks = load_tasks([Task("Draw a cat.", id="black-cat")])
    with pytest.raises(TaskError, match="did you mean 'black-cat'"):
        tasks.by_id("blak-cat")


def test_unknown_split_suggests_the_nearest() -> None:
    with pytest.raises(TaskError, match="did you mean 'validation'"):
        load_tasks("validaton")


@pytest.mark.parametrize("source", ["nothere.jsonl", "folder/nothere.parquet"])
def test_missing_file(source: str) -> None:
    with pytest.raises(TaskError, match="no task file"):
        load_tasks(source)


def test_other_file_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks.csv"
    path.write_text("question\n")
    with pytest.raises(TaskError, match=r"end in \.jsonl or \.parquet"):
        load_tasks(path)


def test_what_is_no_source_at_all() -> None:
    with pytest.raises(TaskError, match="not int"):
        load_tasks(3)  # type: ignore[arg-type]
    with pytest.raises(TaskError, match="row 2"):
        load_tasks([Task("Draw."), "Draw."])  # type: ignore[list-item]


# --- JSONL ----------------------------------------------------------------------------------------------------


def test_jsonl_rows(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path,
        {"id": "a", "question": " Explain rain. ", "image_count": 2, "tools": ["search", "search"], "subject": "rain"},
        "",
        {"question": "Explain snow."},
    )
    tasks = load_tasks(path)
    assert tasks[0] == Task("Explain rain.", (), 2, ("search",), "a", "mine")
    assert tasks[1].id == "mine-3"
    assert tasks[1].image_count == "any"
    assert tasks.extras("a") == {"subject": "rain"}


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        ({"question": "  "}, "question", "blank"),
        ({"image_count": 1}, "question", "missing"),
        ({"question": 5}, "question", "text"),
        ({"question": "x", "image_cuont": 1}, "image_cuont", "did you mean 'image_count'"),
        ({"question": "x", "image_count": -1}, "image_count", ">= 0"),
        ({"question": "x", "image_count": True}, "image_count", "True"),
        ({"question": "x", "image_count": "two"}, "image_count", "'two'"),
        ({"question": "x", "tools": ["serch"]}, "tools", "did you mean 'search'"),
        ({"question": "x", "tools": 4}, "tools", "list"),
        ({"question": "x", "id": 7}, "id", "text"),
        ({"question": "x", "images": "a.png"}, "images", "list"),
        ({"question": "x", "images": [3]}, "images[0]", "corpus:ID"),
        ({"question": "x", "images": ["https://example.org/a.png"]}, "images[0]", "not fetched"),
    ],
)
def test_a_bad_row_names_file_row_and_field(tmp_path: Path, row: dict[str, Any], field: str, says: str) -> None:
    path = write_jsonl(tmp_path, {"question": "fine"}, row)
    with pytest.raises(TaskError) as caught:
        load_tasks(path)
    message = str(caught.value)
    assert "mine.jsonl, row 2" in message
    assert repr(field) in message
    assert says in message


@pytest.mark.parametrize("line", ["{", "[1, 2]", "null", '"text"', "[" * 100_000])
def test_a_line_that_is_no_object(tmp_path: Path, line: str) -> None:
    with pytest.raises(TaskError, match=r"mine\.jsonl, row 1"):
        load_tasks(write_jsonl(tmp_path, line))


def test_a_field_that_stands_twice_in_a_row(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"question": "Owls.", "image_count": 1, "image_count": 3}\n', encoding="utf-8")
    with pytest.raises(TaskError, match=r"tasks.jsonl, row 1: .*the field 'image_count' stands twice"):
        load_tasks(path)


def test_ids_are_unique(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"row 2, field 'id'.*unique"):
        load_tasks(write_jsonl(tmp_path, {"id": "a", "question": "x"}, {"id": "a", "question": "y"}))


def test_an_empty_file_and_a_binary_one(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no tasks"):
        load_tasks(write_jsonl(tmp_path))
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TaskError, match=r"binary\.jsonl.*UTF-8"):
        load_tasks(tmp_path / "binary.jsonl")


# --- pictures -------------------------------------------------------------------------------------------------


def test_pictures_are_decoded_when_the_task_is_taken(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path, {"id": "a", "question": "x", "images": ["late.png"]})
    tasks = load_tasks(path)
    with pytest.raises(TaskError, match=r"row 1, field 'images\[0\]'.*late\.png"):
        tasks.by_id("a")
    (tmp_path / "late.png").write_bytes(png("blue"))
    (picture,) = tasks.by_id("a").images
    assert picture.image.size == (8, 6)
    assert picture.image.getpixel((0, 0)) == (0, 0, 255)
    assert picture.provenance.title == "late"


def test_transparency_becomes_white(tmp_path: Path) -> None:
    (tmp_path / "clear.png").write_bytes(png("#00000000", mode="RGBA"))
    (picture,) = load_tasks(write_jsonl(tmp_path, {"question": "x", "images": ["clear.png"]}))[0].images
    assert picture.image.mode == "RGB"
    assert picture.image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe", png()[:40], huge_png(4, 4)],
)
def test_hostile_pictures_raise_task_errors(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(data)
    tasks = load_tasks(write_jsonl(tmp_path, {"question": "x", "images": ["bad.png"]}))
    with pytest.raises(TaskError, match=r"row 1, field 'images\[0\]'.*not a readable picture") as raised:
        tasks[0]
    assert " at 0x" not in str(raised.value)  # an address would differ from run to run


def test_a_picture_with_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(huge_png(5000, 5000))
    tasks = load_tasks(write_jsonl(tmp_path, {"question": "x", "images": ["bomb.png"]}))
    with pytest.raises(TaskError, match=str(MAX_PICTURE_PIXELS)):
        tasks[0]


def test_bundled_pictures_carry_their_licence(tmp_path: Path) -> None:
    tasks = load_tasks(write_jsonl(tmp_path, {"question": "x", "images": ["corpus:taj-mahal-agra"]}))
    (picture,) = tasks[0].images
    assert "Taj Mahal" in picture.provenance.title
    assert picture.provenance.licence
    assert picture.provenance.author


def test_a_bundled_picture_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"row 1, field 'images\[0\]'.*did you mean 'corpus:taj-mahal-agra'"):
        load_tasks(write_jsonl(tmp_path, {"question": "x", "images": ["corpus:taj-mahal-agr"]}))


# --- LLM-I's layout -------------------------------------------------------------------------------------------


def llmi_row(**changes: Any) -> dict[str, Any]:
    info = {"split": "train", "image_num": 2, "tools": ["search", "code"], "question": "Introduce Rome."}
    row: dict[str, Any] = {
        "data_source": "interleaved",
        "prompt": [{"role": "system", "content": "You write."}, {"role": "user", "content": "Introduce <image>Rome."}],
        "extra_info": {**info, **changes.pop("info", {})},
    }
    return {**row, **changes}


def write_parquet(folder: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = folder / "llmi.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize(("number", "count"), [(-1, "none"), (0, "any"), (99, "at_least_one"), (1, 1), (4, 4)])
def test_parquet_image_num(tmp_path: Path, number: int, count: Any) -> None:
    tasks = load_tasks(write_parquet(tmp_path, [llmi_row(info={"image_num": number})]))
    assert tasks[0] == Task("Introduce Rome.", (), count, ("search", "code"), "llmi-1", "interleaved")


def test_parquet_pictures(tmp_path: Path) -> None:
    (tmp_path / "file.png").write_bytes(png("lime"))
    rows = [llmi_row(images=[{"bytes": png("red"), "path": None}, {"bytes": None, "path": "file.png"}])]
    task = load_tasks(write_parquet(tmp_path, rows))[0]
    assert [picture.image.getpixel((1, 1)) for picture in task.images] == [(255, 0, 0), (0, 255, 0)]


def test_the_question_falls_back_to_the_prompt(tmp_path: Path) -> None:
    task = load_tasks(write_parquet(tmp_path, [llmi_row(info={"question": ""})]))[0]
    assert task.question == "Introduce Rome."


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (llmi_row(info={"image_num": -3}), "extra_info.image_num"),
        (llmi_row(info={"tools": ["paint"]}), "extra_info.tools"),
        (llmi_row(info={"question": ""}, prompt=[{"role": "system", "content": "x"}]), "prompt"),
        (llmi_row(info={"question": ""}, prompt=[{"role": "user", "content": " "}]), "prompt"),
    ],
)
def test_a_bad_parquet_row_names_file_row_and_field(tmp_path: Path, row: dict[str, Any], field: str) -> None:
    with pytest.raises(TaskError) as caught:
        load_tasks(write_parquet(tmp_path, [llmi_row(), row]))
    assert f"llmi.parquet, row 2, field '{field}'" in str(caught.value)


def test_llmi_rows_as_jsonl(tmp_path: Path) -> None:
    assert load_tasks(write_jsonl(tmp_path, llmi_row()))[0].image_count == 2


def test_a_corrupt_parquet_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"PAR1 this is not parquet PAR1")
    with pytest.raises(TaskError, match=r"broken\.parquet: not a readable parquet file"):
        load_tasks(path)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"")

    def absent(name: str, package: str | None = None) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingExtra, match=r"llmi-env\[train\]"):
        load_tasks(path)


# --- Hugging Face data sets -----------------------------------------------------------------------------------


def test_a_saved_data_set_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "saved"
    rows = [llmi_row(), llmi_row(info={"image_num": 99, "question": "Introduce Oslo."})]
    datasets.Dataset.from_list(rows).save_to_disk(str(folder))
    tasks = load_tasks(folder)
    assert [task.image_count for task in tasks] == [2, "at_least_one"]
    assert tasks[1].question == "Introduce Oslo."


def test_a_data_set_that_cannot_be_loaded(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    (tmp_path / "README.md").touch()
    with pytest.raises(TaskError, match="cannot be loaded"):
        load_tasks(tmp_path)


def test_a_folder_of_anything_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("not yours")
    with pytest.raises(TaskError, match="holds no Hugging Face data set; a task set is train"):
        load_tasks(tmp_path)


@pytest.mark.parametrize("source", ["", "  "])
def test_an_empty_name(source: str) -> None:
    with pytest.raises(TaskError, match="is empty; a task set is train"):
        load_tasks(source)


def test_bundled_tasks_that_need_a_missing_tool_are_left_out() -> None:
    whole = load_tasks("train")
    kept = whole.for_tools(["search", "edit", "code"])
    assert 0 < len(kept) < len(whole)
    assert not any("diffusion" in task.tools for task in kept)
    assert whole.for_tools(["search", "edit", "code", "diffusion"]) is whole


def test_a_users_tasks_stay_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    tasks = load_tasks([Task("Draw a cat.", tools=("diffusion",)), Task("Write.")])
    assert tasks.for_tools(["search"]) is tasks
    assert "1 of 2 tasks of given need diffusion" in caplog.text

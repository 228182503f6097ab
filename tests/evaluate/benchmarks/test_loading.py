"""Files of benchmarks: found, read and refused, whichever benchmark they are of."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Response
from PIL import Image

from llmi_env.document import Picture
from llmi_env.errors import MissingExtra
from llmi_env.evaluate.benchmark import Benchmark, BenchmarkError, taken_evenly
from llmi_env.evaluate.benchmarks.interleaved_bench import InterleavedBench
from llmi_env.evaluate.benchmarks.isg_bench import ISGBench
from llmi_env.evaluate.benchmarks.items import Items
from llmi_env.evaluate.benchmarks.llmi_bench import LLMIBench
from llmi_env.evaluate.benchmarks.opening import OpenING
from tests.evaluate.benchmarks.benchmark_files import DATA, Spoil, rows_of, spoilt
from tests.serving import served

ALL: dict[str, tuple[Benchmark, str]] = {
    "llmi_bench": (LLMIBench(), "mm_input.json"),
    "opening": (OpenING(), "test_data.jsonl"),
    "isg_bench": (ISGBench(), "ISG-Bench.jsonl"),
    "interleaved_bench": (InterleavedBench(), "interleaved_bench.json"),
}


@pytest.mark.parametrize("folder", ALL)
def test_a_folder_a_file_and_either_form_hold_the_same_items(folder: str, tmp_path: Path) -> None:
    benchmark, name = ALL[folder]
    whole = benchmark.load(DATA / folder)
    items = list(whole)
    assert len({item.id for item in items}) == len(items) > 0
    assert isinstance(benchmark, Benchmark)
    shutil.copytree(DATA / folder, tmp_path / "copy")
    rows = rows_of(DATA / folder / name)
    array, lines = tmp_path / "copy" / "a.json", tmp_path / "copy" / "l.jsonl"
    array.write_text("\ufeff" + json.dumps(rows, indent=1), encoding="utf-8")
    lines.write_text("\n\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    for file in (array, lines):
        again = list(benchmark.load(file))
        assert [item.task.question for item in again] == [item.task.question for item in items[-len(rows) :]]
        assert [item.task.key for item in again] == [item.task.key for item in items[-len(rows) :]]


@pytest.mark.parametrize("folder", ALL)
def test_the_files_of_another_benchmark_are_known(folder: str) -> None:
    benchmark, _ = ALL[folder]
    for other, (one, name) in ALL.items():
        if other != folder:
            with pytest.raises(BenchmarkError, match=rf"{name}, item 1, .*This looks like an item of {one.name}$"):
                benchmark.load(DATA / other / name)


@pytest.mark.parametrize("folder", ALL)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [], "there are no items in it"),
        (lambda rows: "", "there are no items in it"),
        (lambda rows: "[{]", "not JSON .*; expected an array of objects, or one object on each line"),
        (lambda rows: '{"id":\n1}', "line 1: not JSON"),
        (lambda rows: "[" * 100_000, "not JSON"),
        (lambda rows: [*rows, 3], "item {}: expected an object with the fields of an item, not int 3"),
        (lambda rows: [*rows, {}], "item {}, field '[^']+': expected .*, but it is missing"),
    ],
)
def test_what_is_no_file_of_items_is_refused(folder: str, change: Spoil, message: str, tmp_path: Path) -> None:
    benchmark, name = ALL[folder]
    copy = spoilt(folder, name, change, tmp_path)
    count = len(rows_of(DATA / folder / name)) + 1
    with pytest.raises(BenchmarkError, match=message.format(count)):
        benchmark.load(copy / name)


@pytest.mark.parametrize("folder", ALL)
def test_two_items_of_one_name_are_refused(folder: str, tmp_path: Path) -> None:
    benchmark, name = ALL[folder]
    copy = spoilt(folder, name, lambda rows: [rows[0] | {"id": "x"}, rows[1], rows[0] | {"id": "x"}], tmp_path)
    with pytest.raises(BenchmarkError, match=rf"{name}, item 3, field 'id': .*, which is also that of {name}, item 1$"):
        benchmark.load(copy / name)


def test_a_field_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """The last one would be taken, and a criterion would be gone without a word."""
    (tmp_path / "x.json").write_text('[{"prompt": "Owls.", "r1": "It hunts.", "r1": "It flies."}]')
    with pytest.raises(BenchmarkError, match=r"^x\.json: .*the field 'r1' stands twice in one object"):
        LLMIBench().load(tmp_path / "x.json")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"[\xff]")
    with pytest.raises(BenchmarkError, match=r"x\.json: cannot be read as UTF-8 text"):
        LLMIBench().load(tmp_path / "x.json")


@pytest.mark.parametrize("data", [None, "", " "])
def test_without_files_it_says_where_they_are(data: str | None) -> None:
    with pytest.raises(
        BenchmarkError, match=r"needs its files, ISG-Bench\.jsonl: it is on the hub as shuaishuaicdp/ISG-Bench"
    ):
        ISGBench().load(data)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"there is no file or folder .*nowhere"):
        LLMIBench().load(tmp_path / "nowhere")
    with pytest.raises(BenchmarkError, match=r"there is no file or folder 'some/file\.json'"):
        LLMIBench().load("some/file.json")
    with pytest.raises(
        BenchmarkError, match=r"holds neither text_only\.json and mm_input\.json nor one other.*there are: none"
    ):
        LLMIBench().load(tmp_path)
    (tmp_path / "all.zip").write_bytes(b"")
    with pytest.raises(BenchmarkError, match=r"all\.zip: expected a file that ends in \.json or \.jsonl; unpack it"):
        OpenING().load(tmp_path / "all.zip")
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("[]")
    with pytest.raises(BenchmarkError, match=r"there are: a\.json, b\.json"):
        LLMIBench().load(tmp_path)


def test_a_file_of_another_name_is_taken_where_it_is_the_only_one(tmp_path: Path) -> None:
    shutil.copytree(DATA / "opening", tmp_path / "copy")
    (tmp_path / "copy" / "test_data.jsonl").rename(tmp_path / "copy" / "dev_data.jsonl")
    assert len(OpenING().load(tmp_path / "copy")) == 3
    shutil.copytree(DATA / "opening", tmp_path / "clone" / "OpenING-benchmark")
    assert len(OpenING().load(tmp_path / "clone")) == 3


# ----------------------------------------------------------------------------------------------------------- pictures


def _image(value: Any) -> Spoil:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0]["images"] = [value]

    return change


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("images/mugs.png", "not 'images/mugs.png': there is no such file, nor in a zip archive there"),
        ("../../../etc/passwd", "which leads out of it or to the network"),
        ("images/../../x.png", "which leads out of it or to the network"),
        ("/etc/passwd", "which leads out of it or to the network"),
        ("https://example.org/mug.png", "which leads out of it or to the network"),
        ("C:\\mug.png", "which leads out of it or to the network"),
        ("corpus:owl", "which leads out of it or to the network"),
        (".", "there is no such file"),
        ("images", "there is no such file"),
        ("x" * 5000, "there is no such file"),
        ("a\0b", "not str"),
        ("", "not str ''"),
        (7, "not int 7"),
        (None, "not null"),
    ],
)
def test_pictures_that_are_not_there_are_named(value: Any, message: str, tmp_path: Path) -> None:
    copy = spoilt("llmi_bench", "mm_input.json", _image(value), tmp_path)
    with pytest.raises(
        BenchmarkError, match=rf"mm_input\.json, item 1, field 'images\[0\]': expected the name.*{message}"
    ):
        LLMIBench().load(copy)


def test_a_picture_is_checked_when_its_item_is_taken(tmp_path: Path) -> None:
    copy = spoilt("llmi_bench", "mm_input.json", lambda rows: None, tmp_path)
    (copy / "images" / "mug.png").write_bytes(b"<svg/>")
    items = LLMIBench().load(copy)
    assert items[0].id == "text_only-1"
    with pytest.raises(BenchmarkError, match=r"mm_input\.json, item 1, field 'images\[0\]': not a readable picture"):
        items[4]
    Image.new("1", (5000, 5000)).save(copy / "images" / "mug.png")
    with pytest.raises(BenchmarkError, match="5000x5000 pixels"):
        items[4]
    (copy / "images" / "mug.png").unlink()
    with pytest.raises(BenchmarkError, match="there is no picture file"):
        items[4]
    with pytest.raises(BenchmarkError, match="No such file"):
        items.digest  # noqa: B018
    with (copy / "images" / "mug.png").open("wb") as file:
        file.truncate(33 * 2**20)
    with pytest.raises(BenchmarkError, match="a picture of at most 32 MiB"):
        LLMIBench().load(copy)


def test_letters_of_file_names_count_in_either_case(tmp_path: Path) -> None:
    copy = spoilt("llmi_bench", "mm_input.json", _image("images/MUG.PNG"), tmp_path)
    assert LLMIBench().load(copy)[4].task.images == LLMIBench().load(DATA / "llmi_bench")[4].task.images


def test_pictures_are_read_out_of_archives(tmp_path: Path) -> None:
    copy = spoilt("isg_bench", "ISG-Bench.jsonl", lambda rows: None, tmp_path)
    plain = [item.reference for item in ISGBench().load(copy)]
    with zipfile.ZipFile(copy / "images.zip", "w") as packed:
        for file in (copy / "images").iterdir():
            packed.write(file, f"images/{file.name}")
    shutil.rmtree(copy / "images")
    items = ISGBench().load(copy)
    assert items.digest == ISGBench().load(DATA / "isg_bench").digest
    assert [one.pictures[0].digest for one in (item.reference for item in items) if one] == [
        one.pictures[0].digest for one in plain if one
    ]
    (copy / "images.zip").write_bytes(b"PK\3\4 broken")
    with pytest.raises(BenchmarkError, match=r"images\.zip: not a readable zip archive"):
        ISGBench().load(copy)


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_picture_that_is_damaged_in_its_archive_is_named(tmp_path: Path, packing: int) -> None:
    copy = spoilt("isg_bench", "ISG-Bench.jsonl", lambda rows: rows[:1], tmp_path)
    shutil.rmtree(copy / "images")
    with zipfile.ZipFile(copy / "images.zip", "w", packing) as packed:
        for name in ("0001_q1", "0001_g1", "0001_g2"):
            packed.writestr(f"images/{name}.png", bytes(range(256)) * 16)
        start = packed.infolist()[0].header_offset
    damaged = bytearray((copy / "images.zip").read_bytes())
    begin = start + 30 + len("images/0001_q1.png")
    damaged[begin + 8 : begin + 40] = b"\xff" * 32
    (copy / "images.zip").write_bytes(damaged)
    items = ISGBench().load(copy)
    with pytest.raises(
        BenchmarkError, match=r"ISG-Bench\.jsonl, item 1.*cannot read 'images/0001_q1\.png' in images\.zip"
    ):
        items[0]


def test_what_swells_when_it_is_unpacked_is_refused(tmp_path: Path) -> None:
    copy = spoilt("isg_bench", "ISG-Bench.jsonl", lambda rows: rows[:1], tmp_path)
    shutil.rmtree(copy / "images")
    nothing = bytes(33 * 2**20)
    with zipfile.ZipFile(copy / "images.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, data in {"0001_q1": nothing, "0001_g1": b"", "0001_g2": b""}.items():
            packed.writestr(f"images/{name}.png", data)
    items = ISGBench().load(copy)
    with pytest.raises(BenchmarkError, match="larger than 32 MiB"):
        items[0]


def test_pixels_stay_in_their_files() -> None:
    (shown,) = LLMIBench().load(DATA / "llmi_bench")[4].task.images
    with Image.open(DATA / "llmi_bench" / "images" / "mug.png") as image:
        plain = Picture(image.convert("RGB"), shown.provenance)
    assert shown == plain
    assert shown.png == plain.png
    assert not {"image", "png"} & shown.__dict__.keys()
    assert pickle.loads(pickle.dumps(shown)) == plain
    assert shown.provenance.title == "mug"
    with pytest.raises(AttributeError, match="colour"):
        shown.colour  # type: ignore[attr-defined]  # noqa: B018


def test_items_are_a_sequence() -> None:
    items = LLMIBench().load(DATA / "llmi_bench")
    assert items.ids[-2:] == ("mm_input-1", "mm_input-2")
    assert items[-1] is items[5]
    assert [item.id for item in items[1:3]] == ["text_only-2", "text_only-3"]
    assert items[:2].digest != items.digest == LLMIBench().load(DATA / "llmi_bench").digest
    with pytest.raises(IndexError):
        items[6]


@pytest.mark.parametrize(
    ("count", "taken"), [(1, (0,)), (2, (0, 3)), (4, (0, 1, 3, 4)), (5, (0, 1, 2, 3, 4)), (9, range(6))]
)
def test_a_part_of_a_benchmark_is_taken_evenly(count: int, taken: Sequence[int]) -> None:
    items = LLMIBench().load(DATA / "llmi_bench")
    part = taken_evenly(items, count)
    assert isinstance(part, Items)
    assert part.ids == tuple(items.ids[place] for place in taken)
    assert [item.id for item in taken_evenly(list(items), count)] == list(part.ids)


# ----------------------------------------------------------------------------------------------------------- the hub


def test_a_name_on_the_hub_needs_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"fetching isg-bench from the hub needs the extra 'hub'.*llmi-env\[hub\]"):
        ISGBench().load("shuaishuaicdp/ISG-Bench")


def _hub(name: str, folder: Path) -> FastAPI:
    """The hub as its client asks it (huggingface.co/docs/hub/api): what a repository holds, and the files of a commit."""
    app, commit = FastAPI(), "0" * 40
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    @app.get(f"/api/models/{name}/revision/main")
    def about() -> dict[str, Any]:
        return {"id": name, "sha": commit, "siblings": [{"rfilename": file} for file in files]}

    @app.get(f"/api/models/{name}/tree/{commit}")
    def tree() -> list[dict[str, Any]]:
        return [{"type": "file", "path": file, "size": len(data), "oid": "1"} for file, data in files.items()]

    @app.api_route(f"/{name}/resolve/{commit}/{{file:path}}", methods=["GET", "HEAD"])
    def content(file: str) -> Response:
        tag = f'"{abs(hash(file)):040x}"'
        return Response(files[file], headers={"etag": tag, "x-repo-commit": commit})

    @app.api_route("/api/{rest:path}")
    def nothing(rest: str) -> Response:
        return Response("{}", 404, headers={"x-error-code": "RepoNotFound"})

    return app


@pytest.mark.slow
def test_a_name_on_the_hub_is_fetched_once(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")
    shutil.copytree(DATA / "interleaved_bench", tmp_path / "repository")
    (tmp_path / "repository" / "more.bin").write_bytes(b"not wanted")
    program = (
        "from llmi_env.evaluate.benchmarks.interleaved_bench import InterleavedBench as Bench\n"
        "from llmi_env.evaluate.benchmark import BenchmarkError\n"
        "import sys\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(Bench().load(name).digest)\n"
        "    except BenchmarkError as error: print(error)"
    )

    def run(address: str, *names: str) -> list[str]:
        """What a process of its own prints: the hub's client reads its address once."""
        env = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
        env.pop("HF_HUB_OFFLINE", None)
        done = subprocess.run(
            [sys.executable, "-c", program, *names], capture_output=True, text=True, env=env, timeout=100
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    digest = InterleavedBench().load(DATA / "interleaved_bench").digest
    with served(_hub("someone/bench", tmp_path / "repository")) as address:
        fetched, again, unknown = run(address, "someone/bench", "someone/bench", "someone/other")
    assert fetched == again == digest
    assert "'someone/other' is no file and no folder, and the hub does not give it (as a dataset: " in unknown
    assert not list((tmp_path / "home").rglob("more.bin"))
    (blobs,) = (tmp_path / "home").rglob("blobs")
    (blobs / "0.incomplete").write_bytes(b"")
    kept, unknown = run(address, "someone/bench", "someone/other")  # the server is gone
    assert kept == digest
    assert "the hub cannot be reached" in unknown

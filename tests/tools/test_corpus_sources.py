"""Where pictures come from: folders and data sets, with captions in every place, and with everything in them that should not be there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from llmi_env import embeddings
from llmi_env.errors import AssetError, ConfigError, MissingExtra
from llmi_env.tools import corpus
from llmi_env.tools.corpus import Added, Columns, Corpus, Entry, add_data_set, add_folder, data_sets, pictures
from tests.pngs import claiming
from tests.tools.corpus_stand_ins import picture


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LLMI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(embeddings, "available", lambda: False)  # vectors are looked at in test_corpus_kept


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def entries() -> dict[str, Entry]:
    """What is in the corpus, by item."""
    return {entry.item: entry for entry in Corpus.load(corpus.user_folder(), grows=True).entries}


class TestTables:
    def test_the_imagefolder_form_in_any_folder(self, source: Path) -> None:
        (source / "train" / "a").mkdir(parents=True)
        (source / "train" / "a" / "0001.png").write_bytes(picture(1))
        (source / "train" / "0002.png").write_bytes(picture(2))
        (source / "train" / "metadata.jsonl").write_text(
            '{"file_name": "a/0001.png", "text": "A heron."}\n\n{"file_name": "./0002.png", "text": ["A boat.", "A red boat."]}\n'
        )
        (source / "3.png").write_bytes(picture(3))
        (source / "metadata.csv").write_text('\ufefffile_name,caption,artist\n3.png,"A pier, at dusk",Ada\n', "utf-8")
        result = add_folder(source, columns=Columns(author="column:artist", licence="CC0-1.0"))
        assert (result.added, result.failed) == (3, {})
        found = entries()
        assert found["train/a/0001.png"].caption == "A heron."
        assert found["train/0002.png"].caption == "A boat. A red boat."
        assert (found["3.png"].caption, found["3.png"].author, found["3.png"].licence) == (
            "A pier, at dusk",
            "Ada",
            "CC0-1.0",
        )

    def test_a_named_column_is_the_caption(self, source: Path) -> None:
        (source / "1.png").write_bytes(picture(1))
        (source / "2.png").write_bytes(picture(2))
        (source / "metadata.csv").write_text("file_name,text,german\n1.png,A dog.,Ein Hund.\n2.png,A cat.,\n")
        result = add_folder(source, columns=Columns(caption="german"))
        assert entries()["1.png"].caption == "Ein Hund."
        assert (result.captionless, list(result.failed)) == (1, ["2.png"])

    def test_what_a_row_or_a_file_says_goes_before_the_defaults(self, source: Path) -> None:
        for number in (1, 2):
            (source / f"{number}.png").write_bytes(picture(number))
        (source / "1.json").write_text('{"caption": "A dog.", "license": "MIT", "author": "Ada"}')
        (source / "2.txt").write_text("A cat.")
        add_folder(source, columns=Columns(author="Ben", licence="CC0-1.0", source="https://example.org"))
        said = {item: (entry.author, entry.licence, entry.source) for item, entry in entries().items()}
        assert said == {
            "1.png": ("Ada", "MIT", "https://example.org"),
            "2.png": ("Ben", "CC0-1.0", "https://example.org"),
        }

    @pytest.mark.parametrize(
        ("name", "text", "place", "reason"),
        [
            ("metadata.jsonl", '{"file_name": "1.png"\n', "metadata.jsonl, line 1", "not JSON"),
            ("metadata.jsonl", '\n[1]\n', "metadata.jsonl, line 2", "an object is expected, not list"),
            ("metadata.jsonl", "[" * 100_000 + "\n", "metadata.jsonl, line 1", "not JSON"),
            ("metadata.jsonl", '{"x": "' + "a" * (1 << 21) + '"}\n', "metadata.jsonl, line 1", "longer than"),
            ("metadata.jsonl", '{"text": "A dog."}\n', "metadata.jsonl, line 1", "names no file"),
            ("metadata.jsonl", '{"file_name": "2.png", "text": "x"}\n', "metadata.jsonl, line 1", "no picture '2.png'"),
            ("metadata.csv", "name,text\n1.png,A dog.\n", "metadata.csv", "no column 'file_name'"),
            ("metadata.csv", "file_name,text\n1.png,A dog.,more\n", "metadata.csv, line 2", "2 columns are expected, not 3"),
            ("metadata.csv", 'file_name,text\n1.png,"' + "a" * 200_000, "metadata.csv, line 2", "not CSV"),
            ("metadata.csv", "file_name,text\n\x00,A dog.\n", "metadata.csv, line 2", ""),
        ],
    )  # fmt: skip
    def test_what_is_wrong_with_a_table_is_said_with_file_and_row(
        self, source: Path, name: str, text: str, place: str, reason: str
    ) -> None:
        (source / "a dog.png").write_bytes(picture(1))
        (source / name).write_text(text)
        result = add_folder(source)
        assert result.added == 1
        assert reason in result.failed[place]
        assert place in (corpus.user_folder() / "logs" / "in.log").read_text()

    @pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "..", "a\u0000b.png"])
    def test_a_row_cannot_lead_out_of_the_folder(self, source: Path, name: str) -> None:
        (source.parent / "secret.png").write_bytes(picture(9))
        (source / "a dog.png").write_bytes(picture(1))
        (source / "metadata.jsonl").write_text(json.dumps({"file_name": name, "text": "Leaked."}) + "\n")
        result = add_folder(source)
        assert (result.added, list(result.failed)) == (1, ["metadata.jsonl, line 1"])
        assert [entry.caption for entry in entries().values()] == [""]


class TestFolders:
    def test_links_out_of_the_folder_are_not_followed(self, source: Path) -> None:
        outside = source.parent / "outside"
        outside.mkdir()
        (outside / "a secret.png").write_bytes(picture(9))
        (outside / "note.txt").write_text("A secret note.")
        (source / "a link.png").symlink_to(outside / "a secret.png")
        (source / "deep").symlink_to(outside)
        (source / "one dog.png").write_bytes(picture(1))
        (source / "one dog.txt").symlink_to(outside / "note.txt")
        (source / "two dogs.png").write_bytes(picture(2))
        (source / "same dogs.png").symlink_to(source / "two dogs.png")
        (source / "gone.png").symlink_to(source / "nowhere.png")
        result = add_folder(source)
        assert set(result.failed) == {"a link.png", "one dog.png", "gone.png"}
        assert "leads out" in result.failed["a link.png"]
        assert (result.added, result.duplicates) == (1, 1)

    def test_names_of_any_script_and_of_no_script(self, source: Path) -> None:
        (source / "ein großer Bär.png").write_bytes(picture(1))
        (source / "桜の木.png").write_bytes(picture(2))
        Path(os.fsdecode(os.fsencode(source) + b"/caf\xe9 noir.png")).write_bytes(picture(3))
        (source / "a\nb\x1b[31m.png").write_bytes(picture(4))
        result = add_folder(source)
        assert (result.added, result.failed) == (4, {})
        found = entries()
        assert found["ein großer Bär.png"].title == "ein großer Bär"
        assert found["桜の木.png"].title == "桜の木"
        assert found["caf\\xe9 noir.png"].title == "caf? noir"
        assert found["a\\x0ab\\x1b[31m.png"].title == "a b[31m"
        assert add_folder(source).known == 4

    def test_devices_and_hidden_folders_are_left_alone(self, source: Path) -> None:
        os.mkfifo(source / "a pipe.png")
        (source / ".git").mkdir()
        (source / ".git" / "a dog.png").write_bytes(picture(1))
        (source / "._a dog.png").write_bytes(b"resource fork")
        (source / "a dog.png").write_bytes(picture(2))
        result = add_folder(source)
        assert (result.added, result.failed) == (1, {"a pipe.png": "not a plain file"})

    def test_the_corpus_itself_is_no_source(self, tmp_path: Path, source: Path) -> None:
        (source / "a dog.png").write_bytes(picture(1))
        add_folder(source)
        assert add_folder(tmp_path).duplicates == 1
        assert len(entries()) == 1

    def test_texts_are_bounded_and_of_one_line(self, source: Path) -> None:
        (source / "1.png").write_bytes(picture(1))
        row = {
            "file_name": "1.png",
            "text": "a\u2028b\ud800\x07 " + "word " * 5000,
            "keywords": ["k" * 500, 7, None, {"x": 1}],
        }
        (source / "metadata.jsonl").write_text(json.dumps(row) + "\n")
        add_folder(source)
        (entry,) = entries().values()
        assert entry.caption.startswith("a b? word word")
        assert len(entry.caption) <= 1000
        assert [len(word) for word in entry.keywords] == [60, 1]
        assert len((corpus.user_folder() / "manifest.jsonl").read_text().split("\n")) == 2


class TestHostilePictures:
    def test_bombs_and_lies_cost_little_and_are_named(self, source: Path) -> None:
        (source / "a bomb.png").write_bytes(claiming(60_000, 60_000, b"\0" * 1000))
        (source / "a short one.png").write_bytes(claiming(3000, 3000, b"\0" * 1000))
        (source / "a drawing.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
        (source / "a page.jpg").write_bytes(b"<html>404</html>")
        (source / "nothing.gif").write_bytes(b"")
        (source / "scan of a map.tiff").write_bytes(picture(5, kind="TIFF"))
        (source / "a dog.png").write_bytes(picture(1))
        result = add_folder(source)
        assert result.added == 1
        assert {name.split(".")[0]: reason for name, reason in result.failed.items()} == {
            "a bomb": "it has 60000 x 60000 pixels, more than 50000000",
            "a short one": "its PNG data end too early",
            "a drawing": "it is a PostScript document",
            "a page": "it is a web page (HTML)",
            "nothing": "it is empty",
            "scan of a map": "it is a TIFF picture, which is not read here",
        }

    def test_huge_files_are_not_read(self, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with (source / "a film.png").open("wb") as file:
            file.truncate(200_000_000_000)  # sparse
        (source / "a dog.png").write_bytes(picture(1))
        assert add_folder(source).failed == {"a film.png": "200000 MB, more than 100"}

    def test_the_same_bytes_are_taken_once(self, source: Path) -> None:
        for name in ("a dog.png", "b dog.png", "deep/c dog.png"):
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).write_bytes(picture(1))
        result = add_folder(source)
        assert (result.added, result.duplicates) == (1, 2)
        assert "2 are the same as others" in str(result)
        again = add_folder(source)
        assert (again.added, again.known, again.duplicates) == (0, 1, 2)

    def test_a_run_over_many_broken_pictures_names_them_all_in_the_log(self, source: Path) -> None:
        for number in range(30):
            (source / f"broken {number}.png").write_bytes(b"x" * number)
        (source / "IMG_7.png").write_bytes(picture(1))
        result = add_folder(source)
        assert (result.added, result.left_out, result.captionless) == (0, 31, 1)
        assert result.log is not None
        assert len(result.log.read_text().splitlines()) == 31
        assert f"and 21 more: {result.log}" in str(result)
        assert "31 left out (1 for want of a caption)" in str(result)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parquet file and two folders of `save_to_disk`, made by the library itself."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    folder = tmp_path_factory.mktemp("sets")
    columns = {
        "image": [{"bytes": picture(number), "path": f"{number}.png"} for number in range(150)],
        "text": [f"Subject {number}." if number != 5 else " " for number in range(150)],
        "artist": ["Ada"] * 150,
    }
    columns["image"][7] = None  # type: ignore[call-overload]
    columns["image"][8] = {"bytes": b"not a picture", "path": None}  # type: ignore[dict-item]
    columns["image"][9] = columns["image"][0]
    kinds = datasets.Features(
        {"image": datasets.Image(), "text": datasets.Value("string"), "artist": datasets.Value("string")}
    )
    made = datasets.Dataset.from_dict(columns, features=kinds)
    (folder / "empty").mkdir()
    made.to_parquet(folder / "rows.parquet")
    made.save_to_disk(folder / "saved")
    datasets.DatasetDict(train=made, test=made.select(range(20, 30))).save_to_disk(folder / "splits")
    return folder


class TestDataSets:
    def test_a_parquet_file(self, table: Path) -> None:
        columns = Columns(author="column:artist", licence="CC-BY-4.0")
        result = add_data_set(str(table / "rows.parquet"), columns=columns)
        assert (result.added, result.duplicates, result.captionless) == (146, 1, 1)
        assert result.failed == {
            "row 6": "nothing says what it shows",
            "row 8": "column 'image' is empty",
            "row 9": "it is text",
        }
        found = entries()["row 1"]
        assert (found.caption, found.author, found.licence) == ("Subject 0.", "Ada", "CC-BY-4.0")
        assert found.source == "rows.parquet"
        again = add_data_set(str(table / "rows.parquet"), columns=columns)
        assert (again.added, again.known, again.duplicates, again.left_out) == (0, 146, 1, 3)

    def test_what_save_to_disk_made(self, table: Path) -> None:
        assert add_data_set(f"{table / 'splits'}:test").added == 10
        assert add_data_set(str(table / "saved")).duplicates == 11
        assert {each.name for each in corpus.collections()} == {"splits-test", "saved"}

    def test_it_goes_on_at_the_row_where_it_stopped(self, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The marks of every 32nd row are what the library itself calls its state."""
        monkeypatch.setattr(data_sets, "_MARK_EVERY", 32)
        read: list[str] = []
        real = pictures.reduced

        def failing(data: bytes) -> Image.Image:
            read.append("")
            if len(read) == 100:
                raise AssetError("the disk is full")
            return real(data)

        monkeypatch.setattr(pictures, "reduced", failing)
        with pytest.raises(AssetError, match="disk is full"):
            add_data_set(str(table / "rows.parquet"))
        before = len(entries())
        assert 96 <= before + 3 < 104
        result = add_data_set(str(table / "rows.parquet"))
        assert result.resumed == 96
        assert before + result.added == 146
        assert not list((corpus.user_folder() / "progress").iterdir())

    def test_a_mark_of_other_data_is_not_used(self, table: Path) -> None:
        (corpus.user_folder() / "progress").mkdir(parents=True)
        mark = {"key": "another", "rows": 256, "state": {"nonsense": 1}}
        (corpus.user_folder() / "progress" / "saved.json").write_text(json.dumps(mark))
        result = add_data_set(str(table / "saved"))
        assert (result.resumed, result.added) == (0, 146)

    @pytest.mark.parametrize(
        ("name", "columns", "message"),
        [
            ("saved", Columns(caption="txt"), "--caption.*'txt', did you mean 'text'"),
            ("saved", Columns(image="pic"), "--image: the data set has no column 'pic'"),
            ("saved", Columns(licence="column:rights"), "--licence.*'rights'"),
            ("splits:tset", Columns(), "no split 'tset', did you mean 'test'"),
            ("nowhere/to/be/found", Columns(), "there is no file or folder '/"),
            ("empty", Columns(), "without 'hf:'"),
        ],
    )
    def test_what_is_not_there_is_named(self, table: Path, name: str, columns: Columns, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            add_data_set(f"{table}/{name}", columns=columns)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("nofile.parquet", "there is no file or folder 'nofile.parquet'"),
            ("owls/nofile.parquet:test", "there is no file or folder 'owls/nofile.parquet'"),
            ("./owls", "there is no file or folder './owls'"),
            ("~/nothing-of-the-kind", "there is no file or folder"),
            ("a/b/c", "neither a file or folder here nor the name of a data set"),
        ],
    )
    def test_what_is_no_name_on_the_hub_is_not_asked_for_there(
        self, monkeypatch: pytest.MonkeyPatch, name: str, message: str
    ) -> None:
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: pytest.fail("the hub was asked"))
        with pytest.raises(ConfigError, match=message):
            add_data_set(f"hf:{name}")

    def test_columns_have_to_be_named_where_they_cannot_be_guessed(self, tmp_path: Path) -> None:
        datasets = pytest.importorskip("datasets")
        made = datasets.Dataset.from_dict({"a": [picture(1)], "b": ["A dog."]})
        made.to_parquet(tmp_path / "rows.parquet")
        with pytest.raises(ConfigError, match=r"--image; the columns are a, b"):
            add_data_set(str(tmp_path / "rows.parquet"))
        with pytest.raises(ConfigError, match=r"--caption; the columns are a, b"):
            add_data_set(str(tmp_path / "rows.parquet"), columns=Columns(image="a"))
        assert add_data_set(str(tmp_path / "rows.parquet"), columns=Columns(image="a", caption="b")).added == 1

    def test_a_row_names_no_file_but_those_beside_it(self, tmp_path: Path) -> None:
        datasets = pytest.importorskip("datasets")
        (tmp_path / "sets").mkdir()
        (tmp_path / "secret.png").write_bytes(picture(9))
        (tmp_path / "sets" / "a.png").write_bytes(picture(1))
        (tmp_path / "sets" / "b.png").symlink_to(tmp_path / "secret.png")
        names = [
            "a.png",
            "../secret.png",
            str(tmp_path / "secret.png"),
            "b.png",
            "https://example.org/a.png",
            "hf://datasets/a/b.png",
        ]
        made = datasets.Dataset.from_dict(
            {"image": names, "text": [f"Subject {number}." for number in range(len(names))]}
        )
        made.to_parquet(tmp_path / "sets" / "rows.parquet")
        result = add_data_set(str(tmp_path / "sets" / "rows.parquet"))
        assert (result.added, list(result.failed)) == (1, [f"row {number}" for number in range(2, 7)])
        assert all("not beside the data set" in reason for reason in result.failed.values())

    def test_rows_of_the_hub_name_files_of_the_hub_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The hub's file system replaced by one in memory: `huggingface_hub` registers its own as `hf` (its documentation, "HfFileSystem")."""
        datasets = pytest.importorskip("datasets")
        fsspec = pytest.importorskip("fsspec")
        memory = fsspec.filesystem("memory")
        memory.pipe("/datasets/ada/birds/a.png", picture(1))
        monkeypatch.setattr(fsspec, "open", lambda path, mode: memory.open(path.removeprefix("hf:/"), mode))
        names = ["hf://datasets/ada/birds/a.png", "/etc/passwd", "https://example.org/a.png", "file:///etc/passwd"]
        rows = datasets.Dataset.from_dict({"image": names, "text": [f"Bird {number}." for number in range(4)]})

        def load(name: str, subset: object, *, split: str, streaming: bool) -> object:
            assert (name, subset, split, streaming) == ("ada/birds", None, "train", True)
            return rows.to_iterable_dataset()

        monkeypatch.setattr(datasets, "load_dataset", load)
        result = add_data_set("ada/birds")
        assert (result.added, list(result.failed)) == (1, ["row 2", "row 3", "row 4"])
        assert entries()["row 1"].source == "https://huggingface.co/datasets/ada/birds"

    def test_a_connection_that_breaks_keeps_what_came(self, monkeypatch: pytest.MonkeyPatch) -> None:
        datasets = pytest.importorskip("datasets")

        def rows() -> object:
            yield {"image": picture(1), "text": "A dog."}
            raise ConnectionError("reset by peer")

        monkeypatch.setattr(
            datasets, "load_dataset", lambda *args, **kwargs: datasets.IterableDataset.from_generator(rows)
        )
        result: Added = add_data_set("ada/birds")
        assert result.added == 1
        assert "row 2 could not be read" in result.stopped
        assert "go on there" in result.stopped

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "datasets", None)
        with pytest.raises(MissingExtra, match=r"llmi-env\[hub\]"):
            add_data_set("ada/birds")

    def test_a_file_that_is_no_parquet(self, tmp_path: Path) -> None:
        (tmp_path / "rows.parquet").write_bytes(b"PAR1nonsense")
        with pytest.raises(ConfigError, match="cannot be opened"):
            add_data_set(str(tmp_path / "rows.parquet"))

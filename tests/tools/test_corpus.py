"""Picture corpora: what ships is whole and free; what a user adds is checked, kept and reported."""

import hashlib
import io
import json
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from llmi_env import embeddings
from llmi_env.errors import AssetError, ConfigError
from llmi_env.tools import corpus, debian_sets
from llmi_env.tools.corpus import Corpus, add_debian, add_folder, pictures

FREE = ("CC0", "CC-BY-", "CC-PDDC", "MIT", "Apache-2.0", "BSD", "LicenseRef-public-domain")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LLMI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(embeddings, "available", lambda: False)  # captions are embedded in test_search


def picture(path: Path, size: tuple[int, int] = (120, 80), colour: str = "teal", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def shipped() -> Corpus:
    return corpus.bundled()


class TestBundled:
    def test_size(self, shipped: Corpus) -> None:
        assert len(shipped.entries) >= 600
        assert len({entry.id for entry in shipped.entries}) == len(shipped.entries)
        assert sum((shipped.folder / entry.file).stat().st_size for entry in shipped.entries) < 20_000_000

    def test_every_file_is_the_one_that_was_described(self, shipped: Corpus) -> None:
        for entry in shipped.entries:
            data = (shipped.folder / entry.file).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry.sha256, entry.id
            with Image.open(io.BytesIO(data)) as image:
                assert max(image.size) <= 320, entry.id
                assert image.mode == "RGB"

    def test_every_file_says_whose_it_is_and_may_be_redistributed(self, shipped: Corpus) -> None:
        listing = (shipped.folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
        for entry in shipped.entries:
            assert all((entry.title, entry.caption, entry.keywords, entry.author, entry.source)), entry.id
            assert entry.licence.startswith(FREE), (entry.id, entry.licence)
            assert not {"NC", "ND"} & set(entry.licence.split("-")), entry.id
            assert entry.licence_url.startswith("https://")
            assert f"| {entry.id} |" in listing

    def test_no_stray_files(self, shipped: Corpus) -> None:
        there = {f"pictures/{path.name}" for path in (shipped.folder / "pictures").iterdir()}
        assert there == {entry.file for entry in shipped.entries}


class TestManifest:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("{", "Expecting"),
            ("[]", "not an object"),
            ('{"id": "a", "file": "a.png"}', "'title' is missing"),
            ('{"id": "a", "file": "../a.png", "title": "A"}', "leads out"),
            ('{"id": "a", "file": "/etc/a.png", "title": "A"}', "leads out"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path: Path, line: str, reason: str) -> None:
        (tmp_path / "manifest.jsonl").write_text('{"id": "ok", "file": "ok.png", "title": "Ok"}\n' + line + "\n")
        with pytest.raises(AssetError, match=f"line 2.*{reason}"):
            Corpus.load(tmp_path)

    def test_no_manifest(self, tmp_path: Path) -> None:
        with pytest.raises(AssetError, match=r"manifest\.jsonl"):
            Corpus.load(tmp_path / "nowhere")


class TestAddFolder:
    def test_captions_from_every_place(self, tmp_path: Path) -> None:
        source = tmp_path / "in"
        picture(source / "red_barnOwl-02.png", colour="red")
        picture(source / "DSC_0001.jpg", colour="blue")
        (source / "DSC_0001.txt").write_text("A heron on a pier.\n")
        picture(source / "b.webp", colour="green")
        (source / "b.json").write_text(
            json.dumps(
                {"title": "Bee", "caption": "A bee.", "keywords": ["insect"], "author": "Me", "licence": "CC0-1.0"}
            )
        )
        picture(source / "deep" / "IMG_7.png", colour="black")
        (source / "captions.csv").write_text("file,title,caption\ndeep/IMG_7.png,Night,A black night.\n")
        picture(source / "img8.png", colour="white")
        (source / "captions.jsonl").write_text('{"file": "img8.png", "caption": "Snow, everywhere."}\n')
        result = add_folder(source)
        assert (result.added, result.failed) == (5, {})
        entries = {entry.title: entry for entry in Corpus.load(corpus.user_folder()).entries}
        assert set(entries) == {"red barn Owl 02", "A heron on a pier.", "Bee", "Night", "Snow, everywhere."}
        assert (entries["Bee"].author, entries["Bee"].licence, entries["Bee"].keywords) == (
            "Me",
            "CC0-1.0",
            ("insect",),
        )
        assert entries["Night"].caption == "A black night."
        assert entries["Night"].licence == "unknown"

    def test_pictures_are_reduced_upright_and_whole(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[274] = 6  # turned by 90 degrees
        picture(tmp_path / "in" / "big_field.jpg", size=(3000, 1000), exif=exif)
        add_folder(tmp_path / "in")
        own = corpus.user()
        assert own is not None
        image = own.open(own.entries[0])
        assert image.size == (213, 640)

    def test_again_only_what_is_new_is_taken(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "one cat.png")
        first = add_folder(tmp_path / "in")
        picture(tmp_path / "in" / "two cats.png", colour="red")
        second = add_folder(tmp_path / "in")
        assert (first.added, second.added, second.known) == (1, 1, 1)
        assert "1 pictures added" in str(second)

    def test_goes_on_after_a_stop_in_mid_line(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "one cat.png")
        picture(tmp_path / "in" / "two cats.png", colour="red")
        add_folder(tmp_path / "in")
        manifest = corpus.user_folder() / "manifest.jsonl"
        manifest.write_bytes(manifest.read_bytes()[:-15])
        result = add_folder(tmp_path / "in")
        assert (result.added, result.known) == (1, 1)
        assert len(Corpus.load(corpus.user_folder()).entries) == 2

    def test_bad_files_are_reported_and_do_not_stop_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pictures, "MAX_PIXELS", 100_000)
        source = tmp_path / "in"
        picture(source / "good dog.png")
        picture(source / "huge wall.png", size=(400, 300))
        picture(source / "tiny dot.png", size=(5, 5))
        (source / "fake cat.jpg").write_bytes(b"not a picture")
        whole = picture(source / "cut house.png", size=(200, 200)).read_bytes()
        (source / "cut house.png").write_bytes(whole[: len(whole) // 2])
        picture(source / "IMG_0001.png")
        picture(source / "odd.png")
        (source / "odd.json").write_text("{")
        result = add_folder(source)
        assert result.added == 1
        assert set(result.failed) == {
            "huge wall.png",
            "tiny dot.png",
            "fake cat.jpg",
            "cut house.png",
            "IMG_0001.png",
            "odd.png",
        }
        assert "pixels" in result.failed["huge wall.png"]
        assert "IMG_0001.txt" in result.failed["IMG_0001.png"]
        assert "6 left out" in str(result)

    def test_progress_is_shown(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "one cat.png")
        console = Console(file=io.StringIO(), force_terminal=True)
        add_folder(tmp_path / "in", console=console)
        assert "taking in pictures" in console.file.getvalue()  # type: ignore[attr-defined]

    def test_no_folder_and_no_pictures(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no folder"):
            add_folder(tmp_path / "nowhere")
        with pytest.raises(ConfigError, match="no pictures"):
            add_folder(tmp_path)


def make_rcc(files: dict[str, bytes]) -> bytes:
    """A compiled Qt resource, version 1, with all files in the root and every second one compressed."""
    names, blobs, rows = b"", b"", []
    for number, (name, data) in enumerate(files.items()):
        packed = struct.pack(">I", len(data)) + zlib.compress(data) if number % 2 else data
        rows.append(struct.pack(">IHHHI", len(names), number % 2, 0, 0, len(blobs)))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        blobs += struct.pack(">I", len(packed)) + packed
    tree = struct.pack(">IHII", 0, 2, len(rows), 1) + b"".join(rows)
    head = 20
    offsets = struct.pack(">IIII", 1, head, head + len(tree), head + len(tree) + len(blobs))
    return b"qres" + offsets + tree + blobs + names


class TestDebian:
    def test_reads_qt_resources(self, tmp_path: Path) -> None:
        (tmp_path / "a.rcc").write_bytes(make_rcc({"one.txt": b"first", "zwei.txt": b"second" * 50}))
        assert debian_sets.read_rcc(tmp_path / "a.rcc") == {"one.txt": b"first", "zwei.txt": b"second" * 50}
        (tmp_path / "b.rcc").write_bytes(b"RIFF")
        with pytest.raises(AssetError, match="not a compiled Qt resource"):
            debian_sets.read_rcc(tmp_path / "b.rcc")

    def test_reads_copyright_files(self, tmp_path: Path) -> None:
        (tmp_path / "copyright").write_text(
            "Files: *\nCopyright: 2010 All\nLicense: GPL-3\n\n"
            "Files: src/koala.jpg\n src/frog*.png\nCopyright: 2012 David Iliff <d@example.org>\nLicense: CC-BY-SA-3.0\n"
            "Comment: https://example.org/koala\n\n"
            "Files: src/moose.jpg\nCopyright: Ryan Hagerty\nLicense: public-domain\n"
        )
        stated = debian_sets.licences(tmp_path / "copyright")
        koala = stated.of("src/koala.webp")
        assert koala is not None
        assert (koala.licence, koala.author, koala.comment) == (
            "CC-BY-SA-3.0",
            "David Iliff",
            "https://example.org/koala",
        )
        moose = stated.of("src/moose.webp")
        assert moose is not None
        assert moose.licence == "LicenseRef-public-domain"
        assert stated.of("src/lion.webp") is None

    def test_a_set_is_fetched_and_taken_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With stand-ins for apt-get and dpkg-deb on the path, which put there what the package has."""
        stamps = tmp_path / "package/usr/share/tuxpaint/stamps/animals"
        picture(stamps / "fish/sea_horse.png")
        (stamps / "fish/sea_horse.txt").write_text("A sea horse.\nfr.utf8=Un hippocampe.\n")
        picture(stamps / "nameless.png")
        picture(stamps / "100.png", colour="red")
        (stamps / "100.txt").write_text("A hundred yen coin.\n")
        programs = tmp_path / "bin"
        programs.mkdir()
        (programs / "apt-get").write_text('#!/bin/sh\necho apt >> "$CALLS"; touch "$2_1.0_all.deb"\n')
        (programs / "dpkg-deb").write_text(f'#!/bin/sh\nmkdir -p "$3" && cp -r {tmp_path}/package/* "$3"/\n')
        for program in programs.iterdir():
            program.chmod(0o755)
        monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        assert add_debian("tuxpaint").added == 2
        assert add_debian("tuxpaint").known == 2
        assert (tmp_path / "calls").read_text() == "apt\n"
        own = corpus.user()
        assert own is not None
        assert own.entries[0].title == "A hundred yen coin."
        entry = own.entries[1]
        assert (entry.title, entry.caption, entry.keywords) == ("sea horse", "A sea horse.", ("animals", "fish"))
        assert (entry.licence, entry.source) == ("GPL-2.0-only", "Debian package tuxpaint-stamps-default")

    def test_elsewhere_the_error_says_what_is_missing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(AssetError, match=r"apt-get is not here.*Debian"):
            add_debian("openclipart")

    def test_a_failed_download_says_why(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("apt-get", "dpkg-deb"):
            (tmp_path / name).write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(AssetError, match="Unable to locate package"):
            add_debian("openclipart")

    def test_unknown_set(self) -> None:
        with pytest.raises(ConfigError, match="did you mean 'tuxpaint'"):
            add_debian("tuxpaints")

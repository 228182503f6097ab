"""`llmi corpus`: what it teaches, what it says of its work, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llmi_env import embeddings
from llmi_env.cli import app
from llmi_env.errors import ConfigError
from llmi_env.tools import corpus
from tests.tools.corpus_stand_ins import fill, picture


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LLMI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(embeddings, "available", lambda: False)


def llmi(*arguments: object, says: str | None = None) -> Result:
    return CliRunner().invoke(app, ["corpus", *map(str, arguments)], input=says)


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        ((), ["llmi corpus add ~/Pictures/birds", "hf:", "Ctrl-C stops an add", "remove", "index"]),
        (("add",), ["metadata.jsonl", "NAME.txt", "save_to_disk", "column:NAME", "--link", "tuxpaint"]),
        (("remove",), ["The originals stay"]),
        (("index",), ["Nothing is made twice"]),
    ],
)
def test_help_teaches(arguments: tuple[str, ...], taught: list[str]) -> None:
    output = " ".join(re.sub(r"[│╭╮╰╯─]", " ", llmi(*arguments, "--help").output).split())
    for words in taught:
        assert words in output


def test_from_adding_to_taking_out(tmp_path: Path) -> None:
    source = fill(tmp_path / "birds", range(4))
    (source / "broken.png").write_bytes(b"[red]not a picture")
    (source / "IMG_1.png").write_bytes(picture(9))
    added = llmi("add", source, "--licence", "CC0-1.0", "--author", "Ada", "--name", "my birds")
    assert added.exit_code == 0, added.output
    assert "4 pictures added" in added.output
    assert "2 left out (1 for want of a caption)" in added.output
    made = corpus.user()
    assert made is not None
    assert {(entry.licence, entry.author) for entry in made.entries} == {("CC0-1.0", "Ada")}

    listed = llmi("list").output
    assert "my birds" in listed
    assert "(bundled)" in listed
    assert "every picture is compared" in listed

    assert llmi("remove", "my birds", says="n\n").exit_code == 1
    assert llmi("remove", "my birds", says="y\n").output.splitlines()[-1] == "4 pictures taken out, 0 left"
    assert "0 pictures of your own are indexed" in llmi("index").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add",), "say a folder, a data set"),
        (("add", "x", "--debian", "tuxpaint"), "one of them"),
        (("add", "nowhere"), "there is no folder 'nowhere'"),
        (("add", "hf:x/y", "--link"), "--link is for folders"),
        (("add", "x", "--image", "img"), "--image and --subset are for data sets"),
        (("add", "--debian", "tuxpaint", "--licence", "MIT"), "--debian takes no other option"),
        (("remove", "birds"), "there is no collection 'birds'"),
    ],
)
def test_what_cannot_be_is_said(arguments: tuple[str, ...], message: str) -> None:
    error = llmi(*arguments).exception
    assert isinstance(error, ConfigError)
    assert message in str(error)


def test_a_source_that_breaks_off_ends_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmi_env.errors import AssetError
    from llmi_env.tools.corpus.folders import FolderSource

    real = FolderSource.items

    def broken(self: FolderSource, mark: object = None) -> object:
        yield from list(real(self))[:2]
        raise AssetError("row 3 could not be read; run the same command again to go on there")

    monkeypatch.setattr(FolderSource, "items", broken)
    result = llmi("add", fill(tmp_path / "birds", range(4)))
    assert result.exit_code == 1
    assert "2 pictures added" in result.output
    assert "row 3 could not be read" in result.output

"""Finished documents from a folder: found by name, read whole, and kept inside of it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llmi_env.calls import parse_call
from llmi_env.document import Figure, Picture, Provenance, Text
from llmi_env.episode import StopReason
from llmi_env.errors import ConfigError
from llmi_env.evaluate.benchmark import Item
from llmi_env.evaluate.sources import finished_documents
from llmi_env.evaluate.sources.base import NotWritten, Order, Source, Written
from llmi_env.evaluate.sources.finished_documents import FinishedDocuments
from llmi_env.rollout import NOT_SCORED
from llmi_env.store import read_episodes, write_episodes
from llmi_env.task import Task

Came = dict[tuple[str, int], Written | NotWritten]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two pictures, one of them below it."""
    made = tmp_path / "documents"
    (made / "pictures").mkdir(parents=True)
    Image.new("RGB", (20, 10), "brown").save(made / "owl.png")
    Image.new("RGB", (10, 10), "yellow").save(made / "pictures" / "a bee.jpg")
    return made


def orders(*ids: str, samples: int = 1) -> list[Order]:
    return [Order(Item(Task(f"Write about {name}.", id=name)), sample, 7) for name in ids for sample in range(samples)]


def read(folder: Path, *ids: str, samples: int = 1) -> Came:
    async def run() -> Came:
        source = FinishedDocuments(folder)
        assert isinstance(source, Source)
        came: Came = {}
        await source.write(
            orders(*ids, samples=samples), lambda order, found: came.update({(order.item.id, order.sample): found})
        )
        await source.aclose()
        return came

    return asyncio.run(run())


def written(folder: Path, text: str, suffix: str = ".md") -> Written:
    (folder / f"owls{suffix}").write_text(text, encoding="utf-8")
    (found,) = read(folder, "owls").values()
    assert isinstance(found, Written), found
    return found


def refused(folder: Path, text: str | bytes, suffix: str = ".md") -> str:
    (folder / f"owls{suffix}").write_bytes(text.encode() if isinstance(text, str) else text)
    (found,) = read(folder, "owls").values()
    assert isinstance(found, NotWritten), found
    return found.reason


def test_a_document_with_its_pictures(folder: Path) -> None:
    found = written(folder, "Owls.\n\n![an owl](owl.png)\n\nBees. ![a bee](pictures/a%20bee.jpg)")
    rollout = found.rollout
    first, owl, second, bee = rollout.document
    assert [first, second] == [Text("Owls.\n\n"), Text("\n\nBees. ")]
    assert isinstance(owl, Figure)
    assert isinstance(bee, Figure)
    assert owl.picture == Picture(
        Image.new("RGB", (20, 10), "brown"), Provenance("given", caption="an owl", source="owl.png")
    )
    assert bee.picture is not None
    assert bee.picture.provenance == Provenance("given", caption="a bee", source="pictures/a bee.jpg")
    assert owl.call is not None
    assert (owl.call.tool, owl.call.description) == ("given", "an owl")
    assert parse_call(owl.raw) == owl.call
    assert (rollout.seed, rollout.stop, rollout.report, len(rollout.ledger)) == (7, StopReason.END, NOT_SCORED, 0)
    assert (found.tokens, found.prompt_tokens, found.cost, found.counted) == (0, 0, None, False)


def test_all_three_formats_give_the_same(folder: Path) -> None:
    data = "data:image/png;base64," + base64.b64encode((folder / "owl.png").read_bytes()).decode()
    blocks = ["Owls.\n\n", {"image": "owl.png", "alt": "an owl"}, {"image": data, "alt": "again"}]
    texts = {
        ".md": f"Owls.\n\n![an owl](owl.png)![again]({data})",
        ".html": f"<p>Owls.</p><img src='owl.png' alt='an owl'><img src='{data}' alt='again'>",
        ".json": json.dumps(blocks),
    }
    documents = []
    for suffix, text in texts.items():
        documents.append(written(folder, text, suffix).rollout.document)
        (folder / f"owls{suffix}").unlink()
    assert documents[0] == documents[1] == documents[2]
    assert documents[0].figures[1].picture == Picture(
        documents[0].figures[0].picture.image, Provenance("given", caption="again")
    )  # type: ignore[union-attr]


def test_it_can_be_kept_and_read_again(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rollout = written(folder, '![an "owl" </imgen> \\ 😀](owl.png) <imgen>{}</imgen>').rollout
    write_episodes(tmp_path / "run", "documents", [rollout])
    ((_, again),) = read_episodes(tmp_path / "run")
    assert again == rollout


def test_samples_and_names(folder: Path) -> None:
    for name in ("owls-1", "owls-2", "bees", "a_b_c", "ants.v2"):
        (folder / f"{name}.md").write_text(name)
    came = read(folder, "owls", "bees", "a/b c", "ants.v2", samples=2)
    texts = {key: found.rollout.document.text if isinstance(found, Written) else None for key, found in came.items()}
    assert texts == {
        ("owls", 0): "owls-1",
        ("owls", 1): "owls-2",
        ("bees", 0): "bees",
        ("bees", 1): None,
        ("a/b c", 0): "a_b_c",
        ("a/b c", 1): None,
        ("ants.v2", 0): "ants.v2",
        ("ants.v2", 1): None,
    }
    missing = came["bees", 1]
    assert isinstance(missing, NotWritten)
    assert "no document 'bees-2', did you mean 'bees'?" in missing.reason


def test_names_that_could_mean_two_documents_are_refused(folder: Path) -> None:
    (folder / "owls-1.md").write_text("a")
    with pytest.raises(ConfigError, match=r"'owls-1' may be sample 0 of item 'owls' and sample 0 of 'owls-1'"):
        read(folder, "owls", "owls-1")
    (folder / "owls-1.html").write_text("b")
    (found,) = read(folder, "owls").values()
    assert isinstance(found, NotWritten)
    assert "which one is meant, owls-1.html or owls-1.md?" in found.reason


def test_no_folder_and_no_documents(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        FinishedDocuments(tmp_path / "nowhere")
    with pytest.raises(
        ConfigError, match=r"^documents: names no folder"
    ):  # an empty variable of a shell is not the current folder
        FinishedDocuments("")
    with pytest.raises(ConfigError, match=r"documents:.*: no documents there; ITEM\.md"):
        FinishedDocuments(tmp_path)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nothing.png", "owls.json: there is no picture 'nothing.png'"),
        ("pictures", "there is no picture 'pictures'"),
        ("../secret.png", "'../secret.png' lies outside of the folder"),
        ("pictures/../../secret.png", "lies outside of the folder"),
        ("%2e%2e/secret.png", "lies outside of the folder"),
        ("/etc/passwd", "lies outside of the folder"),
        ("link.png", "lies outside of the folder"),
        ("file:///etc/passwd", "is not fetched"),
        ("https://owls.org/owl.png", "'https://owls.org/owl.png' is not fetched: save the picture beside the document"),
        ("//owls.org/owl.png", "is not fetched"),
        ("http://[owls/owl.png", "is no path of a picture"),
        ("a%00b.png", "there is no picture"),
        ("x" * 5000 + ".png", "there is no picture"),
        ("pipe.png", "there is no picture"),
        ("loop.png", "there is no picture"),
        ("text.png", "text.png: not a readable picture"),
        ("bomb.png", "bomb.png: 5000x5000 pixels"),
        ("data:image/png,plain", "is no picture in base64"),
        ("data:image/png;base64,AAA", "is no base64"),
        ("data:image/png;base64,AAAA", "an embedded picture: not a readable picture"),
    ],
)
def test_pictures_that_are_not_let_in(folder: Path, address: str, said: str) -> None:
    Image.new("RGB", (5, 5)).save(folder.parent / "secret.png")
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "text.png").write_text("no picture")
    Image.new("1", (5000, 5000)).save(folder / "bomb.png")
    os.mkfifo(folder / "pipe.png")
    assert said in refused(folder, json.dumps(["Owls.", {"image": address}]), ".json")


@pytest.mark.parametrize(
    ("text", "suffix", "said"),
    [
        ("", ".md", "owls.md: it is empty"),
        (" \n", ".html", "owls.html: it is empty"),
        (b"Owls \xff", ".md", "owls.md: not UTF-8 at byte 5"),
        ("[7]", ".json", "owls.json: block 0: a text or an object is needed"),
        ("<video src='o.mp4'></video>", ".html", "owls.html: line 1: <video> cannot be read"),
        ("![a](owl.png)" * 65, ".md", "owls.md: more than 64 pictures"),
    ],
)
def test_documents_that_are_not_let_in(folder: Path, text: str | bytes, suffix: str, said: str) -> None:
    assert said in refused(folder, text, suffix)


def test_sizes_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_documents, "_MOST_PIXELS", 300)
    assert "have more than 0 million pixels together" in refused(folder, "![a](owl.png) ![b](owl.png)")
    monkeypatch.setattr(finished_documents, "_MOST_BYTES", 3)
    assert "owls.md is larger than 0 MiB" in refused(folder, "Owls.")


def test_a_document_that_is_a_link_to_elsewhere_is_not_read(folder: Path) -> None:
    (folder.parent / "secret.md").write_text("secret")
    (folder / "owls.md").symlink_to(folder.parent / "secret.md")
    (found,) = read(folder, "owls").values()
    assert isinstance(found, NotWritten)
    assert "owls.md is no file of the folder" in found.reason


def test_the_identity_knows_every_document_with_its_pictures(folder: Path) -> None:
    def identity() -> Any:
        return FinishedDocuments(folder).identity["documents"]

    written(folder, "![an owl](owl.png)")
    (folder / "bees.md").write_text("![gone](gone.png)")
    before = identity()
    assert set(before) == {"owls"}
    assert identity() == before
    Image.new("RGB", (10, 10)).save(folder / "gone.png")
    mended = identity()
    assert set(mended) == {"owls", "bees"}
    assert mended["owls"] == before["owls"]
    Image.new("RGB", (20, 10), "white").save(folder / "owl.png")
    assert identity()["owls"] != before["owls"]
    assert identity()["bees"] == mended["bees"]
    (folder / "bees.md").write_text("Bees.")
    assert identity()["bees"] != mended["bees"]

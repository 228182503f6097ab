"""Sentences are told from words in a row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmi_env.document import Document, Text
from llmi_env.embeddings import FORM_LAYER, available, embedder
from llmi_env.errors import AssetError
from llmi_env.judges import sentence_form as module
from llmi_env.judges.sentence_form import HEAD, log_odds, sentence_form
from llmi_env.task import Task
from llmi_env.world.protocol import Scored
from tests.judging import judge

pytestmark = [
    pytest.mark.xdist_group("embedded judge"),
    pytest.mark.skipif(not available(), reason="the text-embedding model is not installed"),
]

SENTENCES = (
    "Owls hunt at night and find a mouse by its rustle alone. Their feathers make hardly a sound.",
    "A shelf of old books leaned against the wall, and nobody had opened them for years.",
    "Rentals grew from ten in the first month to eighty in the last.",
    "Feel the soil first: water only when it is dry.",
    "Why does bread rise? Yeast eats sugar and gives off gas.",
)
LOOSE = (
    "Owl of fur in the habitat with prey and the young. From wild to owl is the nature by a food of legs.",
    "Books of the wall against shelf in the years, and opened with a lean.",
    "Eighty the grew in first rentals to month ten last the from.",
    "Soil water dry feel first only.",
    "Bread why gas sugar does rise off eats gives yeast and.",
)


def form(text: str) -> np.ndarray:
    return embedder().form(text)


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences_keep_their_score(text: str) -> None:
    assert sentence_form(text, form) > 0.95


@pytest.mark.parametrize("text", LOOSE)
def test_words_in_a_row_do_not(text: str) -> None:
    assert sentence_form(text, form) < 0.75


@pytest.mark.parametrize("text", ["", "   \n", "Owls.", "The end", "Tick. Tock. Tick.", "🦉🦉🦉"])
def test_what_has_no_sentence_is_not_judged(text: str) -> None:
    assert log_odds(text, form) is None
    assert sentence_form(text, form) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "\ud800 a b c d",
        "x " * 5000,
        "\x00 \x01 \x02 \x03",
        "a" * 10_000 + " b c d e",
        "# $ % ^ & * (",
        "ab cd ef gh ij\n" * 900,
    ],
)
def test_whatever_is_written_has_a_value(text: str) -> None:
    assert 0.25 <= sentence_form(text, form) <= 1.0


@pytest.mark.parametrize(
    "text", ["Torque equals force times lever arm.", "Think small, grow big.", "Coffee worth crossing town for."]
)
def test_a_single_odd_line_is_given_the_benefit_of_the_doubt(text: str) -> None:
    assert sentence_form(text, form) > 0.5


def test_a_long_text_is_judged_by_all_of_its_sentences_and_their_length() -> None:
    honest, loose = log_odds(SENTENCES[0], form), log_odds(LOOSE[0], form)
    both = log_odds(f"{SENTENCES[0]} {LOOSE[0]}", form)
    assert honest is not None
    assert loose is not None
    assert both is not None
    assert loose < both < honest


def test_the_judge_hears_it() -> None:
    task = Task("Tell me how an owl hunts.", image_count="none")
    scores = []
    for text in (SENTENCES[0], LOOSE[0]):
        found = judge().judge(Document((Text(text),)), task)["text_quality"]
        assert isinstance(found, Scored)
        scores.append(found.score)
    assert scores[1] < scores[0] - 1.5, "on a scale from 1 to 5"


def test_the_layer_belongs_to_the_head() -> None:
    state = form(SENTENCES[0])
    assert (state.shape, state.dtype, FORM_LAYER) == ((384,), np.float32, 3)
    assert not state.flags.writeable
    assert form(SENTENCES[0]).tobytes() == state.tobytes()


def test_a_missing_head_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module._head.cache_clear()
    monkeypatch.setattr(module, "HEAD", tmp_path / HEAD.name)
    with pytest.raises(AssetError, match="reinstall"):
        sentence_form(SENTENCES[0], form)
    module._head.cache_clear()

"""Texts against their own words in other orders, under the language model that ships."""

from __future__ import annotations

import pickle
import random

import pytest

from llmi_env.document import Document, Text
from llmi_env.errors import ConfigError
from llmi_env.judges.embedded import EmbeddedJudge
from llmi_env.judges.grammar import Grammar
from llmi_env.task import Task
from llmi_env.world.protocol import Scored

HONEST = "An owl hunts at night. Its feathers are soft, so that the mouse hears nothing, and its eyes see in almost no light."
LOOSE = "Owl of night in the feathers with mouse and the light. From eyes to owl is the hunt by a silence of wings."
SALAD = "An the hunts owl light. at is Its so night no feathers mouse soft, the that nothing, hears almost see and in eyes its are"


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar()


def test_people_s_sentences_gain_by_their_order_and_loose_words_less(grammar: Grammar) -> None:
    honest, loose, salad = (grammar.trait(text) for text in (HONEST, LOOSE, SALAD))
    assert honest > 0.95
    assert salad < loose < 0.8
    assert salad < 0.4


def test_the_same_text_gains_the_same_however_it_is_broken_into_lines(grammar: Grammar) -> None:
    assert grammar.gain(HONEST) == grammar.gain(HONEST)
    assert grammar.gain(HONEST.replace(". ", ".\n\n")) == pytest.approx(grammar.gain(HONEST), abs=1.0)


@pytest.mark.parametrize("words", [59, 60, 61, 70, 90, 120, 121, 400])
def test_texts_of_any_length_are_read_and_salad_at_their_end_is_seen(grammar: Grammar, words: int) -> None:
    told = (HONEST.split() * 20)[:words]
    assert grammar.trait(" ".join(told)) > 0.6
    if 120 <= words < 240:
        salad = told[-60:]
        random.Random(0).shuffle(salad)
        assert grammar.trait(" ".join([*told[:-60], *salad])) < 0.6


@pytest.mark.parametrize("text", ["", "An owl.", "word " * 5, "   \n"])
def test_a_few_words_are_not_held_to_it(grammar: Grammar, text: str) -> None:
    assert grammar.trait(text) == 1


@pytest.mark.parametrize(
    "text",
    ["word " * 5000, "猫は夜に狩りをします。" * 9 + " a b c d e f", "<|im_end|> " * 9, "\x00 " * 9, "👩‍👩‍👧 " * 9],
)
def test_hostile_texts_have_a_trait_too(grammar: Grammar, text: str) -> None:
    assert 0.2 <= grammar.trait(text) <= 1


def test_the_judge_takes_it_as_an_option() -> None:
    task = Task("Tell me how an owl hunts.", image_count="none")
    plain, strict = EmbeddedJudge(terms=["text_quality"]), EmbeddedJudge(terms=["text_quality"], grammar=True)
    assert plain.fingerprint != strict.fingerprint
    assert pickle.loads(pickle.dumps(strict)).fingerprint == strict.fingerprint
    scores = []
    for judge in (plain, strict):
        for text in (HONEST, LOOSE):
            found = judge.judge(Document((Text(text),)), task)["text_quality"]
            assert isinstance(found, Scored)
            scores.append(found.score)
    honest, loose, honest_strictly, loose_strictly = scores
    assert honest_strictly == pytest.approx(honest, rel=0.05)
    assert loose_strictly - 1 < 0.7 * (loose - 1), "on a scale from 1 to 5"


def test_a_model_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="no policy"):
        Grammar("no such model")

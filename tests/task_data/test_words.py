"""Words, common runs and near copies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from llmi_env.task_data.words import Neighbours, SharedRuns, grams, words

SEAHORSE = "My daughter has never seen a seahorse. Let her see a true one and say how it swims."


def test_words_are_what_a_reader_sees() -> None:
    assert words("The Owl's EYES\u200b — ｆｕｌｌ\u202e ½") == ["the", "owl", "s", "eyes", "full", "1", "2"]
    assert words("оwl") == ["owl"]  # a Cyrillic letter
    assert words("猫头鹰 in 東京") == ["猫", "头", "鹰", "in", "東", "京"]
    assert words(" ... ") == []


def test_the_greatest_share_is_found_and_its_longest_run() -> None:
    runs = SharedRuns(["Something else altogether, with many words of its own.", SEAHORSE])
    found = runs.most("My daughter has never seen a Komodo dragon. Let her see a true one and say how it swims.")
    assert found is not None
    assert (found.index, found.run) == (1, "let her see a true one and say how it swims")
    assert found.share == 11 / 18
    assert runs.most("Let her see a true one, and tell me how it swims.") is None  # runs of seven


def test_short_texts_count_as_a_whole() -> None:
    runs = SharedRuns(["Write about owls.", "Owls"])
    assert runs.most("Write about owls, please!") is not None
    assert runs.most("I would like you to write about owls and their young in spring.") is None
    assert runs.most("") is None
    assert SharedRuns(["", "..."]).most("...") is None


@given(some.lists(some.lists(some.sampled_from("abcd"), max_size=9), max_size=12), some.sampled_from([0.5, 0.7, 0.9]))
def test_near_copies_are_found_exactly(texts: list[list[str]], least: float) -> None:
    """The quick way finds what comparing each with each finds."""
    given_texts = [" ".join(text) for text in texts]
    alike = Neighbours.of(given_texts, least)
    plain = Neighbours(least)
    sets: list[set[tuple[str, ...]]] = []
    for text in given_texts:
        own = set(grams(words(text), 2))
        scores = [len(own & other) / len(own | other) if own | other else 0.0 for other in sets]
        best = max(scores, default=0.0)
        wanted = (scores.index(best), best) if best >= least else None
        assert alike.nearest(text) == wanted
        assert plain.nearest(text) == wanted
        alike.add(text)
        plain.add(text)
        sets.append(own)

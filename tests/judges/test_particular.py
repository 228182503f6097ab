"""What could be said of anything is told from what belongs to its question."""

from __future__ import annotations

import pytest

from llmi_env.embeddings import available, embed
from llmi_env.judges.particular import other_questions, particular, without_words_of
from llmi_env.judges.relevance import Meanings
from llmi_env.task_sets import load_tasks

needs_model = pytest.mark.skipif(not available(), reason="the text-embedding model is not installed")
pytestmark = pytest.mark.xdist_group("embedded judge")
MEANINGS = Meanings(embed)
OWLS = "Write about barn owls, with a photo."
FORMS = (
    "Whoever has had a closer look at {} knows how much there is still to discover.",
    "Hardly any subject has moved so many people as {}, in the past as well as today.",
    "{} can be seen here, and it speaks for itself.",
)


@needs_model
@pytest.mark.parametrize(
    ("question", "subject", "told"),
    [
        (OWLS, "barn owls", "They hunt by ear at night, fly without a sound and swallow mice whole."),
        (
            "Tell tourists about the Eiffel Tower.",
            "the Eiffel Tower",
            "It is 330 metres of iron above the Seine in Paris.",
        ),
        (
            "Chart our rainfall: 80, 60, 30 mm.",
            "rainfall",
            "Spring is the wettest season, with 80 mm; the summer stays dry.",
        ),
        (
            "Draw a dragon for a bedtime story.",
            "a dragon",
            "The little dragon was afraid of the dark, so the moon sang him to sleep.",
        ),
    ],
)
def test_what_is_told_of_a_subject_is_particular_and_a_form_is_not(question: str, subject: str, told: str) -> None:
    forms = [particular(form.format(subject), question, MEANINGS) for form in FORMS]
    assert sum(forms) / len(forms) + 0.4 < particular(told, question, MEANINGS)


@needs_model
def test_sentences_that_fit_anything_take_from_one_that_does_not() -> None:
    told = "They hunt by ear at night and fly without a sound."
    padded = f"{told} There is of course much more to it. People see that in many ways."
    assert particular(padded, OWLS, MEANINGS) < 0.8 * particular(told, OWLS, MEANINGS)


def test_words_of_the_question_are_taken_out_in_any_form() -> None:
    assert without_words_of("The owl wrote: barns are warm.", "Write about barn owls.") == "The wrote : are warm ."
    assert without_words_of("A nice picture of the thing.", "Owls?") == "A of the ."


@needs_model
def test_a_text_of_nothing_but_the_questions_words() -> None:
    assert particular("Barn owls, barn owls.", "Write about barn owls.", MEANINGS) < 0.4


def test_the_other_questions_are_no_tasks_of_ours() -> None:
    bundled = {task.question for split in ("train", "validation", "heldout") for task in load_tasks(split)}
    assert len(set(other_questions())) >= 60
    assert not bundled & set(other_questions())

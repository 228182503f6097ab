"""Declared corruptions: each makes a good document worse in one known way, so that a judge can be asked which is the better one.

A corruption says which judged terms it ought to lower and nothing about how much. Used by the calibration of judges
(`llmi_env.judges.calibration`) and by tests.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmi_env.judges.corruptions import calls, pictures, text
from llmi_env.judges.corruptions.making import Sample, Spoil, make_figure, one_text, with_figures

__all__ = ["CORRUPTIONS", "Corruption", "Sample", "Spoil", "make_figure", "one_text", "with_figures"]


@dataclass(frozen=True)
class Corruption:
    """One way to make a document worse.

    Attributes:
        name: as tables show it.
        lowers: the judged terms that ought to fall.
        spoil: makes the worse document, or gives `None` where this cannot be done to it.
        redraw: charts whose code it changed must be drawn anew, by whoever has tools.
    """

    name: str
    lowers: tuple[str, ...]
    spoil: Spoil
    redraw: bool = False


_TEXT = ("text_quality",)
_CALLS = ("call_quality",)
_PIXELS = ("image_quality",)
_FIT = ("task_relevance", "text_image_relevance")

CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption("off-topic text", _TEXT, text.off_topic),
    Corruption("half off-topic", _TEXT, text.half_off_topic),
    Corruption("shuffled words", _TEXT, text.shuffled_words),
    Corruption("shuffled paragraphs", _TEXT, text.shuffled_paragraphs),
    Corruption("repeated text", _TEXT, text.repeated_text),
    Corruption("copied question", _TEXT, text.copied_question),
    Corruption("lead-in", _TEXT, text.lead_in),
    Corruption("note to the judge", _TEXT, text.note_to_judge),
    Corruption("keywords only", _TEXT, text.keywords_only),
    Corruption("cut short", _TEXT, text.cut_short),
    Corruption("scrambled letters", _TEXT, text.scrambled_letters),
    Corruption("typing errors", _TEXT, text.typing_errors),
    Corruption("wrong numbers told", _TEXT, text.wrong_numbers_told),
    Corruption("vague calls", _CALLS, calls.vague_calls),
    Corruption("wrong tool", _CALLS, calls.wrong_tool),
    Corruption("same call again", _CALLS, calls.same_call_again),
    Corruption("announced calls", _CALLS, calls.announced_calls),
    Corruption("calls in fences", _CALLS, calls.calls_in_fences),
    Corruption("one unreadable call", _CALLS, calls.one_unreadable_call),
    Corruption("calls of another document", (*_CALLS, *_FIT), calls.calls_of_another_document),
    Corruption("blank", _PIXELS, pictures.blank),
    Corruption("tiny", _PIXELS, pictures.tiny),
    Corruption("blurred", _PIXELS, pictures.blurred),
    Corruption("washed out", _PIXELS, pictures.washed_out),
    Corruption("enlarged from 14 pixels", _PIXELS, pictures.enlarged),
    Corruption("noisy", _PIXELS, pictures.noisy),
    Corruption("stretched", _PIXELS, pictures.stretched),
    Corruption("another picture found", _FIT, pictures.another_picture_found),
    Corruption("another prompt drawn", _FIT, pictures.another_prompt_drawn),
    Corruption("another chart plotted", _FIT, pictures.another_chart_plotted),
    Corruption("wrong picture", _FIT, pictures.wrong_picture),
    Corruption("wrong numbers plotted", ("text_image_relevance",), pictures.wrong_numbers_plotted, redraw=True),
    Corruption("swapped pictures", ("text_image_relevance",), pictures.swapped_pictures),
    Corruption("misplaced figures", ("text_image_relevance",), pictures.misplaced_figures),
    Corruption("extra picture", (*_CALLS, *_FIT), pictures.extra_picture),
    Corruption("missing pictures", _FIT, pictures.missing_pictures),
    Corruption("one picture missing", ("task_relevance",), pictures.one_picture_missing),
)
"""Every corruption, those of text first, then calls, then pictures."""

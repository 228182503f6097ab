from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llmi_env.document import Document, Failure, Figure, Picture, Provenance, Text
from llmi_env.episode import CallRequest, Episode, Limits, StopReason
from llmi_env.errors import EpisodeOver
from llmi_env.task import Task
from tests.streams import DIFFUSION, FRAGMENTS, HERMES, SEARCH, cut, edit, random_stream

TASK = Task("Write about owls.")
PICTURE = Picture(Image.new("RGB", (4, 4), "red"), Provenance("test"))


def write(pieces: list[str], limits: Limits | None = None, task: Task = TASK) -> tuple[Episode, list[CallRequest]]:
    episode = Episode(task, limits)
    requests: list[CallRequest] = []
    for piece in pieces:
        if episode.stop is not None:
            break
        requests += episode.write(piece)
    return episode, requests + episode.end()


def test_a_document_of_text_and_a_figure() -> None:
    episode, (request,) = write(["Owls. ", SEARCH, " The end."])
    assert (request.index, request.call.tool, dict(request.call.params)) == (0, "search", {"query": "owl"})
    assert not episode.done
    episode.deliver(0, PICTURE)
    assert episode.done
    text, figure, rest = episode.document
    assert (text, rest) == (Text("Owls. "), Text(" The end."))
    assert isinstance(figure, Figure)
    assert figure.picture == PICTURE
    assert episode.document.to_source() == f"Owls. {SEARCH} The end."


def test_figures_stand_in_the_order_written_whatever_order_outcomes_come_in() -> None:
    episode, requests = write([SEARCH, DIFFUSION, HERMES])
    failure = Failure.of("search", "timeout", "late")
    episode.deliver(2, failure)
    episode.deliver(0, PICTURE)
    assert list(episode.pending) == [1]
    episode.deliver(1, PICTURE)
    assert [request.index for request in requests] == [0, 1, 2]
    assert [figure.outcome for figure in episode.document.figures] == [PICTURE, PICTURE, failure]
    assert [figure.tag for figure in episode.document.figures] == ["imgen", "imgen", "tool_call"]


def test_an_outcome_nobody_awaits_is_refused() -> None:
    episode, _ = write([SEARCH, "<imgen>bad</imgen>"])
    episode.deliver(0, PICTURE)
    for index in (0, 1, 2, -1):
        with pytest.raises(KeyError):
            episode.deliver(index, PICTURE)


def test_what_cannot_be_read_or_done_is_a_figure_that_failed() -> None:
    episode, requests = write(
        ["<imgen>oops</imgen>", '<imgen>{"source": "paint", "description": "", "params": {}}</imgen>']
    )
    assert not requests
    failures = [figure.failure for figure in episode.document.figures]
    assert [failure and (failure.kind, failure.fault) for failure in failures] == [
        ("malformed", "policy"),
        ("unknown_tool", "policy"),
    ]


def test_an_unclosed_call_is_a_malformed_figure() -> None:
    episode, requests = write(["Owls ", SEARCH.removesuffix("</imgen>")])
    (figure,) = episode.document.figures
    assert not requests
    assert not figure.closed
    assert figure.failure is not None
    assert figure.failure.kind == "malformed"


def test_calls_in_thoughts_do_not_count() -> None:
    episode, requests = write([f"<think>{SEARCH}</think>Owls"])
    assert (requests, episode.document) == ([], Document((Text("Owls"),)))


class TestEdits:
    def test_an_edit_points_at_inputs_and_earlier_figures_only(self) -> None:
        task = Task("Change it.", images=(PICTURE,))
        episode, requests = write([edit(0), edit(1), edit(2), edit(3), edit(4), edit(-1)], task=task)
        # Of figure i only the input (0) and the i figures before it, numbered from 1, can be changed: not itself, not a later one.
        assert [(request.index, request.depends_on, len(request.inputs)) for request in requests] == [
            (0, None, 1),
            (1, 0, 0),
            (2, 1, 0),
            (3, 2, 0),
            (4, 3, 0),
        ]
        (failed,) = [figure.failure for figure in episode.document.figures if figure.failure]
        assert failed.kind == "bad_params"

    @pytest.mark.parametrize("index", [0, 1, 2, 9])
    def test_itself_and_later_ones_are_bad_params(self, index: int) -> None:
        episode, requests = write([edit(index), SEARCH, SEARCH])
        assert [request.index for request in requests] == [1, 2]
        failure = episode.document.figures[0].failure
        assert failure is not None
        assert failure.kind == "bad_params"

    def test_an_earlier_figure_that_failed_can_be_pointed_at(self) -> None:
        _, requests = write(["<imgen>bad</imgen>", edit(0)])
        assert [(request.index, request.depends_on) for request in requests] == [(1, 0)]


class TestLimits:
    def test_characters(self) -> None:
        episode = Episode(TASK, Limits(characters=5))
        episode.write("abcde")
        assert episode.stop is None
        episode.write("f")
        assert episode.stop is StopReason.CHARACTERS
        assert episode.document.text == "abcde"

    def test_calls(self) -> None:
        episode, requests = write([SEARCH + "a" + SEARCH + "b<imgen>bad</imgen>c"], Limits(calls=2))
        assert episode.stop is StopReason.CALLS
        assert len(requests) == 2
        assert episode.document.to_source() == SEARCH + "a" + SEARCH + "b"

    def test_pictures_count_calls_that_can_be_carried_out(self) -> None:
        episode, requests = write(["<imgen>bad</imgen>", SEARCH, "a", SEARCH, "b"], Limits(pictures=1))
        assert episode.stop is StopReason.PICTURES
        assert len(requests) == 1
        assert episode.document.text == "a"

    def test_the_first_reason_stays(self) -> None:
        episode, _ = write(["abc"], Limits(characters=1))
        episode.end(StopReason.ABORTED)
        assert episode.stop is StopReason.CHARACTERS

    def test_after_the_end_nothing_can_be_written(self) -> None:
        episode, _ = write(["abc"])
        with pytest.raises(EpisodeOver, match="end"):
            episode.write("d")
        assert episode.document.text == "abc"

    @pytest.mark.parametrize("value", [-1, True, 1.5, None])
    def test_a_limit_is_a_number(self, value: object) -> None:
        with pytest.raises(ValueError, match=r"limits\.calls"):
            Limits(calls=value)  # type: ignore[arg-type]


def test_seeds_of_calls_are_fixed_by_task_seed_and_index() -> None:
    def seeds(task: Task, seed: int) -> list[int]:
        return [request.seed for request in Episode(task, seed=seed).write(SEARCH + SEARCH)]

    first = seeds(TASK, 1)
    assert first == seeds(Task(TASK.question, id="another id"), 1)
    assert len({*first, *seeds(TASK, 2), *seeds(Task("Write about bees."), 1)}) == 6
    assert all(0 <= seed < 2**31 for seed in first)


def test_lone_surrogates_become_replacement_characters() -> None:
    episode, _ = write(["a\ud83d", "\ude00b"])
    assert episode.document.text == "a\ufffd\ufffdb"


limits = st.builds(Limits, st.integers(1, 400), st.integers(0, 4), st.integers(0, 3))


@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join), st.lists(st.integers(0, 10_000), max_size=12), limits
)
def test_any_cut_of_the_stream_gives_the_same_document(text: str, places: list[int], bounds: Limits) -> None:
    whole, requests = write([text], bounds)
    for pieces in (cut(text, places), list(text)):
        episode, others = write(pieces, bounds)
        assert episode.document == whole.document
        assert others == requests
        assert episode.stop == whole.stop


def _drive(dice: random.Random) -> None:
    text = random_stream(dice)
    episode = Episode(TASK, Limits(characters=dice.choice([50, 1000, 200_000]), calls=dice.choice([1, 24])))
    places = [dice.randrange(len(text) + 1) for _ in range(dice.randint(0, 6))]
    requests: list[CallRequest] = []
    for piece in cut(text, places):
        if episode.stop is not None:
            break
        requests += episode.write(piece)
    requests += episode.end()
    for request in dice.sample(requests, len(requests)):
        episode.deliver(request.index, PICTURE if dice.random() < 0.5 else Failure.of("search", "timeout", "late"))
    assert episode.done
    document = episode.document
    assert all(figure.outcome is not None for figure in document.figures)
    assert not any(
        isinstance(a, Text) and isinstance(b, Text) for a, b in zip(document.blocks, document.blocks[1:], strict=False)
    )


def test_random_streams_never_raise() -> None:
    dice = random.Random(11)
    for _ in range(4000):
        _drive(dice)


@pytest.mark.slow
def test_a_hundred_thousand_random_and_mutated_streams_never_raise_within_thirty_seconds() -> None:
    dice = random.Random(2026)
    start = time.process_time()
    for _ in range(100_000):
        _drive(dice)
    assert time.process_time() - start < 30


def test_the_cost_of_writing_is_linear() -> None:
    def seconds(pieces: int) -> float:
        episode = Episode(TASK, Limits(characters=10**7))
        start = time.process_time()
        for _ in range(pieces):
            episode.write("owl <")
        return time.process_time() - start

    seconds(1000)
    assert min(seconds(40_000) for _ in range(3)) < 12 * min(seconds(8000) for _ in range(3))

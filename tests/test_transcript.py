from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llmi_env.document import Failure, Picture, Provenance, Text
from llmi_env.episode import Episode, Limits, StopReason
from llmi_env.errors import ActionError, EpisodeOver
from llmi_env.ledger import Owner
from llmi_env.task import Task
from llmi_env.tokenizers import ByteTokenizer, HFTokenizer
from llmi_env.transcript import Transcript
from tests.streams import FRAGMENTS, SEARCH

TASK = Task("Write about owls.")
PICTURE = Picture(Image.new("RGB", (4, 4), "red"), Provenance("test", caption="a red square"))
BYTES = ByteTokenizer()
EOS = BYTES.eos_id


def begin(max_tokens: int | None = None, limits: Limits | None = None, prompt: str = "Hi") -> Transcript:
    return Transcript(Episode(TASK, limits), BYTES, BYTES.encode(prompt), max_tokens)


def text_of(ids: list[int]) -> str:
    return bytes(token for token in ids if token < 256).decode()


def test_tokens_become_a_document_and_eos_ends_it() -> None:
    transcript = begin()
    (request,) = transcript.append(BYTES.encode("Owls " + SEARCH))
    assert request.call.tool == "search"
    assert transcript.append([EOS]) == []
    assert transcript.episode.stop is StopReason.END
    assert transcript.ledger.ids == [*BYTES.encode("Hi"), *BYTES.encode("Owls " + SEARCH), EOS]
    assert transcript.ledger.prompt_ids == BYTES.encode("Hi")
    transcript.ledger.check()


def test_logprobs_stand_beside_the_policys_tokens_only() -> None:
    transcript = begin()
    transcript.append(BYTES.encode(SEARCH), [-0.5] * len(SEARCH))
    transcript.episode.deliver(0, PICTURE)
    shown = transcript.inject(0, PICTURE, picture_ids=[1, 1, 1])
    transcript.append([65, EOS], [-1.0, -2.0])
    ledger = transcript.ledger
    ledger.check()
    assert "a red square" in text_of(shown[:-3])
    assert ledger.pictures == [(len(ledger) - 5, 3, PICTURE)]
    assert [p for p in ledger.logprobs if not math.isnan(p)] == [-0.5] * len(SEARCH) + [-1.0, -2.0]
    assert ledger.n_policy == len(SEARCH) + 2
    assert set(ledger.owners) == set(Owner)
    assert [i for i, m in zip(ledger.ids, ledger.policy_mask, strict=True) if m] == [*BYTES.encode(SEARCH), 65, EOS]


class TestRefusedActionsChangeNothing:
    @pytest.mark.parametrize("ids", [[65, 300], [-1], [257], [EOS, 65], [65] * 11])
    def test_ids(self, ids: list[int]) -> None:
        transcript = begin(max_tokens=10)
        transcript.append([65])
        before = pickle.dumps((transcript.ledger, transcript.episode.document))
        with pytest.raises(ActionError):
            transcript.append(ids)
        assert pickle.dumps((transcript.ledger, transcript.episode.document)) == before
        transcript.append([66])
        assert transcript.episode.end() == []
        assert transcript.episode.document.text == "AB"

    @pytest.mark.parametrize("logprobs", [[], [-1.0], [-1.0] * 3])
    def test_logprobs(self, logprobs: list[float]) -> None:
        transcript = begin()
        with pytest.raises(ActionError, match="logprobs"):
            transcript.append([65, 66], logprobs)
        assert transcript.ledger.n_policy == 0

    def test_where_no_token_is_left(self) -> None:
        transcript = begin(max_tokens=0)
        with pytest.raises(ActionError, match="only 0 are left of 0"):
            transcript.append([65])
        assert transcript.ledger.n_policy == 0

    def test_after_the_end(self) -> None:
        transcript = begin()
        transcript.append([EOS])
        with pytest.raises(EpisodeOver):
            transcript.append([65])


def test_the_token_limit_ends_the_document() -> None:
    transcript = begin(max_tokens=5)
    transcript.append(BYTES.encode("abc"))
    assert transcript.tokens_left == 2
    transcript.append(BYTES.encode("de"))
    assert transcript.episode.stop is StopReason.LENGTH
    assert (transcript.tokens_left, transcript.episode.document.text) == (0, "abcde")


def test_half_a_character_at_the_end_is_a_replacement_character() -> None:
    transcript = begin()
    transcript.append(list("a€".encode()[:-1]))
    transcript.append([EOS])
    assert transcript.episode.document.text == "a\ufffd"


def test_a_limit_of_the_episode_stops_in_the_middle_of_a_piece() -> None:
    transcript = begin(limits=Limits(characters=3))
    transcript.append(BYTES.encode("abcdef"))
    assert transcript.episode.stop is StopReason.CHARACTERS
    # The token that went over the limit is the policy's last one; those after it were never taken.
    assert text_of(transcript.ledger.response_ids) == "abcd"


class TestStraddling:
    def test_a_token_that_straddles_the_closing_tag_is_the_policys_and_feedback_follows(self, bpe: Any) -> None:
        tokenizer = HFTokenizer(bpe)
        ids = tokenizer.encode(SEARCH + ". It")
        straddling = next(token for token in ids if bpe.convert_ids_to_tokens(token) in (">.", "</imgen>.", "gen>."))
        at = ids.index(straddling)
        transcript = Transcript(Episode(TASK), tokenizer)
        assert transcript.append(ids[:at]) == []
        (request,) = transcript.append([straddling])
        transcript.episode.deliver(request.index, PICTURE)
        shown = transcript.inject(request.index, PICTURE)
        transcript.append([*ids[at + 1 :], *sorted(tokenizer.eos_ids)])
        ledger = transcript.ledger
        ledger.check()
        assert ledger.ids[: at + 1] == ids[: at + 1]
        assert ledger.owners[at] is Owner.POLICY
        assert ledger.ids[at + 1 : at + 1 + len(shown)] == shown
        assert [block.text for block in transcript.episode.document if isinstance(block, Text)] == [". It"]

    @given(st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join))
    def test_one_token_at_a_time_gives_the_document_of_the_text(self, bpe: Any, text: str) -> None:
        tokenizer = HFTokenizer(bpe)
        whole = Episode(TASK)
        whole.write("".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text))
        whole.end()
        transcript = Transcript(Episode(TASK), tokenizer)
        for token in [*tokenizer.encode(text), *sorted(tokenizer.eos_ids)]:
            transcript.append([token])
        assert transcript.episode.document == whole.document


class TestInject:
    def test_a_picture_that_did_not_come_has_no_tokens_and_nothing_changes(self) -> None:
        transcript = begin()
        with pytest.raises(ValueError, match="no picture"):
            transcript.inject(0, Failure.of("search", "empty", "nothing"), [7])
        assert transcript.ledger.ids == BYTES.encode("Hi")


class TestCopy:
    def test_copies_go_their_own_ways_from_the_middle_of_a_character(self) -> None:
        first = begin(max_tokens=100)
        first.append([*BYTES.encode("Owls "), 0xE2, 0x82], [-1.0] * 7)
        second = first.copy(first.episode.copy())
        first.append([0xAC, EOS])
        second.append([0x63])
        assert (first.episode.document.text, second.episode.document.text) == ("Owls €", "Owls \ufffdc")
        assert (first.ledger.n_policy, second.ledger.n_policy) == (9, 8)
        assert (first.tokens_left, second.tokens_left) == (91, 92)
        second.ledger.check()

    def test_a_ledger_is_enough_to_go_on_from(self) -> None:
        first = begin(max_tokens=100)
        first.append([*BYTES.encode("Owls "), 0xE2, 0x82])
        second = Transcript.of_ledger(first.episode.copy(), BYTES, first.ledger.copy(), first.max_tokens)
        for transcript in (first, second):
            transcript.append([0xAC])
        assert second.episode.document == first.episode.document
        assert second.ledger.ids == first.ledger.ids
        assert second.tokens_left == first.tokens_left


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join), st.sampled_from([None, 30]))
def test_tokens_taken_one_by_one_or_all_at_once_are_the_same(text: str, limit: int | None) -> None:
    ids = [*BYTES.encode(text), EOS][:limit]
    logprobs = [-0.5 * position for position in range(len(ids))]
    single, whole = begin(limit), begin(limit)
    requests = [request for pair in zip(ids, logprobs, strict=True) for request in single.append(pair[:1], pair[1:])]
    assert whole.append(ids, logprobs) == requests
    assert whole.episode.document == single.episode.document
    assert whole.episode.stop is single.episode.stop is not None
    assert [whole.ledger.ids, whole.ledger.owners] == [single.ledger.ids, single.ledger.owners]
    assert whole.ledger.logprobs[2:] == single.ledger.logprobs[2:] == logprobs

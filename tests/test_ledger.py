from __future__ import annotations

import itertools
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmi_env.ledger import Ledger, LedgerError, Owner, Span
from llmi_env.tokenizers import ByteTokenizer, HFTokenizer, Tokenizer
from tests.ledgers import Played, picture, play, text_of

SEEDS = st.integers(0, 2**32)
OWL, BEE = picture(1), picture(2)


CALL_OR_THOUGHT = re.compile(
    r"(<imgen>.*?(?:</imgen>|\Z)|<tool_call>.*?(?:</tool_call>|\Z))|<think>.*?(?:</think>|\Z)", re.DOTALL
)


def without_thoughts(text: str) -> str:
    """What a document keeps of what was written."""
    return CALL_OR_THOUGHT.sub(lambda match: match[1] or "", text)


def sound() -> Ledger:
    """Prompt with a picture, policy, a line and a picture of a tool's, policy."""
    ledger = Ledger()
    ledger.add([1, 2], Owner.PROMPT)
    ledger.add_picture([9, 9], OWL, Owner.PROMPT)
    ledger.add([3], Owner.PROMPT)
    ledger.add([4, 5], Owner.POLICY, [-0.5, -1.5])
    ledger.add([6], Owner.TOOL)
    ledger.add_picture([9, 9, 9], BEE)
    ledger.add_sampled(7)
    return ledger


class TestRandomRollouts:
    """Whatever the policy writes, however its tokens come, and whenever outcomes are shown."""

    def holds(self, tokenizer: Tokenizer, seed: int, placeholder: int, edge: int) -> None:
        seen: list[list[int]] = []

        def check(played: Played) -> None:
            ledger = played.ledger
            ledger.check()
            ledger.check_sampled(played.sampled)
            ledger.check_pictures(played.features, placeholder)
            ledger.check_pictures([count + 2 for count in played.features])
            for earlier in seen:
                ledger.check_prefix(earlier)
            seen.append(ledger.ids.copy())

        played = play(tokenizer, seed, placeholder, edge, check)
        ledger = played.ledger
        assert without_thoughts(text_of(tokenizer, ledger.policy_ids)) == played.transcript.episode.document.to_source()
        assert [p for p, mine in zip(ledger.logprobs, ledger.policy_mask, strict=True) if mine] == played.logprobs
        assert [shown for _, _, shown in ledger.pictures] == played.pictures
        assert all(one.owner is not two.owner for one, two in itertools.pairwise(ledger.spans()))
        assert [owner for start, stop, owner in ledger.spans() for _ in range(start, stop)] == ledger.owners

    @given(SEEDS)
    def test_of_bytes(self, seed: int) -> None:
        self.holds(ByteTokenizer(), seed, placeholder=0xFF, edge=0xFE)  # bytes that no text has

    @settings(max_examples=50)
    @given(SEEDS)
    def test_of_tokens_that_hold_parts_of_tags(self, bpe: Any, seed: int) -> None:
        placeholder, edge = bpe.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>"])
        self.holds(HFTokenizer(bpe), seed, placeholder, edge)


class TestWhatItSays:
    def test_of_its_parts(self) -> None:
        ledger = sound()
        assert (ledger.prompt_ids, ledger.response_ids) == ([1, 2, 9, 9, 3], [4, 5, 6, 9, 9, 9, 7])
        assert (ledger.policy_ids, ledger.n_policy, sum(ledger.policy_mask)) == ([4, 5, 7], 3, 3)
        assert ledger.spans() == [
            Span(0, 5, Owner.PROMPT),
            Span(5, 7, Owner.POLICY),
            Span(7, 8, Owner.TOOL),
            Span(8, 11, Owner.PICTURE),
            Span(11, 12, Owner.POLICY),
        ]
        assert Ledger().spans() == []

    def test_one_token_is_added_as_many_are(self) -> None:
        one, many = Ledger(), Ledger()
        for token in (4, 5):
            one.add_sampled(token, -0.5)
        many.add([4, 5], Owner.POLICY, [-0.5, -0.5])
        assert one == many
        one.add_sampled(6)
        assert math.isnan(one.logprobs[-1])

    def test_a_copy_goes_its_own_way_and_shares_the_pictures(self) -> None:
        ledger = sound()
        made = ledger.copy()
        made.add_picture([9], OWL)
        made.add_sampled(8, -1.0)
        assert pickle.dumps(ledger) == pickle.dumps(sound())
        assert made.ids[: len(ledger)] == ledger.ids
        assert made.pictures[1][2] is BEE
        made.check()


class TestEachCheckFindsWhatItIsFor:
    def test_a_sound_ledger_passes_them_all(self) -> None:
        ledger = sound()
        ledger.check()
        ledger.check_prefix([1, 2, 9, 9, 3, 4, 5])
        ledger.check_prefix([])
        ledger.check_prefix(ledger.ids)
        ledger.check_pictures([2, 3])
        ledger.check_pictures([2, 3], placeholder=9)
        ledger.check_sampled([4, 5, 7])

    @pytest.mark.parametrize(
        ("broken", "said"),
        [
            (lambda ledger: ledger.ids.pop(), "lengths differ: 11 ids, 12 owners"),
            (lambda ledger: ledger.logprobs.append(-1.0), "13 logprobs"),
            (
                lambda ledger: ledger.add([1], Owner.PROMPT),
                "prompt token stands after the prompt, which ends at token 5",
            ),
            (lambda ledger: ledger.logprobs.__setitem__(7, -1.0), r"token 7, .* \(TOOL\), has a logprob"),
            (lambda ledger: ledger.logprobs.__setitem__(0, -1.0), r"token 0, .* \(PROMPT\)"),
            (lambda ledger: ledger.pictures.pop(), "3 tokens are owned by PICTURE, the pictures have 0"),
            (lambda ledger: ledger.pictures.__setitem__(1, (8, 2, BEE)), "the pictures have 2"),
            (lambda ledger: ledger.pictures.__setitem__(1, (7, 3, BEE)), "picture 1: tokens 7 to 10 are not all owned"),
            (lambda ledger: ledger.pictures.__setitem__(0, (4, 2, OWL)), "picture 0: tokens 4 to 6 are not all owned"),
            (lambda ledger: ledger.pictures.__setitem__(0, (-1, 2, OWL)), "picture 0 stands at tokens -1 to 1"),
            (lambda ledger: ledger.pictures.__setitem__(1, (8, 0, BEE)), "picture 1 stands at tokens 8 to 8"),
            (lambda ledger: ledger.pictures.append((12, 3, BEE)), "picture 2 stands at tokens 12 to 15"),
            (lambda ledger: ledger.pictures.append((9, 2, BEE)), "picture 2 stands at tokens 9 to 11"),
            (lambda ledger: ledger.pictures.reverse(), "picture 1 stands at tokens 2 to 4"),
            (
                lambda ledger: ledger.owners.__setitem__(11, Owner.PICTURE),
                "4 tokens are owned by PICTURE, the pictures have 3",
            ),
        ],
    )
    def test_check(self, broken: Callable[[Ledger], object], said: str) -> None:
        ledger = sound()
        broken(ledger)
        with pytest.raises(LedgerError, match=said):
            ledger.check()

    @pytest.mark.parametrize(
        ("earlier", "said"),
        [
            ([1, 2, 8, 9], "token 2 was 8 when the policy saw it and is 9 now"),
            ([2], "token 0 was 2"),
            ([1, 2, 9, 9, 3, 4, 5, 6, 9, 9, 9, 7, 8], "token 12 was 8 .* is not there any more"),
        ],
    )
    def test_check_prefix(self, earlier: list[int], said: str) -> None:
        with pytest.raises(LedgerError, match=said):
            sound().check_prefix(earlier)

    @pytest.mark.parametrize(
        ("features", "placeholder", "said"),
        [
            ([2], None, "1 pictures have features, 2 stand in the ledger"),
            ([2, 4], None, "picture 1, at token 8, has 3 placeholder tokens for 4 features"),
            ([1, 3], 9, "picture 0, at token 2, has 2 placeholder tokens for 1 features"),
            ([2, 3], 8, "picture 0, at token 2, has 0 placeholder tokens"),
        ],
    )
    def test_check_pictures(self, features: list[int], placeholder: int | None, said: str) -> None:
        with pytest.raises(LedgerError, match=said):
            sound().check_pictures(features, placeholder)

    def test_a_policy_that_writes_the_placeholder_itself_is_found(self) -> None:
        ledger = sound()
        ledger.add_sampled(9)
        ledger.check_pictures([2, 3])
        with pytest.raises(LedgerError, match=r"token 12 \(POLICY\) is the placeholder 9"):
            ledger.check_pictures([2, 3], placeholder=9)

    @pytest.mark.parametrize(
        ("sampled", "said"),
        [
            ([4, 5], "token 2 of the policy's: sampled was none, the ledger has 7"),
            ([4, 5, 7, 8], "token 3 of the policy's: sampled was 8, the ledger has none"),
            ([4, 7, 5], "token 1 of the policy's: sampled was 7, the ledger has 5"),
            ([4, 57], r"token 1 .* \(2 sampled, 3 in the ledger\)"),  # one token for two: text that was tokenised again
        ],
    )
    def test_check_sampled(self, sampled: list[int], said: str) -> None:
        with pytest.raises(LedgerError, match=said):
            sound().check_sampled(sampled)

    @pytest.mark.parametrize(("position", "owner"), [(5, Owner.TOOL), (7, Owner.POLICY)])
    def test_a_token_given_to_another_owner_is_found(self, position: int, owner: Owner) -> None:
        ledger = sound()
        ledger.owners[position] = owner
        with pytest.raises(LedgerError, match="of the policy's"):
            ledger.check_sampled([4, 5, 7])

    def test_adding_what_cannot_be_changes_nothing(self) -> None:
        ledger = sound()
        with pytest.raises(LedgerError, match="2 ids but 1 logprobs"):
            ledger.add([1, 2], Owner.POLICY, [-1.0])
        with pytest.raises(LedgerError, match="at least one placeholder"):
            ledger.add_picture([], OWL)
        assert pickle.dumps(ledger) == pickle.dumps(sound())

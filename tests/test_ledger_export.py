from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmi_env.ledger import Ledger, LedgerError, Owner
from llmi_env.ledger_export import to_arrays, to_trl, to_verl
from llmi_env.tokenizers import ByteTokenizer
from tests.ledgers import picture, play

BYTES = ByteTokenizer()
FEATURE, EDGE = 0xFF, 0xFE
SEEDS = st.integers(0, 2**32)
VERL_FIELDS = {  # of verl 0.9.1, read in verl/experimental/agent_loop/agent_loop.py
    "prompt_ids", "response_ids", "response_mask", "response_logprobs", "routed_experts", "multi_modal_data", "reward_score", "num_turns",
    "metrics", "extra_fields", "mm_processor_kwargs", "mm_processor_output",
}  # fmt: skip
OWL, BEE, ANT = picture(1), picture(2), picture(3)


def shown() -> Ledger:
    """Prompt with a picture, three turns of the policy's with feedback between them, and a line that came after the end."""
    ledger = Ledger()
    ledger.add_picture([9], ANT, Owner.PROMPT)
    ledger.add([1, 2], Owner.PROMPT)
    ledger.add([10, 11], Owner.POLICY, [-0.5, -1.5])
    ledger.add([6], Owner.TOOL)
    ledger.add_picture([9, 9], OWL)
    ledger.add([12], Owner.POLICY, [-2.5])
    ledger.add_picture([9, 9, 9], BEE)
    ledger.add([13], Owner.POLICY, [-3.5])
    ledger.add([7], Owner.TOOL)
    return ledger


def plain(*logprobs: float) -> Ledger:
    ledger = Ledger()
    ledger.add([1, 2], Owner.PROMPT)
    ledger.add(range(10, 10 + len(logprobs)), Owner.POLICY, logprobs)
    return ledger


class TestArrays:
    @given(st.lists(SEEDS, max_size=3), st.sampled_from(["response", "all"]))
    def test_every_token_keeps_its_owner_and_logprob(self, seeds: list[int], part: Any) -> None:
        ledgers = [play(BYTES, seed, FEATURE, EDGE).ledger for seed in seeds]
        arrays = to_arrays(ledgers, part, pad_id=-1)
        assert (arrays.ids_BT.dtype, arrays.logprobs_BT.dtype) == (np.int64, np.float32)
        assert arrays.policy_mask_BT.dtype == arrays.padding_mask_BT.dtype == np.bool_
        for row, ledger in enumerate(ledgers):
            begin = ledger.prompt_length if part == "response" else 0
            there = arrays.padding_mask_BT[row]
            width = len(ledger) - begin
            assert there.tolist() == [True] * width + [False] * (len(there) - width)
            assert arrays.ids_BT[row].tolist() == ledger.ids[begin:] + [-1] * (len(there) - width)
            assert arrays.policy_mask_BT[row, :width].tolist() == ledger.policy_mask[begin:]
            np.testing.assert_array_equal(arrays.logprobs_BT[row, :width], np.float32(ledger.logprobs[begin:]))
            assert np.isnan(arrays.logprobs_BT[row, ~arrays.policy_mask_BT[row]]).all()
            assert not arrays.policy_mask_BT[row, width:].any()

    def test_the_longest_sets_the_width(self) -> None:
        arrays = to_arrays([plain(-1.0), plain(-1.0, -2.0)])
        assert arrays.ids_BT.tolist() == [[10, 0], [10, 11]]
        assert arrays.padding_mask_BT.tolist() == [[True, False], [True, True]]
        assert to_arrays([]).ids_BT.shape == (0, 0)


class TestVerl:
    @given(SEEDS, st.none() | st.integers(1, 600))
    def test_every_token_keeps_its_owner_and_pictures_their_tokens(self, seed: int, limit: int | None) -> None:
        played = play(BYTES, seed, FEATURE, EDGE)
        ledger = played.ledger
        output = to_verl(ledger, 0.5, response_length=limit)
        ids = output["prompt_ids"] + output["response_ids"]
        mask = output["response_mask"]
        assert output["prompt_ids"] == ledger.prompt_ids
        assert ledger.ids[: len(ids)] == ids
        assert mask == [int(mine) for mine in ledger.policy_mask[ledger.prompt_length :][: len(mask)]]
        assert len(mask) == len(output["response_ids"]) == len(output["response_logprobs"] or [])
        assert limit is None or len(mask) <= limit
        assert mask[-1] == 1
        assert sum(mask) + output["extra_fields"]["tokens_cut"] == ledger.n_policy
        assert limit is not None or output["extra_fields"]["tokens_cut"] == 0
        sampled = [p for p, mine in zip(output["response_logprobs"] or [], mask, strict=True) if mine]
        assert sampled == played.logprobs[: len(sampled)]
        images = output["multi_modal_data"].get("images", [])
        assert images == [shown.image for shown in played.pictures[: len(images)]]
        assert ids.count(FEATURE) == sum(played.features[: len(images)])

    def test_the_whole_rollout(self) -> None:
        output = to_verl(
            shown(), 0.75, metrics={"tool_calls": 1.5}, extra_fields={"reward_extra_info": {"image_count": 1.0}}
        )
        assert output == {
            "prompt_ids": [9, 1, 2],
            "response_ids": [10, 11, 6, 9, 9, 12, 9, 9, 9, 13],  # without the line that nobody read
            "response_mask": [1, 1, 0, 0, 0, 1, 0, 0, 0, 1],
            "response_logprobs": [-0.5, -1.5, 0.0, 0.0, 0.0, -2.5, 0.0, 0.0, 0.0, -3.5],
            "multi_modal_data": {"images": [ANT.image, OWL.image, BEE.image]},
            "reward_score": 0.75,
            "num_turns": 6,  # the user's, three of the policy's, two of tools
            "metrics": {"tool_calls": 1.5},
            "extra_fields": {"tokens_cut": 0, "reward_extra_info": {"image_count": 1.0}},
        }
        assert output.keys() <= VERL_FIELDS

    @pytest.mark.parametrize("limit", [6, 7, 8, 9])
    def test_a_cut_takes_whole_pictures_and_says_so(self, limit: int, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "llmi_env"):
            output = to_verl(shown(), 0.75, response_length=limit)
        assert output["response_ids"] == [10, 11, 6, 9, 9, 12]
        assert output["multi_modal_data"] == {"images": [ANT.image, OWL.image]}
        assert output["extra_fields"] == {"tokens_cut": 1}
        assert f"cut to 6: the limit is {limit}" in caplog.text

    def test_without_all_logprobs_there_are_none(self) -> None:
        assert to_verl(plain(-1.0, math.nan), 1.0)["response_logprobs"] is None
        # A logprob that is missing from what is cut away does not matter.
        assert to_verl(plain(-1.0, math.nan), 1.0, response_length=1)["response_logprobs"] == [-1.0]

    def test_what_cannot_be_trained_on_is_refused(self) -> None:
        with pytest.raises(LedgerError, match=r"prompt has 3 tokens, verl takes 2: raise data\.max_prompt_length"):
            to_verl(shown(), 1.0, prompt_length=2)
        with pytest.raises(LedgerError, match="no token of the policy's among the 0 after the prompt: leave"):
            to_verl(plain(), 1.0)
        with pytest.raises(LedgerError, match="fits into the limit of 0"):
            to_verl(plain(-1.0), 1.0, response_length=0)
        with pytest.raises(LedgerError, match="reward is nan"):
            to_verl(plain(-1.0), math.nan)

    @pytest.mark.slow
    def test_verl_takes_it(self) -> None:
        pytest.importorskip("verl", reason="verl is not installed")
        from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

        assert set(AgentLoopOutput.model_fields) >= VERL_FIELDS
        exports = [to_verl(shown(), 0.75, metrics={"tool_calls": 1.5}), to_verl(plain(-1.0, math.nan), None)]
        whole, bare = (AgentLoopOutput(**export) for export in exports)
        assert (whole.metrics.tool_calls, whole.metrics.num_preempted) == (1.5, -1)
        tensors = whole.as_dict()
        assert tensors["responses"].tolist() == exports[0]["response_ids"]
        assert tensors["response_mask"].tolist() == exports[0]["response_mask"]
        assert tensors["rollout_log_probs"].tolist() == exports[0]["response_logprobs"]
        # The reward stands on a token of the policy's, where the advantages of PPO find it.
        assert tensors["rm_scores"].nonzero().tolist() == [[9]]
        assert tensors["response_mask"][9] == 1
        assert bare.as_dict().keys() == tensors.keys() - {"rollout_log_probs", "rm_scores"}


class TestTRL:
    @given(st.lists(SEEDS, min_size=1, max_size=3), st.none() | st.integers(1, 600))
    def test_every_token_keeps_its_owner(self, seeds: list[int], limit: int | None) -> None:
        ledgers = [play(BYTES, seed, FEATURE, EDGE, shows_pictures=False).ledger for seed in seeds]
        output = to_trl(ledgers, max_completion_length=limit, reward=[0.5] * len(ledgers))
        assert output["reward"] == [0.5] * len(ledgers)
        assert output["prompt_ids"] == [ledger.prompt_ids for ledger in ledgers]
        for i, ledger in enumerate(ledgers):
            ids, mask = output["completion_ids"][i], output["env_mask"][i]
            assert ledger.response_ids[: len(ids)] == ids
            assert ledger.policy_mask[ledger.prompt_length :][: len(ids)] == [bool(mine) for mine in mask]
            assert [p for p, mine in zip(output["logprobs"][i], mask, strict=True) if mine] == [
                p for p, mine in zip(ledger.logprobs, ledger.policy_mask, strict=True) if mine
            ][: sum(mask)]
            assert mask[-1] == 1
            assert limit is None or len(ids) <= limit
            assert sum(mask) + output["tokens_cut"][i] == ledger.n_policy

    def test_values(self) -> None:
        ledger = plain(-0.5, math.nan)
        ledger.add([6], Owner.TOOL)
        ledger.add([12, 13], Owner.POLICY, [-1.5, -2.5])
        output = to_trl([ledger, plain(-3.0)], max_completion_length=4, reward=[None, 0.25], task=["owls", "bees"])
        assert output == {
            "prompt_ids": [[1, 2], [1, 2]],
            "completion_ids": [[10, 11, 6, 12], [10]],
            "logprobs": [[-0.5, None, 0.0, -1.5], [-3.0]],
            "env_mask": [[1, 1, 0, 1], [1]],
            "tokens_cut": [1, 0],
            "reward": [None, 0.25],
            "task": ["owls", "bees"],
        }

    def test_what_trl_cannot_carry_is_refused(self) -> None:
        with pytest.raises(LedgerError, match="ledger 1 shows pictures"):
            to_trl([plain(-1.0), shown()])
        # The prompt's pictures come from TRL's data set, and those behind the cut are not shown.
        assert to_trl([shown()], max_completion_length=3)["completion_ids"] == [[10, 11]]
        with pytest.raises(LedgerError, match="'reward' has 1 values for 2 ledgers"):
            to_trl([plain(-1.0), plain(-1.0)], reward=[1.0])
        with pytest.raises(LedgerError, match="'env_mask' is filled"):
            to_trl([plain(-1.0)], env_mask=[[1]])
        with pytest.raises(LedgerError, match="no token of the policy's"):
            to_trl([plain()])

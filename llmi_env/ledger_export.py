"""Ledgers in the form that trainers take: padded arrays for the local one, and what verl and TRL expect of a rollout.

Ids go out as they were sampled and shown; no text is tokenised. Neither verl nor TRL is needed here: the fields were read in the sources of
verl 0.9.1 (`AgentLoopOutput` of `verl.experimental.agent_loop`) and TRL 1.16 (`GRPOTrainer._generate`). Where they are installed, the tests
hand the exports to them.

What verl and TRL get ends with the last token that the policy sampled. Feedback behind it trains nothing, and would do harm: verl writes the
reward to the last token and leaves tokens that are not the policy's out of its advantages, TRL takes a response whose last token is not
eos for one that was cut off. A response that is too long is cut there too, so that no picture is halved and none is sent whose tokens are gone;
`tokens_cut` says how many of the policy's tokens that cost.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image

from llmi_env.ledger import Ledger, LedgerError, Owner

_log = logging.getLogger(__name__)
_TRL_FIELDS = ("prompt_ids", "completion_ids", "logprobs", "env_mask", "tokens_cut", "logprob_token_ids")


# --------------------------------------------------------------------------------------------------------------------- arrays


@dataclass(frozen=True, eq=False)
class LedgerArrays:
    """A batch of ledgers, padded on the right. Axes: B ledgers, T tokens of the longest.

    Attributes:
        ids_BT: token ids, int64.
        padding_mask_BT: true where there is a token, bool.
        policy_mask_BT: true where the policy sampled it, bool.
        logprobs_BT: its logprob under the sampling policy, float32; NaN where there is none.
    """

    ids_BT: npt.NDArray[np.int64]
    padding_mask_BT: npt.NDArray[np.bool_]
    policy_mask_BT: npt.NDArray[np.bool_]
    logprobs_BT: npt.NDArray[np.float32]


def to_arrays(
    ledgers: Sequence[Ledger], part: Literal["response", "all"] = "response", pad_id: int = 0
) -> LedgerArrays:
    """Ledgers as arrays.

    Args:
        ledgers: any number.
        part: what follows the prompt, or everything.
        pad_id: what stands in `ids_BT` behind a ledger's end.
    """
    begins = [ledger.prompt_length if part == "response" else 0 for ledger in ledgers]
    lengths = [len(ledger) - begin for ledger, begin in zip(ledgers, begins, strict=True)]
    shape = (len(ledgers), max(lengths, default=0))
    ids_BT = np.full(shape, pad_id, np.int64)
    padding_mask_BT, policy_mask_BT = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    logprobs_BT = np.full(shape, math.nan, np.float32)
    for row, (ledger, begin, length) in enumerate(zip(ledgers, begins, lengths, strict=True)):
        ids_BT[row, :length] = ledger.ids[begin:]
        padding_mask_BT[row, :length] = True
        policy_mask_BT[row, :length] = ledger.policy_mask[begin:]
        logprobs_BT[row, :length] = ledger.logprobs[begin:]
    return LedgerArrays(ids_BT, padding_mask_BT, policy_mask_BT, logprobs_BT)


# ----------------------------------------------------------------------------------------------------------------------- verl


class VerlOutput(TypedDict):
    """Fields of verl's `AgentLoopOutput`; see there, and `to_verl`. N tokens of response."""

    prompt_ids: list[int]
    """The prompt."""
    response_ids: list[int]
    """What the policy sampled and was shown, length N."""
    response_mask: list[int]
    """1 where the policy sampled the token, length N."""
    response_logprobs: list[float] | None
    """Logprobs, 0 where the policy did not sample, length N; `None` unless every sampled token has one."""
    multi_modal_data: dict[str, list[Image.Image]]
    """`images`: the pictures of prompt and response in the order of their tokens; empty without pictures."""
    reward_score: float | None
    """The reward of the whole rollout."""
    num_turns: int
    """Turns of user, policy and tools, as verl counts them."""
    metrics: dict[str, float]
    """Of verl's `AgentLoopMetrics`, seconds: `generate_sequences`, `tool_calls`, `compute_score`."""
    extra_fields: dict[str, Any]
    """`tokens_cut`, and what the caller adds, e.g. `reward_extra_info`; the same keys for every rollout of a batch."""


def to_verl(
    ledger: Ledger,
    reward: float | None,
    *,
    prompt_length: int | None = None,
    response_length: int | None = None,
    metrics: Mapping[str, float] | None = None,
    extra_fields: Mapping[str, Any] | None = None,
) -> VerlOutput:
    """One rollout for verl: in an agent loop, `return AgentLoopOutput(**to_verl(ledger, reward))`.

    Args:
        ledger: of the rollout.
        reward: of the rollout. `None` makes verl's own reward function score it; where the environment has no score, return `[]` from the
            agent loop instead, which leaves the rollout out of batch and group.
        prompt_length: `rollout.prompt_length`, the longest prompt allowed.
        response_length: `rollout.response_length`; what stands beyond it is cut.
        metrics: clock times, see `VerlOutput`.
        extra_fields: further columns of the batch.

    Raises:
        LedgerError: the prompt is too long (cutting it now would train on a context that the policy never saw), nothing of what the policy
            sampled is left, or the reward is not finite.
    """
    if reward is not None and not math.isfinite(reward):
        raise LedgerError(f"the reward is {reward}: a rollout without a score is left out, not exported")
    if prompt_length is not None and ledger.prompt_length > prompt_length:
        raise LedgerError(
            f"the prompt has {ledger.prompt_length} tokens, verl takes {prompt_length}: raise data.max_prompt_length and "
            "rollout.prompt_length, or leave such tasks out"
        )
    begin, end, cut = _response(ledger, response_length)
    mask = ledger.policy_mask[begin:end]
    logprobs = ledger.logprobs[begin:end]
    known = not any(mine and math.isnan(logprob) for mine, logprob in zip(mask, logprobs, strict=True))
    images = [picture.image for start, _, picture in ledger.pictures if start < end]
    return VerlOutput(
        prompt_ids=ledger.ids[:begin],
        response_ids=ledger.ids[begin:end],
        response_mask=[int(mine) for mine in mask],
        response_logprobs=[p if mine else 0.0 for mine, p in zip(mask, logprobs, strict=True)] if known else None,
        multi_modal_data={"images": images} if images else {},
        reward_score=reward,
        num_turns=_turns(mask) + 1,
        metrics=dict(metrics or {}),
        extra_fields={"tokens_cut": cut, **(extra_fields or {})},
    )


# ------------------------------------------------------------------------------------------------------------------------ TRL


class TRLOutput(TypedDict):
    """What a `rollout_func` of TRL's `GRPOTrainer` returns; one entry for each completion."""

    prompt_ids: list[list[int]]
    """The prompts."""
    completion_ids: list[list[int]]
    """What the policy sampled and was shown."""
    logprobs: list[list[float | None]]
    """Logprobs, 0 where the policy did not sample, `None` where it gave none."""
    env_mask: list[list[int]]
    """1 where the policy sampled the token."""
    tokens_cut: list[int]
    """How many of the policy's tokens did not fit."""


def to_trl(
    ledgers: Sequence[Ledger], *, max_completion_length: int | None = None, **fields: Sequence[Any]
) -> dict[str, Any]:
    """Rollouts for TRL: what a `rollout_func(prompts, trainer)` returns.

    Args:
        ledgers: of the rollouts: the generations of the first prompt, those of the second, and so on.
        max_completion_length: `GRPOConfig.max_completion_length`; what stands beyond it is cut.
        **fields: further values, one for each rollout, which TRL hands to the reward functions: with `reward=[...]` a reward function is
            `lambda reward, **kwargs: reward`. `None` there says "no score" to TRL, too.

    Returns:
        The fields of `TRLOutput` and the further ones.

    Raises:
        LedgerError: a response shows pictures (TRL cannot carry them; let feedback be text), nothing of what the policy sampled is left, or
            a further field has a name of TRL's or not one value for each ledger.
    """
    for name, values in fields.items():
        if name in _TRL_FIELDS:
            raise LedgerError(f"the field {name!r} is filled from the ledgers")
        if len(values) != len(ledgers):
            raise LedgerError(f"the field {name!r} has {len(values)} values for {len(ledgers)} ledgers")
    output = TRLOutput(prompt_ids=[], completion_ids=[], logprobs=[], env_mask=[], tokens_cut=[])
    for number, ledger in enumerate(ledgers):
        begin, end, cut = _response(ledger, max_completion_length)
        if any(begin <= start < end for start, _, _ in ledger.pictures):
            raise LedgerError(
                f"the response of ledger {number} shows pictures, which TRL's rollout_func cannot carry: take feedback='text', or verl"
            )
        mask = ledger.policy_mask[begin:end]
        output["prompt_ids"].append(ledger.ids[:begin])
        output["completion_ids"].append(ledger.ids[begin:end])
        output["env_mask"].append([int(mine) for mine in mask])
        output["logprobs"].append(
            [
                0.0 if not mine else None if math.isnan(logprob) else logprob
                for mine, logprob in zip(mask, ledger.logprobs[begin:end], strict=True)
            ]
        )
        output["tokens_cut"].append(cut)
    return {**output, **{name: list(values) for name, values in fields.items()}}


# --------------------------------------------------------------------------------------------------------------------- inside


def _response(ledger: Ledger, limit: int | None) -> tuple[int, int, int]:
    """Where the response begins and, within the limit, where it ends: behind a token of the policy's; and how many of those were cut."""
    begin = ledger.prompt_length
    end = len(ledger) if limit is None else min(len(ledger), begin + limit)
    while end > begin and ledger.owners[end - 1] is not Owner.POLICY:
        end -= 1
    if end == begin:
        raise LedgerError(
            f"no token of the policy's among the {len(ledger) - begin} after the prompt"
            + ("" if limit is None else f" fits into the limit of {limit}")
            + ": leave this rollout out"
        )
    cut = ledger.owners[end:].count(Owner.POLICY)
    if cut:
        _log.warning("a response of %d tokens was cut to %d: the limit is %d", len(ledger) - begin, end - begin, limit)
    return begin, end, cut


def _turns(mask: Sequence[bool]) -> int:
    """Runs of tokens that the policy sampled or did not sample."""
    return sum(1 for i, mine in enumerate(mask) if i == 0 or mine is not mask[i - 1])

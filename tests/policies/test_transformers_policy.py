"""The sampler: exact logprobs, seeds, ends, and rows that wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

from llmi_env.errors import ConfigError
from llmi_env.policies.base import Policy, Sampling
from llmi_env.policies.transformers_policy import TransformersPolicy, draw
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rollout import Rollout, run_rollouts
from llmi_env.task import Task
from llmi_env.world.in_process import InProcessWorld
from trainers.forward import score_responses

TASKS = [Task("Write about owls.", id="owls"), Task("A longer question about bees and flowers.", id="bees")]


@pytest.fixture(scope="module")
def policy(tiny_policy: Path) -> TransformersPolicy:
    return TransformersPolicy.load(tiny_policy)


def roll(policy: TransformersPolicy, world: Any, **options: Any) -> list[Rollout]:
    options = {"max_tokens": 24, "samples": 3} | options
    batch = asyncio.run(run_rollouts(policy, world, HybridReward.preset("llmi"), TASKS, **options))
    return list(batch.rollouts)


class Pages:
    """Rows without an episode: they take so many tokens, and wait after some of them."""

    def __init__(
        self, prompt: Sequence[int], seed: int, length: int, wait_after: int = -1, shown: Sequence[int] = ()
    ) -> None:
        self.prompt_ids, self.seed, self.max_tokens = list(prompt), seed, length
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.context = list(prompt)
        self._wait_after, self._answer, self._unshown = wait_after, list(shown), list[int]()
        self.waiting = False

    @property
    def done(self) -> bool:
        return len(self.tokens) >= self.max_tokens

    def take(self, token: int, logprob: float) -> None:
        assert not self.done
        assert not self.waiting
        self.tokens.append(token)
        self.logprobs.append(logprob)
        self.context.append(token)
        if len(self.tokens) == self._wait_after:
            self.waiting = True
            asyncio.get_running_loop().call_later(0.1, self._arrive)

    def _arrive(self) -> None:
        self.waiting, self._unshown = False, self._answer

    def shown(self) -> Sequence[int]:
        ids, self._unshown = self._unshown, []
        self.context += ids
        return ids

    async def changed(self) -> None:
        await asyncio.sleep(0.01)


def write(policy: TransformersPolicy, *rows: Pages, sampling: Sampling | None = None) -> Any:
    return asyncio.run(policy.write(rows, sampling or Sampling()))


def test_it_is_a_policy(policy: TransformersPolicy) -> None:
    assert isinstance(policy, Policy)


def test_logprobs_are_the_models_own(policy: TransformersPolicy, make_world: Callable[..., InProcessWorld]) -> None:
    rollouts = roll(policy, make_world())
    scored = score_responses(
        policy.model,
        [r.ledger.prompt_ids for r in rollouts],
        [r.ledger.response_ids for r in rollouts],
        policy.tokenizer.vocab_size,
    )
    for row, rollout in enumerate(rollouts):
        rollout.ledger.check()
        sampled = rollout.ledger.logprobs[rollout.ledger.prompt_length :]
        assert scored.logprobs_BT[row, : len(sampled)].tolist() == pytest.approx(sampled, abs=1e-4)


def test_the_same_seed_writes_the_same(policy: TransformersPolicy, make_world: Callable[..., InProcessWorld]) -> None:
    first, again, other = (roll(policy, make_world(), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert [r.ledger.ids for r in first] != [r.ledger.ids for r in other]
    assert len({tuple(r.ledger.ids) for r in first}) == len(first)


def test_what_a_row_writes_does_not_depend_on_the_others(policy: TransformersPolicy) -> None:
    alone = Pages([5, 6, 7], 3, 10)
    write(policy, alone)
    among = Pages([5, 6, 7], 3, 10)
    write(policy, Pages([5, 6], 1, 2), among, Pages([9], 2, 30), Pages([5, 6, 7], 4, 1))
    assert among.tokens == alone.tokens


def test_rows_beyond_the_batch_take_their_turn(tiny_policy: Path) -> None:
    policy = TransformersPolicy.load(tiny_policy, max_rows=2)
    rows = [Pages([5, 6], seed, 3) for seed in range(5)]
    stats = write(policy, *rows)
    assert all(row.done for row in rows)
    assert stats.tokens == 15


def test_a_row_that_waits_is_shown_what_it_waited_for(policy: TransformersPolicy) -> None:
    for others in ([], [Pages([8, 9], 2, 12)]):
        row = Pages([5, 6, 7], 1, 8, wait_after=3, shown=[20, 21, 22])
        stats = write(policy, row, *others)
        response = row.context[len(row.prompt_ids) :]
        assert response[3:6] == [20, 21, 22]
        scored = score_responses(policy.model, [row.prompt_ids], [response], policy.tokenizer.vocab_size)
        own = [0, 1, 2, 6, 7, 8, 9, 10]
        assert scored.logprobs_BT[0, own].tolist() == pytest.approx(row.logprobs, abs=1e-4)
        if not others:
            assert stats.waited > 0.05


def test_new_weights_are_used_after_a_refresh(tiny_policy: Path) -> None:
    policy = TransformersPolicy.load(tiny_policy)
    first, stale, fresh = (Pages([5, 6, 7], 1, 6) for _ in range(3))
    write(policy, first)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    write(policy, stale)
    policy.refresh()
    write(policy, fresh)
    assert stale.logprobs[0] != fresh.logprobs[0]


class TestDraw:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])

    def frequencies(self, sampling: Sampling, draws: int = 4000) -> list[float]:
        marks = [(i + 0.5) / draws for i in range(draws)]
        tokens = [token for token, _ in draw(self.logits.expand(draws, -1), marks, sampling)]
        return [tokens.count(token) / draws for token in range(4)]

    def test_tokens_come_as_often_as_the_model_says(self) -> None:
        assert self.frequencies(Sampling()) == pytest.approx(self.logits.softmax(-1)[0].tolist(), abs=1e-3)

    def test_temperature(self) -> None:
        assert self.frequencies(Sampling(0.5)) == pytest.approx((self.logits * 2).softmax(-1)[0].tolist(), abs=1e-3)

    def test_top_p_keeps_the_likeliest_and_its_logprobs_say_so(self) -> None:
        probabilities = self.logits.softmax(-1)[0].tolist()
        kept = probabilities[1] + probabilities[2]
        assert self.frequencies(Sampling(top_p=0.7)) == pytest.approx(
            [0, probabilities[1] / kept, probabilities[2] / kept, 0], abs=1e-3
        )
        ((token, logprob),) = draw(self.logits, [0.99], Sampling(top_p=0.7))
        assert logprob == pytest.approx(math.log(probabilities[token] / kept), abs=1e-6)

    def test_zero_temperature_takes_the_likeliest(self) -> None:
        ((token, logprob),) = draw(self.logits, [0.01], Sampling(0))
        assert token == 2
        assert logprob == pytest.approx(self.logits.log_softmax(-1)[0, 2].item())

    def test_the_ends_of_the_interval(self) -> None:
        impossible = torch.tensor([[-math.inf, 1.0, -math.inf]])
        for mark in (0.0, 1 - 2**-53):
            assert draw(impossible, [mark], Sampling())[0][0] == 1

    @pytest.mark.parametrize("vocab", [5, 128, 1000])
    def test_it_is_the_token_where_the_cumulated_probability_passes(self, vocab: int) -> None:
        torch.manual_seed(0)
        logits = 4 * torch.randn(64, vocab)
        logits[:, -vocab // 2 :] = -torch.inf  # the mark of the highest draws lies at the very end of what can be drawn
        marks = [*torch.rand(62).tolist(), 0.0, 1.0 - 2**-53]
        drawn = draw(logits, marks, Sampling())
        for row, mark, (token, logprob) in zip(logits.double().softmax(-1), marks, drawn, strict=True):
            assert row[:token].sum() <= mark + 1e-6
            assert row[: token + 1].sum() >= mark - 1e-6
            assert logprob == pytest.approx(math.log(row[token]), abs=1e-5)

    @pytest.mark.parametrize("bad", [{"temperature": -1.0}, {"temperature": math.nan}, {"top_p": 0.0}, {"top_p": 1.1}])
    def test_bad_settings(self, bad: dict[str, float]) -> None:
        with pytest.raises(ConfigError):
            Sampling(**bad)

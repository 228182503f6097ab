"""How documents become tensors and are shared out."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch")

from llmi_env.document import Picture, Provenance  # noqa: E402
from llmi_env.ledger import Ledger, Owner  # noqa: E402
from tests.trainers.test_value_head import batch_of  # noqa: E402
from trainers.batching import Batch, micro_batches, minibatches, padded  # noqa: E402
from trainers.losses import aggregate, kl_penalty, policy_loss  # noqa: E402

LENGTHS = st.dictionaries(st.integers(0, 50), st.integers(1, 300), max_size=30)


@given(LENGTHS, st.integers(1, 9), st.none() | st.integers(1, 900))
def test_every_document_is_in_one_pass_and_no_pass_is_too_large(
    lengths: dict[int, int], documents: int, tokens: int | None
) -> None:
    passes = list(micro_batches(lengths, documents, tokens))
    assert sorted(i for chosen in passes for i in chosen) == sorted(lengths)
    for chosen in passes:
        if tokens is None:
            assert len(chosen) <= documents
        else:
            assert len(chosen) == 1 or len(chosen) * max(lengths[i] for i in chosen) <= tokens


def test_the_longest_documents_come_first_and_together() -> None:
    assert list(micro_batches({0: 10, 1: 90, 2: 11, 3: 100, 4: 500}, 1, 200)) == [[4], [3, 1], [2, 0]]
    assert list(micro_batches({5: 10, 1: 90, 2: 11}, 2)) == [[5, 1], [2]]


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(1, 4), st.integers(1, 3))
def test_groups_stay_together_and_every_epoch_has_all(groups: list[int], parts: int, epochs: int) -> None:
    found = list(minibatches(groups, parts, epochs))
    assert len(found) == parts * epochs
    for epoch in range(epochs):
        mine = found[epoch * parts : (epoch + 1) * parts]
        assert sorted(i for members in mine for i in members) == list(range(len(groups)))
        homes = [{groups[i] for i in members} for members in mine]
        assert sum(map(len, homes)) == len(set().union(*homes))


def test_a_part_of_a_batch_is_cut_to_its_own_length() -> None:
    long, short = batch_of([0.1, None], tool=True), batch_of([0.3])
    mixed = type(long).of([*long.rollouts, *short.rollouts])
    part = mixed.take([2])
    assert mixed.mask_BT.shape == (3, 5)
    assert part.mask_BT.shape == part.advantages_BT.shape == (1, 4)
    assert part.rewards_B.tolist() == [pytest.approx(0.3)]
    assert part.ledgers == short.ledgers
    assert mixed.learnable == [0, 2]
    assert mixed.sampled_BT[1].sum() == 4
    assert math.isnan(mixed.logprobs_BT[0, 2])


def test_numbers_of_some_documents_stand_among_nan() -> None:
    made = padded({1: [1.0, 2.0]}, torch.zeros(2, 3))
    assert made[0].isnan().all()
    assert made[1, :2].tolist() == [1.0, 2.0]
    assert made[1, 2].isnan()


@pytest.mark.parametrize("kind", ["vanilla", "gspo"])
@pytest.mark.parametrize("coefficient", [0.0, 0.1])
def test_what_tools_and_pictures_put_into_the_context_gets_no_gradient(kind: Any, coefficient: float) -> None:
    picture = Picture(Image.new("RGB", (8, 8)), Provenance("test"))
    ledger = Ledger()
    ledger.add([1, 2], Owner.PROMPT)
    ledger.add([3, 4], Owner.POLICY, [-1.0, -2.0])
    ledger.add([5], Owner.TOOL)
    ledger.add_picture([6, 6, 6], picture)
    ledger.add([7], Owner.POLICY, [-0.5])
    rollouts: Any = [SimpleNamespace(ledger=ledger, reward=0.5, group=0)]
    batch = Batch.of(rollouts)
    logprobs_BT = torch.linspace(-3, -1, 7)[None].requires_grad_()
    # As in training: nothing is known of other tokens under the policy that sampled, everything under the reference.
    loss = policy_loss(kind, logprobs_BT, batch.logprobs_BT, torch.tensor([[1.0]]), batch.mask_BT, clip_high=9.0).loss
    loss = loss + coefficient * aggregate(kl_penalty(logprobs_BT, torch.full((1, 7), -2.5)), batch.mask_BT)
    loss.backward()
    assert logprobs_BT.grad is not None
    mine = batch.mask_BT[0].tolist()
    assert mine == [True, True, False, False, False, False, True]
    for t, gradient in enumerate(logprobs_BT.grad[0].tolist()):
        assert (gradient != 0) is mine[t]

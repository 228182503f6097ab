"""From scored documents to the gradient of a pass: what the update and the computations ahead of it have in common.

Which documents are learned from and their advantages depend on their own group only, and passes hold whole groups (`by_group` tells the
exceptions). So the gradient of a pass can be computed as soon as its groups are scored. It is that of a sum; what the recipe divides by, the
tokens or documents of the whole step, is known at the end only and applied then.

Axes: B documents of a step, M of a pass, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainers.batching import Batch, micro_batches
from trainers.losses import aggregate, grpo_advantages, kl_penalty, lighter_below, most_varied, policy_loss
from trainers.recipe import Recipe
from trainers.tally import Tally

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.forward import Scored


def learned_from(recipe: Recipe, batch: Batch) -> Batch:
    """The documents that the recipe learns from; all where that would leave none."""
    if recipe.learn_from is None:
        return batch
    kept = most_varied(batch.rewards_B, batch.groups_B, batch.scored_B, recipe.learn_from)
    return Batch.of([batch.rollouts[i] for i in kept]) if kept else batch


def with_group_advantages(recipe: Recipe, batch: Batch) -> Batch:
    """The batch with the advantages of documents over their group (GRPO, GSPO)."""
    advantages_B = grpo_advantages(batch.rewards_B, batch.groups_B, batch.scored_B, recipe.scale_advantages)
    advantages_B = lighter_below(advantages_B, recipe.negative_weight)
    return replace(batch, advantages_BT=advantages_B[:, None].expand_as(batch.mask_BT))


def active(recipe: Recipe, batch: Batch, rows: Iterable[int]) -> list[int]:
    """Those of the rows that have a gradient: of documents whose advantage is zero there may be none, so they cost no computation."""
    everything = recipe.algorithm == "ppo" or recipe.moves_everything
    return [i for i in rows if everything or bool((batch.advantages_BT[i] != 0).any())]


def by_group(recipe: Recipe) -> bool:
    """Whether passes hold whole groups, so that the gradient of each needs no other group's rewards.

    Not for PPO, whose advantages are whitened over the batch; for passes that are measured in tokens, longest documents first; where the groups
    that are learned from, or come first, are chosen among all; nor where all weights are trained, whose gradients are too large to be kept.
    """
    return (
        recipe.algorithm != "ppo"
        and recipe.lora_rank > 0
        and recipe.minibatches == 1
        and recipe.micro_tokens is None
        and recipe.dynamic_sampling is None
    )


def groups_of_a_pass(recipe: Recipe) -> int:
    """How many groups share a pass, where it holds whole ones: as many as fit, or one that takes several passes."""
    return max(1, recipe.micro_batch // (recipe.learn_from or recipe.samples))


def passes(recipe: Recipe, batch: Batch, rows: Sequence[int]) -> Iterator[list[int]]:
    """Rows that are computed together. Where whole groups are, their numbers tell which, however many documents of them are left."""
    lengths = {i: len(batch.ledgers[i]) for i in rows}
    if not by_group(recipe):
        yield from micro_batches(lengths, recipe.micro_batch, recipe.micro_tokens)
        return
    together: dict[int, dict[int, int]] = {}
    for i, length in lengths.items():
        together.setdefault(int(batch.groups_B[i]) // groups_of_a_pass(recipe), {})[i] = length
    for _, members in sorted(together.items()):
        yield from micro_batches(members, recipe.micro_batch)


@dataclass(frozen=True)
class Surrogate:
    """What is minimised in one pass, as a sum over tokens or documents.

    Attributes:
        loss: a number with a gradient; to be divided by what the recipe's aggregation divides by.
        figures: clipped shares and the like, to be logged.
    """

    loss: Tensor
    figures: Tally


def surrogate(recipe: Recipe, scored: Scored, part: Batch) -> Surrogate:
    """The policy's loss of a pass with the recipe's penalties, from the logprobs of its documents."""
    figures, tokens = Tally(), int(part.mask_BT.sum())
    result = policy_loss(
        "gspo" if recipe.algorithm == "gspo" else "vanilla",
        scored.logprobs_BT,
        part.logprobs_BT,
        part.advantages_BT,
        part.mask_BT,
        clip_low=recipe.clip_low,
        clip_high=recipe.clip_high,
        dual_clip=recipe.dual_clip,
        aggregation=recipe.aggregation,
        of=1.0,
        horizon=recipe.max_tokens,
    )

    def total(values_MT: Tensor) -> Tensor:
        return aggregate(values_MT, part.mask_BT, recipe.aggregation, 1.0, recipe.max_tokens)

    loss = result.loss
    if recipe.kl_coefficient > 0:
        exact_MT = scored.divergences_BT
        penalty_MT = kl_penalty(scored.logprobs_BT, part.reference_BT) if exact_MT is None else exact_MT
        loss = loss + recipe.kl_coefficient * total(penalty_MT)
    if scored.entropies_BT is not None:
        loss = loss - recipe.entropy_bonus * total(scored.entropies_BT)
    figures.mean("clip_fraction", float(result.clip_fraction), tokens)
    figures.mean("dual_clip_fraction", float(result.dual_clip_fraction), tokens)
    figures.mean("approx_kl", float(result.approx_kl), tokens)
    return Surrogate(loss, figures)


def divisor(recipe: Recipe, batch: Batch, rows: Sequence[int]) -> float:
    """What the sums of a minibatch are divided by: its tokens with a score, or its documents."""
    return float(batch.mask_BT[list(rows)].sum()) if recipe.aggregation == "token-mean" else len(rows)


def logprob_error(scored: Scored, part: Batch) -> float:
    """How far the logprobs of the sampler are from the trainer's, before anything has moved: the largest difference."""
    return float((scored.logprobs_BT.detach() - part.logprobs_BT).abs()[part.mask_BT].max())


def divide_gradients(parameters: Iterable[Any], by: float) -> None:
    """Make the gradient of a sum that of a mean, in place."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad /= by

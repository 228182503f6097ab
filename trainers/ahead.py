"""What a step's update needs and not every reward decides: computed while judges still work on other documents.

When the last token is written, the judgment of that document is seconds away at best. So the wait is used. The reference's logprobs need no
reward at all, nor does a forward pass; and the gradient of a pass needs those of its own groups only, of which most are known by then. Nothing
else changes: the update adds up the same gradients in the same order, so the numbers are the same whatever the judges' latency.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmi_env.policies.compute import compute
from trainers.batching import Batch, micro_batches, minibatches, padded
from trainers.forward import Anchors
from trainers.gradient import (
    active,
    by_group,
    groups_of_a_pass,
    learned_from,
    logprob_error,
    passes,
    surrogate,
    with_group_advantages,
)
from trainers.tally import Tally

if TYPE_CHECKING:
    from torch import Tensor

    from llmi_env.ledger import Ledger
    from llmi_env.rollout import Awaited, Rollout
    from trainers.forward import Scored
    from trainers.policy_model import PolicyModel
    from trainers.recipe import Recipe
    from trainers.reference import Compared, Reference

_GRADIENT_BYTES = 1 << 30
"""What gradients that wait for their turn may take: of an adapter of rank 16 on a model of 135 million weights, fifty passes."""


@dataclass(frozen=True)
class EarlyGradient:
    """The gradient of a pass, not divided yet, with what the update would have logged of it.

    Attributes:
        gradients: of the trained parameters, in their order; `None` where there is none.
        loss: the sum that was minimised.
        figures: the rest.
    """

    gradients: Sequence[Tensor | None]
    loss: float
    figures: Tally

    def add_to(self, parameters: Sequence[Any]) -> None:
        """Do to the parameters' gradients what a backward pass would have done."""
        for parameter, gradient in zip(parameters, self.gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


class Ahead:
    """Computations of one step that were done before all of its rewards were known.

    Args:
        model: the policy; its weights must stay as they are until `forget`.
        reference: what it is compared with, if it is.
        recipe: passes, and which documents are compared.
    """

    def __init__(self, model: PolicyModel, reference: Reference | None, recipe: Recipe) -> None:
        from trainers.packed_llama import packed_llama

        self._model, self._reference, self._recipe = model, reference, recipe
        self._known: dict[int, tuple[Ledger, Compared]] = {}  # by the ledger's identity
        self._forward: list[tuple[Sequence[Ledger], Scored]] = []
        self._gradients: list[tuple[Sequence[Ledger], EarlyGradient]] = []
        self._tried: set[int] = set()  # where blocks of groups begin whose gradients are computed
        # Memory may be full with one pass of the plain modules; one of the packed ones takes less than half of theirs.
        self._room = 1 if packed_llama(model.model) is None else 2
        size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters)
        self._gradient_room = _GRADIENT_BYTES // size if by_group(recipe) else 0
        self.taken, self.gradients = 0, 0
        """Forward passes and gradients that were used."""

    async def work(self, awaited: Awaited) -> None:
        """Compute the reference's logprobs, and then gradients and passes for as long as tools and judges need."""
        recipe = self._recipe
        # For the log, one document of each group tells enough; a penalty needs all that are learned from.
        every = recipe.samples if recipe.kl_coefficient == 0 else 1
        if recipe.kl_coefficient == 0 or recipe.learn_from is None:
            await compute(self._compare, [ledger for ledger in awaited.ledgers[::every] if ledger.n_policy])
        if recipe.dynamic_sampling:  # which groups are learned from, is open
            return
        while awaited.pending:
            task = self._next(awaited)
            await (awaited.more() if task is None else compute(task))

    def _next(self, awaited: Awaited) -> Callable[[], None] | None:
        """What can be done now and will be needed: a gradient, or else a forward pass."""
        recipe, count = self._recipe, len(awaited.ledgers)
        size = groups_of_a_pass(recipe) * recipe.samples if by_group(recipe) else count
        blocks = [range(start, min(start + size, count)) for start in range(0, count, size)]
        blocks = [block for block in blocks if block.start not in self._tried]
        if len(self._gradients) < self._gradient_room:
            for block in blocks:
                known = [rollout for rollout in awaited.rollouts[block.start : block.stop] if rollout is not None]
                if len(known) == len(block):
                    return lambda: self._add_gradients(block.start, known)
        if len(self._forward) < self._room and recipe.learn_from is None:
            held = {id(ledgers[0]) for ledgers, _ in self._forward}
            for block in blocks:
                for ledgers in self._likely_passes([awaited.ledgers[i] for i in block]):
                    if id(ledgers[0]) not in held:
                        return lambda: self._forward.append((ledgers, self._score(ledgers)))
        return None

    def _likely_passes(self, ledgers: Sequence[Ledger]) -> list[list[Ledger]]:
        """The passes of the first minibatch, if every document gets a score and differs from its group's mean."""
        recipe = self._recipe
        first = next(minibatches([i // recipe.samples for i in range(len(ledgers))], recipe.minibatches))
        lengths = {i: len(ledgers[i]) for i in first if ledgers[i].n_policy}
        return [
            [ledgers[i] for i in chosen] for chosen in micro_batches(lengths, recipe.micro_batch, recipe.micro_tokens)
        ]

    def _add_gradients(self, start: int, rollouts: Sequence[Rollout]) -> None:
        """The gradients of a block of groups, as the update will want them."""
        recipe, model = self._recipe, self._model
        batch = learned_from(recipe, Batch.of(rollouts))
        batch = with_group_advantages(recipe, self.compared(batch))
        self._tried.add(start)
        own = {id(rollout.ledger) for rollout in rollouts}
        mine = [held for held in self._forward if id(held[0][0]) in own]
        # One of the passes that memory has room for is to be computed now.
        others = [held for held in self._forward if id(held[0][0]) not in own][: self._room - 1]
        self._forward = mine + others
        for chosen in passes(recipe, batch, active(recipe, batch, batch.learnable)):
            part = batch.take(chosen, model.device)
            scored = self.score(part.ledgers)
            found = surrogate(recipe, scored, part)
            if not math.isfinite(found.loss.item()):
                break  # the update will compute it again, and stop there
            found.figures.most("logprob_error", logprob_error(scored, part))
            found.loss.backward()
            del scored
            gradients = [parameter.grad for parameter in model.parameters]
            for parameter in model.parameters:
                parameter.grad = None
            self._gradients.append((part.ledgers, EarlyGradient(gradients, found.loss.item(), found.figures)))
            if len(self._gradients) >= self._gradient_room:
                break
        self._forward = others  # what was not taken now, will never be

    def compared(self, batch: Batch) -> Batch:
        """The batch with what the penalty needs of the reference, for documents that are learned from."""
        if self._recipe.kl_coefficient > 0:
            for chosen in passes(self._recipe, batch, batch.learnable):
                self._compare([batch.ledgers[i] for i in chosen])
        return replace(batch, reference_BT=self.reference_BT(batch))

    def _compare(self, ledgers: Sequence[Ledger]) -> None:
        """Ask the reference about those that it was not asked about yet."""
        unknown = [ledger for ledger in ledgers if id(ledger) not in self._known]
        if unknown and self._reference is not None:
            found = self._reference.look(unknown, self._recipe)
            self._known |= {id(ledger): (ledger, told) for ledger, told in zip(unknown, found, strict=True)}

    def reference_BT(self, batch: Batch) -> Tensor:
        """Logprobs under the reference for documents of a batch; NaN where it was not asked."""
        known = self._known
        rows = {i: known[id(x)][1].logprobs for i, x in enumerate(batch.ledgers) if id(x) in known}
        return padded(rows, batch.logprobs_BT)

    def gradient(self, ledgers: Sequence[Ledger]) -> EarlyGradient | None:
        """The gradient of a pass, where it has been computed. Each is given out once."""
        found: EarlyGradient | None = self._take(self._gradients, ledgers)
        self.gradients += found is not None
        return found

    def score(self, ledgers: Sequence[Ledger]) -> Scored:
        """What `PolicyModel.score` gives, from here where it is known. Each pass is given out once: its graph ends with the backward pass."""
        return self._take(self._forward, ledgers) or self._score(ledgers)

    def _take(self, held: list[tuple[Sequence[Ledger], Any]], ledgers: Sequence[Ledger]) -> Any:
        for place, (part, found) in enumerate(held):
            if len(part) == len(ledgers) and all(x is y for x, y in zip(part, ledgers, strict=True)):
                del held[place]
                self.taken += 1
                return found
        return None

    def _score(self, ledgers: Sequence[Ledger]) -> Scored:
        recipe, anchors = self._recipe, None
        if recipe.kl_coefficient > 0 and recipe.kl_estimate == "exact":
            anchors = Anchors([self._known[id(ledger)][1].states for ledger in ledgers], recipe.kl_temperature)
        return self._model.score(ledgers, recipe.entropy_bonus != 0, anchors)

    def forget(self) -> None:
        """The policy is about to change."""
        self._forward.clear()
        self._gradients.clear()

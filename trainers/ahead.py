"""What a step's update needs and no reward decides: computed while the judges still work on the last documents.

When the last token is written, the judgment of that document is seconds away at best. The reference's logprobs need no reward, nor does a
forward pass of the policy; only its backward pass does. So they are done at once, and the wait is shorter by as much. Nothing else changes: the
update takes a pass from here only where it would have computed the same one, so the numbers are the same whatever the judges' latency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmi_env.policies.compute import compute
from trainers.batching import Batch, micro_batches, padded

if TYPE_CHECKING:
    from torch import Tensor

    from llmi_env.ledger import Ledger
    from trainers.forward import Scored
    from trainers.policy_model import PolicyModel
    from trainers.recipe import Recipe
    from trainers.reference import Reference


class Ahead:
    """Computations of one step that were done before its rewards were known.

    Args:
        model: the policy; its weights must stay as they are until `forget`.
        reference: what it is compared with, if it is.
        recipe: micro-batches, and which documents are compared.
    """

    def __init__(self, model: PolicyModel, reference: Reference | None, recipe: Recipe) -> None:
        from trainers.packed_llama import packed_llama

        self._model, self._reference, self._recipe = model, reference, recipe
        self._known: list[tuple[Ledger, list[float]]] = []
        self._passes: list[tuple[Sequence[Ledger], Scored]] = []
        # Memory may be full with one pass of the plain modules; one of the packed ones takes less than half of theirs.
        self._room = 1 if packed_llama(model.model) is None else 2
        self.taken = 0
        """Passes that the update took from here."""

    async def work(self, ledgers: Sequence[Ledger], judged: Callable[[], bool]) -> None:
        """Compute the reference's logprobs, and then passes for as long as the judges need.

        Args:
            ledgers: of all documents, written to the end, group by group.
            judged: whether all of them are judged.
        """
        recipe = self._recipe
        sampled = [ledger for ledger in ledgers if ledger.n_policy]
        if self._reference is not None:
            # For the log, one document of each group tells enough; a penalty needs them all.
            compared = sampled if recipe.kl_coefficient > 0 else [x for x in ledgers[:: recipe.samples] if x.n_policy]
            logprobs = await compute(self._reference.logprobs, compared, recipe)
            self._known += zip(compared, logprobs, strict=True)
        if recipe.dynamic_sampling or recipe.learn_from:  # which documents are learned from, is open
            return
        lengths = {i: len(ledger) for i, ledger in enumerate(sampled)}
        for chosen in micro_batches(lengths, recipe.micro_batch, recipe.micro_tokens):
            if judged() or len(self._passes) == self._room:
                return
            part = [sampled[i] for i in chosen]
            self._passes.append((part, await compute(self._score, part)))

    def reference_BT(self, batch: Batch) -> Tensor:
        """Logprobs under the reference for documents of a batch; NaN where it was not asked."""
        rows = {id(ledger): logprobs for ledger, logprobs in self._known}
        return padded({i: rows[id(x)] for i, x in enumerate(batch.ledgers) if id(x) in rows}, batch.logprobs_BT)

    def score(self, ledgers: Sequence[Ledger]) -> Scored:
        """What `PolicyModel.score` gives, from here where it is known. Each pass is given out once: its graph ends with the backward pass."""
        for place, (part, scored) in enumerate(self._passes):
            if len(part) == len(ledgers) and all(x is y for x, y in zip(part, ledgers, strict=True)):
                del self._passes[place]
                self.taken += 1
                return scored
        return self._score(ledgers)

    def _score(self, ledgers: Sequence[Ledger]) -> Scored:
        return self._model.score(ledgers, entropies=self._recipe.entropy_bonus != 0)

    def forget(self) -> None:
        """The policy is about to change."""
        self._passes.clear()

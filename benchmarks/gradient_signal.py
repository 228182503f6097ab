"""How much of a training step is signal? The policy gradient of documents that a run has kept, in two halves without a task in common.

    python -m benchmarks.gradient_signal warm-start runs/grpo-0:1-4 runs/grpo-1:2-4

The policy must be the one that wrote the documents, or near it: early steps of runs from the same start. What both halves agree on is signal;
the rest differs from one batch to the next. The gradient is also parted: what the calls' terms of the reward ask of a call's tokens and of the
text's, and what the text's own term asks of them. Half a minute for 36 documents on two cores; the results are printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from llmi_env.calls import CallScanner
from llmi_env.rollout import Rollout
from llmi_env.store import read_episodes, rollouts_of
from trainers.batching import Batch, micro_batches
from trainers.gradient import learned_from
from trainers.losses import grpo_advantages
from trainers.policy_model import PolicyModel
from trainers.recipe import Recipe, load_recipe

TEXT = "text_quality"  # the term that no call earns
PARTS = ("calls' terms, on calls", "calls' terms, on text", "text's term, on calls", "text's term, on text")
WHOLES = {
    "all that training takes": PARTS,
    "each part its own credit": (PARTS[0], PARTS[3]),
    **{part: (part,) for part in PARTS},
}


def steps_of(argument: str) -> Iterator[tuple[Path, int]]:
    """The run folder and each step of `RUN:FIRST-LAST`."""
    folder, _, numbers = argument.rpartition(":")
    first, _, last = numbers.partition("-")
    if not folder or not first.isdigit() or not (last or first).isdigit():
        raise SystemExit(f"{argument}: expected RUN:FIRST-LAST, such as runs/grpo-0:1-4")
    yield from ((Path(folder), step) for step in range(int(first), int(last or first) + 1))


def on_calls(rollout: Rollout, model: PolicyModel) -> list[bool]:
    """Of each token after the prompt, whether it is part of a call, tags included."""
    decoder, scanner = model.tokenizer.decoder(), CallScanner()
    found = []
    for token in rollout.ledger.response_ids:
        idle = scanner.idle
        scanner.feed(decoder.push(token))
        found.append(not (idle and scanner.idle))
    return found


def add_gradients(
    model: PolicyModel, recipe: Recipe, rollouts: Sequence[Rollout], sums: dict[tuple[str, int], Any]
) -> int:
    """Add each part's gradient of a step's documents to the sums, by the half that their task falls into; returns how many they are."""
    batch = learned_from(recipe, Batch.of(rollouts))
    batch = Batch.of([batch.rollouts[i] for i in batch.learnable])
    terms = [rollout.report.terms[TEXT] for rollout in batch.rollouts]
    text_B = torch.tensor([term.weight * (term.value or 0.0) for term in terms])
    credits = [
        grpo_advantages(rewards_B, batch.groups_B, batch.scored_B, recipe.scale_advantages)
        for rewards_B in (batch.rewards_B - text_B, text_B)
    ]
    for half in (0, 1):
        lengths = {i: len(batch.ledgers[i]) for i in batch.learnable if int(batch.groups_B[i]) % 2 == half}
        for chosen in micro_batches(lengths, recipe.micro_batch, recipe.micro_tokens):
            part = batch.take(chosen, model.device)
            logprobs_MT = model.score(part.ledgers).logprobs_BT * part.mask_BT
            call_MT = torch.zeros_like(part.mask_BT)
            for row, rollout in enumerate(part.rollouts):
                found = on_calls(rollout, model)
                call_MT[row, : len(found)] = torch.tensor(found)
            for number, name in enumerate(PARTS):
                credit_M1, where_MT = credits[number // 2][chosen][:, None], call_MT if number % 2 == 0 else ~call_MT
                loss = -(logprobs_MT * credit_M1.to(model.device) * where_MT).sum()
                gradients = torch.autograd.grad(loss, model.parameters, retain_graph=number < len(PARTS) - 1)
                sums[name, half] = sums.get((name, half), 0) + torch.cat([x.flatten() for x in gradients])
    return len(batch.rollouts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", help="the policy that wrote the documents: a name, a run folder, an adapter")
    parser.add_argument("runs", nargs="+", metavar="RUN:FIRST-LAST", help="run folders with the steps to take")
    options = parser.parse_args()
    wanted = [pair for argument in options.runs for pair in steps_of(argument)]
    recipe = load_recipe(wanted[0][0] / "config.yaml", {"model": options.policy})
    if not isinstance(recipe, Recipe):
        raise SystemExit(f"{wanted[0][0]}: expected a run of the local trainer")
    model = PolicyModel.load(recipe)
    sums: dict[tuple[str, int], Any] = {}
    documents = 0
    for run, step in track(wanted, "steps"):
        written = rollouts_of(read_episodes(run, f"train-{step:05d}", pixels=False))
        if not written:
            raise SystemExit(f"{run}: no documents of step {step}")
        documents += add_gradients(model, recipe, written, sums)
    print(f"{documents} documents of {len(wanted)} steps, in two halves\n")
    print("| gradient | norms of the halves | their cosine |\n|---|---|---:|")
    for name, parts in WHOLES.items():
        first, second = (sum(sums[part, half] for part in parts) for half in (0, 1))
        cosine = float(first @ second / first.norm() / second.norm())
        print(f"| {name} | {first.norm():.0f}, {second.norm():.0f} | {cosine:.3f} |")


if __name__ == "__main__":
    main()

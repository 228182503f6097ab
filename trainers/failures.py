"""What ends a run that cannot go on, said so that one knows what to change. What was saved is kept, and `--resume` goes on from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmi_env.errors import TrainingError
from llmi_env.store import write_episodes

if TYPE_CHECKING:
    from llmi_env.rollout import Rollout
    from trainers.recipe import Recipe

FOLDER = "failed"
"""Where in a run folder the documents of a batch are kept that could not be learned from."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left: a GPU's, or by the words of torch's CPU allocator the machine's."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def memory_advice(recipe: Recipe, error: BaseException) -> TrainingError:
    """The error of a run that ran out of memory: the options that decide how much is needed, with their values."""
    batch = f"micro_batch={recipe.micro_batch} (micro_tokens bounds long documents better)"
    if recipe.micro_tokens is not None:
        batch = f"micro_tokens={recipe.micro_tokens} (stands in for micro_batch={recipe.micro_batch})"
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return TrainingError(
        f"out of memory ({said}). What decides how much is needed: {batch}: lower it first, results stay the same up to rounding; "
        f"gradient_checkpointing={str(recipe.gradient_checkpointing).lower()}: true keeps no activations and takes longer; "
        f"samples={recipe.samples} and max_tokens={recipe.max_tokens}: documents are sampled side by side. "
        "All but the last two may be changed in a run that goes on with --resume"
    )


def check_finite(name: str, value: float, rollouts: Sequence[Rollout], run_dir: Path, step: int) -> None:
    """Stop where a loss or the norm of a gradient is no number, before it reaches the weights.

    Args:
        name: of the value.
        value: it.
        rollouts: the documents that it was computed from; they are kept beside the run's episodes, which the step does not get into.
        run_dir: the run folder.
        step: being done.

    Raises:
        TrainingError: it is infinite or NaN. The message names tasks and file.
    """
    if math.isfinite(value):
        return
    path = write_episodes(run_dir / FOLDER, f"train-{step:05d}", rollouts, phase="failed", step=step)
    names = ", ".join(sorted({str(rollout.task.id) for rollout in rollouts}))
    raise TrainingError(
        f"the {name} of step {step} is {value} (tasks {names}; the documents are kept in {path}). The run is saved up to step {step - 1}. "
        "Look at their logprobs and rewards; a smaller lr or grad_clip may help, which means another run"
    )

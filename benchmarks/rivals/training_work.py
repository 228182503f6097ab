"""What the sides of the comparison of trainers share: the work, and taking turns.

A side is a script, `python SIDE.py WORK.json`. After each optimiser step it says in a line what the step took, and waits for a line before
it begins the next one: so the sides can go step by step in turns, and what else the machine does falls on all of them. Standard library only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_MARK = "TRAINING-STEP "


@dataclass(frozen=True)
class Work:
    """One GRPO run.

    Attributes:
        model: folder or name of the policy that it starts from.
        tasks: JSONL of the tasks; every step takes all of them.
        prompts: their chat messages.
        samples: documents of a task.
        tokens: of each document; none ends before, where `fixed`.
        fixed: whether eos ends no document.
        steps: optimiser steps.
        lora_rank: of the adapter on every linear layer; its alpha is twice that.
        lr: learning rate of AdamW, constant.
        micro_batch: documents of one forward and backward pass.
        seed: of everything that is drawn.
        judge: declared latency of the judge in seconds.
        tool: declared latency of each tool in seconds.
        folder: where a side may write.
    """

    model: str
    tasks: str
    prompts: list[list[dict[str, str]]]
    samples: int
    tokens: int
    fixed: bool
    steps: int
    lora_rank: int
    lr: float
    micro_batch: int
    seed: int
    judge: float
    tool: float
    folder: str

    def write(self, path: Path) -> None:
        """Write it where a side reads it."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls) -> Work:
        """The work that the command line names."""
        return cls(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Step:
    """What one step took, in seconds.

    Attributes:
        total: everything, from the first prompt to the changed weights.
        sampling: writing.
        waiting: in which neither sampler nor optimiser computed.
        update: forward, backward and optimiser.
        tokens: sampled.
        memory: of the process so far at the highest, in GB; none where a side does not say.
        logprob_error: largest distance between a logprob as sampled and as computed again; none where a side does not say.
        rewards: of the documents, to be compared between runs of one side.
    """

    total: float
    sampling: float
    waiting: float
    update: float
    tokens: int
    memory: float | None
    logprob_error: float | None = None
    rewards: tuple[float | None, ...] = ()

    @classmethod
    def logged(cls, metrics: Mapping[str, Any], memory: float | None, **more: Any) -> Step:
        """The step that a line of our `metrics.jsonl` tells of; `more` replaces and adds fields."""
        seconds = {name: metrics["seconds"][name] for name in ("total", "sampling", "waiting", "update")}
        told = {"tokens": metrics["tokens"], "logprob_error": metrics["logprob_error"]}
        return cls(**seconds | told | {"memory": memory} | more)


def say(step: Step, wait: bool = True) -> None:
    """Tell of a finished step, and wait to be told to go on, where it may be waited."""
    print("\n" + _MARK + json.dumps(asdict(step)), file=sys.__stdout__, flush=True)
    if wait and not sys.stdin.readline():
        sys.exit(0)  # nobody is there any more


def heard(line: str) -> Step | None:
    """The step that a side's line tells of; none in what libraries print."""
    if not line.startswith(_MARK):
        return None
    fields: dict[str, Any] = json.loads(line.removeprefix(_MARK))
    return Step(**fields | {"rewards": tuple(fields["rewards"])})

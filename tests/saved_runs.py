"""Run folders with saved episodes, made in no time: what an ablation or another judge begins with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmi_env.document import Document
from llmi_env.episode import StopReason
from llmi_env.ledger import Ledger, Owner
from llmi_env.rewards import HybridReward
from llmi_env.rollout import Rollout, RolloutTimes
from llmi_env.store import write_episodes
from llmi_env.task import Task
from llmi_env.world.protocol import Judgments

Written = tuple[Document, Judgments]


def save_run(
    run: Path,
    groups: Sequence[tuple[Task, Sequence[Written]]],
    reward: HybridReward,
    name: str = "train-00001",
    step: int = 1,
    phase: str = "train",
) -> Path:
    """Write one episode file in which each task's documents are a group; returns the run folder."""
    rollouts = []
    for group, (task, written) in enumerate(groups):
        for document, judgments in written:
            ledger = Ledger()
            ledger.add([1, 2], Owner.PROMPT)
            ledger.add([3], Owner.POLICY, [-0.5])
            report = reward.score(document, task, judgments)
            rollouts.append(
                Rollout(task, 0, group, ledger, document, StopReason.END, report, RolloutTimes(0.0, 0.0, 0.0))
            )
    write_episodes(run, name, rollouts, phase=phase, step=step)
    return run

"""Training with judges that fail, hang or babble in 30 % of calls (what environments and rollouts make of them: `tests/test_chaos.py`)."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.report import write_report
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.store import read_episodes, read_metrics
from llmi_env.testing import SimulatedJudge
from trainers.local import train

REWARD = HybridReward.preset("llmi")
DOCUMENTS = 16


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["raise", "hang", "babble", "unscored", "mixed"])
def test_a_run_learns_from_true_rewards_only(tiny_recipe: Callable[..., Any], tmp_path: Path, mode: str) -> None:
    flaky = {"use": "llmi_env.testing:FlakyJudge", "failure_rate": 0.3, "mode": mode}
    recipe = tiny_recipe(judge=flaky, steps=2, samples=DOCUMENTS // 2, eval_size=8)
    services = recipe.env.services.model_copy(update={"judge_deadline": 0.2, "judge_concurrency": 100})
    recipe = recipe.model_copy(update={"env": recipe.env.model_copy(update={"services": services})})
    console = Console(file=io.StringIO(), width=300)
    assert train(recipe, tmp_path, console=console).finished

    lost: Counter[tuple[str, int]] = Counter()
    for about, rollout in read_episodes(tmp_path):
        honest = asyncio.run(SimulatedJudge()(rollout.document, rollout.task))
        true = REWARD.score(rollout.document, rollout.task, honest).total
        assert rollout.reward in (true, None)
        lost[about["phase"], about["step"]] += rollout.reward is None
    assert lost["train", 1] > 0
    assert {(row["phase"], row["step"]): row["unscored"] for row in read_metrics(tmp_path)} == lost
    assert isinstance(console.file, io.StringIO)
    assert f"({lost['train', 1]} of {DOCUMENTS} unscored)" in console.file.getvalue()

    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "documents without a score" in page
    assert page.count("no score, ") == lost["before", 0] + lost["after", 2]

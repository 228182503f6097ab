from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_policy import make_tiny_policy


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny policy."""
    pytest.importorskip("torch")
    return make_tiny_policy(tmp_path_factory.mktemp("tiny-policy"))


@pytest.fixture(scope="session")
def tiny_recipe(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A recipe of seconds on simulated tools and judges; keywords change it."""
    from trainers.recipe import load_recipe

    tools = {
        name: {"use": "llmi_env.testing:SimulatedTool", "name": name}
        for name in ("search", "diffusion", "code", "edit")
    }

    kinds = (["search"], ["code"], ["diffusion", "edit"], [])
    rows = [{"id": f"task-{n}", "question": f"Write about number {n}.", "tools": kinds[n % 4]} for n in range(8)]
    tasks = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    tasks.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    def make(judge: dict[str, Any] | None = None, **changes: Any) -> Any:
        data = {
            "name": "tiny",
            "model": str(tiny_policy),
            "eval_tasks": str(tasks),
            "env": {
                "tasks": str(tasks),
                "world": "in_process",
                "services": {"tools": tools, "judges": [{"use": "llmi_env.testing:SimulatedJudge", **(judge or {})}]},
            },
            "steps": 3,
            "tasks_per_step": 2,
            "samples": 2,
            "max_tokens": 12,
            "micro_batch": 3,
            "lr": 1e-3,
            "eval_size": 3,
            "lora_rank": 2,
        }
        return load_recipe(data | changes)

    return make

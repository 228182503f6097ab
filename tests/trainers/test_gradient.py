"""Only tokens that the policy sampled are learned from: results and pictures that it is shown get a gradient of exactly zero."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.ledger import Owner
from llmi_env.store import read_metrics
from tests.trainers.conftest import Gradients
from trainers.local import train


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"algorithm": "gspo"},
        {"algorithm": "ppo"},
        {"kl_coefficient": 0.1},
        {"kl_coefficient": 0.1, "kl_estimate": "exact", "lora_rank": 4},
        {"entropy_bonus": -0.1},
        {"aggregation": "seq-mean-token-sum"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "grpo",
)
def test_results_shown_to_the_policy_get_none(
    changes: dict[str, Any], known_recipe: Callable[..., Any], tmp_path: Path, silent: Console, gradients: Gradients
) -> None:
    recipe = known_recipe(steps=2, **changes)
    env = recipe.env.model_copy(
        update={"feedback": "text", "limits": recipe.env.limits.model_copy(update={"calls": 3, "pictures": 3})}
    )
    train(recipe.model_copy(update={"env": env}), tmp_path, console=silent)
    assert any(row.get("loss") for row in read_metrics(tmp_path))
    found = gradients.by_owner()
    shown = [value for owner, values in found.items() if owner is not Owner.POLICY for value in values]
    assert sum(len(values) for owner, values in found.items() if owner not in (Owner.POLICY, None)) > 100
    assert not any(shown)
    assert sum(value != 0 for value in found[Owner.POLICY]) > 100

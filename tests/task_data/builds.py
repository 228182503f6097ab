"""What tests of building share: orders to the two models, and what came of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmi_env.task_data.asking import model_options
from llmi_env.task_data.building import build
from llmi_env.task_data.held_out import HeldOut
from llmi_env.task_data.kept import Kept
from llmi_env.task_data.orders import Built, Order
from llmi_env.task_data.plan import Wishes
from tests.task_data.models import Models

NOTHING = HeldOut([], embed=False)


def order(models: Models, count: int, **changes: Any) -> Order:
    options = {"base_url": models.base_url, "retries": 1, "prompt_price": 1000.0, "completion_price": 5000.0}
    writer, reader = (model_options(json.dumps({"model": name, **options})) for name in ("writer", "reader"))
    return replace(Order(count, Wishes(seed=1), writer, reader, embed=False), **changes)


def built(
    models: Models, out: Path, count: int = 12, held_out: HeldOut = NOTHING, resume: bool = False, **changes: Any
) -> Built:
    return build(order(models, count, **changes), Kept(out), held_out, resume=resume)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def attempts(out: Path) -> list[dict[str, Any]]:
    return rows(out.with_name(f"{out.stem}.build") / "attempts.jsonl")

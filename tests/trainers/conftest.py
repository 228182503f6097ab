from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llmi_env.ledger import Ledger, Owner
from llmi_env.models import calm_threads
from tests.tiny_policy import make_tiny_policy

# Before torch is imported: threads that spin while they wait make every test slow as soon as two programs share the cores.
calm_threads()

TOOLS = ("search", "diffusion", "code", "edit")


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny policy."""
    pytest.importorskip("torch")
    return make_tiny_policy(tmp_path_factory.mktemp("tiny-policy"))


@pytest.fixture(scope="session")
def tiny_recipe(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A recipe of seconds on simulated tools and judges; keywords change it."""
    from trainers.recipe import load_recipe

    tools = {name: {"use": "llmi_env.testing:SimulatedTool", "name": name} for name in TOOLS}

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


@pytest.fixture(scope="session")
def known_recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A recipe whose best document is known: one call of `search`, which a random policy finds by chance, as it is one token of its vocabulary.

    Another token is a call that must fail. With either the document ends; without one it earns nothing.
    """
    pytest.importorskip("torch")
    from llmi_env.calls import Call
    from trainers.recipe import load_recipe
    from trainers.verl.tiny import make_tiny

    calls = (Call("search", "an owl", {"query": "owl"}), Call("edit", "an owl", {"img_index": 0, "prompt": "grey"}))
    folder = tmp_path_factory.mktemp("known")
    model = make_tiny(folder / "model", vocabulary=270, pieces=[f"<imgen>{call.to_json()}</imgen>" for call in calls])
    rows = [{"question": f"Show owl {n}.", "tools": ["search"], "image_count": 1, "id": f"owl-{n}"} for n in range(8)]
    tasks = folder / "tasks.jsonl"
    tasks.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    tools = {name: {"use": "llmi_env.testing:SimulatedTool", "name": name} for name in TOOLS}

    def make(**changes: Any) -> Any:
        data = {
            "name": "known",
            "model": str(model),
            "eval_tasks": str(tasks),
            "env": {
                "reward": "rules",
                "tasks": str(tasks),
                "world": "in_process",
                "services": {"tools": tools, "judges": [{"use": "llmi_env.testing:SimulatedJudge"}]},
                "limits": {"characters": 2000, "calls": 1, "pictures": 1},
            },
            "steps": 16,
            "tasks_per_step": 4,
            "samples": 16,
            "max_tokens": 16,
            "micro_batch": 64,
            "lr": 1e-2,
            "lora_rank": 0,
            "eval_size": 4,
            "eval_samples": 8,
        }
        return load_recipe(data | changes)

    return make


@pytest.fixture
def silent() -> Console:
    """A console that nobody reads."""
    return Console(file=io.StringIO(), width=200)


@dataclass
class Gradients:
    """Documents of each pass, and the loss's gradients (M, T) by what is said of their tokens: logprobs, entropies, divergences."""

    passes: list[tuple[Sequence[Ledger], Any]] = field(default_factory=list)

    def by_owner(self) -> dict[Owner | None, list[float]]:
        """Gradients of all tokens by who wrote them; `None` stands for the padding."""
        found: dict[Owner | None, list[float]] = {}
        for ledgers, gradient_MT in self.passes:
            for ledger, row in zip(ledgers, gradient_MT.tolist(), strict=True):
                owners = ledger.owners[ledger.prompt_length :]
                for owner, value in zip([*owners, *[None] * (len(row) - len(owners))], row, strict=True):
                    found.setdefault(owner, []).append(value)
        return found


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> Gradients:
    """What every backward pass of the trainer asks of the tokens."""
    from trainers.policy_model import PolicyModel

    seen, score = Gradients(), PolicyModel.score

    def watched(model: Any, ledgers: Sequence[Ledger], *wanted: Any) -> Any:
        scored = score(model, ledgers, *wanted)
        for of_BT in (scored.logprobs_BT, scored.entropies_BT, scored.divergences_BT):
            if of_BT is not None and of_BT.requires_grad:
                of_BT.register_hook(lambda gradient: seen.passes.append((ledgers, gradient.clone())))
        return scored

    monkeypatch.setattr(PolicyModel, "score", watched)
    return seen

"""A vision-language policy trains with the local trainer: pictures of the task in its prompt, those of its calls as feedback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.calls import Call  # noqa: E402
from llmi_env.errors import ConfigError  # noqa: E402
from llmi_env.ledger import Owner  # noqa: E402
from llmi_env.models import load_model, sees_pictures  # noqa: E402
from llmi_env.store import read_episodes, read_metrics  # noqa: E402
from tests.trainers.conftest import Gradients  # noqa: E402
from trainers import local  # noqa: E402
from trainers.export import export_policy  # noqa: E402
from trainers.local import train  # noqa: E402
from trainers.verl.tiny import make_tiny  # noqa: E402

CALLS = [
    f"<imgen>{Call(tool, 'an owl', params).to_json()}</imgen>"
    for tool, params in (("search", {"query": "owl"}), ("edit", {"img_index": 0, "prompt": "grey"}))
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It writes a call at every third token or so."""
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    folder = make_tiny(tmp_path_factory.mktemp("seeing"), kind="qwen2_5_vl", vocabulary=270, pieces=CALLS)
    made, tokenizer = AutoModelForImageTextToText.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        made.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids(CALLS)] *= 8
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    rows = []
    for number, colour in enumerate(("red", "green", "blue", "grey")):
        Image.new("RGB", (40 + 20 * number, 60), colour).save(folder / f"{colour}.png")
        images = [f"{colour}.png"] * (number % 3)
        rows.append({"id": f"task-{number}", "question": f"Show {colour}.", "images": images, "tools": ["search"]})
    path = folder / "tasks.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def recipe_of(tiny_recipe: Callable[..., Any], model: Path, tasks: Path, **changes: Any) -> Any:
    plain = tiny_recipe(model=str(model), max_tokens=10, **changes)
    env = {"tasks": str(tasks), "feedback": changes.pop("feedback", "image")}
    return plain.model_copy(update={"eval_tasks": str(tasks), "env": plain.env.model_copy(update=env)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("feedback", "changes"),
    [
        ("none", {"lora_rank": 0}),
        ("image", {"kl_coefficient": 0.1}),
        ("image", {"algorithm": "ppo", "lora_rank": 0, "gradient_checkpointing": True, "micro_tokens": 900}),
    ],
)
def test_it_trains(
    tiny_recipe: Callable[..., Any],
    model: Path,
    tasks: Path,
    tmp_path: Path,
    silent: Console,
    monkeypatch: pytest.MonkeyPatch,
    gradients: Gradients,
    feedback: str,
    changes: dict[str, Any],
) -> None:
    recipe = recipe_of(tiny_recipe, model, tasks, steps=3, **changes)
    recipe = recipe.model_copy(update={"env": recipe.env.model_copy(update={"feedback": feedback})})
    assert train(recipe, tmp_path / "straight", console=silent).finished
    trained = [row for row in read_metrics(tmp_path / "straight") if row["phase"] == "train"]
    assert all(row["logprob_error"] < 1e-4 for row in trained)
    assert sum(row["optimizer_steps"] for row in trained) == 3
    shown = asked = 0
    for about, rollout in read_episodes(tmp_path / "straight"):
        rollout.ledger.check()
        asked += len(rollout.task.images) if about["phase"] == "train" else 0
        shown += len(rollout.ledger.pictures) - len(rollout.task.images)
        assert (Owner.PICTURE in rollout.ledger.owners) <= (feedback == "image")
    assert asked > 0
    assert (shown > 0) is (feedback == "image")

    pulled = gradients.by_owner()
    assert any(pulled[Owner.POLICY])
    if "kl_coefficient" in changes:  # there a document goes on after its picture
        assert pulled[Owner.PICTURE]
    assert not any(value for owner, values in pulled.items() if owner is not Owner.POLICY for value in values)

    save = local.save_checkpoint

    def killed(run: Path, step: int, *rest: Any) -> Path:
        if step == 2:
            raise KeyboardInterrupt
        return save(run, step, *rest)

    monkeypatch.setattr(local, "save_checkpoint", killed)
    assert not train(recipe, tmp_path / "broken", console=silent).finished
    monkeypatch.undo()
    assert train(recipe, tmp_path / "broken", resume=True, console=silent).finished
    clocks = ("seconds", "tokens_per_second")
    first, second = (
        [
            {key: value for key, value in row.items() if key not in clocks and not key.endswith("_s")}
            for row in read_metrics(tmp_path / name)
        ]
        for name in ("straight", "broken")
    )
    # To the last bit where each run has a process of its own (`test_resume.py`); here they share one with other tests.
    assert [row.keys() for row in first] == [row.keys() for row in second]
    for straight, resumed in zip(first, second, strict=True):
        for name, value in straight.items():
            assert resumed[name] == (pytest.approx(value, rel=1e-3, abs=1e-5) if isinstance(value, float) else value)

    out = export_policy(tmp_path / "straight", tmp_path / "exported")
    assert sees_pictures(out)
    exported, _ = load_model(out)
    assert exported.config.model_type == "qwen2_5_vl"
    assert train(recipe.model_copy(update={"model": str(out), "steps": 1}), tmp_path / "next", console=silent).finished


def test_a_text_policy_is_not_shown_pictures(tiny_recipe: Callable[..., Any], tasks: Path, tmp_path: Path) -> None:
    plain = tiny_recipe()
    recipe = recipe_of(tiny_recipe, Path(plain.model), tasks)
    with pytest.raises(ConfigError, match=r"env\.feedback: the policy .* sees no pictures; use 'none' or 'text'"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()

"""The local trainer end to end, on a policy of a few thousand weights and simulated tools and judges."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.errors import CheckpointError, ConfigError, LLMIError, TrainingError  # noqa: E402
from llmi_env.store import read_episodes, read_metrics  # noqa: E402
from tests.processes import heed_interrupts  # noqa: E402
from trainers import local  # noqa: E402
from trainers.checkpoint import newest_checkpoint  # noqa: E402
from trainers.local import train  # noqa: E402

CLOCKS = ("seconds", "tokens_per_second")


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def lines(run: Path) -> list[dict[str, Any]]:
    """Metrics without what a clock says."""
    return [
        {key: value for key, value in line.items() if key not in CLOCKS and not key.endswith("_s")}
        for line in read_metrics(run)
    ]


@pytest.fixture(scope="module")
def whole(tiny_recipe: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, str]:
    """A run of three steps, its result and what it said."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    console = quiet()
    result = train(tiny_recipe(), run, console=console)
    assert isinstance(console.file, io.StringIO)
    return run, result, console.file.getvalue()


def test_a_run_leaves_everything_in_its_folder(whole: tuple[Path, Any, str]) -> None:
    run, result, said = whole
    assert result.finished
    assert result.step == 3
    assert [(line["phase"], line["step"]) for line in lines(run)] == [
        ("before", 0),
        ("train", 1),
        ("train", 2),
        ("train", 3),
        ("after", 3),
    ]
    assert {path.name for path in (run / "episodes").iterdir()} == {
        "before.parquet", "train-00001.parquet", "train-00002.parquet", "train-00003.parquet", "after.parquet"
    }  # fmt: skip
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["step-00002", "step-00003"]
    assert yaml.safe_load((run / "config.yaml").read_text())["env"]["reward"] == "llmi"
    assert list(run.glob("events.out.tfevents.*"))
    assert "step   3/3" in said
    assert "not yet distinguishable" in result.summary() or "tool accuracy" in result.summary()


def test_the_trainers_logprobs_are_the_samplers(whole: tuple[Path, Any, str]) -> None:
    trained = [line for line in lines(whole[0]) if line["phase"] == "train"]
    assert all(line["logprob_error"] < 1e-4 for line in trained if line["logprob_error"] is not None)
    assert any(line["logprob_error"] is not None for line in trained)


def test_the_policy_moves_away_from_its_start(whole: tuple[Path, Any, str]) -> None:
    kl = [line["kl"] for line in lines(whole[0]) if line["phase"] == "train"]
    assert kl[0] < 1e-6
    assert kl[2] > 0


def test_resuming_equals_no_interruption(
    whole: tuple[Path, Any, str], tiny_recipe: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the episodes of step 2 were written and before its checkpoint, the worst moment."""
    run = tmp_path / "run"
    save = local.save_checkpoint

    def killed(run: Path, step: int, *rest: Any) -> Path:
        if step == 2:
            raise KeyboardInterrupt
        return save(run, step, *rest)

    monkeypatch.setattr(local, "save_checkpoint", killed)
    interrupted = train(tiny_recipe(), run, console=quiet())
    assert not interrupted.finished
    assert interrupted.step == 1
    monkeypatch.undo()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "tr')
    result = train(tiny_recipe(), run, resume=True, console=quiet())
    assert result.finished
    assert lines(run) == lines(whole[0])
    for name in ("train-00003", "after"):
        resumed = [rollout for _, rollout in read_episodes(run, name)]
        straight = [rollout for _, rollout in read_episodes(whole[0], name)]
        assert [r.ledger.ids for r in resumed] == [r.ledger.ids for r in straight]
        assert [r.reward for r in resumed] == [r.reward for r in straight]


def test_a_finished_run_resumed_says_the_same_again(
    whole: tuple[Path, Any, str], tiny_recipe: Callable[..., Any]
) -> None:
    before = lines(whole[0])
    again = train(tiny_recipe(), whole[0], resume=True, console=quiet())
    assert again.summary() == whole[1].summary()
    assert lines(whole[0]) == before


def test_a_run_is_not_overwritten(whole: tuple[Path, Any, str], tiny_recipe: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="holds a run already"):
        train(tiny_recipe(), whole[0])


def test_a_changed_recipe_is_refused_with_the_difference(
    whole: tuple[Path, Any, str], tiny_recipe: Callable[..., Any]
) -> None:
    with pytest.raises(ConfigError, match=r"lr: 0\.001 then, 0\.5 now"):
        train(tiny_recipe(lr=0.5), whole[0], resume=True)


def test_nothing_to_resume(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run to resume"):
        train(tiny_recipe(), tmp_path, resume=True)


def test_a_broken_checkpoint_is_named_with_the_last_good_one(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    train(tiny_recipe(steps=1), tmp_path / "run", console=quiet())
    broken = tmp_path / "run" / "checkpoints" / "step-00001" / "state.pt"
    broken.write_bytes(broken.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"step-00001 is corrupt.*the last good one is step-00000"):
        train(tiny_recipe(steps=1), tmp_path / "run", resume=True)


def test_judges_that_are_down_stop_the_run_and_move_nothing(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    recipe = tiny_recipe(judge={"failure_rate": 1.0}, steps=5)
    with pytest.raises(TrainingError, match="simulated failure of the judge"):
        train(recipe, tmp_path / "run", console=quiet())
    trained = [line for line in lines(tmp_path / "run") if line["phase"] == "train"]
    assert len(trained) == 2
    assert all(line["reward"] is None and line["optimizer_steps"] == 0 for line in trained)
    assert all(line["groups_without_baseline"] == 2 for line in trained)


def test_documents_without_a_score_weigh_nothing(
    tiny_recipe: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighed: list[float] = []
    plain = local.divide_gradients

    def recording(parameters: Any, by: float) -> None:
        weighed.append(by)
        plain(parameters, by)

    monkeypatch.setattr(local, "divide_gradients", recording)
    recipe = tiny_recipe(judge={"failure_rate": 0.4}, steps=1, samples=6, micro_batch=12, kl_coefficient=0.1)
    train(recipe, tmp_path / "run", console=quiet())
    rollouts = [rollout for _, rollout in read_episodes(tmp_path / "run", "train-*")]
    scored = [rollout for rollout in rollouts if rollout.reward is not None]
    assert 0 < len(scored) < len(rollouts)
    assert weighed == [sum(rollout.ledger.n_policy for rollout in scored)]


@pytest.mark.parametrize("wrong", [{"model": "nonsense"}, {"eval_tasks": "heldotu"}, {"env": {"reward": "papr"}}])
def test_a_typing_error_leaves_no_folder_behind(
    tiny_recipe: Callable[..., Any], tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(LLMIError):
        train(tiny_recipe(**wrong), tmp_path / "run", console=quiet())
    assert not (tmp_path / "run").exists()


def test_a_folder_in_which_nothing_has_begun_is_free(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(tiny_recipe(lr=0.5).to_yaml())
    assert train(tiny_recipe(steps=1), tmp_path, console=quiet()).finished
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["lr"] == 1e-3


def test_without_its_start_a_run_is_not_compared(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    train(tiny_recipe(steps=1), tmp_path / "run", console=quiet())
    (tmp_path / "run" / "episodes" / "before.parquet").unlink()
    with pytest.raises(CheckpointError, match=r"before\.parquet is missing"):
        train(tiny_recipe(steps=2), tmp_path / "run", resume=True, console=quiet())


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "gspo", "aggregation": "seq-mean-token-mean"},
        {"kl_coefficient": 0.1, "entropy_bonus": -0.1, "minibatches": 2, "epochs": 2, "negative_weight": 0.2},
    ],
)
def test_variants(tiny_recipe: Callable[..., Any], tmp_path: Path, changes: dict[str, Any]) -> None:
    train(tiny_recipe(steps=2, **changes), tmp_path / "run", console=quiet())
    trained = [line for line in lines(tmp_path / "run") if line["phase"] == "train"]
    assert trained[-1]["optimizer_steps"] == changes.get("minibatches", 1) * changes.get("epochs", 1)
    assert json.dumps(trained)


def test_the_evaluation_may_take_the_likeliest_tokens(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    train(tiny_recipe(steps=1, eval_samples=2, eval_temperature=0.0), tmp_path / "run", console=quiet())

    def written(phase: str) -> dict[int, list[list[int]]]:
        found: dict[int, list[list[int]]] = {}
        for _, rollout in read_episodes(tmp_path / "run", phase):
            found.setdefault(rollout.group, []).append(list(rollout.ledger.response_ids))
        return found

    assert written("before")
    assert all(first == second for first, second in written("before").values())
    assert all(first != second for first, second, *_ in written("train-*").values()), "in training they are drawn"


def wait_for(path: Path, text: str, process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if path.exists() and text in path.read_text():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"{text!r} never came")


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_from_outside_it_goes_on(
    tiny_recipe: Callable[..., Any], tmp_path: Path, end: signal.Signals
) -> None:
    recipe, run = tiny_recipe(steps=400), tmp_path / "run"
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    code = (
        "import sys; from pathlib import Path; from trainers.local import train; from trainers.recipe import load_recipe\n"
        "result = train(load_recipe(Path(sys.argv[1])), Path(sys.argv[2])); print(result.summary())"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "recipe.yaml"), str(run)]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    wait_for(run / "metrics.jsonl", '"step": 3', process)
    process.send_signal(end)
    said, _ = process.communicate(timeout=60)
    if end is signal.SIGINT:
        assert process.returncode == 0
        assert "go on with --resume" in said
    saved = newest_checkpoint(run)
    assert saved is not None
    assert saved.step >= 2
    with pytest.raises(ConfigError, match="steps: 400 then"):
        train(tiny_recipe(steps=saved.step - 1), run, resume=True)
    result = train(tiny_recipe(steps=saved.step + 1), run, resume=True, console=quiet())  # enough: it ends earlier
    assert result.finished
    steps = [line["step"] for line in lines(run) if line["phase"] == "train"]
    assert steps == list(range(1, saved.step + 2))

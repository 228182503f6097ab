"""Trainers by name: the recipe says which, its options are checked against that trainer's model, and a plugin is as good as a built-in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmi_env.cli import app
from llmi_env.errors import ConfigError
from trainers.protocol import Trainer, TrainResult, find_trainer
from trainers.recipe import BaseRecipe, load_recipe


class Parrot:
    """A trainer that learns nothing, with one option of its own."""

    class Recipe(BaseRecipe):
        feathers: int = 2
        allow_unscored: bool = False

    recipe = Recipe

    def train(self, recipe: Recipe, run_dir: Path, *, resume: bool = False, console: Any = None) -> TrainResult:
        run_dir.mkdir(parents=True)
        (run_dir / "config.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
        return TrainResult(run_dir, recipe.steps, finished=not resume, report=False)

    def dry_run(self, recipe: Recipe, run_dir: Path) -> str:
        return f"would say {recipe.feathers * 'squawk [sic] '}in {run_dir}, unscored: {recipe.allow_unscored}"


class Half:
    recipe = BaseRecipe


EXAMPLES = Path(__file__).parents[2] / "examples"
PARROT = f"{__name__}:Parrot"


def test_the_built_in_trainers_keep_the_protocol() -> None:
    assert isinstance(find_trainer("verl"), Trainer)  # found without verl itself
    trainer = find_trainer("local")
    assert isinstance(trainer, Trainer)
    assert load_recipe("quickstart").trainer == "local"
    assert isinstance(load_recipe("quickstart"), trainer.recipe)


def test_an_unknown_trainer_is_told_before_its_options() -> None:
    with pytest.raises(ConfigError, match="no trainer 'vrel', did you mean 'verl'"):
        load_recipe({"trainer": "vrel", "feathers": 3})


def test_options_are_those_of_the_trainer() -> None:
    recipe = load_recipe({"trainer": PARROT}, ["feathers=3", "env.reward=paper"])
    assert isinstance(recipe, Parrot.Recipe)
    assert (recipe.feathers, recipe.env.reward) == (3, "paper")
    with pytest.raises(ConfigError, match="no option 'fethers', did you mean 'feathers'"):
        load_recipe({"trainer": PARROT, "fethers": 3})
    with pytest.raises(ConfigError, match="no option 'feathers'"):
        load_recipe({"trainer": "local", "feathers": 3})


def test_half_a_trainer_is_refused() -> None:
    with pytest.raises(ConfigError, match="lacks train, dry_run"):
        load_recipe({"trainer": f"{__name__}:Half"})


def invoke(tmp_path: Path, *arguments: str) -> Any:
    recipe = tmp_path / "parrot.yaml"
    recipe.write_text(f"trainer: {PARROT}\nsteps: 5\n", encoding="utf-8")
    return CliRunner().invoke(app, ["train", str(recipe), "--run-dir", str(tmp_path / "run"), *arguments])


def test_a_dry_run_makes_nothing(tmp_path: Path) -> None:
    result = invoke(tmp_path, "--dry-run", "--allow-unscored", "feathers=1")
    assert result.exit_code == 0, result.output
    assert f"would say squawk [sic] in {tmp_path / 'run'}, unscored: True" in result.output
    assert not (tmp_path / "run").exists()


def test_the_command_hands_over_to_the_trainer(tmp_path: Path) -> None:
    result = invoke(tmp_path, "feathers=7")
    assert result.exit_code == 0, result.output
    assert f"5 steps done; run folder: {tmp_path / 'run'}" in " ".join(result.output.split())
    assert load_recipe(tmp_path / "run" / "config.yaml").model_dump()["feathers"] == 7


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    result = invoke(tmp_path, "--resume", "feathers=7")
    assert result.exit_code == 130
    assert "5 steps done, not finished" in result.output
    assert f"parrot.yaml feathers=7 --resume --run-dir {tmp_path / 'run'}" in result.output


def test_the_local_trainer_says_what_it_would_do(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    recipe = tiny_recipe(steps=3)
    said = find_trainer("local").dry_run(recipe, tmp_path / "run")
    assert "3 steps of 2 tasks x 2 documents (8 tasks), 3 held-out tasks x 1" in said
    assert recipe.to_yaml() in said
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not EXAMPLES.exists(), reason="examples/ is not shipped with the package")
def test_the_example_of_a_third_trainer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its options are checked and shown where TRL itself is not installed; that it trains is shown outside of these tests."""
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(EXAMPLES)
    recipe = load_recipe(EXAMPLES / "trl_grpo.yaml", ["trl.beta=0.1"])
    trainer = find_trainer(recipe.trainer)
    assert isinstance(trainer, Trainer)
    said = trainer.dry_run(recipe, tmp_path / "run")
    assert "'num_generations': 4" in said
    assert "'beta': 0.1" in said
    with pytest.raises(ConfigError, match="no option 'trll', did you mean 'trl'"):
        load_recipe(EXAMPLES / "trl_grpo.yaml", ["trll.beta=0.1"])


def test_a_third_trainer_is_an_entry_point_of_an_installed_package(tmp_path: Path) -> None:
    """As pip leaves a package behind: a module, and beside it a folder of metadata that names the entry point."""
    (tmp_path / "parrot.py").write_text(
        "from trainers.recipe import BaseRecipe\n"
        "class ParrotTrainer:\n"
        "    recipe = BaseRecipe\n"
        "    def train(self, recipe, run_dir, *, resume=False, console=None): raise NotImplementedError\n"
        "    def dry_run(self, recipe, run_dir): return f'squawk {recipe.steps} times'\n",
        encoding="utf-8",
    )
    metadata = tmp_path / "parrot-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text("[llmi_env.trainers]\nparrot = parrot:ParrotTrainer\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text("trainer: parrot\nsteps: 12\n", encoding="utf-8")

    def train(recipe: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llmi_env.cli", "train", recipe, "--dry-run"],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    installed = train(str(tmp_path / "recipe.yaml"), PYTHONPATH=path)
    assert installed.stdout.strip() == "squawk 12 times", installed.stderr
    missing = train(str(tmp_path / "recipe.yaml"))
    assert missing.returncode == 2
    assert "no trainer 'parrot'" in missing.stderr

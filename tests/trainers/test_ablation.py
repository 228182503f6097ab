"""A grid of runs under variants of the reward: which are made, which are left alone, and what they come to."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("pyarrow")

from llmi_env.ablation import Variant, load_variants
from llmi_env.comparison import Evaluation
from llmi_env.errors import ConfigError, TrainingError
from llmi_env.rewards import HybridReward
from llmi_env.task import Task
from llmi_env.world.protocol import Unscored
from tests.rewards.making import document, figure, judged, picture
from tests.saved_runs import save_run
from trainers.ablation import ablate_training, plan, table, write_comparison
from trainers.protocol import TrainResult
from trainers.recipe import BaseRecipe, load_recipe
from trainers.run_folder import stored_evaluation

TASKS = [Task(f"Owls {n}?", image_count=1, tools=("search",), id=f"owls-{n}") for n in range(6)]
trained: list[str] = []


class FakeTrainer:
    """Writes the documents that a policy would after training: the better, the more the reward cares for text."""

    recipe = BaseRecipe
    stop_at = fail_at = ""
    down = False

    def train(
        self, recipe: BaseRecipe, run_dir: Path, *, resume: bool = False, console: Console | None = None
    ) -> TrainResult:
        trained.append(run_dir.name + (" resumed" if resume else ""))
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / "config.yaml").write_text(recipe.to_yaml())
        if run_dir.name == self.stop_at:
            return TrainResult(run_dir, 0, finished=False)
        if run_dir.name == self.fail_at:
            raise TrainingError("nothing scored")
        reward = HybridReward.load(recipe.env.reward)
        weight = reward.spec.terms["text_quality"].weight if "text_quality" in reward.terms else 0
        for phase, text in (("before", 2.0), ("after", 2.0 + 2 * weight + 0.1 * recipe.seed)):
            groups = []
            for n, task in enumerate(TASKS):
                made = document(f"Owls {phase}.", figure(outcome=picture(n) if n or weight else "empty"))
                judgments = judged(text_quality=text + 0.1 * n) if reward.judged_terms else {}
                if self.down and n == 0:
                    judgments["text_quality"] = Unscored("down")
                groups.append((task, [(made, judgments)]))
            save_run(run_dir, groups, reward, phase, step=0 if phase == "before" else recipe.steps, phase=phase)
        with (run_dir / "metrics.jsonl").open("w") as file:
            for line in ({"phase": "before", "step": 0}, {"phase": "after", "step": recipe.steps}):
                file.write(json.dumps(line) + "\n")
        return TrainResult(run_dir, recipe.steps, True, Evaluation(()), Evaluation(()))

    def dry_run(self, recipe: BaseRecipe, run_dir: Path) -> str:
        return ""


@pytest.fixture
def recipe() -> BaseRecipe:
    trained.clear()
    FakeTrainer.stop_at = FakeTrainer.fail_at = ""
    FakeTrainer.down = False
    judge = {"use": "llmi_env.testing:SimulatedJudge", "score": 3.0}
    return load_recipe(
        {
            "name": "fake",
            "trainer": "tests.trainers.test_ablation:FakeTrainer",
            "steps": 2,
            "env": {
                "preset": "rules",
                "reward": "llmi",
                "world": "in_process",
                "services": {"tools": {}, "judges": [judge]},
            },
        }
    )


def variants(*changes: str) -> list[Variant]:
    known: dict[str, Any] = {"text": {"weights": {"text_quality": 3.0}}, "rules": {"preset": "rules"}}
    return load_variants({"variants": {name: known[name] for name in changes}}, HybridReward.preset("llmi"))


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_every_cell_is_a_run_folder_and_all_are_compared_by_one_reward(recipe: BaseRecipe, tmp_path: Path) -> None:
    found = ablate_training(recipe, variants("text"), [0, 1], tmp_path / "grid", console=quiet())
    assert trained == ["llmi-seed0", "text-seed0", "llmi-seed1", "text-seed1"]
    assert (found.finished, found.common) == (True, HybridReward.preset("llmi").version)
    start, base, text = found.outcomes
    assert (start.name, base.name, text.name) == ("before training", "llmi", "text")
    assert (start.runs, base.runs, text.runs, text.documents, text.unscored) == (1, 2, 2, 12, 0)
    assert base.difference is None
    assert text.difference is not None
    assert text.difference.low > 0  # the variant that cares for text writes better text, also in the base's eyes
    assert text.difference.pairs == 6
    assert text.reward == pytest.approx(sum(reward or 0 for reward in text.by_seed) / 2)
    assert text.gain is not None
    assert text.gain.mean > base.gain.mean > 0  # type: ignore[union-attr]
    assert text.tool_accuracy == 1
    page, data = write_comparison(found)
    assert "| text | 2 |" in page.read_text()
    assert json.loads(data.read_text())["outcomes"][2]["difference"]["pairs"] == 6


def test_what_is_finished_is_left_alone_and_what_was_begun_goes_on(recipe: BaseRecipe, tmp_path: Path) -> None:
    FakeTrainer.stop_at = "text-seed0"
    stopped = ablate_training(recipe, variants("text"), [0, 1], tmp_path / "grid", console=quiet())
    assert not stopped.finished
    assert trained == ["llmi-seed0", "text-seed0"]
    assert [outcome.runs for outcome in stopped.outcomes] == [1, 1, 0]
    assert table(stopped)[3] == ("text", "0", "", "", "", "", "", "", "")
    trained.clear()
    FakeTrainer.stop_at = ""
    assert ablate_training(recipe, variants("text"), [0, 1], tmp_path / "grid", console=quiet()).finished
    assert trained == ["text-seed0 resumed", "llmi-seed1", "text-seed1"]


def test_a_variant_that_cannot_teach_is_told_and_the_others_go_on(recipe: BaseRecipe, tmp_path: Path) -> None:
    FakeTrainer.fail_at = "llmi-seed0"
    found = ablate_training(recipe, variants("text"), [0], tmp_path / "grid", console=quiet())
    assert not found.finished
    assert found.outcomes[1].failed == ("seed 0: nothing scored",)
    assert found.outcomes[2].runs == 1
    assert found.outcomes[2].difference is None
    assert "nothing scored" in write_comparison(found)[0].read_text()


def test_documents_that_nobody_judged_are_judged_for_the_comparison(recipe: BaseRecipe, tmp_path: Path) -> None:
    found = ablate_training(recipe, variants("rules"), [0], tmp_path / "grid", console=quiet())
    rules = found.outcomes[2]
    assert rules.name == "rules"
    assert rules.unscored == 0
    assert rules.difference is not None
    assert (tmp_path / "grid" / "rules-seed0" / "judgments" / "common.jsonl").is_file()
    assert not (tmp_path / "grid" / "llmi-seed0" / "judgments").exists()


def test_documents_whose_judge_was_down_are_judged_for_the_comparison(recipe: BaseRecipe, tmp_path: Path) -> None:
    FakeTrainer.down = True
    found = ablate_training(recipe, variants("text"), [0], tmp_path / "grid", console=quiet())
    assert [outcome.unscored for outcome in found.outcomes] == [0, 0, 0]
    runs = [stored_evaluation(tmp_path / "grid" / name, "after", 2) for name in ("llmi-seed0", "text-seed0")]
    assert [run.rewards[0] for run in runs if run is not None] == [
        None,
        None,
    ]  # what the run itself saw stays as it was


def test_a_grid_that_has_changed_is_refused(recipe: BaseRecipe, tmp_path: Path) -> None:
    ablate_training(recipe, variants("text"), [0], tmp_path, console=quiet())
    changed = load_variants({"variants": {"text": {"weights": {"text_quality": 9}}}}, HybridReward.preset("llmi"))
    with pytest.raises(ConfigError, match="'text' is not what it was"):
        ablate_training(recipe, changed, [0], tmp_path, console=quiet())
    with pytest.raises(ConfigError, match=r"lr: 0\.0002 then, 0\.5 now"):
        ablate_training(recipe.model_copy(update={"lr": 0.5}), variants("text"), [0], tmp_path, console=quiet())


def test_plans_that_cannot_be(recipe: BaseRecipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        plan(recipe, variants(), [], tmp_path)
    reward = HybridReward.preset("llmi")
    with pytest.raises(ConfigError, match="the same folder"):
        plan(recipe, [Variant("a b", reward), Variant("a/b", reward)], [0], tmp_path)


def test_a_variant_is_the_same_reward_in_its_run(recipe: BaseRecipe, tmp_path: Path) -> None:
    llmi = HybridReward.preset("llmi")
    made = [Variant("exact", llmi.exactly()), Variant("less", llmi.without("text_quality").ungated())]
    for cell, variant in zip(plan(recipe, made, [7], tmp_path), made, strict=True):
        assert cell.recipe.seed == 7
        again = HybridReward.load(load_recipe({**cell.recipe.model_dump(), "trainer": recipe.trainer}).env.reward)
        assert (again.spec, again.exact) == (variant.reward.spec, variant.reward.exact)


@pytest.mark.slow
def test_with_the_local_trainer(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("peft")
    recipe = tiny_recipe(steps=1, eval_size=2)
    found = ablate_training(recipe, variants("text", "rules"), [0, 1], tmp_path / "grid", console=quiet())
    assert found.finished
    assert [outcome.runs for outcome in found.outcomes] == [1, 2, 2, 2]
    assert all(outcome.unscored == 0 for outcome in found.outcomes)
    assert (tmp_path / "grid" / "text-seed1" / "checkpoints" / "step-00001").is_dir()

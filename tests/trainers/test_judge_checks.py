"""A run that nothing could score is not begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from llmi_env.errors import ConfigError, WorldError
from llmi_env.testing import SimulatedJudge
from trainers.local import LocalTrainer, train


class Wit(SimulatedJudge):
    """A judge of one's own: of the reward's terms it scores none."""

    def __init__(self, dry: bool = False) -> None:
        super().__init__(["wit"])


class Broken(SimulatedJudge):
    """Cannot be made here."""

    def __init__(self) -> None:
        raise RuntimeError("no device")


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"use": "embedded", "loooks": False}, "judge 'embedded': .*'loooks', did you mean 'looks'"),
        ({"use": f"{__name__}:Wit", "drry": False}, "judge '.*:Wit': .*'drry', did you mean 'dry'"),
        ({"use": f"{__name__}:Broken"}, "judge '.*:Broken' cannot be made: RuntimeError: no device"),
        ({"use": f"{__name__}:Wit"}, "nothing scores the term 'text_quality'"),
    ],
)
def test_a_run_with_judges_that_cannot_be_leaves_no_folder(
    tiny_recipe: Callable[..., Any], tmp_path: Path, judge: dict[str, Any], said: str
) -> None:
    with pytest.raises((ConfigError, WorldError), match=said):
        train(tiny_recipe(judge), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dry", [True, False])
def test_a_misspelt_term_of_the_reward_leaves_no_folder(
    tiny_recipe: Callable[..., Any], tmp_path: Path, dry: bool
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nversion: 1\nterms:\n  text_qualty: {weight: 1}\n")
    recipe = tiny_recipe({"use": "embedded"} if dry else None)
    recipe = recipe.model_copy(update={"env": recipe.env.model_copy(update={"reward": str(mine)})})
    with pytest.raises(ConfigError, match="'text_qualty', did you mean 'text_quality'"):
        LocalTrainer().dry_run(recipe, tmp_path / "run") if dry else train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()

"""A key given twice is told wherever a user's YAML is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmi_env.ablation import load_variants
from llmi_env.config import load_config
from llmi_env.errors import ConfigError
from llmi_env.rescoring import judge_config
from llmi_env.rewards import HybridReward
from trainers.recipe import load_recipe

REWARD = "name: mine\nversion: 1\nterms:\n  wit: {weight: 0.5}\n  image_count: {weight: 0.5}\n  wit: {weight: 0.5}\n"


@pytest.mark.parametrize(
    ("read", "text", "key"),
    [
        (HybridReward.load, REWARD, "wit"),
        (
            lambda path: load_variants(path, HybridReward.preset("llmi")),
            "variants:\n  a: {gates: false}\n  a: {exact: true}\n",
            "a",
        ),
        (judge_config, "use: openai\nmodel: a\nmodel: b\n", "model"),
        (judge_config, "judges:\n  - {use: openai, model: a, model: b}\n", "model"),
        (load_recipe, "steps: 4\nlr: 1e-3\nsteps: 8\n", "steps"),
        (load_config, "limits: {calls: 1, calls: 2}\n", "calls"),
    ],
    ids=["reward", "variants", "judge", "judges", "recipe", "environment"],
)
def test_a_key_given_twice(tmp_path: Path, read: Callable[[str], Any], text: str, key: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"mine\.yaml'?: not YAML: the key '{key}' is given twice.* line \d"):
        read(str(path))


def test_an_override_names_what_is_given_twice() -> None:
    with pytest.raises(ConfigError, match=r"override .*the key 'use' is given twice"):
        load_config("offline", ["services.judges=[{use: embedded, use: openai}]"])

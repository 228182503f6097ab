"""The configurations in docs/judges.md can be used as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmi_env.config import load_config
from llmi_env.world.config import JUDGES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_snippet_names_judges_that_can_be_made(number: int) -> None:
    pytest.importorskip("openai", reason="openai is not installed: pip install 'llmi-env[judges]'")
    for use, options in load_config(yaml.safe_load(BLOCKS[number])).services.judge_uses():
        if use != "embedded":
            assert JUDGES.make(use, without_embedded(options)).terms


def without_embedded(options: dict[str, Any]) -> dict[str, Any]:
    """A panel's options without the embedded judge, which needs models."""
    if "judges" not in options:
        return options
    kept = [entry for entry in options["judges"] if entry["use"] != "embedded"]
    assert len(kept) < len(options["judges"])
    return {**options, "judges": kept}


def test_every_judge_is_in_the_document() -> None:
    assert len(BLOCKS) >= 4
    for name in JUDGES.builtin:
        assert f"| `{name}`" in DOCUMENT


def test_every_option_is_in_the_document() -> None:
    from llmi_env.judges.openai_options import JudgeOptions

    for name in JudgeOptions.model_fields:
        assert f"`{name}`" in DOCUMENT

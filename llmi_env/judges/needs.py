"""Example needs for a picture, by the tool that serves them: eighty sentences about as many subjects."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from llmi_env.yaml_text import read_yaml


@cache
def example_needs() -> Mapping[str, list[str]]:
    """The example needs by tool."""
    text = (resources.files("llmi_env") / "assets" / "judges" / "needs.yaml").read_text(encoding="utf-8")
    needs: dict[str, list[str]] = read_yaml(text, "needs.yaml")
    return needs

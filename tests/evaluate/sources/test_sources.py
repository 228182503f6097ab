"""Sources by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmi_env.config import load_config
from llmi_env.errors import ConfigError
from llmi_env.evaluate.sources.base import Source, open_source
from llmi_env.evaluate.sources.endpoint_source import EndpointSource
from llmi_env.evaluate.sources.finished_documents import FinishedDocuments
from llmi_env.evaluate.sources.model_source import ModelSource
from llmi_env.world.in_process import InProcessWorld

CONFIG = load_config("rules")


def opened(policy: str, world: InProcessWorld, max_tokens: int = 100, concurrency: int = 4) -> Source:
    return open_source(
        policy, world, CONFIG, max_tokens=max_tokens, temperature=0.7, top_p=0.95, concurrency=concurrency
    )


def test_every_kind_by_its_name(world: InProcessWorld, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "owls.md").write_text("Owls.")
    (tmp_path / "writer.yaml").write_text("model: m\nbase_url: http://writer/v1\n")
    kinds = {
        "openai:m@http://writer/v1": EndpointSource,
        json.dumps({"model": "m", "base_url": "http://writer/v1"}): EndpointSource,
        str(tmp_path / "writer.yaml"): EndpointSource,
        f"documents:{tmp_path}": FinishedDocuments,
        str(tmp_path): ModelSource,
    }
    for policy, kind in kinds.items():
        source = opened(policy, world)
        assert type(source) is kind
        assert isinstance(source, Source)
        assert source.name == policy
        assert json.loads(json.dumps(dict(source.identity))) == source.identity
        assert source.identity["policy"]


def test_what_is_written_how_is_part_of_the_identity(world: InProcessWorld) -> None:
    identity = opened("openai:m@http://writer/v1", world).identity
    assert identity["limits"] == {"characters": 200_000, "calls": 24, "pictures": 16}
    assert (identity["max_tokens"], identity["temperature"], identity["top_p"]) == (100, 0.7, 0.95)


@pytest.mark.parametrize(
    ("policy", "options", "said"),
    [
        ("warm-strat", {}, "no policy 'warm-strat'"),
        ("documents:nowhere", {}, "no such folder"),
        ("openai:", {}, "names no model"),
        ("openai:m", {"max_tokens": 0}, "max_tokens must be 1 or more"),
        ("openai:m", {"concurrency": 0}, "concurrency must be 1 or more"),
    ],
)
def test_what_cannot_be_opened(world: InProcessWorld, policy: str, options: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        opened(policy, world, **options)

"""Where an environment's World comes from: what is checked before it is opened, and who shares it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from llmi_env.calls import BUILTIN, ParamSpec, ToolSpec
from llmi_env.document import Picture, Provenance
from llmi_env.errors import ConfigError
from llmi_env.task import Task
from llmi_env.testing import SimulatedTool, simulated_config
from llmi_env.tools.base import ToolContext
from llmi_env.world.config import WorldConfig
from llmi_env.world.in_process import InProcessWorld
from llmi_env.world.service import create_app
from llmi_env.world_source import WorldSource
from tests.serving import served

SKETCH = ToolSpec("sketch", "draws a sketch", (ParamSpec("of", str, "what to draw"),), {"of": "an owl"})
CALL = '<imgen>{"source": "%s", "description": "an owl", "params": {"%s": "owl"}}</imgen>'


class Sketch(SimulatedTool):
    spec = SKETCH  # type: ignore[assignment]


class KeyReader(SimulatedTool):
    """Shows which key it found where it runs."""

    def __init__(self, key_env: str) -> None:
        super().__init__()
        self.key_env = key_env

    async def __call__(self, params: Mapping[str, Any], context: ToolContext) -> Picture:
        made = await super().__call__(params, context)
        return replace(made, provenance=Provenance("test", title=os.environ.get(self.key_env, "none")))


def make(**options: Any) -> Any:
    given: dict[str, Any] = {"config": "rules", "action_mode": "document", "reward": "rules", **options}
    return gym.make("LLMI-v0", disable_env_checker=True, **given)


def drawn(env: Any, tool: str = "search", param: str = "query") -> Any:
    env.reset(seed=1)
    *_, info = env.step(f"Owls. {CALL % (tool, param)}")
    return info["document"].figures[0].outcome


def test_a_misspelt_limit_is_told_when_the_environment_is_made() -> None:
    with pytest.raises(ConfigError, match="'rates': there is no tool 'serch', did you mean 'search'"):
        make(services={"tools": {"search": {}}, "judges": [], "rates": {"serch": "1/day"}})
    with pytest.raises(ConfigError, match="there is no tool 'sketch'"):
        make(services={"tools": {"search": {}}, "judges": [], "deadlines": {"sketch": 3}})


@pytest.mark.parametrize("world", ["in_process", "local"])
def test_limits_hold_for_tools_that_are_objects(world: str) -> None:
    services = WorldConfig(tools={"search": {}, "sketch": {"use": "search"}}, judges=[], deadlines={"sketch": 0.1})
    for configured in (services, services.model_copy(update={"tools": {"search": {}}})):
        source = WorldSource(world, configured, {"sketch": Sketch(latency=30.0)})
        assert source.services.deadlines == {}
        source.services.check_limits()
    tasks = [Task("owls", id="t", tools=("sketch",))]
    options = {"tools": [Sketch(latency=30.0)], "services": {"tools": {}, "judges": [], "deadlines": {"sketch": 0.1}}}
    env = make(world="in_process", tasks=tasks, **options)
    outcome = drawn(env, "sketch", "of")
    env.close()
    assert (outcome.kind, outcome.fault) == ("timeout", "world")


def test_a_service_has_to_have_what_the_policy_is_offered_and_no_object_is() -> None:
    tasks = [Task("owls", id="t")]
    with served(create_app(simulated_config(tools={"search": {}}))) as address:
        env = make(world=address, tasks=tasks)
        with pytest.raises(ConfigError, match=r"has no edit, code: its tools are search, and the policy is offered"):
            drawn(env)
        env.close()
        env = make(world=address, tasks=tasks, tools=[SimulatedTool("edit"), SimulatedTool("code")])
        assert isinstance(drawn(env), Picture)
        env.close()


def test_of_a_service_with_tools_of_its_own_their_specs_are_what_counts() -> None:
    tasks = [Task("owls", id="t")]
    with served(create_app(world=InProcessWorld({"sketch": Sketch()}))) as address:
        env = make(world=address, tasks=tasks, tools={"sketch": SKETCH})
        assert isinstance(drawn(env, "sketch", "of"), Picture)
        env.close()
        env = make(world=address, tasks=tasks, tools={"sketch": SKETCH, "code": BUILTIN["code"]})
        with pytest.raises(ConfigError, match="has no code: its tools are sketch"):
            drawn(env, "sketch", "of")
        env.close()


@pytest.mark.slow
def test_a_key_that_is_set_later_is_seen_by_the_next_environment(
    local_runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = {"search": {"use": f"{__name__}:KeyReader", "key_env": "SKETCHKEY"}}
    options: dict[str, Any] = {
        "world": "local",
        "services": {"tools": tools, "judges": [], "linger": 0},
        "tasks": [Task("owls", id="t", tools=("search",))],
    }
    monkeypatch.delenv("SKETCHKEY", raising=False)
    before, titles = make(**options), []
    titles.append(drawn(before).provenance.title)
    monkeypatch.setenv("SKETCHKEY", "good")
    after = make(**options)
    titles += [drawn(after).provenance.title, drawn(before).provenance.title]
    for env in (before, after):
        env.close()
    assert titles == ["none", "good", "none"]

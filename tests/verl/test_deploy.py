"""The compose file and the commands of docs/verl.md: what they start is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from llmi_env.cli import app
from llmi_env.config import load_config, preset_names
from trainers.recipe import load_recipe
from trainers.verl.recipe import VerlRecipe

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "verl.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("  #")[0].strip(" &")
    for block in re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL)
    for line in block.splitlines()
    if line and not line.startswith("#")
]


def as_compose_reads(text: str) -> str:
    """With the default in place of each variable."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    text = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    found = yaml.safe_load(as_compose_reads(text))["services"]
    assert isinstance(found, dict)
    return found


def test_the_compose_file_serves_a_world(services: dict[str, Any]) -> None:
    world = services["world"]
    program, command, preset, *options = world["command"]
    assert (program, command) == ("llmi", "serve")
    assert load_config(preset).services.tools
    port = options[options.index("--port") + 1]
    assert world["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f":{port}/alive" in world["healthcheck"]["test"][-1]


def test_the_compose_files_trainer_carries_out_a_recipe_in_that_world(services: dict[str, Any]) -> None:
    program, command, *words = services["trainer"]["command"]
    assert (program, command) == ("llmi", "train")
    done = CliRunner().invoke(app, [command, *words, "--dry-run"])
    assert done.exit_code == 0, done.output
    recipe = load_recipe(words[0], [words[1]])
    assert recipe.env.world == "http://world:8100"
    assert services["trainer"]["depends_on"] == {"world": {"condition": "service_healthy"}}


def test_judge_servers_start_only_where_asked_for(services: dict[str, Any]) -> None:
    judges = {name: service for name, service in services.items() if "profiles" in service}
    assert judges.keys() == {"text-judge", "picture-judge"}
    for judge in judges.values():
        assert judge["entrypoint"] == ["vllm", "serve"]
        (port,) = [word.removeprefix("--port=") for word in judge["command"] if word.startswith("--port=")]
        assert judge["ports"] == [f"127.0.0.1:{port}:{port}"]


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("llmi ")])
def test_commands_of_the_document_name_recipes_and_options_that_are_there(line: str) -> None:
    _, command, *words = shlex.split(line)
    if command == "serve":
        assert CliRunner().invoke(app, ["serve", "--help"]).exit_code == 0
        return
    name, *words = words
    assert command == "train"
    changes = [word.replace("FIRST", "10.0.0.1") for word in words if "=" in word]
    assert isinstance(load_recipe(name, changes), VerlRecipe)


def test_the_world_of_ones_own_in_the_document() -> None:
    (text,) = re.findall(r"```yaml\n(# my_env.yaml\n.*?)```", DOCUMENT, re.DOTALL)
    services = load_config(yaml.safe_load(text)).services
    assert list(services.tools) == ["search", "code", "edit"]
    assert services.judge_uses() == [("embedded", {})]


def test_the_document_lists_every_recipe_of_verls() -> None:
    (table,) = re.findall(r"\| recipe .*?\n\n", DOCUMENT, re.DOTALL)
    for name in preset_names("train"):
        if isinstance(load_recipe(name), VerlRecipe):
            assert f"`{name}`" in table
